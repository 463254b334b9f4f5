//go:build vm

package nfscases

import (
	"os"
	"syscall"
	"testing"

	"claimdir/provisioner/share"
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
			_, err := open(t, e.mount()).Create(pathOf(t, "data"), tt.attributes)
			wantError(t, "create", err, tt.want)
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
	_, err := s.Create(pathOf(t, "data"), share.Attributes{Mode: 0o777})
	must(t, err)
	must(t, os.Mkdir(e.onServer("data", "private"), 0o700))
	write(t, e.onServer("data", "private", "f"), "x")
	must(t, os.Chown(e.onServer("data", "private"), 1000, 1000))
	wantError(t, "remove", s.Remove(pathOf(t, "data")), syscall.EACCES)
	wantFile(t, e.onServer("data", "private", "f"), "x")
	must(t, s.Rename(pathOf(t, "data"), pathOf(t, "aside"))) // as archive does
	wantFile(t, e.onServer("aside", "private", "f"), "x")
}
