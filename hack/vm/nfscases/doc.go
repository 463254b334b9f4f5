// Package nfscases holds what only NFS does, case by case with the expected
// answer: what root_squash refuses, what a client's caches hide, what becomes of
// a directory that somebody holds open when it is renamed or removed, and of a
// call whose server goes away and comes back, or that arrives late: what a second
// client sends is held back (hold_test.go), and each client acts in processes of its
// own (act_test.go); and what quotas on the server do to its clients (quota_test.go).
// The tests run in the virtual machine, once for each version and file system: `make test-nfs`.
package nfscases
