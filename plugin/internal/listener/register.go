package listener

import (
	"net/netip"
	"sync"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"

	"github.com/gsstsig/coredns-gsstsig/gsstsig"
)

// Block is a server block of the Corefile that takes GSS-TSIG.
type Block struct {
	// Server negotiates and verifies the block's contexts. Several blocks may share an address: a TKEY query goes to the
	// server that it is for (see gsstsig.Negotiator).
	Server *gsstsig.Server

	// Observer is told what never reaches a plugin. Nil means nobody is. Of the blocks on one address the first one that
	// has an observer is asked.
	Observer Observer

	// Limits bound what strangers cost. Of all blocks of a Corefile the widest hold.
	Limits Limits

	// Plugin is the name of the directive that registers, which is that of its handler.
	Plugin string

	// Answerer returns what answers plain queries of a zone of the block as its handler would, nil if nothing does. It is
	// asked once for each zone, and the answer used where no plugin in front of the handler has to see queries. Nil is no
	// shortcut for any zone.
	Answerer func(zone string) AnswerFunc
}

// Observer counts what the listener keeps from the plugins. Its methods are called by many goroutines at once, on the
// way of a request: they must be quick.
type Observer interface {
	// VerificationFailed is called for a message whose TSIG record did not verify.
	VerificationFailed(client netip.AddrPort, failure *gsstsig.VerifyError)

	// Dropped is called for a message or connection that is not worked on. Under a flood that is most of them.
	Dropped(reason Reason)
}

// nobody observes where no block has an observer.
type nobody struct{}

func (nobody) VerificationFailed(netip.AddrPort, *gsstsig.VerifyError) {}
func (nobody) Dropped(Reason)                                          {}

// Register makes this package serve the plain DNS addresses of the server block that c sets up. It is called by the
// setup function of a directive, once for a server block, after dnsserver.Config.AddPlugin.
//
// A controller whose instance is not being started, such as one made by caddy.NewTestController, is left alone. It is an
// error to register a server block twice.
func Register(c *caddy.Controller, b Block) error {
	inst := instanceOf(c)
	if inst == nil {
		return nil
	}
	watchLastDirective()
	return inst.add(c, b)
}

// instanceOf returns the state of the caddy instance that c sets up, making it on the first call. A Controller does not
// tell its instance, but a value stored through it is found again in the instance's storage.
func instanceOf(c *caddy.Controller) *instance {
	if known, ok := c.Get(instanceKey{}).(*instance); ok {
		return known
	}
	made := &instance{context: c.Context(), controller: *c}
	c.Set(instanceKey{}, made)
	made.caddy = findInstance(func(i *instance) bool { return i == made })
	if made.caddy == nil {
		c.Set(instanceKey{}, (*instance)(nil))
		return nil
	}
	return made
}

// findInstance returns the caddy instance whose state satisfies match, or nil. The instance that is being started is in
// caddy's list from the beginning.
func findInstance(match func(*instance) bool) *caddy.Instance {
	for _, candidate := range caddy.Instances() {
		candidate.StorageMu.RLock()
		state, _ := candidate.Storage[instanceKey{}].(*instance)
		candidate.StorageMu.RUnlock()
		if state != nil && match(state) {
			return candidate
		}
	}
	return nil
}

type instanceKey struct{}

var watched = struct {
	sync.Mutex
	directives map[string]bool
}{directives: make(map[string]bool)}

// watchLastDirective has caddy call back when the last directive was set up. Until then directives may read and change
// what the takeover changes. The list of directives can differ from start to start in an embedding program.
func watchLastDirective() {
	last := dnsserver.Directives[len(dnsserver.Directives)-1]
	watched.Lock()
	defer watched.Unlock()
	if watched.directives[last] {
		return
	}
	watched.directives[last] = true
	caddy.RegisterParsingCallback("dns", last, func(context caddy.Context) error {
		if last != dnsserver.Directives[len(dnsserver.Directives)-1] {
			return nil // was the last one when another Corefile was read
		}
		var state *instance
		findInstance(func(i *instance) bool {
			if i.context == context {
				state = i
			}
			return state != nil
		})
		if state == nil {
			return nil // no block of this Corefile uses gsstsig
		}
		return state.takeOver()
	})
}
