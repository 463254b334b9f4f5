package volpath

import (
	"strings"
	"testing"
)

func TestIsOwnAt(t *testing.T) {
	here, err := Parse("team/data")
	if err != nil {
		t.Fatal(err)
	}
	there, err := Parse("team/other")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{
		OwnAt("pvc-1", "cluster", here):                        true,
		OwnAt("pvc-2", "cluster", here):                        true,
		OwnAt(strings.Repeat("long-", 80), "cluster", here):    true,
		OwnAt("pvc-1", "cluster", there):                       false,
		OwnAt("pvc-1", "another", here):                        false,
		Own("pvc-1", "cluster"):                                false,
		Trash("pvc-1", "cluster", 1):                           false,
		"archived-" + OwnAt("pvc-1", "cluster", here) + "-old": false,
	} {
		if got := IsOwnAt(name, "cluster", here); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
