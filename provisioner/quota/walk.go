package quota

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"claimdir/provisioner/output"
	"claimdir/provisioner/share"
)

const (
	// saveEvery is how often projects.json is written while walks go on. What ended since is walked
	// again after a kill.
	saveEvery = 5 * time.Second
	// againFirst is the wait before a walk that failed is repeated. It doubles up to againLast,
	// because a tree may be large.
	againFirst = 30 * time.Second
	againLast  = time.Hour
)

// walk gives a project id to what a directory holds. It looks at everything first, and gives the id
// only if nothing has another one.
type walk struct {
	volume *volume
	id     uint32
	looked bool
	tree   *share.Tree // nil before the first step of each of the two
}

// failure is a walk that did not complete.
type failure struct {
	line  string // what was said
	wait  time.Duration
	again time.Time
}

// beginWalk puts a walk before all others that have begun, unless there is one, or one has failed
// lately.
func (j *Job) beginWalk(v *volume, id uint32) {
	if time.Now().Before(j.failed[v.number()].again) {
		return
	}
	if w := j.walking[v.number()]; w != nil && w.id == id {
		w.volume = v
		return
	}
	// With the id on the directory itself, a walk before this one has looked.
	w := &walk{volume: v, id: id, looked: v.has.ID == id && !j.config.DryRun}
	j.walking[v.number()] = w
	j.fresh = append(j.fresh, w)
}

// nextWalk takes the walk whose turn it is.
func (j *Job) nextWalk() *walk {
	from := &j.walks
	if len(j.fresh) > 0 {
		from = &j.fresh
	}
	w := (*from)[0]
	*from = (*from)[1:]
	return w
}

// walkOn makes a step of the walk whose turn it is.
func (j *Job) walkOn(ctx context.Context) error {
	w := j.nextWalk()
	number := w.volume.number()
	if j.walking[number] != w {
		return nil // the number is another directory's by now
	}
	if released := j.active[number] == nil; released && (w.tree == nil || !w.looked) {
		delete(j.walking, number)
		return nil // a volume that has the directory again is walked anew
	}
	// Half a walk would leave directories that the kernel does not let into those above them, and a
	// removal moves deep ones up: so it goes on, wherever the released directory is now.
	return j.view(ctx, func(s *share.Share) error {
		ended, err := w.step(ctx, j, s)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil && !ended {
			j.walks = append(j.walks, w)
			return nil
		}
		delete(j.walking, number)
		switch {
		case err == nil:
			j.end(w)
		case j.active[number] != nil: // or else the tree may be being removed
			j.fail(w, err)
		}
		if time.Since(j.saved) < saveEvery {
			return nil
		}
		return j.save(s)
	})
}

// step goes on with a walk, and reports whether it has ended.
func (w *walk) step(ctx context.Context, j *Job, s *share.Share) (ended bool, err error) {
	v := w.volume
	if w.tree == nil {
		if w.looked {
			if err := s.SetProject(v.path, v.directory, w.id); err != nil {
				return false, err
			}
		}
		if w.tree, err = s.Walk(v.path, v.directory, w.id); err != nil {
			return false, err
		}
		w.tree.Give, w.tree.Pace = w.looked, func() error { return j.pace.Wait(ctx) }
	}
	done, err := w.tree.Step(s)
	switch {
	case err != nil || !done:
		return false, err
	case w.tree.LeftOut > 0:
		return false, fmt.Errorf("could not open or change %s; the first: %w", output.Count(w.tree.LeftOut, "file"), w.tree.Left)
	case w.looked || j.config.DryRun:
		return true, nil
	}
	w.looked, w.tree = true, nil
	return false, nil
}

// end says how a walk has ended, and marks the directory as finished.
func (j *Job) end(w *walk) {
	v := w.volume
	line := fmt.Sprintf("volume %s: project id %d on %d of %s, %s", v.path, w.id, w.tree.Given+1, output.Count(w.tree.Files+1, "file"), size(w.tree.Bytes))
	if j.config.DryRun {
		line = fmt.Sprintf("would set volume %s: project id %d on %s, %s", v.path, w.id, output.Count(w.tree.Files+1, "file"), size(w.tree.Bytes))
	}
	if w.tree.Bytes > v.limit {
		line += fmt.Sprintf(": more than its limit %s, so writes to it fail", size(v.limit))
	}
	fmt.Fprintln(j.config.Out, output.Cell(line))
	delete(j.failed, v.number())
	if p, has := j.projects.byDirectory[v.number()]; has && p.ID == w.id {
		p.Unfinished = false
		j.put(p)
	}
	delete(j.left, v.path.String())
}

// fail says why a walk did not complete, and puts its repeat off.
func (j *Job) fail(w *walk, err error) {
	if f, is := errors.AsType[*share.ForeignProject](err); is {
		err = j.foreign(f)
	}
	number, path := w.volume.number(), w.volume.path.String()
	wait := min(max(2*j.failed[number].wait, againFirst), againLast)
	f := failure{fmt.Sprintf("volume %s: left alone: %s", path, output.Line(err)), wait, time.Now().Add(wait)}
	if j.left[path] != f.line {
		fmt.Fprintln(j.config.Out, output.Cell(f.line))
	}
	j.failed[number], j.left[path] = f, f.line
}

// sortedBy returns all values in the order of their keys.
func sortedBy[T any](all iter.Seq[T], key func(T) string) []T {
	return slices.SortedFunc(all, func(a, b T) int { return cmp.Compare(key(a), key(b)) })
}
