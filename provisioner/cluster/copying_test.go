package cluster

import (
	"slices"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"

	"claimdir/provisioner/cluster/pvs"
)

// wishing are claims that are to be copies, and some that are not.
func wishing() (claims []runtime.Object) {
	add := func(namespace, name string, change func(*v1.PersistentVolumeClaim)) {
		claim := &v1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Annotations: map[string]string{}}}
		change(claim)
		claims = append(claims, claim)
	}
	from := func(group *string, kind, name string) func(*v1.PersistentVolumeClaim) {
		return func(c *v1.PersistentVolumeClaim) {
			c.Spec.DataSource = &v1.TypedLocalObjectReference{APIGroup: group, Kind: kind, Name: name}
		}
	}
	archive := func(name string) func(*v1.PersistentVolumeClaim) {
		return func(c *v1.PersistentVolumeClaim) { c.Annotations[pvs.AnnotationRestoreCopy] = name }
	}
	add("team", "of-claim", from(nil, "PersistentVolumeClaim", "x"))
	add("team", "of-snapshot", from(new("snapshot.storage.k8s.io"), "VolumeSnapshot", "x"))
	add("team", "of-populator", from(new("example.com"), "VolumeSnapshot", "x"))
	add("team", "of-archive", archive("x"))
	add("team", "of-another", archive("y"))
	add("team", "data", archive(pvs.Latest))
	add("team", "other", archive(pvs.Latest))
	add("team", "long", archive(strings.Repeat("x", 300)))
	add("team", "plain", func(*v1.PersistentVolumeClaim) {})
	add("team2", "of-archive", archive("x"))
	add("team2", "of-claim", from(nil, "PersistentVolumeClaim", "x"))
	add("team", "bound", func(c *v1.PersistentVolumeClaim) {
		archive("x")(c)
		c.Spec.VolumeName, c.Status.Phase = "pvc-1", v1.ClaimBound
	})
	return claims
}

func claimNames(claims []*v1.PersistentVolumeClaim) string {
	names := make([]string, len(claims))
	for i, claim := range claims {
		names[i] = claim.Namespace + "/" + claim.Name
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

func TestWhoIsToBeACopyIsFound(t *testing.T) {
	i := started(t, wishing()...)
	for what, tt := range map[string]struct {
		got  []*v1.PersistentVolumeClaim
		want string
	}{
		"of a claim":                          {i.CopiesOf("team", "x"), "team/of-claim"},
		"of a claim that nobody copies":       {i.CopiesOf("team", "y"), ""},
		"of a snapshot":                       {i.RestoresOf("team", "x"), "team/of-snapshot"},
		"of an archive":                       {i.CopiesOfArchive("team", "x", "nobody"), "team/of-archive"},
		"of the latest archive":               {i.CopiesOfArchive("team", "z", "data"), "team/data"},
		"of an archive, also as the latest":   {i.CopiesOfArchive("team", "x", "data"), "team/data team/of-archive"},
		"of an archive of another namespace":  {i.CopiesOfArchive("team2", "x", "data"), "team2/of-archive"},
		"of an archive whose claim is bound":  {i.CopiesOfArchive("team", "z", "bound"), ""},
		"of one called as no volume can be":   {i.CopiesOfArchive("team", strings.Repeat("x", 300), "nobody"), ""},
		"of one called latest, of that claim": {i.CopiesOfArchive("team", "z", "plain"), ""},
	} {
		if got := claimNames(tt.got); got != tt.want {
			t.Errorf("%s: %q, want %q", what, got, tt.want)
		}
	}
}

func TestWhoIsToBeACopyOfAnArchiveIsAsked(t *testing.T) {
	claims, err := Live{Client: fake.NewClientset(wishing()...)}.ArchiveCopies(t.Context(), "team")
	if want := "team/data team/of-another team/of-archive team/other"; err != nil || claimNames(claims) != want {
		t.Errorf("got %q, %v, want %q", claimNames(claims), err, want)
	}
}
