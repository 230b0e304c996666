package layout

import (
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const metricPrefix = "coredns_gsstsig_"

var (
	madeMetric       = regexp.MustCompile(`(?:\bName:\s+|\bgauge\()"([a-z_]+)"`)
	documentedMetric = regexp.MustCompile("`" + metricPrefix + `([a-z_]+)(?:\{[a-z, ]*\})?` + "`")
	usedMetric       = regexp.MustCompile(`\b` + metricPrefix + `([a-z_]+)`)
	seriesOf         = regexp.MustCompile(`_(?:bucket|sum|count)$`) // of a histogram
)

// TestAlerts: what to do about each alert is documented.
func TestAlerts(t *testing.T) {
	documented := readFile(t, "../../docs/administration.md")
	for _, m := range regexp.MustCompile(`(?m)^ +- alert: (.+)$`).FindAllStringSubmatch(readFile(t, "../../coredns-build/prometheus-alerts.yml"), -1) {
		if !strings.Contains(documented, "`"+m[1]+"`") {
			t.Errorf("docs/administration.md does not say what to do about %s", m[1])
		}
	}
}

// TestMetrics: every metric of the plugin is documented, and every one that the documents, the dashboard and the alerts name
// exists.
func TestMetrics(t *testing.T) {
	made := make(map[string]bool)
	sources, err := filepath.Glob("../../plugin/gsstsig/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, source := range sources {
		if !strings.HasSuffix(source, "_test.go") {
			for _, m := range madeMetric.FindAllStringSubmatch(readFile(t, source), -1) {
				made[m[1]] = true
			}
		}
	}
	if len(made) < 10 {
		t.Fatalf("the plugin makes only %v", slices.Sorted(maps.Keys(made)))
	}
	documented := make(map[string]bool)
	for _, m := range documentedMetric.FindAllStringSubmatch(readFile(t, "../../plugin/README.md"), -1) {
		documented[m[1]] = true
	}
	if got, want := slices.Sorted(maps.Keys(documented)), slices.Sorted(maps.Keys(made)); !slices.Equal(got, want) {
		t.Errorf("plugin/README.md documents\n%v\nthe plugin makes\n%v", got, want)
	}
	for _, file := range []string{"coredns-build/grafana-dashboard.json", "coredns-build/prometheus-alerts.yml", "docs/administration.md"} {
		for _, m := range usedMetric.FindAllStringSubmatch(readFile(t, "../../"+file), -1) {
			if !made[m[1]] && !made[seriesOf.ReplaceAllString(m[1], "")] {
				t.Errorf("%s: there is no metric %s%s", file, metricPrefix, m[1])
			}
		}
	}
}
