package gsstsig

import (
	"sync"
	"time"
)

// notifyInterval is the least time between two NOTIFY messages about one server block's zones: a burst of updates is
// one message at its beginning and one after it.
const notifyInterval = time.Second

// notifier tells secondaries that zones have changed (RFC 1996). Its goroutine lives while there is something to tell.
type notifier struct {
	send func(origin string) error

	mu      sync.Mutex // guards what follows
	pending map[string]bool
	running bool
}

// changed has the secondaries of a zone told soon. It never waits.
func (n *notifier) changed(origin string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.pending == nil {
		n.pending = make(map[string]bool)
	}
	n.pending[origin] = true
	if !n.running {
		n.running = true
		go n.run()
	}
}

func (n *notifier) run() {
	for {
		origins := n.take()
		if len(origins) == 0 {
			return
		}
		for origin := range origins {
			if err := n.send(origin); err != nil {
				log.Warningf("zone %s: %v; the secondary will find the change when it next refreshes", origin, err)
			}
		}
		time.Sleep(notifyInterval)
	}
}

// take returns the zones to tell about, or, when there are none, notes that the goroutine ends.
func (n *notifier) take() map[string]bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	origins := n.pending
	n.pending = nil
	n.running = len(origins) > 0
	return origins
}
