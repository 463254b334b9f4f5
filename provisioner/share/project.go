package share

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"claimdir/provisioner/volpath"
)

// Project is the project of a directory.
type Project struct {
	// ID is the project id; 0 means none.
	ID uint32
	// Inherited says that what is made in the directory gets the id too.
	Inherited bool
}

// ErrUnidentified says that it cannot be known whether a directory is the one on record: the record
// has no identity, or one from another copy of the share.
var ErrUnidentified = errors.New("is not known to be the directory on record")

// ErrForeignProject says that something has a project id of somebody else.
var ErrForeignProject = errors.New("has the project id of somebody else")

// ForeignProject is an ErrForeignProject that says what has which id.
type ForeignProject struct {
	// Path is relative to the share. A tenant chose the names in it.
	Path string
	// ID is the project id.
	ID uint32
}

func (e *ForeignProject) Error() string {
	return fmt.Sprintf("%q has project id %d, which is not the volume's", e.Path, e.ID)
}

func (e *ForeignProject) Unwrap() error { return ErrForeignProject }

// fsxattr is struct fsxattr of linux/fs.h.
type fsxattr struct {
	flags, extentSize, extents, project, cowExtentSize uint32

	_ [8]byte
}

// The ioctls FS_IOC_FSGETXATTR, _IOR('X', 31, struct fsxattr), and FS_IOC_FSSETXATTR, _IOW('X', 32,
// struct fsxattr), of linux/fs.h. The bits of _IOR and _IOW differ between architectures: they are
// taken from two ioctls that package unix knows.
const (
	directionBits = 0xe0000000
	getXattr      = unix.FS_IOC_GETFLAGS&directionBits | unsafe.Sizeof(fsxattr{})<<16 | 'X'<<8 | 31
	setXattr      = unix.FS_IOC_SETFLAGS&directionBits | unsafe.Sizeof(fsxattr{})<<16 | 'X'<<8 | 32

	inheritsProject = 0x200 // FS_XFLAG_PROJINHERIT
)

// attributes returns the attributes of an open directory or file, of which the project is one.
func (d *dir) attributes() (a fsxattr, err error) {
	err = d.change("get the project", func() error { return d.ioctl(getXattr, &a) })
	return a, err
}

// giveProject gives an open directory or file a project id, and leaves its other attributes.
func (d *dir) giveProject(a fsxattr, project uint32, inherited bool) error {
	a.project = project
	if inherited {
		a.flags |= inheritsProject
	}
	return d.change("set the project", func() error { return d.ioctl(setXattr, &a) })
}

func (d *dir) ioctl(request uintptr, a *fsxattr) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(d.fd()), request, uintptr(unsafe.Pointer(a))); errno != 0 {
		return errno
	}
	return nil
}

// Project returns the project of the directory p, whose identity must match id. The file number
// decides: the handle that a record has is the NFS client's, and the server's own differs. Besides
// fs.ErrNotExist and ErrNotDirectory the error may be ErrChanged, if p is another directory,
// ErrUnidentified, or one that says that p is on another file system than the share.
func (s *Share) Project(p volpath.Path, id *Identity) (found Project, err error) {
	err = s.withVolume(p, id, func(opened *dir) error {
		a, err := opened.attributes()
		found = Project{a.project, a.flags&inheritsProject != 0}
		return err
	})
	if err != nil {
		return Project{}, fmt.Errorf("project of %s: %w", p, plain(err))
	}
	return found, nil
}

// SetProject gives the directory p a project id, and with it all that is made in it from now on. Errors
// are those of Project, and ErrForeignProject if p has another id.
func (s *Share) SetProject(p volpath.Path, id *Identity, project uint32) error {
	err := s.withVolume(p, id, func(opened *dir) error {
		a, err := opened.attributes()
		if err != nil {
			return err
		}
		if a.project != 0 && a.project != project {
			return &ForeignProject{p.String(), a.project}
		}
		return opened.giveProject(a, project, true)
	})
	if err != nil {
		return fmt.Errorf("set project %d of %s: %w", project, p, plain(err))
	}
	return nil
}

// withVolume calls do with the directory p, open, after it was compared with id.
func (s *Share) withVolume(p volpath.Path, id *Identity, do func(opened *dir) error) error {
	return s.inParent(p, func(parent *dir) error {
		opened, err := parent.open(p.Base(), toRead)
		if err != nil {
			return err
		}
		defer opened.close()
		if err := s.mustBeLocally(opened, id); err != nil {
			return err
		}
		return do(opened)
	})
}

// mustBeLocally is mustBe on the server, where the handles of NFS mean nothing. It also refuses a
// directory on another file system than the share.
func (s *Share) mustBeLocally(opened *dir, id *Identity) error {
	root, err := s.openRoot()
	if err != nil {
		return err
	}
	defer s.done(root)
	top, err := root.self()
	if err != nil {
		return unreachable(err)
	}
	stat, err := opened.self()
	switch {
	case err != nil:
		return err
	case stat.Dev != top.Dev:
		return errOtherFileSystem
	}
	switch id.Match(&Identity{Number: stat.Ino, Place: s.mark.place()}) {
	case Different:
		return ErrChanged
	case Unknown:
		return ErrUnidentified
	case Same:
	}
	return nil
}

// pin opens what has a name in d without any effect on it: no device or pipe notices. The error is
// unix.EXDEV if something is mounted there, even of the same file system.
func (d *dir) pin(name string) (*dir, error) {
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_XDEV | unix.RESOLVE_BENEATH}
	file, err := d.on.opens("pin "+name, func() (*os.File, error) {
		fd, err := retryInterrupted(func() (int, error) { return unix.Openat2(d.fd(), name, &how) })
		if err != nil {
			return nil, err
		}
		return os.NewFile(uintptr(fd), name), nil
	})
	if err != nil {
		return nil, err
	}
	return &dir{file, d.on}, nil
}

// handle returns the local file handle of what is open or pinned.
func (d *dir) handle() (handle unix.FileHandle, err error) {
	err = d.run("identify", func() (err error) {
		handle, _, err = unix.NameToHandleAt(d.fd(), "", unix.AT_EMPTY_PATH)
		return err
	})
	return handle, err
}

// openHandle opens a directory or file of the share's file system by its handle, which leads to no
// other one. The error is unix.ESTALE if it is gone, and isBusy if an NFS client has it.
func (d *dir) openHandle(handle unix.FileHandle) (*dir, error) {
	file, err := d.on.opens("open by handle", func() (*os.File, error) {
		fd, err := retryInterrupted(func() (int, error) {
			return unix.OpenByHandleAt(d.fd(), handle, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC)
		})
		if err != nil {
			return nil, err
		}
		return os.NewFile(uintptr(fd), "by handle"), nil
	})
	if err != nil {
		return nil, err
	}
	return &dir{file, d.on}, nil
}

// where returns the path of what is open, relative to the share, for messages.
func (d *dir) where() string {
	path, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", d.fd()))
	if err != nil {
		return "?"
	}
	return strings.TrimPrefix(strings.TrimPrefix(path, d.on.dir), "/")
}
