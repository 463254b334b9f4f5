package share

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/moby/sys/mountinfo"
)

func TestSourceOfAMount(t *testing.T) {
	for name, tt := range map[string]struct {
		device string
		want   Source
	}{
		"a name":                 {"nfs.example.com:/export/data", Source{"nfs.example.com", "/export/data"}},
		"an address":             {"192.0.2.1:/export", Source{"192.0.2.1", "/export"}},
		"an address in brackets": {"[2001:db8::1]:/export", Source{"2001:db8::1", "/export"}},
		"a link-local address":   {"[fe80::1%eth0]:/a", Source{"fe80::1%eth0", "/a"}},
		"the root of the server": {"server:/", Source{"server", "/"}},
		"root of IPv6":           {"[::1]:/", Source{"::1", "/"}},
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

func FuzzSource(f *testing.F) {
	for _, seed := range []string{"nas:/a", "[::1]:/", "nas://a//b/", ":/", "a:/b:/c", "nas:/../..", "nas:/a/./b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, device string) {
		source, err := parseSource(device)
		if err != nil {
			return
		}
		if source.Server == "" || !strings.HasPrefix(source.Path, "/") || source.Path != "/" && strings.HasSuffix(source.Path, "/") || strings.Contains(source.Path, "//") {
			t.Errorf("%q: %+v", device, source)
		}
		again, err := parseSource(source.Server + ":" + source.Path)
		if err != nil || again.Path != source.Path {
			t.Errorf("%q: %+v, again %+v, %v", device, source, again, err)
		}
	})
}

// Lines as kernels write them.
const (
	rootLine   = `21 1 254:1 / / rw,relatime - ext4 /dev/vda1 rw`
	procLine   = `22 21 0:5 / /proc rw - proc proc rw`
	v3Line     = `100 21 0:50 / /pv rw,relatime - nfs nas.example.com:/export/k8s rw,vers=3,rsize=1048576,hard,proto=tcp,mountaddr=10.0.0.1,addr=10.0.0.1`
	v42Line    = `100 21 0:50 / /pv rw,relatime - nfs4 10.0.0.1:/ rw,vers=4.2,hard,proto=tcp,clientaddr=10.0.0.2,addr=10.0.0.1`
	ip6Line    = `100 21 0:50 / /pv rw,relatime master:1 propagate_from:2 - nfs4 [fd00::1]:/export rw,vers=4.1,addr=fd00::1`
	bindLine   = `100 21 0:50 / /pv rw,relatime - nfs4 nas:/export/sub/dir rw,vers=4.2`
	spaceLine  = `100 21 0:50 / /pv rw,relatime - nfs4 nas:/my\040export rw,vers=4.2`
	crossLine  = `101 100 0:51 / /pv/inner rw,relatime - nfs4 10.0.0.1:/inner rw,vers=4.2`
	deepLine   = `102 100 0:51 / /pv/team/inner rw,relatime - nfs4 other:/inner rw,vers=4.2`
	tmpfsLine  = `100 21 0:60 / /pv rw - tmpfs tmpfs rw`
	fastLine   = `110 21 0:61 / /pv/fast rw,relatime - nfs4 ssd:/export rw,vers=4.2`
	bulkLine   = `111 21 0:62 / /pv/bulk rw,relatime - nfs disk:/export rw,vers=3`
	diskLine   = `112 21 254:2 /data /pv/disk rw - ext4 /dev/vdb rw`
	hiddenLine = `113 21 0:63 / /pv/..data rw - tmpfs tmpfs rw`
	lookalike  = `114 21 0:64 / /pvc rw - nfs4 nas:/other rw`
)

func TestMountsAreSharesByTheirDirectories(t *testing.T) {
	one := func(server, path string) []Mount { return []Mount{{Dir: "/pv", Source: Source{server, path}}} }
	fast := Mount{"fast", "/pv/fast", Source{"ssd", "/export"}}
	bulk := Mount{"bulk", "/pv/bulk", Source{"disk", "/export"}}
	for name, tt := range map[string]struct {
		lines []string
		want  []Mount
	}{
		"nothing":                               {nil, nil},
		"one, v3":                               {[]string{v3Line}, one("nas.example.com", "/export/k8s")},
		"one, v4, root of the server":           {[]string{v42Line}, one("10.0.0.1", "/")},
		"one, IPv6":                             {[]string{ip6Line}, one("fd00::1", "/export")},
		"one, a directory of an export":         {[]string{bindLine}, one("nas", "/export/sub/dir")},
		"one, with a blank":                     {[]string{spaceLine}, one("nas", "/my export")},
		"one, and what v4 mounts inside":        {[]string{v42Line, crossLine, deepLine}, one("10.0.0.1", "/")},
		"no NFS":                                {[]string{tmpfsLine}, nil},
		"a mount whose name begins alike":       {[]string{lookalike}, nil},
		"several, sorted":                       {[]string{fastLine, bulkLine, hiddenLine}, []Mount{bulk, fast}},
		"several, below a mount of their own":   {[]string{tmpfsLine, under(100, fastLine), under(100, bulkLine)}, []Mount{bulk, fast}},
		"a local disk beside":                   {[]string{diskLine, fastLine}, []Mount{{"disk", "/pv/disk", Source{}}, fast}},
		"what lies inside of one":               {[]string{fastLine, `115 110 0:65 / /pv/fast/inner rw - nfs4 ssd:/export/inner rw`}, []Mount{fast}},
		"two on one directory: the last":        {[]string{bulkLine, `120 111 0:70 / /pv/bulk rw - nfs new:/e rw`}, []Mount{{"bulk", "/pv/bulk", Source{"new", "/e"}}}},
		"one over several hides them":           {[]string{fastLine, bulkLine, v3Line}, one("nas.example.com", "/export/k8s")},
		"a local disk over NFS on one place":    {[]string{v3Line, overTmpfs}, nil},
		"several over one that is out of sight": {[]string{v3Line, overTmpfs, under(121, fastLine)}, []Mount{fast}},
		"in any order":                          {[]string{under(121, fastLine), overTmpfs, v3Line}, []Mount{fast}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := findMounts(parseTable(t, tt.lines...), "/pv")
			if err != nil || !slices.Equal(got, tt.want) {
				t.Errorf("%+v, %v; want %+v", got, err, tt.want)
			}
		})
	}
}

// overTmpfs lies on v3Line.
const overTmpfs = `121 100 0:60 / /pv rw - tmpfs tmpfs rw`

// under gives a line another parent.
func under(id int, line string) string {
	return strings.Replace(line, " 21 ", fmt.Sprintf(" %d ", id), 1)
}

func parseTable(t *testing.T, lines ...string) []*mountinfo.Info {
	t.Helper()
	text := strings.Join(append([]string{rootLine, procLine}, lines...), "\n")
	table, err := mountinfo.GetMountsFromReader(strings.NewReader(text), nil)
	must(t, err)
	return table
}

func TestMountsThatAreNoShares(t *testing.T) {
	for name, tt := range map[string]struct {
		lines []string
		words []string
	}{
		"another share inside":      {[]string{v3Line, under(100, fastLine)}, []string{"/pv is a share (nas.example.com:/export/k8s)", "/pv/fast (ssd:/export)", "directory of its own below /pv"}},
		"a disk inside":             {[]string{v42Line, under(100, diskLine)}, []string{"/pv/disk (/dev/vdb)"}},
		"a name that no class says": {[]string{strings.Replace(fastLine, "/pv/fast", `/pv/my\040share`, 1)}, []string{"/pv/my share", "allowed are up to 63 letters"}},
		"a source that is none":     {[]string{strings.Replace(fastLine, "ssd:/export", "none", 1)}, []string{"/pv/fast", "want SERVER:/EXPORT"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := findMounts(parseTable(t, tt.lines...), "/pv")
			for _, word := range tt.words {
				mustBe(t, err, word)
			}
		})
	}
}

func TestSharesLieApart(t *testing.T) {
	mount := func(name, server, path string) Mount { return Mount{name, "/pv/" + name, Source{server, path}} }
	for name, tt := range map[string]struct {
		mounts []Mount
		apart  bool
	}{
		"apart":                  {[]Mount{mount("a", "nas", "/a"), mount("b", "nas", "/ab"), mount("c", "other", "/a")}, true},
		"the same":               {[]Mount{mount("a", "nas", "/a"), mount("b", "nas", "/a")}, false},
		"one inside":             {[]Mount{mount("a", "nas", "/a/b"), mount("b", "nas", "/a")}, false},
		"one inside of the root": {[]Mount{mount("a", "nas", "/"), mount("b", "nas", "/a")}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if err := CheckApart(tt.mounts); (err == nil) != tt.apart {
				t.Error(err)
			}
		})
	}
	mustBe(t, CheckApart([]Mount{mount("a", "nas", "/a"), mount("b", "nas", "/a")}), `shares "a" (nas:/a) and "b" (nas:/a) are the same or one inside the other: mount only one of them`)
}

func TestFindMountsReadsTheMountTable(t *testing.T) {
	for name, dir := range map[string]string{"no mount": t.TempDir(), "no directory": "/no/such/directory", "another file system": "/proc/"} {
		t.Run(name, func(t *testing.T) {
			mounts, err := FindMounts(dir)
			must(t, err)
			for _, m := range mounts { // /proc may have others below
				if m.Source != (Source{}) {
					t.Errorf("%+v", m)
				}
			}
		})
	}
	mounts, err := FindMounts("/")
	must(t, err)
	if !slices.ContainsFunc(mounts, func(m Mount) bool { return m == Mount{Name: "proc", Dir: "/proc"} }) {
		t.Errorf("/proc is not among %+v", mounts)
	}
}
