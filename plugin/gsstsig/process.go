package gsstsig

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coredns/caddy"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/gsstsig/coredns-gsstsig/gsstsig"
	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5"
	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
)

// replayEntries bounds the replay cache: at the design rate of 4,000 handshakes a second a five-minute window on
// both sides of the clock has 2.4 million entries, at the rate of a large site a hundredth of that. An entry takes some
// 50 octets, while it is there.
const replayEntries = 1 << 22

// process is the state that outlives a reload of the Corefile: the security contexts of clients, the authenticators that
// were seen, and the zones. All else is made again from the new configuration. For the time of a reload the blocks of both
// configurations use the same state; what no block uses any more is closed.
type process struct {
	// now is the time of handshakes and zones, random the randomness of handshakes. They are nil, which stands for the machine's clock and
	// crypto/rand, but in the test that replays recorded messages. Nothing in a Corefile sets them.
	now    func() time.Time
	random io.Reader

	// sharing says with whom a block shares contexts. It is nil but in tests, where servers of one process do.
	sharing func(*block) gsstsig.Sharing

	replays        *krb5.ReplayCache // of all blocks
	accounts       accountRealms
	audit          *auditor
	registerer     prometheus.Registerer
	registerGauges func() error // the same result each time

	watching   sync.Once     // the keytabs
	aging      sync.Once     // of zones
	returning  sync.Once     // of idle memory
	scavenging chan struct{} // holds one value during a pass
	reloading  sync.Mutex    // held while keytabs are reloaded

	// mu guards what follows. It is held while a zone is opened, since two blocks must not open one database. Requests never
	// take it.
	mu       sync.Mutex
	contexts map[string]*shared[contextTable] // by keytabs
	zones    map[string]*shared[*servedZone]  // by place or, in memory, by origin and number of the block
	pages    map[string]*shared[pageServer]   // by address
	clusters map[string]*shared[*cluster]     // by what the Corefile says of them
	numbered int                              // blocks that were made so far

	control controlSocket
}

func newProcess() *process {
	p := &process{
		replays:    krb5.NewReplayCache(replayEntries),
		accounts:   accountRealms{realms: make(map[string]struct{})},
		audit:      newAuditor(),
		registerer: prometheus.DefaultRegisterer,
		scavenging: make(chan struct{}, 1),
		contexts:   make(map[string]*shared[contextTable]),
		zones:      make(map[string]*shared[*servedZone]),
		pages:      make(map[string]*shared[pageServer]),
		clusters:   make(map[string]*shared[*cluster]),
	}
	p.registerGauges = sync.OnceValue(func() error { return p.registerer.Register(gauges{p}) })
	return p
}

// shared is a value with the blocks that use it.
type shared[T any] struct {
	value T
	users map[*block]bool
}

// usedBy reports whether a block of that configuration uses the value.
func (s *shared[T]) usedBy(instance caddy.Context) bool {
	for b := range s.users {
		if b.instance == instance {
			return true
		}
	}
	return false
}

// remove removes the matching blocks from the users, and reports whether none is left.
func (s *shared[T]) remove(match func(*block) bool) bool {
	for b := range s.users {
		if match(b) {
			delete(s.users, b)
		}
	}
	return len(s.users) == 0
}

// contextTable is the contexts that were made with a set of keytabs, and these keytabs as they were last read, since
// tickets outlive the keys that were removed from a file.
type contextTable struct {
	table    *gsstsig.Table
	keytabs  *krb5.Keytabs
	restored bool // the contexts of the last process were looked for
}

// acquireContexts returns the contexts of a set of keytabs for a block. The new keytabs inherit the keys that tickets may
// still be encrypted in.
func (p *process) acquireContexts(b *block, key string, keytabs *krb5.Keytabs) *gsstsig.Table {
	p.mu.Lock()
	defer p.mu.Unlock()
	s, ok := p.contexts[key]
	if !ok {
		s = &shared[contextTable]{
			value: contextTable{table: gsstsig.NewTable(gsstsig.TableConfig{Now: p.now})},
			users: make(map[*block]bool),
		}
		p.contexts[key] = s
	}
	if s.value.keytabs != nil {
		keytabs.Inherit(s.value.keytabs)
	}
	s.value.keytabs = keytabs
	s.users[b] = true
	p.watching.Do(func() { go p.watchKeytabs(time.NewTicker(keytabInterval).C) })
	return s.value.table
}

// acquireZone returns the zone that is served from that place for a block, or opens it. A reload moves a zone to another place
// only if it was copied there: clients would lose its records, and updates that arrive meanwhile would be lost. open is told
// whether the zone has to be there already.
func (p *process) acquireZone(b *block, key, origin, place string, open func(copied bool) (*servedZone, error)) (z *servedZone, found bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s, ok := p.zones[key]; ok {
		s.users[b] = true
		return s.value, true, nil
	}
	var former *servedZone
	for _, s := range p.zones {
		if s.value.origin == origin && s.value.place != place && !s.usedBy(b.instance) {
			if former = s.value; !former.mayMove(place) {
				return nil, false, diagnose.WithFix(
					fmt.Errorf("zone %s: it is served from %s and cannot move to %s by a reload", origin, former.place, place),
					"restart CoreDNS if what is there is to be served, or copy the zone there by \"coredns gsstsig migrate\" before the reload; in a Corefile with several views of the zone, put a new view below the others")
			}
		}
	}
	if z, err = open(former != nil); err != nil {
		return nil, false, err
	}
	if former != nil {
		if err := former.movedTo(z); err != nil {
			return nil, false, errors.Join(err, z.close())
		}
	}
	p.zones[key] = &shared[*servedZone]{value: z, users: map[*block]bool{b: true}}
	return z, false, nil
}

// hasOtherCopy reports whether blocks of one configuration have more than one copy of a zone in memory.
func (p *process) hasOtherCopy(instance caddy.Context, origin string, z *servedZone) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.zones {
		if s.value.place == inMemory && s.value.origin == origin && s.value != z && s.usedBy(instance) {
			return true
		}
	}
	return false
}

// lastInMemory lists the zones in memory that only this block uses.
func (p *process) lastInMemory(b *block) []*servedZone {
	p.mu.Lock()
	defer p.mu.Unlock()
	var last []*servedZone
	for _, s := range p.zones {
		if s.value.place == inMemory && s.users[b] && len(s.users) == 1 {
			last = append(last, s.value)
		}
	}
	slices.SortFunc(last, func(a, b *servedZone) int { return strings.Compare(a.origin, b.origin) })
	return last
}

// release removes a block from the users of all that it uses.
func (p *process) release(b *block) error {
	return p.releaseIf(func(user *block) bool { return user == b })
}

// releaseOthers removes the blocks of every configuration but the running one. The running one calls it when a reload
// failed: the configuration that did not start gets no callback of its own.
func (p *process) releaseOthers(running caddy.Context) error {
	return p.releaseIf(func(user *block) bool { return user.instance != running })
}

// releaseIf removes the matching blocks from the users of everything, and closes what has no user any more.
func (p *process) releaseIf(match func(*block) bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for key, s := range p.contexts {
		if s.remove(match) {
			delete(p.contexts, key)
		}
	}
	var errs []error
	for address, s := range p.pages {
		if s.remove(match) {
			delete(p.pages, address)
			p.audit.watchers.Add(-1)
			errs = append(errs, s.value.server.Close())
		}
	}
	var closing []*servedZone
	for key, s := range p.zones {
		if s.remove(match) {
			delete(p.zones, key)
			p.forget(s.value.origin)
			closing = append(closing, s.value)
		}
	}
	for _, s := range p.zones {
		if slices.Contains(closing, s.value.former) {
			s.value.former = nil // it has moved
		}
	}
	for _, z := range closing {
		if !slices.Contains(closing, z.former) {
			errs = append(errs, z.stay())
		}
		errs = append(errs, z.close())
	}
	for key, s := range p.clusters { // after their zones
		if s.remove(match) {
			delete(p.clusters, key)
			errs = append(errs, s.value.close())
		}
	}
	return errors.Join(errs...)
}

// blocks lists the blocks that are in use.
func (p *process) blocks() []*block {
	p.mu.Lock()
	defer p.mu.Unlock()
	var blocks []*block
	for _, s := range p.contexts {
		for b := range s.users {
			blocks = append(blocks, b)
		}
	}
	return blocks
}

// forget drops the recent events of a zone that is not served any more. The caller holds p.mu.
func (p *process) forget(origin string) {
	for _, s := range p.zones {
		if s.value.origin == origin {
			return // another view has it
		}
	}
	p.audit.recent.Forget(origin)
}
