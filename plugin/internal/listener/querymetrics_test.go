package listener

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coredns/coredns/plugin/metrics/vars"
	"github.com/coredns/coredns/plugin/test"
	"github.com/coredns/coredns/request"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
)

// TestQueryMetrics compares what is counted of plain queries with what CoreDNS counts of them: of every type, with and without
// EDNS, of both IP versions, and for two response codes.
func TestQueryMetrics(t *testing.T) {
	const zone, plugin = "metrics.example.", "probe"
	m := &queryMetrics{server: "ours", zone: zone, plugin: plugin}
	took := time.Millisecond
	for i := range 1 << 16 {
		q := &plainQuery{qtype: uint16(i), edns: i%2 == 0, size: 1232}
		if i%3 == 0 {
			q.flags = dnssecOK
		}
		address := net.IP{192, 0, 2, 1}
		if i%5 == 0 {
			address = net.ParseIP("2001:db8::1")
		}
		code := dns.RcodeSuccess
		if i%7 == 0 {
			code = dns.RcodeNameError
		}
		response := make([]byte, 100+i%1000)
		response[3] = byte(code) | 0x90
		m.count(q, address.To4() == nil, 40+i%100, response, took)

		r := new(dns.Msg).SetQuestion(zone, uint16(i))
		if q.edns {
			r.SetEdns0(1232, q.flags != 0)
		}
		w := &test.ResponseWriter{RemoteIP: address.String()}
		vars.Report("theirs", request.Request{W: w, Req: r}, zone, "", dns.RcodeToString[code], plugin, len(response),
			time.Now().Add(-took), vars.WithOriginalReqSize(40+i%100))
	}
	ours, theirs := countsOf(t, "ours", zone), countsOf(t, "theirs", zone)
	if len(theirs) < 20 {
		t.Fatalf("only %d metrics", len(theirs))
	}
	if !slices.Equal(ours, theirs) {
		t.Errorf("counted:\n%s\nCoreDNS counts:\n%s", strings.Join(ours, "\n"), strings.Join(theirs, "\n"))
	}
}

// countsOf returns all that CoreDNS's metrics say of a zone at a server, but for how long queries took.
func countsOf(t *testing.T, server, zone string) (counts []string) {
	t.Helper()
	families, err := prometheus.DefaultGatherer.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			labels := make(map[string]string)
			for _, l := range metric.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			if labels["server"] != server || labels["zone"] != zone {
				continue
			}
			delete(labels, "server")
			text := fmt.Sprint(family.GetName(), labels)
			if h := metric.GetHistogram(); h != nil {
				text += fmt.Sprint(" ", h.GetSampleCount())
				if family.GetName() != "coredns_dns_request_duration_seconds" {
					text += fmt.Sprint(" of ", h.GetSampleSum(), h.GetBucket())
				}
			} else {
				text += fmt.Sprint(" ", metric.GetCounter().GetValue())
			}
			counts = append(counts, text)
		}
	}
	slices.Sort(counts)
	return counts
}
