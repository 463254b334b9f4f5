package sweep

import (
	"github.com/prometheus/client_golang/prometheus"

	"claimdir/provisioner/doctor"
)

// collector shows what the sweepers know at the moment of the scrape; it asks no
// share.
type collector struct {
	sweepers                []*Sweeper
	orphans, removed, ended *prometheus.Desc
}

// NewCollector returns the metrics of what was left behind on all shares.
func NewCollector(sweepers ...*Sweeper) prometheus.Collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("claimdir_orphans"+name, help, append([]string{"share"}, labels...), nil)
	}
	return &collector{
		sweepers: sweepers,
		orphans:  desc("", "Records and directories on the share that nothing accounts for, at the last look; claimdir doctor names them.", "kind"),
		removed:  desc("_removed_total", "Records of volumes that were gone, and were removed with their empty directory, or gave an archive back."),
		ended:    desc("_last_look_timestamp_seconds", "When the last look at the whole share ended; 0 if none did since this replica leads."),
	}
}

func (c *collector) Describe(descs chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{c.orphans, c.removed, c.ended} {
		descs <- desc
	}
}

func (c *collector) Collect(out chan<- prometheus.Metric) {
	for _, s := range c.sweepers {
		s.collect(c, out)
	}
}

func (s *Sweeper) collect(c *collector, out chan<- prometheus.Metric) {
	s.mu.Lock()
	defer s.mu.Unlock()
	send := func(desc *prometheus.Desc, kind prometheus.ValueType, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(desc, kind, value, append([]string{s.config.Keeper.Name()}, labels...)...)
	}
	count := map[string]int{}
	for _, f := range s.findings {
		count[f.Kind]++
	}
	for _, kind := range []string{doctor.KindRecord, doctor.KindDirectory} {
		send(c.orphans, prometheus.GaugeValue, float64(count[kind]), kind)
	}
	ended := 0.0
	if !s.last.IsZero() {
		ended = float64(s.last.UnixMilli()) / 1000
	}
	send(c.removed, prometheus.CounterValue, float64(s.removed))
	send(c.ended, prometheus.GaugeValue, ended)
}
