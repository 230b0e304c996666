package listener

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"

	"github.com/gsstsig/coredns-gsstsig/gsstsig"
)

// process is what the instances of one process share.
type process struct {
	sockets     *socketTable
	connections *connectionTable
	replays     *gsstsig.HMACReplays

	watching sync.WaitGroup // goroutines of watchTermination
	stops    atomic.Int64   // how often an instance has begun to stop that no other one replaces

	mu         sync.Mutex
	watched    map[string]bool // directives with a parsing callback
	restarting []*instance     // between caddy's OnRestart and the end of the restart
}

func newProcess() *process {
	return &process{sockets: newSocketTable(), connections: newConnectionTable(), replays: gsstsig.NewHMACReplays(0), watched: make(map[string]bool)}
}

// theProcess is the one that Register uses: caddy passes no argument of the caller to setup functions.
var theProcess = newProcess()

// lineage is what an instance and those that replace it by a restart have in common. Sockets are handed on within it alone:
// a program may run several instances, and both may listen on port 0 or share an address.
type lineage struct{ _ byte } // not empty, so that each has an address of its own

// lineageOf returns that of the instance that in replaces, or a new one. Instances that replace nothing are told so by
// caddy (OnFirstStartup). Where several are being restarted at once, in has the addresses of the one that it replaces.
func (p *process) lineageOf(in *instance, addresses []string) *lineage {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !in.first {
		for _, old := range slices.Backward(p.restarting) {
			if len(p.restarting) == 1 || slices.ContainsFunc(old.servers, func(s *server) bool { return slices.Contains(addresses, s.Addr) }) {
				return old.lineage
			}
		}
	}
	return new(lineage)
}

// beginRestart notes that in is about to be replaced. The plugin reload and a SIGUSR1 may do that at the same time.
func (p *process) beginRestart(in *instance) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !slices.Contains(p.restarting, in) {
		in.restarted = make(chan struct{})
		p.watchTermination(in.restarted)
	}
	p.restarting = append(p.restarting, in)
}

// endRestart notes that in has been replaced, or runs on.
func (p *process) endRestart(in *instance) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if slices.Contains(p.restarting, in) {
		close(in.restarted)
	}
	p.restarting = slices.DeleteFunc(p.restarting, func(other *instance) bool { return other == in })
}

// instanceKey is that of an instance in the storage of its caddy instance.
type instanceKey struct{ *process }

// instanceOf returns the state of the caddy instance that c sets up, making it on the first call. A Controller does not
// tell its instance, but a value stored through it is found again in the instance's storage.
func (p *process) instanceOf(c *caddy.Controller) *instance {
	if known, ok := c.Get(instanceKey{p}).(*instance); ok && known != nil {
		return known
	}
	made := &instance{process: p, context: c.Context(), controller: *c}
	c.Set(instanceKey{p}, made)
	made.caddy = p.findInstance(func(i *instance) bool { return i == made })
	if made.caddy == nil {
		c.Set(instanceKey{p}, (*instance)(nil))
		return nil
	}
	return made
}

// findInstance returns the caddy instance whose state satisfies match, or nil. The instance that is being started is in
// caddy's list from the beginning.
func (p *process) findInstance(match func(*instance) bool) *caddy.Instance {
	for _, candidate := range caddy.Instances() {
		candidate.StorageMu.RLock()
		state, _ := candidate.Storage[instanceKey{p}].(*instance)
		candidate.StorageMu.RUnlock()
		if state != nil && match(state) {
			return candidate
		}
	}
	return nil
}

// watchLastDirective has caddy call back when the last directive was set up. Until then directives may read and change
// what the takeover changes. The list of directives can differ from start to start in an embedding program.
func (p *process) watchLastDirective() {
	last := dnsserver.Directives[len(dnsserver.Directives)-1]
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.watched[last] {
		return
	}
	p.watched[last] = true
	caddy.RegisterParsingCallback("dns", last, func(context caddy.Context) error {
		if last != dnsserver.Directives[len(dnsserver.Directives)-1] {
			return nil // was the last one when another Corefile was read
		}
		var state *instance
		p.findInstance(func(i *instance) bool {
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
