package main

import "strings"

// row is a row of panels under a title.
type row struct {
	title  string
	panels []panel
}

// panel is one number, or one graph over time.
type panel struct {
	title, text string
	unit        string // as Grafana names it
	number      bool
	queries     []query
}

type query struct{ expr, legend string }

// of fills in what the reader has chosen: N stands for the namespace, S for namespace and share.
func of(expr, legend string) query {
	expr = strings.ReplaceAll(expr, "{N", `{namespace=~"$namespace"`)
	return query{strings.ReplaceAll(expr, "{S", `{namespace=~"$namespace",share=~"$share"`), legend}
}

func number(title, text, expr string) panel {
	return panel{title: title, text: text, unit: "short", number: true, queries: []query{of(expr, "")}}
}

func graph(title, text, unit string, queries ...query) panel {
	return panel{title: title, text: text, unit: unit, queries: queries}
}

func rows() []row {
	return []row{
		{"State now", stateNow()},
		{"Claims and releases", claims()},
		{"Shares", shares()},
		{"Trash", trash()},
		{"Left behind", leftBehind()},
		{"Copies and snapshots", copies()},
		{"Process", process()},
	}
}

func stateNow() []panel {
	return []panel{
		number("Leaders", "1 for each installation.", "sum(claimdir_leader{N})"),
		number("Shares in trouble", "As the leader sees them.", "count(claimdir_share_ready{S} == 0 and on (job, instance) claimdir_leader == 1) or vector(0)"),
		number("Refused now", "Claims and released volumes that somebody or something keeps waiting.", "sum(claimdir_refused{N}) or vector(0)"),
		number("Alerts", "Those of claimdir that fire.", `count(ALERTS{alertname=~"Claimdir.+",alertstate="firing"}) or vector(0)`),
		number("Volumes", "In use, as of the last sweep.", `sum(claimdir_records{S,state="active"})`),
		number("Archives", "As of the last sweep.", `sum(claimdir_records{S,state="archived"})`),
		number("In the trash", "Released directories that are to be removed.", "sum(claimdir_trash_volumes{S})"),
		number("Orphans", "Records and directories without a volume, as of the last sweep.", "sum(claimdir_orphans{S})"),
	}
}

func claims() []panel {
	const quantile = ", sum by (le, operation) (rate(claimdir_operation_duration_seconds_bucket{N}[$__rate_interval])))"
	return []panel{
		graph("Refused now", "By why. The events of the claims say what to do.", "short", of("sum by (operation, reason) (claimdir_refused{N})", "{{operation}}: {{reason}}")),
		graph("Volumes made and released", "Per second, by class.", "ops",
			of("sum by (class) (rate(claimdir_provisions_total{N}[$__rate_interval]))", "made: {{class}}"), of("sum by (class) (rate(claimdir_deletions_total{N}[$__rate_interval]))", "released: {{class}}")),
		graph("Refusals", "Attempts per second; a claim that waits is tried again and again.", "ops", of("sum by (operation, reason) (rate(claimdir_refusals_total{N}[$__rate_interval]))", "{{operation}}: {{reason}}")),
		graph("How long operations take", "Of those that succeed.", "s", of("histogram_quantile(0.5"+quantile, "{{operation}}: half"), of("histogram_quantile(0.99"+quantile, "{{operation}}: 99 %")),
		graph("Under way and waiting", "Waiting for their turn, that is: see Refused now for the others.", "short",
			of("sum by (operation) (claimdir_operations_in_flight{N})", "{{operation}} under way"), of("sum by (operation) (claimdir_operations_waiting{N})", "{{operation}} waiting")),
		graph("Oldest operation under way", "", "s", of("max by (operation) (claimdir_oldest_operation_age_seconds{N})", "{{operation}}")),
		graph("Mistakes in classes", "Claims of these classes are refused.", "short", of("max by (class) (claimdir_class_mistakes{N})", "{{class}}")),
		graph("Expansions", "Per second, by class.", "ops", of("sum by (class) (rate(claimdir_expansions_total{N}[$__rate_interval]))", "{{class}}")),
	}
}

func shares() []panel {
	return []panel{
		graph("Ready", "1 if the share can be worked on.", "short", of("min by (share, export) (claimdir_share_ready{S})", "{{share}} {{export}}")),
		graph("In trouble since", "By reason; 0 if there is none.", "s", of("max by (share, reason) (claimdir_share_trouble_seconds{S})", "{{share}} {{reason}}")),
		graph("Calls that hang", "", "short", of("sum by (share) (claimdir_share_stuck_operations{S})", "{{share}}")),
		graph("Free", "", "percentunit", of("min by (share, export) (claimdir_share_free_bytes{S} / claimdir_share_size_bytes{S})", "{{share}} {{export}}")),
		graph("Size, used and requested", "Requested: by all PersistentVolumes.", "bytes",
			of("max by (share) (claimdir_share_size_bytes{S})", "{{share}} size"), of("max by (share) (claimdir_share_size_bytes{S} - claimdir_share_free_bytes{S})", "{{share}} used"), of("max by (share) (claimdir_share_requested_bytes{S})", "{{share}} requested")),
		graph("The ten largest namespaces", "Where usage is measured. Namespaces of claims, whatever namespace is chosen above.", "bytes",
			query{`topk(10, sum by (exported_namespace, namespace) (claimdir_namespace_used_bytes{share=~"$share"}))`, "{{exported_namespace}} ({{namespace}})"}),
	}
}

func trash() []panel {
	return []panel{
		graph("Directories", "", "short", of("sum by (share) (claimdir_trash_volumes{S})", "{{share}}")),
		graph("Removed", "Per second.", "ops",
			of("sum by (share) (rate(claimdir_trash_removed_files_total{S}[$__rate_interval]))", "{{share}} files"), of("sum by (share) (rate(claimdir_trash_removed_directories_total{S}[$__rate_interval]))", "{{share}} directories")),
		graph("Cannot be removed", "Directories, by reason.", "short", of("sum by (share, reason) (claimdir_trash_failing_volumes{S})", "{{share}} {{reason}}")),
		graph("Failures", "Per second, by reason.", "ops", of("sum by (share, reason) (rate(claimdir_trash_failures_total{S}[$__rate_interval]))", "{{share}} {{reason}}")),
		graph("Age of the oldest", "", "s", of("time() - min by (share) (claimdir_trash_oldest_timestamp_seconds{S})", "{{share}}")),
	}
}

func leftBehind() []panel {
	const leads = " and on (job, instance) claimdir_leader == 1"
	return []panel{
		graph("Orphans", "", "short", of("sum by (share, kind) (claimdir_orphans{S})", "{{share}} {{kind}}")),
		graph("Orphans removed", "Per second.", "ops", of("sum by (share) (rate(claimdir_orphans_removed_total{S}[$__rate_interval]))", "{{share}}")),
		graph("Time since the last sweep", "", "s", of("time() - (claimdir_orphans_last_look_timestamp_seconds{S}"+leads+")", "{{share}}")),
		graph("Records", "By state and policy.", "short", of("sum by (state, policy) (claimdir_records{S}) > 0", "{{state}}: {{policy}}")),
		graph("Age of the oldest archive", "", "s", of("time() - min by (share) (claimdir_archives_oldest_timestamp_seconds{S})", "{{share}}")),
		graph("Archives held back", "They seem to have expired, and are kept for now.", "short", of("sum by (share, reason) (claimdir_archives_held_back{S})", "{{share}} {{reason}}")),
	}
}

func copies() []panel {
	return []panel{
		graph("Copies under way", "", "short", of("sum by (share) (claimdir_copies_in_progress{S})", "{{share}}")),
		graph("Copied", "Bytes per second in complete copies, by how.", "Bps", of("sum by (share, method) (rate(claimdir_copy_bytes_total{S}[$__rate_interval]))", "{{share}} {{method}}")),
		graph("Files copied", "Per second; and those that were changed each time they were copied.", "ops",
			of("sum by (share) (rate(claimdir_copy_files_total{S}[$__rate_interval]))", "{{share}}"), of("sum by (share) (rate(claimdir_copy_changed_files_total{S}[$__rate_interval]))", "{{share}} changed")),
		graph("Snapshots", "", "short", of("max by (share) (claimdir_snapshots{S})", "{{share}}")),
		graph("Bytes of snapshots", "A server may share blocks with the volumes.", "bytes", of("max by (share) (claimdir_snapshot_bytes{S})", "{{share}}")),
	}
}

func process() []panel {
	const ours = " * on (job, instance) group_left () claimdir_build_info{N}"
	return []panel{
		graph("Processor time", "", "percentunit", of("rate(process_cpu_seconds_total[$__rate_interval])"+ours, "{{instance}}")),
		graph("Memory", "", "bytes", of("process_resident_memory_bytes"+ours, "{{instance}}")),
		graph("Goroutines and open files", "", "short", of("go_goroutines"+ours, "{{instance}} goroutines"), of("process_open_fds"+ours, "{{instance}} open files")),
		graph("Versions", "", "short", of("count by (version) (claimdir_build_info{N})", "{{version}}")),
	}
}
