package share

import (
	"cmp"
	"encoding/binary"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	// A removal reads at least batchSize bytes of names at a time, or bulkSize bytes in bulk, which
	// is about 130,000 names. It never reads all, because a directory may have more names than fit
	// into memory.
	batchSize = 16 << 10
	bulkSize  = 4 << 20
	// bulks is how many directories are read in bulk at once. Each takes up to twice bulkSize of
	// memory.
	bulks = 2
)

// dirent is one name of a directory.
type dirent struct {
	inode uint64
	kind  byte // as getdents64(2) says it: unix.DT_DIR and its like, or unix.DT_UNKNOWN
	name  string
}

// direntBuffer is what one getdents64(2) fills.
type direntBuffer [32 << 10]byte

// batch is a part of the names of a directory, sorted by inode. File systems keep inodes in tables,
// and removing them in random order is a quarter slower in a large directory. rm(1) sorts too.
type batch struct {
	names   []dirent
	last    bool   // no names follow
	release func() // must be called after the names were processed
}

// readBatch returns the next batch of names of the directory.
func (r *removal) readBatch(dir *os.File) (b batch, err error) {
	b.release = func() {}
	for size, limit := 0, batchSize; size < limit; {
		if err := r.step(); err != nil {
			return b, err
		}
		var n int
		if b.names, n, err = r.appendDirents(b.names, dir); err != nil || n == 0 {
			b.last = true
			break
		}
		if size += n; size >= limit && limit == batchSize {
			select {
			case r.bulk <- struct{}{}:
				limit, b.release = bulkSize, func() { <-r.bulk }
			default:
			}
		}
	}
	slices.SortFunc(b.names, func(a, b dirent) int { return cmp.Compare(a.inode, b.inode) })
	return b, err
}

// appendDirents appends the entries that one getdents64(2) returns, and returns their size in
// bytes.
func (r *removal) appendDirents(names []dirent, dir *os.File) ([]dirent, int, error) {
	buffer, ok := r.buffers.Get().(*direntBuffer)
	if !ok {
		buffer = new(direntBuffer)
	}
	defer r.buffers.Put(buffer)
	return readDirents(int(dir.Fd()), buffer, names)
}

// readDirents is appendDirents with a given buffer.
func readDirents(fd int, buffer *direntBuffer, names []dirent) ([]dirent, int, error) {
	return readDirentsInto(fd, buffer[:], names)
}

// readDirentsInto is readDirents with a buffer of any size that holds a name.
func readDirentsInto(fd int, buffer []byte, names []dirent) ([]dirent, int, error) {
	n, err := retryInterrupted(func() (int, error) { return unix.Getdents(fd, buffer) })
	if err != nil {
		return names, 0, ignoreAbsent(err) // a directory that was removed meanwhile is empty
	}
	const inode, length, kind, name = 0, 16, 18, 19 // offsets in struct linux_dirent64
	text := string(buffer[:n])
	for at := 0; at < n; {
		entry := buffer[at:n]
		size := int(binary.NativeEndian.Uint16(entry[length:]))
		called, _, _ := strings.Cut(text[at+name:at+size], "\x00")
		if called != "." && called != ".." {
			names = append(names, dirent{binary.NativeEndian.Uint64(entry[inode:]), entry[kind], called})
		}
		at += size
	}
	return names, n, nil
}
