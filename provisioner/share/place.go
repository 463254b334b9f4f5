package share

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// PlaceDirectory creates the directory name, with a file in it, in a directory below .claimdir. It
// does so atomically: whoever sees the directory sees the file too. The error is fs.ErrExist, and
// nothing is changed, if a directory of that name exists and is not empty. An empty one is
// replaced. PlaceDirectory prepares the directory under staged, a path below .claimdir with a last
// element that is the caller's own.
func (s *Share) PlaceDirectory(in, name, staged, file string, data []byte) error {
	own := staged
	staging, staged := path.Split(staged)
	staging = strings.TrimSuffix(staging, "/")
	if err := s.inMeta(staging, "make "+staged+" in", func(d *dir) error { return makePrivate(d, staged) }); err != nil {
		return err
	}
	// A held handle would follow the directory to its new name.
	s.drop(own)
	err := s.inMeta(own, "write "+file+" in", func(d *dir) error { return createAnew(d, file, data) })
	if err != nil {
		return err
	}
	err = s.inMeta(in, "place "+name+" in", func(d *dir) error {
		from, err := s.openMeta(staging)
		if err != nil {
			return err
		}
		defer s.done(from)
		return from.rename(staged, d, name)
	})
	if isOccupied(err) {
		return errors.Join(fmt.Errorf("%s in %s: %w", name, path.Join(metaDir, in), fs.ErrExist), s.removeStaged(own, staging, staged, file))
	}
	if err != nil {
		return err
	}
	if s.held != nil { // the view still holds it, now under its final name
		d := s.held.dirs[own]
		delete(s.held.dirs, own)
		s.hold(path.Join(in, name), d)
	}
	return nil
}

// removeStaged removes the directory that PlaceDirectory has prepared and could not place.
func (s *Share) removeStaged(own, staging, staged, file string) error {
	err := s.RemoveFile(own, file)
	s.drop(own)
	return errors.Join(err, s.RemoveEmptyDirectory(staging, staged))
}
