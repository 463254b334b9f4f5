package access

import (
	"errors"
	"fmt"
	"testing"

	"claimdir/provisioner/share"
)

// What is told of a share, to all who wait for it, names no path of the claim whose
// operation found it.
func TestTroubleOfAShareIsNotThatOfAnOperation(t *testing.T) {
	other := fmt.Errorf("%w: it has no share.json", share.ErrNotRecognised)
	double := fmt.Errorf("%w: %w", share.ErrNotRecognised, errors.New("not mounted"))
	for name, tt := range map[string]struct{ err, want error }{
		"bare":             {share.ErrNotRecognised, share.ErrNotRecognised},
		"with its reason":  {other, other},
		"of an operation":  {fmt.Errorf("record of secret: %w", fmt.Errorf("list secret: %w", other)), other},
		"of a join":        {double, double},
		"a step on a join": {fmt.Errorf("look at secret: %w", double), double},
	} {
		if got := ofShare(tt.err); got.Error() != tt.want.Error() {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}
