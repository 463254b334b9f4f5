package quota

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"

	"claimdir/provisioner/share"
	"claimdir/provisioner/sharetest"
)

func TestProjectsAreReadAsTheyWereWritten(t *testing.T) {
	p := projects{next: 1_000_003, byDirectory: map[uint64]project{
		131:            {ID: 1_000_002, Directory: 131, Path: "ns/with \"quotes\" and \n"},
		math.MaxUint64: {ID: 1_000_000, Directory: math.MaxUint64, Path: "data", Unfinished: true},
	}}
	for _, want := range []projects{p, {next: 7, byDirectory: map[uint64]project{}}} {
		data, err := want.encode("1.2.3")
		sharetest.Must(t, err)
		got, err := decodeProjects(data, "1.2.3", 1)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s is read as %+v, %v; want %+v", data, got, err, want)
		}
		if lines := strings.Count(string(data), "\n"); lines != len(want.byDirectory)+2 {
			t.Errorf("it has %d lines: %s", lines, data)
		}
	}
	data, err := p.encode("1.2.3")
	sharetest.Must(t, err)
	if want := `{"layout":1,"place":"1.2.3","next":1000003,"projects":[
{"id":1000000,"directory":18446744073709551615,"path":"data","unfinished":true},
{"id":1000002,"directory":131,"path":"ns/with \"quotes\" and \n"}
]}
`; string(data) != want {
		t.Errorf("%s, want %s", data, want)
	}
}

// The numbers of directories mean nothing on a copy of the share. Where share.json was only written
// anew, the directories themselves say so.
func TestProjectsOfACopyOfTheShare(t *testing.T) {
	p := projects{next: 9, byDirectory: map[uint64]project{}}
	for id := range uint32(4) {
		p.byDirectory[uint64(id)+131] = project{ID: id + 5, Directory: uint64(id) + 131}
	}
	data, err := p.encode("1.2.3")
	sharetest.Must(t, err)
	p, err = decodeProjects(data, "4.5.6", 1)
	if err != nil || p.next != 9 {
		t.Errorf("next %d, %v", p.next, err)
	}
	if one, known := p.confirm(131, 5); !known || one != (project{ID: 5, Directory: 131, Unfinished: true}) || p.byDirectory[131] != one {
		t.Errorf("a directory that has its id: %+v, %v", one, known)
	}
	if one, known := p.confirm(132, 0); known || len(p.byDirectory) != 3 {
		t.Errorf("a directory without an id: %+v, %v", one, known)
	}
	if one, known := p.confirm(133, 77); !known || !one.Unconfirmed {
		t.Errorf("a directory with another id: %+v, %v", one, known)
	}
	data, err = p.encode("4.5.6")
	sharetest.Must(t, err)
	p, err = decodeProjects(data, "4.5.6", 1)
	sharetest.Must(t, err)
	for directory, unconfirmed := range map[uint64]bool{131: false, 133: true, 134: true} {
		if one, known := p.byDirectory[directory]; !known || one.Unconfirmed != unconfirmed {
			t.Errorf("after a restart: %+v, %v", one, known)
		}
	}
}

func TestProjectsThatCannotBeUsed(t *testing.T) {
	for text, want := range map[string]string{
		``:                                    "unexpected end",
		`{"layout":0}`:                        "layout 0",
		`{"layout":2,"next":5,"projects":[]}`: "run a newer one",
		`{"layout":1,"next":5,"projects":[{"id":1,"directory":1},{"id":1,"directory":2}]}`:        "project id 1 of directory 2 is there twice",
		`{"layout":1,"next":5,"projects":[{"id":1,"directory":1},{"id":2,"directory":1}]}`:        "project id 2 of directory 1 is there twice",
		`{"layout":1,"next":5,"projects":[{"id":5,"directory":1}]}`:                               "not below 5",
		`{"layout":1,"next":5,"projects":[{"id":0,"directory":1}]}`:                               "project id 0",
		`{"layout":1,"next":5,"projects":[{"id":1,"directory":-1}]}`:                              "cannot unmarshal",
		`{"layout":1,"next":99999999999,"projects":[]}`:                                           "cannot unmarshal",
		`{"layout":1,"place":"","next":5,"projects":[{"id":1,"directory":1}]} and something more`: "after top-level value",
	} {
		_, err := decodeProjects([]byte(text), "", 1)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), projectsFile) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

// Ids below the base are an administrator's. What somebody writes into the file on the share neither takes a limit from one nor
// sets one; and a base that was raised says how to go on.
func TestProjectsBelowTheBaseAreRefused(t *testing.T) {
	w := newWorld(t)
	w.volume("a", "1Mi")
	w.passes([]string{"volume a: project id 100, limit 1Mi"}, []string{"100=1048576"})
	w.walked("a")
	for _, base := range []uint32{1, 100} {
		if got, err := readProjects(w.share, base); err != nil || len(got.byDirectory) != 1 {
			t.Errorf("base %d: %+v, %v", base, got, err)
		}
	}
	_, err := readProjects(w.share, 101)
	if err == nil {
		t.Fatal("an id below the base is believed")
	}
	for _, want := range []string{".claimdir/" + projectsFile, "project id 100 ", fmt.Sprint("directory ", w.volumeOf("a"), ","), "--project-base on, 101", "with a lower --project-base, give that again", "restore the file from a backup"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	text := `{"layout":1,"next":1000001,"projects":[{"id":1000000,"directory":1},{"id":42,"directory":2}]}`
	if _, err := decodeProjects([]byte(text), "", DefaultBase); err == nil || !strings.Contains(err.Error(), "project id 42 to directory 2,") {
		t.Errorf("an id beside others: %v", err)
	}
}

func TestAnIDIsGivenOutOnceAndToNobodyElse(t *testing.T) {
	p := projects{byDirectory: map[uint64]project{}}
	taken := map[uint32]bool{100: true, 101: true, 103: true}
	inUse := func(id uint32) (bool, error) { return taken[id], nil }
	give := func(directory uint64, base uint32, want uint32) {
		t.Helper()
		got, err := p.give(directory, "data", base, inUse)
		if err != nil || got != (project{ID: want, Directory: directory, Path: "data", Unfinished: true}) || p.byDirectory[directory] != got {
			t.Errorf("%+v, %v; want id %d", got, err, want)
		}
	}
	give(1, 100, 102)
	give(2, 100, 104)
	delete(p.byDirectory, 2)
	give(3, 100, 105)
	give(4, 50, 106)
	give(5, 1000, 1000)
	give(6, 1000, 1001)
	give(7, math.MaxUint32-1, math.MaxUint32-1)
	if _, err := p.give(8, "data", 1, inUse); !errors.Is(err, errNoIDs) {
		t.Errorf("past the last: %v", err)
	}
	failed := errors.New("failed")
	p.next = 200
	if _, err := p.give(9, "data", 1, func(uint32) (bool, error) { return false, failed }); !errors.Is(err, failed) || p.next != 200 {
		t.Errorf("%v, next %d", err, p.next)
	}
}

func TestProjectsOnTheShare(t *testing.T) {
	s, err := share.Open(t.TempDir())
	sharetest.Must(t, err)
	sharetest.Must(t, s.MakeMeta())
	p, err := readProjects(s, 1)
	if err != nil || len(p.byDirectory) > 0 {
		t.Errorf("of a new share: %+v, %v", p, err)
	}
	for i := range uint64(20_000) { // more than fits into a record
		p.byDirectory[i] = project{ID: uint32(i) + 1, Directory: i, Path: "namespace/claim-with-a-name-of-some-length"}
	}
	p.next = 20_001
	sharetest.Must(t, p.write(s))
	got, err := readProjects(s, 1)
	if err != nil || !reflect.DeepEqual(got, p) {
		t.Errorf("%d directories, %v", len(got.byDirectory), err)
	}
}
