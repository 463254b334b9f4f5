package provisioner

import (
	"errors"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	storage "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v10/controller"

	"claimdir/provisioner/refusal"
	"claimdir/provisioner/sharetest"
)

// world is a real share with a Provisioner on it.
type world struct {
	*sharetest.World
	*Provisioner
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return worldOn(sharetest.NewWorld(t))
}

func worldOn(on *sharetest.World) *world {
	return &world{on, New(on.Steps, on.Seen, on.Keeper).Provisioners()[0]}
}

// restart puts a new process in the place of one that was killed.
func (w *world) restart(t *testing.T) {
	t.Helper()
	w.Restart(t)
	*w = *worldOn(w.World)
}

// beside is another process, of a cluster, that works on the same share.
func (w *world) beside(t *testing.T, cluster string) *world {
	t.Helper()
	return worldOn(w.Beside(t, cluster))
}

// params are StorageClass parameters, as key, value, key, value.
func params(pairs ...string) map[string]string {
	m := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = pairs[i+1]
	}
	return m
}

// options are those of a claim "namespace/name" whose annotation "path" the
// pattern may use.
func options(claim, pv string, params map[string]string) controller.ProvisionOptions {
	namespace, name, _ := strings.Cut(claim, "/")
	return controller.ProvisionOptions{
		PVName:       pv,
		StorageClass: &storage.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "nfs"}, Parameters: params},
		PVC: &v1.PersistentVolumeClaim{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID("uid-" + pv)},
			Spec: v1.PersistentVolumeClaimSpec{
				AccessModes: []v1.PersistentVolumeAccessMode{v1.ReadWriteMany},
				Resources:   v1.VolumeResourceRequirements{Requests: v1.ResourceList{v1.ResourceStorage: resource.MustParse("1Gi")}},
			},
		},
	}
}

// at is a class whose volumes lie at path.
func at(path string, more ...string) map[string]string {
	return params(append([]string{"pathPattern", path}, more...)...)
}

// provision makes a volume as the library would save it.
func (w *world) provision(t *testing.T, o controller.ProvisionOptions) *v1.PersistentVolume {
	t.Helper()
	pv, state, err := w.Provision(t.Context(), o)
	must(t, err)
	if state != controller.ProvisioningFinished {
		t.Errorf("state %s", state)
	}
	pv.CreationTimestamp = metav1.Now()
	pv.Spec.ClaimRef = &v1.ObjectReference{Namespace: o.PVC.Namespace, Name: o.PVC.Name, UID: o.PVC.UID}
	return pv
}

// refused fails the test unless err is a refusal of that kind that says words.
func refused(t *testing.T, err error, reason string, final bool, words ...string) {
	t.Helper()
	var refused *refusal.Refusal
	if !errors.As(err, &refused) {
		t.Fatalf("error %v, want a refusal", err)
	}
	if refused.Reason() != reason || refused.Final() != final {
		t.Errorf("reason %s, final %v, want %s, %v: %v", refused.Reason(), refused.Final(), reason, final, err)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%q does not say %q", err, word)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	sharetest.Must(t, err)
}

func brief() bool { return sharetest.Brief() }

func times(fast, slow int) int { return sharetest.Times(fast, slow) }
