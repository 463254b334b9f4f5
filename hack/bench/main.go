// Command bench measures how many claims a second claimdir binds and releases, beside an ideal
// provisioner that only creates and deletes the PersistentVolume, on one control plane, turn by
// turn. Another ideal one has the finalizer that the deletion of a PersistentVolume needs to be
// honoured. -with NAME=PROGRAM adds any other provisioner. With -delay the server of claimdir's share
// is that far away.
//
// In other modes it measures what the records on the share cost beside the directories (-ledger),
// what a share that hangs costs another one (-hang), what full volumes cost that are released
// (-files), and how fast they are removed (-trash). The ratio is the figure: machines differ and are
// noisy.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"

	"claimdir/hack/controlplane"
	"claimdir/hack/testbed"
)

func main() {
	claims := &counts{500, 2000}
	flag.Var(claims, "claims", "how many claims are made at once, one contest for each number")
	paced := flag.Int("paced", 60, "how many claims are made one a second, as people do; 0 leaves that contest out")
	rounds := flag.Int("rounds", 5, "how often each provisioner has its turn")
	file := flag.String("json", "", "also write what each turn measured to this file")
	var others programs
	flag.Var(&others, "with", "NAME=PROGRAM of another provisioner, which gets KUBECONFIG, PROVISIONER_NAME, NFS_SERVER, NFS_PATH and MOUNT_PATH; may be repeated")
	flag.Var(&others.env, "env", "NAME=VALUE for these, in which $SHARE is the directory of the share; may be repeated")
	ledger := flag.Bool("ledger", false, "measure what the records of so many claims cost on a share in TMPDIR, beside their directories")
	delay := flag.Duration("delay", 0, "how much longer every call to the share takes")
	hang := flag.Duration("hang", 0, "measure a share beside another one that hangs for so long")
	var files shape
	flag.TextVar(&files, "files", shape{}, "measure releases of volumes with DIRECTORIESxFILES in each, beside empty ones")
	tree, empty := trashFlags()
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	c := contest{claims: *claims, paced: *paced, rounds: *rounds, file: *file, contestants: []contestant{
		{name: "ideal", start: ideal{}.start}, {name: "finalizer", start: ideal{finalizer: true}.start}, {name: "claimdir", start: runClaimdir},
	}}
	if *delay > 0 {
		c.contestants[2] = contestant{name: "claimdir+" + delay.String(), start: delayed(*delay)}
	}
	c.contestants = append(c.contestants, others.contestants()...)
	if files != (shape{}) {
		empty, full := fullAndEmpty(files, *delay)
		c.contestants, c.paced = []contestant{empty, full}, 0
	}
	measure := c.run
	if *hang > 0 {
		measure = func(ctx context.Context, bed *testbed.Bed) error {
			return compareHang(ctx, bed, (*claims)[0], *rounds, *hang)
		}
	}
	var err error
	switch {
	case *ledger:
		err = compareRecords(ctx, (*claims)[0], *rounds)
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

// onBed starts a control plane for what is to be measured.
func onBed(ctx context.Context, measure func(context.Context, *testbed.Bed) error) (err error) {
	bed, err := testbed.Start(ctx, testbed.Options{
		Progress:     os.Stderr,
		ControlPlane: controlplane.Options{ControllerManagerArgs: []string{"--pvclaimbinder-sync-period=15s"}}, // as users have it
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bed.Close()) }()
	return measure(ctx, bed)
}

// counts is a flag with positive numbers, separated by commas.
type counts []int

// String implements flag.Value.
func (c *counts) String() string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint([]int(*c)), " ", ","), "[]")
}

// Set implements flag.Value.
func (c *counts) Set(text string) error {
	*c = nil
	for field := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(field)
		if err != nil || n < 1 {
			return fmt.Errorf("%q is not a number of claims", field)
		}
		*c = append(*c, n)
	}
	return nil
}
