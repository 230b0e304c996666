package zone

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

func memory() store.Store { return store.NewMemory(store.MemoryOptions{}) }

// The order of RFC 4034 section 6.1, in its own example.
func TestCanonicalOrder(t *testing.T) {
	o, err := newOrigin("example.")
	if err != nil {
		t.Fatal(err)
	}
	names := []string{
		"example.", "a.example.", "yljkjljk.a.example.", "Z.a.example.", "zABC.a.EXAMPLE.",
		"z.example.", `\001.z.example.`, "*.z.example.", `\200.z.example.`,
	}
	var keys []string
	for _, name := range names {
		key, ok := o.key(name)
		if !ok {
			t.Fatalf("%s is not in the zone", name)
		}
		keys = append(keys, key)
		if back := o.nameOf(key); back != strings.ToLower(name) || o.wireOf(key) != string(dnswire.AppendLower(nil, []byte(wire(t, name)))) {
			t.Errorf("%s came back as %s", name, back)
		}
	}
	if !slices.IsSorted(keys) {
		t.Errorf("%q", keys)
	}
}

// Octets 0 and 1 are the ones that keys escape.
func TestKeyEscapesKeepOrder(t *testing.T) {
	o, err := newOrigin("example.")
	if err != nil {
		t.Fatal(err)
	}
	labels := []string{`\000`, `\000\000`, `\000\001`, `\000a`, `\001`, `\001\000`, `\001\001`, `\001\255`, `\002`, `\002a`, "a", `a\000`, `a\001`, "aa", `\255`, `\255\255`}
	var keys []string
	for _, label := range labels {
		for _, name := range []string{label + ".example.", `\000.` + label + ".example.", `\255.` + label + ".example."} {
			key, ok := o.key(name)
			if !ok {
				t.Fatal(name)
			}
			if back := o.nameOf(key); back != name {
				t.Errorf("%s came back as %s", name, back)
			}
			keys = append(keys, key)
		}
	}
	for i := 1; i < len(keys); i++ {
		if keys[i-1] >= keys[i] {
			t.Errorf("%q not before %q", keys[i-1], keys[i])
		}
	}
}

func TestHasUpper(t *testing.T) {
	for length := 1; length < 20; length++ {
		for at := range length {
			for b := range 256 {
				wire := bytes.Repeat([]byte{'a'}, length)
				wire[at] = byte(b)
				if got, want := hasUpper(wire), 'A' <= b && b <= 'Z'; got != want {
					t.Fatalf("%q: %t", wire, got)
				}
			}
		}
	}
}

func TestKeyOfLongNames(t *testing.T) {
	o, err := newOrigin(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		strings.Repeat(`\000.`, 127),
		strings.Repeat(strings.Repeat(`\001`, 63)+".", 3) + strings.Repeat(`\255`, 61) + ".",
	} {
		key, ok := o.key(name)
		if back := o.nameOf(key); !ok || back != name {
			t.Errorf("%v, %s", ok, back)
		}
		if _, ok := o.key(`a` + name); ok && len(name) > 600 {
			t.Errorf("a name of 256 octets has a key")
		}
	}
}

func TestSnapshotReads(t *testing.T) {
	z := openText(t, updateZone, nil)
	s := z.Snapshot()
	if s.Origin() != "example.test." || z.Origin() != s.Origin() {
		t.Error(s.Origin())
	}
	if got := s.Types("A.example.test."); !slices.Equal(got, []uint16{dns.TypeA, dns.TypeTXT}) {
		t.Errorf("types %v", got)
	}
	if got := s.RRset("A.example.test.", dns.TypeA); len(got) != 2 || text(got[0]) != "A.example.test. 300 IN A 192.0.2.10" {
		t.Errorf("RRset %v", got)
	}
	for name, want := range map[string]bool{
		"a.example.test.": true, "ent.example.test.": false, "b.ent.example.test.": true,
		"nope.example.test.": false, "example.test.": true, "example.net.": false, "": false,
	} {
		if s.Exists(name) != want {
			t.Errorf("%q exists: %v", name, !want)
		}
	}
	if !s.InZone("x.example.test.") || s.InZone("xexample.test.") {
		t.Error("InZone")
	}
	var all []dns.RR
	for rr := range s.Records() {
		all = append(all, rr)
	}
	if len(all) != s.Len() || all[0].Header().Rrtype != dns.TypeSOA {
		t.Errorf("%d records of %d, first %v", len(all), s.Len(), all[0])
	}
	if !slices.IsSortedFunc(all[1:], func(a, b dns.RR) int {
		ka, _ := s.origin.key(a.Header().Name)
		kb, _ := s.origin.key(b.Header().Name)
		return strings.Compare(ka, kb)
	}) {
		t.Error("not in canonical order")
	}
	for range s.Records() {
		break // must not go on yielding
	}
}

// Empty non-terminals come and go with what is below them.
func TestEmptyNonTerminals(t *testing.T) {
	z := openText(t, testApex, nil)
	before := z.Snapshot()
	apply(t, z, "U a.b.c.d.example.test. 5 IN A 192.0.2.1\nU x.c.d.example.test. 5 IN A 192.0.2.1")
	verify(t, z.Snapshot())
	if a := z.Snapshot().Lookup("b.c.d.example.test.", dns.TypeA); a.Rcode != dns.RcodeSuccess {
		t.Errorf("%+v", a)
	}
	apply(t, z, "U a.b.c.d.example.test. 0 ANY A")
	verify(t, z.Snapshot())
	if a := z.Snapshot().Lookup("b.c.d.example.test.", dns.TypeA); a.Rcode != dns.RcodeNameError {
		t.Errorf("%+v", a)
	}
	if a := z.Snapshot().Lookup("c.d.example.test.", dns.TypeA); a.Rcode != dns.RcodeSuccess {
		t.Errorf("%+v", a)
	}
	apply(t, z, "U x.c.d.example.test. 0 ANY ANY")
	verify(t, z.Snapshot())
	if after := z.Snapshot(); after.names.Len() != before.names.Len() || after.octets != before.octets {
		t.Errorf("%d names, had %d", after.names.Len(), before.names.Len())
	}
}
