package control

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// toldMost bounds what told remembers: a tenant may create any number of claims.
const toldMost = 10_000

// told remembers what the log or an event has said of each object, so that a refusal that is repeated is
// told once.
type told struct {
	mu    sync.Mutex
	texts map[types.UID]string
}

// isNew reports whether the text is another one than the last of the object.
func (t *told) isNew(object types.UID, text string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.texts == nil || len(t.texts) >= toldMost {
		t.texts = map[types.UID]string{}
	}
	known := t.texts[object] == text
	t.texts[object] = text
	return !known
}
