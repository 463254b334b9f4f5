package quota

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/output"
	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
)

// volume is an active record whose directory is there.
type volume struct {
	path      volpath.Path
	directory *share.Identity
	limit     uint64        // bytes
	has       share.Project // what the directory has
}

func (v *volume) number() uint64 { return v.directory.Number }

// reading is what a pass has read.
type reading struct {
	volumes map[uint64]*volume // by the number of the directory
	named   map[uint64]bool    // directories that an active record names, whether they are there or not
	unread  bool               // some record could not be read
	left    map[string]string  // what is left alone, and why
}

// pass brings ids and limits up to date with the records, and begins the walks that are needed.
func (j *Job) pass(ctx context.Context) error {
	return j.view(ctx, func(s *share.Share) error {
		found := j.read(s)
		if err := ctx.Err(); err != nil {
			return err
		}
		found.leaveNested()
		j.active = found.volumes
		maps.DeleteFunc(j.failed, func(directory uint64, _ failure) bool { return j.active[directory] == nil })
		err := j.giveIDs(ctx, s, found)
		for _, v := range found.inOrder() {
			if p, has := j.projects.byDirectory[v.number()]; has && err == nil {
				err = j.bring(s, v, p, found)
			}
		}
		if err == nil {
			err = j.drop(ctx, s, found)
		}
		j.tell(found.left)
		return errors.Join(err, j.save(s))
	})
}

// read reads the records of the share, and looks at the directories of the active ones.
func (j *Job) read(s *share.Share) reading {
	found := reading{map[uint64]*volume{}, map[uint64]bool{}, false, map[string]string{}}
	for r, err := range j.records.On(s).Records() {
		if err != nil {
			found.unread = true
			found.left[err.Error()] = err.Error() + "; until it can be read, no limit is dropped"
			continue
		}
		if r.State != ledger.Active {
			continue
		}
		if r.Directory != nil {
			found.named[r.Directory.Number] = true
		}
		v, err := j.look(s, r)
		if err != nil {
			found.leave(r.Path, err)
			continue
		}
		if other := found.volumes[v.number()]; other == nil || other.limit < v.limit { // of two records of one directory one is litter
			found.volumes[v.number()] = v
		}
	}
	return found
}

func (f reading) leave(path string, why error) {
	f.left[path] = fmt.Sprintf("volume %s: left alone: %v", path, why)
}

// leaveNested leaves volumes inside of others alone: their files count for the volume around them. Only
// an administrator's hand makes such volumes.
func (f reading) leaveNested() {
	paths := map[string]bool{}
	for _, v := range f.volumes {
		paths[v.path.String()] = true
	}
	for number, v := range f.volumes {
		for _, above := range v.path.Ancestors() {
			if paths[above.String()] {
				f.leave(v.path.String(), fmt.Errorf("it lies inside the volume %s, whose project id its files have: a file has one project id; move one of the two", above))
				delete(f.volumes, number)
			}
		}
	}
}

// inOrder returns the volumes by their paths.
func (f reading) inOrder() []*volume {
	return sortedBy(maps.Values(f.volumes), func(v *volume) string { return v.path.String() })
}

// look returns the volume of an active record. The error says why it is left alone.
func (j *Job) look(s *share.Share, r ledger.Record) (*volume, error) {
	path, err := volpath.ParseRecorded(r.Path)
	if err != nil {
		return nil, err
	}
	limit, err := j.config.Slack.limit(r.Size, j.block)
	if err != nil {
		return nil, err
	}
	has, err := j.limits(s).Project(path, r.Directory)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, errors.New("its directory is absent; claimdir doctor says what to do")
	case errors.Is(err, share.ErrChanged):
		return nil, fmt.Errorf("the directory there is not the one on record, whose file number is %d; claimdir doctor says what to do", r.Directory.Number)
	case errors.Is(err, share.ErrUnidentified):
		return nil, errors.New("its record does not say which directory of this copy of the share it is; claimdir writes that once it leads")
	case err != nil:
		return nil, err
	}
	return &volume{path, r.Directory, limit, has}, nil
}

// giveIDs gives an id to each directory that has none, and brings its limit. No other share on the
// file system gives out ids meanwhile; it sees those that have a limit.
func (j *Job) giveIDs(ctx context.Context, s *share.Share, found reading) error {
	var without []*volume
	for _, v := range found.inOrder() {
		before := j.projects.byDirectory[v.number()]
		now, known := j.projects.confirm(v.number(), v.has.ID)
		if j.unsaved = j.unsaved || now != before; known {
			continue
		}
		if v.has.ID != 0 {
			found.leave(v.path.String(), j.foreign(&share.ForeignProject{Path: v.path.String(), ID: v.has.ID}))
			continue
		}
		without = append(without, v)
	}
	if len(without) == 0 {
		return nil
	}
	give := func() error {
		for _, v := range without {
			_, err := j.projects.give(v.number(), v.path.String(), j.config.Base, func(id uint32) (bool, error) {
				usage, err := j.limits(s).ProjectUsage(id)
				return usage != share.ProjectUsage{}, err
			})
			if err != nil {
				return err
			}
			j.unsaved = true
		}
		if j.config.DryRun {
			return nil
		}
		if err := j.save(s); err != nil {
			return err
		}
		for _, v := range without {
			if err := j.setLimit(s, v, j.projects.byDirectory[v.number()]); err != nil {
				return err
			}
		}
		return nil
	}
	if j.config.DryRun {
		return give()
	}
	return j.limits(s).AloneOnFileSystem(ctx, give)
}

// bring brings the limit of a volume that has an id up to date, and begins a walk if one is needed.
func (j *Job) bring(s *share.Share, v *volume, p project, found reading) error {
	if v.has.ID != 0 && v.has.ID != p.ID {
		found.leave(v.path.String(), j.foreign(&share.ForeignProject{Path: v.path.String(), ID: v.has.ID}))
		return nil
	}
	if p.Path != v.path.String() {
		p.Path = v.path.String()
		j.put(p)
	}
	if err := j.setLimit(s, v, p); err != nil {
		return err
	}
	if p.Unfinished || v.has != (share.Project{ID: p.ID, Inherited: true}) {
		if !p.Unfinished {
			p.Unfinished = true
			j.put(p)
		}
		if f, failed := j.failed[v.number()]; failed {
			found.left[v.path.String()] = f.line
		}
		j.beginWalk(v, p.ID)
	}
	return nil
}

// put changes the entry of a directory.
func (j *Job) put(p project) {
	j.projects.byDirectory[p.Directory] = p
	j.unsaved = true
}

// setLimit sets the limit of a volume's project if it is another one.
func (j *Job) setLimit(s *share.Share, v *volume, p project) error {
	usage, err := j.limits(s).ProjectUsage(p.ID)
	if err != nil || usage.Limit == v.limit {
		return err
	}
	line := fmt.Sprintf("volume %s: limit %s, was %s", v.path, size(v.limit), size(usage.Limit))
	if usage.Limit == 0 {
		line = fmt.Sprintf("volume %s: project id %d, limit %s", v.path, p.ID, size(v.limit))
	}
	return j.change(line, func() error { return j.limits(s).LimitProject(p.ID, v.limit) })
}

// tell says what is left alone, unless that was said by the last pass.
func (j *Job) tell(left map[string]string) {
	for _, what := range sortedBy(maps.Keys(left), func(what string) string { return what }) {
		if j.left[what] != left[what] {
			fmt.Fprintln(j.config.Out, output.Cell(left[what]))
		}
	}
	j.left = left
}

// foreign says whose a foreign project id is, and what to do about it.
func (j *Job) foreign(f *share.ForeignProject) error {
	whose := "which claimdir has not given out"
	if p, known := j.projects.withID(f.ID); known {
		whose = "that of " + p.Path
	}
	return fmt.Errorf("%q has project id %d, %s; if nobody needs it there, clear it: chattr -R -P -p 0 DIRECTORY", f.Path, f.ID, whose)
}
