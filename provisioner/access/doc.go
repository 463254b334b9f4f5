// Package access decides whether one share may be worked on now. It probes the share, runs
// operations on it, limits how many run at once, and gives up operations that get no answer.
//
// A Keeper stands for one mounted share. The share is ready, or it is in one of four kinds of
// trouble:
//
//	starting      not probed yet
//	wrong place   nothing, or something else, is mounted; a missing volume is not a deleted one
//	failing       the server answers with errors
//	stalled       the server does not answer
//
// Only a probe makes a share ready again. The Keeper probes every few seconds and never starts a
// second probe before the first one has returned. Operations detect trouble themselves.
//
// Nothing can abort a system call on a mounted file system. Each operation therefore runs in its
// own goroutine. If one of its calls takes longer than the timeout, the caller gets a *Trouble and
// leaves. The goroutine keeps its slot and the lock on its path until the call returns, so the
// number of hung calls stays bounded, however long they hang and however many claims wait.
//
// The server may execute a call after its operation was given up, when the path already belongs to
// another volume. Such a late call does no harm: package steps says why. The retry or the sweep
// finds what the operation has created.
//
// Config.Call is the one place through which every call of an operation to the share passes. The
// controller uses it to refuse calls after the lease is lost.
package access
