package control

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/record"
)

// textMost is the maximum length of the text of an event in bytes, as in events.k8s.io/v1. The
// client caches thousands of texts to detect repeats, and tenants can make them long.
const textMost = 1024

// brief replaces unprintable characters in a text, which names on a share may bring, and cuts the
// middle out if it is too long. The beginning says what is wrong, and the end how to fix it.
func brief(text string) string {
	text = strings.Map(func(r rune) rune {
		if r != '\n' && (r == utf8.RuneError || !unicode.IsPrint(r)) {
			return '?'
		}
		return r
	}, text)
	if len(text) <= textMost {
		return text
	}
	const gap, end = " … ", textMost / 3
	begin := textMost - end - len(gap)
	return strings.ToValidUTF8(text[:begin], "") + gap + strings.ToValidUTF8(text[len(text)-end:], "")
}

// briefError is an error with a brief text, for the library to publish as an event.
type briefError struct{ error }

func (e briefError) Error() string { return brief(e.error.Error()) }

func (e briefError) Unwrap() error { return e.error }

// briefRecorder publishes events with brief texts.
type briefRecorder struct{ record.EventRecorder }

func (r briefRecorder) Event(object runtime.Object, eventType, reason, message string) {
	r.EventRecorder.Event(object, eventType, reason, brief(message))
}
