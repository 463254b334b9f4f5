package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/util/uuid"

	"claimdir/provisioner"
	"claimdir/provisioner/access"
	"claimdir/provisioner/share"
	"claimdir/provisioner/sweep"
	"claimdir/provisioner/trash"
	"claimdir/provisioner/volpath"
)

// served are the shares that are served, each with its keeper.
type served struct {
	keepers []*access.Keeper
	retry   func() // set by run
}

// newServed makes a keeper for each share. No share is touched before run.
func newServed(o options, mounts []share.Mount, objects provisioner.KnownObjects, mayAct func() error) *served {
	s := &served{}
	for _, mount := range mounts {
		s.keepers = append(s.keepers, access.New(access.Config{
			Mount:   mount,
			Mounted: stillMounted(o, mount),
			Known:   func() ([]volpath.Path, bool) { return provisioner.PathsOn(objects, mount.Source) },
			NewID:   string(uuid.NewUUID()),
			Call:    leading(mayAct),
			Timeout: o.shareTimeout,
			Slots:   slots(o.workers, len(mounts)),
			Changed: func() { s.retry() },
		}))
	}
	return s
}

// leading makes calls to a share only as long as this process may lead.
func leading(mayAct func() error) share.Call {
	return func(_ string, call func() error) error {
		if err := mayAct(); err != nil {
			return err
		}
		return call()
	}
}

// slots is how many operations may be under way on one share: as many as the
// workers for its claims and its volumes, and, beside others, those that serve
// classes with several shares; those that look into the trash and empty it; one that
// looks for archives that end; and the one that looks for what was left behind.
func slots(workers, shares int) int {
	beside := trash.AtOnce + 2 + sweep.AtOnce
	if shares > 1 {
		return 3*workers + beside
	}
	return 2*workers + beside
}

// stillMounted compares the mount table with what it was at start. A share that
// is no NFS mount is not in it as one.
func stillMounted(o options, mount share.Mount) func() error {
	mounts, err := share.FindMounts(o.mountPath)
	find := func(mounts []share.Mount) (share.Source, bool) {
		for _, m := range mounts {
			if m.Dir == mount.Dir && m.Source != (share.Source{}) {
				return m.Source, true
			}
		}
		return share.Source{}, false
	}
	if _, isNFS := find(mounts); err != nil || !isNFS {
		return nil
	}
	return func() error {
		mounts, err := share.FindMounts(o.mountPath)
		if err != nil {
			return err
		}
		now, found := find(mounts)
		if !found {
			return fmt.Errorf("no NFS share is mounted at %s any more", mount.Dir)
		}
		if now != mount.Source {
			return fmt.Errorf("%s has %s:%s mounted now", mount.Dir, now.Server, now.Path)
		}
		return nil
	}
}

// run looks after the shares until ctx ends, and calls retry when something
// changed that claims or volumes wait for.
func (s *served) run(ctx context.Context, retry func()) {
	s.retry = retry
	for _, one := range s.keepers {
		go one.Run(ctx)
	}
}

func (s *served) metrics() (all []prometheus.Collector) {
	for _, one := range s.keepers {
		all = append(all, one.Collectors()...)
	}
	return all
}

// ready names every share that cannot be worked on.
func (s *served) ready() error {
	var errs []error
	for _, one := range s.keepers {
		errs = append(errs, one.Ready())
	}
	return errors.Join(errs...)
}

func (s *served) stuck() (n int) {
	for _, one := range s.keepers {
		n += one.Stuck()
	}
	return n
}

// checkDirectories refuses, at start, shares whose directory is not there. It
// looks from the directory above: one that hangs must not hang the start.
func checkDirectories(mounts []share.Mount) error {
	for _, mount := range mounts {
		entries, err := os.ReadDir(path.Dir(mount.Dir))
		if err == nil && mount.Dir != "/" && !slices.ContainsFunc(entries, func(e os.DirEntry) bool { return e.Name() == path.Base(mount.Dir) }) {
			err = os.ErrNotExist
		}
		if err != nil {
			return fmt.Errorf("share %s: %w", mount.Dir, err)
		}
	}
	return nil
}
