package share

import (
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// HandOverFile gives a file of a directory below .claimdir another name, its next owner's,
// and then the content data. Of many who try, one gets it; for the others from is
// fs.ErrNotExist. The content is written before, so that a kill in between leaves the file
// with its next owner's name, and what it is to hold beside it: see Handed. What the owner
// before may be about to put in its place is removed last, so that a write of his that
// comes late finds nothing: see ExchangeFile.
func (s *Share) HandOverFile(in, from, to string, data []byte) error {
	return s.inMeta(in, "hand over "+from+" in", func(d *dir) error {
		if err := createAnew(d, to+newSuffix, data); err != nil {
			return err
		}
		err := d.rename(from, d, to)
		if err == nil {
			err = d.rename(to+newSuffix, d, to)
			if err != nil || from == to { // which a volume takes up again itself
				return err
			}
			return errors.Join(ignoreAbsent(d.unlink(from+newSuffix)), ignoreAbsent(d.unlink(from)))
		}
		// Another process may have got it for the same owner, and need what we wrote.
		if _, lookErr := d.look(to); errors.Is(lookErr, fs.ErrNotExist) {
			err = errors.Join(err, ignoreAbsent(d.unlink(to+newSuffix)))
		}
		return err
	})
}

// Handed is the name of what a file is to hold that HandOverFile was cut off at.
func Handed(name string) string { return name + newSuffix }

// Unsettled reports whether the file name, which was not seen in a directory below
// .claimdir, may be there after all, or be about to appear: somebody is writing it, or an
// NFS client has moved it out of the way, because it has it open, and is about to put the
// next one in its place.
func (s *Share) Unsettled(in, name string) (unsettled bool, err error) {
	err = s.inMeta(in, "list", func(d *dir) error {
		entries, err := d.entries()
		for _, e := range entries {
			if e.name == name || e.name == name+newSuffix || isLeftOpen(e) {
				unsettled = true
			}
		}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return unsettled, err
}

// RemoveEmptied removes the directory name in one below .claimdir, after the last file in it
// was removed: what a kill left of a write goes too. One that is absent, or has anything
// else in it, is no error: it is somebody's again.
func (s *Share) RemoveEmptied(in, name string) error {
	s.drop(path.Join(in, name))
	return s.inMeta(in, "remove "+name+" in", func(d *dir) error {
		err := d.rmdir(name)
		if isOccupied(err) {
			if err = removeUnfinished(d, name); err == nil {
				err = d.rmdir(name)
			}
		}
		if isOccupied(err) {
			return nil
		}
		return ignoreAbsent(err)
	})
}

// removeUnfinished removes what kills left of writes in the directory name, if there is
// nothing else in it.
func removeUnfinished(d *dir, name string) error {
	inside, err := d.open(name, toRead)
	if err != nil {
		return err
	}
	defer inside.close()
	names, err := inside.names()
	if err != nil || slices.ContainsFunc(names, func(name string) bool { return !strings.HasSuffix(name, newSuffix) }) {
		return err
	}
	for _, name := range names {
		if err := ignoreAbsent(inside.unlink(name)); err != nil {
			return err
		}
	}
	return nil
}

func isOccupied(err error) bool { return errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, fs.ErrExist) }
