package linearizable

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/zone"
	"github.com/gsstsig/coredns-gsstsig/zone/policy"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

const testZone = "example.test."

var principals = []string{"alice@EXAMPLE.TEST", "bob@EXAMPLE.TEST", "carol@EXAMPLE.TEST"}

func open(t *testing.T) *zone.Zone {
	t.Helper()
	z, err := zone.Open(zone.Config{Origin: testZone, Store: store.NewMemory(store.MemoryOptions{}), Seed: func() ([]store.Record, error) {
		return zone.GeneratedApex(testZone, "ns1.example.test.")
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { z.Close() })
	return z
}

// apply has the zone do an update, decided by the default policy.
func apply(t *testing.T, z *zone.Zone, u *Update) int {
	m, err := u.Message()
	if err != nil {
		t.Fatal(err)
	}
	packed, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	p, err := policy.New(policy.Config{Mode: policy.Secure})
	if err != nil {
		t.Fatal(err)
	}
	name, realm, _ := strings.Cut(u.Principal, "@")
	id := policy.Identity{Kind: policy.Kerberos, Name: u.Principal, Components: []string{name}, Realm: realm}
	return z.Apply(context.Background(), p.Update(id, packed)).Rcode
}

// contentsOf returns what the zone has at the names of a group.
func contentsOf(z *zone.Zone, group string) []string {
	var list []string
	for rr := range z.Snapshot().Records() {
		if strings.HasPrefix(rr.Header().Name, group+"-") {
			list = append(list, Record(rr))
		}
	}
	slices.Sort(list)
	return list
}

// TestModelIsTheZone: one update after the other, the model says what a zone does.
func TestModelIsTheZone(t *testing.T) {
	z := open(t)
	g := NewGenerator(rand.New(rand.NewPCG(1, 2)), testZone, "g", principals...)
	s := new(state)
	met := make(map[int]int)
	for i := range 5000 {
		u := g.Next()
		before := s
		var want int
		want, s = s.update(u)
		if got := apply(t, z, u); got != want {
			t.Fatalf("%d: %v\n%s, and by the model %s; before it\n%s", i, u, dns.RcodeToString[got], dns.RcodeToString[want], before.text)
		}
		if got := contentsOf(z, "g"); !slices.Equal(got, s.contents()) {
			t.Fatalf("%d: %v\nmade %q\nand by the model %q", i, u, got, s.contents())
		}
		g.Answered(u)
		met[want]++
		if want == dns.RcodeSuccess && s == before {
			met[Unknown]++ // nothing changed
		}
	}
	for _, rcode := range []int{dns.RcodeSuccess, dns.RcodeRefused, dns.RcodeNameError, dns.RcodeNXRrset, dns.RcodeYXDomain, dns.RcodeYXRrset, Unknown} {
		if met[rcode] < 50 {
			t.Errorf("%d updates with rcode %d are too few", met[rcode], rcode)
		}
	}
}

// TestOneServer: what one server does at once is in some order.
func TestOneServer(t *testing.T) {
	z := open(t)
	h := NewHistory()
	random := rand.New(rand.NewPCG(3, 4))
	var groups []string
	for round := range 20 {
		var clients sync.WaitGroup
		for i := range 2 {
			g := NewGenerator(rand.New(rand.NewPCG(random.Uint64(), 0)), testZone, fmt.Sprintf("r%dg%d", round, i), principals...)
			groups = append(groups, g.Group())
			for client := range 4 {
				clients.Go(func() {
					for range 20 {
						u := g.Next()
						h.Do(client, u, func() int { return apply(t, z, u) })
						g.Answered(u)
					}
				})
			}
		}
		clients.Wait()
	}
	for _, group := range groups {
		h.Contents(group, contentsOf(z, group))
	}
	if err := h.Check(t.Context()); err != nil {
		t.Error(err)
	}
	t.Log(h.Counts())
}

// TestViolation: answers that no order explains are found.
func TestViolation(t *testing.T) {
	create := func(principal, value string) *Update {
		name := "g-a." + testZone
		return &Update{Group: "g", Zone: testZone, Principal: principal, Prerequisites: []Line{{Form: NameUnused, Name: name}},
			Lines: []Line{{Form: Add, Name: name, Type: dns.TypeTXT, Data: value, TTL: 60}}}
	}
	answer := func(rcode int) func() int { return func() int { return rcode } }
	for _, tt := range []struct {
		name     string
		second   int
		contents []string
		want     bool
	}{
		{"both create it", dns.RcodeSuccess, nil, true},
		{"refused by the prerequisite", dns.RcodeYXDomain, nil, false},
		{"unknown", Unknown, nil, false},
		{"not sent", NotSent, nil, false},
		{"server failure", dns.RcodeServerFailure, nil, false},
		{"lost", dns.RcodeYXDomain, []string{}, true},
		{"kept", dns.RcodeYXDomain, []string{`g-a.example.test. 60 TXT "1"`}, false},
	} {
		h := NewHistory()
		h.Do(0, create(principals[0], `"1"`), answer(dns.RcodeSuccess))
		h.Do(1, create(principals[0], `"2"`), answer(tt.second))
		if tt.contents != nil {
			h.Contents("g", tt.contents)
		}
		var violation *Violation
		if err := h.Check(t.Context()); errors.As(err, &violation) != tt.want || err != nil && !tt.want {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// TestSerial: the change that an update made is found by its values, and not by that of another TTL later.
func TestSerial(t *testing.T) {
	u := &Update{Lines: []Line{{Form: Add, Name: "g-a." + testZone, Type: dns.TypeTXT, Data: `"1"`, TTL: 60}}}
	c := Chain{{From: 1, To: 2}, {From: 2, To: 3, Added: []string{`g-a.example.test. 60 TXT "1"`}},
		{From: 3, To: 4, Removed: []string{`g-a.example.test. 60 TXT "1"`}, Added: []string{`g-a.example.test. 300 TXT "1"`}}}
	if serial, found := c.Serial(u); serial != 3 || !found {
		t.Errorf("%d, %v", serial, found)
	}
	if serial, found := c[:1].Serial(u); found {
		t.Errorf("found at %d where it is not", serial)
	}
}

// TestResolve: an unknown outcome is what the zone's changes say.
func TestResolve(t *testing.T) {
	line := func(value string) []Line {
		return []Line{{Form: Add, Name: "g-a." + testZone, Type: dns.TypeTXT, Data: value, TTL: 60}}
	}
	h := NewHistory()
	for _, value := range []string{`"1"`, `"2"`} {
		h.Do(0, &Update{Group: "g", Principal: "a", Lines: line(value)}, func() int { return Unknown })
	}
	h.Resolve(Chain{{From: 1, To: 2, Added: []string{`g-a.example.test. 60 TXT "2"`}}})
	var violation *Violation
	for _, tt := range []struct {
		contents []string
		bad      bool
	}{{[]string{`g-a.example.test. 60 TXT "2"`}, false}, {[]string{`g-a.example.test. 60 TXT "1"`}, true}} {
		h.Contents("g", tt.contents)
		if err := h.Check(t.Context()); errors.As(err, &violation) != tt.bad {
			t.Errorf("with %q: %v", tt.contents, err)
		}
	}
}

// TestManyUnknown: the order of the zone's changes makes the search short where many updates without a value of their own have an
// unknown outcome, and an order that contradicts it is none.
func TestManyUnknown(t *testing.T) {
	address := func(form Form, n int) *Update {
		return &Update{Group: "g", Zone: testZone, Principal: "a", Lines: []Line{{Form: form, Name: "g-a." + testZone, Type: dns.TypeA, Data: fmt.Sprintf("192.0.2.%d", n), TTL: 60}}}
	}
	record := func(n int) []string { return []string{fmt.Sprintf("g-a.%s 60 A 192.0.2.%d", testZone, n)} }
	h, known := NewHistory(), NewHistory()
	var chain Chain
	const many = 40
	for n := range uint32(many) {
		h.Do(0, address(Add, int(n)), func() int { return Unknown })
		h.Do(0, address(DeleteRecord, int(n)), func() int { return Unknown })
		if n < 3 {
			known.Do(0, address(Add, int(n)), func() int { return dns.RcodeSuccess })
		}
		if n%2 == 0 {
			chain = append(chain, Change{From: n, To: n + 1, Added: record(int(n))}, Change{From: n + 1, To: n + 2, Removed: record(int(n))})
		}
	}
	// Nothing has met this prerequisite: all of the search is in vain.
	unmet := address(Add, many+1)
	unmet.Prerequisites = []Line{{Form: SetEquals, Name: "g-a." + testZone, Type: dns.TypeA, Data: "192.0.2.1"}}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	h.Resolve(chain)
	if err := h.Check(ctx); err != nil {
		t.Error(err)
	}
	h.Do(0, unmet, func() int { return dns.RcodeSuccess })
	var violation *Violation
	if err := h.Check(ctx); !errors.As(err, &violation) {
		t.Errorf("an update that cannot have been done: %v", err)
	}
	known.Resolve(Chain{{From: 1, To: 2, Added: record(0)}, {From: 2, To: 3, Added: record(2)}, {From: 3, To: 4, Added: record(1)}})
	if err := known.Check(ctx); !errors.As(err, &violation) {
		t.Errorf("changes in another order than the answers: %v", err)
	}
}

// TestOnce: an update that is twice in the chain is found, and one that is not there.
func TestOnce(t *testing.T) {
	u := &Update{Group: "g", Zone: testZone, Lines: []Line{{Form: Add, Name: "g-a." + testZone, Type: dns.TypeTXT, Data: `"1"`, TTL: 60}}}
	h := NewHistory()
	h.Do(0, u, func() int { return dns.RcodeSuccess })
	added := []string{`g-a.example.test. 60 TXT "1"`}
	other := []string{`g-a.example.test. 300 TXT "1"`}
	for _, tt := range []struct {
		name  string
		chain Chain
		bad   bool
	}{
		{"missing", Chain{{From: 1, To: 2}}, true},
		{"once", Chain{{From: 1, To: 2, Added: added}, {From: 2, To: 3, Removed: added}}, false},
		{"with another TTL later", Chain{{From: 1, To: 2, Added: added}, {From: 2, To: 3, Removed: added, Added: other}}, false},
		{"twice", Chain{{From: 1, To: 2, Added: added}, {From: 2, To: 3, Removed: added}, {From: 3, To: 4, Added: added}}, true},
	} {
		if err := tt.chain.Once(h); (err != nil) != tt.bad {
			t.Errorf("%s: %v", tt.name, err)
		}
		if err := tt.chain.Equal(tt.chain); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if err := tt.chain.Equal(tt.chain[1:]); err == nil {
			t.Errorf("%s: equal to a part of it", tt.name)
		}
	}
}
