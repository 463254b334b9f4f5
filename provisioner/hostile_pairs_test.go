package provisioner

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"claimdir/provisioner/refusal"
	"claimdir/provisioner/volpath"
)

// recordKey, in the path of a second volume, stands for the name of the first
// one's record.
const recordKey = "RECORD"

func TestHostilePathsThatAreNearlyEqualAreTwoVolumes(t *testing.T) {
	long := strings.Repeat("long/", 60)
	for name, pair := range map[string][2]string{
		"normal forms of one name":        {"é", "e\u0301"},
		"two characters of one look":      {"\u212b", "Å"},
		"a ligature":                      {"ﬁle", "file"},
		"letter case":                     {"data", "Data"},
		"an invisible character":          {"data", "data\u200b"},
		"a beginning of the other":        {"team/data", "team/data2"},
		"one is the other's escaped name": {"a/b", "a%2Fb"},
		"escaped twice":                   {"a%2Fb", "a%252Fb"},
		"a slash of another alphabet":     {"a/b", "a∕b"},
		"the mark of hashed records":      {"a", "a+"},
		"the ending of records":           {"a", "a.json"},
		"the name of its record":          {"a/b", recordKey},
		"its record's name with .json":    {"a/b", recordKey + ".json"},
		"the name of its hashed record":   {long + "a", recordKey},
		"that without the mark":           {long + "a", "KEY"},
		"two hashed records":              {long + "a", long + "b"},
		"a shortened name":                {long + "a", volpath.Shorten(strings.ReplaceAll(long+"a", "/", "%2F"), 200)},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			a := s.provision(t, annotated("pvc-a", "V", pair[0], "onDelete", "delete"))
			records, err := s.Store(t).Dirs.ListMeta("records")
			must(t, err)
			record := records[slices.IndexFunc(records, func(r string) bool { return !strings.HasPrefix(r, "rival") })]
			second := strings.ReplaceAll(pair[1], recordKey, record)
			second = strings.ReplaceAll(second, "KEY", strings.TrimSuffix(record, "+"))
			before := s.outside(t, second)
			b := s.provision(t, annotated("pvc-b", "V", second, "onDelete", "delete"))
			s.Tree(t, second+"/file")
			if a.Spec.NFS.Path == b.Spec.NFS.Path || s.Record(t, second).PV != "pvc-b" || s.Record(t, pair[0]).PV != "pvc-a" {
				t.Errorf("%q and %q are one volume", pair[0], second)
			}
			before.same(t, s.outside(t, second))
			other := s.outside(t, pair[0])
			must(t, s.Delete(t.Context(), a))
			other.same(t, s.outside(t, pair[0]))
			must(t, s.Delete(t.Context(), b))
		})
	}
}

func TestHostilePathsHaveALongestLength(t *testing.T) {
	// The export and the slash after it count, for that is what a kubelet mounts.
	fits := volpath.MaxPath - len("/export/")
	s := newSite(t)
	untouched := s.outside(t)
	for _, n := range []int{fits + 1, volpath.MaxPath, volpath.MaxPath + 1} {
		_, _, err := s.Provision(t.Context(), annotated("pvc-1", "V", ofLength(n, 1)))
		refused(t, err, refusal.ReasonPath, true)
	}
	untouched.same(t, s.outside(t))
	for _, width := range []int{volpath.MaxElement, volpath.MaxLevels} { // the second has almost as many levels as are allowed
		path := ofLength(fits, width)
		before := s.outside(t, path)
		pv := s.provision(t, annotated("pvc-1", "V", path, "onDelete", "delete"))
		if len(pv.Spec.NFS.Path) != 4095 {
			t.Errorf("a path of %d bytes", len(pv.Spec.NFS.Path))
		}
		before.same(t, s.outside(t, path))
		must(t, s.Delete(t.Context(), pv))
		before.same(t, s.outside(t, path))
	}
}

// ofLength is a path of n bytes whose elements have width bytes.
func ofLength(n, width int) string {
	return strings.Repeat(strings.Repeat("e", width)+"/", n)[:n-1] + "x"
}

// nesting are the places of a path beside that of another volume, at/data.
func nesting() map[string]string {
	return map[string]string{
		"the same": "at/data", "the same with a slash": "at/data/", "the same with two": "at//data", "inside": "at/data/in", "deep inside": "at/data/in/si/de",
		"above": "at", "above with a slash": "at/",
	}
}

func TestHostileASecondVolumeInOnOrAboveIsRefusedAndNotToldWhose(t *testing.T) {
	places := nesting()
	// What the other volume holds must not show either.
	places["inside a directory that is there"], places["inside a file"] = "at/data/tree", "at/data/file/x"
	places["at a file"], places["at a link"] = "at/data/file", "at/data/link"
	for place, path := range places {
		for _, claim := range []string{"beta/other", "beta/confidential", "alpha/other"}[:times(3, 1)] {
			for _, existing := range []string{"refuse", "adopt"} {
				t.Run(place+" "+claim+" "+existing, func(t *testing.T) {
					s := newSite(t)
					s.provision(t, options("alpha/confidential", "pvc-1", at("at/data")))
					s.Tree(t, "at/data/file", "at/data/tree/file")
					must(t, os.Symlink("file", s.Dir+"/at/data/link"))
					o := annotated("pvc-2", "V", path, "onExisting", existing)
					o.PVC.Namespace, o.PVC.Name, _ = strings.Cut(claim, "/")
					before := s.outside(t)
					for range 2 {
						_, _, err := s.Provision(t.Context(), o)
						refused(t, err, refusal.ReasonTaken, false)
						if strings.HasPrefix(path, "at/data/") && strings.Contains(err.Error(), "exists") {
							t.Errorf("tells what the other volume holds: %v", err)
						}
						hides := strings.ReplaceAll(err.Error(), "beta/confidential", "")
						if o.PVC.Namespace != "alpha" && (strings.Contains(hides, "confidential") || strings.Contains(hides, "alpha")) {
							t.Errorf("tells another namespace whose it is: %v", err)
						}
					}
					before.same(t, s.outside(t))
				})
			}
		}
	}
}

// The path is free after the first volume's release; when the second has it, a
// repeat of that release must leave it alone.
func TestHostileAReleaseThatIsRepeatedLeavesTheNextVolumeInOnOrAboveAlone(t *testing.T) {
	for place, path := range nesting() {
		for _, policy := range []string{"delete", "archive"} {
			t.Run(place+" "+policy, func(t *testing.T) {
				s := newSite(t)
				first := s.provision(t, options("alpha/confidential", "pvc-1", at("at/data", "onDelete", policy)))
				first.CreationTimestamp = metav1.Time{Time: time.Now().Add(-time.Hour)}
				must(t, s.Delete(t.Context(), first))
				second := annotated("pvc-2", "V", path, "onExisting", "adopt")
				s.provision(t, second)
				s.Tree(t, "at/data/file", "at/data/tree/file") // inside, if the second lies above
				before := s.outside(t)
				err := s.Delete(t.Context(), first)
				before.same(t, s.outside(t))
				if err != nil && strings.Contains(err.Error(), "Remove the directory by hand") {
					t.Errorf("asks to remove what is the second's: %v", err)
				}
			})
		}
	}
}
