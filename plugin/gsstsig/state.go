package gsstsig

import (
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/coredns/caddy"

	"github.com/gsstsig/coredns-gsstsig/gsstsig"
	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5"
	"github.com/gsstsig/coredns-gsstsig/zone"
)

// replayEntries bounds a block's replay cache: at the design rate of 4,000 handshakes a second a five-minute window on
// both sides of the clock holds 2.4 million entries, at the rate of a large site a hundredth of that.
const replayEntries = 1 << 20

// state is what one server block keeps when CoreDNS reloads: the contexts that clients hold, the authenticators seen,
// and the zones. Everything else is made anew from the Corefile.
type state struct {
	contexts *gsstsig.Table
	replays  *krb5.ReplayCache

	mu    sync.Mutex            // guards zones
	zones map[string]*zone.Zone // by origin

	holders map[*block]bool // guarded by states.mu
}

// states holds the state of every server block of the process by the block's identity.
var states = struct {
	mu sync.Mutex
	m  map[string]*state
}{m: make(map[string]*state)}

// acquire finds or makes the state of the server block named id and notes b as one that needs it.
func acquire(id string, b *block) *state {
	states.mu.Lock()
	defer states.mu.Unlock()
	s, ok := states.m[id]
	if !ok {
		s = &state{
			contexts: gsstsig.NewTable(gsstsig.TableConfig{}),
			replays:  krb5.NewReplayCache(replayEntries),
			zones:    make(map[string]*zone.Zone),
			holders:  make(map[*block]bool),
		}
		states.m[id] = s
	}
	s.holders[b] = true
	watching.Do(func() { go watchKeytabs(time.NewTicker(keytabInterval).C) })
	return s
}

// release ends b's need of its state and closes what nobody needs any more.
func release(id string, b *block) error {
	states.mu.Lock()
	defer states.mu.Unlock()
	s, ok := states.m[id]
	if !ok {
		return nil
	}
	delete(s.holders, b)
	return closeUnheld(id, s)
}

// releaseStrangers drops the needs of every instance but the running one. The running instance calls it when a reload
// failed: the instance that did not come up gets no callback of its own to let go.
func releaseStrangers(instance caddy.Context) error {
	states.mu.Lock()
	defer states.mu.Unlock()
	var errs []error
	for id, s := range states.m {
		for b := range s.holders {
			if b.instance != instance {
				delete(s.holders, b)
			}
		}
		errs = append(errs, closeUnheld(id, s))
	}
	return errors.Join(errs...)
}

// closeUnheld closes the state's zones when nobody holds it. The caller holds states.mu.
func closeUnheld(id string, s *state) error {
	if len(s.holders) > 0 {
		return nil
	}
	delete(states.m, id)
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, z := range s.zones {
		errs = append(errs, z.Close())
	}
	return errors.Join(errs...)
}

// zone gives the state's zone of that origin, opened by open when it is not there yet.
func (s *state) zone(origin string, open func() (*zone.Zone, error)) (z *zone.Zone, kept bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if z, ok := s.zones[origin]; ok {
		return z, true, nil
	}
	z, err = open()
	if err != nil {
		return nil, false, err
	}
	s.zones[origin] = z
	return z, false, nil
}

// keytabInterval is how often the keytabs are looked at for changes.
const keytabInterval = 5 * time.Second

var watching sync.Once

// watchKeytabs reads changed keytabs anew on every tick, for all blocks of the process and for as long as it lives: a
// goroutine of each configuration would be left behind by one that fails to start.
func watchKeytabs(tick <-chan time.Time) {
	for range tick {
		for _, b := range holders() {
			b.reloadKeytabs()
		}
	}
}

// holders lists the blocks that hold a state.
func holders() []*block {
	states.mu.Lock()
	defer states.mu.Unlock()
	var blocks []*block
	for _, s := range states.m {
		for b := range s.holders {
			blocks = append(blocks, b)
		}
	}
	return blocks
}

// ordinalsKey finds the count of gsstsig blocks by their keys in an instance's storage.
type ordinalsKey struct{}

// identify names a server block so that the same block is found again after a reload: by its keys and, where several
// blocks have the same ones (views), by which of them it is. The place in the file would change with every block that
// is put before it.
func identify(c *caddy.Controller) string {
	counts, ok := c.Get(ordinalsKey{}).(map[string]int)
	if !ok {
		counts = make(map[string]int)
		c.Set(ordinalsKey{}, counts)
	}
	keys := strings.Join(c.ServerBlockKeys, " ")
	counts[keys]++
	return keys + "#" + strconv.Itoa(counts[keys])
}
