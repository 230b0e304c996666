package gsstsig

import (
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/zone"
)

// notifyInterval is the minimum time between two NOTIFY messages about one server block's zones: a burst of updates causes
// one message at its beginning and one after it.
const notifyInterval = time.Second

// notifier sends NOTIFY to secondaries of zones that have changed (RFC 1996). Its goroutine lives while a zone is pending.
type notifier struct {
	send func(origin string) error

	mu      sync.Mutex // guards what follows
	pending map[string]bool
	running bool
}

// changed schedules a NOTIFY about a zone. It never blocks.
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
			err := n.send(origin)
			notifies.WithLabelValues(origin, map[bool]string{true: "accepted", false: "failed"}[err == nil]).Inc()
			if err != nil {
				log.Warningf("zone %s: NOTIFY: %v. Secondaries will find the change at their next refresh", origin, err)
			}
		}
		time.Sleep(notifyInterval)
	}
}

// take returns the pending zones. If there are none, the goroutine ends.
func (n *notifier) take() map[string]bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	origins := n.pending
	n.pending = nil
	n.running = len(origins) > 0
	return origins
}

// answerNotify answers a NOTIFY as BIND does for the zones of which it is the primary server: it changes nothing, and its
// sender is told that it has arrived. A question for anything but an SOA record is none of RFC 1996 section 3.
func (h *Handler) answerNotify(z *zone.Zone, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	rcode := dns.RcodeSuccess
	switch {
	case r.Question[0].Qtype != dns.TypeSOA:
		rcode = dns.RcodeFormatError
	case dns.CanonicalName(r.Question[0].Name) != z.Origin():
		rcode = dns.RcodeNotAuth
	}
	m := new(dns.Msg).SetRcode(r, rcode)
	m.Authoritative = rcode == dns.RcodeSuccess
	if err := w.WriteMsg(m); err != nil {
		return dns.RcodeServerFailure, err
	}
	return dns.RcodeSuccess, nil
}
