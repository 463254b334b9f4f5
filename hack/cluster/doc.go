// Package cluster tests claimdir on a real control plane (see testbed). Its
// tests tell stories; the cases are the table in cluster_test.go. Each has a
// namespace, a class, a provisioner name and a share of its own, so they run
// beside each other.
package cluster
