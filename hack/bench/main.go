// Command bench measures how many claims a second claimdir binds, beside an
// ideal provisioner that only creates the PersistentVolume, on one control
// plane, turn by turn. With -ledger it measures what the records on the share
// cost beside the directories, with -delay what a share costs whose server is that far away, with
// -hang what a share that hangs costs another one, with -files what full volumes
// cost that are released, and with -trash how fast they are removed. The ratio is the figure:
// machines differ and are noisy.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	"claimdir/hack/controlplane"
	"claimdir/hack/testbed"
)

func main() {
	claims := flag.Int("claims", 500, "claims made at once")
	rounds := flag.Int("rounds", 3, "how often each provisioner has its turn")
	ledger := flag.Bool("ledger", false, "measure what the records of so many claims cost on a share in TMPDIR, beside their directories")
	delay := flag.Duration("delay", 0, "how much longer every call to the share takes")
	hang := flag.Duration("hang", 0, "measure a share beside another one that hangs for so long")
	var files shape
	flag.TextVar(&files, "files", shape{}, "measure releases of volumes with DIRECTORIESxFILES in each, beside empty ones")
	tree, empty := trashFlags()
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	against, ours := contestant{name: "ideal", start: runIdeal}, contestant{name: "claimdir", start: runClaimdir}
	if *delay > 0 {
		ours = contestant{name: fmt.Sprint(*delay), start: delayed(*delay)}
	}
	if files != (shape{}) {
		against, ours = fullAndEmpty(files, *delay)
	}
	measure := func(bed *testbed.Bed) error { return contest{*claims, *rounds, against, ours}.run(ctx, bed) }
	if *hang > 0 {
		measure = func(bed *testbed.Bed) error { return compareHang(ctx, bed, *claims, *rounds, *hang) }
	}
	var err error
	switch {
	case *ledger:
		err = compareRecords(ctx, *claims, *rounds)
	case *empty != "":
		err = emptyHere(ctx, *empty)
	case *tree != "":
		var s shape
		if err = s.UnmarshalText([]byte(*tree)); err == nil {
			err = compareRemoval(ctx, s, *delay, *rounds)
		}
	default:
		err = onBed(ctx, measure)
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// contestant is a provisioner with the name that the table shows.
type contestant struct {
	name  string
	start starter
	fill  func() error // what comes between Bound and released, if anything
}

// onBed starts a control plane for what is to be measured.
func onBed(ctx context.Context, measure func(*testbed.Bed) error) (err error) {
	bed, err := testbed.Start(ctx, testbed.Options{
		Progress:     os.Stderr,
		ControlPlane: controlplane.Options{ControllerManagerArgs: []string{"--pvclaimbinder-sync-period=15s"}}, // as users have it
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bed.Close()) }()
	return measure(bed)
}

// contest is two provisioners with the same work.
type contest struct {
	claims, rounds int
	against, ours  contestant
}

// run gives each its turns.
func (c contest) run(ctx context.Context, bed *testbed.Bed) error {
	fmt.Printf("%5s  %-9s %8s %8s   %s\n", "round", "who", "bound/s", "gone/s", "peak memory")
	var binds, goes []float64
	for round := range c.rounds {
		var turns []result
		for _, who := range []contestant{c.against, c.ours} {
			r, err := turn(ctx, bed, who, c.claims)
			if err != nil {
				return fmt.Errorf("%s: %w", who.name, err)
			}
			fmt.Printf("%5d  %-9s %8.1f %8.1f   %s\n", round+1, who.name, r.bound, r.gone, r.memory)
			turns = append(turns, r)
		}
		binds, goes = append(binds, turns[1].bound/turns[0].bound), append(goes, turns[1].gone/turns[0].gone)
	}
	fmt.Printf("%s/%s, median of %d: bound %.2f, gone %.2f\n", c.ours.name, c.against.name, c.rounds, median(binds), median(goes))
	return nil
}

// result is what one turn measured; memory is empty where nothing was.
type result struct {
	bound, gone float64 // per second
	memory      string
}

// starter starts something that serves the provisioner name; stop ends it
// and tells its peak memory.
type starter func(ctx context.Context, bed *testbed.Bed, name string) (stop func() (memory string), err error)

// turn makes the claims, waits until all are Bound, deletes them and waits
// until all volumes are gone.
func turn(ctx context.Context, bed *testbed.Bed, who contestant, claims int) (r result, err error) {
	load, err := newLoad(ctx, bed, strings.ReplaceAll(who.name, " ", "-"))
	if err != nil {
		return r, err
	}
	stop, err := who.start(ctx, bed, load.provisioner)
	if err != nil {
		return r, err
	}
	defer func() { r.memory = stop() }()
	begin := time.Now()
	before := readTimes()
	if err := load.bind(ctx, claims); err != nil {
		return r, err
	}
	r.bound = float64(claims) / time.Since(begin).Seconds()
	fmt.Println("bind", readTimes().since(before, claims))
	if who.fill != nil {
		if err := who.fill(); err != nil {
			return r, err
		}
	}
	begin = time.Now()
	before = readTimes()
	if err := load.release(ctx); err != nil {
		return r, err
	}
	fmt.Println("gone", readTimes().since(before, claims))
	r.gone = float64(claims) / time.Since(begin).Seconds()
	return r, nil
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}
