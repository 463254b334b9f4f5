package share

import (
	"fmt"
	"path"
	"strings"

	"github.com/moby/sys/mountinfo"
)

// Source says what is mounted at a directory, as a PersistentVolume names it.
type Source struct {
	// Server is a host name or address; an IPv6 address stands in brackets.
	Server string
	// Path is the exported path, absolute and without a trailing slash.
	Path string
}

// FindSource looks in this process's mount table for an NFS mount at dir. It
// reports false if there is none.
func FindSource(dir string) (Source, bool, error) {
	dir = path.Clean(dir)
	mounts, err := mountinfo.GetMounts(func(m *mountinfo.Info) (skip, stop bool) {
		return m.Mountpoint != dir, false
	})
	if err != nil {
		return Source{}, false, fmt.Errorf("read the mount table: %w", err)
	}
	if len(mounts) == 0 {
		return Source{}, false, nil
	}
	mount := mounts[len(mounts)-1] // of several, the last lies on top
	if mount.FSType != "nfs" && mount.FSType != "nfs4" {
		return Source{}, false, nil
	}
	source, err := parseSource(mount.Source)
	return source, err == nil, err
}

// parseSource splits the device of an NFS mount, server:/export. (The kernel
// shows the whole way to the mounted directory there, also for a bind mount.)
func parseSource(device string) (Source, error) {
	i := strings.Index(device, ":/")
	if i <= 0 {
		return Source{}, fmt.Errorf("mount source %q: want SERVER:/EXPORT", device)
	}
	return Source{Server: device[:i], Path: path.Clean(device[i+1:])}, nil
}

// Mount is a share as this process sees it.
type Mount struct {
	Name   string // of the directory below the mount path; empty for the one mounted at the mount path itself
	Dir    string // where this process sees it
	Source Source // zero if it is no NFS mount
}
