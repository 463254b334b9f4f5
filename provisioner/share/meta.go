package share

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
)

// metaDir holds claimdir's own files. volpath reserves the name.
const metaDir = ".claimdir"

// maxMetaFile bounds what ReadMeta reads; a record is about a kilobyte.
const maxMetaFile = 1 << 20

// MakeMeta makes .claimdir and the given directories in it, readable by the
// owner alone, and clears abandoned temporary files.
func (s *Share) MakeMeta(dirs ...string) error {
	root, err := s.openRoot()
	if err != nil {
		return err
	}
	defer s.closeRoot(root)
	if err := makePrivate(root, metaDir); err != nil {
		return fmt.Errorf("create %s: %w", metaDir, plain(err))
	}
	meta, err := openChild(root, metaDir)
	if err != nil {
		return err
	}
	defer s.closeRoot(meta)
	for _, dir := range dirs {
		if err := makePrivate(meta, dir); err != nil {
			return fmt.Errorf("create %s: %w", path.Join(metaDir, dir), plain(err))
		}
	}
	return clearTemps(meta)
}

// HasMeta reports whether the share has a directory .claimdir.
func (s *Share) HasMeta() (bool, error) {
	root, err := s.openRoot()
	if err != nil {
		return false, err
	}
	defer s.closeRoot(root)
	info, err := root.Lstat(metaDir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("look at %s: %w", metaDir, plain(err))
	case !info.IsDir():
		return false, fmt.Errorf("look at %s: %w", metaDir, ErrNotDirectory)
	}
	return true, nil
}

func makePrivate(root *os.Root, name string) error {
	if err := root.Mkdir(name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// ReadMeta returns the file name below .claimdir; an absent one is
// fs.ErrNotExist.
func (s *Share) ReadMeta(name string) ([]byte, error) {
	meta, err := s.openMeta()
	if err != nil {
		return nil, err
	}
	defer s.closeRoot(meta)
	info, err := meta.Lstat(name)
	if err != nil {
		return nil, fmt.Errorf("read %s/%s: %w", metaDir, name, plain(err))
	}
	if !info.Mode().IsRegular() || info.Size() > maxMetaFile {
		return nil, fmt.Errorf("read %s/%s: not a file of at most %d bytes", metaDir, name, maxMetaFile)
	}
	data, err := meta.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read %s/%s: %w", metaDir, name, plain(err))
	}
	return data, nil
}

// CreateMeta makes the file name below .claimdir with data in it, whole or not
// at all; a name that exists is fs.ErrExist and stays as it is. Of several
// callers, in any process or cluster, one succeeds: link(2) is atomic on the
// server, also in NFSv3, where O_EXCL was not always.
func (s *Share) CreateMeta(name string, data []byte) error {
	return s.writeMeta(name, data, func(meta *os.Root, temp string) error {
		if err := meta.Link(temp, name); err != nil {
			return err
		}
		_ = meta.Remove(temp) // the file is made; what stays is cleared later
		return nil
	})
}

// ReplaceMeta exchanges the content of the file name below .claimdir; a reader
// sees the old or the new, never half.
func (s *Share) ReplaceMeta(name string, data []byte) error {
	return s.writeMeta(name, data, func(meta *os.Root, temp string) error {
		return meta.Rename(temp, name)
	})
}

// RemoveMeta removes the file name below .claimdir; an absent one is no error.
func (s *Share) RemoveMeta(name string) error {
	meta, err := s.openMeta()
	if err != nil {
		return err
	}
	defer s.closeRoot(meta)
	if err := meta.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove %s/%s: %w", metaDir, name, plain(err))
	}
	return nil
}

// RenameMeta gives the file from below .claimdir the name to, and replaces one
// that has it. An absent from is fs.ErrNotExist.
func (s *Share) RenameMeta(from, to string) error {
	meta, err := s.openMeta()
	if err != nil {
		return err
	}
	defer s.closeRoot(meta)
	if err := meta.Rename(from, to); err != nil {
		return fmt.Errorf("rename %s/%s to %s: %w", metaDir, from, to, plain(err))
	}
	return nil
}

// ListMeta returns the names in the directory dir below .claimdir, sorted, but not
// those that an NFS client gives to files which are removed while they are read: if it
// dies then, they stay.
func (s *Share) ListMeta(dir string) ([]string, error) {
	meta, err := s.openMeta()
	if err != nil {
		return nil, err
	}
	defer s.closeRoot(meta)
	opened, err := meta.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("list %s/%s: %w", metaDir, dir, plain(err))
	}
	defer opened.Close()
	names, err := opened.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("list %s/%s: %w", metaDir, dir, plain(err))
	}
	names = slices.DeleteFunc(names, func(name string) bool {
		return strings.HasPrefix(name, ".nfs") && !strings.HasSuffix(name, ".json") // a record may begin so
	})
	slices.Sort(names)
	return names, nil
}

// openMeta opens .claimdir. That it is missing is not the absence of a file in
// it: a share that was recognised once has it.
func (s *Share) openMeta() (*os.Root, error) {
	root, err := s.openRoot()
	if err != nil {
		return nil, err
	}
	defer s.closeRoot(root)
	if s.held != nil && s.held.meta != nil {
		return s.held.meta, nil
	}
	meta, err := openChild(root, metaDir)
	if err != nil {
		return nil, unreachable(err)
	}
	if s.held != nil {
		s.held.meta = meta
	}
	return meta, nil
}

// writeMeta writes data under a temporary name, syncs it, and lets place give
// it its own.
func (s *Share) writeMeta(name string, data []byte, place func(meta *os.Root, temp string) error) error {
	meta, err := s.openMeta()
	if err != nil {
		return err
	}
	defer s.closeRoot(meta)
	dir, temp := newTemp()
	err = writeSynced(meta, temp, data)
	if errors.Is(err, fs.ErrNotExist) {
		if err = makePrivate(meta, dir); err == nil {
			err = writeSynced(meta, temp, data)
		}
	}
	if err == nil {
		err = place(meta, temp)
	}
	if err != nil {
		_ = meta.Remove(temp) // the first error is the one to report
		return fmt.Errorf("write %s/%s: %w", metaDir, name, plain(err))
	}
	return nil
}

func writeSynced(root *os.Root, name string, data []byte) error {
	file, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	if err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}
