// Package keeper keeps one share: it finds out whether the share may be worked
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
// Why the late answer of such a call does no harm:
//
//   - It is one call. All others of the operation fail from then on before they
//     touch anything (share.During), so that what the operation would have done
//     next, on the word of a PersistentVolume that may have been changed
//     meanwhile, is not done.
//   - What the operation made it takes back, as if the call had failed. If that
//     call was its last and went well, the result, which nobody waits for, is
//     taken back too (see Work).
//   - Until then its lock keeps the path from a repeat. A repeat that comes after
//     it finds what any repeat may find.
//   - It goes to the directory that was open when it began, on the share that was
//     recognised through it, whatever is mounted there since.
//   - Should the process end first, it is a crash like any other: what the server
//     still does after it is the operation's last call, done or not done.
package keeper
