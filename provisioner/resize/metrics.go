package resize

import "github.com/prometheus/client_golang/prometheus"

type metrics struct{ expansions *prometheus.CounterVec }

func newMetrics() metrics {
	return metrics{prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "claimdir_expansions_total", Help: "Volumes that were expanded.",
	}, []string{"class"})}
}

func (m metrics) collectors() []prometheus.Collector { return []prometheus.Collector{m.expansions} }
