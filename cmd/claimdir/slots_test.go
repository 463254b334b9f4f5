package main

import "testing"

// Copies run for hours: claims on the share must not wait for them.
func TestCopiesTakeNoSlotsOfOtherOperations(t *testing.T) {
	for _, shares := range []int{1, 2, 5} {
		for _, copies := range []int{1, 100} {
			if beside := slots(4, copies, shares) - slots(4, 0, shares); beside < copies*shares {
				t.Errorf("%d shares, %d copies on each at a time: they have %d slots, and may take %d", shares, copies, beside, copies*shares)
			}
		}
	}
}
