package admin

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/zone"
	"github.com/gsstsig/coredns-gsstsig/zone/store/disk"
)

const master = `$TTL 300
@ SOA ns1.example.test. hostmaster.example.test. 41 900 600 86400 300
@ NS ns1
ns1 A 192.0.2.53
*.wild TXT "a \"quoted\" string; with a semicolon"
a\.b A 192.0.2.7
unknown TYPE65280 \# 4 c0000201
`

func writeFile(t *testing.T, content string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "db")
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// body is a dump without its serial, which each load raises.
func body(dump string) string {
	for _, serial := range []string{"serial ", "SOA ns1.example.test. hostmaster.example.test. "} {
		before, rest, _ := strings.Cut(dump, serial)
		dump = before + serial + strings.TrimLeft(rest, "0123456789")
	}
	return dump
}

// TestDumpAndLoad: what a running zone's database is dumped as loads into an empty one, ownership and all.
func TestDumpAndLoad(t *testing.T) {
	directory := t.TempDir()
	if status, out, err := run(t, "load", "-database", directory, "example.test", writeFile(t, master)); status != ExitOK || !strings.Contains(out, "serial 42") {
		t.Fatalf("load: exit status %d: %s%s", status, out, err)
	}

	// The server runs, and takes updates.
	database, err := disk.Open(disk.Path(directory, "example.test"), disk.Options{Origin: "example.test."})
	if err != nil {
		t.Fatal(err)
	}
	z, err := zone.Open(zone.Config{Origin: "example.test.", Store: database})
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	update := func(line string, class uint16) {
		rr, err := dns.NewRR(line)
		if err != nil {
			t.Fatal(err)
		}
		rr.Header().Class = class
		if class == dns.ClassANY {
			rr = &dns.ANY{Hdr: dns.RR_Header{Name: rr.Header().Name, Rrtype: dns.TypeANY, Class: dns.ClassANY}}
		}
		m := new(dns.Msg)
		m.SetUpdate("example.test.")
		m.Ns = []dns.RR{rr}
		message, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		result := z.Apply(t.Context(), &zone.Update{Message: message, Authorize: func(p *zone.Proposal) zone.Decision {
			return zone.Decision{Allow: true, Own: []zone.Claim{{Name: string(p.Name(0).Wire()), Principal: `host/a"b@EXAMPLE.TEST`}}}
		}})
		if result.Rcode != dns.RcodeSuccess {
			t.Fatal(result.Err)
		}
	}
	update("host.example.test. 300 IN A 192.0.2.1", dns.ClassINET)
	update("gone.example.test. 300 IN A 192.0.2.2", dns.ClassINET)
	update("gone.example.test. 300 IN A 192.0.2.2", dns.ClassANY)

	status, first, errText := run(t, "dump", "-database", directory, "example.test.")
	if status != ExitOK {
		t.Fatalf("dump beside the server: exit status %d: %s", status, errText)
	}
	for _, line := range []string{";gsstsig: zone example.test. serial 45\n", "host.example.test. 300 IN A 192.0.2.1\n", `;gsstsig: owner host.example.test. "host/a\"b@EXAMPLE.TEST"` + "\n",
		`;gsstsig: owner gone.example.test. "host/a\"b@EXAMPLE.TEST" deleted 20`} {
		if !strings.Contains(first, line) {
			t.Errorf("%q is not in the dump:\n%s", line, first)
		}
	}

	// What one server wrote another one loads.
	elsewhere := t.TempDir()
	if status, out, err := run(t, "load", "-database", elsewhere, "example.test", writeFile(t, first)); status != ExitOK {
		t.Fatalf("load: exit status %d: %s%s", status, out, err)
	}
	if _, second, _ := run(t, "dump", "-database", elsewhere, "example.test"); body(second) != body(first) {
		t.Errorf("loaded and dumped again:\n%s\nfirst:\n%s", second, first)
	}

	// The running server's database is neither empty nor free.
	if status, _, err := run(t, "load", "-database", directory, "example.test", writeFile(t, first)); status != ExitNo || !strings.Contains(err, "in use") {
		t.Errorf("load beside the server: exit status %d: %s", status, err)
	}
	if status, _, err := run(t, "load", "-database", elsewhere, "example.test", writeFile(t, first)); status != ExitNo || !strings.Contains(err, "has the zone already") {
		t.Errorf("load over a zone: exit status %d: %s", status, err)
	}
}

// TestLoadRecordsMasterFile: a database that was just loaded is as new as the master file that the Corefile names.
func TestLoadRecordsMasterFile(t *testing.T) {
	seed := writeFile(t, master)
	conf := write(t, "\t\tfile "+seed+" example.test\n\t\tdatabase zones")
	if status, out, err := run(t, "load", "-conf", conf, "example.test", seed); status != ExitOK || err != "" {
		t.Fatalf("load: exit status %d: %s%s", status, out, err)
	}
	mark := filepath.Join(filepath.Dir(conf), "zones", "example.test.seed")
	first, err := os.ReadFile(mark)
	if err != nil || len(first) == 0 {
		t.Fatalf("%q, %v", first, err)
	}
	if err := os.RemoveAll(filepath.Join(filepath.Dir(conf), "zones", "example.test")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(seed, []byte(master+"more A 192.0.2.9\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if status, _, err := run(t, "load", "-conf", conf, "example.test", seed); status != ExitOK || err != "" {
		t.Fatalf("load again: exit status %d: %s", status, err)
	}
	if second, err := os.ReadFile(mark); err != nil || string(second) == string(first) {
		t.Errorf("the mark is %q still (%v)", second, err)
	}
}

// TestDatabaseJSON: load and dump for programs.
func TestDatabaseJSON(t *testing.T) {
	directory := t.TempDir()
	deleted := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	content := master + ";gsstsig: owner ns1.example.test. host/a@EXAMPLE.TEST\n;gsstsig: owner gone.example.test. \"host/b@EXAMPLE.TEST\" deleted 2026-01-02T03:04:05Z\n"
	_, out, errs := run(t, "load", "example.test", writeFile(t, content), "-database", directory, "-o", "json")
	var loaded loadedJSON
	if err := json.Unmarshal([]byte(out), &loaded); err != nil || loaded != (loadedJSON{Zone: "example.test.", Serial: 42, Records: 6, Database: disk.Path(directory, "example.test")}) {
		t.Errorf("%v: %+v\n%s%s", err, loaded, out, errs)
	}
	_, out, errs = run(t, "dump", "example.test", "-database", directory, "-o", "json")
	var dumped dumpJSON
	if err := json.Unmarshal([]byte(out), &dumped); err != nil {
		t.Fatalf("%v\n%s%s", err, out, errs)
	}
	if dumped.Zone != "example.test." || dumped.Serial != 42 || len(dumped.Records) != 6 || len(dumped.Owners) != 2 {
		t.Errorf("%+v", dumped)
	}
	if !slices.Contains(dumped.Records, recordJSON{Name: "ns1.example.test.", TTL: 300, Type: "A", Data: "192.0.2.53"}) {
		t.Errorf("%+v", dumped.Records)
	}
	for _, o := range dumped.Owners {
		if (o.Name == "gone.example.test.") != (o.Deleted != nil && o.Deleted.Equal(deleted)) {
			t.Errorf("%+v", o)
		}
	}
}

func TestLoadRefuses(t *testing.T) {
	for name, test := range map[string]struct{ content, says string }{
		"no zone":            {"a.example.test. 300 A 192.0.2.1\n", "SOA"},
		"syntax":             {master + "x A not-an-address\n", ":8"},
		"owner without name": {master + ";gsstsig: owner example.test.\n", ":8: annotation: not of the form owner NAME PRINCIPAL"},
		"owner of no name":   {master + ";gsstsig: owner a..example.test. a@B\n", `:8: annotation: name "a..example.test."`},
		"owner is nobody":    {master + ";gsstsig: owner a.example.test. \"\"\n", ":8: annotation: name"},
		"owner elsewhere":    {master + ";gsstsig: owner a.example.org. a@B\n", `:8: annotation: name "a.example.org." is not in the zone`},
		"owner with junk":    {master + ";gsstsig: owner a.example.test. a@B since ever\n", ":8:"},
		"owner without time": {master + ";gsstsig: owner a.example.test. a@B deleted yesterday\n", `:8: annotation: time "yesterday"`},
		"another zone":       {";gsstsig: zone example.org. serial 1\n" + master, `:1: annotation: this is a dump of another zone, "example.org."`},
		"zone with junk":     {";gsstsig: zone example.test.\n" + master, ":1: annotation: not of the form"},
		"a later release":    {master + ";gsstsig: weather fine\n", `:8: annotation: "weather" is not known to this release. Fix: `},
		"several errors":     {master + "x A 1\ny A 2\n", ":9: A: "},
	} {
		t.Run(name, func(t *testing.T) {
			directory := t.TempDir()
			status, _, err := run(t, "load", "-database", directory, "example.test", writeFile(t, test.content))
			if status != ExitNo || !strings.Contains(err, test.says) {
				t.Errorf("exit status %d: %s", status, err)
			}
			// It can be corrected and loaded again.
			if status, _, err := run(t, "load", "-database", directory, "example.test", writeFile(t, master)); status != ExitOK {
				t.Errorf("after correction: exit status %d: %s", status, err)
			}
		})
	}
}

// TestDatabaseByCorefile: the Corefile tells where the database is, and may reads the zone's state from it.
func TestDatabaseByCorefile(t *testing.T) {
	conf := write(t, "\t\tdatabase zones")
	contents := master + "taken A 192.0.2.9\n" + ";gsstsig: owner taken.example.test. host/first.example.test@EXAMPLE.TEST\n"
	if status, _, err := run(t, "load", "-conf", conf, "example.test", writeFile(t, contents)); status != ExitOK {
		t.Fatalf("load: exit status %d: %s", status, err)
	}
	if status, out, err := run(t, "dump", "-conf", conf, "example.test"); status != ExitOK || !strings.Contains(out, "taken.example.test.") {
		t.Errorf("dump: exit status %d: %s%s", status, out, err)
	}
	for principal, want := range map[string]int{"host/first.example.test@EXAMPLE.TEST": ExitOK, "host/second.example.test@EXAMPLE.TEST": ExitNo} {
		if status, out, err := run(t, "may", "-conf", conf, principal, "taken.example.test", "A"); status != want {
			t.Errorf("%s: exit status %d: %s%s", principal, status, out, err)
		}
	}
	for name, args := range map[string][]string{
		"a zone of no block":      {"dump", "-conf", conf, "example.org"},
		"a zone without database": {"dump", "-conf", write(t, ""), "example.test"},
		"a database to come":      {"dump", "-conf", conf, "2.0.192.in-addr.arpa"},
	} {
		if status, out, err := run(t, args...); status != ExitNo || err == "" {
			t.Errorf("%s: exit status %d: %s%s", name, status, out, err)
		}
	}
}
