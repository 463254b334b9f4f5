package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"claimdir/hack/testbed"
)

// starter starts something that serves the provisioner name; stop ends it and tells its peak
// memory.
type starter func(ctx context.Context, bed *testbed.Bed, name string) (stop func() (memory string), err error)

// contestant is a provisioner with the name that the table shows.
type contestant struct {
	name  string
	start starter
	fill  func() error // what comes between Bound and released, if anything
}

// contest is several provisioners with the same work. The first is the one to compare with.
type contest struct {
	claims      []int // made at once
	paced       int   // made one a second
	rounds      int
	file        string // for all results, if not empty
	contestants []contestant
}

// result is what one turn measured. What was not measured is zero or empty.
type result struct {
	Who    string `json:"who"`
	Round  int    `json:"round"`
	Claims int    `json:"claims"`
	// Bound and Gone are claims a second that were made at once.
	Bound float64 `json:"bound,omitempty"`
	Gone  float64 `json:"gone,omitempty"`
	// P50 and P99 are how long claims took from their creation to Bound that were made one a second.
	P50 time.Duration `json:"p50,omitempty"`
	P99 time.Duration `json:"p99,omitempty"`
	// User50 and User99 are how long requests of a user took meanwhile.
	User50 time.Duration `json:"user50,omitempty"`
	User99 time.Duration `json:"user99,omitempty"`
	Memory string        `json:"memory,omitempty"`
	// CPUBound and CPUGone are the milliseconds of a processor that each program used for a claim.
	CPUBound map[string]float64 `json:"cpuBound,omitempty"`
	CPUGone  map[string]float64 `json:"cpuGone,omitempty"`
}

// run holds the contests, and prints and writes the results.
func (c contest) run(ctx context.Context, bed *testbed.Bed) error {
	var all []result
	for _, claims := range c.claims {
		results, err := c.rows(func(who contestant) (result, error) { return turn(ctx, bed, who, claims) })
		if err != nil {
			return err
		}
		c.compare(fmt.Sprint(claims, " at once: bound/s"), results, func(r result) float64 { return r.Bound })
		c.compare(fmt.Sprint(claims, " at once: gone/s"), results, func(r result) float64 { return r.Gone })
		all = append(all, results...)
	}
	if c.paced > 0 {
		results, err := c.rows(func(who contestant) (result, error) { return pacedTurn(ctx, bed, who, c.paced) })
		if err != nil {
			return err
		}
		c.compare("one a second: p50", results, func(r result) float64 { return r.P50.Seconds() })
		c.compare("one a second: p99", results, func(r result) float64 { return r.P99.Seconds() })
		all = append(all, results...)
	}
	if c.file == "" {
		return nil
	}
	data, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(c.file, append(data, '\n'), 0o644)
}

// rows gives each contestant its turns, and prints them.
func (c contest) rows(turn func(who contestant) (result, error)) (results []result, err error) {
	for round := range c.rounds {
		for _, who := range c.contestants {
			r, err := turn(who)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", who.name, err)
			}
			r.Who, r.Round = who.name, round+1
			fmt.Println(r)
			results = append(results, r)
		}
	}
	return results, nil
}

// String is the result as a line of a table.
func (r result) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "round %d  %-14s %5d claims", r.Round, r.Who, r.Claims)
	if r.Bound > 0 {
		fmt.Fprintf(&b, "  bound/s %6.1f  gone/s %6.1f", r.Bound, r.Gone)
	}
	if r.P50 > 0 {
		fmt.Fprintf(&b, "  to Bound p50 %s p99 %s", r.P50.Round(time.Millisecond), r.P99.Round(time.Millisecond))
	}
	fmt.Fprintf(&b, "  a user's request p50 %s p99 %s  %s", r.User50.Round(100*time.Microsecond), r.User99.Round(100*time.Microsecond), r.Memory)
	for _, cpu := range []struct {
		when string
		of   map[string]float64
	}{{"bound", r.CPUBound}, {"gone", r.CPUGone}} {
		if cpu.of != nil {
			fmt.Fprintf(&b, "\n         ms of a processor for each claim %s:%s", cpu.when, cpuText(cpu.of))
		}
	}
	return b.String()
}

// compare prints the median of each contestant's ratios to the first.
func (c contest) compare(what string, results []result, figure func(result) float64) {
	fmt.Printf("%s, median of %d:", what, c.rounds)
	for i, who := range c.contestants[1:] {
		var ratios []float64
		for round := range c.rounds {
			of := results[round*len(c.contestants):]
			ratios = append(ratios, figure(of[i+1])/figure(of[0]))
		}
		fmt.Printf("  %s/%s %.2f", who.name, c.contestants[0].name, median(ratios))
	}
	fmt.Println()
}

// turn makes the claims, waits until all are Bound, deletes them and waits until all volumes are
// gone.
func turn(ctx context.Context, bed *testbed.Bed, who contestant, claims int) (r result, err error) {
	err = serve(ctx, bed, who, &r, func(load *load) error {
		before, begin := readTimes(), time.Now()
		if err := load.bind(ctx, claims); err != nil {
			return err
		}
		r.Bound, r.CPUBound = float64(claims)/time.Since(begin).Seconds(), readTimes().since(before, claims)
		if who.fill != nil {
			if err := who.fill(); err != nil {
				return err
			}
		}
		before, begin = readTimes(), time.Now()
		if err := load.release(ctx); err != nil {
			return err
		}
		r.Gone, r.CPUGone = float64(claims)/time.Since(begin).Seconds(), readTimes().since(before, claims)
		return nil
	})
	r.Claims = claims
	return r, err
}

// pacedTurn makes one claim a second.
func pacedTurn(ctx context.Context, bed *testbed.Bed, who contestant, claims int) (r result, err error) {
	err = serve(ctx, bed, who, &r, func(load *load) error {
		took, err := load.bindPaced(ctx, claims, time.Second)
		if err != nil {
			return err
		}
		r.P50, r.P99 = quantile(took, 0.5), quantile(took, 0.99)
		return load.release(ctx)
	})
	r.Claims = claims
	return r, err
}

// serve runs the contestant, and work beside it, while a user sends requests.
func serve(ctx context.Context, bed *testbed.Bed, who contestant, r *result, work func(*load) error) error {
	load, err := newLoad(ctx, bed, strings.NewReplacer(" ", "-", "+", "-").Replace(strings.ToLower(who.name)))
	if err != nil {
		return err
	}
	stop, err := who.start(ctx, bed, load.provisioner)
	if err != nil {
		return err
	}
	defer func() { r.Memory = stop() }()
	asking, err := startUser(ctx, bed)
	if err != nil {
		return err
	}
	err = work(load)
	took := asking()
	r.User50, r.User99 = quantile(took, 0.5), quantile(took, 0.99)
	return err
}

func median(values []float64) float64 { return quantile(values, 0.5) }

// quantile returns the value below which that share of all values are; 0 of none. It sorts them.
func quantile[T time.Duration | float64](values []T, share float64) T {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return values[min(len(values)-1, int(share*float64(len(values))))]
}
