package main

import (
	"io"
	"os"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
)

// retain makes a volume of the claim at a path and releases it with the policy retain.
func (w *archiveWorld) retain(claim, pv, at string) {
	w.t.Helper()
	namespace, name, _ := strings.Cut(claim, "/")
	path, err := volpath.Parse(at)
	w.must(err)
	r, err := w.l.Take(path, ledger.Record{
		State: ledger.Active, PV: pv, Claim: ledger.Claim{Namespace: namespace, Name: name, UID: "u"}, Cluster: "here", Class: "nfs", Policy: "retain",
		Size: "1Gi", AccessModes: []string{"ReadWriteMany"},
	}, false)
	w.must(err)
	w.must(w.s.WithParents(path, func() error {
		id, err := w.s.Create(path, share.Attributes{Mode: 0o777}, nil)
		if err != nil {
			return err
		}
		w.must(os.WriteFile(w.dir+"/"+at+"/file", nil, 0o600))
		return w.l.Retain(path, r, id)
	}))
}

func newRetainedWorld(t *testing.T) *archiveWorld {
	w := newArchiveWorld(t)
	w.archive("team/data", "pvc-1", "")
	w.retain("team/data", "pvc-2", "team/data")
	w.retain("team/logs", "pvc-3", "logs")
	w.retain("team/gone", "pvc-4", "gone")
	w.must(os.RemoveAll(w.dir + "/gone"))
	return w
}

// Retained directories have an inventory of their own.
func TestArchiveListRetained(t *testing.T) {
	w := newRetainedWorld(t)
	out, _, err := w.run(nil, "list", "--retained")
	w.must(err)
	holds(t, out, "team/data", "pvc-2", "team/logs", "pvc-3")
	if strings.Contains(out, "pvc-1") || strings.Contains(out, "pvc-4") {
		t.Errorf("it lists\n%s", out)
	}
	out, _, err = w.run(nil, "list", "--retained", "team/logs", "-o", "json")
	w.must(err)
	holds(t, out, `"volume": "pvc-3"`, `"path": "logs"`)
	if strings.Contains(out, "pvc-2") {
		t.Errorf("it lists\n%s", out)
	}
	_, stderr, err := w.run(nil, "list", "--retained", "nobody")
	w.must(err)
	holds(t, stderr, `No retained directories found of "nobody"; there are retained directories of 1 namespace.`)
	if out, _, err = w.run(nil, "list"); err != nil || !strings.Contains(out, "pvc-1") || strings.Contains(out, "pvc-2") {
		t.Errorf("without the flag it lists\n%s%v", out, err)
	}
}

func TestArchivePurgeRetained(t *testing.T) {
	for name, tt := range map[string]struct {
		args, answer, left string
		want               []string
		wantErr            string
	}{
		"one":              {args: "team/data --retained", answer: "y\n", left: "archived-team-data-pvc-1 logs", want: []string{"Move this retained directory into the trash?", "Moved 1 of 1 retained directory into the trash"}},
		"all":              {args: "--all --retained --yes", left: "archived-team-data-pvc-1", want: []string{"Moved 2 of 2 retained directories"}},
		"no":               {args: "--all --retained", answer: "n\n", left: "archived-team-data-pvc-1 logs team", want: []string{"Move these 2 retained directories into the trash?", "Nothing was moved."}},
		"an archive":       {args: "pvc-1 --retained --yes", left: "archived-team-data-pvc-1 logs team", wantErr: `there is no`},
		"without the flag": {args: "team/data --yes", left: "logs team", want: []string{"Moved 1 of 1 archive"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newRetainedWorld(t)
			var in io.Reader
			if tt.answer != "" {
				in = strings.NewReader(tt.answer)
			}
			out, stderr, err := w.run(in, append([]string{"purge"}, strings.Fields(tt.args)...)...)
			if (err == nil) != (tt.wantErr == "") || err != nil && !strings.Contains(err.Error(), tt.wantErr) {
				t.Errorf("got %v, want %q", err, tt.wantErr)
			}
			holds(t, out+stderr, tt.want...)
			if got := w.left(); got != tt.left {
				t.Errorf("left are %s", got)
			}
		})
	}
}

// A retained directory whose PersistentVolume came back is in use.
func TestArchivePurgeLeavesARetainedDirectoryInUse(t *testing.T) {
	w := newRetainedWorld(t)
	w.api.back("pvc-2", "team/data", v1.VolumeBound)
	out, stderr, err := w.run(nil, "purge", "--all", "--retained", "--yes")
	if err == nil || !strings.Contains(err.Error(), "could not move 1 retained directory") {
		t.Error(err)
	}
	holds(t, out+stderr, `PersistentVolume pvc-2 exists again, and directory "team/data" is its data; if it is not needed, delete the claim or the PersistentVolume first`, "Moved 1 of 2")
	if got := w.left(); got != "archived-team-data-pvc-1 team" {
		t.Errorf("left are %s", got)
	}
	w.api.silent = true
	if _, _, err = w.run(nil, "purge", "--all", "--retained", "--yes"); err == nil || w.left() != "archived-team-data-pvc-1 team" {
		t.Errorf("left are %s, %v", w.left(), err)
	}
}
