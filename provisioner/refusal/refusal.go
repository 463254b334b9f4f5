// Package refusal has the errors that say why nothing was done for a claim or a
// volume, and whether trying again can help. Users read them as events.
package refusal

import (
	"errors"
	"fmt"
)

// Reasons of refusals, as metrics label them.
const (
	ReasonClass   = "class"   // the StorageClass has a mistake
	ReasonClaim   = "claim"   // the claim asks for what an nfs volume cannot be
	ReasonPath    = "path"    // the claim gives no path that is allowed
	ReasonTaken   = "taken"   // the path is another volume's, or exists
	ReasonVolume  = "volume"  // the PersistentVolume is not one we may act on
	ReasonRecord  = "record"  // the ledger does not say that the path is this volume's
	ReasonStorage = "storage" // the share answered with an error
	ReasonStalled = "stalled" // the share does not answer
	ReasonShare   = "share"   // what is mounted is not the share
	ReasonArchive = "archive" // the archive that the claim asks for is not there, or not to be had
	ReasonBusy    = "busy"    // another operation on the path is under way
)

// unchanged ends the text of a refusal that Unchanged marked.
const unchanged = "; nothing was changed"

// Refusal is an error that says why nothing was done, and whether trying again
// can help. Its text is read by users as an event.
type Refusal struct {
	err       error
	reason    string
	final     bool
	waits     bool
	unchanged bool
}

// Error is the message and, where that is so, that nothing was changed.
func (r *Refusal) Error() string {
	if r.unchanged {
		return r.Message() + unchanged
	}
	return r.Message()
}

// Message is Error without the remark that nothing was changed, for who only looks.
func (r *Refusal) Message() string { return r.err.Error() }

func (r *Refusal) Unwrap() error { return r.err }

// Reason is one of the Reason constants.
func (r *Refusal) Reason() string { return r.reason }

// Final says that only a change of the claim, class or volume can help, so
// that there is no use in trying again until then.
func (r *Refusal) Final() bool { return r.final }

// Waits says that the share has to change first, and that all who wait for it
// are called when it has: there is no use in trying again until then.
func (r *Refusal) Waits() bool { return r.waits }

// Refuse makes a refusal that stands until somebody changes something.
func Refuse(reason, format string, args ...any) error {
	return &Refusal{err: fmt.Errorf(format, args...), reason: reason, final: true}
}

// Postpone makes a refusal that time may lift: it is tried again, later and
// later.
func Postpone(reason, format string, args ...any) error {
	return &Refusal{err: fmt.Errorf(format, args...), reason: reason}
}

// Await makes a refusal that the share lifts.
func Await(reason string, err error) error {
	return &Refusal{err: err, reason: reason, waits: true}
}

// Unchanged makes a refusal say that nothing was changed. It returns an error that
// is no refusal as it is. One that wraps a refusal it makes a refusal of the same
// kind.
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

// Message is the text of an error for who only looks: that of a refusal without the
// remark that nothing was changed.
func Message(err error) string {
	if r, ok := outermost(err); ok {
		return r.Message()
	}
	return err.Error()
}

// outermost returns err if it is a refusal, and not one that wraps a refusal: that one
// cannot be cut out of the text.
func outermost(err error) (*Refusal, bool) {
	r, ok := err.(*Refusal) //nolint:errorlint // see above
	return r, ok
}
