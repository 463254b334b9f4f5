package main

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// figures are what was measured of one claimdir. Times are in seconds, memory is in MB (10^6 bytes).
type figures struct {
	Ready     float64 `json:"readySeconds"`
	CPUReady  float64 `json:"cpuSecondsUntilReady"`
	PeakReady float64 `json:"peakWhenReadyMB"`
	Swept     float64 `json:"firstSweepEndedSeconds"`
	Peak      float64 `json:"peakMB"` // first sweep included
	Resident  float64 `json:"residentAtRestMB"`
	Bind      float64 `json:"bindSeconds"`      // one more claim, median
	BindIdeal float64 `json:"idealBindSeconds"` // by an ideal provisioner
	CPU       float64 `json:"cpuSecondsPerMinuteAtRest"`
}

// takeover is what was measured while the peer's volumes were taken over.
type takeover struct {
	Seconds float64 `json:"seconds"`
	Files   float64 `json:"filesSeconds"` // as many files, written and synced one after the other
	Bind    float64 `json:"bindSeconds"`  // a claim meanwhile
	Peak    float64 `json:"peakMB"`
}

type report struct {
	Volumes  int      `json:"volumes"`
	Others   int      `json:"others"`
	Peers    int      `json:"peers"`
	Empty    figures  `json:"empty"`
	Full     figures  `json:"full"`
	Calls    calls    `json:"callsAtStart"`
	Takeover takeover `json:"takeover"`
}

func (r *report) print(to io.Writer) {
	t := tabwriter.NewWriter(to, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "claims and volumes\t0\t%d + %d\t\n", r.Volumes, r.Others)
	row := func(what, format string, of func(figures) float64) {
		fmt.Fprintf(t, "%s\t"+format+"\t"+format+"\t\n", what, of(r.Empty), of(r.Full))
	}
	row("ready after, s", "%.1f", func(f figures) float64 { return f.Ready })
	row("CPU until ready, s", "%.1f", func(f figures) float64 { return f.CPUReady })
	row("peak memory when ready, MB", "%.0f", func(f figures) float64 { return f.PeakReady })
	row("first sweep ended after, s", "%.1f", func(f figures) float64 { return f.Swept })
	row("peak memory, MB", "%.0f", func(f figures) float64 { return f.Peak })
	row("memory at rest, MB", "%.0f", func(f figures) float64 { return f.Resident })
	row("one more claim Bound after, ms", "%.0f", func(f figures) float64 { return f.Bind * 1000 })
	row("the same by an ideal provisioner, ms", "%.0f", func(f figures) float64 { return f.BindIdeal * 1000 })
	row("CPU at rest, s a minute", "%.2f", func(f figures) float64 { return f.CPU })
	_ = t.Flush() // an error of standard output does not matter
	fmt.Fprintf(to, "time to bind, full/empty: %.2f (ideal provisioner: %.2f)\n", r.Full.Bind/r.Empty.Bind, r.Full.BindIdeal/r.Empty.BindIdeal)
	r.Calls.print(to)
	if k := r.Takeover; r.Peers > 0 {
		fmt.Fprintf(to, "takeover of %d volumes: %.1f s, %.2f times the %.1f s of as many files; peak memory %.0f MB; a claim meanwhile is Bound after %.0f ms\n",
			r.Peers, k.Seconds, k.Seconds/k.Files, k.Files, k.Peak, k.Bind*1000)
	}
}
