//go:build e2e

package e2e

import (
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/test/gssclient"
	"github.com/gsstsig/coredns-gsstsig/internal/test/server"
)

// TestBesideOtherPlugins runs the secure block and a forwarding block on the same port, with what an operator adds.
func TestBesideOtherPlugins(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	upstream := startCoreDNS(t, server.Config{Corefile: ".:{$UPSTREAM_PORT} {\n    bind 127.0.0.1\n    hosts {\n" +
		"        203.0.113.7 www.outside.test\n    }\n}\n. {\n    bind 127.0.0.1\n    whoami\n}\n", Ports: []string{"UPSTREAM_PORT"}})
	secure := strings.Replace(secureBlock(), "    log\n", "    prometheus 127.0.0.1:{$METRICS_PORT}\n    log\n    reload\n"+
		"    health 127.0.0.1:{$HEALTH_PORT}\n    ready 127.0.0.1:{$READY_PORT}\n", 1)
	s := startCoreDNS(t, server.Config{
		Corefile: secure + ". {\n    bind 127.0.0.1\n    forward . {$UPSTREAM}\n    cache\n    log\n    errors\n" +
			"    prometheus 127.0.0.1:{$METRICS_PORT}\n}\n",
		Env:   []string{"UPSTREAM=" + upstream.Port("UPSTREAM_PORT").String()},
		Ports: []string{"METRICS_PORT", "HEALTH_PORT", "READY_PORT"},
		Probe: forwardZone,
	})
	for _, network := range []string{"udp", "tcp"} {
		reply := exchange(t, s.Address, network, new(dns.Msg).SetQuestion("www.outside.test.", dns.TypeA))
		if len(reply.Answer) != 1 || !strings.HasSuffix(reply.Answer[0].String(), "203.0.113.7") {
			t.Errorf("forwarded over %s: %s", network, reply)
		}
	}
	client := negotiated(t, logIn(t, host1), gssclient.Config{Server: s.Address}, "udp")
	for _, message := range []*dns.Msg{
		add(t, forwardZone, "beside.example.test. 300 A 192.0.2.71"),
		// What another block's plugins answer to a signed query is signed too.
		new(dns.Msg).SetQuestion("www.outside.test.", dns.TypeA),
		new(dns.Msg).SetQuestion("absent.outside.test.", dns.TypeA),
		new(dns.Msg).SetQuestion("absent.example.test.", dns.TypeA),
	} {
		for _, network := range []string{"udp", "tcp"} {
			reply, err := client.Exchange(network, message, gssclient.Misbehaviour{})
			if err != nil {
				t.Fatal(err)
			}
			if reply.MIC != gssclient.MICOK {
				t.Errorf("%s over %s: signature %s: %s", message.Question[0].Name, network, reply.MIC, reply.Message)
			}
		}
	}
	expect(t, s.Address, "beside.example.test", dns.TypeA, "192.0.2.71")
	if unsigned := exchange(t, s.Address, "udp", add(t, "outside.test", "a.outside.test. 300 A 192.0.2.1")); unsigned.Rcode == dns.RcodeSuccess {
		t.Errorf("an update for a zone that is forwarded: %s", dns.RcodeToString[unsigned.Rcode])
	}

	for _, page := range []struct {
		port, path, contains string
	}{
		{"HEALTH_PORT", "/health", "OK"},
		{"READY_PORT", "/ready", "OK"},
		{"METRICS_PORT", "/metrics", `coredns_gsstsig_updates_total{rcode="NOERROR",transport="tcp",zone="example.test."}`},
		{"METRICS_PORT", "/metrics", `coredns_gsstsig_handshakes_total{result="established"} 1`},
		{"METRICS_PORT", "/metrics", `coredns_gsstsig_contexts{state="live"} 1`},
		{"METRICS_PORT", "/metrics", `coredns_gsstsig_zone_serial{zone="example.test."}`},
		{"METRICS_PORT", "/metrics", `coredns_dns_requests_total{`},
		{"METRICS_PORT", "/metrics", `coredns_forward_`},
	} {
		if text := get(t, s.Port(page.port), page.path); !strings.Contains(text, page.contains) {
			t.Errorf("%s does not contain %s", page.path, page.contains)
		}
	}
	for _, part := range []string{
		"A IN www.outside.test.", // the log plugin, of a query
		"SOA IN example.test.",   // and of an update
		"update zone=example.test.",
		`identity="` + host1 + "@" + realmName,
	} {
		if err := s.Log().WaitFor(ctx, 0, part); err != nil {
			t.Error(err)
		}
	}
}

func get(t *testing.T, address netip.AddrPort, path string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(testContext(t), http.MethodGet, "http://"+address.String()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != http.StatusOK {
		t.Errorf("%s: %s", path, response.Status)
	}
	return string(body)
}
