//go:build vm

package nfscases

import (
	"os"
	"syscall"
	"testing"

	"claimdir/provisioner/share"
	"claimdir/provisioner/volume"
)

const nobody = 65534

// Root is nobody on a root_squash export. It can serve a directory that
// everybody may write to, as nobody; claimdir's manifests run as the export's
// owner instead.
func TestRootIsSquashed(t *testing.T) {
	for name, tt := range map[string]struct {
		mode       os.FileMode // of the share, which uid 1000 owns
		attributes share.Attributes
		want       error
	}{
		"in a directory of another user": {0o755, share.Attributes{Mode: 0o777}, syscall.EACCES},
		"in one that all may write to":   {0o777, share.Attributes{Mode: 0o2770}, nil},
		"for another user":               {0o777, share.Attributes{Mode: 0o777, UID: new(uint32(1000))}, syscall.EPERM},
		"for nobody":                     {0o777, share.Attributes{Mode: 0o700, UID: new(uint32(nobody))}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			e := export(t, "root_squash")
			must(t, os.Chown(e.onServer(), 1000, 1000))
			must(t, os.Chmod(e.onServer(), tt.mode))
			p, err := openProcess(e.mount())
			if err == nil {
				var v volume.Volume
				v, err = volumeOf("data", "pvc-1", "delete")
				must(t, err)
				v.Mode, v.UID = tt.attributes.Mode, tt.attributes.UID
				err = p.provision(t.Context(), v)
			}
			wantError(t, "provision", err, tt.want)
			wantExists(t, e.onServer("data"), tt.want == nil) // taken back where it could not be finished
			if tt.want != nil {
				return
			}
			info, err := os.Stat(e.onServer("data"))
			must(t, err)
			if uid := info.Sys().(*syscall.Stat_t).Uid; uid != nobody {
				t.Errorf("the directory belongs to %d", uid)
			}
		})
	}
}

// What a tenant keeps for itself, squashed root cannot remove; it says so, and
// the tenant's directory stays.
func TestSquashedRootCannotRemoveAPrivateDirectory(t *testing.T) {
	e := export(t, "root_squash")
	s := open(t, e.mount())
	id := create(t, s, pathOf(t, "data"), 0o777)
	must(t, os.Mkdir(e.onServer("data", "private"), 0o700))
	write(t, e.onServer("data", "private", "f"), "x")
	must(t, os.Chown(e.onServer("data", "private"), 1000, 1000))
	wantError(t, "remove", s.Remove(pathOf(t, "data"), id), syscall.EACCES)
	wantFile(t, e.onServer("data", "private", "f"), "x")
	archive(t, s, "data", "aside", id)
	wantFile(t, e.onServer("aside", "private", "f"), "x")
}
