package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"

	"claimdir/hack/procstat"
	"claimdir/hack/testbed"
)

// memoryLimit is GOMEMLIMIT as claimdir sets it from the 256 MiB of manifests/base/deployment.yaml:
// nine tenths. Here is no container, so the environment says it.
const memoryLimit = (256 << 20) / 10 * 9

func (w *world) start(ctx context.Context, share string) (*testbed.Process, error) {
	env := []string{fmt.Sprintf("GOMEMLIMIT=%d", memoryLimit), "ADDITIONAL_PROVISIONER_NAMES=" + peerName}
	p, err := w.bed.Claimdir(testbed.Config{Share: share, Provisioner: provisioner, Env: env})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	if err := p.WaitReady(ctx); err != nil {
		p.Kill()
		return nil, err
	}
	return p, nil
}

// bind makes a claim and returns how long it takes until it is Bound.
func (w *world) bind(ctx context.Context, claim *v1.PersistentVolumeClaim) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	claims := w.bed.Admin.CoreV1().PersistentVolumeClaims(claim.Namespace)
	watching, err := claims.Watch(ctx, metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector(metav1.ObjectNameField, claim.Name).String()})
	if err != nil {
		return 0, err
	}
	defer watching.Stop()
	began := time.Now()
	if _, err := claims.Create(ctx, claim, metav1.CreateOptions{}); err != nil {
		return 0, err
	}
	for event := range watching.ResultChan() {
		if now, ok := event.Object.(*v1.PersistentVolumeClaim); ok && event.Type != watch.Deleted && now.Status.Phase == v1.ClaimBound {
			return time.Since(began), nil
		}
	}
	return 0, errors.Join(fmt.Errorf("claim %s was not bound", claim.Name), ctx.Err())
}

// bindSome returns the median time to bind one claim, of n, one after the other.
func (w *world) bindSome(ctx context.Context, name string, n int) (time.Duration, error) {
	return w.medianBind(ctx, n, func(i int) *v1.PersistentVolumeClaim { return newClaim(i, fmt.Sprintf("%s-%d", name, i)) })
}

func (w *world) medianBind(ctx context.Context, n int, claim func(i int) *v1.PersistentVolumeClaim) (time.Duration, error) {
	var took []time.Duration
	for i := range n {
		one, err := w.bind(ctx, claim(i))
		if err != nil {
			return 0, err
		}
		took = append(took, one)
	}
	slices.Sort(took)
	return took[n/2], nil
}

// status returns a field of /proc/PID/status in MB.
func status(p *testbed.Process, field string) (float64, error) {
	bytes, err := procstat.Memory(p.PID(), field)
	return float64(bytes) / 1e6, err
}

// cpu returns the CPU time that the process has used.
func cpu(p *testbed.Process) (time.Duration, error) {
	now, err := procstat.Of(p.PID())
	return now.Used, err
}

// cpuOfChildren returns the CPU time that the processes have used that this one has started.
func cpuOfChildren() (all time.Duration, err error) {
	children, err := procstat.OfChildren()
	for _, p := range children {
		all += p.Used
	}
	return all, err
}

// swept waits until the first sweep has ended.
func swept(ctx context.Context, p *testbed.Process) error {
	for {
		metrics, err := p.Get(ctx, "/metrics")
		if err != nil {
			return err
		}
		for line := range strings.Lines(metrics) {
			if value, found := strings.CutPrefix(line, `claimdir_orphans_last_look_timestamp_seconds{share=""} `); found && strings.TrimSpace(value) != "0" {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-p.Ended():
			return fmt.Errorf("claimdir ended:\n%s", tail(p.Log()))
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func tail(log string) string {
	lines := strings.Split(log, "\n")
	return strings.Join(lines[max(0, len(lines)-20):], "\n")
}
