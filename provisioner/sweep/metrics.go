package sweep

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"claimdir/provisioner/class"
	"claimdir/provisioner/doctor"
	"claimdir/provisioner/ledger"
)

// metrics are the metrics of the orphans on one share.
type metrics struct {
	orphans *prometheus.GaugeVec
	removed prometheus.Counter
	ended   prometheus.Gauge
}

// newMetrics makes the metrics, with every kind at 0.
func newMetrics(shareName string) *metrics {
	gauge := func(name, help string) prometheus.GaugeOpts {
		return prometheus.GaugeOpts{Name: "claimdir_orphans" + name, Help: help, ConstLabels: prometheus.Labels{"share": shareName}}
	}
	m := &metrics{
		orphans: prometheus.NewGaugeVec(gauge("",
			"Orphaned records, directories and snapshots on the share at the last sweep; claimdir doctor lists them."), []string{"kind"}),
		removed: prometheus.NewCounter(prometheus.CounterOpts(gauge("_removed_total",
			"Orphaned records that the sweep has removed, with their empty directory or by undoing a restore."))),
		ended: prometheus.NewGauge(gauge("_last_look_timestamp_seconds",
			"When the last sweep of the share ended; 0 if none has ended since this replica became the leader.")),
	}
	m.show(nil)
	return m
}

// show sets the number of orphans.
func (m *metrics) show(findings []doctor.Finding) {
	count := map[string]int{}
	for _, f := range findings {
		count[f.Kind]++
	}
	for _, kind := range []string{doctor.KindRecord, doctor.KindDirectory, doctor.KindSnapshot} {
		m.orphans.WithLabelValues(kind).Set(float64(count[kind]))
	}
}

// Collectors returns the metrics of the records and the orphans on this share.
func (s *Sweeper) Collectors() []prometheus.Collector {
	share := prometheus.Labels{"share": s.config.Keeper.Name()}
	counted := countedRecords{
		of: s,
		records: prometheus.NewDesc("claimdir_records", "Records of this cluster on the share at the last sweep, by state and policy; policy class: the class decides on release.",
			[]string{"state", "policy"}, share),
		oldest: prometheus.NewDesc("claimdir_archives_oldest_timestamp_seconds",
			"When the oldest archive of this cluster on the share was released, as of the last sweep; absent if there is none.", nil, share),
	}
	return []prometheus.Collector{s.metrics.orphans, s.metrics.removed, s.metrics.ended, counted}
}

// stateAndPolicy are what records are counted by.
type stateAndPolicy struct {
	state  ledger.State
	policy class.Policy
}

// counts is how many records of this cluster a pass has read.
type counts struct {
	records map[stateAndPolicy]int
	oldest  time.Time // when the oldest archive was released; zero if there is none
}

// newCounts counts 0 of each.
func newCounts() counts {
	c := counts{records: map[stateAndPolicy]int{}}
	for _, state := range []ledger.State{ledger.Creating, ledger.Active, ledger.Retained, ledger.Archived} {
		for _, policy := range []class.Policy{class.Delete, class.Archive, class.Retain, policyOfClass} {
			c.records[stateAndPolicy{state, policy}] = 0
		}
	}
	return c
}

// policyOfClass is the policy of a record that has none.
const policyOfClass = "class"

// add counts a record. A policy that there is not, as somebody may write it on the share, is not counted by its name.
func (c *counts) add(r ledger.Record) {
	of := stateAndPolicy{r.State, class.Policy(r.Policy)}
	if _, known := c.records[of]; !known {
		of.policy = policyOfClass
	}
	c.records[of]++
	if r.State == ledger.Archived && r.Released != nil && (c.oldest.IsZero() || r.Released.Before(c.oldest)) {
		c.oldest = *r.Released
	}
}

// countedRecords are the metrics of what the last pass has counted. Before the first there are none.
type countedRecords struct {
	records, oldest *prometheus.Desc
	of              *Sweeper
}

// Describe implements prometheus.Collector.
func (c countedRecords) Describe(to chan<- *prometheus.Desc) {
	to <- c.records
	to <- c.oldest
}

// Collect implements prometheus.Collector.
func (c countedRecords) Collect(to chan<- prometheus.Metric) {
	c.of.mu.Lock()
	counted := c.of.counted // a pass replaces it, and changes nothing in it
	c.of.mu.Unlock()
	for of, n := range counted.records {
		to <- prometheus.MustNewConstMetric(c.records, prometheus.GaugeValue, float64(n), string(of.state), string(of.policy))
	}
	if !counted.oldest.IsZero() {
		to <- prometheus.MustNewConstMetric(c.oldest, prometheus.GaugeValue, float64(counted.oldest.Unix()))
	}
}
