package ledger

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"claimdir/provisioner/share"
)

func TestParentsAreRecordedBeforeAndAfterTheyAreMade(t *testing.T) {
	l, dir := open(t)
	p := pathOf(t, "team/app")
	lookup := func(known bool, id *share.FileID) {
		t.Helper()
		got, found, err := l.Parent(p)
		if err != nil || found != known || (got.Directory == nil) != (id == nil) || id != nil && !got.Directory.Same(*id) {
			t.Errorf("%+v, %v, %v", got, found, err)
		}
	}
	lookup(false, nil)
	must(t, l.ForgetParent(p))
	must(t, l.BeginParent(p))
	lookup(true, nil)
	id := share.FileID{Number: 1<<63 + 1, UID: 7, Born: new(now())}
	must(t, l.MadeParent(p, id))
	lookup(true, &id)
	if _, found, err := l.Lookup(p); found || err != nil {
		t.Errorf("a parent is taken for a volume: %v", err)
	}
	must(t, l.CheckAbove(pathOf(t, "team/app/data"), of("ns/data", "pvc-1")))
	if _, err := os.Stat(dir + "/.claimdir/parents/team%2Fapp.json"); err != nil {
		t.Error(err)
	}
	must(t, l.ForgetParent(p))
	lookup(false, nil)
}

func TestParentsListsAllAndNamesTheDamaged(t *testing.T) {
	l, dir := open(t)
	long := strings.Repeat("a", 150) + "/" + strings.Repeat("b", 150)
	for _, path := range []string{"team", "team/app", long} {
		must(t, l.BeginParent(pathOf(t, path)))
	}
	for name, text := range map[string]string{"half.json": "{", "other.json": `{"layout":1,"path":"else"}`, "up.json": `{"layout":1,"path":".."}`} {
		must(t, os.WriteFile(dir+"/.claimdir/parents/"+name, []byte(text), 0o600))
	}
	must(t, os.WriteFile(dir+"/.claimdir/parents/new.json", []byte(`{"layout":99,"path":"new"}`), 0o600))
	var got, bad []string
	for path, err := range l.Parents() {
		if err != nil {
			bad = append(bad, err.Error())
			continue
		}
		got = append(got, path.String())
	}
	if slices.Sort(got); !slices.Equal(got, []string{long, "team", "team/app"}) {
		t.Error(got)
	}
	if text := strings.Join(bad, "\n"); len(bad) != 4 || !strings.Contains(text, "half.json") || !strings.Contains(text, "run a newer one") {
		t.Error(text)
	}
	for _, path := range []string{"half", "other"} {
		if _, found, err := l.Parent(pathOf(t, path)); found || !errors.Is(err, ErrDamaged) {
			t.Error(path, found, err)
		}
	}
}

func TestAShareOfAnOlderClaimdirHasNoParents(t *testing.T) {
	l, dir := open(t)
	must(t, os.Remove(dir+"/.claimdir/parents"))
	for path, err := range l.Parents() {
		t.Error(path, err)
	}
	if _, found, err := l.Parent(pathOf(t, "team")); found || err != nil {
		t.Error(found, err)
	}
	must(t, l.ForgetParent(pathOf(t, "team")))
	reopen(t, dir)
	must(t, l.BeginParent(pathOf(t, "team")))
}
