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
	"claimdir/provisioner/resize"
	"claimdir/provisioner/share"
	"claimdir/provisioner/snapshot"
	"claimdir/provisioner/sweep"
	"claimdir/provisioner/trash"
	"claimdir/provisioner/volpath"
)

// served is the served shares, each with its keeper.
type served struct {
	keepers []*access.Keeper
	retry   func() // set by run
}

// newServed makes a keeper for each share. No share is accessed before run.
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
			Slots:   slots(o.workers, o.copiesAtOnce, len(mounts)),
			Changed: func() { s.retry() },
		}))
	}
	return s
}

// leading makes a call to a share only while this process leads.
func leading(mayAct func() error) share.Call {
	return func(_ string, call func() error) error {
		if err := mayAct(); err != nil {
			return err
		}
		return call()
	}
}

// slots returns how many operations may run on one share at once: one for each worker that
// processes a claim, and for each that releases a volume; if there are several shares, one
// more for each worker that chooses among them; trash.AtOnce that empty the trash, one that
// lists it, one that expires archives, one that measures usage, sweep.AtOnce, resize.AtOnce, snapshot.AtOnce
// and one that looks after snapshots, and provisioner.AtOnce at start. Each copy takes one for hours on the share that gets it,
// and one on the share that has the source: those of all shares may read from one.
func slots(workers, copies, shares int) int {
	beside := trash.AtOnce + 4 + sweep.AtOnce + resize.AtOnce + snapshot.AtOnce + provisioner.AtOnce + copies*shares
	if shares > 1 {
		return 3*workers + beside
	}
	return 2*workers + beside
}

// stillMounted returns a check that the mount is the same as at start. It returns nil if the
// share is not an NFS mount.
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
			return fmt.Errorf("no NFS share is mounted at %s any longer", mount.Dir)
		}
		if now != mount.Source {
			return fmt.Errorf("%s has %s:%s mounted now", mount.Dir, now.Server, now.Path)
		}
		return nil
	}
}

// run keeps the shares until ctx ends. It calls retry when a share changes, so that waiting
// claims and volumes are retried.
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

// ready returns an error for each share that is not ready.
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

// checkDirectories refuses, at start, shares whose directory does not exist. It lists the
// directory above, because a share that hangs must not make the start hang.
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
