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
)

var (
	handshakes = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace,
		Subsystem: pluginName,
		Name:      "handshakes_total",
		Help:      "Counter of TKEY exchanges by result: established, continued, deleted, or the error in the response.",
	}, []string{"result"})

	updates = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace,
		Subsystem: pluginName,
		Name:      "updates_total",
		Help:      "Counter of UPDATE messages by zone and response code. The zone is \"\" if no server block has it.",
	}, []string{"zone", "rcode"})

	refusals = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace,
		Subsystem: pluginName,
		Name:      "refusals_total",
		Help:      "Counter of UPDATE messages that were refused, by zone and reason. The zone is \"\" if no server block has it.",
	}, []string{"zone", "reason"})

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

	contextsDesc = prometheus.NewDesc(
		prometheus.BuildFQName(plugin.Namespace, pluginName, "contexts"),
		"Number of security contexts by state: live or half_open.", []string{"state"}, nil)

	serialDesc = prometheus.NewDesc(
		prometheus.BuildFQName(plugin.Namespace, pluginName, "zone_serial"),
		"Serial number of the zone.", []string{"zone"}, nil)
)

// observer counts and logs the messages that the listener passes to no plugin.
type observer struct{ *auditor }

// VerificationFailed implements listener.Observer.
func (o observer) VerificationFailed(client netip.AddrPort, failure *gsstsig.VerifyError) {
	o.signature(client, failure)
}

// Dropped implements listener.Observer.
func (observer) Dropped(reason listener.Reason) { droppedFor[reason].Inc() }

// NotAuthoritative implements listener.Observer.
func (o observer) NotAuthoritative(client net.Addr, transaction *gsstsig.Transaction, update *dns.Msg) {
	o.notAuthoritative(client, transaction, update)
}

// droppedFor has the counter of each reason, so that none is looked up during a flood. All exist from the start: a rate
// needs the zero before the first message.
var droppedFor = func() (counters [listener.Reasons]prometheus.Counter) {
	for reason := range listener.Reasons {
		counters[reason] = dropped.WithLabelValues(reason.String())
	}
	return counters
}()

// gauges reads contexts and serials of a process when they are collected, so that updates need not maintain them.
type gauges struct{ *process }

// Describe implements prometheus.Collector.
func (gauges) Describe(ch chan<- *prometheus.Desc) {
	ch <- contextsDesc
	ch <- serialDesc
}

// Collect implements prometheus.Collector.
func (g gauges) Collect(ch chan<- prometheus.Metric) {
	g.mu.Lock()
	defer g.mu.Unlock()
	var live, halfOpen int
	for _, s := range g.contexts {
		l, half := s.value.table.Len()
		live += l
		halfOpen += half
	}
	serials := make(map[string]uint32)
	for _, s := range g.zones {
		// Several views may have a zone of one name, but the series has one label: the newest serial is reported.
		origin := s.value.Origin()
		serials[origin] = max(serials[origin], s.value.Snapshot().Serial())
	}
	ch <- prometheus.MustNewConstMetric(contextsDesc, prometheus.GaugeValue, float64(live), "live")
	ch <- prometheus.MustNewConstMetric(contextsDesc, prometheus.GaugeValue, float64(halfOpen), "half_open")
	for origin, serial := range serials {
		ch <- prometheus.MustNewConstMetric(serialDesc, prometheus.GaugeValue, float64(serial), origin)
	}
}
