package main

import (
	"context"
	"strings"

	"claimdir/hack/testbed"
)

// leads reports whether a process says that it is the leader.
func (w *world) leads(ctx context.Context, p *testbed.Process) bool {
	text, err := p.Get(ctx, "/metrics")
	return err == nil && strings.Contains(text, "\nclaimdir_leader 1\n")
}

// isLeaseOf reports whether a lease is that of the world's claimdir.
func isLeaseOf(lease, world string) bool { return strings.HasPrefix(lease, "claimdir-"+world+"-") }
