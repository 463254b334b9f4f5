package main

import (
	"net/http"
	"strings"
	"sync"

	"claimdir/hack/faultfs"
)

// step is a moment at which claimdir is killed: a call to the share, or a request to the API server, before
// it is carried out or after it.
type step struct {
	name  string
	call  faultfs.Call // or
	asks  func(*http.Request) bool
	after bool
}

// steps are all moments that have a name.
func steps() (all []step) {
	calls := []struct {
		name string
		call faultfs.Call
	}{
		{"mkdir", faultfs.Mkdir},
		{"rename", faultfs.Rename},
		{"create", faultfs.Create},
		{"write", faultfs.Write},
		{"fsync", faultfs.Fsync},
		{"close", faultfs.Flush},
		{"set attributes", faultfs.Setattr},
		{"unlink", faultfs.Unlink},
		{"rmdir", faultfs.Rmdir},
		{"list", faultfs.Readdir},
		{"look up", faultfs.Lookup},
		{"set a directory aside, or bring it back", faultfs.Rename.Of("volume")},
		{"begin to empty the trash", faultfs.Rename.Of("emptying")},
		{"move a record into the trash", faultfs.Rename.Of("record.json")},
		{"remove a record from the trash", faultfs.Unlink.Of("record.json")},
		{"remove a directory in the trash", faultfs.Rmdir.Of("emptying")},
		{"look at a directory set aside", faultfs.Lookup.Of("volume")},
	}
	for _, c := range calls {
		all = append(all, step{name: "before " + c.name, call: c.call}, step{name: "after " + c.name, call: c.call, after: true})
	}
	requests := []struct{ name, method, path string }{
		{"save a PersistentVolume", http.MethodPost, "/persistentvolumes"},
		{"delete a PersistentVolume", http.MethodDelete, "/persistentvolumes/"},
		{"change a PersistentVolume", "", "/persistentvolumes/"},
		{"renew the lease", http.MethodPut, "/leases/"},
	}
	for _, r := range requests {
		asks := func(q *http.Request) bool {
			change := q.Method == http.MethodPut || q.Method == http.MethodPatch
			return strings.Contains(q.URL.Path, r.path) && (q.Method == r.method || r.method == "" && change)
		}
		all = append(all, step{name: "before " + r.name, asks: asks}, step{name: "after " + r.name, asks: asks, after: true})
	}
	return all
}

// met is one replica that is held at a step. Let goes of it.
type met struct {
	caught <-chan struct{}
	let    func()
}

// hold has the next replica i that comes to the step wait there.
func (w *world) hold(i int, s step) met {
	if s.asks == nil {
		hold := w.mounts[i].fs.HangOne
		if s.after {
			hold = w.mounts[i].fs.HangOneAnswer
		}
		held := hold(s.call)
		return met{held.Caught(), held.Release}
	}
	caught, let := make(chan struct{}), make(chan struct{})
	first := sync.OnceFunc(func() { close(caught) })
	undo := w.proxies[i].add(&rule{s.asks, func(_ http.ResponseWriter, r *http.Request, next http.Handler) {
		if s.after {
			commit(r, next)
		}
		first()
		<-let
		panic(http.ErrAbortHandler)
	}})
	return met{caught, sync.OnceFunc(func() { undo(); close(let) })}
}
