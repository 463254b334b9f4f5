// Command bench measures how many claims a second claimdir binds, beside an
// ideal provisioner that only creates the PersistentVolume, on one control
// plane, turn by turn. The ratio is the figure: machines differ and are noisy.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"time"

	"claimdir/hack/controlplane"
	"claimdir/hack/testbed"
)

func main() {
	claims := flag.Int("claims", 500, "claims made at once")
	rounds := flag.Int("rounds", 3, "how often each provisioner has its turn")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, *claims, *rounds)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, claims, rounds int) (err error) {
	bed, err := testbed.Start(ctx, testbed.Options{
		Progress:     os.Stderr,
		ControlPlane: controlplane.Options{ControllerManagerArgs: []string{"--pvclaimbinder-sync-period=15s"}}, // as users have it
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bed.Close()) }()

	fmt.Printf("%5s  %-9s %8s %8s   %s\n", "round", "who", "bound/s", "gone/s", "peak memory")
	var binds, goes []float64
	for round := range rounds {
		ideal, err := turn(ctx, bed, "ideal", claims, runIdeal)
		if err != nil {
			return fmt.Errorf("ideal: %w", err)
		}
		ours, err := turn(ctx, bed, "claimdir", claims, runClaimdir)
		if err != nil {
			return fmt.Errorf("claimdir: %w", err)
		}
		for _, r := range []result{ideal, ours} {
			fmt.Printf("%5d  %-9s %8.1f %8.1f   %s\n", round+1, r.who, r.bound, r.gone, r.memory)
		}
		binds, goes = append(binds, ours.bound/ideal.bound), append(goes, ours.gone/ideal.gone)
	}
	fmt.Printf("claimdir/ideal, median of %d: bound %.2f, gone %.2f\n", rounds, median(binds), median(goes))
	return nil
}

// result is what one turn measured; memory is empty where nothing was.
type result struct {
	who         string
	bound, gone float64 // per second
	memory      string
}

// provisioner starts something that serves the provisioner name; stop ends it
// and tells its peak memory.
type provisioner func(ctx context.Context, bed *testbed.Bed, name string) (stop func() (memory string), err error)

// turn makes the claims, waits until all are Bound, deletes them and waits
// until all volumes are gone.
func turn(ctx context.Context, bed *testbed.Bed, who string, claims int, start provisioner) (r result, err error) {
	load, err := newLoad(ctx, bed, who)
	if err != nil {
		return r, err
	}
	stop, err := start(ctx, bed, load.provisioner)
	if err != nil {
		return r, err
	}
	defer func() { r.memory = stop() }()
	r.who = who
	begin := time.Now()
	if err := load.bind(ctx, claims); err != nil {
		return r, err
	}
	r.bound = float64(claims) / time.Since(begin).Seconds()
	begin = time.Now()
	if err := load.release(ctx); err != nil {
		return r, err
	}
	r.gone = float64(claims) / time.Since(begin).Seconds()
	return r, nil
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}
