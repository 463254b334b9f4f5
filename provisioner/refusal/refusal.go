// Package refusal holds the errors that say why claimdir refused an operation for a claim or a
// volume, and whether a retry can help. Users read their texts in events.
package refusal

import (
	"errors"
	"fmt"
)

// Reasons of refusals, as labels of metrics.
const (
	ReasonClass   = "class"   // the StorageClass has a mistake
	ReasonClaim   = "claim"   // an nfs volume cannot be what the claim requests
	ReasonPath    = "path"    // the claim results in a path that is not allowed
	ReasonTaken   = "taken"   // another volume has the path, or it exists
	ReasonVolume  = "volume"  // claimdir must not act on the PersistentVolume
	ReasonRecord  = "record"  // the record of the path does not name this volume
	ReasonStorage = "storage" // the share answered with an error
	ReasonStalled = "stalled" // the share does not answer
	ReasonShare   = "share"   // something else is mounted in place of the share
	ReasonArchive = "archive" // the requested archive does not exist or is not available
	ReasonBusy    = "busy"    // another operation on the path is running
	ReasonCluster = "cluster" // the API server does not say what must be known
	ReasonRoom    = "room"    // the share has too little room for what the class asks
	ReasonFrozen  = "frozen"  // claims of the namespace hold more than they requested
	ReasonSource  = "source"  // what the volume is to be a copy of does not exist or cannot be copied
	ReasonCopy    = "copy"    // the copy failed
)

// unchanged is what Unchanged appends to the text of a refusal.
const unchanged = "; nothing was changed"

// Refusal is an error that says why an operation was refused, and whether a retry can help. Users
// read its text in events.
type Refusal struct {
	err       error
	reason    string
	final     bool
	waits     bool
	unchanged bool
}

// Error returns the message and, if Unchanged marked the refusal, that nothing was changed.
func (r *Refusal) Error() string {
	if r.unchanged {
		return r.Message() + unchanged
	}
	return r.Message()
}

// Message returns the text without the remark that nothing was changed, for commands that only
// read.
func (r *Refusal) Message() string { return r.err.Error() }

func (r *Refusal) Unwrap() error { return r.err }

// Reason returns one of the Reason constants.
func (r *Refusal) Reason() string { return r.reason }

// Final reports whether only a change of the claim, class or volume can help, so that a retry
// before is useless.
func (r *Refusal) Final() bool { return r.final }

// Waits reports whether the share must change first. Everything that waits for the share is retried
// when it changes, so that a retry before is useless.
func (r *Refusal) Waits() bool { return r.waits }

// Refuse returns a final refusal: it stands until the claim, class or volume changes.
func Refuse(reason, format string, args ...any) error {
	return &Refusal{err: fmt.Errorf(format, args...), reason: reason, final: true}
}

// Postpone returns a temporary refusal: the operation is retried with a growing delay.
func Postpone(reason, format string, args ...any) error {
	return &Refusal{err: fmt.Errorf(format, args...), reason: reason}
}

// Await returns a refusal that stands until the share changes.
func Await(reason string, err error) error {
	return &Refusal{err: err, reason: reason, waits: true}
}

// Unchanged makes the text of a refusal say that nothing was changed. It turns an error that wraps
// a refusal into a refusal of the same kind. It returns any other error as it is.
func Unchanged(err error) error {
	inner, ok := errors.AsType[*Refusal](err)
	if !ok || inner.unchanged {
		return err
	}
	marked := *inner
	if _, itself := outermost(err); !itself {
		marked.err = err
	}
	marked.unchanged = true
	return &marked
}

// Message returns the text of an error for commands that only read: for a refusal, without the
// remark that nothing was changed.
func Message(err error) string {
	if r, ok := outermost(err); ok {
		return r.Message()
	}
	return err.Error()
}

// outermost returns err if it is a refusal itself. It ignores a wrapped refusal, whose remark
// cannot be removed from the text.
func outermost(err error) (*Refusal, bool) {
	r, ok := err.(*Refusal) //nolint:errorlint // only err itself counts
	return r, ok
}
