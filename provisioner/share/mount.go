package share

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
)

// Source is an NFS export, as a PersistentVolume names it.
type Source struct {
	// Server is a host name or address; an IPv6 address stands without brackets.
	Server string
	// Path is the exported path, absolute and without a trailing slash.
	Path string
}

// Mount is a share as this process sees it.
type Mount struct {
	Name   string // of the directory below the mount path; empty for the one at the mount path itself
	Dir    string // where this process sees it
	Source Source // zero if it is no NFS mount
}

// FindMounts returns the shares in this process's mount table: dir itself, if that is an NFS mount,
// or else each mount directly below dir, named by its directory and sorted by name. Below an NFS
// mount, NFSv4 automatically mounts exports that lie inside it; they are not separate shares.
func FindMounts(dir string) ([]Mount, error) {
	table, err := mountinfo.GetMounts(nil)
	if err != nil {
		return nil, fmt.Errorf("read the mount table: %w", plain(err))
	}
	return findMounts(table, path.Clean(dir))
}

func findMounts(table []*mountinfo.Info, dir string) ([]Mount, error) {
	self := onTop(table, dir)
	below := map[string]*mountinfo.Info{}
	for _, m := range table {
		parent, name := path.Split(m.Mountpoint)
		if path.Clean(parent) != dir || m.Mountpoint == dir || below[name] != nil {
			continue
		}
		// Of several mounts on one directory, the lowest shows whether a later mount over dir hides
		// that directory.
		if self == nil || bottom(table, m).Parent == self.ID {
			below[name] = onTop(table, m.Mountpoint)
		}
	}
	if self == nil || !isNFS(self) {
		return named(dir, below)
	}
	whole, err := parseSource(self.Source)
	if err != nil {
		return nil, err
	}
	return []Mount{{Dir: dir, Source: whole}}, checkInside(whole, dir, below)
}

// onTop returns the visible mount at a directory: the one that no other mount covers.
func onTop(table []*mountinfo.Info, dir string) (top *mountinfo.Info) {
	for _, m := range table {
		covers := func(other *mountinfo.Info) bool { return other.Mountpoint == dir && other.Parent == m.ID && other != m }
		if m.Mountpoint == dir && !slices.ContainsFunc(table, covers) {
			top = m
		}
	}
	return top
}

// bottom returns the lowest of the mounts that are stacked at m.
func bottom(table []*mountinfo.Info, m *mountinfo.Info) *mountinfo.Info {
	for {
		i := slices.IndexFunc(table, func(other *mountinfo.Info) bool {
			return other.ID == m.Parent && other.Mountpoint == m.Mountpoint && other != m
		})
		if i < 0 {
			return m
		}
		m = table[i]
	}
}

// checkInside refuses mounts below an NFS mount that do not belong to it.
func checkInside(whole Source, dir string, below map[string]*mountinfo.Info) error {
	var errs []error
	for name, m := range below {
		inner, err := parseSource(m.Source)
		if !isNFS(m) || err != nil || !SameServer(inner.Server, whole.Server) || !inside(whole.Path, inner.Path) {
			errs = append(errs, fmt.Errorf("%s is a share (%s:%s), and %s (%s) is mounted inside of it: mount each share in a directory of its own below %s",
				dir, whole.Server, whole.Path, path.Join(dir, name), m.Source, dir))
		}
	}
	return errors.Join(errs...)
}

// shareName matches the names that a class may use.
var shareName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

// CheckName refuses a name that is not allowed for a share.
func CheckName(name string) error {
	if !shareName.MatchString(name) {
		return fmt.Errorf("%q cannot be the name of a share: allowed are up to 63 letters, digits, '.', '_' and '-', the first one a letter or digit", name)
	}
	return nil
}

// named returns the shares below a directory that is not a share itself.
func named(dir string, below map[string]*mountinfo.Info) (mounts []Mount, err error) {
	var errs []error
	for name, m := range below {
		if strings.HasPrefix(name, ".") { // hidden, like the kubelet's own mounts
			continue
		}
		mount := Mount{Name: name, Dir: path.Join(dir, name)}
		err := CheckName(name)
		if err == nil && isNFS(m) {
			mount.Source, err = parseSource(m.Source)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("mounted at %s: %w", mount.Dir, plain(err)))
		}
		mounts = append(mounts, mount)
	}
	slices.SortFunc(mounts, func(a, b Mount) int { return cmp.Compare(a.Name, b.Name) })
	return mounts, errors.Join(errs...)
}

// CheckApart refuses two mounts of one share, and a share inside another. The records of one would
// not cover the other's volumes.
func CheckApart(mounts []Mount) error {
	var errs []error
	for i, a := range mounts {
		for _, b := range mounts[:i] {
			if SameServer(a.Source.Server, b.Source.Server) && (a.Source.Path == b.Source.Path || inside(a.Source.Path, b.Source.Path) || inside(b.Source.Path, a.Source.Path)) {
				errs = append(errs, fmt.Errorf("shares %q (%s:%s) and %q (%s:%s) are the same or one inside the other: mount only one of them",
					b.Name, b.Source.Server, b.Source.Path, a.Name, a.Source.Server, a.Source.Path))
			}
		}
	}
	return errors.Join(errs...)
}

// Below returns the exported path full relative to export, and whether it lies strictly below it.
// It compares whole elements: "/a/bc" is not below "/a/b", and everything but "/" is below "/". It
// does not clean the paths.
func Below(export, full string) (relative string, below bool) {
	relative, below = strings.CutPrefix(full, strings.TrimSuffix(export, "/")+"/")
	return relative, below && relative != ""
}

func inside(outer, inner string) bool {
	_, is := Below(outer, inner)
	return is
}

func isNFS(m *mountinfo.Info) bool { return m.FSType == "nfs" || m.FSType == "nfs4" }

// parseSource splits the device of an NFS mount, server:/export. The kernel shows the full exported
// path there, even for a bind mount.
func parseSource(device string) (Source, error) {
	i := strings.Index(device, ":/")
	if i <= 0 {
		return Source{}, fmt.Errorf("mount source %q: want SERVER:/EXPORT", device)
	}
	return Source{Server: Unbracket(device[:i]), Path: path.Clean("/" + strings.TrimLeft(device[i+1:], "/"))}, nil
}

// Unbracket removes the brackets around an IPv6 address; PersistentVolumes have none.
func Unbracket(server string) string {
	return strings.TrimSuffix(strings.TrimPrefix(server, "["), "]")
}
