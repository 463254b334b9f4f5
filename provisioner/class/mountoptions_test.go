package class

import (
	"strings"
	"testing"
)

func TestMountOptions(t *testing.T) {
	for name, tt := range map[string]struct {
		options []string
		want    string // empty: accepted
	}{
		"none":                   {nil, ""},
		"usual":                  {[]string{"nfsvers=4.1", "hard", "timeo=600"}, ""},
		"several in one element": {[]string{"nfsvers=4.1,hard"}, ""},
		"quotes":                 {[]string{`context="system_u:object_r:nfs_t:s0:c1,c2"`}, ""},
		"empty":                  {[]string{"hard", ""}, `mountOptions[1] is empty; remove it`},
		"a blank alone":          {[]string{" "}, `mountOptions[0] is empty`},
		"a blank inside":         {[]string{"hard", "vers=4.1 hard"}, `mountOptions[1] "vers=4.1 hard" contains a blank, which no mount option may; write each option as an element of its own, such as [vers=4.1, hard]`},
		"comma and blank":        {[]string{"vers=4.1, hard"}, `such as [vers=4.1, hard]`},
		"a blank at the end":     {[]string{"hard "}, `such as [hard]`},
		"a line break":           {[]string{"hard\n"}, `mountOptions[0] "hard\n" contains a blank`},
		"a wide blank":           {[]string{"hard\u00a0soft"}, "contains a blank"},
		"a control character":    {[]string{"hard\x00"}, `mountOptions[0] "hard\x00" contains a control character`},
		"too long":               {[]string{strings.Repeat("x", 4000)}, "mountOptions have 4001 bytes together; at most 3072 are allowed"},
		"too many":               {strings.Split(strings.Repeat("hard,", 1000), ",")[:1000], "mountOptions have 5000 bytes together"},
		"two mistakes":           {[]string{"a b", "c d"}, "[a, b]\nmountOptions[1]"},
	} {
		err := CheckMountOptions(tt.options)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && len(err.Error()) > 4000 {
			t.Errorf("%s: an error of %d bytes", name, len(err.Error()))
		}
	}
}

// The class of csi-driver-nfs, as its documentation has it: each parameter that differs is told what
// to do about it.
func TestTheClassOfTheCSIDriver(t *testing.T) {
	_, err := Parse(map[string]string{
		"server": "nfs-server.default.svc.cluster.local", "share": "/export/k8s", "subDir": "${pvc.metadata.namespace}/${pvc.metadata.name}",
		"mountPermissions": "0755", "onDelete": "retain", "csi.storage.k8s.io/provisioner-secret-name": "mount-options",
	})
	if err == nil {
		t.Fatal("accepted")
	}
	want := strings.Join([]string{
		`parameter "share": "/export/k8s" is an exported path, and claimdir takes server and export from what is mounted into its pod: leave out "server" and "share"; with several shares mounted, "share" is the name of one, such as "fast"`,
		`unknown parameter "mountPermissions": it is called "mode" here, such as mode: "0755"`,
		`unknown parameter "server": claimdir takes server and export from what is mounted into its pod: leave out "server" and "share"`,
	}, "\n")
	if err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
	if _, err := Parse(map[string]string{"subDir": "${pvc.metadata.name}", "onDelete": "retain", "mode": "0755"}); err != nil {
		t.Errorf("what it says to write: %v", err)
	}
}
