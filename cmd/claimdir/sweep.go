package main

import (
	"claimdir/provisioner/keeper"
	"claimdir/provisioner/sweep"
)

// sweepers makes one for each share. config is what all have in common.
func sweepers(o options, config sweep.Config, keepers []*keeper.Keeper) []*sweep.Sweeper {
	config.Names, config.Interval, config.Grace = o.names(), o.sweepInterval, o.orphanGrace
	var all []*sweep.Sweeper
	for _, k := range keepers {
		config.Keeper = k
		all = append(all, sweep.New(config))
	}
	return all
}
