package share

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"

	"golang.org/x/sys/unix"
	"golang.org/x/time/rate"

	"claimdir/provisioner/volpath"
)

// Usage is how much a tree takes on the share.
type Usage struct {
	// Bytes are those on the server's disk, as du(1) counts them: blocks, not lengths. Each name of a file with
	// several names counts its part of the file.
	Bytes int64 `json:"bytes"`
	// Files are all names that are no directories. With a Limit nobody counts them.
	Files int64 `json:"files"`
	// Directories includes the top one.
	Directories int64 `json:"directories"`
	// Unreadable counts what could not be looked into: then the other figures are too small.
	Unreadable int64 `json:"unreadable,omitempty"`
	// Limit is the size in bytes that the server enforces for the directory; 0 if it enforces none. With a
	// Limit the server itself says how much is used.
	Limit int64 `json:"limit,omitempty"`
}

// Meter holds the limits for measuring trees: the pace, and how deep to go. Several measurements may share
// one.
type Meter struct{ pace *rate.Limiter }

// NewMeter returns a Meter that looks at up to perSecond files and directories a second; 0 means no limit.
func NewMeter(perSecond int) *Meter {
	if perSecond == 0 {
		return &Meter{}
	}
	return &Meter{rate.NewLimiter(rate.Limit(perSecond), perSecond/10+1)}
}

// maxMeasured is the depth down to which a tree is measured. Each level keeps a descriptor and a part of a
// listing, up to 80 KB, and a tenant can create a tree of any depth.
const maxMeasured = 256

// Measure returns how much the directory p holds, whose identity must match id, until ctx is done. It follows
// no link, stays on one file system, and changes nothing. If the server
// enforces a size for the directory, as an NFS server with project quotas does, Measure asks it, and does not
// walk the tree. The error is ErrChanged for another directory than id, and fs.ErrNotExist if there is none.
func (s *Share) Measure(ctx context.Context, meter *Meter, p volpath.Path, id *Identity) (usage Usage, err error) {
	err = s.withDirectory(p, id, func(opened *dir) error {
		room, err := s.Room()
		if err != nil {
			return err
		}
		if usage, err = enforced(opened, room); err != nil || usage.Limit > 0 {
			return err
		}
		usage, err = s.measure(ctx, meter, opened)
		return err
	})
	if err != nil {
		return usage, fmt.Errorf("measure %s: %w", p, plain(err))
	}
	return usage, nil
}

// Enforced returns what the server says of the directory p, whose identity must match id, if it enforces a size for
// it. Otherwise the Usage is zero. room is that of the share, as Room returns it. Enforced walks no tree.
func (s *Share) Enforced(p volpath.Path, id *Identity, room Room) (usage Usage, err error) {
	err = s.withDirectory(p, id, func(opened *dir) error {
		usage, err = enforced(opened, room)
		return err
	})
	if err != nil {
		return usage, fmt.Errorf("measure %s: %w", p, plain(err))
	}
	return usage, nil
}

// withDirectory calls do with the directory p, open for reading if that is allowed, if its identity matches id. It is for
// callers that only read: an NFS client may for a while take the directory that p was before for it.
func (s *Share) withDirectory(p volpath.Path, id *Identity, do func(opened *dir) error) error {
	root, err := s.openRoot()
	if err != nil {
		return err
	}
	opened, err := s.descend(root, p.Elements())
	if err != nil {
		return err
	}
	defer opened.close()
	if err := s.mustBe(opened.file, id); err != nil {
		return err
	}
	return do(opened)
}

// MeasureTrash returns how much the trash holds, until ctx is done, as Measure does.
func (s *Share) MeasureTrash(ctx context.Context, meter *Meter) (usage Usage, err error) {
	err = s.inMeta("", "measure "+path.Join(metaDir, TrashDir)+" below", func(meta *dir) error {
		trash, err := meta.open(TrashDir, toRead)
		if err != nil {
			return ignoreAbsent(err)
		}
		defer trash.close()
		usage, err = s.measure(ctx, meter, trash)
		return err
	})
	return usage, err
}

// enforced returns what the server says of a directory for which it enforces a size. For all other directories
// it says what it says of the whole share, which is room, and the Usage is zero.
//
// Some servers say a little less of a share at each moment, as it fills up. So only a size that is at least one
// hundredth smaller than the share's counts.
func enforced(opened *dir, room Room) (Usage, error) {
	var own Room
	var used uint64
	err := opened.run("measure", func() (err error) {
		own, used, err = roomOf(opened)
		return err
	})
	if err != nil || own.Size == 0 || own.Size > room.Size-room.Size/100 {
		return Usage{}, err
	}
	return Usage{Bytes: int64(used), Limit: int64(own.Size)}, nil
}

func (s *Share) measure(ctx context.Context, meter *Meter, top *dir) (Usage, error) {
	stat, err := top.self()
	if err != nil {
		return Usage{}, err
	}
	m := &measurement{Meter: meter, ctx: ctx, share: s, device: uint64(stat.Dev)} // its type differs between architectures
	m.count(stat)
	if !top.canBeRead() { // we may not list it, or its owner has forbidden it to us
		m.usage.Unreadable++
		return m.usage, nil
	}
	err = m.tree(top.file, 0)
	return m.usage, err
}

// measurement is that of one tree.
type measurement struct {
	*Meter

	ctx    context.Context // of this one measurement
	share  *Share
	device uint64 // of the file system that it stays on
	buffer direntBuffer
	usage  Usage
}

// call makes one file system call, once the pace allows it.
func (m *measurement) call(call func() error) error {
	if m.ctx.Err() != nil {
		return context.Cause(m.ctx)
	}
	if m.pace != nil {
		if err := m.pace.Wait(m.ctx); err != nil {
			return errors.Join(context.Cause(m.ctx), err)
		}
	}
	return m.share.run("measure", call)
}

// tree measures what is in an open directory.
func (m *measurement) tree(opened *os.File, depth int) error {
	var names []dirent
	for {
		n := 0
		err := m.call(func() (err error) {
			names, n, err = readDirents(int(opened.Fd()), &m.buffer, names[:0])
			return err
		})
		if IsStale(err) && depth == 0 { // a repeat opens the directory anew
			return err
		}
		if err != nil || n == 0 {
			return m.passOver(err)
		}
		for _, e := range names {
			if err := m.entry(opened, e.name, depth); err != nil {
				return err
			}
		}
	}
}

// entry measures one entry of an open directory, with all that is in it.
func (m *measurement) entry(in *os.File, name string, depth int) error {
	var stat unix.Stat_t
	err := m.call(func() error {
		_, err := retryInterrupted(func() (int, error) {
			return 0, unix.Fstatat(int(in.Fd()), name, &stat, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT)
		})
		return err
	})
	if err != nil || uint64(stat.Dev) != m.device { // its type differs between architectures
		return m.passOver(err)
	}
	m.count(stat)
	if stat.Mode&unix.S_IFMT != unix.S_IFDIR {
		return nil
	}
	if depth == maxMeasured {
		m.usage.Unreadable++
		return nil
	}
	var opened *os.File
	err = m.call(func() (err error) {
		opened, err = openDirectory(int(in.Fd()), name)
		return err
	})
	if err != nil {
		return m.passOver(err)
	}
	defer opened.Close()
	if same, err := m.stays(opened); !same || err != nil {
		return m.passOver(err)
	}
	return m.tree(opened, depth+1)
}

// stays reports whether an open directory is on the file system that is measured. Something may be mounted on
// it, or have been exchanged for it.
func (m *measurement) stays(opened *os.File) (bool, error) {
	var stat unix.Stat_t
	err := unix.Fstat(int(opened.Fd()), &stat)
	return uint64(stat.Dev) == m.device, err // its type differs between architectures
}

// count adds one file or directory.
func (m *measurement) count(stat unix.Stat_t) {
	m.usage.Bytes += onDisk(stat)
	if stat.Mode&unix.S_IFMT == unix.S_IFDIR {
		m.usage.Directories++
		return
	}
	m.usage.Files++
}

// onDisk is how many bytes a file or directory takes on the disk: of a file with several names the part of one.
func onDisk(stat unix.Stat_t) int64 {
	names := int64(stat.Nlink) // its type differs between architectures
	if stat.Mode&unix.S_IFMT == unix.S_IFDIR {
		names = 1 // the others are those of the directories in it
	}
	return stat.Blocks * blockSize / max(1, names)
}

// blockSize is the unit of st_blocks, whatever the file system's own is: see stat(2).
const blockSize = 512

// passOver returns an error that ends the measurement. What is gone meanwhile, or is another kind of file, does
// not, and what may not be read is counted. A handle is stale when another client has removed the directory.
func (m *measurement) passOver(err error) error {
	switch {
	case err == nil, errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP), IsStale(err):
		return nil
	case errors.Is(err, fs.ErrPermission):
		m.usage.Unreadable++
		return nil
	}
	return err
}
