package gsstsig

import (
	"net"
	"net/netip"

	"github.com/coredns/coredns/plugin"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/gsstsig/coredns-gsstsig/gsstsig"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/listener"
	"github.com/gsstsig/coredns-gsstsig/zone"
)

var (
	handshakes = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace,
		Subsystem: pluginName,
		Name:      "handshakes_total",
		Help:      "Counter of TKEY exchanges by result: established, continued, deleted, or the error in the response.",
	}, []string{"result"})

	notShared = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace,
		Subsystem: pluginName,
		Name:      "contexts_not_shared_total",
		Help:      "Counter of contexts that are good at this server alone, although it shares contexts, by reason: table, if the shared table did not take the context in time, or rc4.",
	}, []string{"reason"})

	updates = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace,
		Subsystem: pluginName,
		Name:      "updates_total",
		Help:      "Counter of UPDATE messages by zone, transport and response code. The zone is \"\" if no server block has it.",
	}, []string{"zone", "transport", "rcode"})

	refusals = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace,
		Subsystem: pluginName,
		Name:      "refusals_total",
		Help:      "Counter of UPDATE messages that were refused, by zone and reason. The zone is \"\" if no server block has it.",
	}, []string{"zone", "reason"})

	refreshes = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace,
		Subsystem: pluginName,
		Name:      "refreshes_total",
		Help:      "Counter of records whose time of the last refresh an update has renewed, and that did not change otherwise.",
	}, []string{"zone"})

	scavenged = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace,
		Subsystem: pluginName,
		Name:      "scavenged_total",
		Help:      "Counter of stale records that were removed.",
	}, []string{"zone"})

	verificationFailures = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace,
		Subsystem: pluginName,
		Name:      "verification_failures_total",
		Help:      "Counter of messages whose TSIG record did not verify, by kind of failure.",
	}, []string{"kind"})

	dropped = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace,
		Subsystem: pluginName,
		Name:      "dropped_total",
		Help:      "Counter of messages and connections that the listener dropped, by reason.",
	}, []string{"reason"})

	tlsHandshakeFailures = promauto.NewCounter(prometheus.CounterOpts{
		Namespace: plugin.Namespace,
		Subsystem: pluginName,
		Name:      "tls_handshake_failures_total",
		Help:      "Counter of TLS handshakes that failed.",
	})

	commitDuration = promauto.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: plugin.Namespace,
		Subsystem: pluginName,
		Name:      "commit_duration_seconds",
		Help:      "Histogram of the time that a commit to the zone's database takes.",
		Buckets:   []float64{.00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, 1, 5},
	}, []string{"zone"})

	commitUpdates = promauto.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: plugin.Namespace,
		Subsystem: pluginName,
		Name:      "commit_updates",
		Help:      "Histogram of the number of updates that share a commit.",
		Buckets:   prometheus.ExponentialBuckets(1, 2, 9),
	}, []string{"zone"})

	commitErrors = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace,
		Subsystem: pluginName,
		Name:      "commit_errors_total",
		Help:      "Counter of commits that failed.",
	}, []string{"zone"})

	commitConflicts = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace,
		Subsystem: pluginName,
		Name:      "commit_conflicts_total",
		Help:      "Counter of times that updates were evaluated again, because another server had changed the zone on etcd.",
	}, []string{"zone"})

	commitUnknown = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace,
		Subsystem: pluginName,
		Name:      "commit_unknown_total",
		Help:      "Counter of commits whose outcome etcd did not tell in time.",
	}, []string{"zone"})

	notifies = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace,
		Subsystem: pluginName,
		Name:      "notifies_total",
		Help:      "Counter of rounds of NOTIFY messages about a zone by result: accepted by all secondaries, or failed.",
	}, []string{"zone", "result"})

	transfers = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace,
		Subsystem: pluginName,
		Name:      "transfers_total",
		Help:      "Counter of zone transfers by type (axfr, ixfr, or current for a client that has the zone) and result: complete or incomplete.",
	}, []string{"zone", "type", "result"})
)

// observer counts and logs the messages that the listener passes to no plugin.
type observer struct{ *auditor }

// VerificationFailed implements listener.Observer.
func (o observer) VerificationFailed(client netip.AddrPort, failure *gsstsig.VerifyError) {
	o.signature(client, failure)
}

// Dropped implements listener.Observer.
func (observer) Dropped(reason listener.Reason) { droppedFor[reason].Inc() }

// TLSFailed implements listener.Observer.
func (o observer) TLSFailed(client netip.AddrPort, err error) { o.tlsFailed(client, err) }

// NotAuthoritative implements listener.Observer.
func (o observer) NotAuthoritative(server string, client net.Addr, transaction *gsstsig.Transaction, update *dns.Msg) {
	o.notAuthoritative(server, client, transaction, update)
}

// droppedFor has the counter of each reason, so that none is looked up during a flood. All exist from the start: a rate
// needs the zero before the first message.
var droppedFor = func() (counters [listener.Reasons]prometheus.Counter) {
	for reason := range listener.Reasons {
		counters[reason] = dropped.WithLabelValues(reason.String())
	}
	return counters
}()

// observeCommits returns what counts the commits of a zone.
func observeCommits(origin string) func(zone.Commit) {
	duration, updates, failed := commitDuration.WithLabelValues(origin), commitUpdates.WithLabelValues(origin), commitErrors.WithLabelValues(origin)
	conflicts, unknown := commitConflicts.WithLabelValues(origin), commitUnknown.WithLabelValues(origin)
	return func(c zone.Commit) {
		duration.Observe(c.Duration.Seconds())
		updates.Observe(float64(c.Updates))
		conflicts.Add(float64(c.Conflicts))
		if c.Unknown {
			unknown.Inc()
		}
		if c.Err != nil {
			failed.Inc()
		}
	}
}
