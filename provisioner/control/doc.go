// Package control runs the provisioner library (v10) and works around its mistakes. Each work-around
// has a file and a test of its own, so that a later version of the library means deleting files.
//
//	controller.go  settings; informers of our own (package cluster), started before the election, for a warm standby
//	run.go         lease, lead, stop: the gate closes, running operations end, the lease is released
//	lease.go       our own Lease: the library's own would neither drain nor release
//	leadership.go  the age of the lease: client-go's elector lets a leader that was paused go on leading
//	gate.go        after a stop the library still works off its backlog; the gate refuses it
//	guard.go       around each Provision and Delete: panics become errors, refusals become events, all are counted
//	brief.go       limits the texts of events, which tenants could make long
//	refused.go     remembers which claims are refused, and why, for whoever looks
//	absent.go      tells claims that name a volume that does not exist, which the library passes over
//	released.go    does not release a volume again while its PersistentVolume is being deleted
//	client.go      events on their own connection; saving a PersistentVolume has a time limit and is observed;
//	               a leader that has lost its lease sends nothing
//	informers.go   the library's view of the informers: it adds no unsaved PersistentVolume to them, each share sees
//	               its own volumes, and claims are queued again when their class appears
//	metrics.go     the library's metrics and our own
//
// Four settings are decisions. There is no failure threshold, because a claim is never given up.
// PersistentVolumes are saved in the background for ever, because the library's other way removes
// the directory when the API server is slow. The finalizer is on, so that the policy of a
// PersistentVolume that is deleted before its claim is carried out. The node lister finds every
// node, so that late binding needs no access to nodes.
package control
