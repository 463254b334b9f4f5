package main

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	v1 "k8s.io/api/core/v1"

	"claimdir/provisioner/access"
	"claimdir/provisioner/cluster"
	"claimdir/provisioner/usage"
)

// measure adds the jobs that measure usage, if that is wanted, and for each share the metric of what its volumes
// request. tell publishes an event on a claim.
func (j *jobs) measure(p parts, tell func(claim *v1.PersistentVolumeClaim, kind, reason, text string)) {
	var measurers []*usage.Measurer
	for i, k := range p.keepers {
		j.metrics = append(j.metrics, requestedBytes(k, p.informers))
		if p.usageInterval == 0 {
			continue
		}
		m := usage.New(usage.Config{
			Keeper: k, Steps: p.steps, Objects: p.informers, Client: p.client, Tell: tell,
			Interval: p.usageInterval, Rate: p.usageRate, PerVolume: p.usageMetrics == metricsOfVolumes,
		})
		measurers = append(measurers, m)
		j.shares[i].used = m.Used
		j.run, j.metrics = append(j.run, m.Run), append(j.metrics, m.Collectors()...)
	}
	if len(measurers) > 0 {
		p.pool.OverSize = func(on *access.Keeper, namespace, class string) (claims []string, known bool) {
			for i, m := range measurers {
				over, read := m.OverSize(namespace, class)
				claims = append(claims, over...)
				known = known || read && p.keepers[i] == on // a share that does not answer holds up no other
			}
			slices.Sort(claims)
			return claims, known
		}
	}
}

// requestedBytes is the metric of what the volumes on a share request together.
func requestedBytes(k *access.Keeper, informers *cluster.Informers) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "claimdir_share_requested_bytes", Help: "Sizes of the PersistentVolumes on the share together.", ConstLabels: prometheus.Labels{"share": k.Name()},
	}, func() (sum float64) {
		informers.EachSize(k.Source().Server, k.Source().Path, func(_ string, bytes int64) { sum += float64(bytes) })
		return sum
	})
}
