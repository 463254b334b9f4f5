package share

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// staleAge is the age from which a staged directory or a temporary file counts as left over. No
// write takes nearly as long.
const staleAge = time.Hour

// RemoveStale removes the leftovers of killed processes in a directory below .claimdir: files, and
// directories that hold only files, that are older than an hour by the server's clock. It reads
// that clock from a file that it creates under probe, a name of the caller's own, and removes
// again.
func (s *Share) RemoveStale(in, probe string) error {
	return s.removeStale(in, probe, func(string) bool { return false })
}

// RemoveStaleBut is RemoveStale, but keeps entries whose names end with suffix.
func (s *Share) RemoveStaleBut(suffix, in, probe string) error {
	return s.removeStale(in, probe, func(name string) bool { return strings.HasSuffix(name, suffix) })
}

func (s *Share) removeStale(in, probe string, stays func(name string) bool) error {
	return s.inMeta(in, "clear", func(d *dir) error {
		entries, err := d.entries()
		if err != nil || len(entries) == 0 {
			return err
		}
		now, err := timeNow(d, probe)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if stays(e.name) {
				continue
			}
			if err := removeStale(d, e, now); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("%s: %w", e.name, err)
			}
		}
		return nil
	})
}

// ServerTime returns the time by the server's clock. It reads that from a file that it creates in a
// directory below .claimdir, under probe, a name of the caller's own, and removes again.
func (s *Share) ServerTime(in, probe string) (now time.Time, err error) {
	err = s.inMeta(in, "read the server's time in", func(d *dir) error {
		written, err := timeNow(d, probe)
		now = time.Unix(written.Unix())
		return err
	})
	return now, err
}

// timeNow returns the server's time.
func timeNow(d *dir, probe string) (unix.Timespec, error) {
	if err := createAnew(d, probe, nil); err != nil {
		return unix.Timespec{}, err
	}
	now, err := d.look(probe)
	return now.Mtim, errors.Join(err, d.unlink(probe))
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
	if err := d.rmdir(e.name); !isOccupied(err) {
		return err
	}
	return nil
}
