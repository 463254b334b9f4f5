package share

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The calls of this file and of project.go are for a process on the NFS server, which has the
// exported directory on a local file system. They need root, and Linux 5.14 for quotactl_fd(2):
// that one takes the file system from the open share, so no device is looked up by name.

// ErrNoQuotas says that the file system of a share cannot limit directories, or was not told to. The
// error that wraps it says why.
var ErrNoQuotas = errors.New("allowed are XFS mounted with prjquota, and ext4 with the features quota and project mounted with prjquota; docs/quota.md says how to change that")

// ErrNotRoot says that the process may not set quotas.
var ErrNotRoot = errors.New("setting quotas takes root of the NFS server itself, outside any container's user namespace: run it there with sudo or from the systemd unit (docs/quota.md)")

// ErrAtWork says that another process has what only one may have at a time.
var ErrAtWork = errors.New("another claimdir quota is at work there: stop it first, or leave the share to it")

// ProjectUsage is what the file system says of a project.
type ProjectUsage struct {
	// Limit is what all its files may take together, in bytes; 0 means that there is no limit.
	Limit uint64
	// Bytes and Files are what they take now. Directories count as files.
	Bytes, Files uint64
}

// Commands and flags of quotactl(2), from linux/quota.h and linux/dqblk_xfs.h. Both file systems
// answer the commands of both headers: the kernel translates (fs/quota/quota.c).
const (
	projectQuota = 2                  // PRJQUOTA and XQM_PRJQUOTA
	getQuota     = uint32(0x800007)   // Q_GETQUOTA
	setQuota     = uint32(0x800008)   // Q_SETQUOTA
	getState     = uint32('X'<<8 + 8) // Q_XGETQSTATV

	validLimits   = 1       // QIF_BLIMITS: of the limits, those of space
	quotaBlock    = 1 << 10 // QIF_DQBLKSIZE, the unit of the limits, in bytes
	stateVersion  = 1       // FS_QSTATV_VERSION1
	stateCounted  = 1 << 4  // FS_QUOTA_PDQ_ACCT
	stateEnforced = 1 << 5  // FS_QUOTA_PDQ_ENFD
)

// dqblk is struct if_dqblk of linux/quota.h. The padding is the compiler's on 64-bit systems and
// on arm, and does no harm on others.
type dqblk struct {
	hardLimit, softLimit, space           uint64 // limits in units of quotaBlock, space in bytes
	inodeHardLimit, inodeSoftLimit, inode uint64
	spaceTime, inodeTime                  uint64
	valid                                 uint32
	_                                     uint32
}

// quotaState is struct fs_quota_statv of linux/dqblk_xfs.h, of which only the flags matter here.
type quotaState struct {
	version int8
	_       uint8
	flags   uint16
	_       uint32
	_       [3][3]uint64 // struct fs_qfilestatv, of three kinds of quota
	_       [6]uint32
	_       [7]uint64
}

// CheckQuotas fails if this process cannot set project quotas on the file system of the share, with
// ErrNoQuotas or ErrNotRoot where these are the reason. It returns the size in bytes to whose
// multiples the file system rounds limits.
func (s *Share) CheckQuotas() (block uint64, err error) {
	root, err := s.openRoot()
	if errors.Is(err, fs.ErrPermission) {
		return 0, fmt.Errorf("%w: user %d may not even read the share", ErrNotRoot, unix.Geteuid())
	}
	if err != nil {
		return 0, err
	}
	defer s.done(root)
	var system unix.Statfs_t
	if err := unix.Fstatfs(root.fd(), &system); err != nil {
		return 0, unreachable(err)
	}
	name, err := quotaSystem(int64(system.Type)) // its type differs between architectures
	if err != nil {
		return 0, err
	}
	state := quotaState{version: stateVersion}
	err = s.quotactl(getState, 0, unsafe.Pointer(&state))
	switch on := state.flags & (stateCounted | stateEnforced); {
	case errors.Is(err, unix.ENOSYS) && !hasQuotactlFD():
		return 0, errors.New("this kernel has no quotactl_fd(2): Linux 5.14 or later is needed")
	case err == nil && on == stateCounted:
		return 0, fmt.Errorf("its file system, %s, counts what projects use but does not enforce limits: %w", name, ErrNoQuotas)
	case err == nil && on != stateCounted|stateEnforced, errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EINVAL), errors.Is(err, unix.ESRCH):
		return 0, fmt.Errorf("its file system, %s, has no project quotas switched on: %w", name, ErrNoQuotas)
	case err != nil:
		return 0, fmt.Errorf("ask whether quotas are on: %w", plain(err))
	}
	if _, err := s.ProjectUsage(0); errors.Is(err, fs.ErrPermission) {
		return 0, fmt.Errorf("%w: this is user %d", ErrNotRoot, unix.Geteuid())
	} else if err != nil {
		return 0, err
	}
	return uint64(system.Bsize), nil
}

// quotaSystem names a file system that can have project quotas, by its type as statfs(2) has it.
func quotaSystem(kind int64) (string, error) {
	switch kind {
	case unix.XFS_SUPER_MAGIC:
		return "XFS", nil
	case unix.EXT4_SUPER_MAGIC:
		return "ext4", nil
	case nfsMagic:
		return "", fmt.Errorf("it is an NFS mount: run claimdir quota on the NFS server, on the exported directory itself: %w", ErrNoQuotas)
	}
	return "", fmt.Errorf("its file system, of type %#x, has no project quotas: %w", kind, ErrNoQuotas)
}

// hasQuotactlFD tells a kernel without the call from a file system without quotas: both answer
// ENOSYS.
func hasQuotactlFD() bool {
	_, _, errno := unix.Syscall6(unix.SYS_QUOTACTL_FD, ^uintptr(0), 0, 0, 0, 0, 0)
	return errno != unix.ENOSYS
}

// quotactl calls quotactl_fd(2) for a project. what is what the command reads or writes.
func (s *Share) quotactl(command, project uint32, what unsafe.Pointer) error {
	root, err := s.openRoot()
	if err != nil {
		return err
	}
	defer s.done(root)
	return root.change("quotactl", func() error {
		_, _, errno := unix.Syscall6(unix.SYS_QUOTACTL_FD, uintptr(root.fd()), uintptr(command<<8|projectQuota), uintptr(project), uintptr(what), 0, 0)
		if errno != 0 {
			return errno
		}
		return nil
	})
}

// ProjectUsage returns the limit and the usage of a project. One that the file system does not know
// has none.
func (s *Share) ProjectUsage(project uint32) (ProjectUsage, error) {
	var found dqblk
	err := s.quotactl(getQuota, project, unsafe.Pointer(&found))
	if errors.Is(err, fs.ErrNotExist) { // XFS
		return ProjectUsage{}, nil
	}
	if err != nil {
		return ProjectUsage{}, fmt.Errorf("usage of project %d: %w", project, plain(err))
	}
	return ProjectUsage{Limit: found.hardLimit * quotaBlock, Bytes: found.space, Files: found.inode}, nil
}

// LimitProject limits the space of a project to a number of bytes; 0 removes the limit. There is no
// soft limit: statfs(2) would show that one, and the kernel would enforce it after a week.
func (s *Share) LimitProject(project uint32, bytes uint64) error {
	limit := dqblk{hardLimit: (bytes + quotaBlock - 1) / quotaBlock, valid: validLimits}
	if err := s.quotactl(setQuota, project, unsafe.Pointer(&limit)); err != nil {
		return fmt.Errorf("limit project %d to %d bytes: %w", project, bytes, plain(err))
	}
	return nil
}

// isBusy reports whether a file could not be opened because an NFS client has it for itself (a
// delegation). The server asks the client to give it back.
func isBusy(err error) bool { return errors.Is(err, syscall.EAGAIN) }
