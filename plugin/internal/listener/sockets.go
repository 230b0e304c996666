package listener

import (
	"net"
	"sync"
	"time"
)

// claimTime is how long a claim waits for its server to be started. Caddy starts the servers of an instance right after
// the last start function; nothing that takes time comes between.
const claimTime = time.Second

// socketTable knows the sockets of the process. A server gets an endpoint in two steps, because between the two another
// server may fail to start, and then the whole instance is discarded without notice to this package:
//
//	claim     opens the sockets, or finds them open and in use by the running configuration; changes nothing for clients
//	activate  makes the server the one that answers
//
// A claim that is not activated ends when the running instance is told that the restart failed, when the next instance
// starts (abandonDead), or after claimTime. Sockets that were opened for it are closed, those in use stay in use. A
// server that is started after all claims again.
type socketTable struct {
	mu        sync.Mutex
	endpoints map[endpointKey]*endpoint
	claims    map[*server]bool
}

// endpointKey identifies sockets over reloads: the n-th pair of an address of an instance and those that replace it.
type endpointKey struct {
	lineage *lineage
	address string
	ordinal int
}

func newSocketTable() *socketTable {
	return &socketTable{endpoints: make(map[endpointKey]*endpoint), claims: make(map[*server]bool)}
}

// claim reserves an endpoint for s.
func (t *socketTable) claim(s *server) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.claimLocked(s)
}

func (t *socketTable) claimLocked(s *server) error {
	key := endpointKey{s.instance.lineage, s.Addr, s.ordinal}
	e := t.endpoints[key]
	if s.proxied || e == nil {
		var err error
		if e, err = openEndpoint(s.stock(), s.instance.process.connections); err != nil {
			return err
		}
		// Sockets that speak the PROXY protocol are wrapped with the settings of one configuration, so another one
		// cannot take them over. They are in no list.
		if !s.proxied {
			e.key = key
			t.endpoints[key] = e
		}
	}
	if prior := e.next; prior != nil {
		if prior.alive() {
			t.activateLocked(prior) // started, but its goroutine has not run yet
		} else {
			t.forget(prior)
		}
	}
	e.next, s.endpoint = s, e
	t.claims[s] = true
	s.expiry = time.AfterFunc(claimTime, func() { t.abandon(s) })
	return nil
}

// forget ends the claim of s.
func (t *socketTable) forget(s *server) {
	s.expiry.Stop()
	delete(t.claims, s)
	s.endpoint.next = nil
	s.endpoint = nil
}

// abandon ends the claim of s, if there still is one, and closes sockets that no server has used.
func (t *socketTable) abandon(s *server) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.abandonLocked(s)
}

func (t *socketTable) abandonLocked(s *server) {
	if !t.claims[s] {
		return
	}
	e := s.endpoint
	t.forget(s)
	if e.current.Load() == nil {
		t.remove(e)
		e.stopReading()
		e.close()
	}
}

// abandonDead ends the claims of instances that did not come up.
func (t *socketTable) abandonDead() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for s := range t.claims {
		if !s.alive() {
			t.abandonLocked(s)
		}
	}
}

// remove takes e off the list.
func (t *socketTable) remove(e *endpoint) {
	if t.endpoints[e.key] == e {
		delete(t.endpoints, e.key)
	}
}

// listener returns the TCP socket that s has claimed.
func (t *socketTable) listener(s *server) net.Listener {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.endpoint == nil {
		return nil
	}
	return s.endpoint.streams
}

// activate lets s answer on the endpoint that it has claimed.
func (t *socketTable) activate(s *server) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.stopped {
		return nil
	}
	if s.endpoint == nil {
		if err := t.claimLocked(s); err != nil {
			return err
		}
	}
	t.activateLocked(s)
	return nil
}

func (t *socketTable) activateLocked(s *server) {
	e := s.endpoint
	if !t.claims[s] {
		return
	}
	t.forget(s)
	s.endpoint = e
	if s.instance != nil {
		s.instance.start() // before any message comes
	}
	if s.makeDecorate != nil && s.decorate == nil {
		s.decorate = s.makeDecorate(s.Server)
	}
	e.current.Store(s)
	e.start()
}

// stop takes s off its endpoint. If no other server follows it there, the endpoint stops reading and is returned: the caller
// closes it when the last request is answered.
func (t *socketTable) stop(s *server) *endpoint {
	t.mu.Lock()
	defer t.mu.Unlock()
	s.stopped = true
	e := s.endpoint
	if e == nil {
		return nil
	}
	if t.claims[s] {
		t.abandonLocked(s)
		return nil
	}
	s.endpoint = nil
	if e.current.Load() != s {
		return nil
	}
	if e.next != nil {
		// Caddy stops the old instance when all servers of the new one have been started, each in its own goroutine.
		// This one's has not run yet.
		t.activateLocked(e.next)
		return nil
	}
	e.current.Store(nil)
	t.remove(e)
	e.stopReading()
	return e
}
