package sharetest

import (
	"os"
	"strconv"
	"testing"

	"claimdir/provisioner/volpath"
)

// PathOf is the path that claimdir itself may have written down as s.
func PathOf(t *testing.T, s string) volpath.Path {
	t.Helper()
	p, err := volpath.ParseRecorded(s)
	Must(t, err)
	return p
}

// Must ends the test with an error.
func Must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Brief says that TMPDIR is on a slow share, a mounted export with a server that
// syncs: what is repeated on a fast one is repeated less there.
func Brief() bool { return os.Getenv("CLAIMDIR_TEST_BRIEF") != "" }

// BriefStep is a part of the number in CLAIMDIR_TEST_BRIEF, at least 1: a story on a slow share is cut off at each
// so many-th place. It is 1 on a fast share.
func BriefStep(part int) int {
	if !Brief() {
		return 1
	}
	n, err := strconv.Atoi(os.Getenv("CLAIMDIR_TEST_BRIEF"))
	if err != nil || n < 1 {
		panic("CLAIMDIR_TEST_BRIEF is no number from 1 on")
	}
	return max(1, n/part)
}

// Times is how often something is repeated, or how many there are of it.
func Times(fast, slow int) int {
	if Brief() {
		return slow
	}
	return fast
}
