package gsstsig

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
	"github.com/gsstsig/coredns-gsstsig/zone"
)

// notifyInterval is the minimum time between two NOTIFY messages about one server block's zones: a burst of updates causes
// one message at its beginning and one after it.
const notifyInterval = time.Second

// notifier sends NOTIFY to secondaries of zones that have changed (RFC 1996). Its goroutine lives while a zone is pending.
type notifier struct {
	send     func(origin string) error
	failures notifyFailures // of the goroutine alone; they outlive it

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
			logFindings(n.failures.take(origin, err, time.Now()))
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

// repeatedAfter is how long a secondary has failed for the same reason before that is logged again.
const repeatedAfter = time.Minute

// notifyFailures are the secondaries that failed in the last round of NOTIFY messages about a zone.
type notifyFailures map[string]map[string]notifyFailure // by zone and address

type notifyFailure struct {
	fix    string
	logged time.Time
}

// take returns what is to be logged after a round of NOTIFY messages: a finding for each secondary that fails, not more often than
// once in repeatedAfter for one reason, and one for each that has failed until now.
func (f *notifyFailures) take(origin string, err error, now time.Time) (findings []diagnose.Finding) {
	before, after := (*f)[origin], make(map[string]notifyFailure)
	for _, err := range separate(err) {
		address, reason := notifyReason(err)
		failure := notifyFailure{notifyFix(reason), now}
		if former, ok := before[address]; ok && former.fix == failure.fix && now.Sub(former.logged) < repeatedAfter {
			after[address] = former
			continue
		}
		after[address] = failure
		secondary := "a secondary"
		if address != "" {
			secondary = "the secondary " + address
		}
		findings = append(findings, diagnose.Finding{Severity: diagnose.Warning, Subject: "zone " + origin,
			Problem: secondary + " has not accepted NOTIFY: " + reason + "; it finds the change at its next refresh", Fix: failure.fix})
	}
	for _, address := range slices.Sorted(maps.Keys(before)) {
		if _, fails := after[address]; !fails && address != "" {
			findings = append(findings, diagnose.Finding{Severity: diagnose.OK, Subject: "zone " + origin, Problem: "the secondary " + address + " accepts NOTIFY again"})
		}
	}
	if *f == nil {
		*f = make(notifyFailures)
	}
	if (*f)[origin] = after; len(after) == 0 {
		delete(*f, origin)
	}
	return findings
}

// separate lists the errors that errors.Join has joined.
func separate(err error) []error {
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var list []error
	for _, err := range joined.Unwrap() {
		list = append(list, separate(err)...)
	}
	return list
}

// notAccepted is the form of an error of the transfer plugin about one secondary.
var notAccepted = regexp.MustCompile(`was not accepted by ("(?:[^"\\]|\\.)*"): (?:rcode was )?("(?:[^"\\]|\\.)*")$`)

// notifyReason returns the address of the secondary that an error of the transfer plugin is about, and the reason: an rcode, or why
// there is no answer. In another form, of another version of the plugin, the reason is all of it.
func notifyReason(err error) (address, reason string) {
	m := notAccepted.FindStringSubmatch(err.Error())
	if m == nil {
		return "", strings.Join(strings.Fields(err.Error()), " ")
	}
	address, err = strconv.Unquote(m[1])
	reason, other := strconv.Unquote(m[2])
	if err != nil || other != nil {
		return "", m[0]
	}
	return address, reason
}

// notifyFix is what to do about a secondary that does not accept a NOTIFY.
func notifyFix(reason string) string {
	const leaveOut = ", or take its address out of *transfer*"
	switch {
	case reason == dns.RcodeToString[dns.RcodeNotAuth]:
		return "add the zone to that server as a secondary zone" + leaveOut
	case reason == dns.RcodeToString[dns.RcodeRefused]:
		return "name the address that this server sends from as a primary server of the zone there (primaries or allow-notify in BIND)" + leaveOut
	case dns.StringToRcode[reason] != dns.RcodeSuccess:
		return "read that server's log" + leaveOut
	}
	return "start that server, see that UDP reaches it" + leaveOut
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
