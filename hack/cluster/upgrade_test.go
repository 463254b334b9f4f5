package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"claimdir/hack/clustertest"
	"claimdir/hack/testbed"
	"claimdir/provisioner/sharetest"
)

// testUpgrade: a share that an older claimdir wrote, with volumes in each state and a
// release that was cut off. This one goes on with all of them.
func testUpgrade(t *testing.T, bed *testbed.Bed) {
	w := newQuietWorld(t, bed)
	w.class("pathPattern", "${.PVC.namespace}/${.PVC.name}", "onDelete", "archive")
	first := firstShare{world: w, text: "dir 0755 " + w.Name + "\n"}
	goes := first.active("goes", "delete")
	stays := first.active("stays", "archive")
	begun := w.Claim("begun")
	first.record("begun", w.Name+"/begun", "pvc-"+string(begun.UID), "creating", string(begun.UID), "")
	first.directory(w.Name+"/begun", "")
	first.record("kept", w.Name+"/kept", "pvc-kept", "retained", "gone", `"released": "2026-01-02T03:04:05Z",`)
	first.directory(w.Name+"/kept", "kept")
	archive := "archived-" + w.Name + "-old-pvc-old"
	first.record("old", archive, "pvc-old", "archived", "gone", `"released": "2026-01-02T03:04:05Z", "origin": "`+w.Name+`/old",`)
	first.directory(archive, "old")
	cut := first.volume("cut", w.Name+"/cut", "delete", "gone")
	first.record("cut", w.Name+"/cut", cut, "active", "gone", "")
	first.write("dir 0777 .claimdir/trash/"+cut+"-1\n", "file 0600 .claimdir/trash/"+cut+"-1/file\n\tcut\n")

	w.process = w.start()
	w.logged("Converted the records of the older layout", "records=")
	w.Eventually("the older layout is gone", first.gone)
	w.VolumeGone(cut)
	w.trashEmptied(trashDir + "/" + cut + "-1")

	w.Bound("begun")
	w.Claim("kept")
	w.Bound("kept")
	w.wantFile(w.Name+"/kept/file", "kept\n")
	w.Claim("old", clustertest.Annotated(annRestore, "pvc-old"))
	w.Bound("old")
	w.wantFile(w.Name+"/old/file", "old\n")
	for _, name := range []string{"goes", "stays"} {
		w.Bound(name)
		w.wantFile(w.Name+"/"+name+"/file", name+"\n")
	}
	out, err := bed.Run(t.Context(), testbed.Config{Share: w.share, Provisioner: w.provisioner}, "doctor")
	if err != nil || !strings.Contains(out, "5 volumes, 5 records, 5 directories: 0 findings.") {
		t.Errorf("%v\n%s", err, out)
	}

	w.DeleteClaim("goes")
	w.VolumeGone(goes)
	w.trashEmptied(w.inTrash(goes))
	w.DeleteClaim("stays")
	w.VolumeGone(stays)
	w.wantFile("archived-"+w.Name+"-stays-"+stays+"/file", "stays\n")
	for _, name := range []string{"begun", "kept", "old"} {
		pv := w.Bound(name).Name
		w.DeleteClaim(name)
		w.VolumeGone(pv)
	}
	if entries := w.entries("."); len(entries) != 4 || strings.Contains(strings.Join(entries, " "), w.Name+" ") {
		t.Errorf("the share holds %q, want four archives and not the parent that the older claimdir made", entries)
	}
	w.healthy()
}

// firstShare is a share of layout 1, whose volumes are there in the cluster, too.
type firstShare struct {
	*world
	text string
}

// active makes a claim with its volume, and returns the volume's name.
func (s *firstShare) active(name, policy string) (pv string) {
	s.T.Helper()
	claim := s.Claim(name, func(c *v1.PersistentVolumeClaim) { c.Spec.VolumeName = "pvc-" + s.Name + "-" + name })
	path := s.Name + "/" + name
	pv = s.volume(name, path, policy, string(claim.UID))
	s.record(name, path, pv, "active", string(claim.UID), "")
	s.directory(path, name)
	return pv
}

// volume makes the PersistentVolume of a claim, as an older claimdir did.
func (s *firstShare) volume(claim, path, policy, uid string) string {
	s.T.Helper()
	pv := handPV("pvc-"+s.Name+"-"+claim, testbed.Server, testbed.Export+"/"+path)
	pv.Finalizers = []string{finalizer}
	pv.Annotations = map[string]string{"pv.kubernetes.io/provisioned-by": s.provisioner, "claimdir/path": path, "claimdir/on-delete": policy}
	pv.Spec.PersistentVolumeReclaimPolicy, pv.Spec.StorageClassName = v1.PersistentVolumeReclaimDelete, s.Name
	pv.Spec.ClaimRef = &v1.ObjectReference{Kind: "PersistentVolumeClaim", APIVersion: "v1", Namespace: s.Name, Name: claim, UID: types.UID(uid)}
	_, err := s.Admin.CoreV1().PersistentVolumes().Create(s.T.Context(), pv, metav1.CreateOptions{})
	s.Must(err)
	return pv.Name
}

// record writes a record as layout 1 has it.
func (s *firstShare) record(claim, path, pv, state, uid, more string) {
	s.T.Helper()
	s.text += fmt.Sprintf(`file 0600 .claimdir/volumes/%s.json
	{
	  "layout": 1, "state": %q, "path": %q, "pv": %q, "claim": {"namespace": %q, "name": %q, "uid": %q},
	  "cluster": %q, "class": %q, "policy": "archive", "reclaimPolicy": "Delete", "size": "1Mi", "accessModes": ["ReadWriteMany"],
	  %s
	  "mode": "0777", "created": "2026-01-02T03:04:05Z"
	}
`, recordKey(path), state, path, pv, s.Name, claim, uid, s.cluster(), s.Name, more)
}

// directory makes one, with a file in it if that has content.
func (s *firstShare) directory(path, content string) {
	s.text += "dir 0777 " + path + "\n"
	if content != "" {
		s.text += "file 0640 " + path + "/file\n\t" + content + "\n"
	}
}

// write makes the share.
func (s *firstShare) write(more ...string) {
	s.T.Helper()
	head := "dir 0700 .claimdir\ndir 0700 .claimdir/volumes\ndir 0700 .claimdir/parents\ndir 0700 .claimdir/trash\n" +
		"file 0600 .claimdir/share.json\n\t{\"layout\":1,\"id\":\"share-1\",\"created\":\"2026-01-02T03:04:05Z\"}\n" +
		"file 0600 .claimdir/parents/" + s.Name + ".json\n\t{\"layout\": 1, \"path\": \"" + s.Name + "\", \"made\": \"2026-01-02T03:04:05Z\", \"directory\": \"@" + s.Name + "\"}\n"
	files := fstest.MapFS{"share" + sharetest.Suffix: {Data: []byte(head + s.text + strings.Join(more, ""))}}
	s.Must(sharetest.Write(files, "share", s.share))
}

// gone reports whether the older layout's files are gone, and the share says that it is a
// newer one.
func (s *firstShare) gone() error {
	for _, name := range []string{"volumes", "parents"} {
		if _, err := os.Lstat(filepath.Join(s.share, ".claimdir", name)); !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("%s is there (%w)", name, err)
		}
	}
	data, err := os.ReadFile(filepath.Join(s.share, ".claimdir/share.json"))
	if err != nil {
		return err
	}
	var identity struct {
		Layout int
		ID     string
	}
	if err := json.Unmarshal(data, &identity); err != nil || identity.Layout != 2 || identity.ID != "share-1" {
		return fmt.Errorf("share.json says %s (%w)", data, err)
	}
	return nil
}
