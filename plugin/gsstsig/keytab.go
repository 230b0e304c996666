package gsstsig

import (
	"fmt"
	"slices"
	"time"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5"
	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/service"
)

// keytabInterval is how often keytabs are checked for changes.
const keytabInterval = 5 * time.Second

// watchKeytabs reloads changed keytabs on every tick, of all blocks and for as long as the process lives: a goroutine per
// configuration would leak where a configuration fails to start.
func (p *process) watchKeytabs(tick <-chan time.Time) {
	for range tick {
		p.reloadKeytabs()
	}
}

func (p *process) reloadKeytabs() {
	p.reloading.Lock()
	defer p.reloading.Unlock()
	for _, b := range p.blocks() {
		if s := b.service.Load(); s != nil {
			b.keytabs.reload(s)
		}
	}
}

// keytabReports logs what happens to a block's keytabs, and each problem once.
type keytabReports struct {
	warnings []diagnose.Finding // that were logged last
	failure  string             // of the last attempt to reload
}

// reload reloads a block's keytabs if they have changed. The process calls it for one block at a time.
func (k *keytabReports) reload(s *service.Service) {
	k.warn(s)
	changed, err := s.Keytabs.Reload()
	if err != nil {
		if text := err.Error(); text != k.failure {
			k.failure = text
			for _, e := range joined(err) {
				f := diagnose.FromError("", e)
				f.Problem += "; the keys read before stay in use"
				logFinding(f)
			}
		}
		return
	}
	k.failure = ""
	if !changed {
		return
	}
	for _, f := range s.KeyFindings() {
		f.Problem = "changed: " + f.Problem
		logFinding(f)
	}
	for _, f := range s.NotReady() {
		f.Problem += fmt.Sprintf("; the keys read before stay in use for %s", krb5.DefaultRetention)
		logFinding(f)
	}
}

// joined returns the errors of errors.Join, of which each is to have a line of its own.
func joined(err error) []error {
	if list, ok := err.(interface{ Unwrap() []error }); ok {
		return list.Unwrap()
	}
	return []error{err}
}

// warn logs what is wrong with the keytab files, unless it was logged before.
func (k *keytabReports) warn(s *service.Service) {
	warnings := s.FileFindings()
	for _, f := range warnings {
		if !slices.Contains(k.warnings, f) {
			logFinding(f)
		}
	}
	k.warnings = warnings
}
