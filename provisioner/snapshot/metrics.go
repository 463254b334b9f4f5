package snapshot

import "github.com/prometheus/client_golang/prometheus"

type metrics struct{ count, bytes *prometheus.GaugeVec }

func newMetrics() metrics {
	byShare := []string{"share"}
	return metrics{
		count: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "claimdir_snapshots", Help: "Snapshots of this cluster on the share."}, byShare),
		bytes: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "claimdir_snapshot_bytes", Help: "Bytes of content that the copies of these snapshots took, of which a server may share blocks with the volumes.",
		}, byShare),
	}
}

func (m metrics) collectors() []prometheus.Collector { return []prometheus.Collector{m.count, m.bytes} }
