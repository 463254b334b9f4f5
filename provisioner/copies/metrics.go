package copies

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	running               *prometheus.GaugeVec
	bytes, files, changed *prometheus.CounterVec
}

func newMetrics() metrics {
	byShare := []string{"share"}
	return metrics{
		running: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "claimdir_copies_in_progress", Help: "Copies that run now."}, byShare),
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "claimdir_copy_bytes_total", Help: "Bytes of content in complete copies, by how they were copied: the server shares the blocks (clone), copies them (server), or claimdir reads and writes them (read).",
		}, []string{"share", "method"}),
		files:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: "claimdir_copy_files_total", Help: "Files in complete copies."}, byShare),
		changed: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "claimdir_copy_changed_files_total", Help: "Files that were being changed each time they were copied."}, byShare),
	}
}

func (m metrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.running, m.bytes, m.files, m.changed}
}
