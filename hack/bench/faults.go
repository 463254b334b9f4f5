package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"claimdir/hack/faultfs"
	"claimdir/hack/testbed"
)

// attributeCache is how long an NFS client remembers attributes at least (acregmin of nfs(5)).
const attributeCache = 3 * time.Second

// delayed is claimdir on a share whose server is that far away.
func delayed(d time.Duration) starter {
	return func(ctx context.Context, bed *testbed.Bed, name string) (func() string, error) {
		backing, err := bed.NewShare()
		if err != nil {
			return nil, err
		}
		dir, err := bed.NewShare()
		if err != nil {
			return nil, err
		}
		share, err := faultfs.Mount(backing, dir)
		if err != nil {
			return nil, err
		}
		share.Delay(d)
		share.Remember(attributeCache)
		stop, err := startClaimdir(ctx, bed, testbed.Config{Share: dir, Provisioner: name})
		if err != nil {
			return nil, errors.Join(err, share.Close())
		}
		return func() string {
			memory := stop()
			calls := 0
			for _, n := range share.Calls() {
				calls += n
			}
			_ = share.Close() // the bed is removed with what is left
			return fmt.Sprintf("%s, %d calls", memory, calls)
		}, nil
	}
}

// twoShares is claimdir with the shares fast and slow.
type twoShares struct {
	bed     *testbed.Bed
	process *testbed.Process
	slow    *faultfs.FS
	loads   map[string]*load // by share
}

func newTwoShares(ctx context.Context, bed *testbed.Bed) (_ *twoShares, err error) {
	s := &twoShares{bed: bed, loads: map[string]*load{}}
	dir, err := bed.NewShare()
	if err != nil {
		return nil, err
	}
	backing, err := bed.NewShare()
	if err != nil {
		return nil, err
	}
	for _, share := range []string{"fast", "slow"} {
		if err := os.Mkdir(filepath.Join(dir, share), 0o755); err != nil {
			return nil, err
		}
	}
	if s.slow, err = faultfs.Mount(backing, filepath.Join(dir, "slow")); err != nil {
		return nil, err
	}
	name := ""
	for _, share := range []string{"fast", "slow"} {
		l, err := newLoadOn(ctx, bed, share, name, share)
		if err != nil {
			return nil, err
		}
		name, s.loads[share] = l.provisioner, l
	}
	s.process, err = bed.Claimdir(testbed.Config{Share: dir, Provisioner: name, Env: []string{
		"NFS_PATH=fast=" + testbed.Export + "/fast,slow=" + testbed.Export + "/slow",
	}})
	if err != nil {
		return nil, err
	}
	ready, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return s, s.process.WaitReady(ready)
}

func (s *twoShares) stop() {
	_ = s.slow.Close() // first: what hangs there cannot be killed
	s.process.Stop()
}

// metric reads a metric without labels.
func (s *twoShares) metric(ctx context.Context, name string) float64 {
	text, err := s.process.Get(ctx, "/metrics")
	found := regexp.MustCompile(`(?m)^` + name + ` (\S+)$`).FindStringSubmatch(text)
	if err != nil || found == nil {
		return -1
	}
	value, err := strconv.ParseFloat(found[1], 64)
	if err != nil {
		return -1
	}
	return value
}

// bindBoth makes the claims of both shares at once. It returns how many a second
// were bound on fast, and a channel that ends when those on slow are.
func (s *twoShares) bindBoth(ctx context.Context, claims int) (perSecond float64, slow chan error, err error) {
	slow = make(chan error, 1)
	go func() { slow <- s.loads["slow"].bind(ctx, claims) }()
	begin := time.Now()
	if err := s.loads["fast"].bind(ctx, claims); err != nil {
		return 0, nil, err
	}
	return float64(claims) / time.Since(begin).Seconds(), slow, nil
}

// healthy is the run to compare with.
func healthy(ctx context.Context, bed *testbed.Bed, claims int) (perSecond float64, err error) {
	s, err := newTwoShares(ctx, bed)
	if err != nil {
		return 0, err
	}
	defer s.stop()
	perSecond, slow, err := s.bindBoth(ctx, claims)
	if err != nil {
		return 0, err
	}
	return perSecond, <-slow
}

// hung lets slow hang, makes the claims, waits until the hang has lasted, and lets
// slow answer again.
func hung(ctx context.Context, bed *testbed.Bed, claims int, lasting time.Duration) (perSecond float64, err error) {
	s, err := newTwoShares(ctx, bed)
	if err != nil {
		return 0, err
	}
	defer s.stop()
	show := func(when string) {
		fmt.Printf("%-24s goroutines %4.0f  threads %3.0f  leader %.0f\n", when, s.metric(ctx, "go_goroutines"), s.metric(ctx, "go_threads"), s.metric(ctx, "claimdir_leader"))
	}
	show("before")
	release := s.slow.Hang()
	begin := time.Now()
	perSecond, slow, err := s.bindBoth(ctx, claims)
	if err != nil {
		return 0, err
	}
	for step := lasting / 5; time.Since(begin) < lasting; {
		select {
		case err := <-slow:
			return 0, fmt.Errorf("bound on a share that hangs: %w", err)
		case <-time.After(min(step, lasting-time.Since(begin))):
		}
		show(fmt.Sprintf("%s into the hang", time.Since(begin).Round(time.Second)))
	}
	release()
	answered := time.Now()
	if err := <-slow; err != nil {
		return 0, err
	}
	fmt.Printf("%-24s %.1f s until all %d were Bound\n", "it answers again", time.Since(answered).Seconds(), claims)
	show("afterwards")
	return perSecond, nil
}

// compareHang measures what a share that hangs costs the other one.
func compareHang(ctx context.Context, bed *testbed.Bed, claims, rounds int, lasting time.Duration) error {
	var ratios []float64
	for round := range rounds {
		well, err := healthy(ctx, bed, claims)
		if err != nil {
			return err
		}
		beside, err := hung(ctx, bed, claims, lasting)
		if err != nil {
			return err
		}
		fmt.Printf("round %d: bound/s on the healthy share: %.1f beside a healthy one, %.1f beside one that hangs\n", round+1, well, beside)
		ratios = append(ratios, beside/well)
	}
	fmt.Printf("hung/healthy, median of %d: %.2f\n", rounds, median(ratios))
	return nil
}
