package share

import "testing"

func TestSpellingsOfOneServer(t *testing.T) {
	for _, same := range [][]string{
		{"nas.example.com", "NAS.example.COM", "nas.example.com."},
		{"fd00::1", "[fd00::1]", "FD00:0:0::1", "fd00:0000:0000:0000:0000:0000:0000:0001"},
		{"192.0.2.1", "::ffff:192.0.2.1"},
		{"fe80::1%eth0", "[fe80::1%eth0]"},
	} {
		for _, a := range same {
			for _, b := range same {
				if !SameServer(a, b) {
					t.Errorf("%q and %q are not the same", a, b)
				}
			}
		}
	}
	for _, different := range [][2]string{{"nas", "nas.example.com"}, {"nas", "nas2"}, {"fd00::1", "fd00::2"}, {"nas..", "nas"}, {"", "nas"}} {
		if SameServer(different[0], different[1]) {
			t.Errorf("%q are the same", different)
		}
	}
}

func TestCheckServer(t *testing.T) {
	for _, good := range []string{"nas", "nas.example.com", "NAS.example.com.", "192.0.2.1", "fd00::1", "[fd00::1]", "fe80::1%eth0", "nas_1"} {
		must(t, CheckServer(good))
	}
	for bad, says := range map[string]string{
		"": "empty", "nfs://nas.example.com": "is a URL", "nas.example.com:/export": "contains a path", "nas/export": "contains a path",
		" nas": "contains a blank", "nas ": "contains a blank", "nas\n": "contains a blank", "nas:2049": "is no IPv6 address", "[nas]": "is no IPv6 address",
	} {
		mustBe(t, CheckServer(bad), says)
	}
	must(t, CheckExport("/export/with a blank"))
	for _, bad := range []string{"/export ", " /export", "/export\n"} {
		mustBe(t, CheckExport(bad), "begins or ends with a blank")
	}
}
