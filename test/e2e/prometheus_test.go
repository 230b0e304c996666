//go:build e2e

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/test/dnsutils"
	"github.com/gsstsig/coredns-gsstsig/internal/test/server"
)

const (
	alertsFile    = "../../coredns-build/prometheus-alerts.yml"
	dashboardFile = "../../coredns-build/grafana-dashboard.json"
)

// promtool runs Prometheus's own check.
func promtool(t *testing.T, dir string, input []byte, args ...string) {
	t.Helper()
	cmd := exec.Command("promtool", args...)
	cmd.Dir = dir
	if input != nil {
		cmd.Stdin = bytes.NewReader(input)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// TestAlerts: Prometheus accepts the alerts, and they fire when they should.
func TestAlerts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, file := range []string{alertsFile, "testdata/prometheus-alerts-test.yml"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(file)), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	promtool(t, dir, nil, "check", "rules", "prometheus-alerts.yml")
	promtool(t, dir, nil, "test", "rules", "prometheus-alerts-test.yml")
}

// dashboardExpressions returns the queries of the dashboard, with Grafana's variables filled in.
func dashboardExpressions(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile(dashboardFile)
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	var expressions []string
	for _, panel := range dashboard.Panels {
		for _, target := range panel.Targets {
			expressions = append(expressions, strings.NewReplacer("$__rate_interval", "5m", "$instance", ".*", "$zone", ".*").Replace(target.Expr))
		}
	}
	if len(expressions) < 20 {
		t.Fatalf("the dashboard has %d queries", len(expressions))
	}
	return expressions
}

// TestDashboard: Prometheus accepts the queries of the dashboard.
func TestDashboard(t *testing.T) {
	t.Parallel()
	var rules strings.Builder
	rules.WriteString("groups:\n- name: dashboard\n  rules:\n")
	for i, expression := range dashboardExpressions(t) {
		fmt.Fprintf(&rules, "  - {record: 'query_%d', expr: %q}\n", i, expression)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "dashboard.yml"), []byte(rules.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, dir, nil, "check", "rules", "dashboard.yml")
}

// TestMetrics: a server at work has all metrics that the dashboard and the alerts refer to, and Prometheus finds no fault with
// them.
func TestMetrics(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	block := strings.Replace(secureBlock(), "    log\n", "    transfer {\n        to 127.0.0.1:{$NOBODY_PORT}\n    }\n    prometheus 127.0.0.1:{$METRICS_PORT}\n    log\n", 1)
	s := startCoreDNS(t, server.Config{Corefile: block, Ports: []string{"METRICS_PORT", "NOBODY_PORT"}, Probe: forwardZone})
	for auth, rcode := range map[string]string{"-g": "NOERROR", "": "REFUSED"} {
		outcome, err := dnsutils.Update{Server: s.Address, Auth: auth, Env: logIn(t, host1).env, Zone: forwardZone,
			Commands: []string{"update add client1.example.test. 300 A 192.0.2.7"}}.Run(ctx)
		if err != nil || outcome.Rcode != rcode {
			t.Fatalf("nsupdate %s: %v, %+v", auth, err, outcome)
		}
	}
	axfr := new(dns.Msg).SetAxfr(dns.Fqdn(forwardZone))
	envelopes, err := new(dns.Transfer).In(axfr, s.Address.String())
	if err != nil {
		t.Fatal(err)
	}
	for envelope := range envelopes {
		if envelope.Error != nil {
			t.Fatal(envelope.Error)
		}
	}
	// NOTIFY is tried three times, two seconds each, before it has failed.
	awaitLine(t, s.Log(), 0, "NOTIFY")
	metrics := []byte(get(t, s.Port("METRICS_PORT"), "/metrics"))
	promtool(t, "", metrics, "check", "metrics")

	// The first is counted only when something goes wrong, the others are of zones on etcd, which test/cluster has.
	absent := map[string]bool{"coredns_gsstsig_verification_failures_total": true, "coredns_gsstsig_zone_unconfirmed_seconds": true, "coredns_gsstsig_zone_loaded": true,
		"coredns_gsstsig_contexts_not_shared_total": true, "coredns_gsstsig_cluster_servers": true}
	alerts, err := os.ReadFile(alertsFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range regexp.MustCompile(`coredns_gsstsig_[a-z_]+`).FindAllString(strings.Join(dashboardExpressions(t), "\n")+string(alerts), -1) {
		if !bytes.Contains(metrics, []byte("\n"+name+"{")) && !absent[name] {
			t.Errorf("the server has no %s", name)
			absent[name] = true
		}
	}
	for _, series := range []string{
		`coredns_gsstsig_refusals_total{reason="unsigned",zone="example.test."} 1`,
		`coredns_gsstsig_commit_updates_count{zone="example.test."} 1`,
		`coredns_gsstsig_commit_errors_total{zone="example.test."} 0`,
		`coredns_gsstsig_notifies_total{result="failed",zone="example.test."} `,
		`coredns_gsstsig_transfers_total{result="complete",type="axfr",zone="example.test."} 1`,
		`coredns_gsstsig_zone_owned_names{zone="example.test."} 1`,
		`coredns_gsstsig_zone_records_limit{zone="example.test."} 5e+06`,
		`coredns_gsstsig_keytab_readable{keytab="` + shared.keytab + `"} 1`,
		`principal="DNS/ns1.example.test@EXAMPLE.TEST"} `,
	} {
		if !bytes.Contains(metrics, []byte(series)) {
			t.Errorf("the server has no %s", series)
		}
	}
	if t.Failed() {
		t.Logf("%s", regexp.MustCompile(`(?m)^coredns_gsstsig.*$`).FindAll(metrics, -1))
	}
}
