package sweep

import (
	"github.com/prometheus/client_golang/prometheus"

	"claimdir/provisioner/doctor"
)

// metrics are those of what was left behind on one share.
type metrics struct {
	orphans *prometheus.GaugeVec
	removed prometheus.Counter
	ended   prometheus.Gauge
}

// newMetrics makes them with every kind at 0.
func newMetrics(shareName string) *metrics {
	gauge := func(name, help string) prometheus.GaugeOpts {
		return prometheus.GaugeOpts{Name: "claimdir_orphans" + name, Help: help, ConstLabels: prometheus.Labels{"share": shareName}}
	}
	m := &metrics{
		orphans: prometheus.NewGaugeVec(gauge("",
			"Records and directories on the share that nothing accounts for, at the last look; claimdir doctor names them."), []string{"kind"}),
		removed: prometheus.NewCounter(prometheus.CounterOpts(gauge("_removed_total",
			"Records of volumes that were gone, and were removed with their empty directory, or gave an archive back."))),
		ended: prometheus.NewGauge(gauge("_last_look_timestamp_seconds",
			"When the last look at the whole share ended; 0 if none did since this replica leads.")),
	}
	m.show(nil)
	return m
}

// show exchanges what was left behind.
func (m *metrics) show(findings []doctor.Finding) {
	count := map[string]int{}
	for _, f := range findings {
		count[f.Kind]++
	}
	for _, kind := range []string{doctor.KindRecord, doctor.KindDirectory} {
		m.orphans.WithLabelValues(kind).Set(float64(count[kind]))
	}
}

// Collectors returns the metrics of what was left behind on this share.
func (s *Sweeper) Collectors() []prometheus.Collector {
	return []prometheus.Collector{s.metrics.orphans, s.metrics.removed, s.metrics.ended}
}
