package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"claimdir/hack/chaos/check"
	"claimdir/hack/testbed"
)

// options are the flags.
type options struct {
	seed     uint64
	duration time.Duration
	patience time.Duration
	keep     string
	sabotage bool
}

func main() {
	var o options
	flag.Uint64Var(&o.seed, "seed", 0, "replays what users do and which faults come; 0 takes a random one")
	flag.DurationVar(&o.duration, "duration", 3*time.Minute, "how long claims and faults come; a nightly run takes 15m")
	flag.DurationVar(&o.patience, "patience", 6*time.Minute, "how long all may take to become quiet afterwards")
	flag.StringVar(&o.keep, "dir", "", "the directory for the share and the logs; default: a temporary one, which stays if something is wrong")
	flag.BoolVar(&o.sabotage, "sabotage", false, "break claimdir in each of several ways, and see whether the checker finds it")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) (err error) {
	if o.seed == 0 {
		o.seed = rand.Uint64N(1_000_000) + 1
	}
	fmt.Printf("seed %d: make chaos ARGS='-seed %d -duration %v' replays it\n", o.seed, o.seed, o.duration)
	dir := o.keep
	if dir == "" {
		if dir, err = os.MkdirTemp("", "claimdir-chaos-"); err != nil {
			return err
		}
	} else if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	bed, err := startBed(ctx, os.Stdout)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bed.Close()) }()
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	if o.sabotage {
		if err := sabotageAll(ctx, bed, dir); err != nil {
			return fmt.Errorf("%w; the shares and the logs are in %s", err, dir)
		}
		return os.RemoveAll(dir)
	}
	violations, err := chaos(ctx, bed, filepath.Join(dir, "chaos"), o, os.Stdout)
	if err == nil && len(violations) == 0 {
		if o.keep == "" {
			return os.RemoveAll(dir)
		}
		return nil
	}
	if err == nil {
		err = fmt.Errorf("%d violations with seed %d", len(violations), o.seed)
	}
	return fmt.Errorf("%w; the share and the logs are in %s", err, dir)
}

// startBed starts a control plane without the class of the manifests, which nobody serves here.
func startBed(ctx context.Context, progress io.Writer) (*testbed.Bed, error) {
	bed, err := testbed.Start(ctx, testbed.Options{Progress: progress})
	if err != nil {
		return nil, err
	}
	if err := bed.Admin.StorageV1().StorageClasses().Delete(ctx, "claimdir", metav1.DeleteOptions{}); err != nil {
		return nil, errors.Join(err, bed.Close())
	}
	return bed, nil
}

// chaos is one run of the plan of a seed.
func chaos(ctx context.Context, bed *testbed.Bed, dir string, o options, progress io.Writer) (violations []check.Violation, err error) {
	w, err := newWorld(ctx, bed, dir, "chaos", 2)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	violations, err = w.run(ctx, NewPlan(o.seed, o.duration, roles()), o.duration, settling{patience: o.patience, age: 65 * time.Second}, progress)
	w.counts.table(progress, violations)
	return violations, errors.Join(err, w.journal.save(filepath.Join(dir, "users.json")))
}
