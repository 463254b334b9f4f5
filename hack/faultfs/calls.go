package faultfs

import (
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

func at(h *fuse.InHeader) handle { return handle{node: h.NodeId} }

// Lookup is FUSE's; so are all methods below.
func (f *FS) Lookup(cancel <-chan struct{}, h *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	return f.serve(Lookup, at(h), func() fuse.Status {
		return f.found(f.RawFileSystem.Lookup(cancel, h, name, out), out.NodeId)
	})
}

// GetAttr passes through or misbehaves.
func (f *FS) GetAttr(cancel <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	return f.serve(Getattr, handle{in.NodeId, in.Fh()}, func() fuse.Status { return f.RawFileSystem.GetAttr(cancel, in, out) })
}

// Statx passes through or misbehaves.
func (f *FS) Statx(cancel <-chan struct{}, in *fuse.StatxIn, out *fuse.StatxOut) fuse.Status {
	return f.serve(Getattr, at(&in.InHeader), func() fuse.Status { return f.RawFileSystem.Statx(cancel, in, out) })
}

// SetAttr passes through or misbehaves.
func (f *FS) SetAttr(cancel <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	return f.serve(Setattr, at(&in.InHeader), func() fuse.Status { return f.RawFileSystem.SetAttr(cancel, in, out) })
}

// Mkdir passes through or misbehaves.
func (f *FS) Mkdir(cancel <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	return f.serve(Mkdir, at(&in.InHeader), func() fuse.Status {
		return f.found(f.RawFileSystem.Mkdir(cancel, in, name, out), out.NodeId)
	})
}

// Mknod passes through or misbehaves.
func (f *FS) Mknod(cancel <-chan struct{}, in *fuse.MknodIn, name string, out *fuse.EntryOut) fuse.Status {
	return f.serve(Create, at(&in.InHeader), func() fuse.Status {
		return f.found(f.RawFileSystem.Mknod(cancel, in, name, out), out.NodeId)
	})
}

// Unlink passes through or misbehaves.
func (f *FS) Unlink(cancel <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	return f.serve(Unlink, at(h), func() fuse.Status { return f.RawFileSystem.Unlink(cancel, h, name) })
}

// Rmdir passes through or misbehaves.
func (f *FS) Rmdir(cancel <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	return f.serve(Rmdir, at(h), func() fuse.Status { return f.RawFileSystem.Rmdir(cancel, h, name) })
}

// Rename knows no flags, as NFS knows none.
func (f *FS) Rename(cancel <-chan struct{}, in *fuse.RenameIn, from, to string) fuse.Status {
	return f.serve(Rename, at(&in.InHeader), func() fuse.Status {
		if in.Flags&(unix.RENAME_NOREPLACE|unix.RENAME_EXCHANGE) != 0 {
			return fuse.EINVAL
		}
		return f.RawFileSystem.Rename(cancel, in, from, to)
	})
}

// Link passes through or misbehaves.
func (f *FS) Link(cancel <-chan struct{}, in *fuse.LinkIn, name string, out *fuse.EntryOut) fuse.Status {
	return f.serve(Link, at(&in.InHeader), func() fuse.Status {
		return f.found(f.RawFileSystem.Link(cancel, in, name, out), out.NodeId)
	})
}

// Symlink passes through or misbehaves.
func (f *FS) Symlink(cancel <-chan struct{}, h *fuse.InHeader, target, name string, out *fuse.EntryOut) fuse.Status {
	return f.serve(Symlink, at(h), func() fuse.Status {
		return f.found(f.RawFileSystem.Symlink(cancel, h, target, name, out), out.NodeId)
	})
}

// Readlink passes through or misbehaves.
func (f *FS) Readlink(cancel <-chan struct{}, h *fuse.InHeader) (target []byte, status fuse.Status) {
	status = f.serve(Readlink, at(h), func() fuse.Status {
		target, status = f.RawFileSystem.Readlink(cancel, h)
		return status
	})
	return target, status
}

// Create passes through or misbehaves.
func (f *FS) Create(cancel <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	return f.serve(Create, at(&in.InHeader), func() fuse.Status {
		status := f.found(f.RawFileSystem.Create(cancel, in, name, out), out.NodeId)
		out.OpenFlags |= fuse.FOPEN_DIRECT_IO
		return f.opened(status, out.NodeId, out.Fh)
	})
}

// Tmpfile is not known to NFS.
func (*FS) Tmpfile(<-chan struct{}, *fuse.CreateIn, *fuse.CreateOut) fuse.Status {
	return fuse.Status(syscall.EOPNOTSUPP)
}

// Open passes through or misbehaves.
func (f *FS) Open(cancel <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	return f.serve(Open, at(&in.InHeader), func() fuse.Status {
		status := f.RawFileSystem.Open(cancel, in, out)
		out.OpenFlags |= fuse.FOPEN_DIRECT_IO // the file may have been exchanged since the kernel asked for its size
		return f.opened(status, in.NodeId, out.Fh)
	})
}

// Read passes through or misbehaves.
func (f *FS) Read(cancel <-chan struct{}, in *fuse.ReadIn, buf []byte) (result fuse.ReadResult, status fuse.Status) {
	status = f.serve(Read, handle{in.NodeId, in.Fh}, func() fuse.Status {
		result, status = f.RawFileSystem.Read(cancel, in, buf)
		return status
	})
	return result, status
}

// Write passes through or misbehaves.
func (f *FS) Write(cancel <-chan struct{}, in *fuse.WriteIn, data []byte) (written uint32, status fuse.Status) {
	status = f.serve(Write, handle{in.NodeId, in.Fh}, func() fuse.Status {
		written, status = f.RawFileSystem.Write(cancel, in, data)
		return status
	})
	return written, status
}

// Writev leaves it to Write.
func (*FS) Writev(<-chan struct{}, *fuse.WriteIn, [][]byte) (uint32, fuse.Status) {
	return 0, fuse.ENOSYS
}

// Fsync passes through or misbehaves.
func (f *FS) Fsync(cancel <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	return f.serve(Fsync, handle{in.NodeId, in.Fh}, func() fuse.Status { return f.RawFileSystem.Fsync(cancel, in) })
}

// FsyncDir passes through or misbehaves.
func (f *FS) FsyncDir(cancel <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	return f.serve(Fsync, handle{in.NodeId, in.Fh}, func() fuse.Status { return f.RawFileSystem.FsyncDir(cancel, in) })
}

// OpenDir passes through or misbehaves.
func (f *FS) OpenDir(cancel <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	return f.serve(Opendir, at(&in.InHeader), func() fuse.Status {
		return f.opened(f.RawFileSystem.OpenDir(cancel, in, out), in.NodeId, out.Fh)
	})
}

// ReadDir passes through or misbehaves.
func (f *FS) ReadDir(cancel <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return f.serve(Readdir, handle{in.NodeId, in.Fh}, func() fuse.Status { return f.RawFileSystem.ReadDir(cancel, in, out) })
}

// StatFs passes through or misbehaves.
func (f *FS) StatFs(cancel <-chan struct{}, h *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	return f.serve(Statfs, at(h), func() fuse.Status { return f.RawFileSystem.StatFs(cancel, h, out) })
}

// Release forgets the handle.
func (f *FS) Release(cancel <-chan struct{}, in *fuse.ReleaseIn) {
	f.closed(in)
	f.RawFileSystem.Release(cancel, in)
}

// ReleaseDir forgets the handle.
func (f *FS) ReleaseDir(in *fuse.ReleaseIn) {
	f.closed(in)
	f.RawFileSystem.ReleaseDir(in)
}

func (f *FS) closed(in *fuse.ReleaseIn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.handles, handle{in.NodeId, in.Fh})
}
