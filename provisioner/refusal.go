package provisioner

import "fmt"

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

// Refusal is an error that says why nothing was done, and whether trying again
// can help. Its text is read by users as an event.
type Refusal struct {
	err    error
	reason string
	final  bool
	waits  bool
}

func (r *Refusal) Error() string { return r.err.Error() }
func (r *Refusal) Unwrap() error { return r.err }

// Reason is one of the Reason constants.
func (r *Refusal) Reason() string { return r.reason }

// Final says that only a change of the claim, class or volume can help, so
// that there is no use in trying again until then.
func (r *Refusal) Final() bool { return r.final }

// Waits says that the share has to change first, and that all who wait for it
// are called when it has: there is no use in trying again until then.
func (r *Refusal) Waits() bool { return r.waits }

// refuse makes a refusal that stands until somebody changes something.
func refuse(reason, format string, args ...any) error {
	return &Refusal{err: fmt.Errorf(format, args...), reason: reason, final: true}
}

// postpone makes a refusal that time may lift: it is tried again, later and
// later.
func postpone(reason, format string, args ...any) error {
	return &Refusal{err: fmt.Errorf(format, args...), reason: reason}
}

// await makes a refusal that the share lifts.
func await(reason string, err error) error {
	return &Refusal{err: err, reason: reason, waits: true}
}
