// Package sharetest has what the tests of several rooms need: a World, which is a real
// share with a process that works on it, on which each call can be cut off or held; and
// shares that tests start from. No product package imports it.
//
// Write reads shares from text files, so that people can read what a share of an older
// layout holds.
//
// A text file describes one share, and its path stands last on a line:
//
//	# a comment
//	dir MODE PATH
//	file MODE PATH
//	file MODE AGE PATH
//		each line of the content, behind one tab
//
// MODE has four octal digits, as chmod takes them: the first is for setuid, setgid and
// sticky. AGE is
// how long ago the file was written, as time.ParseDuration reads it. A directory that is
// not listed must exist already. The content of a file may name a directory of the share
// as "@PATH", in quotes: Write puts the directory's identity there, as layout 1 wrote it.
package sharetest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Suffix ends the names of the text files.
const Suffix = ".txt"

// Names returns the names of the shares in fsys, sorted and without Suffix.
func Names(fsys fs.FS) ([]string, error) {
	files, err := fs.Glob(fsys, "*"+Suffix)
	for i, file := range files {
		files[i] = strings.TrimSuffix(file, Suffix)
	}
	return files, err
}

// Write makes the share of that name in the directory dir, which must exist and be empty.
func Write(fsys fs.FS, name, dir string) error {
	text, err := fs.ReadFile(fsys, name+Suffix)
	if err != nil {
		return err
	}
	entries, err := parse(string(text))
	if err == nil {
		err = write(dir, entries)
	}
	if err != nil {
		return fmt.Errorf("write share %s: %w", name, err)
	}
	return nil
}

// entry is a directory or a file.
type entry struct {
	dir     bool
	mode    uint32
	age     time.Duration
	path    string
	content bytes.Buffer
}

func parse(text string) (entries []*entry, err error) {
	for line := range strings.Lines(text) {
		content, inside := strings.CutPrefix(line, "\t")
		switch line = strings.TrimSuffix(line, "\n"); {
		case inside && len(entries) > 0 && !entries[len(entries)-1].dir:
			entries[len(entries)-1].content.WriteString(content)
		case line == "" || strings.HasPrefix(line, "#"):
		default:
			e, err := parseHead(line)
			if err != nil {
				return nil, fmt.Errorf("line %q: %w", line, err)
			}
			entries = append(entries, e)
		}
	}
	return entries, nil
}

var head = regexp.MustCompile(`^(dir|file) ([0-7]{4}) (?:([0-9][0-9hms]*[hms]) )?(.+)$`)

func parseHead(line string) (*entry, error) {
	found := head.FindStringSubmatch(line)
	if found == nil {
		return nil, errors.New(`neither "dir MODE PATH" nor "file MODE [AGE] PATH"`)
	}
	mode, err := strconv.ParseUint(found[2], 8, 12)
	if err != nil {
		return nil, err
	}
	e := &entry{dir: found[1] == "dir", mode: uint32(mode), path: found[4]}
	if found[3] != "" {
		e.age, err = time.ParseDuration(found[3])
	}
	return e, err
}

// write makes all directories before the files, which may name them, and sets modes and
// times last, for a directory may be closed to its owner.
func write(dir string, entries []*entry) (err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	for _, e := range entries {
		if e.dir {
			if err := root.Mkdir(e.path, 0o700); err != nil {
				return err
			}
		}
	}
	for _, e := range entries {
		if e.dir {
			continue
		}
		content, err := identities(root, e.content.Bytes())
		if err != nil {
			return err
		}
		if err := root.WriteFile(e.path, content, 0o600); err != nil {
			return err
		}
	}
	for _, e := range slices.Backward(entries) { // what is inside comes behind its directory
		if err := e.finish(root); err != nil {
			return err
		}
	}
	return nil
}

func (e *entry) finish(root *os.Root) error {
	if e.age > 0 {
		then := time.Now().Add(-e.age)
		if err := root.Chtimes(e.path, then, then); err != nil {
			return err
		}
	}
	mode := fs.FileMode(e.mode).Perm()
	for bit, special := range map[uint32]fs.FileMode{unix.S_ISUID: fs.ModeSetuid, unix.S_ISGID: fs.ModeSetgid, unix.S_ISVTX: fs.ModeSticky} {
		if e.mode&bit != 0 {
			mode |= special
		}
	}
	return root.Chmod(e.path, mode)
}

var identity = regexp.MustCompile(`"@[^"]+"`)

// identities puts the identity of a directory in the place of each "@PATH".
func identities(root *os.Root, content []byte) ([]byte, error) {
	var failed error
	content = identity.ReplaceAllFunc(content, func(reference []byte) []byte {
		path := string(reference[2 : len(reference)-1])
		text, err := identify(root, path)
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("identify %s: %w", path, err))
		}
		return text
	})
	return content, failed
}

// identify writes what layout 1 keeps of a directory.
func identify(root *os.Root, path string) (text []byte, err error) {
	opened, err := root.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, opened.Close()) }()
	var found unix.Statx_t
	if err := unix.Statx(int(opened.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_BASIC_STATS|unix.STATX_BTIME, &found); err != nil {
		return nil, err
	}
	id := struct {
		Number uint64     `json:"number"`
		UID    uint32     `json:"uid"`
		Born   *time.Time `json:"born,omitempty"`
	}{Number: found.Ino, UID: found.Uid}
	if found.Mask&unix.STATX_BTIME != 0 {
		id.Born = new(time.Unix(found.Btime.Sec, int64(found.Btime.Nsec)).UTC())
	}
	return json.Marshal(id)
}
