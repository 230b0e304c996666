package gsstsig

import "github.com/gsstsig/coredns-gsstsig/plugin/internal/service"

// setDamaged notes a zone whose database is damaged: it is answered SERVFAIL, and the other zones are served, as in BIND. Its
// files are left as they are, and are not held open, so that they can be repaired or moved away. The next reload tries again.
// That is so too where no zone is left: one rule is easier to reckon with, and other server blocks go on.
func (h *Handler) setDamaged(origin string, err error) {
	f := service.DamagedFinding(origin, err)
	h.damaged = append(h.damaged, f)
	logFinding(f)
}
