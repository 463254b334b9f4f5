package archives

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"claimdir/provisioner/ledger"
)

func TestChoose(t *testing.T) {
	many := []kept{
		{claim: "a/data", pv: "pvc-1", since: daysAgo(9)}, {claim: "a/data", pv: "pvc-2", since: daysAgo(1)}, {claim: "a/data", pv: "pvc-3", since: daysAgo(5)},
		{claim: "a/data", pv: "pvc-4"}, {claim: "b/data", pv: "pvc-5", since: daysAgo(0)},
	}
	for i := range 7 {
		many = append(many, kept{claim: fmt.Sprintf("crowd/c%d", i), pv: fmt.Sprint("pvc-c", i), since: daysAgo(i)})
	}
	s := newShare(t, "", many...)
	write(t, s, "archived-a-data-peer/file", "")
	all := findAll(t, s)
	for name, tt := range map[string]struct {
		claim, volume string
		want, others  string
		wantErr       string
	}{
		"the newest":                  {claim: "a/data", want: "pvc-2", others: "pvc-3 pvc-1 pvc-4"},
		"the only one":                {claim: "b/data", want: "pvc-5"},
		"the one that is named":       {claim: "a/data", volume: "pvc-1", want: "pvc-1", others: "pvc-2 pvc-3 pvc-4"},
		"a volume that there is not":  {claim: "a/data", volume: "pvc-9", wantErr: `there is no archive of claim a/data and volume "pvc-9"; the claim has archives of pvc-2, pvc-3, pvc-1, pvc-4`},
		"a volume of another claim":   {claim: "a/data", volume: "pvc-5", wantErr: `there is no archive of claim a/data and volume "pvc-5"`},
		"a claim that there is not":   {claim: "b/dat", wantErr: "there is no archive of claim b/dat; the namespace has archives of b/data (pvc-5)"},
		"only a few others are named": {claim: "crowd/c", wantErr: "crowd/c0 (pvc-c0), crowd/c1 (pvc-c1), crowd/c2 (pvc-c2), crowd/c3 (pvc-c3), crowd/c4 (pvc-c4) and 2 more"},
		"a namespace that has none":   {claim: "c/data", wantErr: "there is no archive of claim c/data, and none of any other claim of this namespace"},
	} {
		t.Run(name, func(t *testing.T) {
			namespace, claim, _ := strings.Cut(tt.claim, "/")
			chosen, others, err := Choose(all, namespace, claim, tt.volume)
			if tt.wantErr != "" {
				if !errors.Is(err, ErrNone) || !strings.Contains(err.Error(), tt.wantErr) {
					t.Errorf("got %s, %v", chosen.Volume, err)
				}
				return
			}
			if err != nil || chosen.Volume != tt.want || names(others) != tt.others {
				t.Errorf("got %s, beside %q, %v", chosen.Volume, names(others), err)
			}
		})
	}
	if got := names(all); !strings.HasPrefix(got, "pvc-4 pvc-1 pvc-3 pvc-2 pvc-5 ") {
		t.Errorf("a choice has changed the list: %s", got)
	}
}

func TestManifest(t *testing.T) {
	const full = `---
apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  annotations:
    claimdir/restore: pvc-1
  name: data2
  namespace: a
spec:
  accessModes:
  - ReadWriteMany
  resources:
    requests:
      storage: 1Gi
  storageClassName: nfs
`
	for name, tt := range map[string]struct {
		change  func(*ledger.Record)
		want    string
		wantErr string
	}{
		"as it was":           {want: full},
		"without a class":     {change: func(r *ledger.Record) { r.Class = "" }, want: strings.ReplaceAll(full, "  storageClassName: nfs\n", "")},
		"a size that is none": {change: func(r *ledger.Record) { r.Size = "much" }, wantErr: `archive "archived-a-data-pvc-1": the size "much" in its record is no quantity`},
	} {
		t.Run(name, func(t *testing.T) {
			all := findAll(t, newShare(t, "", kept{claim: "a/data", pv: "pvc-1", change: tt.change}))
			got, err := Manifest(all[0], "data2")
			if tt.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
					t.Errorf("got %s, %v", got, err)
				}
				return
			}
			if err != nil || string(got) != tt.want {
				t.Errorf("%v, got\n%s", err, got)
			}
		})
	}
}
