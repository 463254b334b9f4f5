package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/volpath"
)

// What cannot be read hides nothing of the rest, a script notices, and the terminal
// stays in order.
func TestRecoverGoesOnPastWhatItCannotRead(t *testing.T) {
	shares := t.TempDir()
	w := &archiveWorld{t: t}
	w.must(os.Mkdir(shares+"/good", 0o755), os.Mkdir(shares+"/other", 0o755))
	w = openArchiveWorld(t, shares+"/good", env("PROVISIONER_NAME=a/b", "MOUNT_PATH="+shares, "NFS_SERVER=good=nas,other=nas2", "NFS_PATH=good=/a,other=/b"))
	path, err := volpath.Parse("data")
	w.must(err)
	_, err = w.l.Take(path, ledger.Record{State: ledger.Active, PV: "pvc-1", Claim: ledger.Claim{Namespace: "team", Name: "data", UID: "u"}, Size: "1Gi"}, false)
	kept, keptErr := volpath.Parse("kept")
	w.must(keptErr)
	r, keptErr := w.l.Take(kept, ledger.Record{State: ledger.Active, PV: "pvc-2", Claim: ledger.Claim{Namespace: "team", Name: "logs", UID: "u"}, Size: "1Gi"}, false)
	w.must(keptErr, w.l.Retain(kept, r, nil))
	w.must(err, os.Mkdir(w.dir+"/data", 0o755))
	w.damage()
	var out, stderr bytes.Buffer
	err = run(t.Context(), []string{"recover", "--include-bound"}, w.env, streams{out: &out, err: &stderr})
	if err == nil || !strings.Contains(err.Error(), "records or shares that were left out: 3; all others were printed") {
		t.Error(err)
	}
	holds(t, out.String(), "name: pvc-1", "path: /a/data")
	holds(t, stderr.String(), shares+"/other", `share "good": left out path "kept" of claim team/logs (retained, volume pvc-2): its claim may have a volume on the share that cannot be read`, `share "good": damaged record in .claimdir/records/bad?/x.json`)
	w.must(os.RemoveAll(w.dir + "/.claimdir"))
	out.Reset()
	if err = run(t.Context(), []string{"recover", "--include-bound"}, w.env, streams{out: &out, err: &stderr}); err == nil || out.Len() > 0 {
		t.Errorf("%v, printed %s", err, &out)
	}
}

// volumesServer answers with these PersistentVolumes, and returns the kubeconfig for it.
func volumesServer(t *testing.T, volumes ...v1.PersistentVolume) (kubeconfig string) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch r.URL.Path {
		case "/api/v1/persistentvolumes":
			_ = json.NewEncoder(w).Encode(v1.PersistentVolumeList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PersistentVolumeList"}, Items: volumes})
		case "/api/v1/namespaces/kube-system":
			_ = json.NewEncoder(w).Encode(v1.Namespace{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"}, ObjectMeta: metav1.ObjectMeta{Name: "kube-system", UID: "here"}})
		default:
			w.WriteHeader(http.StatusForbidden)
		}
	}))
	t.Cleanup(server.Close)
	kubeconfig = filepath.Join(t.TempDir(), "config")
	text := fmt.Sprintf(`{"apiVersion": "v1", "kind": "Config", "current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "c"}}], "clusters": [{"name": "c", "cluster": {"server": %q}}]}`, server.URL)
	if err := os.WriteFile(kubeconfig, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return kubeconfig
}

// recoverWorld is a share with the volume pvc-1 of claim team/data, and its PersistentVolume.
func recoverWorld(t *testing.T, server string) (dir string, pv v1.PersistentVolume) {
	t.Helper()
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	home := clientcmd.RecommendedHomeFile
	clientcmd.RecommendedHomeFile = filepath.Join(t.TempDir(), "none")
	t.Cleanup(func() { clientcmd.RecommendedHomeFile = home })
	dir = t.TempDir()
	w := openArchiveWorld(t, dir, env())
	path, err := volpath.Parse("data")
	w.must(err)
	_, err = w.l.Take(path, ledger.Record{
		State: ledger.Active, PV: "pvc-1", Claim: ledger.Claim{Namespace: "team", Name: "data", UID: "u"}, Cluster: "here", Size: "1Gi", Policy: "delete", AccessModes: []string{"ReadWriteMany"},
	}, false)
	w.must(err, os.Mkdir(dir+"/data", 0o755))
	return dir, v1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: "pvc-1", UID: "u-pv", Annotations: map[string]string{"pv.kubernetes.io/provisioned-by": "a/b", "claimdir/path": "data", "claimdir/on-delete": "delete"}},
		Spec: v1.PersistentVolumeSpec{
			ClaimRef:                      &v1.ObjectReference{Namespace: "team", Name: "data", UID: "u"},
			PersistentVolumeReclaimPolicy: v1.PersistentVolumeReclaimDelete,
			PersistentVolumeSource:        v1.PersistentVolumeSource{NFS: &v1.NFSVolumeSource{Server: server, Path: "/export/data"}},
		},
		Status: v1.PersistentVolumeStatus{Phase: v1.VolumeBound},
	}
}

// In a living cluster recover prints nothing that is in use there, and says so.
func TestRecoverAsksTheCluster(t *testing.T) {
	dir, pv := recoverWorld(t, "nas")
	broken := filepath.Join(t.TempDir(), "broken")
	if err := os.WriteFile(broken, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	living, empty := volumesServer(t, pv), volumesServer(t)
	for name, tt := range map[string]struct {
		kubeconfig string
		args       []string
		printed    int
		says, head string
		err        string
	}{
		"a living cluster":         {living, nil, 0, "left out 1 volume, Bound in this cluster and in no need of recovery: pvc-1 (team/data); --include-bound prints all", "# Left out: 1 volume,", ""},
		"a new cluster":            {empty, nil, 1, "", "# Left out: 0 volumes", ""},
		"a backup":                 {living, []string{"--include-bound"}, 1, "", "# NO CLUSTER WAS ASKED which of them it has already: --include-bound was given.", ""},
		"no cluster":               {"", nil, 1, "no cluster was asked which of the volumes it has already: this is no pod, KUBECONFIG is not set, and there is no file", "# NO CLUSTER WAS ASKED", ""},
		"one that cannot be asked": {broken, nil, 0, "", "", "--include-bound prints all volumes without asking the cluster"},
		"both flags":               {living, []string{"--include-bound", "--readdress"}, 0, "", "", "--readdress excludes --include-bound and --snapshots: give it alone"},
	} {
		t.Run(name, func(t *testing.T) {
			var out, stderr bytes.Buffer
			err := run(t.Context(), append([]string{"recover"}, tt.args...), env("PROVISIONER_NAME=a/b", "MOUNT_PATH="+dir, "NFS_SERVER=nas", "NFS_PATH=/export", "KUBECONFIG="+tt.kubeconfig), streams{out: &out, err: &stderr})
			if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("it ended with %v", err)
			}
			if n := strings.Count(out.String(), "kind: PersistentVolume\n"); n != tt.printed || !strings.Contains(out.String(), tt.head) || !strings.Contains(stderr.String(), tt.says) || (tt.says == "") != (stderr.Len() == 0) {
				t.Errorf("printed:\n%s\nand said %s", &out, &stderr)
			}
			if tt.err == "" && !strings.HasPrefix(out.String(), "# WARNING: ONLY FOR A CLUSTER THAT HAS LOST ITS VOLUMES") {
				t.Errorf("printed:\n%s", &out)
			}
		})
	}
}

func TestRecoverSnapshots(t *testing.T) {
	dir, pv := recoverWorld(t, "nas")
	w := openArchiveWorld(t, dir, env())
	for _, content := range []string{"snapcontent-1", "snapcontent-2"} {
		r := ledger.Snapshot{Content: content, Name: "of-" + content, Record: ledger.Record{
			PV: "pvc-1", Path: "data", Cluster: "lost", Size: "1Gi", Claim: ledger.Claim{Namespace: "team", Name: "data", UID: "u"}, CopyOf: &ledger.Copy{Kind: ledger.CopyClaim},
		}}
		w.must(w.l.BeginSnapshot(r), os.Mkdir(dir+"/"+ledger.SnapshotPath(r.Own()), 0o700))
		var err error
		r.Directory, err = w.s.Snapshot(r.Own())
		w.must(err, w.l.UpdateSnapshot(r))
	}
	for name, tt := range map[string]struct {
		args    []string
		printed int
		says    string
	}{
		"with the volumes": {nil, 0, "the shares have 2 snapshots, too: claimdir recover --snapshots prints the objects"},
		"a new cluster":    {[]string{"--snapshots"}, 2, ""},
		"a backup":         {[]string{"--snapshots", "--include-bound"}, 2, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var out, stderr bytes.Buffer
			err := run(t.Context(), append([]string{"recover"}, tt.args...), env("PROVISIONER_NAME=a/b", "MOUNT_PATH="+dir, "NFS_SERVER=nas", "NFS_PATH=/export", "KUBECONFIG="+volumesServer(t, pv)), streams{out: &out, err: &stderr})
			if err != nil || strings.Count(out.String(), "kind: VolumeSnapshotContent\n") != tt.printed || strings.Count(out.String(), "@lost\n") != tt.printed || !strings.Contains(stderr.String(), tt.says) {
				t.Errorf("%v, printed:\n%s\nand said %s", err, &out, &stderr)
			}
		})
	}
}

func TestRecoverReaddress(t *testing.T) {
	dir, pv := recoverWorld(t, "old-nas")
	for name, tt := range map[string]struct {
		kubeconfig   string
		server       string
		volumes      int
		stderr, fail string
	}{
		"a new server":    {volumesServer(t, pv), "nas", 1, "", ""},
		"the same server": {volumesServer(t, pv), "old-nas", 0, "claimdir: no record on the share is of a PersistentVolume that names an earlier address; the script does nothing\n", ""},
		"no cluster":      {"", "nas", 0, "", "--readdress needs the cluster: this is no pod"},
	} {
		t.Run(name, func(t *testing.T) {
			var out, stderr bytes.Buffer
			err := run(t.Context(), []string{"recover", "--readdress"}, env("PROVISIONER_NAME=a/b", "MOUNT_PATH="+dir, "NFS_SERVER="+tt.server, "NFS_PATH=/export", "KUBECONFIG="+tt.kubeconfig), streams{out: &out, err: &stderr})
			if (err == nil) != (tt.fail == "") || err != nil && !strings.Contains(err.Error(), tt.fail) {
				t.Errorf("it ended with %v", err)
			}
			if n := strings.Count(out.String(), "\nreaddress 'pvc-1' 'u-pv' 'nas:/export/data' 'Delete' <<'END'\n"); n != tt.volumes || stderr.String() != tt.stderr {
				t.Errorf("printed:\n%s\nand said %s", &out, &stderr)
			}
		})
	}
}
