// Package control keeps the provisioner library (v10) honest: its settings, and
// the work-arounds for what it gets wrong, each in a file of its own with a
// test, so that a later version of the library means deleting files.
//
//	controller.go  settings; informers of our own (package cluster), started before the election: a warm standby
//	run.go         lease, lead, stop: the gate closes, what is under way ends, the lease is released
//	lease.go       our own Lease: the library's own would neither drain nor release
//	leadership.go  how old the lease is: client-go's elector lets a leader that was paused lead on
//	gate.go        after a stop the library works off its whole backlog; the gate turns it away
//	guard.go       around each Provision and Delete: a panic is an error, a refusal an event, all counted
//	brief.go       texts of events that tenants cannot make long
//	released.go    what is released already is not released again while its PersistentVolume goes
//	client.go      events on their own connection; saving a PersistentVolume has a time limit and is seen;
//	               nothing is sent for a leader that has lost its lease
//	informers.go   what the library sees of the informers: no PersistentVolume in them that was only meant to be
//	               saved, each share its own volumes; claims are queued anew when their class comes
//	metrics.go     the library's metrics and our own
//
// Settings that are decisions: no failure threshold (a claim is never given
// up), PersistentVolumes saved in the background for ever (the library's other
// way to save them removes the directory when the API server is slow), the
// finalizer on (so that a PersistentVolume deleted before its claim still has
// its policy honoured), and a node lister that knows every node (so that late
// binding needs no access to nodes).
package control
