package share

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// staleAge is the age from which a staged directory or a temporary file is nobody's any
// more: no write takes nearly as long.
const staleAge = time.Hour

// RemoveStale removes what a kill left in a directory below .claimdir: whatever is older
// than an hour there, by the server's own clock: files, and directories with nothing but
// files in them. probe is a name of the caller's own; the file that is written under it
// tells the server's time. It is removed again.
func (s *Share) RemoveStale(in, probe string) error {
	return s.removeStale(in, probe, func(string) bool { return false })
}

// RemoveStaleBut is RemoveStale, but leaves files whose names end with a suffix.
func (s *Share) RemoveStaleBut(suffix, in, probe string) error {
	return s.removeStale(in, probe, func(name string) bool { return strings.HasSuffix(name, suffix) })
}

func (s *Share) removeStale(in, probe string, stays func(name string) bool) error {
	return s.inMeta(in, "clear", func(d *dir) error {
		entries, err := d.entries()
		if err != nil || len(entries) == 0 {
			return err
		}
		if err := createAnew(d, probe, nil); err != nil {
			return err
		}
		now, err := d.look(probe)
		err = errors.Join(err, d.unlink(probe))
		if err != nil {
			return err
		}
		for _, e := range entries {
			if stays(e.name) {
				continue
			}
			if err := removeStale(d, e, now.Mtim); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("%s: %w", e.name, err)
			}
		}
		return nil
	})
}

func removeStale(d *dir, e dirent, now unix.Timespec) error {
	stat, err := d.look(e.name)
	if err != nil || time.Duration(now.Nano()-max(stat.Mtim.Nano(), stat.Ctim.Nano())) < staleAge {
		return err
	}
	if e.kind != unix.DT_DIR {
		return d.unlink(e.name)
	}
	inside, err := d.open(e.name, asPlace)
	if err != nil {
		return err
	}
	defer inside.close()
	names, err := inside.names()
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := inside.unlink(name); err != nil && !errors.Is(err, unix.EISDIR) && !errors.Is(err, unix.EPERM) {
			return err
		}
	}
	if err := d.rmdir(e.name); err != nil && !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}
