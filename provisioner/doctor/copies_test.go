package doctor

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
)

// A copy takes as long as it takes. It is a problem only if nobody waits for it.
func TestVolumesThatAreCopied(t *testing.T) {
	copied := record(ledger.Creating, "pvc-1", "a")
	copied.CopyOf = &ledger.Copy{Kind: ledger.CopyClaim, Path: "source", PV: "pvc-0", Claim: ledger.Claim{Namespace: "team", Name: "source"}}
	copied.Created = time.Now().Add(-5 * time.Hour)
	young := copied
	young.Created = time.Now()
	gone, claimed := func(ledger.Record) error { return nil }, func(ledger.Record) error { return errors.New("claim team/data is there") }
	for name, tt := range map[string]struct {
		record  ledger.Record
		volumes []v1.PersistentVolume
		gone    func(ledger.Record) error
		problem string // the finding, if there is one
		remedy  string
		copying int
	}{
		"its claim waits":       {copied, nil, claimed, "", "", 1},
		"it has just begun":     {young, nil, claimed, "", "", 0},
		"its claim is gone":     {young, nil, gone, "volume pvc-1 of claim team/data was being made as a copy of claim source, and was never completed", "moves what it has copied into the trash within ORPHAN_GRACE", 0},
		"nobody is asked":       {copied, nil, nil, "volume pvc-1 of claim team/data was being made as a copy", "if the claim still exists, claimdir goes on", 0},
		"it has another path":   {copied, []v1.PersistentVolume{volumeAt("pvc-1", ours, "b")}, claimed, "copying claim source for volume pvc-1 of claim team/data was begun here, but", "moves what it has copied into the trash within SWEEP_INTERVAL", 0},
		"it is complete by now": {copied, []v1.PersistentVolume{volumeAt("pvc-1", ours, "a")}, claimed, "", "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			r := Report{}
			site := with(&Site{Source: share.Source{Server: "nas", Path: "/export"}, Dirs: tree{}, Lookup: lookup(nil)}, tt.record)
			c := Cluster{ID: "here", Names: []string{ours}, Gone: tt.gone, Volumes: tt.volumes}
			r.records(c, site, moved{})
			if r.Copying != tt.copying || (len(r.Findings) > 0) != (tt.problem != "") {
				t.Fatalf("%d are copied, found %+v", r.Copying, r.Findings)
			}
			if tt.problem != "" && (!strings.Contains(r.Findings[0].Problem, tt.problem) || !strings.Contains(r.Findings[0].Remedy, tt.remedy)) {
				t.Errorf("found %+v", r.Findings[0])
			}
			var table, object bytes.Buffer
			if err := errors.Join(r.WriteTable(&table, 0), r.WriteJSON(&object)); err != nil {
				t.Fatal(err)
			}
			if says := strings.Contains(table.String(), "Volumes that are being copied for more than an hour: 1;"); says != (tt.copying > 0) || says != strings.Contains(object.String(), `"copying": 1`) {
				t.Errorf("%s\n%s", &table, &object)
			}
		})
	}
}
