//go:build browser

package browser

import (
	"fmt"
	"time"

	"claimdir/provisioner/page"
)

// example is what a cluster of some teams may show.
func example() page.Data {
	const gib, tib = 1 << 30, 1 << 40
	now := time.Date(2026, 11, 26, 9, 41, 7, 0, time.UTC)
	size := func(requested, used int64) page.Size {
		return page.Size{Requested: requested, Used: used, Known: used > 0}
	}
	d := page.Data{Version: "v0.9.0", Provisioner: "claimdir/nfs", Cluster: "7f0c8c1e-53a4-4b0e-9a53-0f9bd5a1c1f4", At: now, Leads: true}
	fast := page.Share{Name: "fast", Server: "nas1.example.com", Path: "/export/fast", Size: 4 * tib, Free: 712 * gib, Volumes: 871, Requested: 3*tib + 400*gib}
	fast.Trash = page.Trash{Known: true, Waiting: 14, Failing: 2, Reasons: "permission: 2"}
	fast.Archives = page.Archives{At: now, Forever: 31, Ending: page.List[page.Archive]{Total: 212, Rows: []page.Archive{
		{Share: "fast", Namespace: "team-red", Claim: "data", Path: "archived-team-red-data-pvc-5d1c", Until: now.Add(-3 * time.Hour), Held: true},
		{Share: "fast", Namespace: "team-blue", Claim: "scratch", Path: "archived-team-blue-scratch-pvc-91ab", Until: now.Add(50 * time.Hour)},
		{Share: "fast", Namespace: "analytics", Claim: "staging", Path: "archived-analytics-staging-pvc-77e0", Until: now.Add(9 * 24 * time.Hour)},
	}}}
	fast.Findings = page.Findings{At: now.Add(-22 * time.Minute), List: page.List[page.Finding]{Rows: []page.Finding{{
		Share: "fast", Kind: "record", Object: "team-red-cache-pvc-0b2f", Problem: "record of volume pvc-0b2f of claim team-red/cache, whose PersistentVolume is gone",
		Remedy: "claimdir doctor --fix archives the directory, which is not empty, and removes the record",
	}}}}
	bulk := page.Share{
		Name: "bulk", Server: "nas2.example.com", Path: "/export/bulk", Size: 40 * tib, Free: 31 * tib, Volumes: 333, Requested: 22 * tib,
		Trouble: `share "bulk" (nas2.example.com:/export/bulk) has not answered since 2026-11-26 09:38:51 UTC: check the NFS server and the network to it; retried automatically`,
		Trash:   page.Trash{Known: true}, Archives: page.Archives{At: now}, Findings: page.Findings{At: now.Add(-40 * time.Minute)},
	}
	d.Shares = []page.Share{fast, bulk}
	for i, v := range []struct {
		namespace, claim, share string
		size                    page.Size
	}{
		{"analytics", "warehouse", "bulk", size(500*gib, 412*gib)}, {"media", "originals", "bulk", size(2*tib, 388*gib)}, {"analytics", "lake", "bulk", size(400*gib, 371*gib)},
		{"team-blue", "registry", "fast", size(100*gib, 144*gib)}, {"media", "thumbnails", "bulk", size(200*gib, 98*gib)}, {"team-red", "models", "fast", size(80*gib, 0)},
		{"team-blue", "postgres-backup", "fast", size(120*gib, 66*gib)},
	} {
		row := page.Volume{Share: v.share, Name: fmt.Sprintf("pvc-3e%02d41c8-6d0b-4c55-8f1e-2b7c90aa%04d", i*7, i*379), Namespace: v.namespace, Claim: v.claim, Size: v.size}
		if v.size.Known {
			row.Measured = now.Add(-time.Duration(2+i%3) * time.Hour)
		}
		d.Volumes.Rows = append(d.Volumes.Rows, row)
	}
	d.Volumes.Total = 1204
	d.Namespaces.Rows = []page.Namespace{
		{Name: "analytics", Volumes: 61, Measured: 61, Size: size(2*tib, 1130*gib)}, {Name: "media", Volumes: 12, Measured: 12, Size: size(3*tib, 690*gib)},
		{Name: "team-blue", Volumes: 240, Measured: 240, Size: size(1*tib, 402*gib)}, {Name: "team-red", Volumes: 188, Measured: 151, Size: size(900*gib, 260*gib)},
		{Name: "ci", Volumes: 512, Measured: 512, Size: size(2*tib, 190*gib)},
	}
	d.Namespaces.Total = 38
	d.Refused.Rows = []page.Refused{
		{Namespace: "team-blue", Claim: "scratch", Class: "fast", Reason: "room", Since: now.Add(-6 * time.Minute),
			Text: `share "fast" does not have room for 800 GiB: 712 GiB are free, and the class keeps 10 GiB free (minFree); it is retried when there is room`},
		{Namespace: "team-red", Claim: "shared", Class: "by-path", Reason: "taken", Since: now.Add(-26 * time.Hour),
			Text: `path "shared" belongs to the volume pvc-77aa of another namespace or cluster (in use); give the class a pattern with ${.PVC.namespace} and ${.PVC.name}, or ask an administrator`},
	}
	return d
}
