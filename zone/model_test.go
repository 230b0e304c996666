package zone

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// model is a zone as plainly as it can be written: RFC 2136 over a map from name and type to
// records in text. It knows only types without surprises in their text form.
type model struct {
	sets   map[string]map[string]uint32 // "name TYPE" -> rdata -> TTL
	serial uint32
}

const modelApex = "example.test."

func newModel(rrs []dns.RR) *model {
	m := &model{sets: make(map[string]map[string]uint32)}
	for _, rr := range rrs {
		if soa, ok := rr.(*dns.SOA); ok {
			m.serial = soa.Serial
			continue
		}
		m.put(rr)
	}
	return m
}

func rdataText(rr dns.RR) string {
	return strings.ToLower(strings.TrimPrefix(rr.String(), rr.Header().String()))
}

func setOf(h *dns.RR_Header) string {
	return strings.ToLower(h.Name) + " " + dns.TypeToString[h.Rrtype]
}

func (m *model) put(rr dns.RR) {
	key := setOf(rr.Header())
	if rr.Header().Rrtype == dns.TypeCNAME {
		delete(m.sets, key)
	}
	if m.sets[key] == nil {
		m.sets[key] = make(map[string]uint32)
	}
	m.sets[key][rdataText(rr)] = 0
	for data := range m.sets[key] {
		m.sets[key][data] = rr.Header().Ttl
	}
}

func (m *model) inUse(name string) bool {
	name = strings.ToLower(name)
	if name == modelApex {
		return true
	}
	for key := range m.sets {
		if strings.HasPrefix(key, name+" ") {
			return true
		}
	}
	return false
}

func (m *model) prerequisites(list []dns.RR) int {
	values := make(map[string]map[string]bool)
	for _, rr := range list {
		h := rr.Header()
		switch {
		case h.Class == dns.ClassANY && h.Rrtype == dns.TypeANY && !m.inUse(h.Name):
			return dns.RcodeNameError
		case h.Class == dns.ClassNONE && h.Rrtype == dns.TypeANY && m.inUse(h.Name):
			return dns.RcodeYXDomain
		case h.Class == dns.ClassANY && h.Rrtype != dns.TypeANY && len(m.sets[setOf(h)]) == 0:
			return dns.RcodeNXRrset
		case h.Class == dns.ClassNONE && h.Rrtype != dns.TypeANY && len(m.sets[setOf(h)]) != 0:
			return dns.RcodeYXRrset
		case h.Class == dns.ClassINET:
			if values[setOf(h)] == nil {
				values[setOf(h)] = make(map[string]bool)
			}
			values[setOf(h)][rdataText(rr)] = true
		}
	}
	for key, want := range values {
		if len(m.sets[key]) != len(want) {
			return dns.RcodeNXRrset
		}
		for data := range want {
			if _, ok := m.sets[key][data]; !ok {
				return dns.RcodeNXRrset
			}
		}
	}
	return dns.RcodeSuccess
}

func (m *model) text() []string {
	var list []string
	for key, set := range m.sets {
		name, rrtype, _ := strings.Cut(key, " ")
		for data, ttl := range set {
			list = append(list, fmt.Sprintf("%s %d IN %s %s", name, ttl, rrtype, data))
		}
	}
	slices.Sort(list)
	return list
}

func (m *model) update(msg *dns.Msg) int {
	if rcode := m.prerequisites(msg.Answer); rcode != dns.RcodeSuccess {
		return rcode
	}
	before := m.text()
	for _, rr := range msg.Ns {
		m.instruction(rr)
	}
	if !slices.Equal(before, m.text()) {
		m.serial++
	}
	return dns.RcodeSuccess
}

func (m *model) instruction(rr dns.RR) {
	h := rr.Header()
	name, key := strings.ToLower(h.Name), setOf(h)
	apex := name == modelApex
	switch {
	case h.Class == dns.ClassINET:
		alias := len(m.sets[name+" CNAME"]) > 0
		if h.Rrtype == dns.TypeCNAME && m.inUse(name) && !alias || h.Rrtype != dns.TypeCNAME && alias {
			return
		}
		if h.Rrtype == dns.TypeNS && strings.HasPrefix(name, "*.") {
			return
		}
		m.put(rr)
	case h.Class == dns.ClassANY && h.Rrtype == dns.TypeANY:
		for k := range m.sets {
			if strings.HasPrefix(k, name+" ") && !(apex && k == modelApex+" NS") {
				delete(m.sets, k)
			}
		}
	case h.Class == dns.ClassANY:
		if !(apex && h.Rrtype == dns.TypeNS) {
			delete(m.sets, key)
		}
	case h.Class == dns.ClassNONE:
		if _, there := m.sets[key][rdataText(rr)]; !there {
			return
		}
		if apex && h.Rrtype == dns.TypeNS && len(m.sets[key]) == 1 {
			return
		}
		delete(m.sets[key], rdataText(rr))
		if len(m.sets[key]) == 0 {
			delete(m.sets, key)
		}
	}
}

// randomUpdate makes an update over few names, so that much of it meets.
func randomUpdate(t testing.TB, r *rand.Rand) *dns.Msg {
	names := []string{"example.test.", "a.example.test.", "B.example.test.", "x.a.example.test.", "y.z.a.example.test.", "*.b.example.test.", "y.Z.a.example.test."}
	pick := func(list []string) string { return list[r.IntN(len(list))] }
	data := func() string {
		return pick([]string{
			fmt.Sprintf("A 192.0.2.%d", r.IntN(4)), "AAAA 2001:db8::1", `TXT "v"`, `TXT "w"`,
			"CNAME a.example.test.", "CNAME B.example.test.", "NS a.example.test.", "NS ns1.EXAMPLE.test.",
			"MX 10 a.example.test.", "SRV 0 0 22 A.example.test.",
		})
	}
	ttl := func() int { return []int{60, 300}[r.IntN(2)] }
	var b strings.Builder
	for range r.IntN(3) - 1 {
		rrtype, _, _ := strings.Cut(data(), " ")
		switch r.IntN(5) {
		case 0:
			fmt.Fprintf(&b, "P %s 0 ANY ANY\n", pick(names))
		case 1:
			fmt.Fprintf(&b, "P %s 0 NONE ANY\n", pick(names))
		case 2:
			fmt.Fprintf(&b, "P %s 0 ANY %s\n", pick(names), rrtype)
		case 3:
			fmt.Fprintf(&b, "P %s 0 NONE %s\n", pick(names), rrtype)
		case 4:
			fmt.Fprintf(&b, "P %s 0 IN %s\n", pick(names), data())
		}
	}
	for range r.IntN(5) {
		rrtype, _, _ := strings.Cut(data(), " ")
		switch r.IntN(8) {
		case 0:
			fmt.Fprintf(&b, "U %s 0 ANY ANY\n", pick(names))
		case 1:
			fmt.Fprintf(&b, "U %s 0 ANY %s\n", pick(names), rrtype)
		case 2, 3:
			fmt.Fprintf(&b, "U %s 0 NONE %s\n", pick(names), data())
		default:
			fmt.Fprintf(&b, "U %s %d IN %s\n", pick(names), ttl(), data())
		}
	}
	return message(t, b.String())
}

// TestAgainstModel runs random updates on the zone and on the model, with readers beside, and in
// the end rebuilds the zone from its log of changes.
func TestAgainstModel(t *testing.T) {
	const steps = 4000
	var rrs []dns.RR
	z := openText(t, testApex, func(c *Config) {
		seed := c.Seed
		c.Seed = func() ([]store.Record, error) {
			records, err := seed()
			for _, r := range records {
				rrs = append(rrs, rrOf(r))
			}
			return records, err
		}
	})
	m := newModel(rrs)
	first := m.serial
	start := z.Snapshot()

	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					// A reader that never waits would starve the writer.
					runtime.Gosched()
				}
				s := z.Snapshot()
				s.Lookup("q.y.z.a.example.test.", dns.TypeA)
				n := 0
				for range s.Records() {
					n++
				}
				if n != s.Len() {
					t.Errorf("%d records of %d", n, s.Len())
					return
				}
			}
		})
	}
	r := rand.New(rand.NewPCG(1, 2))
	for step := range steps {
		msg := randomUpdate(t, r)
		want := m.update(msg)
		got := z.Apply(context.Background(), &Update{Message: pack(t, msg)})
		s := z.Snapshot()
		var state []string
		for rr := range s.Records() {
			if rr.Header().Rrtype != dns.TypeSOA {
				h := rr.Header()
				state = append(state, fmt.Sprintf("%s %d IN %s %s", strings.ToLower(h.Name), h.Ttl, dns.TypeToString[h.Rrtype], rdataText(rr)))
			}
		}
		slices.Sort(state)
		if got.Rcode != want || s.Serial() != m.serial || !slices.Equal(state, m.text()) {
			t.Fatalf("step %d: %v\nrcode %s, want %s; serial %d, want %d\n%s\nwant\n%s", step, msg,
				dns.RcodeToString[got.Rcode], dns.RcodeToString[want], s.Serial(), m.serial,
				strings.Join(state, "\n"), strings.Join(m.text(), "\n"))
		}
		verify(t, s)
	}
	close(stop)
	readers.Wait()
	verify(t, start)

	// The log leads from the first state to the last.
	replica := make(map[string]bool)
	for rr := range start.Records() {
		replica[text(rr)] = true
	}
	for c, err := range z.store.Changes(t.Context(), first, m.serial) {
		if err != nil {
			t.Fatal(err)
		}
		if c.Removed[0].Type != dns.TypeSOA || c.Added[0].Type != dns.TypeSOA {
			t.Fatalf("change to %d does not begin with SOA", c.To)
		}
		follow := func(list []store.Record, add bool) {
			for _, r := range list {
				line := text(rrOf(r))
				if replica[line] == add {
					t.Fatalf("change to %d: %q, add %v", c.To, line, add)
				}
				replica[line] = add
				if !add {
					delete(replica, line)
				}
			}
		}
		follow(c.Removed, false)
		follow(c.Added, true)
	}
	last := 0
	for rr := range z.Snapshot().Records() {
		if last++; !replica[text(rr)] {
			t.Errorf("%v is not in the replica", rr)
		}
	}
	if last != len(replica) {
		t.Errorf("%d records, %d in the replica", last, len(replica))
	}
}
