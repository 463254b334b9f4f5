package faultfs

import (
	"errors"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// onNode serves a call on something the kernel knows.
func (s *server) onNode(in *fuse.InHeader, call Call, do func(fd int) error) fuse.Status {
	return s.faults.serve(in, call, []string{s.table.name(in.NodeId)}, func() error {
		fd, err := s.table.node(in.NodeId)
		if err != nil {
			return err
		}
		return do(fd)
	})
}

// onOpen serves a call on something that is open.
func (s *server) onOpen(in *fuse.InHeader, handle uint64, call Call, do func(*open) error) fuse.Status {
	return s.faults.serve(in, call, []string{s.table.name(in.NodeId)}, func() error {
		o, err := s.table.open(handle)
		if err != nil {
			return err
		}
		return do(o)
	})
}

// GetAttr is stat.
func (s *server) GetAttr(_ <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	return s.onNode(&in.InHeader, Getattr, func(fd int) error { return s.attributes(fd, out) })
}

func (s *server) attributes(fd int, out *fuse.AttrOut) error {
	var stat syscall.Stat_t
	if err := syscall.Fstat(fd, &stat); err != nil {
		return err
	}
	out.FromStat(&stat)
	out.SetTimeout(time.Duration(s.table.remember.Load()))
	return nil
}

// SetAttr is chown, chmod, truncate and utimes.
func (s *server) SetAttr(_ <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	return s.onNode(&in.InHeader, Setattr, func(fd int) error {
		if err := set(fd, &in.SetAttrInCommon); err != nil {
			return err
		}
		return s.attributes(fd, out)
	})
}

// set does what is asked, the mode after the owner, which takes bits from it,
// and the times after the size, which changes them.
func set(fd int, in *fuse.SetAttrInCommon) error {
	uid, hasUID := in.GetUID()
	gid, hasGID := in.GetGID()
	if hasUID || hasGID { // -1 is neither
		if err := unix.Fchownat(fd, "", int(int32(uid)), int(int32(gid)), unix.AT_EMPTY_PATH); err != nil {
			return err
		}
	}
	if mode, ok := in.GetMode(); ok {
		if err := unix.Chmod(itself(fd), mode); err != nil {
			return err
		}
	}
	if size, ok := in.GetSize(); ok {
		if err := unix.Truncate(itself(fd), int64(size)); err != nil {
			return err
		}
	}
	if in.Valid&(fuse.FATTR_ATIME|fuse.FATTR_MTIME) == 0 {
		return nil
	}
	times := []unix.Timespec{
		moment(in.Valid, fuse.FATTR_ATIME, fuse.FATTR_ATIME_NOW, in.Atime, in.Atimensec),
		moment(in.Valid, fuse.FATTR_MTIME, fuse.FATTR_MTIME_NOW, in.Mtime, in.Mtimensec),
	}
	return unix.UtimesNanoAt(fd, "", times, unix.AT_EMPTY_PATH)
}

func moment(valid, set, now uint32, seconds uint64, nanoseconds uint32) unix.Timespec {
	switch {
	case valid&set == 0:
		return unix.Timespec{Nsec: unix.UTIME_OMIT}
	case valid&now != 0:
		return unix.Timespec{Nsec: unix.UTIME_NOW}
	}
	return unix.Timespec{Sec: int64(seconds), Nsec: int64(nanoseconds)}
}

// Readlink says where a link leads.
func (s *server) Readlink(_ <-chan struct{}, in *fuse.InHeader) (target []byte, status fuse.Status) {
	status = s.onNode(in, Readlink, func(fd int) error {
		target = make([]byte, unix.PathMax)
		n, err := unix.Readlinkat(fd, "", target)
		target = target[:max(n, 0)]
		return err
	})
	return target, status
}

// StatFs answers for the backing file system.
func (s *server) StatFs(_ <-chan struct{}, in *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	return s.onNode(in, Statfs, func(fd int) error {
		var stat syscall.Statfs_t
		if err := syscall.Fstatfs(fd, &stat); err != nil {
			return err
		}
		out.FromStatfsT(&stat)
		return nil
	})
}

// Create makes and opens a file; without O_EXCL it may have come to be there
// since the kernel looked.
func (s *server) Create(_ <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	status := s.faults.serve(&in.InHeader, Create, []string{name}, func() error {
		dir, err := s.table.node(in.NodeId)
		if err != nil {
			return err
		}
		flags := openFlags(in.Flags) | unix.O_CREAT | unix.O_NOFOLLOW
		fd, err := unix.Openat(dir, name, flags|unix.O_EXCL, in.Mode)
		made := err == nil
		if errors.Is(err, unix.EEXIST) && in.Flags&unix.O_EXCL == 0 {
			fd, err = unix.Openat(dir, name, flags, in.Mode)
		}
		if err != nil {
			return err
		}
		if made {
			err = giveNode(dir, fd, &in.Caller, in.Mode)
		}
		if err == nil {
			err = s.enterOpen(fd, name, &out.EntryOut)
		}
		if err != nil {
			return errors.Join(err, unix.Close(fd))
		}
		out.Fh, out.OpenFlags = s.table.keep(out.NodeId, fd), fuse.FOPEN_DIRECT_IO
		return nil
	})
	if !status.Ok() {
		s.table.release(out.Fh)
	}
	s.dropped(status, &out.EntryOut)
	return status
}

// enterOpen enters what fd has open.
func (s *server) enterOpen(fd int, name string, out *fuse.EntryOut) error {
	node, err := unix.Open(itself(fd), unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return s.table.enter(node, name, out)
}

// openFlags are those of the kernel's that concern the open file itself.
func openFlags(flags uint32) int {
	return int(flags)&(unix.O_ACCMODE|unix.O_APPEND|unix.O_TRUNC|unix.O_SYNC|unix.O_DSYNC) | unix.O_CLOEXEC
}

// Open opens a file past the kernel's cache, so that reads arrive here, too.
func (s *server) Open(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	return s.opened(in, Open, openFlags(in.Flags), fuse.FOPEN_DIRECT_IO, out)
}

// OpenDir opens a directory.
func (s *server) OpenDir(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	return s.opened(in, Opendir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0, out)
}

func (s *server) opened(in *fuse.OpenIn, call Call, flags int, answer uint32, out *fuse.OpenOut) fuse.Status {
	status := s.onNode(&in.InHeader, call, func(node int) error {
		fd, err := unix.Open(itself(node), flags, 0)
		if err != nil {
			return err
		}
		out.Fh, out.OpenFlags = s.table.keep(in.NodeId, fd), answer
		return nil
	})
	if !status.Ok() {
		s.table.release(out.Fh)
	}
	return status
}

// Release never hangs: the kernel waits for no answer.
func (s *server) Release(_ <-chan struct{}, in *fuse.ReleaseIn) { s.table.release(in.Fh) }

// ReleaseDir is Release of a directory.
func (s *server) ReleaseDir(in *fuse.ReleaseIn) { s.table.release(in.Fh) }

// Read reads from a file.
func (s *server) Read(_ <-chan struct{}, in *fuse.ReadIn, buf []byte) (result fuse.ReadResult, status fuse.Status) {
	status = s.onOpen(&in.InHeader, in.Fh, Read, func(o *open) error {
		n, err := unix.Pread(o.fd, buf, int64(in.Offset))
		result = fuse.ReadResultData(buf[:max(n, 0)])
		return err
	})
	return result, status
}

// Write writes to a file.
func (s *server) Write(_ <-chan struct{}, in *fuse.WriteIn, data []byte) (written uint32, status fuse.Status) {
	status = s.onOpen(&in.InHeader, in.Fh, Write, func(o *open) error {
		n, err := unix.Pwrite(o.fd, data, int64(in.Offset))
		written = uint32(max(n, 0))
		if err == nil && in.WriteFlags&fuse.WRITE_KILL_SUIDGID != 0 {
			err = dropPrivileges(o.fd)
		}
		return err
	})
	return written, status
}

// Flush comes with each close of a file.
func (s *server) Flush(_ <-chan struct{}, in *fuse.FlushIn) fuse.Status {
	return s.onOpen(&in.InHeader, in.Fh, Flush, func(*open) error { return nil })
}

// Fsync has a file reach the disk.
func (s *server) Fsync(_ <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	return s.onOpen(&in.InHeader, in.Fh, Fsync, func(o *open) error { return unix.Fsync(o.fd) })
}

// FsyncDir has a directory's entries reach the disk.
func (s *server) FsyncDir(_ <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	return s.onOpen(&in.InHeader, in.Fh, Fsyncdir, func(o *open) error { return unix.Fsync(o.fd) })
}

// ReadDir lists a directory from where the backing one says that it stopped.
func (s *server) ReadDir(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return s.onOpen(&in.InHeader, in.Fh, Readdir, func(o *open) error {
		o.mu.Lock()
		defer o.mu.Unlock()
		if _, err := unix.Seek(o.fd, int64(in.Offset), unix.SEEK_SET); err != nil {
			return err
		}
		buf := make([]byte, in.Size)
		n, err := unix.Getdents(o.fd, buf)
		if err != nil {
			return err
		}
		for buf = buf[:n]; len(buf) > 0; {
			var entry fuse.DirEntry
			buf = buf[entry.Parse(buf):]
			if !out.AddDirEntry(entry) { // full: the next call begins with it
				break
			}
		}
		return nil
	})
}
