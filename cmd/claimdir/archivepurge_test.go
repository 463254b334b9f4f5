package main

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"claimdir/provisioner/volpath"
)

func TestArchivePurge(t *testing.T) {
	const all = "archived-peer archived-team-data-pvc-1 archived-team-data-pvc-2 archived-team-logs-pvc-3"
	for name, tt := range map[string]struct {
		args    string
		answer  string
		nobody  bool // no terminal
		left    string
		wantErr string
		want    []string // on standard output and error
	}{
		"yes": {args: "team/data", answer: "y\n", left: "archived-peer archived-team-logs-pvc-3",
			want: []string{"CLAIM", "pvc-1", "pvc-2", "Move these 2 archives into the trash? [y/N] ", "Moved 2 of 2 archives into the trash"}},
		"yes, in full":        {args: "pvc-3", answer: " Yes \n", left: "archived-peer archived-team-data-pvc-1 archived-team-data-pvc-2", want: []string{"Move this archive into the trash?"}},
		"no":                  {args: "team", answer: "n\n", left: all, want: []string{"Nothing was moved."}},
		"nothing is no":       {args: "team", answer: "\n", left: all, want: []string{"Nothing was moved."}},
		"anything else is no": {args: "team", answer: "yesterday\n", left: all, want: []string{"Nothing was moved."}},
		"the end":             {args: "team", answer: "", left: all, wantErr: "nothing was moved: stdin ended before the answer: run it on a terminal (kubectl exec -it), or add --yes"},
		"the end in a word":   {args: "team", answer: "y", left: all, wantErr: "--yes"},
		"no terminal":         {args: "team", answer: "y\n", nobody: true, left: all, wantErr: "nothing was moved: stdin is not a terminal: run it on one (kubectl exec -it), or add --yes", want: []string{"pvc-1"}},
		"not asked":           {args: "team/data --yes", nobody: true, left: "archived-peer archived-team-logs-pvc-3", want: []string{"pvc-1", "Moved 2 of 2"}},
		"all": {args: "--all --yes", nobody: true, left: "archived-peer",
			want: []string{"Moved 3 of 3", "did not move 1 archive without a record"}},
		"ended":              {args: "--ended --yes", nobody: true, left: "archived-peer archived-team-data-pvc-1 archived-team-data-pvc-2"},
		"ended, of one":      {args: "team/data --ended --yes", nobody: true, left: all, want: []string{"No archives to move."}},
		"none is old enough": {args: "--all --older-than 720h --yes", nobody: true, left: all, want: []string{"No archives to move."}},
		"not there":          {args: "team/dat --yes", nobody: true, left: all, wantErr: `there is no archive of claim "team/dat"`},
	} {
		t.Run(name, func(t *testing.T) {
			w := newArchiveWorld(t)
			w.archive("team/data", "pvc-1", "")
			w.archive("team/data", "pvc-2", "720h")
			w.archive("team/logs", "pvc-3", "1ns")
			w.must(os.Mkdir(w.dir+"/archived-peer", 0o777))
			var in io.Reader
			if !tt.nobody {
				in = strings.NewReader(tt.answer)
			}
			out, stderr, err := w.run(in, append([]string{"purge"}, strings.Fields(tt.args)...)...)
			if (err == nil) != (tt.wantErr == "") || err != nil && !strings.Contains(err.Error(), tt.wantErr) {
				t.Errorf("got %v, want %q", err, tt.wantErr)
			}
			if err != nil && exitCode(err, devNull(t)) != exitFailed {
				t.Error("another exit code")
			}
			holds(t, out+stderr, tt.want...)
			if got := w.left(); got != tt.left {
				t.Errorf("left are %s", got)
			}
		})
	}
}

// What another cluster has is not purged by mistake.
func TestArchivePurgeOfSeveralClusters(t *testing.T) {
	w := newArchiveWorld(t)
	w.archive("team/data", "pvc-1", "")
	w.archiveOf("elsewhere", "team/data", "pvc-2", "")
	const all = "archived-team-data-pvc-1 archived-team-data-pvc-2"
	for _, tt := range []struct{ args, wants, left string }{
		{"team --yes", "choose one with --cluster, of elsewhere, here", all},
		{"--all --cluster her --yes", `--cluster "her" has no records on the shares; these have: elsewhere, here`, all},
		{"team --cluster here --yes", "", "archived-team-data-pvc-2"},
	} {
		_, _, err := w.run(nil, append([]string{"purge"}, strings.Fields(tt.args)...)...)
		if (err == nil) != (tt.wants == "") || err != nil && !strings.Contains(err.Error(), tt.wants) || w.left() != tt.left {
			t.Errorf("%s: %v, left are %s", tt.args, err, w.left())
		}
	}
	w.archive("team/data", "pvc-1", "")
	out, _, err := w.run(nil, "list")
	w.must(err)
	holds(t, out, "CLUSTER", "pvc-2   elsewhere  1Gi")
	_, stderr, err := w.run(nil, "restore", "team/data", "--volume", "pvc-2")
	w.must(err)
	holds(t, stderr, "the archive is of cluster elsewhere; in another cluster the class needs onExisting: adopt")
}

// An archive whose PersistentVolume came back, restored from a backup of the cluster, may be all its data.
func TestArchivePurgeAsksWhetherTheVolumeIsBack(t *testing.T) {
	const both = "archived-team-data-pvc-1 archived-team-data-pvc-2"
	for name, tt := range map[string]struct {
		args, left string
		set        func(w *archiveWorld)
		wantErr    string
		want       []string
		asked      int
	}{
		"one is": {args: "team --yes", set: func(w *archiveWorld) { w.api.back("pvc-1", "team-data-pvc-1", v1.VolumeBound) }, left: "archived-team-data-pvc-1", wantErr: "could not move 1 archive", asked: 2,
			want: []string{"PersistentVolume pvc-1 exists again, and archive archived-team-data-pvc-1 may be all its data: claimdir doctor --fix puts it back to \"team-data-pvc-1\"", "archive purge --force pvc-1", "Moved 1 of 2"}},
		"one is, and waits for its claim": {args: "team --yes", set: func(w *archiveWorld) { w.api.back("pvc-1", "team-data-pvc-1", v1.VolumeAvailable) }, left: "archived-team-data-pvc-1", wantErr: "could not move 1 archive", asked: 2},
		"one is, before it has a phase":   {args: "team --yes", set: func(w *archiveWorld) { w.api.back("pvc-1", "team-data-pvc-1", "") }, left: "archived-team-data-pvc-1", wantErr: "could not move 1 archive", asked: 2},
		"its release goes on":             {args: "team --yes", set: func(w *archiveWorld) { w.api.back("pvc-1", "team-data-pvc-1", v1.VolumeReleased) }, want: []string{"Moved 2 of 2"}, asked: 2},
		"another volume has its name":     {args: "team --yes", set: func(w *archiveWorld) { w.api.back("pvc-1", "elsewhere", v1.VolumeBound) }, want: []string{"Moved 2 of 2"}, asked: 2},
		"forced":                          {args: "team --yes --force", set: func(w *archiveWorld) { w.api.back("pvc-1", "team-data-pvc-1", v1.VolumeBound) }, want: []string{"Moved 2 of 2"}},
		"nobody says":                     {args: "team --yes", set: func(w *archiveWorld) { w.api.silent = true }, left: both, wantErr: "could not move 2 archives", want: []string{"cannot ask whether the PersistentVolume exists again: read PersistentVolume pvc-1", "nothing is removed before that is known"}},
		"there is no cluster":             {args: "team --yes", set: func(w *archiveWorld) { w.api.kubeconfig = "/nowhere" }, left: both, wantErr: "nothing was moved: the cluster must say whether PersistentVolumes exist again (--force does not ask): "},
		"there is no cluster, and forced": {args: "team --yes --force", set: func(w *archiveWorld) { w.api.kubeconfig = "/nowhere" }, want: []string{"Moved 2 of 2"}},
		"another cluster's are not in here": {args: "pvc-3 --cluster elsewhere --yes", set: func(w *archiveWorld) {
			w.archiveOf("elsewhere", "team/data", "pvc-3", "")
			w.api.back("pvc-3", "team-data-pvc-3", v1.VolumeBound)
		}, left: both, want: []string{"Moved 1 of 1"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newArchiveWorld(t)
			w.archive("team/data", "pvc-1", "")
			w.archive("team/data", "pvc-2", "")
			tt.set(w)
			out, stderr, err := w.run(nil, append([]string{"purge"}, strings.Fields(tt.args)...)...)
			if (err == nil) != (tt.wantErr == "") || err != nil && !strings.Contains(err.Error(), tt.wantErr) {
				t.Errorf("got %v, want %q", err, tt.wantErr)
			}
			holds(t, out+stderr, tt.want...)
			if got := w.left(); got != tt.left || w.api.asked != tt.asked {
				t.Errorf("left are %s; it asked %d times, want %d", got, w.api.asked, tt.asked)
			}
		})
	}
}

// meanwhile is somebody who does something before the answer.
type meanwhile struct {
	do     func()
	answer io.Reader
}

func (m *meanwhile) Read(p []byte) (int, error) {
	if m.do != nil {
		m.do()
		m.do = nil
	}
	return m.answer.Read(p)
}

func TestArchivePurgeOfWhatGoesMeanwhile(t *testing.T) {
	w := newArchiveWorld(t)
	w.archive("team/data", "pvc-1", "")
	w.archive("team/data", "pvc-2", "")
	out, stderr, err := w.run(&meanwhile{func() {
		w.must(os.Rename(w.dir+"/archived-team-data-pvc-1", w.dir+"/restored"))
	}, strings.NewReader("y\n")}, "purge", "team")
	if err != nil || w.left() != "restored" {
		t.Errorf("left are %s, %v", w.left(), err)
	}
	holds(t, stderr, "archived-team-data-pvc-1 is already gone")
	holds(t, out, "Moved 1 of 2")
}

func TestArchivePurgeGoesOnAfterAFailure(t *testing.T) {
	w := newArchiveWorld(t)
	w.archive("team/data", "pvc-1", "")
	w.archive("team/data", "pvc-2", "")
	_, stderr, err := w.run(&meanwhile{func() {
		w.must(os.WriteFile(w.dir+"/.claimdir/records/archived-team-data-pvc-1/"+volpath.Own("pvc-1", "here")+".json", []byte("{"), 0o600))
	}, strings.NewReader("y\n")}, "purge", "team")
	if err == nil || !strings.Contains(err.Error(), "could not move 1 archive") || w.left() != "archived-team-data-pvc-1" {
		t.Errorf("left are %s, %v", w.left(), err)
	}
	holds(t, stderr, "damaged record of archived-team-data-pvc-1")
}

// The claimdir that leads may be an older one, which knows no records but its own.
func TestArchivePurgeLeavesAnOlderLayoutAlone(t *testing.T) {
	w := newArchiveWorld(t)
	w.archive("team/data", "pvc-1", "")
	w.must(os.WriteFile(w.dir+"/.claimdir/share.json", []byte(`{"layout": 1, "id": "`+w.l.ID()+`"}`), 0o600))
	_, stderr, err := w.run(nil, "purge", "team", "--yes")
	if err == nil || w.left() != "archived-team-data-pvc-1" {
		t.Errorf("left are %s, %v", w.left(), err)
	}
	holds(t, stderr, "an older claimdir wrote the records of this share; start the controller of this version once")
	if trash, err := os.ReadDir(w.dir + "/.claimdir/trash"); err != nil || len(trash) > 0 {
		t.Errorf("in the trash are %v, %v", trash, err)
	}
}

// A signal ends the question, whether somebody types or not.
func TestAskEndsWithTheProcess(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	silence, typist := io.Pipe()
	defer typist.Close()
	asked := writerFunc(func() { cancel() })
	if yes, err := newAsker(streams{in: silence, err: asked, terminal: true}).ask(ctx, "?"); yes || !errors.Is(err, context.Canceled) {
		t.Error(yes, err)
	}
}

type writerFunc func()

func (f writerFunc) Write(p []byte) (int, error) {
	f()
	return len(p), nil
}

// An archive that a claim is to be a copy of is not taken away from it.
func TestArchivePurgeAsksWhoIsToBeACopy(t *testing.T) {
	const both = "archived-team-data-pvc-1 archived-team-data-pvc-2"
	wants := func(name, archive string, change ...func(*v1.PersistentVolumeClaim)) func(w *archiveWorld) {
		return func(w *archiveWorld) {
			claim := v1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: name, Annotations: map[string]string{"claimdir/restore-copy": archive}}}
			claim.Spec.Resources.Requests = v1.ResourceList{v1.ResourceStorage: resource.MustParse("1Gi")}
			for _, c := range change {
				c(&claim)
			}
			w.api.claims = append(w.api.claims, claim)
		}
	}
	for name, tt := range map[string]struct {
		args, left string
		set        func(w *archiveWorld)
		wantErr    string
		want       []string
	}{
		"one waits": {args: "team --yes", set: wants("copy", "pvc-1"), left: "archived-team-data-pvc-1", wantErr: "could not move 1 archive",
			want: []string{"claim team/copy is to be a copy of archive archived-team-data-pvc-1, and has not got it yet: wait until it is bound, or delete the claim", "claimdir archive purge --force pvc-1", "Moved 1 of 2"}},
		"one wants the latest": {args: "team --yes", set: wants("data", "latest"), left: both, wantErr: "could not move 2 archives"},
		"forced":               {args: "team --yes --force", set: wants("copy", "pvc-1"), want: []string{"Moved 2 of 2"}},
		"one has it":           {args: "team --yes", set: wants("copy", "pvc-1", func(c *v1.PersistentVolumeClaim) { c.Spec.VolumeName = "pvc-7" }), want: []string{"Moved 2 of 2"}},
		"one can never have it": {args: "team --yes", set: wants("copy", "pvc-1", func(c *v1.PersistentVolumeClaim) {
			c.Spec.Resources.Requests = v1.ResourceList{v1.ResourceStorage: resource.MustParse("1Mi")}
		}), want: []string{"Moved 2 of 2"}},
		"one is deleted": {args: "team --yes", set: wants("copy", "pvc-1", func(c *v1.PersistentVolumeClaim) { c.DeletionTimestamp = new(metav1.Now()) }), want: []string{"Moved 2 of 2"}},
		"nobody says": {args: "team --yes", set: func(w *archiveWorld) { w.api.mute = true }, left: both, wantErr: "could not move 2 archives",
			want: []string{"cannot ask whether claims are copies of archive archived-team-data-pvc-1, so it stays (--force does not ask): list the claims of namespace team"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newArchiveWorld(t)
			w.archive("team/data", "pvc-1", "")
			w.archive("team/data", "pvc-2", "")
			tt.set(w)
			out, stderr, err := w.run(nil, append([]string{"purge"}, strings.Fields(tt.args)...)...)
			if (err == nil) != (tt.wantErr == "") || err != nil && !strings.Contains(err.Error(), tt.wantErr) {
				t.Errorf("got %v, want %q", err, tt.wantErr)
			}
			holds(t, out+stderr, tt.want...)
			if got := w.left(); got != tt.left || w.api.listed > 1 {
				t.Errorf("left are %s; the claims were listed %d times", got, w.api.listed)
			}
		})
	}
}
