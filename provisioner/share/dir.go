package share

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// dir is an open directory of the share. Its methods take single path elements and resolve them in
// this very directory, so exchanging a directory above it has no effect. They follow no symbolic
// link. Their errors are those of the operating system, not wrapped.
type dir struct {
	file *os.File
	on   *Share
}

// run makes one call to the file system, unless the operation may not make any more calls.
func (d *dir) run(name string, call func() error) error { return d.on.run(name, call) }

// How a directory is opened. With asPlace its entries can be opened and changed, but not listed,
// and the server sees no call. With toRead an NFS client asks the server whether the directory has
// changed, so that it looks up names anew.
const (
	asPlace = unix.O_PATH
	toRead  = unix.O_RDONLY
)

// openMount opens the mount directory. It follows links in that path, because they are the
// administrator's.
func openMount(s *Share) (*dir, error) {
	file, err := s.opens("open the share", func() (*os.File, error) {
		fd, err := retryInterrupted(func() (int, error) {
			return unix.Open(s.dir, toRead|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		})
		if err != nil {
			return nil, err
		}
		return os.NewFile(uintptr(fd), s.dir), nil
	})
	if err != nil {
		return nil, err
	}
	return &dir{file, s}, nil
}

// opens is run for a call that opens a file. If a Call reports an error although the file was
// opened, as tests do, it is closed again.
func (s *Share) opens(name string, open func() (*os.File, error)) (file *os.File, err error) {
	err = s.run(name, func() (err error) {
		file, err = open()
		return err
	})
	if err != nil && file != nil {
		_ = file.Close()
		file = nil
	}
	return file, err
}

func (d *dir) fd() int { return int(d.file.Fd()) }

func (d *dir) close() { _ = d.file.Close() } // the handle was only read, so close loses nothing

// open opens the directory name. The error is ErrNotDirectory for anything else at name. A pipe
// does not block the call, because the kernel checks the kind first.
func (d *dir) open(name string, how int) (*dir, error) {
	file, err := d.on.opens("open "+name, func() (*os.File, error) { return openNoFollow(d.fd(), name, how) })
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

// self returns the attributes of the directory itself. It needs no permission on it.
func (d *dir) self() (stat unix.Stat_t, err error) {
	err = d.run("look at .", func() error {
		_, err := retryInterrupted(func() (int, error) { return 0, unix.Fstat(d.fd(), &stat) })
		return err
	})
	return stat, err
}

// canBeRead is false for a directory that was opened with asPlace.
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

// rename renames from to the name to in target. It replaces a file there or, if from is a
// directory, an empty directory.
func (d *dir) rename(from string, target *dir, to string) error {
	return d.change("rename "+from, func() error { return unix.Renameat(d.fd(), from, target.fd(), to) })
}

// change is run for a system call that changes something. It retries an interrupted call.
func (d *dir) change(name string, call func() error) error {
	return d.run(name, func() error {
		_, err := retryInterrupted(func() (int, error) { return 0, call() })
		return err
	})
}

// entries lists the whole directory, even one that was opened with asPlace. It looks up every kind
// that the server does not list.
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

// listing opens the directory again, for reading from its beginning.
func (d *dir) listing() (*os.File, error) {
	opened, err := d.open(".", toRead)
	if err != nil {
		return nil, err
	}
	return opened.file, nil
}

// readFile returns the content of the regular file name. A file above limit bytes is an error.
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

// createFile creates the file name and syncs its content to the server's disk.
func (d *dir) createFile(name string, data []byte) error {
	file, err := d.on.opens("create "+name, func() (*os.File, error) {
		fd, err := retryInterrupted(func() (int, error) {
			return unix.Openat(d.fd(), name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
		})
		if err != nil {
			return nil, err
		}
		return os.NewFile(uintptr(fd), name), nil
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
