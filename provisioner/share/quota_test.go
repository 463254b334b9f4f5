package share

import (
	"errors"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The kernel copies as many bytes as its own structures have, wherever ours end.
func TestQuotaStructuresAreTheKernels(t *testing.T) {
	for name, size := range map[string][2]uintptr{
		"if_dqblk":       {unsafe.Sizeof(dqblk{}), 72},
		"fs_quota_statv": {unsafe.Sizeof(quotaState{}), 160},
		"fsxattr":        {unsafe.Sizeof(fsxattr{}), 28},
		"flags":          {unsafe.Offsetof(quotaState{}.flags), 2},
		"valid":          {unsafe.Offsetof(dqblk{}.valid), 64},
		"project":        {unsafe.Offsetof(fsxattr{}.project), 12},
	} {
		if size[0] != size[1] {
			t.Errorf("%s: %d, want %d", name, size[0], size[1])
		}
	}
	get, set := uintptr(0x801c581f), uintptr(0x401c5820)
	if runtime.GOARCH == "ppc64le" {
		get, set = 0x401c581f, 0x801c5820
	}
	if getXattr != get || setXattr != set {
		t.Errorf("ioctls %#x and %#x, want %#x and %#x", getXattr, setXattr, get, set)
	}
}

func TestFileSystemsWithoutProjectQuotas(t *testing.T) {
	for kind, want := range map[int64]string{unix.XFS_SUPER_MAGIC: "XFS", unix.EXT4_SUPER_MAGIC: "ext4"} {
		if name, err := quotaSystem(kind); err != nil || name != want {
			t.Errorf("%#x: %s, %v", kind, name, err)
		}
	}
	for kind, want := range map[int64]string{nfsMagic: "it is an NFS mount: run claimdir quota on the NFS server", unix.TMPFS_MAGIC: "its file system, of type 0x1021994, has no project quotas"} {
		if _, err := quotaSystem(kind); !errors.Is(err, ErrNoQuotas) || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%#x: %v", kind, err)
		}
	}
}
