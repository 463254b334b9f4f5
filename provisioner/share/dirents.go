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
	// batchSize is how many bytes of names a removal reads of a directory at a time,
	// at least, bulkSize how many in bulk, about 130,000 names. A directory may have
	// more than fit into memory.
	batchSize = 16 << 10
	bulkSize  = 4 << 20
	// bulks is how many directories are read in bulk at the same time. Each takes up
	// to twice bulkSize of memory.
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

// batch is a part of a directory's names, in the order of their inodes: a file
// system keeps those in tables, and to take them from all over a large directory
// is a quarter slower, as rm(1) knows too.
type batch struct {
	names   []dirent
	last    bool   // no names follow
	release func() // to be called when they are done with
}

// readBatch returns the next names of the directory.
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

// appendDirents appends the names that one getdents64(2) returns, which has the
// inodes beside them, and says how many bytes those were.
func (r *removal) appendDirents(names []dirent, dir *os.File) ([]dirent, int, error) {
	buffer, ok := r.buffers.Get().(*direntBuffer)
	if !ok {
		buffer = new(direntBuffer)
	}
	defer r.buffers.Put(buffer)
	return readDirents(int(dir.Fd()), buffer, names)
}

// readDirents does it with a buffer.
func readDirents(fd int, buffer *direntBuffer, names []dirent) ([]dirent, int, error) {
	n, err := retryInterrupted(func() (int, error) { return unix.Getdents(fd, buffer[:]) })
	if err != nil {
		return names, 0, ignoreAbsent(err) // a directory that somebody has removed meanwhile is empty
	}
	const inode, length, kind, name = 0, 16, 18, 19 // where struct linux_dirent64 has them
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
