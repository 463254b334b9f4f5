package share

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// metaDir is the directory of claimdir's own files. volpath reserves the name.
const metaDir = ".claimdir"

// newSuffix ends the name under which a file is written before it gets its final name.
const newSuffix = ".new"

// maxMetaFile bounds what ReadFile reads; a record is about a kilobyte.
const maxMetaFile = 1 << 20

// MakeMeta creates .claimdir and the given directories in it, accessible to the owner alone.
func (s *Share) MakeMeta(dirs ...string) error {
	root, err := s.openRoot()
	if err != nil {
		return err
	}
	defer s.done(root)
	if err := makePrivate(root, metaDir); err != nil {
		return fmt.Errorf("create %s: %w", metaDir, plain(err))
	}
	meta, err := root.open(metaDir, asPlace)
	if err != nil {
		return err
	}
	defer meta.close()
	for _, name := range dirs {
		if err := makePrivate(meta, name); err != nil {
			return fmt.Errorf("create %s: %w", path.Join(metaDir, name), plain(err))
		}
	}
	return nil
}

func makePrivate(parent *dir, name string) error {
	if err := parent.mkdir(name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// HasMeta reports whether the share has a directory .claimdir.
func (s *Share) HasMeta() (bool, error) {
	root, err := s.openRoot()
	if err != nil {
		return false, err
	}
	defer s.done(root)
	switch _, err := root.isDirectory(metaDir); {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("look at %s: %w", metaDir, plain(err))
	}
	return true, nil
}

// openMeta opens a directory below .claimdir; "" is .claimdir itself. A missing .claimdir is an
// error of the share, not fs.ErrNotExist, because a recognised share has it. openMeta opens the
// shared directory (see Shared) with toRead, so that an NFS client looks up the names in it anew,
// and all others with asPlace.
func (s *Share) openMeta(name string) (*dir, error) {
	root, err := s.openRoot()
	if err != nil {
		return nil, err
	}
	defer s.done(root)
	if s.held != nil && s.held.dirs[name] != nil {
		return s.held.dirs[name], nil
	}
	if name == "" {
		meta, err := root.open(metaDir, asPlace)
		if err != nil {
			return nil, unreachable(err)
		}
		s.hold("", meta)
		return meta, nil
	}
	above, base := path.Split(name)
	parent, err := s.openMeta(strings.TrimSuffix(above, "/"))
	if err != nil {
		return nil, err
	}
	defer s.done(parent)
	how := asPlace
	if s.isShared(name) {
		how = toRead
	}
	found, err := parent.open(base, how)
	if err != nil {
		return nil, err
	}
	s.hold(name, found)
	return found, nil
}

// Shared names the directory below .claimdir in which several processes create the same names; see
// openMeta. Package ledger sets it once.
func (s *Share) Shared(name string) {
	s.mark.mu.Lock()
	defer s.mark.mu.Unlock()
	s.mark.shared = name
}

func (s *Share) isShared(name string) bool {
	s.mark.mu.Lock()
	defer s.mark.mu.Unlock()
	return s.mark.shared == name
}

// inMeta calls do with a directory below .claimdir. Its error names the step and the directory.
func (s *Share) inMeta(name, step string, do func(d *dir) error) error {
	d, err := s.openMeta(name)
	if err == nil {
		defer s.done(d)
		err = do(d)
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", step, path.Join(metaDir, name), plain(err))
	}
	return nil
}

// ReadFile returns the content of a file in a directory below .claimdir. The error is
// fs.ErrNotExist if it is absent.
func (s *Share) ReadFile(in, name string) (data []byte, err error) {
	return s.ReadLargeFile(in, name, maxMetaFile)
}

// ReadLargeFile is ReadFile for a file of up to limit bytes; ReadFile takes one of a mebibyte.
func (s *Share) ReadLargeFile(in, name string, limit int64) (data []byte, err error) {
	err = s.inMeta(in, "read "+name+" in", func(d *dir) (err error) {
		data, err = d.readFile(name, limit)
		return err
	})
	return data, err
}

// WriteFile creates a file in a directory below .claimdir, or replaces its content. A reader sees
// the old or the new content, never a part.
func (s *Share) WriteFile(in, name string, data []byte) error {
	return s.inMeta(in, "write "+name+" in", func(d *dir) error {
		if err := createAnew(d, name+newSuffix, data); err != nil {
			return err
		}
		return d.rename(name+newSuffix, d, name)
	})
}

// ExchangeFile is WriteFile for a file that must exist; the error is fs.ErrNotExist if it does not.
// It writes the new content before it checks that, so that a HandOverFile of another process finds
// and removes the new content.
func (s *Share) ExchangeFile(in, name string, data []byte) error {
	return s.inMeta(in, "write "+name+" in", func(d *dir) error {
		if err := createAnew(d, name+newSuffix, data); err != nil {
			return err
		}
		if _, err := d.look(name); err != nil {
			return errors.Join(err, ignoreAbsent(d.unlink(name+newSuffix)))
		}
		return d.rename(name+newSuffix, d, name)
	})
}

// createAnew is createFile, but first removes a file that our own earlier call has left at name.
func createAnew(d *dir, name string, data []byte) error {
	err := d.createFile(name, data)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := ignoreAbsent(d.unlink(name)); err != nil {
		return err
	}
	return d.createFile(name, data)
}

// CreateFile creates a file in .claimdir itself, completely or not at all. The error is fs.ErrExist
// if the name exists. Of several callers, on any client, only one succeeds, because link(2) is
// atomic on the server.
func (s *Share) CreateFile(name, temporary string, data []byte) error {
	return s.inMeta("", "create "+name+" in", func(d *dir) error {
		if err := createAnew(d, temporary, data); err != nil {
			return err
		}
		err := d.change("link "+name, func() error { return unix.Linkat(d.fd(), temporary, d.fd(), name, 0) })
		return errors.Join(err, d.unlink(temporary))
	})
}

// RemoveFile removes a file. It is no error if the file or its directory is absent.
func (s *Share) RemoveFile(in, name string) error {
	return ignoreAbsent(s.inMeta(in, "remove "+name+" in", func(d *dir) error { return d.unlink(name) }))
}

// RenameFile renames a file from one directory below .claimdir to another, replacing a file there.
// The error is fs.ErrNotExist if from is absent.
func (s *Share) RenameFile(in, from, target, to string) error {
	return s.inMeta(in, "rename "+from+" in", func(d *dir) error {
		t, err := s.openMeta(target)
		if err != nil {
			return err
		}
		defer s.done(t)
		return d.rename(from, t, to)
	})
}

// RemoveEmptyDirectory removes the directory name in a directory below .claimdir. It is no error if
// it is absent, or not empty, because somebody uses it again.
func (s *Share) RemoveEmptyDirectory(in, name string) error {
	s.drop(path.Join(in, name))
	err := s.inMeta(in, "remove "+name+" in", func(d *dir) error { return d.rmdir(name) })
	if isOccupied(err) {
		return nil
	}
	return ignoreAbsent(err)
}

// ListMeta returns the sorted names in a directory below .claimdir. It leaves out the .nfs files
// into which an NFS client turns files that are removed while open; they stay if the client dies.
func (s *Share) ListMeta(in string) (names []string, err error) {
	err = s.inMeta(in, "list", func(d *dir) error {
		entries, err := d.entries()
		for _, e := range entries {
			if !isLeftOpen(e) {
				names = append(names, e.name)
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	return names, nil
}

// MetaChanged returns when what has a name in a directory below .claimdir was last changed, by the server's clock.
// It cannot be set from outside, unlike the time of a file's content. The error is fs.ErrNotExist if it is absent.
func (s *Share) MetaChanged(in, name string) (at time.Time, err error) {
	err = s.inMeta(in, "look at "+name+" in", func(d *dir) error {
		stat, err := d.look(name)
		at = time.Unix(stat.Ctim.Unix())
		return err
	})
	return at, err
}

// isLeftOpen reports whether e is such a .nfs file. Our own directories and records of layout 1 may
// also begin with .nfs.
func isLeftOpen(e dirent) bool {
	return e.kind != unix.DT_DIR && strings.HasPrefix(e.name, ".nfs") && !strings.HasSuffix(e.name, ".json")
}
