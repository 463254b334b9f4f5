package steps

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"k8s.io/klog/v2"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
)

// identify returns which directory is at the path, or nil if none is. known is the one on
// record, if there is one.
func (op Op) identify(known *share.Identity) (*share.Identity, error) {
	return op.Store.Dirs.Look(op.Path, known)
}

// identifyOwn is identify for the owner of r. As long as its record is there, no other
// volume gets the path: so it is read after the look, and what was seen is r's. One that
// is gone is ledger.ErrLost. A path that never comes again needs no such proof.
func (op Op) identifyOwn(r ledger.Record) (*share.Identity, error) {
	id, err := op.identify(r.Directory)
	if err != nil || id == nil || !op.comesAgain(r) {
		return id, err
	}
	return id, op.Store.Records.Ours(op.Path, r)
}

// comesAgain reports whether another volume may get the path. One with the volume's own
// name in it comes again only for a claim that asks for that very name.
func (op Op) comesAgain(r ledger.Record) bool { return !strings.Contains(op.Path.String(), r.PV) }

// locate returns which directory the volume of r has at its path, or where else it is, or
// neither: that a directory is absent is believed only when it is nowhere else.
func (op Op) locate(r ledger.Record) (id *share.Identity, elsewhere *place, err error) {
	id, err = op.identifyOwn(r)
	if err != nil || id != nil || r.Directory == nil {
		return id, nil, err
	}
	elsewhere, err = op.findOwn(r)
	return nil, elsewhere, err
}

// directory returns which directory the volume of r has at its path, or nil if it has
// none. One that a call that came late moved away is brought back.
func (op Op) directory(ctx context.Context, r ledger.Record) (*share.Identity, error) {
	id, elsewhere, err := op.locate(r)
	if err != nil || elsewhere == nil {
		return id, err
	}
	return op.putBack(ctx, r, elsewhere)
}

// putBack brings a directory back to the path.
func (op Op) putBack(ctx context.Context, r ledger.Record, from *place) (*share.Identity, error) {
	// An empty directory that is marked as ours is what a late mkdir left.
	if _, err := op.Store.Dirs.RemoveMarked(op.Path); err != nil {
		return nil, err
	}
	if err := op.Store.Dirs.WithParents(op.Path, func() error { return from.bringTo(op.Store.Dirs, op.Path) }); err != nil {
		return nil, fmt.Errorf("put the directory of volume %s back: %w", r.PV, err)
	}
	text := fmt.Sprintf("the directory of volume %s was at %s, moved there by a call that came late, and is back at %q", r.PV, from, op.Path)
	klog.FromContext(ctx).Info("Put directory back", "path", op.Path, "PV", r.PV, "from", from.String())
	op.config.Report(ctx, r, EventPutBack, text)
	return op.identify(r.Directory)
}

// place is where a directory is that is not at its path: set aside, or at the path of an
// archive.
type place struct {
	in, own string
	archive volpath.Path
	id      *share.Identity
}

func (p *place) String() string {
	if p.in != "" {
		return ".claimdir/" + p.in + "/" + p.own
	}
	return p.archive.String()
}

func (p *place) bringTo(dirs *share.Share, path volpath.Path) error {
	if p.in != "" {
		return dirs.BringBack(p.in, p.own, path)
	}
	return dirs.Rename(p.archive, path, p.id)
}

// findOwn is find for the owner of r. A directory that a volume has by now, or that had at least as
// many owners by another record, is not that of an archive or a retained one: its record stays only
// if a call that came late wrote it.
func (op Op) findOwn(r ledger.Record) (*place, error) {
	found, err := op.find(r.Directory)
	if err != nil || found == nil {
		return nil, err
	}
	if r.Directory.Handle == "" || found.id.Handle == "" { // numbers are given out again
		if others, err := op.isOthers(found, r); err != nil || others {
			return nil, err
		}
	}
	if r.State == ledger.Active {
		return found, nil
	}
	_, later, err := op.Store.Records.Find(func(other ledger.Record) bool {
		return isAnothers(other, r, r.Directory) && (other.State == ledger.Active || other.Owners >= r.Owners)
	})
	if err != nil || later {
		return nil, err
	}
	return found, nil
}

// isAnothers reports whether a record is of another volume than r and names the directory.
func isAnothers(other, r ledger.Record, id *share.Identity) bool {
	return (other.PV != r.PV || other.Cluster != r.Cluster) && other.Directory.Match(id) == share.Same
}

// isOthers reports whether a directory that was found by its number alone is that of
// another volume: the record beside it, or another record, says so.
func (op Op) isOthers(found *place, r ledger.Record) (bool, error) {
	if found.in == share.TrashDir {
		other, recorded, err := op.Store.Records.Discarded(found.own)
		return recorded && isAnothers(other, r, found.id), err
	}
	_, others, err := op.Store.Records.Find(func(other ledger.Record) bool { return isAnothers(other, r, found.id) })
	if errors.Is(err, ledger.ErrDamaged) {
		return false, nil
	}
	return others, err
}

// find looks for a directory among those that are set aside and among the archives. It
// returns nil if it is not there. That is rare, so it may take a while.
func (op Op) find(id *share.Identity) (*place, error) {
	for _, in := range []string{share.TrashDir, share.MovingDir} {
		found, err := findAside(op.Store.Dirs, in, id)
		if err != nil || found != nil {
			return found, err
		}
	}
	entries, err := op.Store.Dirs.List(volpath.Path{})
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if !e.Dir || e.Number != id.Number || !volpath.NamedAsArchive(e.Name) {
			continue
		}
		path, err := volpath.ParseRecorded(e.Name)
		if err != nil {
			continue
		}
		there, err := op.Store.Dirs.Identify(path)
		if err != nil {
			return nil, err
		}
		if id.Match(there) == share.Same {
			return &place{archive: path, id: there}, nil
		}
	}
	return nil, nil
}

func findAside(dirs *share.Share, in string, id *share.Identity) (*place, error) {
	entries, err := dirs.ListAside(in)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if !e.Dir || in == share.TrashDir && share.IsFirstTrash(e.Name) {
			continue
		}
		there, err := dirs.Aside(in, e.Name)
		dirs.Drop(in + "/" + e.Name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if id.Match(there) == share.Same {
			return &place{in: in, own: e.Name, id: there}, nil
		}
	}
	return nil, nil
}

// aside returns which directory an earlier call of this volume's has set aside, or nil.
func (op Op) aside(own string) (*share.Identity, error) {
	id, err := op.Store.Dirs.Aside(share.MovingDir, own)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return id, err
}

// tidyParents removes the empty parents of a path that are marked as ours, nearest
// first, up to the first that is not. The volume may go even if that fails; the sweep
// finds what is left.
func (op Op) tidyParents(ctx context.Context) {
	for _, parent := range op.Path.Ancestors() {
		gone, err := op.removeParent(parent)
		if err != nil {
			klog.FromContext(ctx).Error(err, "Cannot remove the empty parent of the volume, the sweep retries it", "path", parent)
		}
		if err != nil || !gone {
			return
		}
	}
}

// removeParent removes an empty parent, unless an operation of this process is on its path:
// a claim may be getting it.
func (op Op) removeParent(parent volpath.Path) (gone bool, err error) {
	key := lockKey{op.id, parent}
	unlock, free := op.locks.tidy(key)
	defer unlock()
	if !free {
		return false, nil
	}
	return op.Store.Dirs.RemoveMarked(parent)
}
