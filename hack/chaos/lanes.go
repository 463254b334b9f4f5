package main

import (
	"math/rand/v2"
	"slices"
	"time"
)

// Kinds of faults, by lane.
const (
	kill       = "kill -9"
	killAll    = "kill -9 of both"
	killAtStep = "kill -9 at a step"
	pauseShort = "pause, short"
	pauseLong  = "pause, long"
	lateCall   = "pause, and a call that comes late"

	hang       = "share: hangs"
	lateAnswer = "share: late answers"
	lostAnswer = "share: lost answers"
	failing    = "share: fails"
	full       = "share: full"
	stale      = "share: stale"
	slow       = "share: slow"

	after500 = "API: 500 after commit"
	conflict = "API: 409"
	tooMany  = "API: 429"
	timeOut  = "API: time-out"
	cut      = "API: cut"

	steal  = "lease stolen"
	outage = "API server stopped"
)

// newLanes makes the faults of a run.
func newLanes(seed uint64, duration time.Duration) []Lane {
	lanes := []Lane{
		// A kill at a step is over at once if claimdir comes there: twice as many fit.
		{Name: "process", Faults: kinds(rand.New(rand.NewPCG(seed, 1001)), 2*duration, 9*time.Second, []weight{
			{killAtStep, 10, 6 * time.Second, 6 * time.Second},
			{kill, 3, 0, 0},
			{killAll, 1, 0, 0},
			{pauseShort, 2, 500 * time.Millisecond, 8 * time.Second},
			{pauseLong, 1, 16 * time.Second, 24 * time.Second},
			{lateCall, 1, 17 * time.Second, 25 * time.Second},
		})},
		{Name: "share", Faults: kinds(rand.New(rand.NewPCG(seed, 1002)), duration, 18*time.Second, []weight{
			{hang, 2, time.Second, 9 * time.Second},
			{lateAnswer, 2, time.Second, 9 * time.Second},
			{lostAnswer, 2, 500 * time.Millisecond, 4 * time.Second},
			{failing, 2, 500 * time.Millisecond, 4 * time.Second},
			{full, 2, time.Second, 5 * time.Second},
			{stale, 3, 500 * time.Millisecond, 3 * time.Second},
			{slow, 1, time.Second, 6 * time.Second},
		})},
		{Name: "API", Faults: kinds(rand.New(rand.NewPCG(seed, 1003)), duration, 20*time.Second, []weight{
			{after500, 3, time.Second, 6 * time.Second},
			{conflict, 2, time.Second, 5 * time.Second},
			{tooMany, 1, time.Second, 5 * time.Second},
			{timeOut, 1, time.Second, 7 * time.Second},
			{cut, 2, time.Second, 5 * time.Second},
		})},
		{Name: "lease", Faults: kinds(rand.New(rand.NewPCG(seed, 1004)), duration, 90*time.Second, []weight{{steal, 1, time.Second, 10 * time.Second}})},
	}
	turnOfSteps(rand.New(rand.NewPCG(seed, 1006)), lanes[0].Faults)
	return append(lanes, Lane{Name: "API server", Faults: outages(rand.New(rand.NewPCG(seed, 1005)), duration)})
}

// weight is a kind with how often it comes and how long it lasts.
type weight struct {
	kind        string
	weight      int
	least, most time.Duration
}

// kinds makes faults until the duration is filled, with pauses of a quarter of wait to all of it between them. Each kind
// comes before one comes again more often than its weight says.
func kinds(r *rand.Rand, duration, wait time.Duration, weights []weight) (faults []Fault) {
	var deck []weight
	for at := time.Duration(0); at < duration; {
		if len(deck) == 0 {
			for _, w := range weights {
				deck = append(deck, slices.Repeat([]weight{w}, w.weight)...)
			}
			r.Shuffle(len(deck), func(i, k int) { deck[i], deck[k] = deck[k], deck[i] })
		}
		w := deck[0]
		deck = deck[1:]
		f := Fault{Kind: w.kind, Wait: between(r, wait/4, wait), Last: between(r, w.least, w.most), Pick: r.IntN(1 << 16), Replica: r.IntN(2)}
		faults = append(faults, f)
		at += f.Wait + f.Last
	}
	return faults
}

// turnOfSteps has each step come before one comes again.
func turnOfSteps(r *rand.Rand, faults []Fault) {
	var deck []int
	for i := range faults {
		if faults[i].Kind != killAtStep {
			continue
		}
		if len(deck) == 0 {
			deck = r.Perm(len(steps()))
		}
		faults[i].Pick, deck = deck[0], deck[1:]
	}
}

// outages stops the API server once in five minutes, for up to a minute: a tenth of the duration. Once
// is the least.
func outages(r *rand.Rand, duration time.Duration) (faults []Fault) {
	last := min(time.Minute, duration/10)
	each := min(5*time.Minute, duration)
	for range max(1, int(duration/each)) {
		faults = append(faults, Fault{Kind: outage, Wait: between(r, each/5, each-2*last), Last: last})
	}
	return faults
}
