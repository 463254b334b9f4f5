package alerts

// series is what one series is over time, in the notation of promtool's unit tests: one value a minute. x999 stands for as
// long as the case takes.
type series map[string]string

// one case of what Prometheus sees, and which alerts fire some time later. Series are those of a healthy installation with
// a leader, pod a, and a standby, pod b, but for what the case says otherwise; an empty value takes a series away.
// Labels that every scrape has are added: see the test.
type oneCase struct {
	name   string
	series series
	at     string // when
	fires  []string
}

func healthy() series {
	return series{
		`claimdir_build_info{pod="a"}`: "1x999", `claimdir_build_info{pod="b"}`: "1x999",
		`claimdir_leader{pod="a"}`: "1x999", `claimdir_leader{pod="b"}`: "0x999",
		`claimdir_share_ready{pod="a",export="nas:/e"}`: "1x999", `claimdir_share_ready{pod="b",export="nas:/e"}`: "1x999",
		`claimdir_share_stuck_operations{pod="a",export="nas:/e"}`: "0x999", `claimdir_share_stuck_operations{pod="b",export="nas:/e"}`: "0x999",
		`claimdir_share_size_bytes{pod="a",export="nas:/e"}`: "1000x999", `claimdir_share_size_bytes{pod="b",export="nas:/e"}`: "1000x999",
		`claimdir_share_free_bytes{pod="a",export="nas:/e"}`: "500x999", `claimdir_share_free_bytes{pod="b",export="nas:/e"}`: "500x999",
		`claimdir_class_mistakes{pod="a",class="nfs"}`: "0x999", `claimdir_class_mistakes{pod="b",class="nfs"}`: "0x999",
		`claimdir_refusals_total{pod="a",operation="provision",class="nfs",reason="claim"}`: "5x999",
		`claimdir_oldest_operation_age_seconds{pod="a",operation="provision"}`:              "0 10 20 0x999", `claimdir_oldest_operation_age_seconds{pod="b",operation="provision"}`: "0x999",
		`claimdir_trash_volumes{pod="a"}`: "0x999", `claimdir_trash_volumes{pod="b"}`: "0x999",
		`claimdir_trash_failing_volumes{pod="a",reason="busy"}`: "0x999", `claimdir_trash_failing_volumes{pod="b",reason="busy"}`: "0x999",
		`claimdir_trash_removed_files_total{pod="a"}`: "7x999", `claimdir_trash_removed_files_total{pod="b"}`: "0x999",
		`claimdir_trash_removed_directories_total{pod="a"}`: "2x999", `claimdir_trash_removed_directories_total{pod="b"}`: "0x999",
		`claimdir_orphans{pod="a",kind="record"}`: "0x999", `claimdir_orphans{pod="b",kind="record"}`: "0x999",
		`claimdir_orphans{pod="a",kind="directory"}`: "0x999", `claimdir_orphans{pod="b",kind="directory"}`: "0x999",
		// The first minute is the year 1970, so a time is the seconds since the case began; the standby has never looked.
		`claimdir_orphans_last_look_timestamp_seconds{pod="a"}`: "0+60x999", `claimdir_orphans_last_look_timestamp_seconds{pod="b"}`: "0x999",
		`claimdir_archives_held_back{pod="a",reason="clock"}`: "0x999", `claimdir_archives_held_back{pod="b",reason="clock"}`: "0x999",
		`claimdir_namespace_used_bytes{pod="a",exported_namespace="team"}`: "10x999", `claimdir_namespace_requested_bytes{pod="a",exported_namespace="team"}`: "20x999",
	}
}

// nothing takes all series away.
func nothing() series {
	s := series{}
	for name := range healthy() {
		s[name] = ""
	}
	return s
}

func refused(operation, reason string) string {
	return `claimdir_refused{pod="a",operation="` + operation + `",class="nfs",reason="` + reason + `"}`
}

const shareOfA, shareOfB = `{pod="a",export="nas:/e"}`, `{pod="b",export="nas:/e"}`

func cases() []oneCase {
	all := append(processCases(), claimCases()...)
	return append(append(append(all, shareCases()...), trashCases()...), leftBehindCases()...)
}

func processCases() []oneCase {
	return []oneCase{
		{"healthy, with a standby's zeros", nil, "8h", nil},
		{"no pod", nothing(), "6m", []string{"ClaimdirAbsent"}},
		{"a pod is away for some minutes", series{`claimdir_build_info{pod="a"}`: "1x5 _x4 1x99", `claimdir_build_info{pod="b"}`: "1x5 _x4 1x99"}, "12m", nil},
		{"nobody leads", series{`claimdir_leader{pod="a"}`: "1x9 0x99"}, "13m", []string{"ClaimdirNoLeader"}},
		{"the standby takes over", series{
			`claimdir_leader{pod="a"}`: "1x9 0x99", `claimdir_leader{pod="b"}`: "0x10 1x99",
			`claimdir_orphans_last_look_timestamp_seconds{pod="b"}`: "0x10 660+60x999",
		}, "30m", nil},
		{"two lead", series{`claimdir_leader{pod="b"}`: "1x99", `claimdir_orphans_last_look_timestamp_seconds{pod="b"}`: "0+60x999"}, "4m", []string{"ClaimdirTwoLeaders"}},
		{"two lead while the lease changes hands", series{`claimdir_leader{pod="b"}`: "0x5 1x1 0x99"}, "8m", nil},
		{"two installations, each with a leader", series{`claimdir_leader{job="other",pod="c"}`: "1x99"}, "10m", nil},
		{"a panic", series{refused("provision", "panic"): "_x5 1x99"}, "6m", []string{"ClaimdirPanic"}},
		{"a panic of a release", series{refused("delete", "panic"): "_x5 1x99"}, "6m", []string{"ClaimdirPanic"}},
		{"a panic that is over", series{refused("provision", "panic"): "1x4 stale"}, "6m", nil},
		{"an operation hangs", series{`claimdir_oldest_operation_age_seconds{pod="a",operation="save"}`: "0+60x999"}, "22m", []string{"ClaimdirOperationStuck"}},
		{"operations one after the other", series{`claimdir_oldest_operation_age_seconds{pod="a",operation="save"}`: "0+60x16 0+60x16 0+60x16"}, "33m", nil},
	}
}

func claimCases() (all []oneCase) {
	for _, reason := range []string{"class", "claim", "path", "taken", "archive", "source", "copy", "frozen", "room", "cluster", "other"} {
		all = append(all, oneCase{"a claim is refused once: " + reason, series{refused("provision", reason): "_x5 1x99"}, "12m", []string{"ClaimdirClaimRefused"}})
	}
	for _, reason := range []string{"volume", "record", "taken", "other"} {
		all = append(all, oneCase{"a release is refused once: " + reason, series{refused("delete", reason): "_x5 1x99"}, "12m", []string{"ClaimdirReleaseRefused"}})
	}
	return append(all, []oneCase{
		{"an expansion is refused", series{`claimdir_refused{pod="a",operation="expand",reason="expansion"}`: "1x99"}, "6m", []string{"ClaimdirClaimRefused"}},
		{"a claim is refused for a moment", series{refused("provision", "claim"): "1x3 stale"}, "10m", nil},
		{"a claim waits for its turn", series{refused("provision", "busy"): "1x99"}, "1h", nil},
		{"the counter of refusals begins again", series{`claimdir_refusals_total{pod="a",operation="provision",class="nfs",reason="claim"}`: "500x5 0x5 1x99"}, "30m", nil},
		{"a release is refused for a moment", series{refused("delete", "record"): "1x3 stale"}, "10m", nil},
		{"all wait for a share that is away", series{
			refused("provision", "stalled"): "9x99", refused("delete", "stalled"): "9x99", refused("provision", "storage"): "9x99", refused("delete", "share"): "9x99",
			"claimdir_share_ready" + shareOfA: "0x99", "claimdir_share_ready" + shareOfB: "0x99",
		}, "30m", []string{"ClaimdirShareNotReady"}},
		{"the server refuses one directory", series{refused("delete", "storage"): "1x99"}, "12m", []string{"ClaimdirStorageErrors"}},
		{"the server was full for some minutes", series{refused("provision", "storage"): "1x8 stale"}, "12m", nil},
		{"a PersistentVolume is not accepted", series{refused("save", "save"): "1x99"}, "6m", []string{"ClaimdirNotSaved"}},
		{"a PersistentVolume was not accepted at first", series{refused("save", "save"): "1x2 stale"}, "6m", nil},
		{"a class with a mistake", series{`claimdir_class_mistakes{pod="a",class="nfs"}`: "2x99", `claimdir_class_mistakes{pod="b",class="nfs"}`: "2x99"}, "11m", []string{"ClaimdirClassMistake"}},
		{"a class that was made anew", series{`claimdir_class_mistakes{pod="a",class="nfs"}`: "2x5 stale", `claimdir_class_mistakes{pod="b",class="nfs"}`: "2x5 0x99"}, "11m", nil},
	}...)
}

func shareCases() []oneCase {
	return []oneCase{
		{"the share is in trouble", series{"claimdir_share_ready" + shareOfA: "1x4 0x99"}, "11m", []string{"ClaimdirShareNotReady"}},
		{"the share was in trouble", series{"claimdir_share_ready" + shareOfA: "1x4 0x5 1x99"}, "11m", nil},
		{"only the standby does not reach the share", series{"claimdir_share_ready" + shareOfB: "0x99"}, "1h", nil},
		{"one of two shares is in trouble", series{
			`claimdir_share_ready{pod="a",share="fast",export="nas:/fast"}`: "0x99", `claimdir_share_ready{pod="a",share="slow",export="nas:/slow"}`: "1x99",
		}, "11m", []string{"ClaimdirShareNotReady"}},
		{"calls hang", series{"claimdir_share_stuck_operations" + shareOfA: "3x99"}, "11m", []string{"ClaimdirShareStalled"}},
		{"a call hung", series{"claimdir_share_stuck_operations" + shareOfA: "3x8 0x99"}, "11m", nil},
		{"the share fills up", series{"claimdir_share_free_bytes" + shareOfA: "140-0.12x999"}, "8h", []string{"ClaimdirShareFillingUp"}},
		{"little is free, and that does not change", series{"claimdir_share_free_bytes" + shareOfA: "140x999"}, "8h", nil},
		{"much is written, and much is free", series{"claimdir_share_free_bytes" + shareOfA: "900-0.9x700"}, "8h", nil},
		{"the share is full", series{"claimdir_share_free_bytes" + shareOfA: "20x999"}, "6m", []string{"ClaimdirShareFull"}},
		{"the share was full", series{"claimdir_share_free_bytes" + shareOfA: "20x3 400x999"}, "6m", nil},
	}
}

func trashCases() []oneCase {
	const failing, oldest = `claimdir_trash_failing_volumes{pod="a",reason="busy"}`, `claimdir_trash_oldest_timestamp_seconds{pod="a"}`
	return []oneCase{
		{"a directory cannot be removed", series{failing: "1x999"}, "62m", []string{"ClaimdirTrashFailing"}},
		{"a directory could not be removed", series{failing: "1x30 0x999"}, "62m", nil},
		{"nothing is removed", series{oldest: "60x999"}, "4h", []string{"ClaimdirTrashNotEmptied"}},
		{"a large directory is removed", series{oldest: "60x999", `claimdir_trash_removed_files_total{pod="a"}`: "0+1000x999"}, "8h", nil},
		{"and the leader was restarted, so that it counts anew", series{oldest: "60x999", `claimdir_trash_removed_files_total{pod="a"}`: "0+1000x200 0+1000x999"}, "5h", nil},
		{"the trash is emptied again and again", series{oldest: "0+60x999"}, "8h", nil},
		{"the share is away, so nothing is removed", series{oldest: "60x999", "claimdir_share_ready" + shareOfA: "0x999"}, "8h", []string{"ClaimdirShareNotReady"}},
	}
}

func leftBehindCases() []oneCase {
	const look, records, directories = `claimdir_orphans_last_look_timestamp_seconds{pod="a"}`, `claimdir_orphans{pod="a",kind="record"}`, `claimdir_orphans{pod="a",kind="directory"}`
	return []oneCase{
		{"a record is left", series{records: "1x999"}, "125m", []string{"ClaimdirOrphanRecords"}},
		{"a record was left until the next sweep", series{records: "1x60 0x999"}, "125m", nil},
		{"a directory is left", series{directories: "3x999"}, "125m", []string{"ClaimdirOrphanDirectories"}},
		{"a directory was left until the next sweep", series{directories: "3x60 0x999"}, "125m", nil},
		{"no sweep ends", series{look: "60x999"}, "5h", []string{"ClaimdirSweepStale"}},
		{"no sweep has ended since this pod leads", series{look: "0x999"}, "5h", []string{"ClaimdirSweepStale"}},
		{"a leader that has just begun has not swept", series{
			look: "0+60x240 14400x999", `claimdir_leader{pod="a"}`: "1x240 0x999", `claimdir_leader{pod="b"}`: "0x240 1x999",
		}, "270m", nil},
		{"a share that is away is not swept", series{look: "0x999", "claimdir_share_ready" + shareOfA: "0x999"}, "8h", []string{"ClaimdirShareNotReady"}},
		{"archives are held back", series{`claimdir_archives_held_back{pod="a",reason="clock"}`: "4x99"}, "6m", []string{"ClaimdirArchivesHeldBack"}},
		{"archives were held back", series{`claimdir_archives_held_back{pod="a",reason="clock"}`: "4x3 0x99"}, "6m", nil},
		{"a namespace holds more than it requested", series{`claimdir_namespace_used_bytes{pod="a",exported_namespace="team"}`: "30x99"}, "62m", []string{"ClaimdirNamespaceOverSize"}},
		{"a namespace held more until it was measured again", series{`claimdir_namespace_used_bytes{pod="a",exported_namespace="team"}`: "30x50 20x99"}, "62m", nil},
	}
}
