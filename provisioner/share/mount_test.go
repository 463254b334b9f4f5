package share

import "testing"

func TestSourceOfAMount(t *testing.T) {
	for name, tt := range map[string]struct {
		device string
		want   Source
	}{
		"a name":                 {"nfs.example.com:/export/data", Source{"nfs.example.com", "/export/data"}},
		"an address":             {"192.0.2.1:/export", Source{"192.0.2.1", "/export"}},
		"an address in brackets": {"[2001:db8::1]:/export", Source{"[2001:db8::1]", "/export"}},
		"a link-local address":   {"[fe80::1%eth0]:/a", Source{"[fe80::1%eth0]", "/a"}},
		"the root of the server": {"server:/", Source{"server", "/"}},
		"a slash at the end":     {"server:/export/", Source{"server", "/export"}},
		"several slashes":        {"server://export//data/", Source{"server", "/export/data"}},
		"a colon in the path":    {"server:/a:/b", Source{"server", "/a:/b"}},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := parseSource(tt.device); err != nil || got != tt.want {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
}

func TestSourceThatIsNone(t *testing.T) {
	for name, device := range map[string]string{
		"nothing": "", "no colon": "/dev/vda", "no server": ":/export", "a relative path": "server:export", "no path": "server:",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parseSource(device)
			mustBe(t, err, "want SERVER:/EXPORT")
		})
	}
}

func TestFindSourceOfWhatIsNoNFSMount(t *testing.T) {
	for name, dir := range map[string]string{"no mount": t.TempDir(), "no directory": "/no/such/directory", "another file system": "/proc/"} {
		t.Run(name, func(t *testing.T) {
			if source, found, err := FindSource(dir); found || err != nil || source != (Source{}) {
				t.Errorf("%+v, %v, %v", source, found, err)
			}
		})
	}
}
