package admin

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
	"github.com/gsstsig/coredns-gsstsig/internal/dnswire/dnswiretest"
	"github.com/gsstsig/coredns-gsstsig/zone"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

const origin = "example.test."

var apex = []byte("\x07example\x04test\x00")

// below returns the name of a label in the zone.
func below(label string) string { return string(byte(len(label))) + label + string(apex) }

// apexRecords are the SOA and the NS that every zone has.
func apexRecords(t testing.TB) []store.Record {
	t.Helper()
	records, err := zone.GeneratedApex(origin, "ns1."+origin)
	if err != nil {
		t.Fatal(err)
	}
	return records
}

// openMemory returns a zone of records and owners.
func openMemory(t testing.TB, records []store.Record, owners []store.Owner) *zone.Snapshot {
	t.Helper()
	z, err := zone.Open(zone.Config{Origin: origin, Store: store.NewMemory(store.MemoryOptions{}), Owners: owners,
		Seed: func() ([]store.Record, error) { return records, nil }})
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	return z.Snapshot()
}

// sameZone compares two zones octet by octet, but for the serial.
func sameZone(t testing.TB, what string, got, want *zone.Snapshot) {
	t.Helper()
	list := func(s *zone.Snapshot) map[string]int {
		all := make(map[string]int)
		for r := range s.WireRecords() {
			if r.Type == dnswire.TypeSOA {
				r.Data = slices.Clone(r.Data)
				clear(r.Data[len(r.Data)-20 : len(r.Data)-16])
			}
			all[fmt.Sprintf("%q %d %d %d %d %x", r.Name, r.Type, r.Class, r.TTL, r.Hours, r.Data)]++
		}
		for o := range s.Owners() {
			all[fmt.Sprintf("%+q", fmt.Sprint(o))]++
		}
		return all
	}
	g, w := list(got), list(want)
	if maps.Equal(g, w) {
		return
	}
	for line := range g {
		if g[line] != w[line] {
			t.Errorf("%s has %s", what, line)
		}
	}
	for line := range w {
		if g[line] != w[line] {
			t.Errorf("%s has not %s", what, line)
		}
	}
}

func dumped(t testing.TB, s *zone.Snapshot) string {
	t.Helper()
	var out bytes.Buffer
	if err := writeMaster(&out, s, nil); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// reload reads a dump. Nothing in a dump is worth a warning.
func reload(t testing.TB, dump string) *zone.Snapshot {
	t.Helper()
	records, owners, err := readMaster(strings.NewReader(dump), origin, "dump", func(f diagnose.Finding) { t.Error(f) })
	if err != nil {
		t.Fatalf("%v\n%s", err, dump)
	}
	return openMemory(t, records, owners)
}

// hostileLabels are labels that mean something in a master file, to a terminal or to a reader of lines.
var hostileLabels = []string{
	"plain", "My Printer", "a.b", `back\slash`, `quo"te`, "semi;colon", "line\nbreak", "carriage\rreturn", "nul\x00nul", "$ORIGIN", "$INCLUDE", "@", "*",
	"(", ")", ";gsstsig: owner x y", "\n;gsstsig: owner example.test. evil@E", "tab\there", "\x1b[31m", "\xff\xfe", "TYPE1", "IN", "300", " ", "UPPER", `\#`,
}

// hours is a time of a record, or that of a static one.
func hours(random *rand.Rand) uint32 {
	if random.IntN(2) == 0 {
		return 0
	}
	return 1 + random.Uint32N(maxHours)
}

// TestRoundTrip: a zone with all types of records, whatever their octets, whatever their names and owners, comes back the same
// from its dump, and from its database.
func TestRoundTrip(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	const each = 20
	records, owners := apexRecords(t), []store.Owner(nil)
	for i, r := range dnswiretest.Generate(uint64(each), each) {
		if r.Type == dnswire.TypeSOA || dnswire.Validate(r.Type, r.Octets) != nil {
			continue
		}
		name := below(fmt.Sprintf("%d %s", i, hostileLabels[random.IntN(len(hostileLabels))]))
		records = append(records, store.Record{Name: name, Type: r.Type, Class: 1, TTL: random.Uint32() >> 1, Hours: hours(random), Data: r.Octets})
	}
	for i, label := range hostileLabels {
		principal := fmt.Sprintf("host/%d%s@EXAMPLE.TEST", i, label)
		owner := store.Owner{Name: string(dnswire.AppendLower(nil, []byte(below(label)))), Principal: principal}
		if i%2 == 0 {
			records = append(records, store.Record{Name: below(label), Type: dnswire.TypeTXT, Class: 1, TTL: 5, Data: append([]byte{byte(len(label))}, label...)})
		} else {
			owner.Deleted = time.Unix(1_700_000_000+int64(i), 0).UTC()
		}
		owners = append(owners, owner)
	}
	want := openMemory(t, records, owners)
	if want.Len() < 1000 {
		t.Fatalf("only %d records", want.Len())
	}
	dump := dumped(t, want)
	for i := range len(dump) {
		if c := dump[i]; c != '\n' && (c < ' ' || c > '~') {
			t.Fatalf("octet %#x in a dump: %q", c, dump[max(0, i-40):i+1])
		}
	}
	if lines := strings.Count(dump, "\n"); lines != 2+want.Len()+want.Dynamic()+len(owners) {
		t.Errorf("%d lines for %d records, %d of them dynamic, and %d owners", lines, want.Len(), want.Dynamic(), len(owners))
	}
	got := reload(t, dump)
	sameZone(t, "the dump", got, want)
	if again := dumped(t, got); again != dump {
		t.Error("dumped again, it is another dump")
	}

	directory := t.TempDir()
	stored, err := fillDatabase(directory, origin, slices.Collect(want.WireRecords()), owners, nil)
	if err != nil {
		t.Fatal(err)
	}
	sameZone(t, "the new database", stored, want)
	restarted, err := readDatabase(directory, origin)
	if err != nil {
		t.Fatal(err)
	}
	sameZone(t, "the database", restarted, want)
}

// TestDumpIsNotForged: the octets of a record cannot become lines of the dump.
func TestDumpIsNotForged(t *testing.T) {
	lines := "\nadmin.example.test. 300 IN A 203.0.113.66\n;gsstsig: owner admin.example.test. host/evil@EXAMPLE.TEST\n;owner admin.example.test. \"host/evil@EXAMPLE.TEST\"\n" +
		"@ NS evil.example.org.\n* A 203.0.113.66\n;"
	attack := append(apexRecords(t),
		store.Record{Name: below("client1"), Type: dnswire.TypeNULL, Class: 1, TTL: 300, Data: []byte(lines)},
		store.Record{Name: below("client1"), Type: 65280, Class: 1, TTL: 300, Data: []byte(lines)},
		store.Record{Name: below("client1"), Type: dnswire.TypeTXT, Class: 1, TTL: 300, Data: append([]byte{byte(len(lines))}, lines...)},
		store.Record{Name: below("client1"), Type: dnswire.TypeCNAME + 7, Class: 1, TTL: 300, Data: []byte(below(lines[:40]))},
		store.Record{Name: below(lines[:42]), Type: dnswire.TypeA, Class: 1, TTL: 300, Data: []byte{192, 0, 2, 1}},
	)
	want := openMemory(t, attack, nil)
	got := reload(t, dumped(t, want))
	sameZone(t, "the dump", got, want)
	for o := range got.Owners() {
		t.Errorf("an owner %+v", o)
	}
	if got.Exists("admin.example.test.") || got.Exists("*.example.test.") {
		t.Error("a record was forged")
	}
}

// TestLoadSigned: the records of a signer are left out of a master file, and kept in a dump.
func TestLoadSigned(t *testing.T) {
	const signed = master + "ns1 NSEC @ A\n"
	directory := t.TempDir()
	status, out, errs := run(t, "load", "-database", directory, "example.test", writeFile(t, signed))
	if status != ExitOK || !strings.Contains(out, " 6 records") || !strings.Contains(errs, "1 records of a signed zone") || !strings.Contains(errs, "plugin dnssec") {
		t.Errorf("exit status %d: %s%s", status, out, errs)
	}
	status, out, errs = run(t, "load", "-database", t.TempDir(), "example.test", writeFile(t, ";gsstsig: zone example.test. serial 41\n"+signed))
	if status != ExitOK || !strings.Contains(out, " 7 records") || errs != "" {
		t.Errorf("exit status %d: %s%s", status, out, errs)
	}
}

// TestLoadRaisesSerial: a secondary that has the zone fetches what was loaded.
func TestLoadRaisesSerial(t *testing.T) {
	first := t.TempDir()
	if status, out, errs := run(t, "load", "-database", first, "example.test", writeFile(t, strings.Replace(master, " 41 ", " 4294967290 ", 1))); status != ExitOK {
		t.Fatalf("exit status %d: %s%s", status, out, errs)
	}
	previous := first + "/example.test"
	for name, test := range map[string]struct {
		args []string
		says string
	}{
		"file":            {nil, "serial 42,"},
		"former database": {[]string{"-previous", previous}, "serial 42,"},
		"secondary":       {[]string{"-served", "60", "-served", "50"}, "serial 61,"},
		"both":            {[]string{"-served", "60", "-previous", previous}, "serial 61,"},
		"no former one":   {[]string{"-previous", t.TempDir()}, "there is no file ZONE. Fix: name the directory that the zone's own was moved to"},
		"too far apart":   {[]string{"-served", "2147483689"}, "too far apart"},
		"not a serial":    {[]string{"-served", "4294967296"}, "32 bits"},
	} {
		t.Run(name, func(t *testing.T) {
			_, out, errs := run(t, append([]string{"load", "-database", t.TempDir(), "example.test", writeFile(t, master)}, test.args...)...)
			if !strings.Contains(out+errs, test.says) {
				t.Errorf("%s%s, want %s", out, errs, test.says)
			}
		})
	}
	_, out, errs := run(t, "load", "-database", t.TempDir(), "-previous", previous, "example.test", writeFile(t, strings.Replace(master, " 41 ", " 4294967280 ", 1)))
	if !strings.Contains(out, "serial 4294967292,") {
		t.Errorf("%s%s", out, errs)
	}
}

// TestProgress: a large zone says how far it is, on a terminal alone.
func TestProgress(t *testing.T) {
	var out bytes.Buffer
	if newProgress(&out, "records", 3, 1) != nil {
		t.Error("a buffer is a terminal")
	}
	var none *progress
	none.add(5)
	none.end()
	p := &progress{out: &out, what: "records stored", total: 40, step: 10, next: 10}
	p.add(9)
	if p.end(); out.Len() > 0 {
		t.Errorf("a small zone: %q", out.String())
	}
	p.add(1)
	p.add(5)
	p.add(25)
	p.end()
	if got := out.String(); got != "\rrecords stored: 25%\rrecords stored: 100%\n" {
		t.Errorf("%q", got)
	}
	out.Reset()
	p = &progress{out: &out, what: "octets read", step: 10, next: 10}
	p.add(12)
	p.end()
	if got := out.String(); got != "\roctets read: 12\n" {
		t.Errorf("%q", got)
	}
	// Both ways of a load tell it.
	out.Reset()
	p = &progress{out: &out, what: "records stored", step: 1, next: 1}
	if _, err := fillDatabase(t.TempDir(), origin, apexRecords(t), nil, p); err != nil || out.String() != "\rrecords stored: 1\rrecords stored: 2\n" {
		t.Errorf("%q, %v", out.String(), err)
	}
}

// fillDatabase fills an empty database.
func fillDatabase(directory, origin string, records []store.Record, owners []store.Owner, p *progress) (*zone.Snapshot, error) {
	config := zone.Config{Owners: owners, Seed: func() ([]store.Record, error) { return records, nil }}
	return fillHome(home{origin: origin, directory: directory}, config, p)
}
