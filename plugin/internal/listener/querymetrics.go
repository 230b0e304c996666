package listener

import (
	"sync/atomic"
	"time"

	"github.com/coredns/coredns/plugin/metrics/vars"
	"github.com/coredns/coredns/plugin/pkg/rcode"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
)

// queryMetrics are CoreDNS's metrics of plain queries of one zone, as vars.Report sets them. That looks each of them up by its
// labels for every query, which takes a fifth of the server's time for a plain query. Here each is looked up once, when
// it is needed: one that was looked up is shown by CoreDNS, also if it counts nothing.
type queryMetrics struct {
	server, zone, plugin string

	duration, requestSize, responseSize once[prometheus.Observer]

	requests  [2][len(countedTypes) + 1]once[prometheus.Counter] // by IP version and type; the last is of other types
	dnssecOK  once[prometheus.Counter]
	responses [rcodes]once[prometheus.Counter]
}

// rcodes is how many response codes a header can have.
const rcodes = 16

// countedTypes are the types that CoreDNS counts by their names. All others are one.
var countedTypes = [...]uint16{
	dns.TypeA, dns.TypeAAAA, dns.TypePTR, dns.TypeSRV, dns.TypeSOA, dns.TypeNS, dns.TypeTXT, dns.TypeMX, dns.TypeCNAME, dns.TypeHTTPS,
	dns.TypeSVCB, dns.TypeDS, dns.TypeDNSKEY, dns.TypeRRSIG, dns.TypeNSEC, dns.TypeNSEC3, dns.TypeANY, dns.TypeIXFR, dns.TypeAXFR,
}

// families are the labels of the IP versions.
var families = [2]string{"1", "2"}

// count counts a query of so many octets and its response.
func (m *queryMetrics) count(q *plainQuery, ipv6 bool, size int, response []byte, took time.Duration) {
	family := 0
	if ipv6 {
		family = 1
	}
	at, name := typeLabel(q.qtype)
	m.requests[family][at].get(func() prometheus.Counter {
		return vars.RequestCount.WithLabelValues(m.server, m.zone, "", "udp", families[family], name)
	}).Inc()
	if q.edns && q.flags&dnssecOK != 0 {
		m.dnssecOK.get(func() prometheus.Counter { return vars.RequestDo.WithLabelValues(m.server, m.zone, "") }).Inc()
	}
	m.duration.get(func() prometheus.Observer {
		return vars.RequestDuration.WithLabelValues(m.server, m.zone, "")
	}).Observe(took.Seconds())
	m.responseSize.get(func() prometheus.Observer {
		return vars.ResponseSize.WithLabelValues(m.server, m.zone, "", "udp")
	}).Observe(float64(len(response)))
	m.requestSize.get(func() prometheus.Observer {
		return vars.RequestSize.WithLabelValues(m.server, m.zone, "", "udp")
	}).Observe(float64(size))
	code := int(response[3] % rcodes)
	m.responses[code].get(func() prometheus.Counter {
		return vars.ResponseRcode.WithLabelValues(m.server, m.zone, "", rcode.ToString(code), m.plugin)
	}).Inc()
}

// typeLabel returns the index of a type in queryMetrics, and the label by which CoreDNS counts it.
func typeLabel(qtype uint16) (index int, label string) {
	for i, t := range countedTypes {
		if t == qtype {
			return i, dns.Type(qtype).String()
		}
	}
	return len(countedTypes), "other"
}

// once is something that is looked up when it is needed for the first time.
type once[T any] struct{ found atomic.Pointer[T] }

func (o *once[T]) get(lookUp func() T) T {
	if found := o.found.Load(); found != nil {
		return *found
	}
	found := lookUp()
	o.found.Store(&found)
	return found
}
