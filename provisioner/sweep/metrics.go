package sweep

import (
	"github.com/prometheus/client_golang/prometheus"

	"claimdir/provisioner/doctor"
)

// metrics are the metrics of the orphans on one share.
type metrics struct {
	orphans *prometheus.GaugeVec
	removed prometheus.Counter
	ended   prometheus.Gauge
}

// newMetrics makes the metrics, with every kind at 0.
func newMetrics(shareName string) *metrics {
	gauge := func(name, help string) prometheus.GaugeOpts {
		return prometheus.GaugeOpts{Name: "claimdir_orphans" + name, Help: help, ConstLabels: prometheus.Labels{"share": shareName}}
	}
	m := &metrics{
		orphans: prometheus.NewGaugeVec(gauge("",
			"Orphaned records, directories and snapshots on the share at the last sweep; claimdir doctor lists them."), []string{"kind"}),
		removed: prometheus.NewCounter(prometheus.CounterOpts(gauge("_removed_total",
			"Orphaned records that the sweep has removed, with their empty directory or by undoing a restore."))),
		ended: prometheus.NewGauge(gauge("_last_look_timestamp_seconds",
			"When the last sweep of the share ended; 0 if none has ended since this replica became the leader.")),
	}
	m.show(nil)
	return m
}

// show sets the number of orphans.
func (m *metrics) show(findings []doctor.Finding) {
	count := map[string]int{}
	for _, f := range findings {
		count[f.Kind]++
	}
	for _, kind := range []string{doctor.KindRecord, doctor.KindDirectory, doctor.KindSnapshot} {
		m.orphans.WithLabelValues(kind).Set(float64(count[kind]))
	}
}

// Collectors returns the metrics of the orphans on this share.
func (s *Sweeper) Collectors() []prometheus.Collector {
	return []prometheus.Collector{s.metrics.orphans, s.metrics.removed, s.metrics.ended}
}
