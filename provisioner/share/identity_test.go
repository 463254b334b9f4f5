package share

import (
	"io/fs"
	"os"
	"testing"

	"claimdir/provisioner/volpath"
)

func identityCases() map[string]func(*testing.T, site) {
	return map[string]func(*testing.T, site){
		"a directory is itself under every name":                 identityRenamed,
		"a directory that is made anew is another one":           identityAnew,
		"a directory beside it is another one":                   identityBeside,
		"what is absent has no identity":                         identityAbsent,
		"a look is exists and identity in one":                   identityLook,
		"a directory that nobody may look into has its identity": identityClosed,
		"another copy of the share is another place":             identityPlace,
	}
}

func identityRenamed(t *testing.T, s site) {
	tree(t, s.dir, "team/data/", "other/")
	first := identify(t, s.share, "team/data")
	must(t, os.Rename(s.dir+"/team/data", s.dir+"/team/moved"))
	second := identify(t, s.share, "team/moved")
	must(t, os.Rename(s.dir+"/team/moved", s.dir+"/other/moved"))
	must(t, os.WriteFile(s.dir+"/other/moved/file", nil, 0o600))
	must(t, os.Chmod(s.dir+"/other/moved", 0o700))
	third := identify(t, s.share, "other/moved")
	if first.Match(second) != Same || first.Match(third) != Same || *first != *third {
		t.Errorf("%+v, %+v, %+v", first, second, third)
	}
}

// File systems give a number out again, ext4 at once; a handle never comes again. Where
// there are none, nothing can tell.
func identityAnew(t *testing.T, s site) {
	seen := map[string]bool{}
	rounds := 20
	for range rounds {
		must(t, os.Mkdir(s.dir+"/data", 0o755))
		if id := identify(t, s.share, "data"); id.Handle != "" {
			seen[id.Handle] = true
		}
		must(t, os.Remove(s.dir+"/data"))
	}
	if len(seen) != 0 && len(seen) != rounds {
		t.Errorf("%d directories had %d handles", rounds, len(seen))
	}
}

// A list tells the same numbers, so that a directory can be looked for in it.
func identityBeside(t *testing.T, s site) {
	tree(t, s.dir, "data/", "other/")
	a, b := identify(t, s.share, "data"), identify(t, s.share, "other")
	if a.Match(b) != Different || a.Number == 0 {
		t.Errorf("%+v, %+v", a, b)
	}
	listed, err := s.share.List(volpath.Path{})
	if err != nil || len(listed) != 2 || listed[0].Number != a.Number || listed[1].Number != b.Number {
		t.Errorf("listed %+v, %v; want the numbers of %+v and %+v", listed, err, a, b)
	}
}

func identityAbsent(t *testing.T, s site) {
	for _, name := range []string{"none", "none/below"} {
		id, err := s.share.Identify(pathOf(t, name))
		mustBe(t, err, fs.ErrNotExist)
		if id != nil {
			t.Errorf("%s: %+v", name, id)
		}
	}
}

func identityLook(t *testing.T, s site) {
	tree(t, s.dir, "team/data/", "file")
	id := identify(t, s.share, "team/data")
	for _, known := range []*Identity{nil, id} {
		if found, err := s.share.Look(pathOf(t, "team/data"), known); err != nil || id.Match(found) != Same {
			t.Errorf("%+v, %v", found, err)
		}
	}
	for _, name := range []string{"none", "none/below"} {
		if found, err := s.share.Look(pathOf(t, name), id); found != nil || err != nil {
			t.Errorf("%s: %+v, %v", name, found, err)
		}
	}
	for _, name := range []string{"file", "file/below"} {
		_, err := s.share.Look(pathOf(t, name), nil)
		mustBe(t, err, ErrNotDirectory)
	}
}

func identityClosed(t *testing.T, s site) {
	tree(t, s.dir, "data/")
	open := identify(t, s.share, "data")
	must(t, os.Chmod(s.dir+"/data", 0))
	if closed := identify(t, s.share, "data"); open.Match(closed) != Same {
		t.Errorf("%+v, closed %+v", open, closed)
	}
	must(t, os.Chmod(s.dir+"/data", 0o755))
}

// identityPlace: numbers and handles say nothing on a copy of the share, which has
// another share.json, also where a clone of the disk has the same numbers.
func identityPlace(t *testing.T, s site) {
	tree(t, s.dir, "data/")
	if place := s.share.Place(); place != "" {
		t.Errorf("nothing is recognised, and the place is %q", place)
	}
	must(t, s.share.MakeMeta())
	must(t, s.share.CreateFile("share.json", "share.new", []byte("1")))
	s.share.Recognise("share.json", func(data []byte) bool { return string(data) == "1" })
	first := identify(t, s.share, "data")
	if second := identify(t, s.share, "data"); first.Match(second) != Same || first.Place == "" || s.share.Place() != first.Place {
		t.Errorf("%+v, %+v, place %q", first, second, s.share.Place())
	}
	file := s.dir + "/.claimdir/share.json"
	must(t, os.WriteFile(file+".copy", []byte("1"), 0o600))
	must(t, os.Rename(file+".copy", file))
	if other := identify(t, s.share, "data"); first.Match(other) != Unknown || other.Place == "" {
		t.Errorf("on the copy %+v, was %+v", other, first)
	}
}

func TestMatch(t *testing.T) {
	id := func(number uint64, handle, place string) *Identity { return &Identity{number, handle, place} }
	for name, tt := range map[string]struct {
		a, b *Identity
		want Match
	}{
		"the same":                          {id(1, "a", "p"), id(1, "a", "p"), Same},
		"the same number, given out again":  {id(1, "a", "p"), id(1, "b", "p"), Different},
		"another number":                    {id(1, "a", "p"), id(2, "b", "p"), Different},
		"another number without handles":    {id(1, "", "p"), id(2, "", "p"), Different},
		"one has no handle":                 {id(1, "a", "p"), id(1, "", "p"), Same},
		"one has no handle, another number": {id(1, "a", "p"), id(2, "", "p"), Different},
		"neither has a handle":              {id(1, "", "p"), id(1, "", "p"), Same},
		"another copy of the share":         {id(1, "a", "p"), id(1, "a", "q"), Unknown},
		"another copy, another number":      {id(1, "a", "p"), id(2, "b", "q"), Unknown},
		"one was taken on no known copy":    {id(1, "a", ""), id(1, "a", "q"), Unknown},
		"no copy is known":                  {id(1, "a", ""), id(1, "a", ""), Same},
		"one is missing":                    {nil, id(1, "a", "p"), Unknown},
		"both are missing":                  {nil, nil, Unknown},
	} {
		t.Run(name, func(t *testing.T) {
			if there, back := tt.a.Match(tt.b), tt.b.Match(tt.a); there != tt.want || back != tt.want {
				t.Errorf("%+v and %+v: %d and back %d, want %d", tt.a, tt.b, there, back, tt.want)
			}
		})
	}
}
