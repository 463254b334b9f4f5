package quota

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"slices"

	"claimdir/provisioner/share"
)

const (
	projectsFile = "projects.json" // below .claimdir
	// projectsLayout is the layout of the file that this program writes. It refuses newer ones.
	projectsLayout = 1
	// maxProjectsFile is the largest file that is read, in bytes: about a million directories.
	maxProjectsFile = 256 << 20
)

// errProjects says that projects.json cannot be used.
var errProjects = errors.New(".claimdir/" + projectsFile + " cannot be used; restore it from a backup, or remove it and clear the ids of all volumes (docs/quota.md says how)")

// project is a directory that has a project id.
type project struct {
	// ID is the project id.
	ID uint32 `json:"id"`
	// Directory is the file number of the directory. It, and not the path, says whose the id is: a
	// directory that becomes an archive, and a volume again, keeps its number and its files' ids.
	Directory uint64 `json:"directory"`
	// Path is where the directory was as a volume, for people.
	Path string `json:"path"`
	// Unfinished says that something in the directory may have no id yet.
	Unfinished bool `json:"unfinished,omitempty"`
	// Unconfirmed says that the entry was written on another copy of the share: see confirm.
	Unconfirmed bool `json:"unconfirmed,omitempty"`
}

// projects are the directories that have project ids, by their numbers.
type projects struct {
	next        uint32 // no id from here on was ever given out
	byDirectory map[uint64]project
}

// file is projects.json.
type file struct {
	Layout int `json:"layout"`
	// Place is the copy of the share on which the numbers of directories mean something.
	Place string `json:"place"`
	// Next is the first id that was never given out.
	Next     uint32    `json:"next"`
	Projects []project `json:"projects"`
}

// readProjects reads projects.json, which may be absent. No id in it may be below base.
func readProjects(s *share.Share, base uint32) (projects, error) {
	data, err := s.ReadLargeFile("", projectsFile, maxProjectsFile)
	if errors.Is(err, fs.ErrNotExist) {
		return projects{byDirectory: map[uint64]project{}}, nil
	}
	if err != nil {
		return projects{}, err
	}
	return decodeProjects(data, s.Place(), base)
}

// decodeProjects refuses ids below base, which are an administrator's: whoever is root on a client of the export can write the
// file, and the limits of what it names are set and removed.
func decodeProjects(data []byte, place string, base uint32) (projects, error) {
	p := projects{byDirectory: map[uint64]project{}}
	var f file
	if err := json.Unmarshal(data, &f); err != nil {
		return projects{}, fmt.Errorf("%w: %w", errProjects, err)
	}
	if f.Layout > projectsLayout {
		return projects{}, fmt.Errorf(".claimdir/%s has layout %d and this claimdir knows %d: run a newer one", projectsFile, f.Layout, projectsLayout)
	}
	if f.Layout < 1 {
		return projects{}, fmt.Errorf("%w: layout %d", errProjects, f.Layout)
	}
	p.next = f.Next
	ids := map[uint32]bool{}
	for _, one := range f.Projects {
		if _, twice := p.byDirectory[one.Directory]; twice || ids[one.ID] || one.ID == 0 || one.ID >= f.Next {
			return projects{}, fmt.Errorf("%w: project id %d of directory %d is there twice, or not below %d", errProjects, one.ID, one.Directory, f.Next)
		}
		if one.ID < base {
			return projects{}, belowBase(one, base)
		}
		ids[one.ID] = true
		one.Unconfirmed = one.Unconfirmed || f.Place != place
		p.byDirectory[one.Directory] = one
	}
	return p, nil
}

// belowBase says why an entry is refused, and the two ways out: the file cannot tell which of them is right.
func belowBase(one project, base uint32) error {
	return fmt.Errorf(".claimdir/%s gives project id %d to directory %d, and allowed are ids from --project-base on, %d: "+
		"if the one who wrote that was claimdir quota with a lower --project-base, give that again; "+
		"if not, somebody else wrote it: restore the file from a backup, or remove it and clear the ids of all volumes (docs/quota.md says how)",
		projectsFile, one.ID, one.Directory, base)
}

// confirm returns the entry of a directory that has a project id, or 0. If the entry is of another
// copy of the share, where numbers were others, it holds if the directory has its very id: then it is
// no copy, but share.json was written anew. If the directory has no id, the entry is another one's,
// and is forgotten.
func (p *projects) confirm(directory uint64, has uint32) (one project, known bool) {
	one, known = p.byDirectory[directory]
	switch {
	case !known || !one.Unconfirmed || has != 0 && has != one.ID:
		return one, known
	case has == 0:
		delete(p.byDirectory, directory)
		return project{}, false
	}
	one.Unconfirmed, one.Unfinished = false, true
	p.byDirectory[directory] = one
	return one, true
}

// encode returns projects.json, in the order of the ids, a line for each directory.
func (p projects) encode(place string) ([]byte, error) {
	text, err := json.Marshal(file{projectsLayout, place, p.next, nil})
	if err != nil {
		return nil, err
	}
	text = append(text[:len(text)-len("null}")], '[')
	for i, one := range p.sorted() {
		line, err := json.Marshal(one)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			text = append(text, ',')
		}
		text = append(append(text, '\n'), line...)
	}
	return append(text, "\n]}\n"...), nil
}

func (p projects) write(s *share.Share) error {
	data, err := p.encode(s.Place())
	if err != nil {
		return err
	}
	return s.WriteFile("", projectsFile, data)
}

// sorted returns all in the order of their ids.
func (p projects) sorted() []project {
	return slices.SortedFunc(maps.Values(p.byDirectory), func(a, b project) int {
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
}

// withID returns the directory that has an id.
func (p projects) withID(id uint32) (found project, is bool) {
	for _, one := range p.byDirectory {
		if one.ID == id {
			return one, true
		}
	}
	return project{}, false
}

// errNoIDs says that every id was given out.
var errNoIDs = errors.New("no project id is left, because none is given out twice: docs/quota.md says how to begin anew")

// give gives a directory an id that nobody has: never one that was given out before, and none of
// which inUse says that an administrator, or another share on the file system, uses it.
func (p *projects) give(directory uint64, path string, base uint32, inUse func(id uint32) (bool, error)) (project, error) {
	for id := max(p.next, base); id < math.MaxUint32; id++ {
		used, err := inUse(id)
		if err != nil {
			return project{}, err
		}
		if used {
			continue
		}
		p.next = id + 1
		one := project{ID: id, Directory: directory, Path: path, Unfinished: true}
		p.byDirectory[directory] = one
		return one, nil
	}
	return project{}, errNoIDs
}
