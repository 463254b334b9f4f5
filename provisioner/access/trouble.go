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
	Starting   Kind = "starting"    // not probed yet
	WrongPlace Kind = "wrong-place" // something else, or nothing, is mounted
	Failing    Kind = "failing"     // the server answers with errors
	Stalled    Kind = "stalled"     // the server does not answer
)

// Trouble says why a share cannot be worked on, and since when. Users read its text in events. It
// is temporary: callers retry when Config.Changed is called.
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
		return fmt.Sprintf("%s has not answered since %s: check the NFS server and the network to it; retried automatically", t.share, since)
	case WrongPlace:
		return fmt.Sprintf("%s has not been correctly mounted since %s; nothing was changed: %v", t.share, since, t.err)
	case Starting:
		return fmt.Sprintf("%s is not served yet: %v", t.share, t.err)
	case Failing:
	}
	text := fmt.Sprintf("%s cannot be used since %s: %v", t.share, since, t.err)
	if advice := share.Advice(t.err); advice != "" {
		text += ": " + advice
	}
	return text + "; retried automatically"
}

func (t *Trouble) Unwrap() error { return t.err }

// same reports whether two troubles have the same kind and cause. The time does not count.
func (t *Trouble) same(other *Trouble) bool {
	if t == nil || other == nil {
		return t == other
	}
	return t.Kind == other.Kind && (t.Kind == Stalled || t.err.Error() == other.err.Error())
}
