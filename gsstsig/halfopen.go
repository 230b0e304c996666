package gsstsig

import (
	"time"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5"
	"github.com/gsstsig/coredns-gsstsig/gsstsig/spnego"
	"github.com/gsstsig/coredns-gsstsig/internal/ratelimit"
)

// halfOpen is a negotiation that needs another round.
type halfOpen struct {
	name      string
	algorithm string
	server    *Server // the one that handles the round under way
	spnego    *spnego.AcceptorContext
	kerberos  *krb5.AcceptorContext // nil until a Kerberos token came
	source    ratelimit.Key
	rounds    int
	deadline  time.Time

	byDeadline link[halfOpen]
}

func (h *halfOpen) drop() {
	if h.kerberos != nil {
		h.kerberos.Wipe()
	}
}

// keepHalfOpen files h and makes room for it; the first call sets its
// deadline, which later rounds do not extend. An unfinished negotiation of the
// same name is removed.
func (t *Table) keepHalfOpen(h *halfOpen) {
	now := t.now()
	t.halfOpenMu.Lock()
	defer t.halfOpenMu.Unlock()
	if h.deadline.IsZero() {
		h.deadline = now.Add(t.halfOpenLifetime)
	}
	t.expireHalfOpen(now)
	if old := t.halfOpen[h.name]; old != nil {
		t.removeHalfOpen(old)
		old.drop()
	}
	// The walk to the source's oldest is no longer than the list, which is short.
	for e := t.byDeadline.first; e != nil && t.halfOpenOf[h.source] >= t.maxPerSource; {
		old := e.value
		e = e.after
		if old.source == h.source {
			t.removeHalfOpen(old)
			old.drop()
		}
	}
	for len(t.halfOpen) >= t.maxHalfOpen {
		old := t.byDeadline.front()
		t.removeHalfOpen(old)
		old.drop()
	}
	t.halfOpen[h.name] = h
	t.halfOpenOf[h.source]++
	// A new negotiation goes to the end at once; one that came back for another
	// round finds its old place.
	before := t.byDeadline.last
	for before != nil && before.value.deadline.After(h.deadline) {
		before = before.before
	}
	t.byDeadline.insertAfter(before, &h.byDeadline, h)
}

// takeHalfOpen removes and returns the negotiation of that name, so that of
// two concurrent rounds only one finds it. It returns nil when there is none.
func (t *Table) takeHalfOpen(name string) *halfOpen {
	now := t.now()
	t.halfOpenMu.Lock()
	defer t.halfOpenMu.Unlock()
	h := t.halfOpen[name]
	if h == nil {
		return nil
	}
	t.removeHalfOpen(h)
	if !now.Before(h.deadline) {
		h.drop()
		return nil
	}
	return h
}

func (t *Table) hasHalfOpen(name string) bool {
	now := t.now()
	t.halfOpenMu.Lock()
	defer t.halfOpenMu.Unlock()
	h := t.halfOpen[name]
	return h != nil && now.Before(h.deadline)
}

// begun reports whether the negotiation of that name has come to a Kerberos
// token, which went to the key of one server.
func (t *Table) begun(name string) bool {
	now := t.now()
	t.halfOpenMu.Lock()
	defer t.halfOpenMu.Unlock()
	h := t.halfOpen[name]
	return h != nil && now.Before(h.deadline) && h.kerberos != nil
}

// expireHalfOpen drops those past their deadline.
func (t *Table) expireHalfOpen(now time.Time) {
	for h := t.byDeadline.front(); h != nil && !now.Before(h.deadline); h = t.byDeadline.front() {
		t.removeHalfOpen(h)
		h.drop()
	}
}

func (t *Table) removeHalfOpen(h *halfOpen) {
	delete(t.halfOpen, h.name)
	if t.halfOpenOf[h.source]--; t.halfOpenOf[h.source] == 0 {
		delete(t.halfOpenOf, h.source)
	}
	t.byDeadline.remove(&h.byDeadline)
}
