package cluster

import (
	"fmt"
	"html"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"

	"claimdir/hack/testbed"
)

// testPage: the page of a claimdir at work shows what is there, and only at its own address.
func testPage(t *testing.T, bed *testbed.Bed) {
	w := newWorld(t, bed, "USAGE_INTERVAL=1s")
	w.class()
	block := v1.PersistentVolumeBlock
	w.Claim("data")
	w.Claim("raw", func(c *v1.PersistentVolumeClaim) { c.Spec.VolumeMode = &block })
	pv := w.Bound("data")
	w.Event(w.Name, "raw", `ProvisioningFailed: .*Block`)
	shows := func(wants ...string) {
		t.Helper()
		w.Eventually(fmt.Sprintf("the page shows %q", wants), func() error {
			page, err := w.process.Page(t.Context())
			if err != nil {
				return err
			}
			page = html.UnescapeString(page)
			for _, want := range wants {
				if !strings.Contains(page, want) {
					return fmt.Errorf("it lacks %q:\n%s", want, page)
				}
			}
			return nil
		})
	}
	shows(w.provisioner, "leads", testbed.Server+":"+testbed.Export, ">ready<", "iB", w.Name+"/data", pv.Name, `spec.volumeMode "Block"`, "The trash is empty", "Swept", ">Used</th>")
	w.DeleteClaim("raw")
	shows("No claim is refused")
	if page, err := w.process.Get(t.Context(), "/"); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("the address of the metrics has a page: %v\n%s", err, page)
	}
	// The other replica knows the share and the volumes, and says what it does not know.
	standby := w.start()
	w.Eventually("the page of the standby", func() error {
		page, err := standby.Page(t.Context())
		if err == nil && (!strings.Contains(page, "does not lead") || !strings.Contains(page, w.Name+"/data") || !strings.Contains(page, ">ready<")) {
			err = fmt.Errorf("it shows:\n%s", page)
		}
		return err
	})
	if code := standby.Stop(); code != 0 {
		t.Errorf("the standby ended with exit code %d", code)
	}
	w.healthy()
}
