package doctor

import (
	"cmp"
	"fmt"
	"slices"

	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
)

// directories reports the directories that no PersistentVolume and no record names,
// including those of other provisioners. It lists the directories above a volume, and
// never the volume itself.
func (r *Report) directories(site *Site, volumes map[string]bool) {
	above := map[string]bool{}
	for p := range volumes {
		for parent := range parents(p) {
			above[parent] = true
		}
	}
	r.look(site, volpath.Path{}, volumes, above)
}

// placesOn returns the paths of all volumes on a share.
func (c Cluster) placesOn(site *Site) map[string]bool {
	volumes := map[string]bool{}
	for p := range c.at(site.Source) {
		volumes[p] = true
	}
	for p := range site.paths() {
		volumes[p] = true
	}
	return volumes
}

func (r *Report) look(site *Site, dir volpath.Path, volumes, above map[string]bool) {
	entries, err := site.Dirs.List(dir)
	if err != nil {
		r.find(KindDirectory, cmp.Or(dir.String(), "/"), fmt.Sprintf("cannot be listed: %v", err), "fix the cause named in the error")
		return
	}
	for _, e := range entries {
		if !e.Dir || dir == (volpath.Path{}) && notOurs(e.Name) {
			continue
		}
		p, err := child(dir, e.Name)
		switch {
		case err != nil:
			r.find(KindDirectory, fmt.Sprintf("%q", e.Name), "a volume cannot have this directory: "+err.Error(), "remove it if no other program and no other cluster needs it")
		case volumes[p.String()]:
			r.Checked.Directories++
		case above[p.String()]:
			r.look(site, p, volumes, above)
		default:
			r.Checked.Directories++
			if _, known, err := site.Lookup(p); known || err != nil {
				continue // it was made after the records were read, or its record is damaged and reported already
			}
			r.find(KindDirectory, p.String(), "no PersistentVolume and no record names it",
				"remove it if no other program and no other cluster needs it; a claim with this path can use it if its class has onExisting: adopt")
		}
	}
}

// notOurs reports whether a directory at the root of a share is an archive (ours or a
// peer's) or belongs to the file system or the NFS server. Such a directory is no problem.
func notOurs(name string) bool {
	return volpath.NamedAsArchive(name) ||
		slices.Contains([]string{"lost+found", ".snapshot", ".snapshots", "~snapshot", ".zfs", "@eaDir", "#recycle", "#snapshot"}, name)
}

// child returns the path of a directory in dir.
func child(dir volpath.Path, name string) (volpath.Path, error) {
	if dir == (volpath.Path{}) {
		return volpath.Parse(name)
	}
	return volpath.Parse(dir.String() + "/" + name)
}

// listed lists each directory once and answers Exists from the listing where it can.
// 10,000 volumes lie in few directories, and each single check costs several calls to the
// NFS server.
type listed struct {
	Directories

	volumes map[string]bool // these are never listed: they may be large, and their content is the tenant's
	seen    map[volpath.Path]listing
}

type listing struct {
	entries []share.Entry
	dirs    map[string]bool
	err     error
}

func (l listed) List(dir volpath.Path) ([]share.Entry, error) {
	found := l.listing(dir)
	return found.entries, found.err
}

// Exists asks the share again if the listing does not have the directory: the listing may
// be out of date, and only the share returns the reason.
func (l listed) Exists(p volpath.Path) (bool, error) {
	var parent volpath.Path
	above := p.Ancestors()
	if len(above) > 0 {
		parent = above[0]
	}
	if slices.ContainsFunc(above, func(a volpath.Path) bool { return l.volumes[a.String()] }) {
		return l.Directories.Exists(p)
	}
	if l.listing(parent).dirs[p.Base()] {
		return true, nil
	}
	return l.Directories.Exists(p)
}

func (l listed) listing(dir volpath.Path) listing {
	found, known := l.seen[dir]
	if !known {
		found.entries, found.err = l.Directories.List(dir)
		found.dirs = make(map[string]bool, len(found.entries))
		for _, e := range found.entries {
			found.dirs[e.Name] = e.Dir
		}
		l.seen[dir] = found
	}
	return found
}
