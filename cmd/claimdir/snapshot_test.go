package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"claimdir/provisioner/ledger"
)

// snapshot puts a snapshot on the share; one that is kept ends after retention.
func (w *archiveWorld) snapshot(cluster, claim, content string, kept bool, retention string) {
	w.t.Helper()
	namespace, name, _ := strings.Cut(claim, "/")
	of := ledger.Record{Path: namespace + "-" + name, PV: "pvc-1", Cluster: cluster, Size: "1Gi", Claim: ledger.Claim{Namespace: namespace, Name: name, UID: "uid"}, ArchiveRetention: retention}
	s := ledger.Snapshot{Record: of, Content: content, Name: "now"}
	ended := time.Now()
	s.CopyOf = &ledger.Copy{Kind: ledger.CopyClaim, Ended: &ended, Bytes: 1 << 20, Files: 3}
	w.must(w.l.BeginSnapshot(s))
	w.must(os.Mkdir(w.dir+"/"+ledger.SnapshotPath(s.Own()), 0o755))
	id, err := w.s.Snapshot(s.Own())
	w.must(err)
	s.Created, s.Directory = time.Now(), id
	w.must(w.l.UpdateSnapshot(s))
	if kept {
		w.must(w.l.KeepSnapshot(s))
	}
}

// snapshots runs claimdir snapshot.
func (w *archiveWorld) snapshots(answer string, args ...string) (out, stderr string, err error) {
	w.t.Helper()
	var o, e bytes.Buffer
	err = run(w.t.Context(), append([]string{"snapshot"}, args...), w.env, streams{in: strings.NewReader(answer), out: &o, err: &e, terminal: true})
	return o.String(), e.String(), err
}

func (w *archiveWorld) snapshotsLeft() string {
	w.t.Helper()
	entries, err := os.ReadDir(w.dir + "/.claimdir/snapshots")
	w.must(err)
	var names []string
	for _, e := range entries {
		name, _, _ := strings.Cut(e.Name(), "@")
		names = append(names, name)
	}
	return strings.Join(names, " ")
}

func TestSnapshotList(t *testing.T) {
	w := newArchiveWorld(t)
	w.snapshot("here", "team/data", "snapcontent-1", false, "")
	w.snapshot("here", "team/data", "snapcontent-2", true, "720h")
	w.snapshot("here", "other/logs", "snapcontent-3", true, "")
	out, _, err := w.snapshots("", "list")
	w.must(err)
	holds(t, out, "CLAIM", "other/logs", "kept for ever", "team/data", "whole", "1.0Mi", "kept until", "snapcontent-3")
	out, _, err = w.snapshots("", "list", "team/data")
	w.must(err)
	if strings.Contains(out, "other/logs") || strings.Count(out, "team/data") != 2 {
		t.Errorf("the list of one claim:\n%s", out)
	}
	out, _, err = w.snapshots("", "list", "-o", "json", "other")
	w.must(err)
	holds(t, out, `"handle": "`, `/snapcontent-3"`, `"namespace": "other"`, `"bytes": 1048576`)
	_, stderr, err := w.snapshots("", "list", "nobody")
	w.must(err)
	holds(t, stderr, `No snapshots found of "nobody".`)
}

func TestSnapshotPurge(t *testing.T) {
	const all = "snapcontent-1 snapcontent-2 snapcontent-3"
	for name, tt := range map[string]struct {
		args, answer, left, wantErr string
		want                        []string
	}{
		"yes":            {args: "team/data", answer: "y\n", left: "snapcontent-1 snapcontent-3", want: []string{"did not move 1 snapshot named by something in the cluster", "snapcontent-2", "Moved 1 of 1 snapshot into the trash"}},
		"no":             {args: "team", answer: "n\n", left: all, want: []string{"Nothing was moved."}},
		"all":            {args: "--all --yes", left: "snapcontent-1", want: []string{"Moved 2 of 2"}},
		"by content":     {args: "snapcontent-3 --yes", left: "snapcontent-1 snapcontent-2"},
		"in use":         {args: "snapcontent-1 --yes", left: all, want: []string{"No snapshots to move."}},
		"forced":         {args: "snapcontent-1 --yes --force", left: "snapcontent-2 snapcontent-3"},
		"not old enough": {args: "--all --older-than 1h --yes", left: all, want: []string{"No snapshots to move."}},
		"not there":      {args: "team/dat --yes", left: all, wantErr: `no snapshot belongs to "team/dat"`},
		"nothing chosen": {args: "--yes", left: all, wantErr: "choose snapshots"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newArchiveWorld(t)
			w.snapshot("here", "team/data", "snapcontent-1", false, "")
			w.snapshot("here", "team/data", "snapcontent-2", true, "720h")
			w.snapshot("here", "other/logs", "snapcontent-3", true, "")
			out, stderr, err := w.snapshots(tt.answer, append([]string{"purge"}, strings.Fields(tt.args)...)...)
			if (err == nil) != (tt.wantErr == "") || err != nil && !strings.Contains(err.Error(), tt.wantErr) {
				t.Errorf("got %v, want %q", err, tt.wantErr)
			}
			holds(t, out+stderr, tt.want...)
			if got := w.snapshotsLeft(); got != tt.left {
				t.Errorf("left are %s", got)
			}
		})
	}
}

func TestSnapshotPurgeOfSeveralClusters(t *testing.T) {
	w := newArchiveWorld(t)
	w.snapshot("here", "team/data", "snapcontent-1", true, "")
	w.snapshot("elsewhere", "team/data", "snapcontent-2", true, "")
	if _, _, err := w.snapshots("", "purge", "--all", "--yes"); err == nil || !strings.Contains(err.Error(), "choose one with --cluster, of elsewhere, here") {
		t.Errorf("got %v", err)
	}
	_, _, err := w.snapshots("", "purge", "--all", "--yes", "--cluster", "here")
	w.must(err)
	if got := w.snapshotsLeft(); got != "snapcontent-2" {
		t.Errorf("left are %s", got)
	}
}
