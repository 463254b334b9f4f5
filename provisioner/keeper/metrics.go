package keeper

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// collector shows what the keepers know at the moment of the scrape; it asks no
// share.
type collector struct {
	keepers                            []*Keeper
	ready, trouble, stuck, size, spare *prometheus.Desc
}

// NewCollector returns the metrics of the shares.
func NewCollector(keepers ...*Keeper) prometheus.Collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("claimdir_share_"+name, help, append([]string{"share", "export"}, labels...), nil)
	}
	return &collector{
		keepers: keepers,
		ready:   desc("ready", "1 if the share can be worked on."),
		trouble: desc("trouble_seconds", "How long the share has not been ready, by reason; 0 if it is.", "reason"),
		stuck:   desc("stuck_operations", "Operations that were given up for want of an answer and still hang."),
		size:    desc("size_bytes", "Size of the share at the last look."),
		spare:   desc("free_bytes", "Free room on the share at the last look."),
	}
}

func (c *collector) Describe(descs chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{c.ready, c.trouble, c.stuck, c.size, c.spare} {
		descs <- desc
	}
}

func (c *collector) Collect(out chan<- prometheus.Metric) {
	for _, k := range c.keepers {
		export := k.Source().Server + ":" + k.Source().Path
		gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
			out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, append([]string{k.Name(), export}, labels...)...)
		}
		k.mu.Lock()
		trouble, room, stuck := k.trouble, k.room, k.stuck
		k.mu.Unlock()
		ready := 1.0
		if trouble != nil {
			ready = 0
		}
		gauge(c.ready, ready)
		for _, kind := range []Kind{Starting, WrongPlace, Failing, Stalled} {
			seconds := 0.0
			if trouble != nil && trouble.Kind == kind {
				seconds = time.Since(trouble.Since).Seconds()
			}
			gauge(c.trouble, seconds, string(kind))
		}
		gauge(c.stuck, float64(stuck))
		if room.Size > 0 {
			gauge(c.size, float64(room.Size))
			gauge(c.spare, float64(room.Free))
		}
	}
}
