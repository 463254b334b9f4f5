package faultfs

import (
	"errors"
	"fmt"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// server answers the kernel. Each method is one call, served in a goroutine of
// its own; cancel, which tells of signals, means nothing to it, as to NFS.
type server struct {
	fuse.RawFileSystem // says of everything else that it is not there

	faults *faults
	table  *table
}

// entry serves a call that names an entry of a directory and answers with what
// lies there after do.
func (s *server) entry(in *fuse.InHeader, call Call, name string, out *fuse.EntryOut, do func(dir int) error) fuse.Status {
	status := s.faults.serve(in, call, []string{name}, func() error {
		dir, err := s.table.node(in.NodeId)
		if err != nil {
			return err
		}
		if err := do(dir); err != nil {
			return err
		}
		fd, err := unix.Openat(dir, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		return s.table.enter(fd, name, out)
	})
	s.dropped(status, out)
	return status
}

// dropped takes back what an answer would have told the kernel.
func (s *server) dropped(status fuse.Status, out *fuse.EntryOut) {
	if !status.Ok() && out.NodeId != 0 {
		s.table.forget(out.NodeId, 1)
	}
}

// Lookup answers what lies at a name.
func (s *server) Lookup(_ <-chan struct{}, in *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	return s.entry(in, Lookup, name, out, func(int) error { return nil })
}

// Forget never hangs: the kernel waits for no answer.
func (s *server) Forget(node, lookups uint64) { s.table.forget(node, lookups) }

// Mknod makes a pipe, a socket or a device.
func (s *server) Mknod(_ <-chan struct{}, in *fuse.MknodIn, name string, out *fuse.EntryOut) fuse.Status {
	return s.entry(&in.InHeader, Mknod, name, out, func(dir int) error {
		if err := unix.Mknodat(dir, name, in.Mode, int(in.Rdev)); err != nil {
			return err
		}
		return give(dir, name, &in.Caller, in.Mode)
	})
}

// Mkdir makes a directory.
func (s *server) Mkdir(_ <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	return s.entry(&in.InHeader, Mkdir, name, out, func(dir int) error {
		if err := unix.Mkdirat(dir, name, in.Mode); err != nil {
			return err
		}
		return give(dir, name, &in.Caller, in.Mode)
	})
}

// Symlink makes a link.
func (s *server) Symlink(_ <-chan struct{}, in *fuse.InHeader, target, name string, out *fuse.EntryOut) fuse.Status {
	return s.entry(in, Symlink, name, out, func(dir int) error {
		if err := unix.Symlinkat(target, dir, name); err != nil {
			return err
		}
		return give(dir, name, &in.Caller, 0)
	})
}

// Link gives a file one more name.
func (s *server) Link(_ <-chan struct{}, in *fuse.LinkIn, name string, out *fuse.EntryOut) fuse.Status {
	return s.entry(&in.InHeader, Link, name, out, func(dir int) error {
		file, err := s.table.node(in.Oldnodeid)
		if err != nil {
			return err
		}
		return unix.Linkat(file, "", dir, name, unix.AT_EMPTY_PATH)
	})
}

// give makes something new the caller's, as if he had made it: in a setgid
// directory the group stays, and the caller's umask, which the kernel has
// applied, is the only one.
func give(dir int, name string, caller *fuse.Caller, mode uint32) error {
	fd, err := unix.Openat(dir, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return errors.Join(giveNode(dir, fd, caller, mode), unix.Close(fd))
}

func giveNode(dir, fd int, caller *fuse.Caller, mode uint32) error {
	var parent, stat unix.Stat_t
	if err := unix.Fstat(dir, &parent); err != nil {
		return err
	}
	group := caller.Gid
	if parent.Mode&unix.S_ISGID != 0 {
		group = parent.Gid
	}
	if err := unix.Fchownat(fd, "", int(caller.Uid), int(group), unix.AT_EMPTY_PATH); err != nil {
		return err
	}
	if err := unix.Fstat(fd, &stat); err != nil {
		return err
	}
	mode &= 0o7777
	switch stat.Mode & unix.S_IFMT {
	case unix.S_IFLNK:
		return nil
	case unix.S_IFDIR:
		mode |= parent.Mode & unix.S_ISGID
	}
	if stat.Mode&0o7777 == mode {
		return nil
	}
	return unix.Chmod(itself(fd), mode)
}

// dropPrivileges takes setuid and setgid from a file, as a write does unless it
// is root's; here each is.
func dropPrivileges(fd int) error {
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return err
	}
	drop := stat.Mode & unix.S_ISUID
	if stat.Mode&unix.S_IXGRP != 0 { // without it, setgid means something else
		drop |= stat.Mode & unix.S_ISGID
	}
	if drop == 0 {
		return nil
	}
	return unix.Fchmod(fd, stat.Mode&0o7777&^drop)
}

// itself leads to what fd is open on, for calls that take no O_PATH descriptor.
func itself(fd int) string { return fmt.Sprintf("/proc/self/fd/%d", fd) }

// remove serves a call that takes an entry away.
func (s *server) remove(in *fuse.InHeader, call Call, name string, flags int) fuse.Status {
	return s.faults.serve(in, call, []string{name}, func() error {
		dir, err := s.table.node(in.NodeId)
		if err != nil {
			return err
		}
		return unix.Unlinkat(dir, name, flags)
	})
}

// Unlink takes away a name that is no directory's.
func (s *server) Unlink(_ <-chan struct{}, in *fuse.InHeader, name string) fuse.Status {
	return s.remove(in, Unlink, name, 0)
}

// Rmdir removes an empty directory.
func (s *server) Rmdir(_ <-chan struct{}, in *fuse.InHeader, name string) fuse.Status {
	return s.remove(in, Rmdir, name, unix.AT_REMOVEDIR)
}

// Rename has no flags on NFS: the client refuses RENAME_NOREPLACE and the like, and the
// server hears nothing of it.
func (s *server) Rename(_ <-chan struct{}, in *fuse.RenameIn, from, to string) fuse.Status {
	if in.Flags != 0 {
		return fuse.EINVAL
	}
	return s.faults.serve(&in.InHeader, Rename, []string{from, to}, func() error {
		fromDir, err := s.table.node(in.NodeId)
		if err != nil {
			return err
		}
		toDir, err := s.table.node(in.Newdir)
		if err != nil {
			return err
		}
		return unix.Renameat(fromDir, from, toDir, to)
	})
}
