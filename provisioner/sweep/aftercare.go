package sweep

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/klog/v2"

	"claimdir/provisioner/access"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
	"claimdir/provisioner/steps"
	"claimdir/provisioner/volpath"
	"claimdir/provisioner/volume"
)

const (
	// lookAfterEvery is the pause between two checks of the volumes on reused paths.
	// lookAfterFor is how long these checks go on after this process became the leader,
	// because late calls of the previous leader may still arrive.
	lookAfterEvery = 20 * time.Second
	lookAfterFor   = 5 * time.Minute
)

// lookAfter checks, for some time, that each volume whose path another volume may have had
// has its directory.
func (s *Sweeper) lookAfter(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lookAfterFor)
	defer cancel()
	wait.UntilWithContext(ctx, func(ctx context.Context) {
		if s.config.Keeper.WaitReady(ctx) != nil {
			return
		}
		if err := s.lookAfterOnce(ctx); err != nil && ctx.Err() == nil {
			klog.FromContext(ctx).V(1).Info("Cannot check the directories of all volumes", "because", err.Error())
		}
	}, lookAfterEvery)
}

func (s *Sweeper) lookAfterOnce(ctx context.Context) error {
	_, asideErr := s.config.Steps.BringBackAside(ctx, access.Periodic{Keeper: s.config.Keeper})
	source := s.config.Keeper.Source()
	reused := func(name, export string) bool { // another volume may have had the path: nearly all have their names in it
		path, below := share.Below(source.Path, path.Clean(export))
		return below && !strings.Contains(path, name)
	}
	for pv := range s.config.VolumesThat(reused) {
		v, err := volume.FromPV(source, pv)
		if err != nil || pv.Status.Phase != v1.VolumeBound {
			continue
		}
		err = s.on(ctx, v.Path, "check the directory of "+v.Name, func(ctx context.Context, op steps.Op) error { return op.LookAfter(ctx, v.Name) })
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			klog.FromContext(ctx).V(1).Info("Cannot check the directory of the volume", "PV", v.Name, "because", err.Error())
		}
	}
	return asideErr
}

// moved is a record that says another directory than its path has.
type moved struct {
	path   volpath.Path
	pv     string
	class  string
	number uint64 // of the directory at the path
	active bool   // a volume's record
	known  bool   // the record says which directory it has
}

// renew writes the identities of the directories into their records again where they differ:
// copying a share or a directory changes them. It reports all changed directories at once.
func (s *Sweeper) renew(ctx context.Context, found []moved, now live) error {
	found = slices.DeleteFunc(found, func(m moved) bool { return m.active && now.phases[m.pv] != v1.VolumeBound })
	named, err := s.named(ctx, found)
	if err != nil {
		return err
	}
	count, first := 0, moved{}
	for _, m := range found {
		if s.renewOne(ctx, m, named[m.number]) {
			if count++; count == 1 {
				first = m
			}
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	s.reportChanged(ctx, count, first)
	return nil
}

// owner is a record that names a directory.
type owner struct {
	path string
	id   *share.Identity
}

// named returns the records that name directories with the same numbers, by number.
func (s *Sweeper) named(ctx context.Context, found []moved) (named map[uint64][]owner, err error) {
	if len(found) == 0 {
		return nil, nil
	}
	wanted := map[uint64]bool{}
	for _, m := range found {
		wanted[m.number] = true
	}
	err = s.config.Keeper.Background(ctx, "read which directories the records name", func(_ context.Context, store ledger.Store) error {
		result := map[uint64][]owner{}
		for r, err := range store.Records.Records() {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if share.IsStale(err) {
				return err
			}
			if err == nil && r.Directory != nil && wanted[r.Directory.Number] {
				result[r.Directory.Number] = append(result[r.Directory.Number], owner{r.Path, r.Directory})
			}
		}
		named = result
		return nil
	})
	return named, err
}

// renewOne reports whether the directory of a record was another one than the record said.
func (s *Sweeper) renewOne(ctx context.Context, m moved, owners []owner) (changed bool) {
	alone := func(id *share.Identity) bool {
		return !slices.ContainsFunc(owners, func(o owner) bool { return o.path != m.path.String() && o.id.Match(id) == share.Same })
	}
	match := share.Same
	err := s.on(ctx, m.path, "renew the record of "+m.pv, func(ctx context.Context, op steps.Op) (err error) {
		match, err = op.Renew(ctx, m.pv, alone)
		return err
	})
	if err != nil {
		klog.FromContext(ctx).V(1).Info("Cannot renew the record of a directory", "path", m.path, "PV", m.pv, "because", err.Error())
		return false
	}
	return m.known && match != share.Same
}

// served reports whether a record belongs to this cluster and is complete.
func (s *Sweeper) served(r ledger.Record) bool {
	return r.Cluster == s.config.Steps.Cluster() && r.State != ledger.Creating
}

// reportChanged reports the directories whose identities have changed.
func (s *Sweeper) reportChanged(ctx context.Context, count int, first moved) {
	if count == 0 {
		return
	}
	klog.FromContext(ctx).Info("Renewed the records of directories that were replaced: the share was copied, moved or restored, wholly or in part",
		"directories", count, "first", first.path)
	if s.config.Report != nil {
		s.config.Report(ctx, ledger.Record{Path: first.path.String(), PV: first.pv, Class: first.class}, steps.EventRenewed, fmt.Sprintf("directories were replaced (%d, such as %q): the share was copied, moved or restored, wholly or in part. "+
			"claimdir has renewed their records and serves them", count, first.path))
	}
}

// numbers are the file numbers of the directories on a share. Each parent is listed once.
type numbers struct {
	dirs  *share.Share
	known map[volpath.Path]map[string]uint64
}

// compare reports whether the path of a record has another directory than the record says. It
// returns false if the path has none.
func (n numbers) compare(r ledger.Record) (m moved, changed bool, err error) {
	path, err := volpath.ParseRecorded(r.Path)
	if err != nil {
		return moved{}, false, nil //nolint:nilerr // doctor reports it
	}
	dir := parent(path)
	listed, known := n.known[dir]
	if !known {
		entries, err := n.dirs.List(dir)
		if share.IsStale(err) {
			return moved{}, false, err
		}
		listed = make(map[string]uint64, len(entries))
		for _, e := range entries {
			if e.Dir {
				listed[e.Name] = e.Number
			}
		}
		n.known[dir] = listed
	}
	number, there := listed[path.Base()]
	same := r.Directory != nil && r.Directory.Place == n.dirs.Place() && r.Directory.Number == number
	return moved{path, r.PV, r.Class, number, r.State == ledger.Active, r.Directory != nil}, there && !same, nil
}

func parent(path volpath.Path) (p volpath.Path) {
	if above := path.Ancestors(); len(above) > 0 {
		p = above[0]
	}
	return p
}

// removeStray removes empty directories that a late call of claimdir has made: findings that
// no record and no PersistentVolume names, and the empty directories above them.
func (s *Sweeper) removeStray(ctx context.Context, findings []string) {
	for _, found := range findings {
		path, err := volpath.Parse(found)
		if err != nil {
			continue
		}
		if path, err = s.innermost(ctx, path); err != nil {
			klog.FromContext(ctx).V(1).Info("Cannot list an orphaned directory", "path", found, "because", err.Error())
			continue
		}
		err = s.on(ctx, path, "remove the empty directory "+found, func(ctx context.Context, op steps.Op) error {
			_, err := op.RemoveStrayParents(ctx)
			return err
		})
		if err != nil {
			klog.FromContext(ctx).V(1).Info("Kept an orphaned directory", "path", found, "because", err.Error())
		}
	}
}

// innermost follows directories from path as long as each contains one directory and nothing
// else, and returns the last one: a late call may have made a path and all its parents.
func (s *Sweeper) innermost(ctx context.Context, path volpath.Path) (inside volpath.Path, err error) {
	err = s.config.Keeper.Background(ctx, "list "+path.String(), func(_ context.Context, store ledger.Store) error {
		for inside = path; ctx.Err() == nil; {
			entries, err := store.Dirs.List(inside)
			if err != nil || len(entries) != 1 || !entries[0].Dir {
				return err
			}
			child, err := volpath.Parse(inside.String() + "/" + entries[0].Name)
			if err != nil {
				return nil //nolint:nilerr // claimdir has not made a directory of such a name
			}
			inside = child
		}
		return ctx.Err()
	})
	return inside, err
}
