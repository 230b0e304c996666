package gsstsig

import (
	"fmt"
	"strings"
	"sync"

	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/administration"
)

// Ready implements ready.Readiness: the keytab has a usable key, and each zone of the block is served and takes updates. Why
// a server is not ready is logged once, and so is that it is ready again.
func (h *Handler) Ready() bool {
	findings := h.notReady()
	h.readiness.report(findings)
	return len(findings) == 0
}

// notReady says why the block is not ready.
func (h *Handler) notReady() []diagnose.Finding {
	findings := h.service.NotReady()
	for _, origin := range h.names {
		if z := h.zone(origin); z == nil {
			findings = append(findings, h.unavailableFinding(origin))
		} else if f := h.zones[origin].failure.Load(); f != nil {
			findings = append(findings, *f)
		} else if err := z.Writable(); err != nil {
			findings = append(findings, diagnose.FromError("zone "+origin, fmt.Errorf("its updates are answered SERVFAIL: %w", administration.Explain(err))))
		}
	}
	return findings
}

// readiness logs changes of a server's readiness.
type readiness struct {
	mu     sync.Mutex
	reason string // that was logged last; empty: ready
}

func (r *readiness) report(findings []diagnose.Finding) {
	var reasons []string
	for _, f := range findings {
		reasons = append(reasons, f.String())
	}
	reason := strings.Join(reasons, "; ")
	r.mu.Lock()
	defer r.mu.Unlock()
	if reason == r.reason {
		return
	}
	r.reason = reason
	if reason == "" {
		log.Info("ready again")
	} else {
		log.Errorf("not ready: %s", reason)
	}
}

// logFindings logs findings at the levels of their severities.
func logFindings(findings []diagnose.Finding) {
	for _, f := range findings {
		logFinding(f)
	}
}

func logFinding(f diagnose.Finding) {
	switch f.Severity {
	case diagnose.OK:
		log.Info(f)
	case diagnose.Warning:
		log.Warning(f)
	default:
		log.Error(f)
	}
}
