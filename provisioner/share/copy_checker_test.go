package share

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"claimdir/provisioner/volpath"
)

// sameTrees is the independent checker of copies: it describes two trees and compares every line. It opens names by paths, as
// the engine never does, and uses nothing of the engine.
func sameTrees(t *testing.T, source, copied string) {
	t.Helper()
	same(t, describe(t, source), describe(t, copied))
}

// same compares two descriptions.
func same(t *testing.T, want, got map[string]string) {
	t.Helper()
	for name, is := range want {
		if got[name] != is {
			t.Errorf("%q\nis %s\nnot %s", name, got[name], is)
		}
	}
	for name, is := range got {
		if _, known := want[name]; !known {
			t.Errorf("%q is only in the copy: %s", name, is)
		}
	}
}

// describe returns what a copy must keep of every name below dir, and of dir itself.
func describe(t *testing.T, dir string) map[string]string {
	t.Helper()
	found, groups := map[string]string{}, map[uint64][]string{}
	must(t, filepath.WalkDir(dir, func(name string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		below := strings.TrimPrefix(strings.TrimPrefix(name, dir), "/")
		var stat unix.Stat_t
		if err := unix.Lstat(name, &stat); err != nil {
			return err
		}
		line := fmt.Sprintf("mode %o owner %d:%d changed %d", stat.Mode, stat.Uid, stat.Gid, stat.Mtim.Nano())
		kind := stat.Mode & unix.S_IFMT
		if kind != unix.S_IFDIR && stat.Nlink > 1 {
			groups[stat.Ino] = append(groups[stat.Ino], below)
		}
		switch kind {
		case unix.S_IFREG:
			line += fmt.Sprintf(" size %d %s", stat.Size, contentOf(t, name, stat.Size))
		case unix.S_IFLNK:
			target, err := os.Readlink(name)
			if err != nil {
				return err
			}
			line += fmt.Sprintf(" leads to %q", target)
		}
		if kind == unix.S_IFREG || kind == unix.S_IFDIR {
			line += extendedOf(t, name)
		}
		found[below] = line
		return nil
	}))
	for _, names := range groups {
		if len(names) == 1 { // the others are elsewhere
			continue
		}
		sort.Strings(names)
		group := fmt.Sprintf(" one of %d: %x", len(names), sha256.Sum256([]byte(strings.Join(names, "\n"))))
		for _, name := range names {
			found[name] += group
		}
	}
	return found
}

// contentOf says where a file has content, in units of 4096 bytes that are not zeros, and what.
func contentOf(t *testing.T, name string, size int64) string {
	t.Helper()
	file, err := os.OpenFile(name, os.O_RDONLY|unix.O_NOATIME, 0)
	if errors.Is(err, os.ErrPermission) {
		file, err = os.Open(name)
	}
	must(t, err)
	defer file.Close()
	sum, data := sha256.New(), 0
	most := int64(256 << 10)
	if size < most {
		most = (size + 4095) / 4096 * 4096
	}
	buffer, zeros := make([]byte, most), make([]byte, 4096)
	for at := int64(0); at < size; {
		next, err := unix.Seek(int(file.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break
		}
		end := size
		if err == nil {
			at = next - next%4096
			if end, err = unix.Seek(int(file.Fd()), next, unix.SEEK_HOLE); err != nil {
				end = size
			}
		}
		for at < end {
			n, err := file.ReadAt(buffer[:min(int64(len(buffer)), size-at, (end-at+4095)/4096*4096)], at)
			if err != nil && !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
			for unit := range slices.Chunk(buffer[:n], 4096) {
				if !bytes.Equal(unit, zeros[:len(unit)]) {
					fmt.Fprintf(sum, "%d:", at)
					sum.Write(unit)
					data++
				}
				at += 4096
			}
		}
	}
	return fmt.Sprintf("units %d sum %x", data, sum.Sum(nil))
}

// accessTimes returns the times of access of all files of one name. It reads nothing, which would change them.
func accessTimes(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	must(t, filepath.WalkDir(dir, func(name string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var stat unix.Stat_t
		err = unix.Lstat(name, &stat)
		if stat.Mode&unix.S_IFMT == unix.S_IFREG && stat.Nlink == 1 {
			found[strings.TrimPrefix(name, dir)] = fmt.Sprint(stat.Atim.Nano())
		}
		return err
	}))
	return found
}

// openUpAll lets testing remove what has modes that forbid it.
func openUpAll(dir string) {
	_ = filepath.WalkDir(dir, func(name string, entry os.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			_ = os.Chmod(name, 0o700)
		}
		return nil
	})
}

// extendedOf lists the extended attributes that a copy keeps.
func extendedOf(t *testing.T, name string) string {
	t.Helper()
	list := make([]byte, 64<<10)
	n, err := unix.Llistxattr(name, list)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EACCES) {
		return ""
	}
	must(t, err)
	var lines []string
	for attribute := range strings.SplitSeq(string(list[:n]), "\x00") {
		if !strings.HasPrefix(attribute, "user.") && !strings.HasPrefix(attribute, "system.posix_acl_") && attribute != "system.nfs4_acl" {
			continue
		}
		value := make([]byte, 64<<10)
		n, err := unix.Lgetxattr(name, attribute, value)
		must(t, err)
		lines = append(lines, fmt.Sprintf(" %s %x", attribute, value[:n]))
	}
	sort.Strings(lines)
	return strings.Join(lines, "")
}

// blocksOf is how many bytes a file takes on the disk.
func blocksOf(t *testing.T, name string) int64 {
	t.Helper()
	var stat syscall.Stat_t
	must(t, syscall.Lstat(name, &stat))
	return stat.Blocks * 512
}

// pathOfData is the directory that most cases copy.
func pathOfData() volpath.Path {
	p, err := volpath.Parse("data")
	if err != nil {
		panic(err)
	}
	return p
}
