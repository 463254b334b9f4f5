package share

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"
)

// made is a file or directory of the copy: an open one, or, with a descriptor below zero, a name in an open directory.
type made struct {
	in   int
	name string
	fd   int
	stat *unix.Stat_t // of a new file before it had content, or nil: an NFS client asks the server only after that
}

// giveAll gives a file or directory of the copy the attributes of the source, the times last: they say that it is complete.
// in is an open descriptor of the source, or below zero for what has no extended attributes.
func (c *copying) giveAll(e *copyEntry, in int, m made) error {
	var acl []byte
	if in >= 0 {
		var err error
		if acl, err = c.giveExtended(e, in, m.fd); err != nil {
			return c.failed(e.in, e.name, err)
		}
		if e.name == "" && !e.in.fresh {
			if err := c.takeExtended(in, m.fd); err != nil {
				return c.failed(e.in, e.name, err)
			}
		}
	}
	return c.failed(e.in, e.name, c.giveOwner(e, m, acl))
}

// giveOwner sets owner, mode, the ACL of an NFSv4 server if there is one, and times.
func (c *copying) giveOwner(e *copyEntry, m made, acl []byte) error {
	now, err := unix.Stat_t{}, error(nil)
	if m.stat != nil && !e.hasACL { // which changes the mode
		now = *m.stat
	} else if now, err = c.lookAtMade(m); err != nil {
		return err
	}
	if now.Uid != e.stat.Uid || now.Gid != e.stat.Gid {
		if err := c.target(func() error { return m.chown(int(e.stat.Uid), int(e.stat.Gid)) }); err != nil {
			return ownerError(e.stat, err)
		}
		if now.Mode&(unix.S_ISUID|unix.S_ISGID) != 0 { // chown(2) takes them away
			now.Mode = 0
		}
	}
	if e.stat.Mode&unix.S_IFMT != unix.S_IFLNK && now.Mode&allModeBits != e.stat.Mode&allModeBits {
		if err := c.giveMode(e.stat.Mode&allModeBits, m); err != nil {
			return err
		}
	}
	if acl != nil {
		if err := c.giveServerACL(e, acl, m); err != nil {
			return err
		}
	}
	return c.setTimes(e.stat, m)
}

// allModeBits are those that chmod(2) sets.
const allModeBits = 0o7777

// giveMode sets the mode, and fails if the system left a bit out in silence, as it does with set-group-ID for a group that
// is not ours.
func (c *copying) giveMode(mode uint32, m made) error {
	if err := c.target(func() error { return m.chmod(mode) }); err != nil {
		return err
	}
	if mode&^0o777 == 0 {
		return nil
	}
	now, err := c.lookAtMade(m)
	if err == nil && now.Mode&allModeBits != mode {
		err = fmt.Errorf("its mode %04o cannot be set: the file system makes %04o of it: %w", mode, now.Mode&allModeBits, unix.EPERM)
	}
	return err
}

func (c *copying) lookAtMade(m made) (stat unix.Stat_t, err error) {
	if m.fd < 0 {
		return c.lookAtCopy(m.in, m.name)
	}
	err = c.target(func() error { return unix.Fstat(m.fd, &stat) })
	return stat, err
}

func (m made) chown(uid, gid int) error {
	if m.fd < 0 {
		return unix.Fchownat(m.in, m.name, uid, gid, unix.AT_SYMLINK_NOFOLLOW)
	}
	return unix.Fchown(m.fd, uid, gid)
}

// chmod is not for symbolic links.
func (m made) chmod(mode uint32) error {
	if m.fd < 0 {
		return unix.Fchmodat(m.in, m.name, mode, 0)
	}
	return unix.Fchmod(m.fd, mode)
}

func (c *copying) setTimes(stat *unix.Stat_t, m made) error {
	times := []unix.Timespec{stat.Atim, stat.Mtim}
	if m.fd < 0 {
		return c.target(func() error { return unix.UtimesNanoAt(m.in, m.name, times, unix.AT_SYMLINK_NOFOLLOW) })
	}
	if c.noEmpty.has() {
		err := c.target(func() error { return unix.UtimesNanoAt(m.fd, "", times, unix.AT_EMPTY_PATH) })
		if !errors.Is(err, unix.EINVAL) {
			return err
		}
		c.noEmpty.refused(err) // a kernel before 5.8
	}
	return c.target(func() error {
		return unix.UtimesNanoAt(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", m.fd), times, 0)
	})
}

// failed adds the path to an error, unless it has one or is that of the end of the copy.
func (c *copying) failed(n *copyNode, name string, err error) error {
	if err == nil || errors.As(err, new(*copyError)) || c.ctx.Err() != nil && errors.Is(err, context.Cause(c.ctx)) {
		return err
	}
	return &copyError{n.at(name), plain(err)}
}

// copyError is an error of one file or directory. A tenant chose the path.
type copyError struct {
	path string
	err  error
}

func (e *copyError) Error() string { return fmt.Sprintf("%q: %v", e.path, e.err) }

func (e *copyError) Unwrap() error { return e.err }

// ownerError says why an owner cannot be set, and what to do.
func ownerError(stat *unix.Stat_t, err error) error {
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("it belongs to uid %d, gid %d, and the copy cannot: giving files to others needs no_root_squash on the export, and claimdir as root: %w", stat.Uid, stat.Gid, err)
	}
	return err
}

// unreadable says that a file or directory cannot be read, and what to do.
func (c *copying) unreadable(n *copyNode, name string, uid uint32, err error) error {
	return c.failed(n, name, fmt.Errorf("uid %d, to whom it belongs, does not let claimdir read it: that needs no_root_squash on the export, and claimdir as root: %w", uid, err))
}
