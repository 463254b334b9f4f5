package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/volpath"
)

// What cannot be read hides nothing of the rest, a script notices, and the terminal
// stays in order.
func TestRecoverGoesOnPastWhatItCannotRead(t *testing.T) {
	shares := t.TempDir()
	w := &archiveWorld{t: t}
	w.must(os.Mkdir(shares+"/good", 0o755), os.Mkdir(shares+"/other", 0o755))
	w = openArchiveWorld(t, shares+"/good", env("PROVISIONER_NAME=a/b", "MOUNT_PATH="+shares, "NFS_SERVER=good=nas,other=nas2", "NFS_PATH=good=/a,other=/b"))
	path, err := volpath.Parse("data")
	w.must(err)
	_, err = w.l.Take(path, ledger.Record{State: ledger.Active, PV: "pvc-1", Claim: ledger.Claim{Namespace: "team", Name: "data", UID: "u"}, Size: "1Gi"}, false)
	kept, keptErr := volpath.Parse("kept")
	w.must(keptErr)
	r, keptErr := w.l.Take(kept, ledger.Record{State: ledger.Active, PV: "pvc-2", Claim: ledger.Claim{Namespace: "team", Name: "logs", UID: "u"}, Size: "1Gi"}, false)
	w.must(keptErr, w.l.Retain(kept, r, nil))
	w.must(err, os.Mkdir(w.dir+"/data", 0o755))
	w.damage()
	var out, stderr bytes.Buffer
	err = run(t.Context(), []string{"recover"}, w.env, streams{out: &out, err: &stderr})
	if err == nil || !strings.Contains(err.Error(), "3 records or shares were left out; all others were printed") {
		t.Error(err)
	}
	holds(t, out.String(), "name: pvc-1", "path: /a/data")
	holds(t, stderr.String(), shares+"/other", `share "good": left out path "kept" of claim team/logs (retained, volume pvc-2): its claim may have a volume on the share that cannot be read`, `share "good": damaged record in .claimdir/records/bad?/x.json`)
	w.must(os.RemoveAll(w.dir + "/.claimdir"))
	out.Reset()
	if err = run(t.Context(), []string{"recover"}, w.env, streams{out: &out, err: &stderr}); err == nil || out.Len() > 0 {
		t.Errorf("%v, printed %s", err, &out)
	}
}
