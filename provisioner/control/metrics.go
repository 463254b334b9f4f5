package control

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	library "sigs.k8s.io/sig-storage-lib-external-provisioner/v10/controller/metrics"
)

// metrics are the library's six vectors, under their default names, and our own. Alert on ours: the
// library's failure counters also count skipped objects.
type metrics struct {
	library    library.Metrics
	provisions *prometheus.CounterVec
	deletions  *prometheus.CounterVec
	failures   *prometheus.CounterVec
	durations  *prometheus.HistogramVec
	leader     prometheus.Gauge
}

func newMetrics(registry prometheus.Registerer, g *gate, waiting func(operation string) int) (*metrics, error) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "claimdir", Name: name, Help: help}, labels)
	}
	m := &metrics{
		library:    library.New("controller"),
		provisions: counter("provisions_total", "Volumes made, by class.", "class"),
		deletions:  counter("deletions_total", "Released volumes whose policy was carried out, by class.", "class"),
		failures:   counter("refusals_total", "Operations that were refused or failed, by operation, class and reason.", "operation", "class", "reason"),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "claimdir", Name: "operation_duration_seconds",
			Help:    "How long operations took that succeeded, each without its earlier attempts; save: until the API server had the PersistentVolume.",
			Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600},
		}, []string{"operation"}),
		leader: prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "claimdir", Name: "leader", Help: "1 in the replica that leads."}),
	}
	collectors := []prometheus.Collector{
		m.library.PersistentVolumeClaimProvisionTotal,
		m.library.PersistentVolumeClaimProvisionFailedTotal,
		m.library.PersistentVolumeClaimProvisionDurationSeconds,
		m.library.PersistentVolumeDeleteTotal,
		m.library.PersistentVolumeDeleteFailedTotal,
		m.library.PersistentVolumeDeleteDurationSeconds,
		m.provisions, m.deletions, m.failures, m.durations, m.leader,
	}
	for _, kind := range []string{opProvision, opDelete, opSave} {
		m.durations.WithLabelValues(kind)
	}
	for _, kind := range []string{opProvision, opDelete} {
		collectors = append(collectors, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: "claimdir", Name: "operations_waiting", Help: "Claims and released volumes that wait until others of their share are done; namespaces take turns.",
			ConstLabels: prometheus.Labels{"operation": kind},
		}, func() float64 { return float64(waiting(kind)) }))
	}
	for _, collector := range append(collectors, operationGauges(g)...) {
		if err := registry.Register(collector); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return m, nil
}

// took counts an operation that succeeded, and how long it took since it began.
func (m *metrics) took(operation string, began time.Time) {
	m.durations.WithLabelValues(operation).Observe(time.Since(began).Seconds())
}

// refusedNow shows what is refused at the time of the scrape. A replica that does not lead shows nothing.
type refusedNow struct {
	desc  *prometheus.Desc
	leads func() error
	of    []*refusals
}

func newRefusedNow(leads func() error, of ...*refusals) refusedNow {
	return refusedNow{prometheus.NewDesc("claimdir_refused", "Claims and released volumes that are refused now, by operation, class and reason; a series whose refusals are all over is absent.",
		[]string{"operation", "class", "reason"}, nil), leads, of}
}

// Describe implements prometheus.Collector.
func (n refusedNow) Describe(to chan<- *prometheus.Desc) { to <- n.desc }

// Collect implements prometheus.Collector.
func (n refusedNow) Collect(to chan<- prometheus.Metric) {
	if n.leads() != nil {
		return
	}
	counts := map[refusedFor]int{}
	for _, r := range n.of {
		r.count(counts)
	}
	for why, count := range counts {
		to <- prometheus.MustNewConstMetric(n.desc, prometheus.GaugeValue, float64(count), why.operation, why.class, why.reason)
	}
}

// operationGauges show the running operations at the time of the scrape.
func operationGauges(g *gate) (all []prometheus.Collector) {
	for _, kind := range []string{opProvision, opDelete, opSave} {
		gauge := func(name, help string, value func(count int, oldest time.Time) float64) prometheus.Collector {
			return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
				Namespace: "claimdir", Name: name, Help: help, ConstLabels: prometheus.Labels{"operation": kind},
			}, func() float64 {
				count, oldest := g.ages()
				return value(count[kind], oldest[kind])
			})
		}
		all = append(all,
			gauge("operations_in_flight", "Operations under way; save: volumes whose PersistentVolume is not saved yet.",
				func(count int, _ time.Time) float64 { return float64(count) }),
			gauge("oldest_operation_age_seconds", "Age of the oldest operation under way; 0 if there is none.",
				func(count int, oldest time.Time) float64 {
					if count == 0 {
						return 0
					}
					return time.Since(oldest).Seconds()
				}))
	}
	return all
}
