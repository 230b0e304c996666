package zone

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

func TestParseSeed(t *testing.T) {
	rrs, err := ParseSeed(strings.NewReader(`$TTL 300
@	IN SOA ns1 hostmaster ( 1 ; serial
		2 3 4 5 )
	NS ns1
ns1	A 192.0.2.1
NS1	60 A 192.0.2.2
ns1	A 192.0.2.1
alias	CNAME ns1
alias	CNAME NS1
$ORIGIN sub.example.test.
x	TXT "a" "b"
	TYPE65280 \# 1 ff
`), "Example.Test", "db")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, rr := range rrs {
		got = append(got, text(rrOf(rr)))
	}
	want := []string{
		"example.test. 300 IN SOA ns1.example.test. hostmaster.example.test. 1 2 3 4 5",
		"example.test. 300 IN NS ns1.example.test.",
		"alias.example.test. 300 IN CNAME ns1.example.test.",
		"ns1.example.test. 300 IN A 192.0.2.1",
		"ns1.example.test. 300 IN A 192.0.2.2",
		`x.sub.example.test. 300 IN TXT "a" "b"`,
		`x.sub.example.test. 300 CLASS1 TYPE65280 \# 1 ff`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestParseSeedErrors(t *testing.T) {
	const apex = "@ 60 IN SOA ns1 hostmaster 1 2 3 4 5\n@ 60 NS ns1\n"
	for _, tc := range []struct {
		name, text string
		line       int
		reason     string // part of it
	}{
		{"empty", "", 0, "no SOA"},
		{"no SOA", "@ 60 NS ns1\n", 0, "no SOA"},
		{"no NS", "@ 60 SOA ns1 hostmaster 1 2 3 4 5\n", 0, "no NS"},
		{"NS elsewhere", "@ 60 SOA ns1 hostmaster 1 2 3 4 5\nx 60 NS ns1\n", 0, "no NS"},
		{"two SOA", apex + "@ 60 SOA ns1 hostmaster 2 2 3 4 5\n", 3, "more than one SOA"},
		{"SOA below", apex + "\nx 60 SOA ns1 hostmaster 1 2 3 4 5\n", 4, "SOA record below"},
		{"outside", apex + "example.net. 60 A 192.0.2.1\n", 3, "not a name in the zone"},
		{"CNAME and other", apex + "x 60 A 192.0.2.1\n; comment\nX 60 CNAME y\n", 5, "CNAME and other data"},
		{"other and CNAME", apex + "x 60 CNAME y\nz 60 A 192.0.2.1\nx 60 A 192.0.2.1\nz2 60 A 192.0.2.1\n", 5, "CNAME and other data"},
		{"CNAME at the apex", apex + "@ 60 CNAME y\n", 3, "CNAME and other data"},
		{"two CNAME", apex + "x 60 CNAME y\nx 60 CNAME z\n", 4, "more than one CNAME"},
		{"two DNAME", apex + "x 60 DNAME y\nx 60 DNAME z\n", 4, "more than one DNAME"},
		{"class CH", apex + "x 60 CH A 192.0.2.1\n", 3, "class CH"},
		{"class CH, TXT", apex + "x 60 CH TXT a\n", 3, "class CH"},
		{"meta-type", apex + "x 60 TYPE249 \\# 1 00\n", 3, "TKEY"},
		{"bad rdata", apex + "x 60 A 192.0.2.256\n", 3, "bad A"},
		{"bad rdata in generic form", apex + "x 60 TYPE1 \\# 3 c00002\n", 3, ""},
		{"include", apex + "$INCLUDE other\n", 3, "named-compilezone"},
		{"unbalanced", apex + "x 60 TXT ( a\n", 0, ""},
		{"over lines", apex + "x 60 CH TXT ( a\n b )\n", 4, "class CH"},
		{"last line without end", apex + "example.net. 60 A 192.0.2.1", 3, "not a name in the zone"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			rrs, err := ParseSeed(strings.NewReader(tc.text), "example.test.", "db.example")
			var seed *SeedError
			if !errors.As(err, &seed) || rrs != nil {
				t.Fatalf("%v, %v", rrs, err)
			}
			if seed.File != "db.example" || !strings.Contains(seed.Reason, tc.reason) || seed.Reason == "" {
				t.Errorf("%v", err)
			}
			if tc.name != "unbalanced" && seed.Line != tc.line {
				t.Errorf("line %d, want %d: %v", seed.Line, tc.line, err)
			}
			if strings.Count(err.Error(), "db.example") != 1 {
				t.Errorf("%v", err)
			}
		})
	}
	if _, err := ParseSeed(strings.NewReader(""), "a..b.", "db"); err == nil {
		t.Error("took a bad origin")
	}
}

func TestParseSeedWithoutTTL(t *testing.T) {
	rrs, err := ParseSeed(strings.NewReader("@ IN SOA ns1 hostmaster 1 2 3 4 5\n@ IN NS ns1\nns1 A 192.0.2.1\nx 60 A 192.0.2.1\ny A 192.0.2.1\n"), "example.test.", "db")
	if err != nil {
		t.Fatal(err)
	}
	want := []uint32{3600, 3600, 3600, 60, 60}
	for i, rr := range rrs {
		if rr.TTL != want[i] {
			t.Errorf("%v", rr)
		}
	}
}

type failingReader struct{ err error }

func (f failingReader) Read([]byte) (int, error) { return 0, f.err }

func TestParseSeedReadError(t *testing.T) {
	if _, err := ParseSeed(failingReader{errors.New("input/output error")}, "example.test.", "db"); err == nil || !strings.Contains(err.Error(), "input/output error") {
		t.Error(err)
	}
}

func TestGeneratedApex(t *testing.T) {
	for _, origin := range []string{"Example.test", ".", strings.Repeat(strings.Repeat("x", 61)+".", 4) + "xxxx."} {
		z, err := Open(Config{Origin: origin, Store: memory(), Seed: func() ([]store.Record, error) {
			return GeneratedApex(origin, "NS1.example.test")
		}})
		if err != nil {
			t.Errorf("%s: %v", origin, err)
			continue
		}
		soa := z.Snapshot().SOA()
		if soa.Ns != "ns1.example.test." || soa.Serial != 1 || z.Snapshot().Len() != 2 {
			t.Errorf("%v", soa)
		}
		z.Close()
	}
	records, err := GeneratedApex("example.test.", "ns1.example.test.")
	if err != nil {
		t.Fatal(err)
	}
	if soa := rrOf(records[0]).(*dns.SOA); soa.Mbox != "hostmaster.example.test." {
		t.Error(soa)
	}
	for _, bad := range [][2]string{{"a..b.", "ns1.test."}, {"test.", "a..b."}} {
		if _, err := GeneratedApex(bad[0], bad[1]); err == nil {
			t.Errorf("%q has an apex", bad)
		}
	}
}
