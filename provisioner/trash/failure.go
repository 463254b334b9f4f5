package trash

import (
	"fmt"
	"time"

	"claimdir/provisioner/share"
)

// Error returns the text for events and logs.
func (f Failure) Error() string {
	whose := "a directory in the trash without a record"
	if r := f.Record; r.OfSnapshot() {
		whose = fmt.Sprintf("the data of a deleted snapshot of claim %s/%s", r.Claim.Namespace, r.Claim.Name)
	} else if r.PV != "" {
		whose = fmt.Sprintf("the directory of the released volume %s (claim %s/%s, path %q)", r.PV, r.Claim.Namespace, r.Claim.Name, r.Path)
	}
	advice := ""
	if text := share.Advice(f.Err); text != "" {
		advice = ": " + text
	}
	return fmt.Sprintf("%s cannot be removed: %v%s; retrying in %s", whose, f.Err, advice, f.Retry.Round(time.Second))
}

// Unwrap returns the cause.
func (f Failure) Unwrap() error { return f.Err }
