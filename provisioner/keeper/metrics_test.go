package keeper

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// metric returns the value of the series that has the reason, or of the only one
// without.
func metric(t *testing.T, registry *prometheus.Registry, name, reason string) float64 {
	t.Helper()
	families, err := registry.Gather()
	must(t, err)
	for _, family := range families {
		for _, m := range family.GetMetric() {
			labels := map[string]string{}
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			if family.GetName() == "claimdir_share_"+name && labels["reason"] == reason && labels["share"] == "fast" && labels["export"] == "nas:/export" {
				return m.GetGauge().GetValue()
			}
		}
	}
	t.Fatalf("there is no metric %s, reason %q", name, reason)
	return 0
}

func TestMetricsTellOfTrouble(t *testing.T) {
	w := newWorld(t).ready()
	registry := prometheus.NewRegistry()
	must(t, registry.Register(NewCollector(w.Keeper)))
	if metric(t, registry, "ready", "") != 1 || metric(t, registry, "trouble_seconds", "stalled") != 0 || metric(t, registry, "size_bytes", "") == 0 {
		t.Error("a share that is in order")
	}
	if free, size := metric(t, registry, "free_bytes", ""), metric(t, registry, "size_bytes", ""); free > size {
		t.Errorf("%v free of %v", free, size)
	}
	release := w.hang()
	defer release()
	w.trouble(Stalled)
	if metric(t, registry, "ready", "") != 0 || metric(t, registry, "trouble_seconds", "stalled") <= 0 || metric(t, registry, "trouble_seconds", "failing") != 0 {
		t.Error("a share that hangs")
	}
}
