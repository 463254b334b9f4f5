package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"claimdir/hack/testbed"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
)

// namespaces is how many namespaces the claims lie in.
const namespaces = 50

// world is a cluster and a share that are to be filled.
type world struct {
	bed      *testbed.Bed
	share    string
	store    *etcd
	progress func(format string, args ...any)

	claim  *v1.PersistentVolumeClaim // that a real claimdir served; all others are copies
	volume *v1.PersistentVolume
	record ledger.Record
}

const (
	provisioner = "bench.claimdir/size"
	className   = "size"
	peerName    = "cluster.local/nfs-subdir-external-provisioner"
	peerClass   = "nfs-client"
	namespace   = "size"
)

// prepare makes the classes and namespaces.
func (w *world) prepare(ctx context.Context) error {
	for name, by := range map[string]string{className: provisioner, peerClass: peerName} {
		_, err := w.bed.Admin.StorageV1().StorageClasses().Create(ctx, &storagev1.StorageClass{
			ObjectMeta: metav1.ObjectMeta{Name: name}, Provisioner: by, Parameters: map[string]string{"onDelete": "delete"},
		}, metav1.CreateOptions{})
		if err != nil {
			return err
		}
	}
	for i := range namespaces {
		_, err := w.bed.Admin.CoreV1().Namespaces().Create(ctx, &v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint(namespace, "-", i)}}, metav1.CreateOptions{})
		if err != nil {
			return err
		}
	}
	return nil
}

func newClaim(i int, name string) *v1.PersistentVolumeClaim {
	class := className
	return &v1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: fmt.Sprint(namespace, "-", i%namespaces), Name: name,
			Labels: map[string]string{"app.kubernetes.io/name": "postgresql", "app.kubernetes.io/instance": "db", "app.kubernetes.io/managed-by": "Helm"},
		},
		Spec: v1.PersistentVolumeClaimSpec{
			StorageClassName: &class,
			AccessModes:      []v1.PersistentVolumeAccessMode{v1.ReadWriteMany},
			Resources:        v1.VolumeResourceRequirements{Requests: v1.ResourceList{v1.ResourceStorage: resource.MustParse("1Gi")}},
		},
	}
}

// template lets claimdir serve one claim, and keeps what it made of it.
func (w *world) template(ctx context.Context) error {
	p, err := w.start(ctx, w.share)
	if err != nil {
		return err
	}
	defer p.Stop()
	if _, err := w.bind(ctx, newClaim(0, "template")); err != nil {
		return err
	}
	if w.claim, err = w.bed.Admin.CoreV1().PersistentVolumeClaims(namespace+"-0").Get(ctx, "template", metav1.GetOptions{}); err != nil {
		return err
	}
	if w.volume, err = w.bed.Admin.CoreV1().PersistentVolumes().Get(ctx, w.claim.Spec.VolumeName, metav1.GetOptions{}); err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(w.share, ".claimdir/records/*/*.json"))
	if err != nil || len(files) != 1 {
		return errors.Join(fmt.Errorf("there are %d records on the share, not one", len(files)), err)
	}
	data, err := os.ReadFile(files[0])
	if err != nil {
		return err
	}
	return json.Unmarshal(data, &w.record)
}

// uid is the UID of the n-th object of a kind.
func uid(kind, n int) types.UID {
	return types.UID(fmt.Sprintf("%08x-5b3c-4f8e-9f5e-%012x", kind*0x1000001, n))
}

// pair copies the templates for the n-th claim of a kind and its volume, which are bound to each other. The
// volume's kind is the next one.
func (w *world) pair(name string, kind, n int) (*v1.PersistentVolumeClaim, *v1.PersistentVolume) {
	claim, pv := w.claim.DeepCopy(), w.volume.DeepCopy()
	claim.Name, claim.Namespace, claim.UID = fmt.Sprint(name, "-", n), fmt.Sprint(namespace, "-", n%namespaces), uid(kind, n)
	pv.Name, pv.UID = "pvc-"+string(claim.UID), uid(kind+1, n)
	claim.Spec.VolumeName = pv.Name
	pv.Spec.ClaimRef.Namespace, pv.Spec.ClaimRef.Name, pv.Spec.ClaimRef.UID = claim.Namespace, claim.Name, claim.UID
	return claim, pv
}

// ours makes n Bound claims of claimdir, with their volumes, directories and records.
func (w *world) ours(ctx context.Context, n int) error {
	dirs, err := share.Open(w.share)
	if err != nil {
		return err
	}
	began := time.Now()
	for i := range n {
		claim, pv := w.pair("data-db", 1, i)
		path := claim.Namespace + "-" + claim.Name + "-" + pv.Name
		pv.Spec.NFS.Path = filepath.Join(testbed.Export, path)
		pv.Annotations["claimdir/path"] = path
		if err := w.put(ctx, claim, pv); err != nil {
			return err
		}
		if err := w.putRecord(dirs, path, pv, claim); err != nil {
			return err
		}
		w.tell("claims of ours", i+1, n, began)
	}
	return w.store.flush(ctx)
}

// others makes n Bound claims of other provisioners, half of them CSI and half NFS on another
// server, with their volumes.
func (w *world) others(ctx context.Context, n int) error {
	began := time.Now()
	for i := range n {
		class := "standard"
		claim, pv := w.pair("cache-redis", 3, i)
		claim.Spec.StorageClassName, pv.Spec.StorageClassName = &class, class
		by := "nfs.example.com/other"
		if i%2 == 0 {
			by = "ebs.csi.aws.com"
			pv.Spec.PersistentVolumeSource = v1.PersistentVolumeSource{CSI: &v1.CSIPersistentVolumeSource{
				Driver: by, VolumeHandle: fmt.Sprintf("vol-%017x", i), FSType: "ext4",
				VolumeAttributes: map[string]string{"storage.kubernetes.io/csiProvisionerIdentity": "1732600000000-8081-ebs.csi.aws.com"},
			}}
		} else {
			pv.Spec.NFS.Server, pv.Spec.NFS.Path = "other.example.com", "/srv/"+claim.Namespace+"-"+claim.Name+"-"+pv.Name
		}
		pv.Annotations = map[string]string{"pv.kubernetes.io/provisioned-by": by}
		if err := w.put(ctx, claim, pv); err != nil {
			return err
		}
		w.tell("claims of others", i+1, n, began)
	}
	return w.store.flush(ctx)
}

// peers makes n volumes of nfs-subdir-external-provisioner, with their directories.
func (w *world) peers(ctx context.Context, n int) error {
	began := time.Now()
	for i := range n {
		class := peerClass
		claim, pv := w.pair("old", 5, i)
		claim.Spec.StorageClassName, pv.Spec.StorageClassName = &class, class
		path := claim.Namespace + "-" + claim.Name + "-" + pv.Name
		pv.Spec.NFS.Path = filepath.Join(testbed.Export, path)
		pv.Annotations = map[string]string{"pv.kubernetes.io/provisioned-by": peerName}
		pv.Finalizers = []string{"kubernetes.io/pv-protection"}
		if err := os.Mkdir(filepath.Join(w.share, path), 0o777); err != nil {
			return err
		}
		if err := w.put(ctx, claim, pv); err != nil {
			return err
		}
		w.tell("volumes of the peer", i+1, n, began)
	}
	return w.store.flush(ctx)
}

func (w *world) put(ctx context.Context, claim *v1.PersistentVolumeClaim, pv *v1.PersistentVolume) error {
	if err := w.store.put(ctx, "persistentvolumeclaims", claim); err != nil {
		return err
	}
	return w.store.put(ctx, "persistentvolumes", pv)
}

// putRecord makes a directory and its record.
func (w *world) putRecord(dirs *share.Share, path string, pv *v1.PersistentVolume, claim *v1.PersistentVolumeClaim) error {
	r := w.record
	r.PV, r.Path = pv.Name, path
	r.Claim = ledger.Claim{Namespace: claim.Namespace, Name: claim.Name, UID: string(claim.UID), NamespaceUID: r.Claim.NamespaceUID}
	if err := os.Mkdir(filepath.Join(w.share, path), 0o777); err != nil {
		return err
	}
	parsed, err := volpath.ParseRecorded(path)
	if err != nil {
		return err
	}
	if r.Directory, err = dirs.Identify(parsed); err != nil {
		return err
	}
	r.Directory.Place = w.record.Directory.Place // only the share's own process knows it
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	file := filepath.Join(w.share, ledger.File(parsed, r))
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	return os.WriteFile(file, text, 0o600)
}

// tell says how far it is, ten times.
func (w *world) tell(what string, done, of int, began time.Time) {
	if step := max(of/10, 1); done%step == 0 {
		w.progress("%d of %d %s, %v", done, of, what, time.Since(began).Round(time.Second))
	}
}

// recordsOn counts the paths with records on a share.
func recordsOn(dir string) (int, error) {
	entries, err := os.ReadDir(filepath.Join(dir, ".claimdir/records"))
	n := 0
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") {
			n++
		}
	}
	return n, err
}
