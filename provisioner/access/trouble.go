package access

import (
	"fmt"
	"time"

	"claimdir/provisioner/share"
)

// Kind says why a share cannot be worked on.
type Kind string

// The kinds of trouble.
const (
	Starting   Kind = "starting"    // not looked at yet
	WrongPlace Kind = "wrong-place" // what is there is not the share
	Failing    Kind = "failing"     // it answers with errors
	Stalled    Kind = "stalled"     // it does not answer
)

// Trouble says why a share cannot be worked on, and since when. Its text is read
// by users as an event. It passes: what waits for the share is to be tried again
// when the Keeper says that something changed.
type Trouble struct {
	Kind  Kind
	Since time.Time
	share string
	err   error
}

func (t *Trouble) Error() string {
	since := t.Since.UTC().Format("2006-01-02 15:04:05 MST")
	switch t.Kind {
	case Stalled:
		return fmt.Sprintf("%s has not answered since %s: look at the NFS server and the network to it; this goes on by itself when it answers again", t.share, since)
	case WrongPlace:
		return fmt.Sprintf("%s is not in its place since %s, nothing was touched: %v", t.share, since, t.err)
	case Starting:
		return fmt.Sprintf("%s is not served yet: %v", t.share, t.err)
	case Failing:
	}
	text := fmt.Sprintf("%s cannot be used since %s: %v", t.share, since, t.err)
	if advice := share.Advice(t.err); advice != "" {
		text += ": " + advice
	}
	return text + "; this goes on by itself when it can"
}

func (t *Trouble) Unwrap() error { return t.err }

// same reports whether other says the same, apart from the time.
func (t *Trouble) same(other *Trouble) bool {
	if t == nil || other == nil {
		return t == other
	}
	return t.Kind == other.Kind && (t.Kind == Stalled || t.err.Error() == other.err.Error())
}
