package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// Plan is what is to happen. It is a function of the seed and the duration alone.
type Plan struct {
	Slots []Slot
	Lanes []Lane
}

// Slot is one user, who makes one claim after the other.
type Slot struct {
	Name    string
	Role    Role
	Stories []Story // told again from the first when all are told
}

// Role is what a user's claims have in common.
type Role string

// Users of each role make claims of these classes.
const (
	Unique    Role = "unique"    // a path for each volume: delete and archive
	Shared    Role = "shared"    // one path for all claims of the name: delete and archive, some of which expire
	Retained  Role = "retained"  // one path, which is retained
	Contended Role = "contended" // one path for the claims of several users, also of two namespaces
	Adopting  Role = "adopting"  // a directory that is there before
	Handing   Role = "handing"   // volumes go from namespace to namespace
	Resident  Role = "resident"  // one claim, for all the time
)

// Story is the life of one claim.
type Story struct {
	Class string
	// Restore says which archive the claim asks for, if there is one.
	Restore Restore
	// Pick chooses among the archives that the user knows.
	Pick int
	// Abandon is how soon the claim is deleted again, whether it is Bound or not; 0 is never.
	Abandon time.Duration
	// Hold is how long the claim is used.
	Hold time.Duration
	// HandOn gives the volume to a claim of the other namespace.
	HandOn bool
	// Hasty makes the next claim before the volume is gone.
	Hasty bool
	// Stay leaves the claim in use if the time is over.
	Stay bool
	// Files is how many files are written besides the one that is looked for.
	Files int
}

// Restore is what a claim says about an archive.
type Restore int

// What a claim may ask for.
const (
	Nothing Restore = iota
	Picked          // by the name of its volume
	Latest
	LatestOrEmpty
)

// Lane is a sequence of faults of one kind of thing. Lanes run beside each other.
type Lane struct {
	Name   string
	Faults []Fault
}

// Fault is something that goes wrong for some time.
type Fault struct {
	Kind string
	// Wait is the time since the end of the one before, Last how long it lasts.
	Wait, Last time.Duration
	// After is the slot whose user must have told a story before, if it is not empty.
	After string
	// Pick chooses among the variants of the kind, such as the call that hangs, and Replica among
	// the replicas.
	Pick, Replica int
}

// storiesEach is enough that nobody sees them repeat in a quarter of an hour.
const storiesEach = 300

// roles are the users of one run.
func roles() []Role {
	return slices.Concat(
		slices.Repeat([]Role{Unique}, 7), slices.Repeat([]Role{Shared}, 9), slices.Repeat([]Role{Retained}, 4), slices.Repeat([]Role{Contended}, 4),
		slices.Repeat([]Role{Adopting}, 4), slices.Repeat([]Role{Handing}, 6), slices.Repeat([]Role{Resident}, 6),
	)
}

// NewPlan makes the plan of a seed.
func NewPlan(seed uint64, duration time.Duration, roles []Role) Plan {
	var p Plan
	for i, role := range roles {
		// Each user has numbers of his own: one more of them leaves the others as they are.
		r := rand.New(rand.NewPCG(seed, uint64(i)+1))
		s := Slot{Name: fmt.Sprintf("%s-%02d", role, i), Role: role}
		for range storiesEach {
			s.Stories = append(s.Stories, newStory(r, role, i%2 == 0))
		}
		p.Slots = append(p.Slots, s)
	}
	p.Lanes = newLanes(seed, duration)
	return p
}

// newStory makes one; only some users abandon claims: of what others ask for it is certain what they get.
func newStory(r *rand.Rand, role Role, abandons bool) Story {
	s := Story{
		Pick: r.IntN(1000), Hold: between(r, 0, 4*time.Second), Hasty: chance(r, 40), Stay: chance(r, 50), Files: r.IntN(12),
		Restore: Nothing,
	}
	if abandons && chance(r, 25) {
		s.Abandon = between(r, time.Millisecond, 3*time.Second)
	}
	if chance(r, 45) {
		s.Restore = []Restore{Picked, Latest, LatestOrEmpty}[r.IntN(3)]
	}
	s.Class = pick(r, classesOf(role))
	switch role {
	case Handing:
		s.HandOn = chance(r, 70)
	case Contended:
		s.Stay, s.Hold, s.Restore = false, s.Hold/4, Nothing // others wait for the path
	case Adopting:
		s.Abandon, s.Restore = 0, Nothing // else the directory stays nobody's
	case Retained:
		s.Restore = Nothing
	case Resident:
		s.Abandon, s.Stay, s.Hold = 0, true, 24*time.Hour
	case Unique, Shared:
	}
	if s.Restore != Nothing && s.Abandon > 0 {
		s.Class = map[Role]string{Unique: "archive", Shared: "archive-path", Handing: "archive"}[role] // else the archive may go with the claim
	}
	return s
}

// classesOf are the classes of a role; see classes.
func classesOf(role Role) []string {
	switch role {
	case Unique:
		return []string{"delete", "archive", "archive"}
	case Shared:
		return []string{"delete-path", "archive-path", "archive-path", "expire-path"}
	case Retained:
		return []string{"retain-path"}
	case Contended:
		return []string{"contended"}
	case Adopting:
		return []string{"adopt-delete", "adopt-archive", "adopt-retain"}
	case Handing:
		return []string{"delete", "archive", "archive", "retain"}
	case Resident:
		return []string{"delete-path", "archive", "retain-path"}
	}
	return nil
}

func between(r *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(r.Int64N(int64(most-least)+1)).Round(time.Millisecond)
}

func chance(r *rand.Rand, percent int) bool { return r.IntN(100) < percent }

func pick[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }
