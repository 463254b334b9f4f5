package control

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	library "sigs.k8s.io/sig-storage-lib-external-provisioner/v10/controller/metrics"
)

// metrics are the library's six vectors, named as it names them by default,
// and our own. The library's failure counters count also what is merely
// skipped; alert on ours.
type metrics struct {
	library    library.Metrics
	provisions *prometheus.CounterVec
	deletions  *prometheus.CounterVec
	failures   *prometheus.CounterVec
	leader     prometheus.Gauge
}

func newMetrics(registry prometheus.Registerer, g *gate) (*metrics, error) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "claimdir", Name: name, Help: help}, labels)
	}
	m := &metrics{
		library:    library.New("controller"),
		provisions: counter("provisions_total", "Volumes made, by class.", "class"),
		deletions:  counter("deletions_total", "Released volumes whose policy was carried out, by class.", "class"),
		failures:   counter("refusals_total", "Operations that were refused or failed, by operation, class and reason.", "operation", "class", "reason"),
		leader:     prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "claimdir", Name: "leader", Help: "1 in the replica that leads."}),
	}
	for _, collector := range []prometheus.Collector{
		m.library.PersistentVolumeClaimProvisionTotal,
		m.library.PersistentVolumeClaimProvisionFailedTotal,
		m.library.PersistentVolumeClaimProvisionDurationSeconds,
		m.library.PersistentVolumeDeleteTotal,
		m.library.PersistentVolumeDeleteFailedTotal,
		m.library.PersistentVolumeDeleteDurationSeconds,
		m.provisions, m.deletions, m.failures, m.leader, newOperations(g),
	} {
		if err := registry.Register(collector); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return m, nil
}

// operations shows what is under way at the moment of the scrape.
type operations struct {
	gate          *gate
	count, oldest *prometheus.Desc
}

func newOperations(g *gate) *operations {
	labels := []string{"operation"}
	return &operations{
		gate:   g,
		count:  prometheus.NewDesc("claimdir_operations_in_flight", "Operations under way; save: volumes whose PersistentVolume is not saved yet.", labels, nil),
		oldest: prometheus.NewDesc("claimdir_oldest_operation_age_seconds", "Age of the oldest operation under way; 0 if there is none.", labels, nil),
	}
}

func (o *operations) Describe(descs chan<- *prometheus.Desc) { descs <- o.count; descs <- o.oldest }

func (o *operations) Collect(out chan<- prometheus.Metric) {
	count, oldest := o.gate.ages()
	for _, kind := range []string{opProvision, opDelete, opSave} {
		age := 0.0
		if begun, ok := oldest[kind]; ok {
			age = time.Since(begun).Seconds()
		}
		out <- prometheus.MustNewConstMetric(o.count, prometheus.GaugeValue, float64(count[kind]), kind)
		out <- prometheus.MustNewConstMetric(o.oldest, prometheus.GaugeValue, age, kind)
	}
}
