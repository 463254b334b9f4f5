// Package cluster reads the objects of the API server that claimdir needs:
//
//	informers.go  cached reads: watches keep claims, PersistentVolumes and classes up to date
//	read.go       how the caches are filled: by a stream, or in pages
//	trim.go       which fields of the objects the caches keep
//	compact.go    in which form
//	index.go      and by what they can be searched
//	live.go       live reads, for decisions that remove something
//	pvs/          pure rules: which PersistentVolumes are ours, and which share files
//
// A cached read costs nothing and may be outdated. A live read calls the API server.
package cluster
