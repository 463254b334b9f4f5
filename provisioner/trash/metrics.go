package trash

import (
	"github.com/prometheus/client_golang/prometheus"

	"claimdir/provisioner/share"
)

// collector shows what the emptiers know at the moment of the scrape; it asks no
// share.
type collector struct {
	emptiers                                       []*Emptier
	waiting, failing, failures, files, directories *prometheus.Desc
}

// NewCollector returns the metrics of the trash of all shares.
func NewCollector(emptiers ...*Emptier) prometheus.Collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("claimdir_trash_"+name, help, append([]string{"share"}, labels...), nil)
	}
	return &collector{
		emptiers:    emptiers,
		waiting:     desc("volumes", "Released volumes' directories that wait in the trash."),
		failing:     desc("failing_volumes", "Released directories whose removal has failed so far, by reason.", "reason"),
		failures:    desc("failures_total", "Tries to remove such a directory that failed, by reason.", "reason"),
		files:       desc("removed_files_total", "Files removed from the trash."),
		directories: desc("removed_directories_total", "Directories removed from the trash."),
	}
}

func (c *collector) Describe(descs chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{c.waiting, c.failing, c.failures, c.files, c.directories} {
		descs <- desc
	}
}

func (c *collector) Collect(out chan<- prometheus.Metric) {
	for _, e := range c.emptiers {
		e.collect(c, out)
	}
}

func (e *Emptier) collect(c *collector, out chan<- prometheus.Metric) {
	name := e.config.Keeper.Name()
	e.mu.Lock()
	defer e.mu.Unlock()
	now := map[string]int{}
	for _, f := range e.failing {
		now[f.reason]++
	}
	send := func(desc *prometheus.Desc, kind prometheus.ValueType, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(desc, kind, value, append([]string{name}, labels...)...)
	}
	send(c.waiting, prometheus.GaugeValue, float64(e.waiting))
	for _, reason := range share.RemovalReasons() {
		send(c.failing, prometheus.GaugeValue, float64(now[reason]), reason)
		send(c.failures, prometheus.CounterValue, float64(e.failures[reason]), reason)
	}
	send(c.files, prometheus.CounterValue, float64(e.removed.Files))
	send(c.directories, prometheus.CounterValue, float64(e.removed.Directories))
}
