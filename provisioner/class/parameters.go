package class

import (
	"fmt"
	"strings"

	"claimdir/provisioner/volpath"
)

// Parameter describes one parameter of a StorageClass for the people who write it.
type Parameter struct {
	Name    string
	Default string // as written in a class; empty if there is none
	Meaning string // Markdown, one line
}

// Parameters returns all parameters that Parse knows, in the order of the table in docs/parameters.md, which is generated from them.
func Parameters() []Parameter {
	return []Parameter{
		{"pathPattern", volpath.DefaultPattern, "Path of the volume's directory on the share. " +
			"Variables are `${.PVC.namespace}`, `${.PVC.name}`, `${.PVC.uid}`, `${.PVC.labels.KEY}`, `${.PVC.annotations.KEY}` and `${.PV.name}`; " +
			"`${VARIABLE:-text}` gives a fallback for one that is missing or empty, and the text may hold variables again. " +
			"A label or annotation may bring several elements (`a/b`). A leading slash means the root of the share; empty elements and `.` are left out. " +
			"Paths that hold `..`, blanks at the ends of an element, or more than 64 elements, are too long, or begin with `.claimdir` or `archived-` are refused, " +
			"and so are `$`, `{`, `}` and `\\` outside of variables. If the last element comes out empty, the default name takes its place."},
		{"subDir", "", "The same in the spelling of csi-driver-nfs, with `${pvc.metadata.namespace}`, `${pvc.metadata.name}` and " +
			"`${pv.metadata.name}`. Give `pathPattern` or `subDir`, not both."},
		{"onDelete", string(Archive), "What happens to the directory when the volume is released: `delete` removes it, `archive` renames it " +
			"to `archived-<namespace>-<claim>-<pv>` at the root of the share, `retain` leaves it for the next claim of the same namespace and name. " +
			"Any letter case. The answer is fixed when the volume is made; a class that is replaced later does not change it."},
		{"archiveOnDelete", "", "The older spelling: `\"true\"` is `onDelete: archive`, `\"false\"` is `onDelete: delete`. " +
			"Where both are given, `onDelete` wins."},
		{"archiveRetention", "", "How long an archive is kept, such as `30d` (30 days) or `12h`; then it goes into the trash. Without it archives stay for ever. " +
			"Fixed when the volume is made, as `onDelete` is."},
		{"onExisting", string(Refuse), "What happens when the directory exists already and no record says whose it is: `refuse` makes the claim " +
			"wait, with an event, `adopt` takes the directory as it is, mode and owner untouched."},
		{"mode", fmt.Sprintf("%04o", DefaultMode), "Mode of the directories claimdir makes, octal digits in quotes. " +
			"Setgid (`\"2770\"`) and sticky (`\"1777\"`) are allowed, setuid is not."},
		{"uid", "", "User id that owns the directories claimdir makes. Without it the owner is whoever the server says we are."},
		{"gid", "", "Group id of the directories claimdir makes. Without it the group is what the server sets."},
		{"share", "", "Which share, where several are mounted: the name of its directory below `/persistentvolumes`. Several names, separated by commas, " +
			"mean the one with the most room among those that answer."},
		{"minFree", "", "How much must stay free on the share, such as `10Gi`, `500G` or `5%`. While less is free, new claims and expansions wait, " +
			"with both figures in an event. A claim that gets an existing directory or an archive back does not wait."},
		{"overcommit", "", "How many times the size of the share all volumes on it may request together, such as `\"1.5\"`. A claim or an expansion " +
			"that would bring them above waits, with both figures in an event. Archives and retained directories are not counted."},
		{"onOverSize", string(Ignore), "What happens when a directory holds more than its claim has requested: `tell` publishes an event at 80 % and at 100 % " +
			"and sets the condition `claimdir/OverSize` on the claim; `freeze` also makes new claims of the same namespace and class wait. " +
			"Needs `USAGE_INTERVAL`. Nothing is ever removed or made read-only."},
	}
}

// MarkdownTable returns the table of docs/parameters.md, with a final newline.
func MarkdownTable() string { return markdown(Parameters()) }

// SnapshotMarkdownTable is MarkdownTable for the parameters of a VolumeSnapshotClass.
func SnapshotMarkdownTable() string { return markdown(SnapshotParameters()) }

func markdown(parameters []Parameter) string {
	var b strings.Builder
	b.WriteString("| Parameter | Default | Meaning |\n| --- | --- | --- |\n")
	for _, p := range parameters {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", p.Name, code(p.Default), p.Meaning)
	}
	return b.String()
}

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + s + "`"
}

func names() []string {
	var names []string
	for _, p := range Parameters() {
		names = append(names, p.Name)
	}
	return names
}
