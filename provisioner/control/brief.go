package control

import (
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/record"
)

// textMost is how long the text of an event may be, in bytes, as events.k8s.io/v1
// has it. The client keeps thousands of texts to tell repeats, and what tenants
// write may be in them.
const textMost = 1024

// brief takes the middle out of a text that is too long: what is wrong stands at its
// beginning, and the way out at its end.
func brief(text string) string {
	if len(text) <= textMost {
		return text
	}
	const gap, end = " … ", textMost / 3
	begin := textMost - end - len(gap)
	return strings.ToValidUTF8(text[:begin], "") + gap + strings.ToValidUTF8(text[len(text)-end:], "")
}

// briefError is an error that the library makes an event of.
type briefError struct{ error }

func (e briefError) Error() string { return brief(e.error.Error()) }

func (e briefError) Unwrap() error { return e.error }

// briefRecorder makes events with brief texts.
type briefRecorder struct{ record.EventRecorder }

func (r briefRecorder) Event(object runtime.Object, eventType, reason, message string) {
	r.EventRecorder.Event(object, eventType, reason, brief(message))
}
