package zone

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
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
`), SeedConfig{Origin: "Example.Test", File: "db"})
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
		{"NS at a wildcard", apex + "*.x 60 NS ns1\n", 3, "*.x.example.test.: no NS record may be at a wildcard"},
		{"NS at the zone's wildcard", apex + "* 60 NS ns1\n", 3, "*.example.test.: no NS record may be at a wildcard"},
		{"DS at the apex", apex + "@ 60 DS 1 8 5 00\n", 3, "no DS record at the zone's name, and it is a DS record"},
		{"outside", apex + "example.net. 60 A 192.0.2.1\n", 3, "not in the zone example.test."},
		{"CNAME and other", apex + "x 60 A 192.0.2.1\n; comment\nX 60 CNAME y\n", 5, "CNAME and other data"},
		{"other and CNAME", apex + "x 60 CNAME y\nz 60 A 192.0.2.1\nx 60 A 192.0.2.1\nz2 60 A 192.0.2.1\n", 5, "CNAME and other data"},
		{"CNAME at the apex", apex + "@ 60 CNAME y\n", 3, "CNAME and other data"},
		{"two CNAME", apex + "x 60 CNAME y\nx 60 CNAME z\n", 4, "more than one CNAME"},
		{"two DNAME", apex + "x 60 DNAME y\nx 60 DNAME z\n", 4, "more than one DNAME"},
		{"two RESINFO", apex + "x 60 RESINFO qnamemin\nx 60 RESINFO exterr=15\n", 4, "more than one RESINFO"},
		{"class CH", apex + "x 60 CH A 192.0.2.1\n", 3, `class "CH"`},
		{"class CH, TXT", apex + "x 60 CH TXT a\n", 3, `class "CH"`},
		{"meta-type", apex + "x 60 TYPE249 \\# 1 00\n", 3, "TKEY"},
		{"bad rdata", apex + "x 60 A 192.0.2.256\n", 3, "A: "},
		{"bad rdata in generic form", apex + "x 60 TYPE1 \\# 3 c00002\n", 3, ""},
		{"include", apex + "$INCLUDE other\n", 3, "$INCLUDE"},
		{"unbalanced", apex + "x 60 TXT ( a\n", 3, "parenthes"},
		{"over lines", apex + "x 60 CH TXT ( a\n b )\n", 3, `class "CH"`},
		{"no TTL", "x A 192.0.2.1\n" + apex, 1, "no TTL"},
		{"last line without end", apex + "example.net. 60 A 192.0.2.1", 3, "not in the zone example.test."},
	} {
		t.Run(tc.name, func(t *testing.T) {
			rrs, err := ParseSeed(strings.NewReader(tc.text), SeedConfig{Origin: "example.test.", File: "db.example"})
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
	if _, err := ParseSeed(strings.NewReader(""), SeedConfig{Origin: "a..b.", File: "db"}); err == nil {
		t.Error("took a bad origin")
	}
}

// TestParseSeedTTL: RFC 2308 section 4, and a warning wherever the file does not say it itself.
func TestParseSeedTTL(t *testing.T) {
	const soa = "@ IN SOA ns1 hostmaster 1 2 3 4 77\n@ IN NS ns1\n"
	for name, tc := range map[string]struct {
		text  string
		want  []uint32 // in canonical order
		warns []string
	}{
		"$TTL":                  {"$TTL 5\n" + soa + "$TTL 6\na A 192.0.2.1\nb 7 A 192.0.2.1\nc A 192.0.2.1\n", []uint32{5, 5, 6, 7, 6}, nil},
		"none":                  {soa + "a A 192.0.2.1\nx 60 A 192.0.2.1\ny A 192.0.2.1\n", []uint32{77, 77, 77, 60, 77}, []string{"db:1: ", "$TTL"}},
		"that of one before":    {"@ 9 SOA ns1 hostmaster 1 2 3 4 77\n@ NS ns1\n", []uint32{9, 9}, []string{"db:2: ", "RFC 1035"}},
		"two in one RRset":      {"$TTL 5\n" + soa + "a A 192.0.2.1\nA 6 A 192.0.2.2\n", []uint32{5, 5, 5, 5}, []string{"db:5: A.example.test. A has TTL 6", "RFC 2181"}},
		"one of two RRsets":     {"$TTL 5\n" + soa + "a A 192.0.2.1\na 6 TXT a\n", []uint32{5, 5, 5, 6}, nil},
		"more than 31 bits":     {"$TTL 5\n" + soa + "a 2147483648 A 192.0.2.1\n", []uint32{5, 5, 0}, []string{"db:4: ", "RFC 2181"}},
		"more than can be read": {"$TTL 5\n" + soa + strings.Repeat("a 6 A 192.0.2.1\n", 1) + strings.Repeat("a 7 A 192.0.2.2\n", 15), []uint32{5, 5, 6, 6}, []string{"5 more warnings"}},
	} {
		t.Run(name, func(t *testing.T) {
			var said strings.Builder
			records, err := ParseSeed(strings.NewReader(tc.text), SeedConfig{Origin: "example.test.", File: "db", Warn: func(w SeedWarning) { said.WriteString(w.String() + "\n") }})
			if err != nil {
				t.Fatal(err)
			}
			var got []uint32
			for _, r := range records {
				got = append(got, r.TTL)
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("TTLs %d, want %d", got, tc.want)
			}
			for _, words := range tc.warns {
				if !strings.Contains(said.String(), words) {
					t.Errorf("%q is not in the warnings:\n%s", words, said.String())
				}
			}
			if lines := strings.Count(said.String(), "\n"); len(tc.warns) == 0 && lines > 0 || lines > maxSeedWarnings+1 {
				t.Errorf("%d warnings:\n%s", lines, said.String())
			}
		})
	}
}

// TestParseSeedSpelling: owners stay as they are written (RFC 1034 section 3.1).
func TestParseSeedSpelling(t *testing.T) {
	records, err := ParseSeed(strings.NewReader("$TTL 5\n@ SOA ns1 hostmaster 1 2 3 4 5\n@ NS NS1\nHost-A A 192.0.2.1\nhost-a TXT a\n"),
		SeedConfig{Origin: "example.test.", File: "db"})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records[2:] {
		if got := textOf(r.Name); got != "Host-A.example.test." {
			t.Error(got)
		}
	}
}

// TestParseSeedSigned: what a signer added is left out, with one warning that counts it. The same elsewhere, and other private
// data, stays.
func TestParseSeedSigned(t *testing.T) {
	const zone = `$TTL 60
@ SOA ns1 hostmaster 1 2 3 4 5
@ RRSIG SOA 13 2 60 20300101000000 20200101000000 1 example.test. AAAA
@ NS ns1
@ DNSKEY 257 3 13 AAAA
@ CDS 1 13 2 ` + "00000000000000000000000000000000000000000000000000000000000000000000" + `
@ CDNSKEY 257 3 13 AAAA
@ NSEC3PARAM 1 0 0 -
@ NSEC ns1 NS SOA
ns1 A 192.0.2.1
ns1 RRSIG A 13 3 60 20300101000000 20200101000000 1 example.test. AAAA
EAIS2Q7UQ5M00DT5LVAU6K9BV9LQ6N1V NSEC3 1 0 0 - EAIS2Q7UQ5M00DT5LVAU6K9BV9LQ6N1V A
@ ZONEMD 1 1 240 0102030405060708090a0b0c
@ TYPE65534 \# 5 0DB4B20001
@ TYPE65534 \# 6 000180000000
keys DNSKEY 257 3 13 AAAA
keys ZONEMD 1 1 240 0102030405060708090a0b0c
keys TYPE65534 \# 5 0DB4B20001
@ TYPE65534 \# 4 0DB4B200
@ TYPE65534 \# 6 010180000000
`
	text := strings.Replace(zone, strings.Repeat("0", 68), strings.Repeat("0", 64), 1)
	var warnings []SeedWarning
	config := SeedConfig{Origin: "example.test.", File: "db", Warn: func(w SeedWarning) { warnings = append(warnings, w) }}
	records, err := ParseSeed(strings.NewReader(text), config)
	if err != nil || len(records) != 8 {
		t.Errorf("%d records, %v", len(records), err)
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0].Text, "11 records") || !strings.Contains(warnings[0].Fix, "dnssec") {
		t.Errorf("%q", warnings)
	}
	config.Signed = true
	if records, err = ParseSeed(strings.NewReader(text), config); err != nil || len(records) != 19 || len(warnings) != 1 {
		t.Errorf("%d records, %v, %q", len(records), err, warnings)
	}
}

// TestParseSeedInclude: names are relative to the including file, errors name the included one, and the depth is bounded.
func TestParseSeedInclude(t *testing.T) {
	files := map[string]string{
		"zones/db":        "$TTL 60\n@ SOA ns1 hostmaster 1 2 3 4 5\n@ NS ns1\n$INCLUDE sub/hosts\n",
		"zones/sub/hosts": "ns1 A 192.0.2.1\n$INCLUDE more\n",
		"zones/sub/more":  "x A 192.0.2.2\n",
	}
	open := func(name string) (io.ReadCloser, error) {
		content, ok := files[name]
		if !ok {
			return nil, fmt.Errorf("no file %s", name)
		}
		return io.NopCloser(strings.NewReader(content)), nil
	}
	parse := func() ([]store.Record, error) {
		return ParseSeed(strings.NewReader(files["zones/db"]), SeedConfig{Origin: "example.test.", File: "zones/db", Open: open})
	}
	if records, err := parse(); err != nil || len(records) != 4 {
		t.Errorf("%d records, %v", len(records), err)
	}
	for content, want := range map[string]string{
		"x A 192.0.2.2\n\ny A 192.0.2\n": "zones/sub/more:3: A",
		"x A 192.0.2.2\nx CNAME y\n":     "zones/sub/more:2: x.example.test.: CNAME and other data",
		"$INCLUDE more\n":                "includes itself",
		"$INCLUDE nowhere\n":             "zones/sub/more:1: ",
	} {
		files["zones/sub/more"] = content
		var seed *SeedError
		if _, err := parse(); !errors.As(err, &seed) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", content, err, want)
		}
	}
}

// TestParseSeedSeveral: the errors of a file come together and in order, but not all of many.
func TestParseSeedSeveral(t *testing.T) {
	const apex = "@ 60 IN SOA ns1 hostmaster 1 2 3 4 5\n@ 60 NS ns1\n"
	_, err := ParseSeed(strings.NewReader(apex+"x 60 A 192\ny 60 A 192.0.2.1\ny 60 CNAME z\nz 60 AAAA 1\nexample.net. 60 TXT a\n"), SeedConfig{Origin: "example.test.", File: "db"})
	var all SeedErrors
	if !errors.As(err, &all) || len(all) != 4 || all[0].Line != 3 || all[1].Line != 5 || all[2].Line != 6 || all[3].Line != 7 || all[3].Fix == "" {
		t.Errorf("%v", err)
	}
	_, err = ParseSeed(strings.NewReader(apex+strings.Repeat("x 60 A 192\ny.net. 60 A 192.0.2.1\n", 50)), SeedConfig{Origin: "example.test.", File: "db"})
	if !errors.As(err, &all) || len(all) != maxSeedErrors {
		t.Errorf("%v", err)
	}
	// A zone without its SOA is not worth a word if the line of the SOA is wrong.
	_, err = ParseSeed(strings.NewReader("@ 60 IN SOA ns1 hostmaster 1 2 3 4\n@ 60 NS ns1\n"), SeedConfig{Origin: "example.test.", File: "db"})
	var one *SeedError
	if !errors.As(err, &one) || one.Line != 1 || strings.Contains(err.Error(), "no SOA") {
		t.Errorf("%v", err)
	}
}

func TestRaiseSerial(t *testing.T) {
	for _, tc := range []struct {
		own    uint32
		served []uint32
		want   uint32 // 0: none
	}{
		{41, nil, 42},
		{41, []uint32{41}, 42},
		{41, []uint32{50, 30}, 51},
		{1<<32 - 1, nil, 1},
		{1<<32 - 5, []uint32{3}, 4},
		{3, []uint32{1<<32 - 5}, 4},
		{1, []uint32{1<<31 + 1}, 0},
		{1, []uint32{1 << 31}, 0},
		{1, []uint32{1<<31 - 1}, 1 << 31},
	} {
		records, err := ParseSeed(strings.NewReader(fmt.Sprintf("@ 60 IN SOA ns1 hostmaster %d 2 3 4 5\n@ 60 NS ns1\n", tc.own)), SeedConfig{Origin: "example.test.", File: "db"})
		if err != nil {
			t.Fatal(err)
		}
		err = RaiseSerial(records, tc.served...)
		if got := soaSerial(records[0].Data); (err == nil) != (tc.want != 0) || err == nil && got != tc.want {
			t.Errorf("%d after %d: %d, %v; want %d", tc.own, tc.served, got, err, tc.want)
		}
	}
	if err := RaiseSerial(nil, 1); err == nil {
		t.Error("no records have a serial")
	}
}

type failingReader struct{ err error }

func (f failingReader) Read([]byte) (int, error) { return 0, f.err }

func TestParseSeedReadError(t *testing.T) {
	if _, err := ParseSeed(failingReader{errors.New("input/output error")}, SeedConfig{Origin: "example.test.", File: "db"}); err == nil || !strings.Contains(err.Error(), "input/output error") {
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

// TestCheckSeed: records of another server are held to what a master file is, and their octets are not trusted.
func TestCheckSeed(t *testing.T) {
	wire := func(name string) string {
		b, err := dnswire.ParseName(name, nil)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	const origin = "example.test."
	ns := store.Record{Name: wire(origin), Type: dns.TypeNS, Class: 1, TTL: 60, Data: []byte(wire("ns." + origin))}
	soa := store.Record{Name: wire(origin), Type: dns.TypeSOA, Class: 1, TTL: 60, Data: []byte(wire("ns."+origin) + wire("h."+origin) + strings.Repeat("\x00\x00\x00\x05", 5))}
	a := store.Record{Name: wire("A." + origin), Type: dns.TypeA, Class: 1, TTL: 60, Data: []byte{192, 0, 2, 1}}
	with := func(change func(*store.Record)) store.Record {
		r := a
		change(&r)
		return r
	}
	for name, test := range map[string]struct {
		records []store.Record
		want    int
		says    string // by the error, or the warning if there are records
	}{
		"a zone, in any order":    {[]store.Record{a, ns, soa}, 3, ""},
		"a record twice":          {[]store.Record{soa, ns, a, a}, 3, ""},
		"two TTLs":                {[]store.Record{soa, ns, a, with(func(r *store.Record) { r.TTL, r.Data = 61, []byte{192, 0, 2, 2} })}, 4, "a.example.test. A has TTL 61"},
		"signatures":              {[]store.Record{soa, ns, with(func(r *store.Record) { r.Type, r.Data = dns.TypeNSEC, []byte("\x00\x00\x01\x40") })}, 2, "1 records of a signed zone"},
		"no SOA":                  {[]store.Record{ns, a}, 0, "no SOA record"},
		"NS at a wildcard":        {[]store.Record{soa, ns, with(func(r *store.Record) { r.Name, r.Type, r.Data = wire("*."+origin), dns.TypeNS, ns.Data })}, 0, "no NS record may be at a wildcard"},
		"no NS":                   {[]store.Record{soa, a}, 0, "no NS record"},
		"rdata too short":         {[]store.Record{soa, ns, with(func(r *store.Record) { r.Data = r.Data[:3] })}, 0, "A.example.test. A: "},
		"rdata of an SOA missing": {[]store.Record{with(func(r *store.Record) { r.Name, r.Type, r.Data = soa.Name, dns.TypeSOA, nil }), ns}, 0, "SOA: "},
		"a name that is none":     {[]store.Record{soa, ns, with(func(r *store.Record) { r.Name = "\x05a" })}, 0, "is not a domain name"},
		"no name":                 {[]store.Record{soa, ns, with(func(r *store.Record) { r.Name = "" })}, 0, "is not a domain name"},
		"outside":                 {[]store.Record{soa, ns, with(func(r *store.Record) { r.Name = wire("a.other.test.") })}, 0, "not in the zone"},
		"another class":           {[]store.Record{soa, ns, with(func(r *store.Record) { r.Class = 3 })}, 0, "class CH"},
		"OPT":                     {[]store.Record{soa, ns, with(func(r *store.Record) { r.Type, r.Data = dns.TypeOPT, nil })}, 0, "cannot be in a zone"},
		"CNAME and other data":    {[]store.Record{soa, ns, a, with(func(r *store.Record) { r.Type, r.Data = dns.TypeCNAME, []byte{0} })}, 0, "CNAME and other data"},
		"many errors":             {slices.Repeat([]store.Record{with(func(r *store.Record) { r.Data = nil })}, 100), 0, "A.example.test. A: "},
	} {
		var warned string
		got, err := CheckSeed(test.records, SeedConfig{Origin: origin, File: "axfr://server", Warn: func(w SeedWarning) { warned += w.String() }})
		if err != nil {
			warned = err.Error()
		}
		if len(got) != test.want || (test.want > 0) != (err == nil) || !strings.Contains(strings.ToLower(warned), strings.ToLower(test.says)) || test.says == "" && warned != "" {
			t.Errorf("%s: %d records, %v: %s", name, len(got), err, warned)
		}
		if test.says != "" && !strings.HasPrefix(warned, "axfr://server: ") {
			t.Errorf("%s: the source is not named: %s", name, warned)
		}
		var all SeedErrors
		if errors.As(err, &all) && len(all) > maxSeedErrors {
			t.Errorf("%s: %d errors", name, len(all))
		}
		if len(got) > 0 && got[0].Type != dns.TypeSOA {
			t.Errorf("%s: the SOA record is not the first", name)
		}
	}
}
