package access

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"claimdir/provisioner/share"
)

// metrics are the metrics of one share that probes set. The Keeper's state supplies all others at
// the time of the scrape. A scrape never calls the share.
type metrics struct {
	size, spare *prometheus.GaugeVec // empty until the first probe
}

func gauge(m share.Mount, name, help string) prometheus.GaugeOpts {
	export := m.Source.Server + ":" + m.Source.Path
	return prometheus.GaugeOpts{Name: "claimdir_share_" + name, Help: help, ConstLabels: prometheus.Labels{"share": m.Name, "export": export}}
}

func newMetrics(m share.Mount) metrics {
	return metrics{
		size:  prometheus.NewGaugeVec(gauge(m, "size_bytes", "Size of the share at the last probe."), nil),
		spare: prometheus.NewGaugeVec(gauge(m, "free_bytes", "Free space on the share at the last probe."), nil),
	}
}

// setRoom stores the result of a probe. The caller holds mu.
func (k *Keeper) setRoom(room share.Room) {
	k.room = room
	if room.Size > 0 {
		k.metrics.size.WithLabelValues().Set(float64(room.Size))
		k.metrics.spare.WithLabelValues().Set(float64(room.Free))
	}
}

// Collectors returns the metrics of this share.
func (k *Keeper) Collectors() []prometheus.Collector {
	all := []prometheus.Collector{
		k.metrics.size, k.metrics.spare,
		prometheus.NewGaugeFunc(gauge(k.config.Mount, "ready", "1 if the share can be worked on."), func() float64 {
			if k.Ready() != nil {
				return 0
			}
			return 1
		}),
		prometheus.NewGaugeFunc(gauge(k.config.Mount, "stuck_operations", "Operations that timed out and still hang."),
			func() float64 { return float64(k.Stuck()) }),
	}
	for _, kind := range []Kind{Starting, WrongPlace, Failing, Stalled} {
		opts := gauge(k.config.Mount, "trouble_seconds", "How long the share has not been ready, by reason; 0 if it is ready.")
		opts.ConstLabels["reason"] = string(kind)
		all = append(all, prometheus.NewGaugeFunc(opts, func() float64 { return k.inTrouble(kind).Seconds() }))
	}
	return all
}

// inTrouble returns how long the share has been in trouble of this kind, or 0.
func (k *Keeper) inTrouble(kind Kind) time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.trouble == nil || k.trouble.Kind != kind {
		return 0
	}
	return time.Since(k.trouble.Since)
}
