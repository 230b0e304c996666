package linearizable

import (
	"fmt"
	"math/rand/v2"
	"sync"

	"github.com/miekg/dns"
)

// A Generator makes updates of a few names, which no other generator has. Its methods are safe for concurrent use.
type Generator struct {
	zone, group string
	principals  []string
	names       []string // the last one may become an alias

	mu     sync.Mutex
	random *rand.Rand
	guess  *state // what the zone may have, so that prerequisites are often met
	made   int
}

// NewGenerator makes a generator of updates in a zone, from any of these principals. group is a label that the names begin
// with.
func NewGenerator(random *rand.Rand, zone, group string, principals ...string) *Generator {
	g := &Generator{zone: zone, group: group, principals: principals, random: random, guess: new(state)}
	for _, name := range []string{"a", "b", "c", "x"} {
		g.names = append(g.names, group+"-"+name+"."+zone)
	}
	return g
}

// Group is that of the generator's updates.
func (g *Generator) Group() string { return g.group }

// Next makes an update.
func (g *Generator) Next() *Update {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.made++
	u := &Update{Group: g.group, Zone: g.zone, Principal: g.principals[g.random.IntN(len(g.principals))]}
	// Most names are their creator's, so most updates have one name, and come from who may do it.
	name := g.name()
	if e := g.guess.names[name]; e != nil && g.random.IntN(4) > 0 {
		u.Principal = e.owner
	}
	for range g.random.IntN(3) {
		u.Prerequisites = append(u.Prerequisites, g.prerequisite(name))
		if g.random.IntN(3) == 0 {
			name = g.name()
		}
	}
	switch g.random.IntN(12) {
	case 0: // prerequisites alone
	case 1, 2, 3, 4: // a new value in place of all others
		u.Lines = append(u.Lines, Line{Form: DeleteSet, Name: name, Type: dns.TypeTXT}, g.add(name))
	case 5: // of two names at once
		u.Lines = append(u.Lines, g.add(name), g.add(g.name()))
	case 6:
		u.Lines = append(u.Lines, Line{Form: DeleteName, Name: name})
	default:
		for range 1 + g.random.IntN(3) {
			u.Lines = append(u.Lines, g.line(name))
			if g.random.IntN(4) == 0 {
				name = g.name()
			}
		}
	}
	return u
}

// Answered tells of an update that was done, or may have been.
func (g *Generator) Answered(u *Update) {
	g.mu.Lock()
	defer g.mu.Unlock()
	_, g.guess = g.guess.update(u)
}

func (g *Generator) name() string { return g.names[g.random.IntN(len(g.names))] }

// value returns TXT data that no other update has.
func (g *Generator) value() string { return fmt.Sprintf(`"%s-%d"`, g.group, g.made) }

// add returns a line that adds a new value. The last of the names has no TXT records.
func (g *Generator) add(name string) Line {
	if name == g.names[len(g.names)-1] {
		return Line{Form: Add, Name: name, Type: dns.TypeA, Data: g.address(), TTL: 60}
	}
	return Line{Form: Add, Name: name, Type: dns.TypeTXT, Data: g.value(), TTL: g.ttl()}
}

func (g *Generator) ttl() uint32 { return []uint32{60, 60, 60, 300}[g.random.IntN(4)] }

func (g *Generator) address() string { return fmt.Sprintf("192.0.2.%d", 1+g.random.IntN(3)) }

// line returns an update record.
func (g *Generator) line(name string) Line {
	alias := name == g.names[len(g.names)-1]
	switch n := g.random.IntN(10); {
	case n < 2:
		return g.add(name)
	case n < 4:
		return Line{Form: Add, Name: name, Type: dns.TypeA, Data: g.address(), TTL: g.ttl()}
	case n == 4 && alias:
		return Line{Form: Add, Name: name, Type: dns.TypeCNAME, Data: g.names[g.random.IntN(2)], TTL: 60}
	case n < 6:
		return Line{Form: DeleteSet, Name: name, Type: g.rrtype()}
	case n < 8:
		if set := g.guess.names[name].set(g.rrtype()); set != nil {
			return Line{Form: DeleteRecord, Name: name, Type: set.rrtype, Data: set.data[g.random.IntN(len(set.data))]}
		}
		return Line{Form: DeleteRecord, Name: name, Type: dns.TypeA, Data: g.address()}
	case n == 8:
		return Line{Form: DeleteName, Name: name}
	}
	// Often there already: nothing changes.
	if set := g.guess.names[name].set(dns.TypeA); set != nil {
		return Line{Form: Add, Name: name, Type: dns.TypeA, Data: set.data[0], TTL: set.ttl}
	}
	return Line{Form: Add, Name: name, Type: dns.TypeA, Data: g.address(), TTL: 60}
}

func (g *Generator) rrtype() uint16 {
	return []uint16{dns.TypeTXT, dns.TypeA, dns.TypeCNAME}[g.random.IntN(3)]
}

// prerequisite returns one that is met in about half of all cases.
func (g *Generator) prerequisite(name string) Line {
	e := g.guess.names[name]
	switch g.random.IntN(8) {
	case 0:
		return Line{Form: NameInUse, Name: name}
	case 1:
		return Line{Form: NameUnused, Name: name}
	case 2:
		return Line{Form: SetExists, Name: name, Type: g.rrtype()}
	case 3:
		return Line{Form: SetAbsent, Name: name, Type: g.rrtype()}
	}
	for _, rrtype := range []uint16{dns.TypeTXT, dns.TypeA} {
		if set := e.set(rrtype); set != nil && len(set.data) == 1 {
			return Line{Form: SetEquals, Name: name, Type: rrtype, Data: set.data[0]}
		}
	}
	if e.inUse() {
		return Line{Form: NameInUse, Name: name}
	}
	return Line{Form: NameUnused, Name: name}
}
