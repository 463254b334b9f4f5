package share

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"time"
)

// tempPrefix begins the directories below metaDir where files are written before
// they get their name. What a kill leaves there is removed by the next MakeMeta,
// or by ClearTemp. There are several, each made when it is needed first, because
// clients and servers change a directory one call at a time: with one, all workers
// would wait for each other there.
const tempPrefix = "tmp-"

// tempDirs is how many there are.
const tempDirs = 16

// staleTemp is the age after which a temporary file is nobody's any more; no
// write takes nearly as long.
const staleTemp = time.Hour

// newTemp is a name for a temporary file, in one of the directories for them.
func newTemp() (dir, name string) {
	text := rand.Text()
	dir = tempPrefix + strconv.FormatInt(int64(int(text[0])%tempDirs), tempDirs)
	return dir, path.Join(dir, text)
}

// ClearTemp removes the temporary files that a kill left. Those of the last hour
// stay: somebody may be writing them.
func (s *Share) ClearTemp() error {
	meta, err := s.openMeta()
	if err != nil {
		return err
	}
	defer s.closeRoot(meta)
	return clearTemps(meta)
}

func clearTemps(meta *os.Root) error {
	entries, err := fs.ReadDir(meta.FS(), ".")
	if err != nil {
		return fmt.Errorf("look into %s: %w", metaDir, plain(err))
	}
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), tempPrefix) || !entry.IsDir() {
			continue
		}
		if err := clearTemp(meta, entry.Name()); err != nil {
			return fmt.Errorf("clear temporary files: %w", err)
		}
	}
	return nil
}

func clearTemp(meta *os.Root, dir string) error {
	entries, err := fs.ReadDir(meta.FS(), dir)
	if err != nil {
		return plain(err)
	}
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil || time.Since(info.ModTime()) < staleTemp {
			continue // gone meanwhile, or another replica is writing it
		}
		if err := meta.Remove(path.Join(dir, entry.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return plain(err)
		}
	}
	return nil
}

// RemoveMetaIf removes the file name below .claimdir if is says that it is the one
// that is meant, whatever others write there meanwhile: it is moved aside in one
// call, and then looked at. Another one gets its name back, unless a newer one has
// it by then. It reports false for another one; an absent file counts as removed.
//
// A kill in between leaves another one among the temporary files: whoever calls
// this knows that hardly anybody writes there.
func (s *Share) RemoveMetaIf(name string, is func(data []byte) bool) (removed bool, err error) {
	meta, err := s.openMeta()
	if err != nil {
		return false, err
	}
	defer s.closeRoot(meta)
	info, err := meta.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return true, nil // and no directory is made for nothing
	case err == nil && !info.Mode().IsRegular():
		err = errors.New("not a file")
		fallthrough
	case err != nil:
		return false, fmt.Errorf("remove %s: %w", name, plain(err))
	}
	dir, temp := newTemp()
	if err := makePrivate(meta, dir); err != nil {
		return false, fmt.Errorf("create %s: %w", path.Join(metaDir, dir), plain(err))
	}
	if err := meta.Rename(name, temp); errors.Is(err, fs.ErrNotExist) {
		return true, nil
	} else if err != nil {
		return false, fmt.Errorf("move %s aside: %w", name, plain(err))
	}
	data, err := meta.ReadFile(temp)
	if err == nil && is(data) {
		err, removed = meta.Remove(temp), true
	} else if back := putBack(meta, temp, name); back != nil {
		err = errors.Join(err, back)
	}
	if err != nil {
		return removed, fmt.Errorf("remove %s: %w", name, plain(err))
	}
	return removed, nil
}

// putBack gives a file that was moved aside its name again, unless that is taken.
func putBack(meta *os.Root, temp, name string) error {
	if err := meta.Link(temp, name); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("put %s back, which is %s now: %w", name, path.Join(metaDir, temp), plain(err))
	}
	_ = meta.Remove(temp) // it has its name; what stays is cleared later
	return nil
}
