package cluster

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"claimdir/hack/testbed"
)

// overSize waits until a claim has the condition claimdir/OverSize, or has it no more, and checks that it keeps
// the conditions of others.
func (w *world) overSize(claim string, want bool) {
	w.T.Helper()
	w.Eventually(fmt.Sprintf("condition claimdir/OverSize of claim %s: %v", claim, want), func() error {
		is, others := false, false
		conditions := w.getClaim(claim).Status.Conditions
		for _, condition := range conditions {
			is = is || condition.Type == "claimdir/OverSize" && condition.Status == v1.ConditionTrue
			others = others || condition.Type == "example.com/backup"
		}
		if is != want || !others {
			return fmt.Errorf("it has %+v", conditions)
		}
		return nil
	})
}

// testUsage fills a volume beyond its size. People are told, new claims of the namespace wait, and go on when the
// claim requests more.
func testUsage(t *testing.T, bed *testbed.Bed) {
	w := newWorld(t, bed, "USAGE_INTERVAL=2s", "USAGE_METRICS=volume")
	w.createClass(&storagev1.StorageClass{
		ObjectMeta: metav1.ObjectMeta{Name: w.Name}, Provisioner: w.provisioner, AllowVolumeExpansion: new(true),
		Parameters: map[string]string{"onOverSize": "freeze"},
	})
	w.Claim("data")
	pv := w.Bound("data") // 1Mi
	w.setStatus("data", `{"status":{"conditions":[{"type":"example.com/backup","status":"False"}]}}`)
	dir := strings.TrimPrefix(pv.Spec.NFS.Path, testbed.Export+"/")
	w.Must(os.WriteFile(filepath.Join(w.share, dir, "large"), make([]byte, 3<<20), 0o600))
	w.Event(w.Name, "data", `VolumeOverSize: the directory holds 3\.0Mi, 30\d % of the 1\.0Mi that the claim has: remove data, or request more, if the class allows that; new claims of this namespace and class wait until then`)
	w.overSize("data", true)

	w.Claim("more")
	w.Event(w.Name, "more", `claims of this namespace hold more than they requested: data; StorageClass \S+ lets no new volume begin here meanwhile`)
	w.wantEntries(".", dir)

	w.process.Kill()
	w.process = w.start("USAGE_INTERVAL=2s", "USAGE_METRICS=volume")
	time.Sleep(2 * time.Second) // the new leader tries the claim at once
	if phase := w.getClaim("more").Status.Phase; phase != v1.ClaimPending {
		t.Errorf("after a restart the claim is %s", phase)
	}
	out, err := bed.Run(t.Context(), testbed.Config{Share: w.share, Provisioner: w.provisioner}, "usage")
	w.Must(err)
	if line := regexp.MustCompile(`(?m)^` + w.Name + `/data +volume +3\.0Mi +1\.0Mi +30\d% +1 +\d+s ago +` + regexp.QuoteMeta(dir) + `$`); !line.MatchString(out) {
		t.Errorf("claimdir usage says\n%s", out)
	}
	out, err = bed.Run(t.Context(), testbed.Config{Share: w.share, Provisioner: w.provisioner}, "usage", w.Name+"/data", "-o", "json")
	w.Must(err)
	var report struct {
		Directories []struct {
			Claim string
			Used  struct{ Files int }
		}
	}
	if w.Must(json.Unmarshal([]byte(out), &report)); len(report.Directories) != 1 || report.Directories[0].Claim != "data" || report.Directories[0].Used.Files != 1 {
		t.Errorf("claimdir usage -o json says %s", out)
	}

	w.Must(w.resize("data", "10Mi"))
	w.overSize("data", false)
	w.Bound("more")
	w.Eventually("the metrics say how much is used", func() error {
		metrics, err := w.process.Get(t.Context(), "/metrics")
		if err != nil {
			return err
		}
		for _, want := range []string{
			fmt.Sprintf(`(?m)^claimdir_volume_used_bytes{namespace="%s",persistentvolumeclaim="data",share=""} 3\.\d+e\+06$`, w.Name),
			fmt.Sprintf(`(?m)^claimdir_namespace_requested_bytes{namespace="%s",share=""} 1\.15\d+e\+07$`, w.Name),
			`(?m)^claimdir_share_requested_bytes{share=""} 1\.15\d+e\+07$`,
		} {
			if !regexp.MustCompile(want).MatchString(metrics) {
				return fmt.Errorf("there is no %s", want)
			}
		}
		return nil
	})

	w.Must(w.bed.Admin.CoreV1().PersistentVolumeClaims(w.Name).Delete(t.Context(), "data", metav1.DeleteOptions{}))
	w.Eventually("the figures of a volume that is gone go", func() error {
		if _, err := os.Stat(filepath.Join(w.share, ".claimdir/usage", dir+".json")); !os.IsNotExist(err) {
			return fmt.Errorf("they are there: %w", err)
		}
		return nil
	})
}
