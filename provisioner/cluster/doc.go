// Package cluster is what the API server holds, for whoever needs to know it:
//
//	informers.go  cached reads: claims, PersistentVolumes and classes, kept up to date by watches
//	trim.go       what of them the caches keep
//	live.go       live reads, for decisions that remove something
//	pvs/          pure rules: which PersistentVolumes are ours, which share files
//
// A cached read costs nothing and may be late; a live read asks the API server itself.
package cluster
