//go:build vm

package nfscases

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// handleAt is the NFS file handle of name in the directory, as text, or of the
// descriptor itself without a name; and the error as text.
func handleAt(dir int, name string) string {
	flags := 0
	if name == "" {
		flags = unix.AT_EMPTY_PATH
	}
	handle, _, err := unix.NameToHandleAt(dir, name, flags)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%x", handle.Bytes())
}

// numberAt is the file number of name in the directory, by stat.
func numberAt(dir int, name string) string {
	var st unix.Stat_t
	if err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err.Error()
	}
	return fmt.Sprint(st.Ino)
}

// openDir opens a directory for the test.
func openDir(t *testing.T, dir int, name string, flags int) int {
	t.Helper()
	fd, err := unix.Openat(dir, name, flags|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	must(t, err)
	t.Cleanup(func() { _ = unix.Close(fd) })
	return fd
}

// listed reads the directory to its end and returns the number of name in it.
func listed(t *testing.T, dir int, name string) string {
	t.Helper()
	const numberSize, lengthAt, nameAt = 8, 16, 19 // struct linux_dirent64
	found, buffer := "not listed", make([]byte, 1<<16)
	for {
		n, err := unix.Getdents(dir, buffer)
		must(t, err)
		if n == 0 {
			return found
		}
		for rest := buffer[:n]; len(rest) > 0; {
			length := binary.NativeEndian.Uint16(rest[lengthAt:])
			if unix.ByteSliceToString(rest[nameAt:length]) == name {
				found = fmt.Sprint(binary.NativeEndian.Uint64(rest[:numberSize]))
			}
			rest = rest[length:]
		}
	}
}

// The file handle tells a directory from the next one of its name, which ext4
// gives the same number, and is the same for each client and after a rename.
func TestTheHandleIsTheIdentityOfADirectory(t *testing.T) {
	e := export(t, "no_root_squash")
	one, two := e.first(), e.second()
	handle := func(c client, name string) string { return handleAt(unix.AT_FDCWD, filepath.Join(c.dir, name)) }
	must(t, os.Mkdir(e.onServer("parent"), 0o777))
	_, filesystem := setting(t)
	const again, most = 5, 200
	for round, same := 0, 0; same < again; round++ {
		if round == most { // other tests may take the number in between, but not each time
			t.Fatalf("ext4 gave the next directory the same number in %d of %d rounds: this test proves less than it says", same, round)
		}
		must(t, os.Mkdir(one.dir+"/data", 0o755))
		handleBefore, numberBefore := handle(one, "data"), numberAt(unix.AT_FDCWD, e.onServer("data"))
		must(t, os.Remove(one.dir+"/data"))
		must(t, os.Mkdir(one.dir+"/data", 0o755))
		if after := handle(one, "data"); after == handleBefore {
			t.Errorf("the next directory has the handle %s as well", after)
		}
		if filesystem != "ext4" || numberAt(unix.AT_FDCWD, e.onServer("data")) == numberBefore {
			same++
		}
		must(t, os.Remove(one.dir+"/data"))
	}

	must(t, os.Mkdir(one.dir+"/data", 0o755))
	before := handle(one, "data")
	if other := handle(two, "data"); other != before {
		t.Errorf("the second client has the handle %s, the first %s", other, before)
	}
	must(t, os.Rename(one.dir+"/data", one.dir+"/parent/moved"))
	for name, c := range map[string]client{"first": one, "second": two} {
		listed(t, openDir(t, unix.AT_FDCWD, c.dir+"/parent", 0), "moved")
		if after := handle(c, "parent/moved"); after != before {
			t.Errorf("after the rename the %s client has the handle %s, before %s", name, after, before)
		}
	}
}
