package recovery

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
)

// snapshotShare is a share with snapshots.
type snapshotShare struct {
	t   *testing.T
	dir string
	SnapshotShare
}

func newSnapshotShare(t *testing.T) *snapshotShare {
	t.Helper()
	s := &snapshotShare{t: t, dir: t.TempDir()}
	dirs, err := share.Open(s.dir)
	s.must(err)
	records, err := ledger.Open(dirs, "share-1")
	s.must(err)
	s.Store = ledger.Store{Dirs: dirs, Records: records}
	return s
}

func (s *snapshotShare) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// has makes a whole snapshot, unless change takes its Directory away.
func (s *snapshotShare) has(content, name, cluster string, change ...func(*ledger.Snapshot)) ledger.Snapshot {
	s.t.Helper()
	r := ledger.Snapshot{Content: content, Name: name, Record: ledger.Record{
		PV: "pvc-1", Path: "data", Cluster: cluster, Size: "1Gi", Claim: ledger.Claim{Namespace: "team", Name: "data", UID: "u"}, CopyOf: &ledger.Copy{Kind: ledger.CopyClaim},
	}}
	s.must(s.Store.Records.BeginSnapshot(r))
	s.must(os.Mkdir(s.dir+"/"+ledger.SnapshotPath(r.Own()), 0o700))
	var err error
	r.Directory, err = s.Store.Dirs.Snapshot(r.Own())
	s.must(err)
	r.Created = time.Now()
	for _, c := range change {
		c(&r)
	}
	s.must(s.Store.Records.UpdateSnapshot(r))
	return r
}

func (s *snapshotShare) printed(o SnapshotOptions) (string, LeftOutSnapshots) {
	s.t.Helper()
	var out bytes.Buffer
	left, err := PrintSnapshots(&out, []SnapshotShare{s.SnapshotShare}, o)
	s.must(err)
	return out.String(), left
}

func TestSnapshotsArePrinted(t *testing.T) {
	s := newSnapshotShare(t)
	s.has("snapcontent-1", "monday", "lost")
	s.has("snapcontent-2", "monday", "here", func(r *ledger.Snapshot) { r.Claim.Namespace = "default" })
	got, left := s.printed(SnapshotOptions{Provisioner: "a/b", Cluster: "here"})
	want := `# ONLY FOR A CLUSTER THAT HAS LOST ITS VOLUMESNAPSHOTS, and after its volumes were recovered. It needs the snapshot API.
# 2 snapshots, from the records on the share.
# Left out: 0 snapshots, with a VolumeSnapshotContent in the cluster that was asked.
---
apiVersion: snapshot.storage.k8s.io/v1
kind: VolumeSnapshotContent
metadata:
  name: snapcontent-2
spec:
  deletionPolicy: Retain
  driver: a/b
  source:
    snapshotHandle: share-1/snapcontent-2
  sourceVolumeMode: Filesystem
  volumeSnapshotRef:
    apiVersion: snapshot.storage.k8s.io/v1
    kind: VolumeSnapshot
    name: monday
    namespace: default
---
apiVersion: snapshot.storage.k8s.io/v1
kind: VolumeSnapshot
metadata:
  name: monday
  namespace: default
spec:
  source:
    volumeSnapshotContentName: snapcontent-2
---
apiVersion: v1
kind: Namespace
metadata:
  name: team
spec: {}
`
	if !strings.HasPrefix(strings.ReplaceAll(got, "spec: {}\n", ""), strings.ReplaceAll(want, "spec: {}\n", "")) || !strings.Contains(got, "snapshotHandle: share-1/snapcontent-1@lost\n") || len(left.Problems)+left.Here+left.Kept > 0 {
		t.Errorf("printed\n%s\nleft out %+v", got, left)
	}
}

func TestSnapshotsThatAreNotPrinted(t *testing.T) {
	s := newSnapshotShare(t)
	s.has("snapcontent-good", "good", "lost")
	s.has("snapcontent-here", "here", "here")
	s.has("snapcontent-kept", "kept", "lost", func(r *ledger.Snapshot) { r.Released = new(time.Now()) })
	s.has("snapcontent-begun", "begun", "lost", func(r *ledger.Snapshot) { r.Directory = nil })
	s.has("snapcontent-old", "good", "lost", func(r *ledger.Snapshot) { r.Created = time.Now().Add(-time.Hour) })
	missing := s.has("snapcontent-missing", "missing", "lost")
	s.must(os.Remove(s.dir + "/" + ledger.SnapshotPath(missing.Own())))
	damaged := s.has("snapcontent-damaged", "damaged", "lost")
	s.must(os.WriteFile(s.dir+"/.claimdir/snapshots/"+damaged.Own()+"/record.json", []byte("{"), 0o600))
	got, left := s.printed(SnapshotOptions{Provisioner: "a/b", Cluster: "here", Here: []string{"snapcontent-here"}})
	if strings.Count(got, "kind: VolumeSnapshotContent\n") != 1 || !strings.Contains(got, "name: snapcontent-good\n") || left.Here != 1 || left.Kept != 1 {
		t.Errorf("printed\n%s\nleft out %+v", got, left)
	}
	if !strings.Contains(got, "# Left out: 1 snapshot,") {
		t.Errorf("printed\n%s", got)
	}
	for _, want := range []string{
		"left out snapshot begun of claim team/data (snapcontent-begun): it was being made; make another one. If its cluster is lost, remove this one: claimdir snapshot purge --force --cluster lost snapcontent-begun",
		"left out snapshot good of claim team/data (snapcontent-old): a newer one of that name was printed",
		"left out snapshot missing of claim team/data (snapcontent-missing): its data is missing; restore " + ledger.SnapshotPath(missing.Own()) + " from a backup of the share",
		"damaged record",
	} {
		if !slices.ContainsFunc(left.Problems, func(err error) bool { return strings.Contains(err.Error(), want) }) {
			t.Errorf("it does not say %s: %v", want, left.Problems)
		}
	}
	if len(left.Problems) != 4 {
		t.Errorf("problems: %v", left.Problems)
	}
}
