// Command chaos runs claimdir on a real control plane while users make and delete claims, and while
// everything around claimdir fails: it is killed at each named step and at random, paused, robbed of
// its lease, its API server goes and lies, its share hangs, fails, fills and forgets. At the end all faults
// are over, and package check, which shares no code with claimdir, says whether anything is wrong.
//
// What users do and which fault comes when is a Plan, a pure function of the seed, which is printed first:
//
//	go run ./chaos -seed 42 -duration 3m
//
// How the processes meet is up to the machine, so a seed replays the story and not each race in it.
//
// With -sabotage it breaks claimdir on purpose, in one way after the other, and demands that the checker
// finds each.
package main
