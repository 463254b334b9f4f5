package usage

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"claimdir/provisioner/ledger"
)

// Collectors returns the metrics of the share's volumes.
func (m *Measurer) Collectors() []prometheus.Collector {
	return []prometheus.Collector{newCollector(m)}
}

// collector makes the metrics from what is known when they are asked for. Archives, retained directories and the
// trash are not in them: the command claimdir usage has these.
type collector struct {
	m                 *Measurer
	volume, namespace kinds
}

// kinds are the metrics that exist for volumes and for namespaces.
type kinds struct{ used, files, requested, at *prometheus.Desc }

func newCollector(m *Measurer) *collector {
	share := prometheus.Labels{"share": m.config.Keeper.Name()}
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("claimdir_"+name, help, labels, share)
	}
	return &collector{
		m: m,
		volume: kinds{
			desc("volume_used_bytes", "Bytes that the volume's directory held when it was last measured.", "namespace", "persistentvolumeclaim"),
			desc("volume_used_files", "Files that the volume's directory held when it was last measured; absent if the server enforces a size for it.", "namespace", "persistentvolumeclaim"),
			desc("volume_requested_bytes", "Size of the volume.", "namespace", "persistentvolumeclaim"),
			desc("volume_usage_timestamp_seconds", "When the volume was last measured.", "namespace", "persistentvolumeclaim"),
		},
		namespace: kinds{
			desc("namespace_used_bytes", "Bytes that the directories of the namespace's volumes held when they were last measured.", "namespace"),
			desc("namespace_used_files", "Files that the directories of the namespace's volumes held when they were last measured; absent if the server enforces a size for one.", "namespace"),
			desc("namespace_requested_bytes", "Sizes of the namespace's volumes together.", "namespace"),
			desc("namespace_usage_timestamp_seconds", "When that volume of the namespace was measured that was measured longest ago; 0 if one never was.", "namespace"),
		},
	}
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(to chan<- *prometheus.Desc) {
	for _, k := range []kinds{c.volume, c.namespace} {
		to <- k.used
		to <- k.files
		to <- k.requested
		to <- k.at
	}
}

// sums are the figures of one namespace, or of one claim: two volumes may have been made for claims of one name.
type sums struct {
	used, files, requested int64
	uncounted              int // volumes whose files nobody counts: see share.Usage.Limit
	oldest                 time.Time
}

// add adds the figures of a volume to those of a key.
func add[K comparable](all map[K]*sums, key K, f figures) {
	s := all[key]
	if s == nil {
		s = &sums{oldest: f.Began}
		all[key] = s
	}
	s.used += f.Bytes
	s.files += f.Files
	s.requested += f.requested
	if f.Limit > 0 {
		s.uncounted++
	}
	if f.Began.Before(s.oldest) {
		s.oldest = f.Began
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(to chan<- prometheus.Metric) {
	namespaces, claims := map[string]*sums{}, map[[2]string]*sums{}
	for _, f := range c.m.volumes() {
		add(namespaces, f.claim.Namespace, f)
		if c.m.config.PerVolume {
			add(claims, [2]string{f.claim.Namespace, f.claim.Name}, f)
		}
	}
	for name, of := range namespaces {
		c.namespace.send(to, of, name)
	}
	for name, of := range claims {
		c.volume.send(to, of, name[0], name[1])
	}
}

// send sends the four metrics. What was never measured has only its requested size, and the time 0.
func (k kinds) send(to chan<- prometheus.Metric, s *sums, labels ...string) {
	gauge := func(desc *prometheus.Desc, value float64) {
		to <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	gauge(k.requested, float64(s.requested))
	at := 0.
	if !s.oldest.IsZero() {
		at = float64(s.oldest.Unix())
	}
	gauge(k.at, at)
	gauge(k.used, float64(s.used))
	if s.uncounted == 0 {
		gauge(k.files, float64(s.files))
	}
}

// volumes returns what is known of the volumes that exist.
func (m *Measurer) volumes() (all []figures) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, f := range m.known {
		if f.state == ledger.Active {
			all = append(all, f)
		}
	}
	return all
}
