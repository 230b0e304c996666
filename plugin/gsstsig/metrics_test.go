package gsstsig

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// metric returns the value of a series, with all its labels as names and values. A series that does not exist is 0.
func metric(t testing.TB, name string, labels ...string) float64 {
	t.Helper()
	families, err := prometheus.DefaultGatherer.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
	series:
		for _, m := range family.GetMetric() {
			for _, label := range m.GetLabel() {
				matches := false
				for i := 0; i < len(labels); i += 2 {
					matches = matches || labels[i] == label.GetName() && labels[i+1] == label.GetValue()
				}
				if !matches {
					continue series
				}
			}
			return m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return 0
}
