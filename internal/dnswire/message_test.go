package dnswire

import (
	"errors"
	"testing"

	"github.com/miekg/dns"
)

func packed(t testing.TB, m *dns.Msg) []byte {
	t.Helper()
	m.Compress = true
	msg, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return msg
}

func testMessage(t testing.TB) []byte {
	m := new(dns.Msg).SetUpdate("example.test.")
	for _, text := range []string{"a.example.test. 300 IN A 192.0.2.1", "b.example.test. 60 IN MX 10 a.example.test.", "b.example.test. 0 IN TXT x"} {
		rr, err := dns.NewRR(text)
		if err != nil {
			t.Fatal(err)
		}
		m.Ns = append(m.Ns, rr)
	}
	m.SetEdns0(1232, false)
	return packed(t, m)
}

func TestWalker(t *testing.T) {
	msg := testMessage(t)
	w, err := NewWalker(msg)
	if err != nil {
		t.Fatal(err)
	}
	if h := w.Header(); h.Opcode() != dns.OpcodeUpdate || h.Response() || h.Rcode() != 0 || h.Counts != [4]uint16{1, 0, 3, 1} {
		t.Errorf("header %+v", h)
	}
	var got []string
	var r Record
	end := headerLen
	for w.Next(&r) {
		if r.Start != end {
			t.Errorf("record at %d, not %d", r.Start, end)
		}
		end = r.End
		owner, err := w.AppendOwner(nil, &r)
		if err != nil {
			t.Fatal(err)
		}
		text := "SZUA"[r.Section:r.Section+1] + " " + NameText(owner) + " " + TypeText(r.Type)
		if r.Section != Questions {
			rdata, err := w.AppendRdata(nil, &r)
			if err != nil {
				t.Fatal(err)
			}
			text += " " + TextOrGeneric(r.Type, rdata)
		}
		got = append(got, text)
	}
	if w.Err() != nil || end != len(msg) {
		t.Errorf("end at %d of %d: %v", end, len(msg), w.Err())
	}
	want := []string{
		"S example.test. SOA", "U a.example.test. A 192.0.2.1", "U b.example.test. MX 10 a.example.test.",
		`U b.example.test. TXT "x"`, `A . OPT \# 0`,
	}
	for i := range want {
		if i >= len(got) || got[i] != want[i] {
			t.Errorf("%q, not %q", got, want)
			break
		}
	}
}

func walkAll(msg []byte) (int, error) {
	w, err := NewWalker(msg)
	if err != nil {
		return 0, err
	}
	n := 0
	for r := (Record{}); w.Next(&r); n++ {
	}
	return n, w.Err()
}

func TestWalkerErrors(t *testing.T) {
	whole := testMessage(t)
	for n := range whole {
		_, err := walkAll(whole[:n])
		want := ErrTruncated
		if n < headerLen {
			want = ErrHeader
		}
		if !errors.Is(err, want) {
			t.Errorf("%d of %d octets: %v", n, len(whole), err)
		}
	}
	change := func(at int, to byte) []byte {
		msg := append([]byte(nil), whole...)
		msg[at] = to
		return msg
	}
	for _, c := range []struct {
		name string
		msg  []byte
		err  error
	}{
		{"one more", append(change(0, 0), 0), ErrTrailing},
		{"count too low", change(11, 0), ErrTrailing},
		{"count too high", change(11, 2), ErrTruncated},
		{"no name", change(12, 0x80), ErrTruncated},
		{"whole", whole, nil},
	} {
		if _, err := walkAll(c.msg); !errors.Is(err, c.err) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestWalkerTakesNoMemory(t *testing.T) {
	msg := testMessage(t)
	if n := testing.AllocsPerRun(100, func() { _, _ = walkAll(msg) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
