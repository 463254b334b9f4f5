package share

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// dir is an open directory of the share. All names given to its methods are
// single elements and are resolved in that very directory, so nothing that is
// swapped in above it matters; no symbolic link is ever followed. Its errors are
// bare numbers of the operating system.
type dir struct {
	file *os.File
	on   *Share
}

// run makes one call to the file system, unless the operation may make no more.
func (d *dir) run(name string, call func() error) error { return d.on.run(name, call) }

// How a directory is opened. A place can be passed through and changed, but not
// listed, and costs the server no call of its own. Opening one to read asks an
// NFS server whether it has changed, so that names are looked up anew in it.
const (
	asPlace = unix.O_PATH
	toRead  = unix.O_RDONLY
)

// openMount opens the directory where the share is mounted. Links above it are the
// administrator's and are followed.
func openMount(s *Share) (opened *dir, err error) {
	err = s.run("open the share", func() error {
		fd, err := retryInterrupted(func() (int, error) {
			return unix.Open(s.dir, toRead|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		})
		if err == nil {
			opened = &dir{os.NewFile(uintptr(fd), s.dir), s}
		}
		return err
	})
	return opened, err
}

func (d *dir) fd() int { return int(d.file.Fd()) }

func (d *dir) close() { _ = d.file.Close() } // only passed through or read: there is nothing to report

// open opens the directory name. Anything else at name is an ErrNotDirectory; a
// pipe is not waited for, because the kernel looks at the kind first.
func (d *dir) open(name string, how int) (*dir, error) {
	var file *os.File
	err := d.run("open "+name, func() (err error) {
		file, err = openNoFollow(d.fd(), name, how)
		return err
	})
	if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return nil, fmt.Errorf("open %s: %w", name, ErrNotDirectory)
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	return &dir{file, d.on}, nil
}

func (d *dir) look(name string) (stat unix.Stat_t, err error) {
	err = d.run("look at "+name, func() error {
		_, err := retryInterrupted(func() (int, error) {
			return 0, unix.Fstatat(d.fd(), name, &stat, unix.AT_SYMLINK_NOFOLLOW)
		})
		return err
	})
	return stat, err
}

// self looks at the directory itself, which needs no right to it.
func (d *dir) self() (stat unix.Stat_t, err error) {
	err = d.run("look at .", func() error {
		_, err := retryInterrupted(func() (int, error) { return 0, unix.Fstat(d.fd(), &stat) })
		return err
	})
	return stat, err
}

// canBeRead is false for what was opened as a place.
func (d *dir) canBeRead() bool {
	flags, err := unix.FcntlInt(d.file.Fd(), unix.F_GETFL, 0)
	return err == nil && flags&unix.O_PATH == 0
}

// isDirectory fails with ErrNotDirectory for anything else at name.
func (d *dir) isDirectory(name string) (unix.Stat_t, error) {
	stat, err := d.look(name)
	if err == nil && stat.Mode&unix.S_IFMT != unix.S_IFDIR {
		err = ErrNotDirectory
	}
	return stat, err
}

func (d *dir) mkdir(name string, mode uint32) error {
	return d.change("make "+name, func() error { return unix.Mkdirat(d.fd(), name, mode) })
}

func (d *dir) unlink(name string) error {
	return d.change("unlink "+name, func() error { return unix.Unlinkat(d.fd(), name, 0) })
}

func (d *dir) rmdir(name string) error {
	return d.change("rmdir "+name, func() error { return unix.Unlinkat(d.fd(), name, unix.AT_REMOVEDIR) })
}

// rename replaces a file at to, or an empty directory if from is one.
func (d *dir) rename(from string, target *dir, to string) error {
	return d.change("rename "+from, func() error { return unix.Renameat(d.fd(), from, target.fd(), to) })
}

// change is run for one system call that changes something.
func (d *dir) change(name string, call func() error) error {
	return d.run(name, func() error {
		_, err := retryInterrupted(func() (int, error) { return 0, call() })
		return err
	})
}

// entries reads the directory to its end, also if it was opened as a place. The kinds
// are all known.
func (d *dir) entries() (entries []dirent, err error) {
	listing, err := d.listing()
	if err != nil {
		return nil, err
	}
	defer listing.Close()
	buffer := new(direntBuffer)
	for n := 1; n > 0; {
		if entries, n, err = readDirents(int(listing.Fd()), buffer, entries); err != nil {
			return nil, err
		}
	}
	for i := range entries {
		if entries[i].kind != unix.DT_UNKNOWN {
			continue
		}
		stat, err := d.look(entries[i].name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		entries[i].kind = byte(stat.Mode & unix.S_IFMT >> 12) // DT_ and S_IF have the same numbers
	}
	return entries, nil
}

func (d *dir) names() ([]string, error) {
	entries, err := d.entries()
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.name
	}
	return names, err
}

// listing opens the directory a second time, at its beginning.
func (d *dir) listing() (*os.File, error) {
	opened, err := d.open(".", toRead)
	if err != nil {
		return nil, err
	}
	return opened.file, nil
}

// readFile returns the content of the regular file name, which may have at most
// limit bytes.
func (d *dir) readFile(name string, limit int64) (data []byte, err error) {
	err = d.run("read "+name, func() (err error) {
		data, err = readRegular(d.fd(), name, limit)
		return err
	})
	return data, err
}

func readRegular(in int, name string, limit int64) ([]byte, error) {
	fd, err := retryInterrupted(func() (int, error) {
		return unix.Openat(in, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	})
	if errors.Is(err, unix.ELOOP) {
		return nil, fmt.Errorf("not a file of at most %d bytes", limit)
	}
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(fd), name)
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > limit {
		return nil, fmt.Errorf("not a file of at most %d bytes", limit)
	}
	data := make([]byte, info.Size())
	n, err := readFull(file, data)
	return data[:n], err
}

// readFull reads until data is full or the file ends.
func readFull(file *os.File, data []byte) (n int, err error) {
	for n < len(data) {
		more, err := file.Read(data[n:])
		n += more
		if err != nil || more == 0 {
			return n, ignoreEOF(err)
		}
	}
	return n, nil
}

// createFile makes the file name, whole and on the server's disk.
func (d *dir) createFile(name string, data []byte) error {
	var file *os.File
	err := d.run("create "+name, func() error {
		fd, err := retryInterrupted(func() (int, error) {
			return unix.Openat(d.fd(), name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
		})
		if err == nil {
			file = os.NewFile(uintptr(fd), name)
		}
		return err
	})
	if err != nil {
		return err
	}
	err = d.run("write "+name, func() error {
		_, err := file.Write(data)
		if err == nil {
			err = file.Sync()
		}
		return err
	})
	return errors.Join(err, file.Close())
}
