package cluster

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"claimdir/hack/faultfs"
	"claimdir/hack/testbed"
)

// sweeps waits until so many sweeps have ended, of which the first may be under way.
func (w *world) sweeps(n int) {
	w.T.Helper()
	const ended = `claimdir_orphans_last_look_timestamp_seconds{share=""}`
	for i := range n {
		before := w.metric(ended)
		w.Eventually(fmt.Sprintf("sweep %d of %d has ended", i+1, n), func() error {
			if now := w.metric(ended); now == before {
				return fmt.Errorf("the last one ended at %v", now)
			}
			return nil
		})
	}
}

// metric reads a metric without labels, or with these.
func (w *world) metric(name string) float64 {
	w.T.Helper()
	text, err := w.process.Get(w.T.Context(), "/metrics")
	w.Must(err)
	found := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + ` (\S+)$`).FindStringSubmatch(text)
	if found == nil {
		w.T.Fatalf("no metric %s in\n%s", name, text)
	}
	value, err := strconv.ParseFloat(found[1], 64)
	w.Must(err)
	return value
}

func lower(call faultfs.Call) string { return strings.ToLower(string(call)) }

const slowLabels = `{export="` + testbed.Server + `:` + testbed.Export + `/slow",share="slow"}`

// A share that hangs: its claims are told, the other share goes on, nothing piles
// up, and all goes on when it answers.
func testHang(t *testing.T, bed *testbed.Bed) {
	w := newSharesWorld(t, bed)
	started := time.Now()
	w.shareClass("any", "slow,fast")
	w.claimOf("slow", "before")
	before := w.wantOn("slow", "before")
	release := w.hang()
	w.DeleteClaim("before")
	const n = 40
	for i := range n {
		w.claimOf("slow", fmt.Sprint("slow-", i))
	}
	w.Event(w.Name, "slow-0", `share "slow" \(nas.example.com:/export/slow\) has not answered since 20..-..-.. .*retried automatically`)
	w.Event("default", before.Name, `share "slow" .* has not answered since`)
	w.sharez(`share "slow"`, "has not answered since")
	if _, err := w.process.Get(w.T.Context(), "/healthz"); err != nil {
		t.Error(err)
	}
	for i := range n {
		w.claimOf("fast", fmt.Sprint("fast-", i))
	}
	for i := range n {
		w.wantOn("fast", fmt.Sprint("fast-", i))
	}
	// Of a claim as old as the process one cannot know whether an earlier process
	// began its volume on the share that hangs; of this one one can.
	<-time.After(time.Until(started.Add(12 * time.Second)))
	w.claimOf("any", "any")
	w.wantOn("fast", "any")
	threads, goroutines := w.metric("go_threads"), w.metric("go_goroutines")
	for i := range n {
		w.claimOf("slow", fmt.Sprint("more-", i))
		w.Event(w.Name, fmt.Sprint("more-", i), "has not answered since")
	}
	if now := w.metric("go_threads"); now > threads+4 {
		t.Errorf("%v threads, %v before %d more claims", now, threads, n)
	}
	if now := w.metric("go_goroutines"); now > goroutines+20 {
		t.Errorf("%v goroutines, %v before %d more claims", now, goroutines, n)
	}
	if w.metric("claimdir_leader") != 1 || w.metric("claimdir_share_ready"+slowLabels) != 0 {
		t.Error("leader", w.metric("claimdir_leader"), "ready", w.metric("claimdir_share_ready"+slowLabels))
	}
	if stuck := w.metric("claimdir_share_stuck_operations" + slowLabels); stuck < 1 || stuck > 53 {
		t.Errorf("%v operations are stuck", stuck)
	}
	release()
	answered := time.Now()
	for i := range n {
		w.wantOn("slow", fmt.Sprint("slow-", i))
		w.wantOn("slow", fmt.Sprint("more-", i))
	}
	w.VolumeGone(before.Name)
	t.Logf("all was done %s after the share answered again", time.Since(answered).Round(time.Millisecond))
	w.sharez()
	if entries := w.entries("slow"); len(entries) != 2*n {
		t.Errorf("%d directories on the share, want %d", len(entries), 2*n)
	}
}

// What cannot be removed from the trash is told of on its class, and removed
// when it can be. Its PersistentVolume does not wait for it.
func testTrashFails(t *testing.T, bed *testbed.Bed) {
	w := newSharesWorld(t, bed)
	w.claimOf("slow", "data")
	pv := w.wantOn("slow", "data")
	dir := w.backing + "/" + pv.Annotations["claimdir/path"]
	w.Must(os.WriteFile(dir+"/stays", nil, 0o600))
	w.Must(os.WriteFile(dir+"/goes", nil, 0o600))
	mend := w.slow.Fail(syscall.EACCES, faultfs.Unlink.Of("stays"))
	t.Cleanup(mend)
	w.DeleteClaim("data")
	w.VolumeGone(pv.Name)
	own := w.own(pv.Name) + "-1"
	trash := w.backing + "/.claimdir/trash/" + own + "/emptying"
	w.Event("default", w.Name+"-slow", "released volume "+pv.Name+` \(claim `+w.Name+`/data, .* cannot be removed: .*trash/`+own+`: "stays": permission denied.*retrying in`)
	w.Eventually("the metric shows it", func() error {
		if n := w.metric(`claimdir_trash_failing_volumes{reason="permission",share="slow"}`); n != 1 {
			return fmt.Errorf("it is %v", n)
		}
		return nil
	})
	if names, err := os.ReadDir(trash); err != nil || len(names) != 1 {
		t.Errorf("in the trash is left %v, %v", names, err)
	}
	mend()
	w.Eventually("the trash is empty", func() error {
		names, err := os.ReadDir(w.backing + "/.claimdir/trash")
		if err != nil || len(names) > 0 {
			return fmt.Errorf("it has %v, %w", names, err)
		}
		return nil
	})
}

// A claim that goes while its share hangs leaves nothing behind when the share
// answers and is swept, whichever call hung, before or after it was carried out.
func testHangAndGo(t *testing.T, bed *testbed.Bed) {
	w := newSharesWorld(t, bed, "SWEEP_INTERVAL=1s", "ORPHAN_GRACE=2s")
	hang := func(name string, how func(...faultfs.Call) func(), call faultfs.Call) {
		release := how(call)
		t.Cleanup(release)
		w.claimOf("slow", name)
		w.Event(w.Name, name, "has not answered since")
		w.DeleteClaim(name)
		w.Eventually("the claim is gone", func() error {
			_, err := w.Admin.CoreV1().PersistentVolumeClaims(w.Name).Get(t.Context(), name, metav1.GetOptions{})
			if err == nil {
				return fmt.Errorf("it is there")
			}
			return nil
		})
		release()
		w.sharez()
		w.Eventually("nothing is left of "+name, func() error {
			if left := append(w.entries("slow"), w.entries("slow/"+recordsDir)...); len(left) > 0 {
				return fmt.Errorf("%q", left)
			}
			return nil
		})
	}
	for _, call := range []faultfs.Call{faultfs.Mkdir, faultfs.Write, faultfs.Rename, faultfs.Create, faultfs.Setattr} {
		hang("before-"+lower(call), w.slow.Hang, call)
		hang("after-"+lower(call), w.slow.HangAnswer, call)
	}
}

// What a share answers is told to those who wait for it, with what to do.
func testErrnos(t *testing.T, bed *testbed.Bed) {
	w := newSharesWorld(t, bed)
	for errno, want := range map[syscall.Errno]string{
		syscall.ENOSPC: "no space left on device: the share is full", syscall.EDQUOT: "disk quota exceeded: .*raise it",
		syscall.EROFS: "read-only file system: .*export it with rw", syscall.EACCES: "permission denied: .*no_root_squash", syscall.EIO: "input/output error: .*server's log",
	} {
		name := fmt.Sprint("errno-", int(errno))
		undo := w.slow.Fail(errno, faultfs.Mkdir, faultfs.Create)
		w.claimOf("slow", name)
		w.Event(w.Name, name, want)
		undo()
		w.wantOn("slow", name)
	}
	w.claimOf("slow", "going")
	pv := w.wantOn("slow", "going")
	undo := w.slow.Fail(syscall.EACCES, faultfs.Rename, faultfs.Rmdir) // it can be neither moved nor removed
	w.DeleteClaim("going")
	w.Event("default", pv.Name, "VolumeFailedDelete: .*permission denied")
	undo()
	w.VolumeGone(pv.Name)
}

// A share that fails every call is not ready; what waits goes on when it answers.
func testFailingShare(t *testing.T, bed *testbed.Bed) {
	w := newSharesWorld(t, bed)
	undo := w.slow.Fail(syscall.EIO)
	w.sharez(`share "slow"`, "cannot be used since", "input/output error")
	w.claimOf("slow", "data")
	w.Event(w.Name, "data", `share "slow" .* cannot be used since .*input/output error`)
	undo()
	w.wantOn("slow", "data")
	w.sharez()
}

// Handles go stale when a server is exchanged; opened anew, they are not.
func testStaleHandles(t *testing.T, bed *testbed.Bed) {
	w := newSharesWorld(t, bed)
	for i := range 20 {
		w.claimOf("slow", fmt.Sprint("data-", i))
		w.slow.Stale()
		<-time.After(10 * time.Millisecond)
		w.slow.Stale()
	}
	for i := range 20 {
		w.wantOn("slow", fmt.Sprint("data-", i))
	}
	w.sharez()
}

// A server that does what it is asked, and whose answer is lost.
func testLostAnswers(t *testing.T, bed *testbed.Bed) {
	w := newSharesWorld(t, bed)
	w.shareClass("archive", "slow", "onDelete", "archive")
	for _, call := range []faultfs.Call{faultfs.Mkdir, faultfs.Write, faultfs.Rename} {
		undo := w.slow.DropAnswer(syscall.EIO, call)
		w.claimOf("archive", lower(call))
		w.Event(w.Name, lower(call), "input/output error")
		undo()
		w.wantOn("slow", lower(call))
	}
	for _, claim := range []string{"mkdir", "write", "rename"} {
		pv := w.Bound(claim)
		w.Must(os.WriteFile(filepath.Join(w.backing, w.Name+"-"+claim+"-"+pv.Name, "file"), []byte(claim), 0o600))
		undo := w.slow.DropAnswer(syscall.EIO, faultfs.Rename, faultfs.Unlink)
		w.DeleteClaim(claim)
		w.Event("default", pv.Name, "input/output error")
		undo()
		w.VolumeGone(pv.Name)
		w.wantFile("slow/archived-"+w.Name+"-"+claim+"-"+pv.Name+"/file", claim)
	}
	if entries := w.entries("slow"); len(entries) != 3 {
		t.Errorf("the share holds %q, want three archives", entries)
	}
}

// A mount that is lost is no empty share: nothing is made there, and nothing that
// is missing there is gone.
func testLostMount(t *testing.T, bed *testbed.Bed) {
	w := newSharesWorld(t, bed)
	w.claimOf("slow", "data")
	pv := w.wantOn("slow", "data")
	w.Must(w.slow.Close())
	w.DeleteClaim("data")
	w.claimOf("slow", "other")
	w.Event("default", pv.Name, `share "slow" .* has not been correctly mounted since .*nothing was changed: this is not the share that was here before`)
	w.Event(w.Name, "other", `share "slow" .* has not been correctly mounted since`)
	w.sharez(`share "slow"`, "has not been correctly mounted")
	w.wantEntries("slow")
	if n := w.metric(fmt.Sprintf(`claimdir_refusals_total{class="%s-slow",operation="provision",reason="share"}`, w.Name)); n < 1 {
		t.Errorf("%v refusals", n)
	}
	if seconds := w.metric("claimdir_share_trouble_seconds" + strings.Replace(slowLabels, `,share`, `,reason="wrong-place",share`, 1)); seconds <= 0 {
		t.Errorf("in trouble for %v s", seconds)
	}

	// It does not start on an empty directory either: the cluster has a volume.
	w.process.Stop()
	p, err := w.bed.Claimdir(testbed.Config{Share: w.share, Provisioner: w.provisioner, Env: sharesEnv("fast", "slow")})
	w.Must(err)
	t.Cleanup(p.Kill)
	w.process = p
	w.sharez(`share "slow"`, "the cluster has volumes on it (1)", "neither .claimdir/share.json nor the directory of any of them")
	w.claimOf("fast", "fast")
	w.wantOn("fast", "fast")
	if all, err := os.ReadDir(filepath.Join(w.share, "slow")); err != nil || len(all) > 0 {
		t.Errorf("made in the wrong place: %v, %v", all, err)
	}

	// Another share in its place is not the one that it was.
	w.mount()
	w.VolumeGone(pv.Name)
	w.wantOn("slow", "other")
	w.sharez()
	w.Must(w.slow.Close())
	first := w.backing
	w.backing = t.TempDir()
	w.Must(os.Mkdir(filepath.Join(w.backing, ".claimdir"), 0o700))
	w.Must(os.WriteFile(filepath.Join(w.backing, ".claimdir", "share.json"), []byte(`{"layout":1,"id":"another"}`), 0o600))
	w.mount()
	w.sharez(`share "slow"`, "has not been correctly mounted")
	w.claimOf("slow", "third")
	w.Event(w.Name, "third", `not the share that was here before.*restart claimdir`)
	w.wantEntries("slow")
	w.Must(w.slow.Close())
	w.backing = first
	w.mount()
	w.wantOn("slow", "third")
}
