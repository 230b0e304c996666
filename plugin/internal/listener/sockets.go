package listener

import (
	"net"
	"sync"
	"time"
)

// claimTime is how long a claim waits for its server to be started. Caddy starts the servers of an instance right after
// the last start function; nothing that takes time comes between.
const claimTime = time.Second

// registry knows the sockets of the process. A server gets an endpoint in two steps, because between the two another
// server may fail to start, and then the whole instance is discarded without a word to this package:
//
//	claim     opens the sockets, or finds them open and in use by the running configuration; changes nothing for clients
//	activate  makes the server the one that answers
//
// A claim that is not activated ends when the running instance is told that the restart failed, when the next instance
// starts (releaseDead), or after claimTime. Sockets that were opened for it are closed, those in use stay in use. A
// server that is started after all claims again.
type registry struct {
	mu        sync.Mutex
	endpoints map[endpointKey]*endpoint
	claims    map[*server]bool
}

// endpointKey identifies sockets over reloads: the n-th pair of an address.
type endpointKey struct {
	address string
	ordinal int
}

var sockets = &registry{endpoints: make(map[endpointKey]*endpoint), claims: make(map[*server]bool)}

// claim reserves an endpoint for s.
func (r *registry) claim(s *server) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.claimLocked(s)
}

func (r *registry) claimLocked(s *server) error {
	key := endpointKey{s.Addr, s.ordinal}
	e := r.endpoints[key]
	if s.proxied || e == nil {
		var err error
		if e, err = openEndpoint(s.Server); err != nil {
			return err
		}
		// Sockets that speak the PROXY protocol are wrapped with the settings of one configuration, so another one
		// cannot take them over. They are in no list.
		if !s.proxied {
			e.key = key
			r.endpoints[key] = e
		}
	}
	if prior := e.next; prior != nil {
		if prior.alive() {
			r.activateLocked(prior) // started, but its goroutine has not run yet
		} else {
			r.forget(prior)
		}
	}
	e.next, s.endpoint = s, e
	r.claims[s] = true
	s.expiry = time.AfterFunc(claimTime, func() { r.release(s) })
	return nil
}

// forget ends the claim of s.
func (r *registry) forget(s *server) {
	s.expiry.Stop()
	delete(r.claims, s)
	s.endpoint.next = nil
	s.endpoint = nil
}

// release ends the claim of s, if it still is one, and closes sockets that nobody ever used.
func (r *registry) release(s *server) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.releaseLocked(s)
}

func (r *registry) releaseLocked(s *server) {
	if !r.claims[s] {
		return
	}
	e := s.endpoint
	r.forget(s)
	if e.current.Load() == nil {
		r.remove(e)
		e.quiesce()
		e.close()
	}
}

// releaseDead ends the claims of instances that did not come up.
func (r *registry) releaseDead() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for s := range r.claims {
		if !s.alive() {
			r.releaseLocked(s)
		}
	}
}

// remove takes e off the list.
func (r *registry) remove(e *endpoint) {
	if r.endpoints[e.key] == e {
		delete(r.endpoints, e.key)
	}
}

// listener returns the TCP socket that s has claimed.
func (r *registry) listener(s *server) net.Listener {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.endpoint == nil {
		return nil
	}
	return s.endpoint.streams
}

// activate lets s answer on the endpoint that it has claimed.
func (r *registry) activate(s *server) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.stopped {
		return nil
	}
	if s.endpoint == nil {
		if err := r.claimLocked(s); err != nil {
			return err
		}
	}
	r.activateLocked(s)
	return nil
}

func (r *registry) activateLocked(s *server) {
	e := s.endpoint
	if !r.claims[s] {
		return
	}
	r.forget(s)
	s.endpoint = e
	if s.makeDecorate != nil && s.decorate == nil {
		s.decorate = s.makeDecorate(s.Server)
	}
	e.current.Store(s)
	e.start()
}

// stop takes s off its endpoint. If nobody follows it there, the endpoint stops reading and is returned: the caller
// closes it when the last request is answered.
func (r *registry) stop(s *server) *endpoint {
	r.mu.Lock()
	defer r.mu.Unlock()
	s.stopped = true
	e := s.endpoint
	if e == nil {
		return nil
	}
	if r.claims[s] {
		r.releaseLocked(s)
		return nil
	}
	s.endpoint = nil
	if e.current.Load() != s {
		return nil
	}
	if e.next != nil {
		// Caddy stops the old instance when all servers of the new one have been started, each in its own goroutine.
		// This one's has not run yet.
		r.activateLocked(e.next)
		return nil
	}
	e.current.Store(nil)
	r.remove(e)
	e.quiesce()
	return e
}
