// Package access keeps one share: it finds out whether the share may be worked
// on, lets operations work on it, so many at once, and gives up those that get
// no answer.
//
// A share is ready, or it is not, for a reason that people can read:
//
//	starting      not looked at yet
//	wrong place   nothing is mounted, or something else; what is missing there is not gone
//	failing       the server answers with errors
//	stalled       the server does not answer
//
// Only the look, one call every few seconds, and never a second before the first
// has returned, makes a share ready again. Operations find out about anything
// else themselves.
//
// No call to a file system can be ended from outside. An operation runs in a
// goroutine of its own; when one of its calls takes longer than the timeout,
// whoever waits for it is told so and leaves. The goroutine stays, and with it a
// place among the slots and the operation's lock, so that what hangs is bounded,
// however long it lasts and however many claims wait.
//
// A call that is carried out late, when its operation was given up and its path may be
// another volume's, does no harm: see package steps. What the operation made is found by
// its repeat, or by the sweep.
package access
