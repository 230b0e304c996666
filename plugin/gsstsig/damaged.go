package gsstsig

import (
	"context"
	"fmt"
	"net/http"

	"github.com/miekg/dns"

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

// answerDamaged answers a message for a damaged zone. An update is counted and logged as any other.
func (h *Handler) answerDamaged(ctx context.Context, origin string, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	if r.Opcode == dns.OpcodeUpdate {
		transaction, _ := listener.TransactionFrom(ctx)
		h.audit.update(origin, h.identity(transaction, w.RemoteAddr()), source(w.RemoteAddr()), r, zone.Result{
			Rcode: dns.RcodeServerFailure,
			Err:   fmt.Errorf("the zone is not served: %w", disk.ErrDamaged),
		}, h.service.RefusedLevel)
	}
	return h.answer(w, r, dns.RcodeServerFailure)
}

// damagedView describes a damaged zone.
func (h *Handler) damagedView(origin string) view.Zone {
	f := h.damaged[origin]
	return view.Zone{
		Zone: origin, Updates: h.service.Mode(origin).String(), Database: h.service.DatabaseOf(origin),
		Damaged: &f, Rules: h.policies[origin].Rules(),
	}
}

// damagedError is the failure of an operation on a zone that none of the handlers serves, nil if it is damaged in none.
func damagedError(handlers []*Handler, origin string) error {
	for _, h := range handlers {
		if f, damaged := h.damaged[origin]; damaged {
			return &control.Error{Problem: f.Subject + ": " + f.Problem, Fix: f.Fix, Status: http.StatusServiceUnavailable}
		}
	}
	return nil
}
