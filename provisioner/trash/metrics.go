package trash

import (
	"github.com/prometheus/client_golang/prometheus"

	"claimdir/provisioner/share"
)

// metrics are the metrics of one share's trash.
type metrics struct {
	waiting            prometheus.Gauge
	failing            *prometheus.GaugeVec
	failures           *prometheus.CounterVec
	files, directories prometheus.Counter
}

// newMetrics makes the metrics, with every reason at 0.
func newMetrics(shareName string) *metrics {
	labels, byReason := prometheus.Labels{"share": shareName}, []string{"reason"}
	gauge := func(name, help string) prometheus.GaugeOpts {
		return prometheus.GaugeOpts{Name: "claimdir_trash_" + name, Help: help, ConstLabels: labels}
	}
	counter := func(name, help string) prometheus.CounterOpts { return prometheus.CounterOpts(gauge(name, help)) }
	m := &metrics{
		waiting:     prometheus.NewGauge(gauge("volumes", "Directories of released volumes in the trash.")),
		failing:     prometheus.NewGaugeVec(gauge("failing_volumes", "Released directories whose removal has failed so far, by reason."), byReason),
		failures:    prometheus.NewCounterVec(counter("failures_total", "Failed attempts to remove a released directory, by reason."), byReason),
		files:       prometheus.NewCounter(counter("removed_files_total", "Files removed from the trash.")),
		directories: prometheus.NewCounter(counter("removed_directories_total", "Directories removed from the trash.")),
	}
	for _, reason := range share.RemovalReasons() {
		m.failing.WithLabelValues(reason)
		m.failures.WithLabelValues(reason)
	}
	return m
}

// Collectors returns the metrics of this share's trash.
func (e *Emptier) Collectors() []prometheus.Collector {
	m := e.metrics
	oldest := prometheus.NewDesc("claimdir_trash_oldest_timestamp_seconds",
		"When that directory came into the trash, or its removal began, that has been there longest, by the clock of the file server; absent if the trash is empty.",
		nil, prometheus.Labels{"share": e.config.Keeper.Name()})
	return []prometheus.Collector{m.waiting, m.failing, m.failures, m.files, m.directories, oldestOf{oldest, e}}
}

// oldestOf is the metric of the oldest directory in the trash. It is found when it is asked for.
type oldestOf struct {
	desc *prometheus.Desc
	*Emptier
}

// Describe implements prometheus.Collector.
func (o oldestOf) Describe(to chan<- *prometheus.Desc) { to <- o.desc }

// Collect implements prometheus.Collector.
func (o oldestOf) Collect(to chan<- prometheus.Metric) {
	if q := o.queue.Load(); q != nil {
		if since, found := q.oldest(); found {
			to <- prometheus.MustNewConstMetric(o.desc, prometheus.GaugeValue, float64(since.UnixMilli())/1000)
		}
	}
}
