package share

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

func settleCases() map[string]func(*testing.T, site) {
	return map[string]func(*testing.T, site){
		"of many that hand over a file one gets it":        handOverRace,
		"a file that was handed over is not written late":  handOverLate,
		"a hand-over that is cut off is known and goes on": handOverCutOff,
		"a file that is written is not settled":            unsettled,
		"a directory that was emptied is removed":          removeEmptied,
	}
}

func handOverRace(t *testing.T, s site) {
	must(t, s.share.MakeMeta("volumes"))
	must(t, s.share.WriteFile("volumes", record, []byte("first")))
	var won atomic.Int32
	var winner atomic.Value
	var callers sync.WaitGroup
	for i := range 30 {
		callers.Go(func() {
			to := fmt.Sprintf("owner-%d.json", i)
			switch err := s.share.HandOverFile("volumes", record, to, []byte(to)); {
			case err == nil:
				won.Add(1)
				winner.Store(to)
			case !errors.Is(err, fs.ErrNotExist):
				t.Error(err)
			}
		})
	}
	callers.Wait()
	if won.Load() != 1 {
		t.Fatalf("%d got it", won.Load())
	}
	to, _ := winner.Load().(string)
	holds(t, s, "volumes", to)
	if data, err := s.share.ReadFile("volumes", to); err != nil || string(data) != to {
		t.Errorf("%q, %v", data, err)
	}
}

// handOverLate: the owner before was about to write, wherever he is in that.
func handOverLate(t *testing.T, s site) {
	must(t, s.share.MakeMeta("volumes"))
	for _, at := range []string{"look at " + record, "create " + record + newSuffix, "write " + record + newSuffix, "rename " + record + newSuffix} {
		must(t, s.share.WriteFile("volumes", record, []byte("first")))
		view := s.share.During(t.Context(), before(at, func() error {
			return s.share.HandOverFile("volumes", record, "next.json", []byte("second"))
		}))
		err := view.ExchangeFile("volumes", record, []byte("late"))
		view.Release()
		if data, err := s.share.ReadFile("volumes", "next.json"); err != nil || string(data) != "second" {
			t.Errorf("%s: %q, %v", at, data, err)
		}
		if _, readErr := s.share.ReadFile("volumes", record); !errors.Is(readErr, fs.ErrNotExist) {
			t.Errorf("%s: the file of the owner before is there again: %v", at, readErr)
		}
		mustBe(t, err, fs.ErrNotExist)
		must(t, s.share.RemoveFile("volumes", "next.json"))
		must(t, s.share.RemoveFile("volumes", Handed(record)))
	}
}

func handOverCutOff(t *testing.T, s site) {
	must(t, s.share.MakeMeta("volumes"))
	cut := errors.New("cut off")
	for n := 1; ; n++ {
		must(t, s.share.WriteFile("volumes", record, []byte("first")))
		calls := 0
		view := s.share.During(t.Context(), func(_ string, call func() error) error {
			if calls++; calls > n {
				return cut
			}
			return call()
		})
		err := view.HandOverFile("volumes", record, "next.json", []byte("second"))
		view.Release()
		if calls <= n {
			must(t, err)
			break
		}
		mustBe(t, err, cut)
		old, _ := s.share.ReadFile("volumes", record)
		next, _ := s.share.ReadFile("volumes", "next.json")
		handed, _ := s.share.ReadFile("volumes", Handed("next.json"))
		switch state := fmt.Sprintf("%q %q %q", old, next, handed); {
		case string(old) == "first" && next == nil: // not begun: it is the owner's before
		case old == nil && string(next) == "first" && string(handed) == "second": // his, with what it is to hold beside it
		case old == nil && string(next) == "second" && handed == nil: // done but for the clearing
		default:
			t.Errorf("after %d calls there is %s", n, state)
		}
		if string(old) == "first" {
			must(t, s.share.HandOverFile("volumes", record, "next.json", []byte("second")))
			holds(t, s, "volumes", "next.json")
		}
		must(t, os.RemoveAll(s.dir+"/.claimdir/volumes"))
		must(t, s.share.MakeMeta("volumes"))
	}
}

func unsettled(t *testing.T, s site) {
	must(t, s.share.MakeMeta("volumes"))
	for file, want := range map[string]bool{"": false, "other.json": false, "other.json.new": false, record: true, record + newSuffix: true, ".nfs00000000012345678": true} {
		if file != "" {
			tree(t, s.dir, ".claimdir/volumes/x/"+file)
		}
		if got, err := s.share.Unsettled("volumes/x", record); got != want || err != nil {
			t.Errorf("%q: %v, %v", file, got, err)
		}
		must(t, os.RemoveAll(s.dir+"/.claimdir/volumes/x"))
	}
}

func removeEmptied(t *testing.T, s site) {
	must(t, s.share.MakeMeta("volumes"))
	for name, stays := range map[string]bool{"empty/": false, "cut/" + record + newSuffix: false, "full/" + record: true, "both/" + record: true, "deep/dir/": true} {
		tree(t, s.dir, ".claimdir/volumes/"+name)
		if name == "both/"+record {
			tree(t, s.dir, ".claimdir/volumes/both/other"+newSuffix)
		}
		before := snapshot(t, s.dir+"/.claimdir/volumes")
		dir, _, _ := strings.Cut(name, "/")
		must(t, s.share.RemoveEmptied("volumes", dir))
		if stays {
			kept(t, s.dir+"/.claimdir/volumes", before)
		} else {
			absent(t, s.dir+"/.claimdir/volumes/"+dir)
		}
		must(t, os.RemoveAll(s.dir+"/.claimdir/volumes/"+dir))
	}
	must(t, s.share.RemoveEmptied("volumes", "none"))
}
