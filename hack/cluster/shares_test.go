package cluster

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"claimdir/hack/clustertest"
	"claimdir/hack/faultfs"
	"claimdir/hack/testbed"
)

// sharesWorld is a world with the shares fast, a directory, and slow, which
// misbehaves on demand.
type sharesWorld struct {
	*world
	slow    *faultfs.FS
	backing string // of slow
}

// sharesEnv says where the shares are, to which no NFS mount does.
func sharesEnv(names ...string) []string {
	var paths []string
	for _, name := range names {
		paths = append(paths, name+"="+testbed.Export+"/"+name)
	}
	return []string{"NFS_PATH=" + strings.Join(paths, ","), "SHARE_TIMEOUT=1s"}
}

func newSharesWorld(t *testing.T, bed *testbed.Bed, env ...string) *sharesWorld {
	t.Helper()
	w := &sharesWorld{world: newQuietWorld(t, bed), backing: t.TempDir()}
	w.Must(os.Mkdir(filepath.Join(w.share, "fast"), 0o755))
	w.Must(os.Mkdir(filepath.Join(w.share, "slow"), 0o755))
	w.mount()
	w.process = w.start(append(sharesEnv("fast", "slow"), env...)...)
	for _, class := range []string{"fast", "slow"} {
		w.shareClass(class, class)
	}
	return w
}

// mount mounts slow, until the test ends or somebody closes it.
func (w *sharesWorld) mount() {
	w.T.Helper()
	var err error
	w.slow, err = faultfs.Mount(w.backing, filepath.Join(w.share, "slow"))
	w.Must(err)
	slow := w.slow
	w.T.Cleanup(func() { _ = slow.Close() }) // a test may have closed it
}

// hang lets calls of slow hang, until release or the end of the test: a process
// that waits for such a call cannot be killed.
func (w *sharesWorld) hang(calls ...faultfs.Call) (release func()) {
	release = w.slow.Hang(calls...)
	w.T.Cleanup(release)
	return release
}

// shareClass makes a class for the shares of that parameter.
func (w *sharesWorld) shareClass(name, shares string, parameters ...string) {
	w.T.Helper()
	class := &storagev1.StorageClass{
		ObjectMeta:  metav1.ObjectMeta{Name: w.Name + "-" + name},
		Provisioner: w.provisioner,
		Parameters:  map[string]string{"onDelete": "delete"},
	}
	if shares != "" {
		class.Parameters["share"] = shares
	}
	for i := 0; i+1 < len(parameters); i += 2 {
		class.Parameters[parameters[i]] = parameters[i+1]
	}
	w.createClass(class)
}

func (w *sharesWorld) claimOf(class, name string) {
	w.T.Helper()
	w.Claim(name, clustertest.OfClass(w.Name+"-"+class))
}

// wantOn waits until the claim is Bound and checks that its directory is on the
// share.
func (w *sharesWorld) wantOn(share, claim string) *v1.PersistentVolume {
	w.T.Helper()
	pv := w.Bound(claim)
	path := w.Name + "-" + claim + "-" + pv.Name
	if want := testbed.Export + "/" + share + "/" + path; pv.Spec.NFS == nil || pv.Spec.NFS.Path != want {
		w.T.Errorf("claim %s: %+v, want path %s", claim, pv.Spec.NFS, want)
	}
	if info, err := os.Stat(filepath.Join(w.share, share, path)); err != nil || !info.IsDir() {
		w.T.Errorf("claim %s: %v", claim, err)
	}
	return pv
}

// sharez waits until /sharez says the words, or is well if there are none. The pod stays
// ready.
func (w *sharesWorld) sharez(words ...string) {
	w.T.Helper()
	w.Eventually(fmt.Sprintf("/sharez says %q", words), func() error {
		if _, err := w.process.Get(w.T.Context(), "/readyz"); err != nil {
			return err
		}
		_, err := w.process.Get(w.T.Context(), "/sharez")
		if len(words) == 0 {
			return err
		}
		for _, word := range words {
			if err == nil || !strings.Contains(err.Error(), word) {
				return fmt.Errorf("%q is missing in %w", word, err)
			}
		}
		return nil
	})
}

func testSeveralShares(t *testing.T, bed *testbed.Bed) {
	w := newSharesWorld(t, bed)
	w.shareClass("any", "fast, slow")
	w.shareClass("none", "")
	w.shareClass("typo", "fats")
	for _, class := range []string{"fast", "slow", "any", "none", "typo"} {
		w.claimOf(class, class)
	}
	fast, slow := w.wantOn("fast", "fast"), w.wantOn("slow", "slow")
	any := w.Bound("any")
	w.Event(w.Name, "none", `"share" is missing in the StorageClass, and there are several shares; allowed are fast, slow`)
	w.Event(w.Name, "typo", `there is no share "fats"; allowed are fast, slow`)

	// The mounts change places, one gets another name and one is added: what
	// counts is the server and the path that the volume names.
	w.process.Stop()
	w.Must(w.slow.Close())
	w.Must(os.Rename(filepath.Join(w.share, "fast"), filepath.Join(w.share, "quick")))
	w.Must(os.Mkdir(filepath.Join(w.share, "new"), 0o755))
	w.mount()
	w.process = w.start("NFS_PATH=quick=/export/fast,slow=/export/slow,new=/export/new")
	for _, claim := range []string{"fast", "slow", "any"} {
		w.DeleteClaim(claim)
	}
	for _, pv := range []string{fast.Name, slow.Name, any.Name} {
		w.VolumeGone(pv)
	}
	w.wantEntries("quick")
	w.wantEntries("slow")
	w.claimOf("slow", "again")
	w.wantOn("slow", "again")
}

// A release waits where its share is not served, and goes on where it is again.
func testShareTakenAway(t *testing.T, bed *testbed.Bed) {
	w := newSharesWorld(t, bed)
	w.claimOf("slow", "data")
	pv := w.wantOn("slow", "data")
	w.process.Stop()
	w.Must(w.slow.Close())
	w.process = w.start(sharesEnv("fast")...)
	w.DeleteClaim("data")
	w.Event("default", pv.Name, `spec.nfs `+testbed.Server+`:/export/slow/.* on none of the shares|is not below the export`)
	w.process.Stop()
	w.mount()
	w.process = w.start(sharesEnv("fast", "slow")...)
	w.VolumeGone(pv.Name)
	w.wantEntries("slow")
}
