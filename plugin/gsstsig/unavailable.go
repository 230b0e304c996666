package gsstsig

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/control"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/listener"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/service"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/view"
	"github.com/gsstsig/coredns-gsstsig/zone"
	"github.com/gsstsig/coredns-gsstsig/zone/store/disk"
)

// setDamaged notes a zone whose database is damaged: it is answered SERVFAIL, and the other zones are served, as in BIND. Its
// files are left as they are, and are not held open, so that they can be repaired or moved away. The next reload tries again.
// That is so too where no zone is left: one rule is easier to reckon with, and other server blocks go on.
func (h *Handler) setDamaged(origin string, err error) {
	f := service.DamagedFinding(origin, err)
	h.damaged[origin] = f
	logFinding(f)
}

// unavailable lists the zones of the block that are answered SERVFAIL.
func (h *Handler) unavailable() []string {
	var origins []string
	for _, origin := range h.names {
		if h.zone(origin) == nil {
			origins = append(origins, origin)
		}
	}
	return origins
}

// unavailableFinding says why a zone is answered SERVFAIL.
func (h *Handler) unavailableFinding(origin string) diagnose.Finding {
	if f, damaged := h.damaged[origin]; damaged {
		return f
	}
	if f := h.zones[origin].failure.Load(); f != nil {
		return *f
	}
	// It was loaded a moment ago.
	return diagnose.Finding{Severity: diagnose.Error, Subject: "zone " + origin, Problem: errNotLoaded.Error()}
}

// unavailableCause is unavailableFinding in a few words.
func (h *Handler) unavailableCause(origin string) error {
	switch z, ok := h.zones[origin]; {
	case !ok:
		return disk.ErrDamaged
	case z.loaded() == nil:
		return errNotLoaded
	}
	return errExpired
}

// answerUnavailable answers a message for a zone that cannot be served. An update is counted and logged as any other.
func (h *Handler) answerUnavailable(ctx context.Context, origin string, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	if r.Opcode == dns.OpcodeUpdate {
		transaction, _ := listener.TransactionFrom(ctx)
		h.audit.update(origin, h.identity(transaction, w.RemoteAddr()), senderOf(ctx, w), r, zone.Result{
			Rcode: dns.RcodeServerFailure,
			Err:   fmt.Errorf("the zone is not served: %w", h.unavailableCause(origin)),
		}, h.service.RefusedLevel)
	}
	return h.answer(w, r, dns.RcodeServerFailure)
}

// unavailableView describes a zone that cannot be served.
func (h *Handler) unavailableView(origin string) view.Zone {
	f := h.unavailableFinding(origin)
	v := view.Zone{Zone: origin, Updates: h.service.Mode(origin).String(), Rules: h.policy(origin).Rules()}
	if h.service.OnEtcd() {
		v.Etcd, v.Unavailable = h.service.Etcd.String(), &f
	} else {
		v.Database, v.Damaged = h.service.DatabaseOf(origin), &f
	}
	return v
}

// unavailableError is the failure of an operation on a zone that none of the handlers can serve, nil if none of them has it.
func unavailableError(handlers []*Handler, origin string) error {
	for _, h := range handlers {
		if slices.Contains(h.names, origin) && h.zone(origin) == nil {
			f := h.unavailableFinding(origin)
			return &control.Error{Problem: f.Subject + ": " + f.Problem, Fix: f.Fix, Status: http.StatusServiceUnavailable}
		}
	}
	return nil
}
