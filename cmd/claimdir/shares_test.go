package main

import (
	"os"
	"slices"
	"strings"
	"testing"

	"claimdir/provisioner/share"
)

func TestMountTableAndOptionsMustAgree(t *testing.T) {
	one := []share.Mount{{Dir: "/m", Source: share.Source{Server: "fd00::1", Path: "/export"}}}
	for name, tc := range map[string]struct {
		mounts       []share.Mount
		server, path string
		want         share.Source
		wantErr      string
	}{
		"the mount alone is enough":              {mounts: one, want: share.Source{Server: "fd00::1", Path: "/export"}},
		"both agree, slash and brackets aside":   {mounts: one, server: "[fd00::1]", path: "/export/", want: share.Source{Server: "fd00::1", Path: "/export"}},
		"another server":                         {mounts: one, server: "nas", wantErr: `NFS_SERVER is "nas", but /m has "fd00::1" mounted`},
		"another spelling of the server":         {mounts: one, server: "FD00:0::1", want: share.Source{Server: "fd00::1", Path: "/export"}},
		"a URL":                                  {server: "nfs://nas", path: "/a", wantErr: `NFS_SERVER "nfs://nas" is a URL; give the name or address alone`},
		"a server with its path":                 {server: "nas:/export", path: "/a", wantErr: `NFS_SERVER "nas:/export" contains a path`},
		"blanks":                                 {server: "nas ", path: "/a\n", wantErr: "NFS_SERVER \"nas \" contains a blank; give the name or address alone, such as \"nas.example.com\"\nNFS_PATH \"/a\\n\" begins or ends with a blank; remove it"},
		"another path":                           {mounts: one, path: "/other", wantErr: `NFS_PATH is "/other", but /m has "/export" mounted`},
		"no mount, both given":                   {server: "nas", path: "/", want: share.Source{Server: "nas", Path: "/"}},
		"no mount, only one given":               {server: "nas", wantErr: "no NFS share is mounted at /m"},
		"no mount, nothing given":                {wantErr: "set both NFS_SERVER and NFS_PATH"},
		"no mount, a path with a trailing slash": {server: "nas", path: "/a/b/", want: share.Source{Server: "nas", Path: "/a/b"}},
		"a path with commas and signs":           {server: "nas", path: "/a,b=c,d=/e", want: share.Source{Server: "nas", Path: "/a,b=c,d=/e"}},
		"the only one has no name":               {mounts: one, path: "fast=/export", wantErr: `names the share "fast", but the share at /m itself is the only one`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := agree(slices.Clone(tc.mounts), options{mountPath: "/m", nfsServer: tc.server, nfsPath: tc.path})
			if tc.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tc.wantErr) {
					t.Errorf("got %+v, %v", got, err)
				}
				return
			}
			if want := []share.Mount{{Dir: "/m", Source: tc.want}}; err != nil || !slices.Equal(got, want) {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

func TestSeveralShares(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(dir+"/local", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/file", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	fast := share.Mount{Name: "fast", Dir: dir + "/fast", Source: share.Source{Server: "ssd", Path: "/e"}}
	bulk := share.Mount{Name: "bulk", Dir: dir + "/bulk", Source: share.Source{Server: "disk", Path: "/e"}}
	disk := share.Mount{Name: "local", Dir: dir + "/local"} // mounted, and no NFS
	both := []share.Mount{bulk, fast}
	local := share.Mount{Name: "local", Dir: dir + "/local", Source: share.Source{Server: "nas", Path: "/srv,x/local"}}
	for name, tc := range map[string]struct {
		mounts       []share.Mount
		server, path string
		want         []share.Mount
		wantErr      string
	}{
		"the mounts alone":               {mounts: both, want: both},
		"given for each, and they agree": {mounts: both, server: "fast=ssd,bulk=disk", path: "fast=/e/,bulk=/e", want: both},
		"given for one":                  {mounts: both, path: "fast=/e", want: both},
		"one disagrees":                  {mounts: both, server: "fast=disk", wantErr: `NFS_SERVER is "disk", but ` + dir + `/fast has "ssd" mounted`},
		"one server for all":             {mounts: both, server: "ssd", wantErr: `NFS_SERVER is "ssd", but ` + dir + `/bulk has "disk" mounted`},
		"one path for all":               {mounts: both, path: "/e", wantErr: "give one path for each share, such as bulk=/e,fast=/e"},
		"a directory beside":             {mounts: both, server: "local=nas", path: "local=/srv,x/local", want: []share.Mount{bulk, fast, local}},
		"a local disk beside":            {mounts: []share.Mount{bulk, fast, disk}, server: "local=nas", path: "local=/srv,x/local", want: []share.Mount{bulk, fast, local}},
		"directories alone":              {server: "nas", path: "local=/srv,x/local", want: []share.Mount{local}},
		"a local disk that nobody names": {mounts: []share.Mount{bulk, disk}, wantErr: "no NFS share is mounted at " + dir + "/local"},
		"a directory without a path":     {mounts: both, server: "local=nas", wantErr: "no NFS share is mounted at " + dir + "/local"},
		"a name that is not there":       {mounts: both, path: "fats=/e", wantErr: `the share "fats": stat ` + dir + "/fats: no such file or directory; mount it there"},
		"a name that is a file":          {mounts: both, path: "file=/e", wantErr: dir + "/file is no directory"},
		"a name twice":                   {mounts: both, path: "fast=/e,fast=/e", wantErr: `NFS_PATH: share "fast" is given twice`},
		"a name that none can have":      {mounts: both, server: "-x=nas", wantErr: `NFS_SERVER: "-x" cannot be the name of a share`},
		"a pair without a value":         {mounts: both, server: "fast=", wantErr: `NFS_SERVER: "fast=": allowed are NAME=VALUE pairs`},
		"pairs and a single one":         {mounts: both, server: "fast=ssd,nas", wantErr: `NFS_SERVER: "nas": allowed are NAME=VALUE pairs`},
		"a relative path":                {mounts: both, path: "fast=e", wantErr: `NFS_PATH "fast=e": allowed are an absolute path, or NAME=/PATH`},
		"one inside the other":           {server: "nas", path: "local=/srv", mounts: []share.Mount{{Name: "a", Dir: dir + "/a", Source: share.Source{Server: "nas", Path: "/srv/a"}}}, wantErr: "are the same or one inside the other"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := agree(slices.Clone(tc.mounts), options{mountPath: dir, nfsServer: tc.server, nfsPath: tc.path})
			if tc.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tc.wantErr) {
					t.Errorf("got %+v, %v", got, err)
				}
				return
			}
			if err != nil || !slices.Equal(got, tc.want) {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}
