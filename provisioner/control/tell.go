package control

import v1 "k8s.io/api/core/v1"

// TellOf is Tell for an object of any kind.
func (c *Controller) TellOf(object *v1.ObjectReference, kind, reason, text string) {
	if c.told.isNew(object.UID, reason+" "+text) {
		c.recorder.Event(object, kind, reason, text)
	}
}
