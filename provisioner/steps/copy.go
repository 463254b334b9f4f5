package steps

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"k8s.io/klog/v2"

	"claimdir/provisioner/access"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/refusal"
	"claimdir/provisioner/share"
)

// A volume that is a copy is made in three steps, each of which may be cut off and repeated: the path is taken, with a
// record that names the source (Create); the tree is copied under the volume's own name (package copies); it is recorded as
// whole (CompleteCopy); and it is brought to the path (Create again).

// CopyingError says that the volume of a record is not whole yet: its tree is to be copied.
type CopyingError struct{ Record ledger.Record }

func (e *CopyingError) Error() string {
	return fmt.Sprintf("the volume is a copy of %s %s, which is not complete yet", e.Record.CopyOf.Kind, e.Record.CopyOf.Claim.Name)
}

// What a copy that failed does when it is retried.
const (
	GoesOn = "goes on where it was"
	Anew   = "begins anew"
)

// RefusedCopy gives the error of a copy its reason and its way out, unless it has them. what names the copy, and next is what it does
// when it is retried: GoesOn or Anew.
func RefusedCopy(what, next string, err error) error {
	_, already := errors.AsType[*refusal.Refusal](err)
	if _, trouble := errors.AsType[*access.Trouble](err); already || trouble {
		return Refused(err)
	}
	if advice := share.Advice(err); advice != "" {
		return refusal.Postpone(refusal.ReasonCopy, "%s failed: %w: %s; this is retried automatically, and %s", what, err, advice, next)
	}
	return refusal.Postpone(refusal.ReasonCopy, "%s failed: %w; this is retried automatically, and %s", what, err, next)
}

// copied is the tree of a copy.
type copied struct{}

func (copied) done() string { return "Brought the copy to its path" }

func (copied) place(op Op, r ledger.Record) (*share.Identity, error) {
	if !r.CopyOf.Whole() {
		return nil, &CopyingError{r}
	}
	own := op.own(r)
	tree, err := op.Store.Dirs.Copied(own)
	if errors.Is(err, fs.ErrNotExist) {
		return op.broughtCopy(r)
	}
	if err != nil {
		return nil, err
	}
	if r.Directory.Match(tree) == share.Different {
		return nil, refusal.Postpone(refusal.ReasonRecord, "the copy in .claimdir/%s/%s is another directory than the one that was made; delete the claim, and make it anew", share.CopiesDir, own)
	}
	err = op.bring(func() error { return op.Store.Dirs.BringCopy(own, op.Path) })
	if errors.Is(err, fs.ErrExist) {
		return nil, errExists(op.Path.String(), r)
	}
	if err != nil {
		return nil, err
	}
	return op.identify(r.Directory)
}

// broughtCopy returns the tree that an earlier call has brought to the path.
func (op Op) broughtCopy(r ledger.Record) (*share.Identity, error) {
	there, err := op.identify(r.Directory)
	switch {
	case err != nil:
		return nil, err
	case there == nil:
		return nil, errMissing(op, r)
	case r.Directory.Match(there) == share.Different:
		return nil, errExists(op.Path.String(), r)
	}
	return there, nil
}

func (copied) missing(op Op, r ledger.Record) (*share.Identity, error) {
	return nil, errMissing(op, r)
}

func (copied) finish(Op, ledger.Record) error { return nil }

// bring moves a directory to the path, and makes its parents. An empty directory there that is marked as ours, which a call
// that came late left, makes way.
func (op Op) bring(move func() error) error {
	return op.Store.Dirs.WithParents(op.Path, func() error {
		err := move()
		if errors.Is(err, fs.ErrExist) {
			if _, leftErr := op.Store.Dirs.RemoveMarked(op.Path); leftErr != nil {
				return leftErr
			}
			err = move()
		}
		return err
	})
}

// errCopied says that there is nothing left to copy.
var errCopied = errors.New("it is complete already")

// BeginCopy records when the copy of the volume of r began, unless an earlier run has, and returns the record as it is now.
// unusedSince is since when no pod has used the source, or empty. It is an error if the copy is whole already.
func (op Op) BeginCopy(r ledger.Record, unusedSince string) (ledger.Record, error) {
	now, err := op.copying(r)
	if err == nil && now.CopyOf.Whole() { // another process has completed it: nobody may write to the tree any more
		err = fmt.Errorf("copy to %s: %w", op.Path, errCopied)
	}
	if err != nil || now.CopyOf.Began != nil {
		return now, err
	}
	begun := *now.CopyOf
	begun.Began, begun.UnusedSince = new(time.Now().UTC().Truncate(time.Second)), unusedSince
	now.CopyOf = &begun
	return now, op.Store.Records.Update(op.Path, now)
}

// RestartCopy moves what there is of the copy of r's volume into the trash, so that it begins anew.
func (op Op) RestartCopy(ctx context.Context, r ledger.Record) error {
	now, err := op.copying(r)
	if err != nil || now.CopyOf.Whole() {
		return err
	}
	own, err := op.trashCopy(now)
	if err != nil {
		return err
	}
	klog.FromContext(ctx).Info("Gave up what was copied, the copy begins anew", "path", op.Path, "PV", now.PV, "trash", own)
	anew := *now.CopyOf
	anew.Began, anew.UnusedSince = nil, ""
	now.CopyOf = &anew
	return op.Store.Records.Update(op.Path, now)
}

// CompleteCopy records that the tree of r's volume is whole, how the copy went, and which directory it is.
func (op Op) CompleteCopy(ctx context.Context, r ledger.Record, result share.Copied, used ledger.Use) error {
	now, err := op.copying(r)
	if err != nil || now.CopyOf.Whole() {
		return err
	}
	own := op.own(now)
	tree, err := op.Store.Dirs.Copied(own)
	if err != nil {
		return fmt.Errorf("look at the copy: %w", err)
	}
	whole := wholeCopy(now.CopyOf, result, used, time.Now().UTC().Truncate(time.Second))
	now.CopyOf, now.Directory = whole, tree
	if err := op.Store.Records.Update(op.Path, now); err != nil {
		return err
	}
	klog.FromContext(ctx).Info("Copied directory", "from", whole.Path, "kind", whole.Kind, "files", result.Files, "directories", result.Directories,
		"cloned", result.Cloned, "byServer", result.Server, "read", result.Read, "changed", result.Changed, "leftOut", result.LeftOut)
	return nil
}

// wholeCopy returns what is recorded of a copy that was whole at a time: how it went.
func wholeCopy(begun *ledger.Copy, result share.Copied, used ledger.Use, at time.Time) *ledger.Copy {
	whole := *begun
	whole.Ended, whole.Used = &at, used
	whole.Files, whole.Bytes = result.Files, result.Bytes
	whole.Changed, whole.FirstChanged = result.Changed, result.FirstChanged
	whole.LeftOut, whole.FirstLeftOut = result.LeftOut, result.FirstLeftOut
	return &whole
}

// copying returns the record of a volume that is made by a copy, as it is now. The error is ErrLost if it is no more.
func (op Op) copying(r ledger.Record) (ledger.Record, error) {
	now, found, err := op.Store.Records.Own(op.Path, r.PV, r.Cluster)
	if err == nil && (!found || !now.Copying()) {
		err = fmt.Errorf("%s: %w", op.Path, ledger.ErrLost)
	}
	return now, err
}

// discardCopy moves what there is of the copy of r's volume into the trash, with its record, and frees the path.
func (op Op) discardCopy(ctx context.Context, r ledger.Record) error {
	now, err := op.copying(r)
	if errors.Is(err, ledger.ErrLost) { // it is complete by now, as it may be if an answer was lost
		return nil
	}
	if err != nil {
		return err
	}
	if now.CopyOf.Whole() {
		gone, err := op.discardBrought(ctx, now)
		if err != nil || gone {
			return err
		}
		// What goes into the trash is the directory around the tree, which the record must not say is another one.
		begun := *now.CopyOf
		begun.Ended = nil
		now.CopyOf, now.Directory = &begun, nil
		if err := op.Store.Records.Update(op.Path, now); err != nil {
			return err
		}
	}
	own, err := op.trashCopy(now)
	if err != nil {
		return err
	}
	if own == "" {
		err = op.Store.Records.Remove(op.Path, now)
	} else {
		err = op.Store.Records.Discard(op.Path, now, own)
	}
	if err != nil {
		return err
	}
	op.gaveUpCopy(ctx, now, own)
	return nil
}

// discardBrought is discardCopy for a tree that was brought to the path. It returns false if there is none.
func (op Op) discardBrought(ctx context.Context, r ledger.Record) (bool, error) {
	if r.Directory == nil {
		return false, nil
	}
	there, err := op.identify(r.Directory)
	if err != nil || there == nil || r.Directory.Match(there) != share.Same {
		return false, err
	}
	own, err := op.trash(r, op.Path, there)
	if err != nil {
		return false, err
	}
	if err := op.Store.Records.Discard(op.Path, r, own); err != nil {
		return false, err
	}
	op.gaveUpCopy(ctx, r, own)
	return true, nil
}

// gaveUpCopy ends discardCopy.
func (op Op) gaveUpCopy(ctx context.Context, r ledger.Record, own string) {
	klog.FromContext(ctx).Info("Gave up a volume that was to be a copy", "path", op.Path, "PV", r.PV, "from", r.CopyOf.Path, "trash", own)
	op.tidyParents(ctx)
}

// trashCopy moves what there is of a copy into the trash, and returns its name there, or an empty one if there was nothing.
func (op Op) trashCopy(r ledger.Record) (own string, err error) {
	found := false
	own, err = trashName(r, func(own string) (err error) {
		found, err = op.Store.Dirs.DiscardCopy(op.own(r), own)
		return err
	})
	if err != nil || !found {
		return "", err
	}
	return own, nil
}
