package gsstsig

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/coredns/caddy"

	"github.com/gsstsig/coredns-gsstsig/gsstsig"
	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5"
	"github.com/gsstsig/coredns-gsstsig/zone"
)

// What outlives a reload of the Corefile: the contexts that clients hold, with the authenticators seen, and the zones.
// Everything else is made anew. Blocks of the old and of the new configuration hold the same things for a moment; who
// lets go last closes them.

// replayEntries bounds the replay cache: at the design rate of 4,000 handshakes a second a five-minute window on
// both sides of the clock holds 2.4 million entries, at the rate of a large site a hundredth of that. An entry takes some
// 50 octets, while it is there.
const replayEntries = 1 << 22

// replays are the authenticators that were seen, by all blocks and for as long as the process lives.
var replays = krb5.NewReplayCache(replayEntries)

// machine is where contexts have their time and their randomness from. It is zero, which is this machine's clock and
// crypto/rand, everywhere but in the test that replays what clients and servers once said; nothing in a Corefile sets it.
var machine struct {
	now    func() time.Time
	random io.Reader
}

// sessions are what was made with a set of keytabs: contexts, and the keytabs as they were last read, since tickets
// outlive the keys that a file has lost.
type sessions struct {
	contexts *gsstsig.Table
	keytabs  *krb5.Keytabs
}

// servedZone is a zone and where it is kept: the directory of its database, or "memory".
type servedZone struct {
	*zone.Zone
	place string
}

// held is something that blocks hold.
type held[T any] struct {
	value   T
	holders map[*block]bool
}

// kept is what the process keeps. Opening a zone happens under the lock, since two blocks must not open one database;
// what is on the way of a request never takes it.
var kept = struct {
	mu       sync.Mutex
	sessions map[string]*held[sessions]   // by keytabs
	zones    map[string]*held[servedZone] // by directory or, in memory, by origin
}{
	sessions: make(map[string]*held[sessions]),
	zones:    make(map[string]*held[servedZone]),
}

// holdSessions finds the sessions of a set of keytabs, or begins them. What tickets are still alive for is carried over
// into the keytabs of the new configuration.
func (b *block) holdSessions(key string, keytabs *krb5.Keytabs) sessions {
	kept.mu.Lock()
	defer kept.mu.Unlock()
	h, ok := kept.sessions[key]
	if !ok {
		h = &held[sessions]{
			value:   sessions{contexts: gsstsig.NewTable(gsstsig.TableConfig{Now: machine.now})},
			holders: make(map[*block]bool),
		}
		kept.sessions[key] = h
	}
	if h.value.keytabs != nil {
		keytabs.Inherit(h.value.keytabs)
	}
	h.value.keytabs = keytabs
	h.holders[b] = true
	watching.Do(func() { go watchKeytabs(time.NewTicker(keytabInterval).C) })
	return h.value
}

// holdZone finds the zone that is kept in that place, or opens it. A zone that is being served stays where it is: moving
// what clients write to at that moment is more than a reload can do.
func (b *block) holdZone(key, origin, place string, open func() (*zone.Zone, error)) (z *zone.Zone, found bool, err error) {
	kept.mu.Lock()
	defer kept.mu.Unlock()
	if h, ok := kept.zones[key]; ok {
		h.holders[b] = true
		return h.value.Zone, true, nil
	}
	for _, h := range kept.zones {
		if moved := h.value.Origin() == origin && (h.value.place == inMemory) != (place == inMemory); moved && !h.heldBy(b.instance) {
			return nil, false, fmt.Errorf("it is kept in %s, and in %s by the new Corefile: this takes a restart", h.value.place, place)
		}
	}
	if z, err = open(); err != nil {
		return nil, false, err
	}
	kept.zones[key] = &held[servedZone]{value: servedZone{z, place}, holders: map[*block]bool{b: true}}
	return z, false, nil
}

// heldBy tells whether a block of that instance holds it.
func (h *held[T]) heldBy(instance caddy.Context) bool {
	for b := range h.holders {
		if b.instance == instance {
			return true
		}
	}
	return false
}

// release ends all that the block holds.
func (b *block) release() error {
	return releaseIf(func(holder *block) bool { return holder == b })
}

// releaseStrangers ends what blocks of every instance but the running one hold. The running instance calls it when a
// reload failed: the instance that did not come up gets no callback of its own to let go.
func releaseStrangers(running caddy.Context) error {
	return releaseIf(func(holder *block) bool { return holder.instance != running })
}

// releaseIf lets go for the blocks that match, and closes what nobody holds any more.
func releaseIf(match func(*block) bool) error {
	kept.mu.Lock()
	defer kept.mu.Unlock()
	for key, h := range kept.sessions {
		if h.drop(match) {
			delete(kept.sessions, key)
		}
	}
	var errs []error
	for key, h := range kept.zones {
		if h.drop(match) {
			delete(kept.zones, key)
			errs = append(errs, h.value.Close())
		}
	}
	return errors.Join(errs...)
}

// drop takes the blocks that match off the holders, and tells whether none is left.
func (h *held[T]) drop(match func(*block) bool) bool {
	for b := range h.holders {
		if match(b) {
			delete(h.holders, b)
		}
	}
	return len(h.holders) == 0
}

// keytabInterval is how often the keytabs are looked at for changes.
const keytabInterval = 5 * time.Second

var watching sync.Once

// watchKeytabs reads changed keytabs anew on every tick, for all blocks of the process and for as long as it lives: a
// goroutine of each configuration would be left behind by one that fails to start.
func watchKeytabs(tick <-chan time.Time) {
	for range tick {
		lookAtKeytabs()
	}
}

var looking sync.Mutex // one look at the keytabs at a time

func lookAtKeytabs() {
	looking.Lock()
	defer looking.Unlock()
	for _, b := range holders() {
		b.reloadKeytabs()
	}
}

// holders lists the blocks that are in use.
func holders() []*block {
	kept.mu.Lock()
	defer kept.mu.Unlock()
	var blocks []*block
	for _, h := range kept.sessions {
		for b := range h.holders {
			blocks = append(blocks, b)
		}
	}
	return blocks
}

// ordinalsKey finds the counts of an instance in its storage.
type ordinalsKey struct{}

// numbered makes a key that is the same after a reload: words and, where several blocks have the same ones, which of
// them it is. The place in the file would change with every block that is put before it.
func numbered(c *caddy.Controller, words ...string) string {
	counts, ok := c.Get(ordinalsKey{}).(map[string]int)
	if !ok {
		counts = make(map[string]int)
		c.Set(ordinalsKey{}, counts)
	}
	key := strings.Join(words, " ")
	counts[key]++
	return key + "#" + strconv.Itoa(counts[key])
}
