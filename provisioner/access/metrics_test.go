package access

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"claimdir/provisioner/share"
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

func register(t *testing.T, keepers ...*Keeper) *prometheus.Registry {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	for _, k := range keepers {
		for _, c := range k.Collectors() {
			must(t, registry.Register(c))
		}
	}
	return registry
}

// Every series is there before the first probe, for each share, but for the sizes: those
// nobody knows yet.
func TestMetricsOfSharesThatStart(t *testing.T) {
	keeperOf := func(name string) *Keeper {
		return New(Config{Mount: share.Mount{Name: name, Source: share.Source{Server: "nas", Path: "/" + name}}})
	}
	const want = `# HELP claimdir_share_ready 1 if the share can be worked on.
# TYPE claimdir_share_ready gauge
claimdir_share_ready{export="nas:/fast",share="fast"} 0
claimdir_share_ready{export="nas:/slow",share="slow"} 0
# HELP claimdir_share_stuck_operations Operations that timed out and still hang.
# TYPE claimdir_share_stuck_operations gauge
claimdir_share_stuck_operations{export="nas:/fast",share="fast"} 0
claimdir_share_stuck_operations{export="nas:/slow",share="slow"} 0
# HELP claimdir_share_trouble_seconds How long the share has not been ready, by reason; 0 if it is ready.
# TYPE claimdir_share_trouble_seconds gauge
claimdir_share_trouble_seconds{export="nas:/fast",reason="failing",share="fast"} 0
claimdir_share_trouble_seconds{export="nas:/fast",reason="stalled",share="fast"} 0
claimdir_share_trouble_seconds{export="nas:/fast",reason="starting",share="fast"} 60
claimdir_share_trouble_seconds{export="nas:/fast",reason="wrong-place",share="fast"} 0
claimdir_share_trouble_seconds{export="nas:/slow",reason="failing",share="slow"} 0
claimdir_share_trouble_seconds{export="nas:/slow",reason="stalled",share="slow"} 0
claimdir_share_trouble_seconds{export="nas:/slow",reason="starting",share="slow"} 60
claimdir_share_trouble_seconds{export="nas:/slow",reason="wrong-place",share="slow"} 0
`
	synctest.Test(t, func(t *testing.T) {
		registry := register(t, keeperOf("fast"), keeperOf("slow"))
		time.Sleep(time.Minute)
		must(t, testutil.GatherAndCompare(registry, strings.NewReader(want)))
		if problems, err := testutil.GatherAndLint(registry); err != nil || len(problems) > 0 {
			t.Error(problems, err)
		}
	})
}

func TestMetricsTellOfTrouble(t *testing.T) {
	w := newWorld(t).ready()
	registry := register(t, w.Keeper)
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
