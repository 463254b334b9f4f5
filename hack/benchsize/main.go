// Command benchsize measures what a claimdir costs that serves many volumes in a cluster of many, beside
// an empty cluster: its memory at its peak and later, the time until it is ready, the time to bind one
// more claim, its calls to the share at start, its CPU time at rest, and the time to take over volumes of
// nfs-subdir-external-provisioner, beside writing as many files. It fills a control plane of its own and a
// local directory as the share.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"

	"claimdir/hack/controlplane"
	"claimdir/hack/testbed"
)

// options say how much is measured.
type options struct {
	volumes, others, peers int
	claims                 int
	rest                   time.Duration
	json                   string
}

func main() {
	var o options
	flag.IntVar(&o.volumes, "n", 50_000, "claims and volumes of claimdir")
	flag.IntVar(&o.others, "others", -1, "claims and volumes of others; -1 means as many as -n")
	flag.IntVar(&o.peers, "peers", 20_000, "volumes of nfs-subdir-external-provisioner that are taken over")
	flag.IntVar(&o.claims, "claims", 21, "claims that are bound one after the other; the median counts")
	flag.DurationVar(&o.rest, "rest", time.Minute, "how long the CPU time at rest is measured")
	flag.StringVar(&o.json, "json", "", "write the figures to this `file` too")
	flag.Parse()
	if o.others < 0 {
		o.others = o.volumes
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "benchsize:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) (err error) {
	bed, err := testbed.Start(ctx, testbed.Options{
		Progress: os.Stderr,
		// kube-controller-manager runs on this machine, and not on another one: it does nothing but what a claim
		// needs, and does not look at every claim and volume each 15 seconds.
		ControlPlane: controlplane.Options{ControllerManagerArgs: []string{
			"--pvclaimbinder-sync-period=1h",
			"--controllers=serviceaccount-controller,namespace-controller,persistentvolume-binder-controller",
		}},
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bed.Close()) }()
	share, err := bed.NewShare()
	if err != nil {
		return err
	}
	w := &world{bed: bed, share: share, store: newEtcd(bed.Dir()), progress: func(format string, args ...any) {
		fmt.Fprintf(os.Stderr, format+"\n", args...)
	}}
	r := &report{Volumes: o.volumes, Others: o.others, Peers: o.peers}
	if err := w.measure(ctx, o, r); err != nil {
		return err
	}
	r.print(os.Stdout)
	if o.json == "" {
		return nil
	}
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(o.json, append(data, '\n'), 0o600)
}

// measure fills the cluster step by step and measures at each.
func (w *world) measure(ctx context.Context, o options, r *report) (err error) {
	if err := w.prepare(ctx); err != nil {
		return err
	}
	if err := w.template(ctx); err != nil {
		return err
	}
	w.progress("Measuring the empty cluster")
	if r.Empty, err = w.look(ctx, o, "empty"); err != nil {
		return fmt.Errorf("empty cluster: %w", err)
	}
	if err := w.fill(ctx, func() error {
		return errors.Join(w.ours(ctx, o.volumes), w.others(ctx, o.others))
	}); err != nil {
		return fmt.Errorf("fill the cluster: %w", err)
	}
	w.progress("Measuring the full cluster")
	if r.Full, err = w.look(ctx, o, "full"); err != nil {
		return fmt.Errorf("full cluster: %w", err)
	}
	if r.Calls, err = w.countCalls(ctx); err != nil {
		return fmt.Errorf("count the calls to the share: %w", err)
	}
	if o.peers == 0 {
		return nil
	}
	if err := w.fill(ctx, func() error { return w.peers(ctx, o.peers) }); err != nil {
		return fmt.Errorf("make the peer's volumes: %w", err)
	}
	w.progress("Measuring the takeover")
	if r.Takeover, err = w.takeOver(ctx, o); err != nil {
		return fmt.Errorf("takeover: %w", err)
	}
	return nil
}

// fill makes objects while kube-controller-manager is stopped, so that it works on none of them before
// all are complete.
func (w *world) fill(ctx context.Context, objects func() error) error {
	w.bed.StopControllerManager()
	if err := objects(); err != nil {
		return err
	}
	if err := w.bed.StartControllerManager(ctx); err != nil {
		return err
	}
	return w.settle(ctx)
}

// settle waits until the control plane has worked off what it does to each object: until its processes
// together need less than a tenth of a processor for five seconds.
func (w *world) settle(ctx context.Context) error {
	const look = 5 * time.Second
	began := time.Now()
	before, err := cpuOfChildren()
	for err == nil {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(look):
		}
		var now time.Duration
		if now, err = cpuOfChildren(); err == nil && now-before < look/10 {
			w.progress("The control plane is at rest after %v", time.Since(began).Round(time.Second))
			return nil
		}
		before = now
	}
	return err
}

// look starts claimdir and measures it.
func (w *world) look(ctx context.Context, o options, name string) (f figures, err error) {
	began := time.Now()
	p, err := w.start(ctx, w.share)
	if err != nil {
		return f, err
	}
	defer p.Stop()
	f.Ready = time.Since(began).Seconds()
	used, err := cpu(p)
	if err != nil {
		return f, err
	}
	f.CPUReady = used.Seconds()
	if f.PeakReady, err = status(p, "VmHWM"); err != nil {
		return f, err
	}
	if err := swept(ctx, p); err != nil {
		return f, err
	}
	f.Swept = time.Since(began).Seconds()
	if f.Peak, err = status(p, "VmHWM"); err != nil {
		return f, err
	}
	bound, err := w.bindSome(ctx, name, o.claims)
	if err != nil {
		return f, err
	}
	f.Bind = bound.Seconds()
	ideal, err := w.bindIdeal(ctx, name+"-ideal", o.claims)
	if err != nil {
		return f, err
	}
	f.BindIdeal = ideal.Seconds()
	before, err := cpu(p)
	if err != nil {
		return f, err
	}
	select {
	case <-ctx.Done():
		return f, ctx.Err()
	case <-time.After(o.rest):
	}
	after, err := cpu(p)
	if err != nil {
		return f, err
	}
	f.CPU = (after - before).Seconds() / o.rest.Minutes()
	f.Resident, err = status(p, "VmRSS")
	return f, err
}
