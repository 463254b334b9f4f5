package doctor

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
)

// directories finds those that are nobody's. It looks into no volume, only into
// what lies above one. A volume is whatever a PersistentVolume or a record
// names, whoever made that.
func (r *Report) directories(site *Site, volumes map[string]bool) {
	above := map[string]bool{}
	for p := range volumes {
		for i := strings.LastIndexByte(p, '/'); i > 0; i = strings.LastIndexByte(p[:i], '/') {
			above[p[:i]] = true
		}
	}
	r.look(site, volpath.Path{}, volumes, above)
}

// placesOn are the paths of all volumes on a share.
func (c Cluster) placesOn(site *Site) map[string]bool {
	volumes := map[string]bool{}
	for p := range c.at(site.Source) {
		volumes[p] = true
	}
	for _, record := range site.Records {
		volumes[record.Path] = true
	}
	return volumes
}

func (r *Report) look(site *Site, dir volpath.Path, volumes, above map[string]bool) {
	entries, err := site.Dirs.List(dir)
	if err != nil {
		r.find(KindDirectory, cmp.Or(dir.String(), "/"), fmt.Sprintf("cannot be looked into: %v", err), "fix the cause named in the error")
		return
	}
	for _, e := range entries {
		if !e.Dir || dir == (volpath.Path{}) && notOurs(e.Name) {
			continue
		}
		p, err := child(dir, e.Name)
		switch {
		case err != nil:
			r.find(KindDirectory, fmt.Sprintf("%q", e.Name), "no volume has it: "+err.Error(), "remove it if neither another program nor another cluster needs it")
		case volumes[p.String()]:
			r.Checked.Directories++
		case above[p.String()]:
			r.look(site, p, volumes, above)
		default:
			r.Checked.Directories++
			if _, known, err := site.Lookup(p); known || err != nil {
				continue // made since the records were read, or damaged, which is said already
			}
			r.find(KindDirectory, p.String(), "no PersistentVolume and no record names it",
				"remove it if neither another program nor another cluster needs it; a claim whose path it is gets it with onExisting: adopt")
		}
	}
}

// notOurs are directories at the root of a share that are in order: archives,
// also a peer's, and what file systems and NFS servers keep there themselves.
func notOurs(name string) bool {
	return volpath.NamedAsArchive(name) ||
		slices.Contains([]string{"lost+found", ".snapshot", ".snapshots", "~snapshot", ".zfs", "@eaDir", "#recycle", "#snapshot"}, name)
}

// child is the path of a directory in dir.
func child(dir volpath.Path, name string) (volpath.Path, error) {
	if dir == (volpath.Path{}) {
		return volpath.Parse(name)
	}
	return volpath.Parse(dir.String() + "/" + name)
}

// listed answers from one listing of each directory where it can: 10,000
// volumes lie in few directories, and each question of its own is several
// calls to the NFS server.
type listed struct {
	Directories

	volumes map[string]bool // whose content is nobody's business, and may be large
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

// Exists asks again for what is not listed as a directory: that one knows why,
// and a listing grows old.
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
