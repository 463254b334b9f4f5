package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
)

// compareRecords measures what the records of volumes cost on the share, beside their
// directories: each is made and removed by as many workers as claimdir has, without an API
// server. The share is below TMPDIR, and a mounted export there is measured too.
func compareRecords(ctx context.Context, volumes, rounds int) (err error) {
	dir, err := os.MkdirTemp("", "bench-ledger-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	dirs, err := share.Open(dir)
	if err != nil {
		return err
	}
	records, err := ledger.Open(dirs, "bench")
	if err != nil {
		return err
	}
	store := ledger.Store{Dirs: dirs, Records: records}
	fmt.Printf("%5s  %-11s %9s %10s\n", "round", "what", "volumes/s", "calls each")
	var ratios []float64
	for round := range rounds {
		var took []time.Duration
		for _, what := range []struct {
			name string
			work func(s ledger.Store, p volpath.Path, pv string) error
		}{{"directories", makeAndRemoveDirectory}, {"records", makeAndRemoveRecord}} {
			duration, calls, err := forEach(ctx, store, volumes, what.work)
			if err != nil {
				return fmt.Errorf("%s: %w", what.name, err)
			}
			fmt.Printf("%5d  %-11s %9.1f %10.1f\n", round+1, what.name, float64(volumes)/duration.Seconds(), float64(calls)/float64(volumes))
			took = append(took, duration)
		}
		ratios = append(ratios, float64(took[1])/float64(took[0]))
	}
	fmt.Printf("time for records/directories, median of %d: %.2f\n", rounds, median(ratios))
	return nil
}

// forEach runs work for so many volumes, each in an operation of its own, and counts the
// calls to the share.
func forEach(ctx context.Context, store ledger.Store, volumes int, work func(s ledger.Store, p volpath.Path, pv string) error) (took time.Duration, calls int64, err error) {
	var made atomic.Int64
	count := func(_ string, call func() error) error { made.Add(1); return call() }
	next := make(chan int)
	errs := make(chan error, idealWorkers)
	var workers sync.WaitGroup
	begin := time.Now()
	for range idealWorkers {
		workers.Go(func() {
			var failed error
			for i := range next {
				pv := fmt.Sprint("pvc-", i)
				p, err := volpath.Parse("bench-" + pv)
				if err == nil && failed == nil {
					view := store.On(store.Dirs.During(ctx, count))
					err = work(view, p, pv)
					view.Dirs.Release()
				}
				failed = errors.Join(failed, err)
			}
			errs <- failed
		})
	}
	for i := range volumes {
		next <- i
	}
	close(next)
	workers.Wait()
	took = time.Since(begin)
	for range idealWorkers {
		err = errors.Join(err, <-errs)
	}
	return took, made.Load(), err
}

func makeAndRemoveDirectory(s ledger.Store, p volpath.Path, _ string) error {
	id, err := s.Dirs.Create(p, share.Attributes{Mode: 0o777}, func() error { return nil })
	if err != nil {
		return err
	}
	return s.Dirs.Remove(p, id)
}

func makeAndRemoveRecord(s ledger.Store, p volpath.Path, pv string) error {
	r, err := s.Records.Take(p, ledger.Record{
		State: ledger.Creating, PV: pv, Claim: ledger.Claim{Namespace: "bench", Name: pv, UID: pv}, Cluster: "bench", Class: "bench",
		Policy: "delete", ReclaimPolicy: "Delete", Size: "1Gi", AccessModes: []string{"ReadWriteMany"},
	}, false)
	if err == nil {
		err = s.Records.Activate(p, r, &share.Identity{Number: 1})
	}
	if err == nil {
		err = s.Records.Remove(p, r)
	}
	return err
}
