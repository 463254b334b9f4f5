package share

import (
	"errors"
	"fmt"
	"io/fs"
	"path"

	"claimdir/provisioner/volpath"
)

// SnapshotsDir is the directory below .claimdir for snapshots, each in a directory of its own:
//
//	<own>/record.json    see ledger.Snapshot
//	<own>/volume         the tree, once it is whole
const SnapshotsDir = volpath.SnapshotsDir

// MakeSnapshot makes the directory of a snapshot. It is no error if it exists.
func (s *Share) MakeSnapshot(own string) error {
	if err := s.MakeMeta(SnapshotsDir); err != nil {
		return err
	}
	return s.inMeta(SnapshotsDir, "make "+own+" in", func(d *dir) error { return makePrivate(d, own) })
}

// KeepCopy moves the tree that Copy has made in a staging directory, whose identity must match id, into the directory of the
// snapshot own, and removes the staging directory. The error is fs.ErrNotExist if there is no tree, fs.ErrExist if the snapshot has
// one, and ErrChanged if another directory arrived, which goes back.
func (s *Share) KeepCopy(staging, own string, id *Identity) error {
	from, to := inDirectory(path.Join(CopiesDir, staging), copyTree), aside(SnapshotsDir, own)
	if err := s.moveOnce(from, to); err != nil {
		return fmt.Errorf("keep the copy %s as snapshot %s: %w", staging, own, plain(err))
	}
	arrived, err := s.asideOnce(SnapshotsDir, own)
	if err == nil && id.Match(arrived) == Different {
		err = errors.Join(ErrChanged, s.moveBack(to, from))
	}
	if err != nil {
		return fmt.Errorf("keep the copy %s as snapshot %s: %w", staging, own, plain(err))
	}
	return s.RemoveEmptyDirectory(CopiesDir, staging)
}

// Snapshot returns the identity of the tree of a snapshot, as the server has it. The error is fs.ErrNotExist if it has none.
func (s *Share) Snapshot(own string) (*Identity, error) { return s.asideOnce(SnapshotsDir, own) }

// SnapshotOrCopy is Snapshot, but where the tree is a whole copy that is moved there in a moment, it is that copy.
func (s *Share) SnapshotOrCopy(own string) (*Identity, error) {
	tree, err := s.Snapshot(own)
	if errors.Is(err, fs.ErrNotExist) {
		return s.Copied(own)
	}
	return tree, err
}

// DiscardSnapshot moves the tree of a snapshot, whose identity must match id, into the trash as trash. The error is fs.ErrNotExist
// if there is none, fs.ErrExist if the trash has something of that name, and ErrChanged if another directory arrived, which goes back.
func (s *Share) DiscardSnapshot(own, trash string, id *Identity) error {
	err := s.discardSnapshot(own, trash, id)
	if err != nil {
		return fmt.Errorf("move snapshot %s into the trash as %s: %w", own, trash, plain(err))
	}
	return nil
}

func (s *Share) discardSnapshot(own, trash string, id *Identity) error {
	from, to := aside(SnapshotsDir, own), aside(TrashDir, trash)
	if err := s.makeOwn(TrashDir, trash); err != nil {
		return err
	}
	if err := s.moveOnce(from, to); err != nil {
		return errors.Join(err, s.RemoveEmptyDirectory(TrashDir, trash))
	}
	arrived, err := s.asideOnce(TrashDir, trash)
	switch {
	case errors.Is(err, fs.ErrNotExist): // another process has moved it on
		return ErrChanged
	case err != nil:
		return fmt.Errorf("look at the directory that arrived: %w", err)
	case id.Match(arrived) != Different:
		return nil
	}
	if err := s.moveBack(to, from); err != nil {
		return fmt.Errorf("%w, and moving it back failed: %w", ErrChanged, err)
	}
	return errors.Join(ErrChanged, s.RemoveEmptyDirectory(TrashDir, trash))
}

// HasCopy reports whether there is anything of a copy in a staging directory.
func (s *Share) HasCopy(staging string) (bool, error) {
	names, err := s.ListMeta(path.Join(CopiesDir, staging))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return len(names) > 0, err
}
