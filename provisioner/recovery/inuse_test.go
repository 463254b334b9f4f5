package recovery

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
)

func volumeHere(name string, phase v1.PersistentVolumePhase, claim string, uid types.UID) v1.PersistentVolume {
	namespace, claimName, _ := strings.Cut(claim, "/")
	return v1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       v1.PersistentVolumeSpec{ClaimRef: &v1.ObjectReference{Namespace: namespace, Name: claimName, UID: uid}},
		Status:     v1.PersistentVolumeStatus{Phase: phase},
	}
}

// What the cluster has is not printed, so that its output does no harm in a living cluster.
func TestVolumesThatAreBoundHereAreLeftOut(t *testing.T) {
	uid := func(s string) func(*ledger.Record) { return func(r *ledger.Record) { r.Claim.UID = s } }
	s := share1{records: []ledger.Record{
		record("a/bound", "pvc-1", "bound", uid("1")),
		record("a/handed", "pvc-2", "handed", uid("2")), // its PersistentVolume is another claim's by now
		record("a/other", "pvc-3", "other", uid("3")),
		record("a/made-again", "pvc-4", "again", uid("4")),
		record("a/lost", "pvc-5", "lost", uid("5")),
		record("a/released", "pvc-6", "released", uid("6"), state(ledger.Retained)),
		record("a/bound", "pvc-7", "kept", uid("7"), state(ledger.Retained)), // of a claim that has another now
		record("a/moved", "pvc-8", "moved", uid("8")),
	}}
	o := asked
	o.Here = []v1.PersistentVolume{
		volumeHere("pvc-1", v1.VolumeBound, "a/bound", "1"),
		volumeHere("pvc-2", v1.VolumeBound, "b/new", "9"),
		volumeHere("byhand", v1.VolumeBound, "a/other", "3"),
		volumeHere("pvc-new", v1.VolumeBound, "a/made-again", "new"),
		volumeHere("pvc-6", v1.VolumeReleased, "a/released", "6"),
		volumeHere("pvc-10", v1.VolumeBound, "b/moved", "8"), // a claim's UID is its own, whatever the record calls it
	}
	var out bytes.Buffer
	left, err := Print(&out, []Share{{"", share.Source{Server: "nas", Path: "/export"}, s, s}}, o)
	if err != nil || !slices.Equal(left.Bound, []string{"pvc-1 (a/bound)", "pvc-2 (a/handed)"}) {
		t.Errorf("bound are %q, %v", left.Bound, err)
	}
	var problems []string
	for _, err := range left.Problems {
		problems = append(problems, err.Error())
	}
	for i, want := range []string{
		`path "other" of claim a/other (active, volume pvc-3): its claim is Bound to PersistentVolume byhand in this cluster; if it shall have`,
		"Bound to PersistentVolume pvc-new", "Bound to PersistentVolume pvc-1 ", "Bound to PersistentVolume pvc-10",
	} {
		if len(problems) != 4 || !strings.Contains(problems[i], want) {
			t.Errorf("left out %q, want %q", problems, want)
		}
	}
	if n := strings.Count(out.String(), "kind: PersistentVolume\n"); n != 2 || !strings.Contains(out.String(), "name: pvc-5\n") || !strings.Contains(out.String(), "name: pvc-6\n") {
		t.Errorf("printed:\n%s", &out)
	}
	if head, _, _ := strings.Cut(out.String(), "\n---"); !strings.Contains(head, "# 2 volumes of nas:/export") || !strings.Contains(head, "# Left out: 2 volumes, Bound") {
		t.Errorf("the head is:\n%s", head)
	}
}

// A volume that is bound tells which of two namespaces of one name is there now.
func TestABoundVolumeTellsWhichNamespaceIsThere(t *testing.T) {
	s, o := share1{records: []ledger.Record{record("a/old", "pvc-1", "old", state(ledger.Retained), of("n-1")), record("a/new", "pvc-2", "new", of("n-2"))}}, asked
	o.Here = []v1.PersistentVolume{volumeHere("pvc-2", v1.VolumeBound, "a/new", "u-new")}
	var out bytes.Buffer
	left, err := Print(&out, []Share{{"", share.Source{Server: "nas", Path: "/export"}, s, s}}, o)
	if err != nil || len(left.Bound) != 1 || len(left.Problems) != 1 || !strings.Contains(left.Problems[0].Error(), "it is of an earlier namespace of that name") || strings.Contains(out.String(), "kind:") {
		t.Errorf("%+v, %v, printed:\n%s", left, err, &out)
	}
}

func TestTheFirstLineWarns(t *testing.T) {
	s, o := share1{records: []ledger.Record{record("a/b", "pvc-1", "b")}}, asked
	o.NotAsked = "there is no kubeconfig\x1b"
	var out bytes.Buffer
	if _, err := Print(&out, []Share{{"", share.Source{Server: "nas", Path: "/export"}, s, s}}, o); err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(out.String(), "\n")
	if !strings.HasPrefix(first, "# WARNING: ONLY FOR A CLUSTER THAT HAS LOST ITS VOLUMES AND CLAIMS.") || !strings.Contains(out.String(), "# NO CLUSTER WAS ASKED which of them it has already: there is no kubeconfig?.\n") {
		t.Errorf("printed:\n%s", &out)
	}
}
