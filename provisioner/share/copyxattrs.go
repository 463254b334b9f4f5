package share

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// ACLs, by the names under which the system shows them.
const (
	aclAccess  = "system.posix_acl_access"
	aclDefault = "system.posix_acl_default"
	aclServer  = "system.nfs4_acl"
)

// giveExtended gives an open file or directory of the copy the extended attributes of an open one of the source. It
// returns the ACL of an NFSv4 server, which is to be set after the mode: on some servers a
// change of the mode replaces it. A POSIX ACL must be set before the owner: the system lets only the owner do that.
func (c *copying) giveExtended(e *copyEntry, in, out int) (acl []byte, err error) {
	names, err := c.listExtended(c.source, in)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		switch {
		case name == aclServer:
			acl, err = c.getExtended(c.source, in, name)
		case name == aclAccess, name == aclDefault, strings.HasPrefix(name, "user."):
			err = c.giveOne(e, in, out, name)
		case name == "security.selinux": // the system gives it to each file
		case strings.HasPrefix(name, "security."), strings.HasPrefix(name, "trusted."):
			c.leftOut(fmt.Sprintf("%s of %q", name, e.in.at(e.name)))
		}
		if err != nil {
			return nil, err
		}
	}
	return acl, nil
}

// giveOne copies one extended attribute. It counts one that the destination cannot have.
func (c *copying) giveOne(e *copyEntry, in, out int, name string) error {
	value, err := c.getExtended(c.source, in, name)
	if errors.Is(err, unix.ENODATA) { // removed meanwhile
		return nil
	}
	if err != nil {
		return err
	}
	err = c.asOwner(takeBack(out), func() error { return unix.Fsetxattr(out, name, value, 0) })
	if errors.Is(err, unix.EOPNOTSUPP) {
		c.leftOut(fmt.Sprintf("%s of %q", name, e.in.at(e.name)))
		return nil
	}
	if err != nil {
		return fmt.Errorf("set %q: %w", name, err)
	}
	e.hasACL = e.hasACL || name == aclAccess
	return nil
}

// takeExtended removes attributes that the source does not have, and an earlier run saw.
func (c *copying) takeExtended(in, out int) error {
	keep, err := c.listExtended(c.source, in)
	if err != nil {
		return err
	}
	names, err := c.listExtended(c.target, out)
	if err != nil {
		return err
	}
	for _, name := range names {
		ours := name == aclAccess || name == aclDefault || strings.HasPrefix(name, "user.")
		if !ours || slices.Contains(keep, name) {
			continue
		}
		if err := c.asOwner(takeBack(out), func() error { return unix.Fremovexattr(out, name) }); err != nil && !errors.Is(err, unix.ENODATA) {
			return err
		}
	}
	return nil
}

// asOwner makes a change to a file of the copy that the system lets only the owner make. What an earlier run has given away
// already it takes back, as an NFS server lets root do; giveOwner gives it away again.
func (c *copying) asOwner(back, change func() error) error {
	err := c.target(change)
	if !errors.Is(err, unix.EPERM) || c.target(back) != nil {
		return err
	}
	return c.target(change)
}

// takeBack returns what makes an open file ours.
func takeBack(fd int) func() error {
	return func() error { return unix.Fchown(fd, os.Geteuid(), os.Getegid()) }
}

// handDownNothing takes the ACLs from a directory of the copy: one that it has handed down to it, and one that it hands down to
// what is made in it. It gets those of the source when it is complete.
func (c *copying) handDownNothing(in int, name string) error {
	at := fmt.Sprintf("/proc/self/fd/%d/%s", in, name)
	for _, list := range []string{aclDefault, aclAccess} {
		err := c.target(func() error { return unix.Removexattr(at, list) })
		if errors.Is(err, unix.EPERM) { // an earlier run has given the directory away, most likely without such a list
			if _, err = c.sized(c.target, func(buffer []byte) (int, error) { return unix.Getxattr(at, list, buffer) }); err == nil {
				back := func() error { return unix.Fchownat(in, name, os.Geteuid(), os.Getegid(), unix.AT_SYMLINK_NOFOLLOW) }
				err = c.asOwner(back, func() error { return unix.Removexattr(at, list) })
			}
		}
		if err != nil && !errors.Is(err, unix.ENODATA) && !errors.Is(err, unix.EOPNOTSUPP) {
			return err
		}
	}
	return nil
}

// mostExtended bounds the names, and the value, of the extended attributes of a file, in bytes: no more than the system itself.
const mostExtended = 64 << 10

func (c *copying) listExtended(call func(func() error) error, fd int) ([]string, error) {
	list, err := c.sized(call, func(buffer []byte) (int, error) { return unix.Flistxattr(fd, buffer) })
	if errors.Is(err, unix.EOPNOTSUPP) || len(list) == 0 {
		return nil, nil
	}
	return strings.Split(strings.TrimSuffix(string(list), "\x00"), "\x00"), err
}

func (c *copying) getExtended(call func(func() error) error, fd int, name string) ([]byte, error) {
	return c.sized(call, func(buffer []byte) (int, error) { return unix.Fgetxattr(fd, name, buffer) })
}

// sized makes a call that fills a buffer, first a small one.
func (c *copying) sized(call func(func() error) error, fill func(buffer []byte) (int, error)) ([]byte, error) {
	var got []byte
	for _, size := range []int{256, mostExtended} {
		buffer := make([]byte, size)
		err := call(func() error {
			n, err := fill(buffer)
			if err == nil {
				got = buffer[:n]
			}
			return err
		})
		if !errors.Is(err, unix.ERANGE) {
			return got, err
		}
	}
	return nil, unix.ERANGE
}

// seenACLs notes which ACLs of an NFSv4 server say the same as the mode, so that the copy of most files need not be asked for
// its own.
type seenACLs struct {
	mu    sync.Mutex
	plain map[string]bool
}

// mostACLs bounds them.
const mostACLs = 256

func (s *seenACLs) has(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.plain[key]
}

func (s *seenACLs) add(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.plain == nil || len(s.plain) == mostACLs {
		s.plain = map[string]bool{}
	}
	s.plain[key] = true
}

// giveServerACL sets the ACL of an NFSv4 server, if the copy has another one.
func (c *copying) giveServerACL(e *copyEntry, acl []byte, m made) error {
	key := string(binary.NativeEndian.AppendUint32(nil, e.stat.Mode)) + string(acl)
	if c.seenACL.has(key) {
		return nil
	}
	same, err := c.setServerACL(e, acl, m.fd)
	if same {
		c.seenACL.add(key)
	}
	return err
}

// setServerACL reports whether an open file of the copy had the ACL already.
func (c *copying) setServerACL(e *copyEntry, acl []byte, out int) (same bool, err error) {
	now, err := c.getExtended(c.target, out, aclServer)
	if err == nil && bytes.Equal(now, acl) {
		return true, nil
	}
	err = c.target(func() error { return unix.Fsetxattr(out, aclServer, acl, 0) })
	if errors.Is(err, unix.EOPNOTSUPP) {
		c.leftOut(fmt.Sprintf("%s of %q", aclServer, e.in.at(e.name)))
		return false, nil
	}
	return false, err
}
