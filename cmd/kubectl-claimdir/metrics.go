package main

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/duration"
)

// said is what a pod says of itself.
type said struct {
	version string
	leads   bool
	shares  []*shareState
}

// shareState is a share as a pod sees it.
type shareState struct {
	Name    string  `json:"share,omitempty"`
	Export  string  `json:"export"` // SERVER:PATH
	Ready   bool    `json:"ready"`
	Trouble string  `json:"trouble,omitempty"` // why it is not ready
	For     float64 `json:"troubleSeconds,omitempty"`
	Free    *int64  `json:"freeBytes,omitempty"` // nil is not known
	Size    *int64  `json:"sizeBytes,omitempty"`
}

func (s *shareState) state() string {
	switch {
	case s.Ready:
		return "ready"
	case s.Trouble == "":
		return "not ready"
	}
	return fmt.Sprintf("%s for %s", s.Trouble, duration.HumanDuration(time.Duration(s.For*float64(time.Second))))
}

// amount returns a number of bytes for people, as claimdir usage does.
func amount(bytes *int64) string {
	if bytes == nil {
		return "-"
	}
	value, unit := float64(*bytes), ""
	for _, next := range []string{"Ki", "Mi", "Gi", "Ti", "Pi", "Ei"} {
		if value < 1024 {
			break
		}
		value, unit = value/1024, next
	}
	if unit == "" {
		return strconv.FormatInt(*bytes, 10)
	}
	return fmt.Sprintf("%.1f%s", value, unit)
}

// askTimeout is how long a pod has to answer.
const askTimeout = 10 * time.Second

// get reads a path of the pod's port for probes and metrics, through the API server. It returns the body also of an
// answer that is an error.
func (c *cluster) get(ctx context.Context, pod *corev1.Pod, path string) ([]byte, error) {
	port := int32(8080)
	for _, p := range container(pod).Ports {
		if p.Name == "http" {
			port = p.ContainerPort
		}
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return c.core.RESTClient().Get().Namespace(pod.Namespace).Resource("pods").Name(fmt.Sprintf("%s:%d", pod.Name, port)).
		SubResource("proxy").Suffix(path).DoRaw(ctx)
}

// metrics asks a pod.
func (c *cluster) metrics(ctx context.Context, pod *corev1.Pod) (said, error) {
	text, err := c.get(ctx, pod, "metrics")
	if err != nil {
		return said{}, fmt.Errorf("read its metrics: %w", err)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		return said{}, fmt.Errorf("read its metrics: %w", err)
	}
	return readMetrics(families), nil
}

func readMetrics(families map[string]*dto.MetricFamily) (s said) {
	each := func(name string, use func(m *dto.Metric, value float64)) {
		for _, m := range families[name].GetMetric() {
			use(m, m.GetGauge().GetValue())
		}
	}
	at := map[[2]string]*shareState{}
	of := func(m *dto.Metric) *shareState {
		key := [2]string{label(m, "share"), label(m, "export")}
		if at[key] == nil {
			at[key] = &shareState{Name: key[0], Export: key[1]}
			s.shares = append(s.shares, at[key])
		}
		return at[key]
	}
	each("claimdir_build_info", func(m *dto.Metric, _ float64) { s.version = label(m, "version") })
	each("claimdir_leader", func(_ *dto.Metric, value float64) { s.leads = value == 1 })
	each("claimdir_share_ready", func(m *dto.Metric, value float64) { of(m).Ready = value == 1 })
	each("claimdir_share_trouble_seconds", func(m *dto.Metric, value float64) {
		if value > 0 {
			of(m).Trouble, of(m).For = label(m, "reason"), value
		}
	})
	each("claimdir_share_free_bytes", func(m *dto.Metric, value float64) { of(m).Free = new(int64(value)) })
	each("claimdir_share_size_bytes", func(m *dto.Metric, value float64) { of(m).Size = new(int64(value)) })
	return s
}

func label(m *dto.Metric, name string) string {
	for _, l := range m.GetLabel() {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}

// troubles returns what a pod says of its shares that are not ready, a line for each.
func (c *cluster) troubles(ctx context.Context, pod *corev1.Pod) string {
	text, _ := c.get(ctx, pod, "sharez") // 503 if there are troubles: the text is what counts
	return string(bytes.TrimSpace(text))
}
