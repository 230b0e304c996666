package etcd

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

func sampleName(text string) string {
	name, err := dnswire.ParseName(text, nil)
	if err != nil {
		panic(err)
	}
	return string(name)
}

func sampleHead() head {
	return head{
		sequence: 1 << 40, serial: 0xFFFFFFFF, batch: id{0, 0, 0, 1, 2, 15: 16}, oldest: 1<<40 - 5, marks: 1<<40 - 9,
		frozen: store.Freeze{Since: time.Unix(1_700_000_000, 5).UTC()}, server: "ns1.example.test",
		soa: store.Record{Name: sampleName("Example.test."), Type: 6, Class: 1, TTL: 3600, Data: []byte{1, 2, 3}},
	}
}

// sampleBatch has every kind of thing that a batch may have.
func sampleBatch() store.Batch {
	since := time.Unix(1_700_000_000, 0).UTC()
	committed := time.Unix(1_700_000_001, 0).UTC()
	apex, a, b := sampleName("example.test."), sampleName("a.example.test."), sampleName(`B\000.Example.test.`)
	return store.Batch{
		Changes: []store.Change{
			{
				From: 0xFFFFFFFF, To: 0, Author: "host/a@REALM", Rule: "grant", Committed: committed,
				Removed: []store.Record{{Name: apex, Type: 6, Class: 1, TTL: 3600, Data: []byte{1}}, {Name: a, Type: 1, Class: 1, TTL: 1<<32 - 1, Hours: 9, Data: []byte{1, 2, 3, 4}}},
				Added:   []store.Record{{Name: apex, Type: 6, Class: 1, TTL: 3600, Data: []byte{2}}, {Name: b, Type: 65535, Class: 65535, Data: []byte{}}, {Name: b, Type: 16, Class: 1, Data: bytes.Repeat([]byte{7}, 300)}},
				Owners:  []store.Owner{{Name: a, Principal: "host/a@REALM", Deleted: since}, {Name: b}},
			},
			{From: 0, To: 0, Committed: committed, Refreshed: []store.Record{{Name: b, Type: 1, Class: 1, Hours: 500_000, Data: []byte{5}}}, Disowned: []string{a, apex}},
		},
		Marks:  []store.Mark{{Context: [16]byte{1, 15: 2}, Number: 1<<64 - 1}, {}},
		Frozen: &store.Freeze{Since: since, Sealed: true},
	}
}

func sampleEntry() (entryHeader, store.Batch) {
	b := sampleBatch()
	return entryHeader{
		sequence: 77, batch: id{1}, before: id{2}, oldest: 70, marks: 60, from: 0xFFFFFFFF, to: 0,
		time: time.Unix(1_700_000_001, 999).UTC(), server: "ns1", frozen: b.Frozen,
	}, b
}

func encodedEntry(t testing.TB) []byte {
	t.Helper()
	h, b := sampleEntry()
	value, err := appendEntry(nil, &h, &b)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func encodedSample(t testing.TB) []byte {
	t.Helper()
	value, err := appendName(nil, sampleName(`b\000.example.test.`), sampleBatch().Changes[0].Added[1:], &store.Owner{Principal: "p", Deleted: time.Unix(5, 0).UTC()})
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func TestHead(t *testing.T) {
	want := sampleHead()
	got, err := decodeHead(want.append(nil))
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v\nwant %+v", got, err, want)
	}
	refuseParts(t, want.append(nil), func(value []byte) error { _, err := decodeHead(value); return err })
	for what, change := range map[string]func(*head){
		"log behind its end": func(h *head) { h.oldest = h.sequence + 2 },
		"marks behind":       func(h *head) { h.marks = h.oldest + 1 },
		"too many marks":     func(h *head) { h.marks = 1 },
		"sequence":           func(h *head) { h.sequence = 1 << 63 },
		"server":             func(h *head) { h.server = strings.Repeat("x", 256) },
	} {
		h := sampleHead()
		change(&h)
		if got, err := decodeHead(h.append(nil)); err == nil {
			t.Errorf("%s: %+v", what, got)
		}
	}
}

// refuseParts decodes all that the value begins with, and the value with one octet more.
func refuseParts(t *testing.T, value []byte, decode func([]byte) error) {
	t.Helper()
	for n := range value {
		if err := decode(value[:n:n]); err == nil {
			t.Errorf("the first %d of %d octets are accepted", n, len(value))
		}
	}
	if err := decode(append(bytes.Clone(value), 0)); err == nil {
		t.Error("one octet more is accepted")
	}
	other := bytes.Clone(value)
	other[0]++
	if err := decode(other); !errors.Is(err, errVersion) {
		t.Errorf("another version: %v", err)
	}
}

func TestEntry(t *testing.T) {
	wantHeader, want := sampleEntry()
	value := encodedEntry(t)
	h, b, err := decodeEntry(value)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(h, wantHeader) {
		t.Errorf("%+v\nwant %+v", h, wantHeader)
	}
	if !reflect.DeepEqual(b, want) {
		t.Errorf("%+v\nwant %+v", b, want)
	}
	if h, err := decodeHeader(value); err != nil || !reflect.DeepEqual(h, wantHeader) {
		t.Errorf("%+v, %v", h, err)
	}
	refuseParts(t, value, func(value []byte) error { _, _, err := decodeEntry(value); return err })
	for what, change := range map[string]func(*entryHeader, *store.Batch){
		"log behind its end": func(h *entryHeader, _ *store.Batch) { h.oldest = h.sequence + 1 },
		"marks behind":       func(h *entryHeader, _ *store.Batch) { h.marks = h.oldest + 1 },
		"first serial":       func(h *entryHeader, _ *store.Batch) { h.from++ },
		"last serial":        func(h *entryHeader, _ *store.Batch) { h.to++ },
		"gap":                func(_ *entryHeader, b *store.Batch) { b.Changes[1].From++ },
		"author":             func(_ *entryHeader, b *store.Batch) { b.Changes[0].Author = strings.Repeat("x", store.MaxText+1) },
		"owner":              func(_ *entryHeader, b *store.Batch) { b.Changes[0].Owners[0].Name = "x" },
		"part of a second":   func(_ *entryHeader, b *store.Batch) { b.Changes[0].Owners[0].Deleted = time.Unix(1, 1) },
		"disowned":           func(_ *entryHeader, b *store.Batch) { b.Changes[1].Disowned[0] = "" },
	} {
		h, b := sampleEntry()
		change(&h, &b)
		value, err := appendEntry(nil, &h, &b)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := decodeEntry(value); err == nil {
			t.Errorf("%s: accepted", what)
		}
	}
	for what, change := range map[string]func(*store.Record){
		"no name":    func(r *store.Record) { r.Name = "" },
		"bad name":   func(r *store.Record) { r.Name = "\x05a" },
		"long rdata": func(r *store.Record) { r.Data = make([]byte, 65536) },
	} {
		h, b := sampleEntry()
		change(&b.Changes[0].Removed[1])
		if _, err := appendEntry(nil, &h, &b); !errors.Is(err, errRecord) {
			t.Errorf("%s: %v", what, err)
		}
		if _, err := appendName(nil, sampleName("a."), b.Changes[0].Removed[1:], nil); !errors.Is(err, errRecord) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestName(t *testing.T) {
	name := sampleName(`b\000.example.test.`)
	records, owner := sampleBatch().Changes[0].Added[1:], &store.Owner{Name: name, Principal: "p", Deleted: time.Unix(5, 0).UTC()}
	for _, test := range []struct {
		records []store.Record
		owner   *store.Owner
	}{{records, owner}, {records, nil}, {nil, owner}, {records[:1], &store.Owner{Name: name}}} {
		value, err := appendName(nil, name, test.records, test.owner)
		if err != nil {
			t.Fatal(err)
		}
		var got collected
		if broken, err := visitName(name, value, &got); broken != nil || err != nil {
			t.Fatal(broken, err)
		}
		if !reflect.DeepEqual(got.records, test.records) || !reflect.DeepEqual(got.owner, test.owner) {
			t.Errorf("%+v\nwant %+v", got, test)
		}
	}
	value, err := appendName(nil, name, []store.Record{{Name: sampleName("other.test."), Type: 1, Class: 1}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for what, value := range map[string][]byte{"other name": value, "flag": {nameVersion, 2}, "empty": nil} {
		if broken, _ := visitName(name, value, &collected{}); broken == nil {
			t.Errorf("%s: accepted", what)
		}
	}
	failed := errors.New("visitor")
	for _, v := range []failing{{record: failed}, {owner: failed}} {
		if broken, err := visitName(name, encodedSample(t), v); broken != nil || !errors.Is(err, failed) {
			t.Error(broken, err)
		}
	}
}

type failing struct{ record, owner error }

func (f failing) Record(store.Record) error { return f.record }
func (f failing) Owner(store.Owner) error   { return f.owner }

// seeds are values that are right, and such with one octet changed.
func seeds(f *testing.F, value []byte) {
	f.Add(value)
	for at := range value {
		if at < 64 {
			other := bytes.Clone(value)
			other[at] ^= 0xFF
			f.Add(other)
		}
	}
}

func FuzzHead(f *testing.F) {
	h := sampleHead()
	seeds(f, h.append(nil))
	f.Fuzz(func(t *testing.T, value []byte) {
		h, err := decodeHead(value)
		if err != nil {
			return
		}
		if again, err := decodeHead(h.append(nil)); err != nil || !reflect.DeepEqual(again, h) {
			t.Errorf("%+v became %+v, %v", h, again, err)
		}
	})
}

func FuzzEntry(f *testing.F) {
	seeds(f, encodedEntry(f))
	f.Fuzz(func(t *testing.T, value []byte) {
		h, b, err := decodeEntry(value)
		if err != nil {
			return
		}
		if header, err := decodeHeader(value); err != nil || !reflect.DeepEqual(header, h) {
			t.Errorf("header %+v, %v, want %+v", header, err, h)
		}
		again, err := appendEntry(nil, &h, &b)
		if err != nil {
			t.Fatal(err)
		}
		h2, b2, err := decodeEntry(again)
		if err != nil || !reflect.DeepEqual(h2, h) || !reflect.DeepEqual(b2, b) {
			t.Errorf("%+v %+v became %+v %+v, %v", h, b, h2, b2, err)
		}
	})
}

func FuzzName(f *testing.F) {
	seeds(f, encodedSample(f))
	name := sampleName(`b\000.example.test.`)
	f.Fuzz(func(t *testing.T, value []byte) {
		var got, again collected
		broken, err := visitName(name, value, &got)
		if err != nil {
			t.Fatal(err)
		}
		if broken != nil {
			return
		}
		encoded, err := appendName(nil, name, got.records, got.owner)
		if err != nil {
			t.Fatal(err)
		}
		if broken, err := visitName(name, encoded, &again); broken != nil || err != nil || !reflect.DeepEqual(again, got) {
			t.Errorf("%+v became %+v, %v, %v", got, again, broken, err)
		}
	})
}

func FuzzMarks(f *testing.F) {
	seeds(f, appendMarks([]byte{marksVersion}, sampleBatch().Marks))
	f.Fuzz(func(t *testing.T, value []byte) {
		marks, err := decodeMarks(value)
		if err != nil {
			return
		}
		if again, err := decodeMarks(appendMarks([]byte{marksVersion}, marks)); err != nil || !reflect.DeepEqual(again, marks) {
			t.Errorf("%v became %v, %v", marks, again, err)
		}
	})
}

func FuzzContext(f *testing.F) {
	seeds(f, encodeContext([]byte("sealed"), time.Unix(1_700_000_000, 0)))
	f.Fuzz(func(t *testing.T, value []byte) {
		record, expires, err := decodeContext(value)
		if err != nil {
			return
		}
		again, at, err := decodeContext(encodeContext(record, expires))
		if err != nil || !bytes.Equal(again, record) || !at.Equal(expires) {
			t.Errorf("%q until %v became %q until %v, %v", record, expires, again, at, err)
		}
	})
}

// collected is what one name holds.
type collected struct {
	records []store.Record
	owner   *store.Owner
}

func (c *collected) Record(r store.Record) error { c.records = append(c.records, r); return nil }
func (c *collected) Owner(o store.Owner) error   { c.owner = &o; return nil }

// TestNextEpoch: the number of an epoch is above those that a backup does not tell of.
func TestNextEpoch(t *testing.T) {
	at := time.Unix(1_900_000_000, 0)
	for _, test := range []struct {
		before uint32
		now    time.Time
		want   uint32
	}{
		{1, at, 1_900_000_000},
		{1_900_000_000, at, 1_900_000_001},                 // twice in a second
		{1_900_000_007, at.Add(-time.Hour), 1_900_000_008}, // a clock that is behind
		{5, time.Unix(-5, 0), 6},                           // one that is wrong
		{5, time.Unix(1<<40, 0), 1<<32 - 1},                // and one that is wrong the other way
		{1<<32 - 2, time.Unix(1_900_000_000, 0), 1<<32 - 1},
	} {
		if got, err := nextEpoch(test.before, test.now); err != nil || got != test.want {
			t.Errorf("after %d at %v: %d, %v; want %d", test.before, test.now, got, err, test.want)
		}
	}
	if got, err := nextEpoch(1<<32-1, at); err == nil {
		t.Errorf("after the last one: %d", got)
	}
}

// TestHistoryIsNotReplacedByOlder: what a load began to read before the log went on, and was trimmed, takes nothing back. Otherwise
// later commits would name a log in the head that etcd does not have.
func TestHistoryIsNotReplacedByOlder(t *testing.T) {
	at := func(sequence uint64) id { return id{0, 0, 0, 1, 15: byte(sequence)} }
	entryOf := func(sequence, oldest uint64) entry {
		return entry{entryHeader: entryHeader{sequence: sequence, batch: at(sequence), before: at(sequence - 1), oldest: oldest, marks: oldest}, revision: int64(sequence)}
	}
	h := history{changed: make(chan struct{})}
	old := head{sequence: 10, batch: at(10), oldest: 11, marks: 11}
	h.replace(store.Position{}, old, 10, nil, nil, 1)
	for sequence := uint64(11); sequence <= 20; sequence++ {
		e := entryOf(sequence, sequence-1)
		if !h.add(&e, nil, store.Record{}, 1) {
			t.Fatal(sequence)
		}
	}
	before := old.position(10)
	h.replace(before, old, 10, nil, nil, 1)
	if head, revision, _ := h.state(); head.sequence != 20 || revision != 20 {
		t.Errorf("batch %d, revision %d", head.sequence, revision)
	}
	// A backup that was restored after the load began counts all the same.
	known := h.position()
	h.replace(known, old, 10, nil, nil, 1)
	if head, _, _ := h.state(); head.sequence != 10 {
		t.Errorf("batch %d after a backup was restored", head.sequence)
	}
	// So does another epoch.
	h.replace(before, head{sequence: 15, batch: id{0, 0, 0, 2}, oldest: 16, marks: 16}, 30, nil, nil, 1)
	if head, _, _ := h.state(); head.sequence != 15 {
		t.Errorf("batch %d in another epoch", head.sequence)
	}
}
