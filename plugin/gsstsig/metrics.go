package gsstsig

import (
	"net/netip"
	"sync"

	"github.com/coredns/coredns/plugin"
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
		Help:      "Counter of TKEY exchanges by result: established, continued, deleted, or the error told to the client.",
	}, []string{"result"})

	updates = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace,
		Subsystem: pluginName,
		Name:      "updates_total",
		Help:      "Counter of UPDATE messages by zone and response code.",
	}, []string{"zone", "rcode"})

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
		Help:      "Counter of messages and connections that the listener did not work on, by reason.",
	}, []string{"reason"})

	contextsDesc = prometheus.NewDesc(
		prometheus.BuildFQName(plugin.Namespace, pluginName, "contexts"),
		"Number of security contexts by state: live or half_open.", []string{"state"}, nil)

	serialDesc = prometheus.NewDesc(
		prometheus.BuildFQName(plugin.Namespace, pluginName, "zone_serial"),
		"Serial number of the zone.", []string{"zone"}, nil)
)

// observer counts what the listener keeps from the plugins.
type observer struct{}

// VerificationFailed implements listener.Observer.
func (observer) VerificationFailed(client netip.AddrPort, failure *gsstsig.VerifyError) {
	auditSignature(client, failure)
}

// Dropped implements listener.Observer.
func (observer) Dropped(reason listener.Reason) { droppedFor[reason].Inc() }

// droppedFor has the counter of each reason, so that none has to be looked for in the middle of a flood. Each is there
// from the start: the first message that is dropped is one more than none.
var droppedFor = func() (counters [listener.Reasons]prometheus.Counter) {
	for reason := range listener.Reasons {
		counters[reason] = dropped.WithLabelValues(reason.String())
	}
	return counters
}()

// gauges reads contexts and serials when asked, so that no update pays for keeping a gauge.
type gauges struct{}

var registerGauges = sync.OnceValue(func() error { return prometheus.Register(gauges{}) })

// Describe implements prometheus.Collector.
func (gauges) Describe(ch chan<- *prometheus.Desc) {
	ch <- contextsDesc
	ch <- serialDesc
}

// Collect implements prometheus.Collector.
func (gauges) Collect(ch chan<- prometheus.Metric) {
	kept.mu.Lock()
	defer kept.mu.Unlock()
	var live, halfOpen int
	for _, h := range kept.sessions {
		l, half := h.value.contexts.Len()
		live += l
		halfOpen += half
	}
	serials := make(map[string]uint32)
	for _, h := range kept.zones {
		// Views may hold several zones of one name; the series has one label, so the newest serial stands for them.
		origin := h.value.Origin()
		serials[origin] = max(serials[origin], h.value.Snapshot().Serial())
	}
	ch <- prometheus.MustNewConstMetric(contextsDesc, prometheus.GaugeValue, float64(live), "live")
	ch <- prometheus.MustNewConstMetric(contextsDesc, prometheus.GaugeValue, float64(halfOpen), "half_open")
	for origin, serial := range serials {
		ch <- prometheus.MustNewConstMetric(serialDesc, prometheus.GaugeValue, float64(serial), origin)
	}
}
