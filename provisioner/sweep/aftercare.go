package sweep

import (
	"context"
	"fmt"
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
	for _, pv := range s.config.Objects.Volumes() {
		v, err := volume.FromPV(s.config.Keeper.Source(), pv)
		if err != nil || pv.Status.Phase != v1.VolumeBound || strings.Contains(v.Path.String(), v.Name) {
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

// renew writes the identities of the directories into their records again if they differ:
// copying a share or a directory changes them. It reports all changed directories at once.
func (s *Sweeper) renew(ctx context.Context, found []ledger.Record, volumes []v1.PersistentVolume) error {
	numbers, place, err := s.numbers(ctx, found)
	if err != nil {
		return err
	}
	bound := map[string]bool{}
	for i := range volumes {
		bound[volumes[i].Name] = volumes[i].Status.Phase == v1.VolumeBound
	}
	byNumber := map[uint64][]ledger.Record{}
	for _, r := range found {
		if r.Directory != nil {
			byNumber[r.Directory.Number] = append(byNumber[r.Directory.Number], r)
		}
	}
	var others []ledger.Record
	for _, r := range found {
		number, there := numbers[r.Path]
		if !there || !s.served(r, bound) || r.Directory != nil && r.Directory.Place == place && r.Directory.Number == number {
			continue
		}
		if s.renewOne(ctx, r, byNumber) {
			others = append(others, r)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	s.reportChanged(ctx, others)
	return nil
}

// renewOne reports whether the directory of a record was another one than the record said.
func (s *Sweeper) renewOne(ctx context.Context, r ledger.Record, byNumber map[uint64][]ledger.Record) (changed bool) {
	path, err := volpath.ParseRecorded(r.Path)
	if err != nil {
		return false // doctor reports it
	}
	alone := func(id *share.Identity) bool { return !namedByOther(byNumber[id.Number], r, id) }
	match := share.Same
	err = s.on(ctx, path, "renew the record of "+r.PV, func(ctx context.Context, op steps.Op) (err error) {
		match, err = op.Renew(ctx, r.PV, alone)
		return err
	})
	if err != nil {
		klog.FromContext(ctx).V(1).Info("Cannot renew the record of a directory", "path", path, "PV", r.PV, "because", err.Error())
		return false
	}
	return r.Directory != nil && match != share.Same
}

// served reports whether a record belongs to this cluster and is complete, and, if it is of
// a volume, whether that volume is bound.
func (s *Sweeper) served(r ledger.Record, bound map[string]bool) bool {
	return r.Cluster == s.config.Steps.Cluster() && r.State != ledger.Creating && (r.State != ledger.Active || bound[r.PV])
}

// namedByOther reports whether one of records is of another path and has the identity id.
func namedByOther(records []ledger.Record, r ledger.Record, id *share.Identity) bool {
	for _, other := range records {
		if other.Path != r.Path && other.Directory.Match(id) == share.Same {
			return true
		}
	}
	return false
}

// reportChanged reports the directories whose identities have changed.
func (s *Sweeper) reportChanged(ctx context.Context, others []ledger.Record) {
	if len(others) == 0 {
		return
	}
	klog.FromContext(ctx).Info("Renewed the records of directories that were replaced: the share was copied, moved or restored, wholly or in part",
		"directories", len(others), "first", others[0].Path)
	if s.config.Report != nil {
		s.config.Report(ctx, others[0], steps.EventRenewed, fmt.Sprintf("%d directories, such as %q, were replaced: the share was copied, moved or restored, wholly or in part. "+
			"claimdir has renewed their records and serves them", len(others), others[0].Path))
	}
}

// numbers returns the file numbers of the directories that records name, and the place of
// the share. A directory without a number is missing, or could not be listed.
func (s *Sweeper) numbers(ctx context.Context, found []ledger.Record) (numbers map[string]uint64, place string, err error) {
	parents := map[volpath.Path]bool{}
	for _, r := range found {
		if path, err := volpath.ParseRecorded(r.Path); err == nil {
			parents[parent(path)] = true
		}
	}
	err = s.config.Keeper.Background(ctx, "list the directories", func(_ context.Context, store ledger.Store) error {
		numbers = map[string]uint64{}
		for dir := range parents {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			entries, err := store.Dirs.List(dir)
			if share.IsStale(err) {
				return err
			}
			prefix := ""
			if dir != (volpath.Path{}) {
				prefix = dir.String() + "/"
			}
			for _, e := range entries {
				if e.Dir {
					numbers[prefix+e.Name] = e.Number
				}
			}
		}
		place = store.Dirs.Place()
		return nil
	})
	return numbers, place, err
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
