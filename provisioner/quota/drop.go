package quota

import (
	"context"
	"errors"
	"fmt"
	"time"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
)

// drop removes the limits of directories that no active record names, and forgets those whose files
// are all gone. It does nothing while some record cannot be read, which might name one of them.
func (j *Job) drop(ctx context.Context, s *share.Share, found reading) error {
	if found.unread {
		return nil
	}
	var gone []project
	usages := map[uint32]share.ProjectUsage{}
	for _, p := range j.projects.sorted() {
		if found.named[p.Directory] || p.Unconfirmed { // of what is not the directory's the limit may be somebody else's
			continue
		}
		usage, err := j.limits(s).ProjectUsage(p.ID)
		if err != nil {
			return err
		}
		if usage.Limit > 0 || usage.Files == 0 {
			gone = append(gone, p)
			usages[p.ID] = usage
		}
	}
	named, err := j.namedNow(ctx, s, len(gone) > 0)
	if err != nil {
		return err
	}
	for _, p := range gone {
		if !named[p.Directory] {
			err = errors.Join(err, j.dropOne(s, p, usages[p.ID]))
		}
	}
	return err
}

// namedNow reads the records once more, a moment later, if that is needed, and returns the directories that active ones name. A
// record that is replaced over NFS while a client has it open is away for a moment: the client renames it aside first.
func (j *Job) namedNow(ctx context.Context, s *share.Share, needed bool) (named map[uint64]bool, err error) {
	if !needed {
		return nil, nil
	}
	if err := j.settle(ctx); err != nil {
		return nil, err
	}
	named = map[uint64]bool{}
	for r, err := range j.records.On(s).Records() {
		if err != nil {
			return nil, fmt.Errorf("look again before limits are dropped: %w", err)
		}
		if r.State == ledger.Active && r.Directory != nil {
			named[r.Directory.Number] = true
		}
	}
	return named, nil
}

// settleFor is how long a record that is replaced may be away.
const settleFor = time.Second

// settle waits for settleFor.
func settle(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(settleFor):
		return nil
	}
}

// dropOne removes the limit of a project, and forgets it if none of its files is left.
func (j *Job) dropOne(s *share.Share, p project, usage share.ProjectUsage) error {
	if usage.Limit > 0 {
		line := fmt.Sprintf("project id %d: no limit, was %s: the directory that was at %s is no volume in use now", p.ID, size(usage.Limit), p.Path)
		if err := j.change(line, func() error { return j.limits(s).LimitProject(p.ID, 0) }); err != nil {
			return err
		}
	}
	if usage.Files == 0 {
		delete(j.projects.byDirectory, p.Directory)
		j.unsaved = true
	}
	return nil
}
