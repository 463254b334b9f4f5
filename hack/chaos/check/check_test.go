package check

import (
	"fmt"
	"io/fs"
	"os/exec"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

const (
	dirMode  = fs.ModeDir | 0o777
	parent   = fs.ModeDir | 0o745
	private  = fs.ModeDir | 0o700
	fileMode = fs.FileMode(0o600)
)

// scene is a State that is being put together, and its time.
type scene struct {
	State
	at time.Time
}

// newScene has classes and a share without volumes.
func newScene() *scene {
	s := &scene{at: time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)}
	s.State = State{
		Cluster: "cluster", Export: "/export",
		Share: map[string]Entry{
			".": {Mode: dirMode}, metaDir: {Mode: private}, recordsDir: {Mode: private}, shareFile: {Mode: fileMode}, metaDir + "/staged": {Mode: private},
			"others": {Mode: private}, "others/file": {Mode: fileMode, Content: "of others"},
		},
		Foreign:       map[string]Entry{"others": {Mode: private}, "others/file": {Mode: fileMode, Content: "of others"}},
		OutsideBefore: map[string]Entry{"file": {Mode: fileMode, Content: "outside"}},
		OutsideNow:    map[string]Entry{"file": {Mode: fileMode, Content: "outside"}},
		Log:           Log{Tokens: map[string]*Token{}},
	}
	for name, parameters := range map[string]map[string]string{
		"delete": {"onDelete": "delete"}, "archive": {}, "retain": {"onDelete": "retain"}, "expire": {"archiveRetention": "1m"},
	} {
		s.Classes = append(s.Classes, storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: name}, Parameters: parameters})
	}
	return s
}

// tick is a second later.
func (s *scene) tick() time.Time {
	s.at = s.at.Add(time.Second)
	s.Now = s.at
	return s.at
}

// claim is Bound at a path, and has a token in its volume.
func (s *scene) claim(name, uid, class, path string, found ...string) *Claim {
	c := &Claim{Namespace: "ns", Name: name, UID: uid, Class: class, Made: s.tick(), Bound: true, PV: "pvc-" + uid, Path: path, Mode: dirMode, Found: found}
	token := TokenPrefix + uid
	c.Wrote = []string{token}
	s.Log.Tokens[token] = &Token{}
	s.Log.Claims = append(s.Log.Claims, c)
	s.objects(c)
	s.directory(path, c.all()...)
	s.record("active", path, c)
	return c
}

func (s *scene) objects(c *Claim) {
	s.Claims = append(s.Claims, v1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: c.Namespace, Name: c.Name, UID: types.UID(c.UID)},
		Spec:       v1.PersistentVolumeClaimSpec{VolumeName: c.PV}, Status: v1.PersistentVolumeClaimStatus{Phase: v1.ClaimBound},
	})
	s.Volumes = append(s.Volumes, v1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: c.PV},
		Spec: v1.PersistentVolumeSpec{
			ClaimRef:               &v1.ObjectReference{UID: types.UID(c.UID)},
			PersistentVolumeSource: v1.PersistentVolumeSource{NFS: &v1.NFSVolumeSource{Path: "/export/" + c.Path}},
		},
		Status: v1.PersistentVolumeStatus{Phase: v1.VolumeBound},
	})
}

func (s *scene) directory(path string, tokens ...string) {
	s.Share[path] = Entry{Mode: dirMode}
	for _, token := range tokens {
		s.Share[path+"/"+token] = Entry{Mode: fileMode, Content: token}
	}
	for i, b := range path {
		if b == '/' {
			s.Share[path[:i]] = Entry{Mode: parent}
		}
	}
}

func (s *scene) record(state, path string, c *Claim) {
	dir := recordsDir + "/" + strings.ReplaceAll(path, "/", "%2F")
	s.Share[dir] = Entry{Mode: private}
	s.Share[dir+"/"+c.PV+"@tag.json"] = Entry{Mode: fileMode, Content: fmt.Sprintf(
		`{"state": %q, "path": %q, "pv": %q, "cluster": "cluster", "claim": {"namespace": %q, "name": %q, "uid": %q}}`, state, path, c.PV, c.Namespace, c.Name, c.UID)}
}

// removeTree takes a path and all below away, with its record.
func (s *scene) removeTree(path string) {
	record := recordsDir + "/" + strings.ReplaceAll(path, "/", "%2F")
	for name := range s.Share {
		for _, gone := range []string{path, record} {
			if name == gone || strings.HasPrefix(name, gone+"/") {
				delete(s.Share, name)
			}
		}
	}
}

// release deletes the claim, and has its directory go as its class says.
func (s *scene) release(c *Claim) {
	c.Deleted = s.tick()
	for i := range s.Claims {
		if string(s.Claims[i].UID) == c.UID {
			s.Claims = append(s.Claims[:i:i], s.Claims[i+1:]...)
			s.Volumes = append(s.Volumes[:i:i], s.Volumes[i+1:]...)
			break
		}
	}
	switch c.Class {
	case "delete":
		s.removeTree(c.Path)
		s.gone(c)
	case "retain":
		s.record("retained", c.Path, c)
	default:
		s.removeTree(c.Path)
		at := archiveOf(c)
		s.directory(at, c.all()...)
		s.record("archived", at, c)
	}
}

func archiveOf(c *Claim) string { return "archived-" + c.Namespace + "-" + c.Name + "-" + c.PV }

func (s *scene) gone(c *Claim) {
	for _, token := range c.all() {
		s.Log.Tokens[token].Gone = s.tick()
	}
}

// story has one claim of each policy in use and one released, a restored one and one that was handed over.
func story() (s *scene, claims map[string]*Claim) {
	s, claims = newScene(), map[string]*Claim{}
	for _, class := range []string{"delete", "archive", "retain", "expire"} {
		claims["used "+class] = s.claim("used-"+class, "used-"+class, class, "ns/used-"+class)
		claims[class] = s.claim(class, class, class, "ns/"+class)
		s.release(claims[class])
	}
	from := s.claim("again", "first", "archive", "ns-again-first")
	s.release(from)
	s.removeTree(archiveOf(from))
	restored := s.claim("again", "second", "archive", "ns-again-second", from.all()...)
	restored.Restore, restored.From = "latest", from.PV
	claims["restored"], claims["source"] = restored, from

	given := s.claim("given", "given", "archive", "ns-given-given")
	given.HandedOn, given.Deleted = true, s.tick()
	heir := *given
	heir.Namespace, heir.Name, heir.UID, heir.Received, heir.HandedOn, heir.Deleted = "other", "heir", "heir", given.PV, false, time.Time{}
	heir.Found, heir.Wrote, heir.Made = given.all(), nil, s.tick()
	s.Log.Claims = append(s.Log.Claims, &heir)
	s.Claims, s.Volumes = s.Claims[:len(s.Claims)-1], s.Volumes[:len(s.Volumes)-1]
	s.objects(&heir)
	s.release(&heir)
	claims["heir"] = &heir
	return s, claims
}

func TestAllIsWell(t *testing.T) {
	s, _ := story()
	for _, v := range Check(s.State) {
		t.Error(v)
	}
}

// TestViolations: each thing that can be wrong is found.
func TestViolations(t *testing.T) {
	for name, c := range map[string]struct {
		spoil   func(s *scene, claims map[string]*Claim)
		want    string
		lasting bool
	}{
		"a claim waits": {func(s *scene, _ map[string]*Claim) { s.Claims[0].Status.Phase = v1.ClaimPending }, "is left waiting", false},
		"a claim is gone": {func(s *scene, _ map[string]*Claim) { s.Claims, s.Volumes = s.Claims[1:], s.Volumes[1:] },
			"is gone, and nobody deleted it", true},
		"a claim has another's volume": {func(s *scene, _ map[string]*Claim) { s.Claims[0].Spec.VolumeName = s.Claims[1].Spec.VolumeName },
			"should have pvc-used-delete", true},
		"two claims have one directory": {func(s *scene, _ map[string]*Claim) { s.Volumes[0].Spec.NFS.Path = s.Volumes[1].Spec.NFS.Path },
			"share a directory", true},
		"a directory inside another": {func(s *scene, _ map[string]*Claim) { s.Volumes[0].Spec.NFS.Path = s.Volumes[1].Spec.NFS.Path + "/x" },
			"share a directory", true},
		"a volume is left":         {func(s *scene, _ map[string]*Claim) { s.Claims = s.Claims[1:] }, "PersistentVolume pvc-used-delete is left", false},
		"a directory is gone":      {func(s *scene, _ map[string]*Claim) { s.removeTree("ns/used-delete") }, "directory ns/used-delete of claim ns/used-delete is missing", false},
		"a directory is left":      {func(s *scene, _ map[string]*Claim) { s.directory("ns/left") }, "ns/left is nobody's", false},
		"a parent is left":         {func(s *scene, _ map[string]*Claim) { s.directory("empty/dir"); delete(s.Share, "empty/dir") }, "empty is nobody's", false},
		"a parent's mode":          {func(s *scene, _ map[string]*Claim) { s.Share["ns"] = Entry{Mode: dirMode} }, "parent directory ns has mode 0777", true},
		"a volume's mode":          {func(s *scene, _ map[string]*Claim) { s.Share["ns/used-delete"] = Entry{Mode: private} }, "has mode drwx------", true},
		"the mode of a new volume": {func(_ *scene, claims map[string]*Claim) { claims["delete"].Mode = private }, "has mode drwx------ from the beginning", true},
		"the mode of an adopted directory": {func(_ *scene, claims map[string]*Claim) {
			claims["delete"].Adopts, claims["delete"].Before = []string{"token.x"}, private
		}, "instead of drwx------", true},
		"the share's own mode": {func(s *scene, _ map[string]*Claim) { s.Foreign["."] = Entry{Mode: private} }, ". on the share was", true},
		"a record is left": {func(s *scene, claims map[string]*Claim) { s.record("active", "ns/delete", claims["delete"]) },
			"has no directory", false},
		"a record is missing": {func(s *scene, claims map[string]*Claim) {
			s.removeTree(recordsDir + "/" + archiveOf(claims["archive"]))
		},
			"archived-ns-archive-pvc-archive is nobody's", false},
		"a record's owner": {func(s *scene, claims map[string]*Claim) {
			heir := *claims["heir"]
			heir.Name = "given"
			s.record("archived", archiveOf(claims["heir"]), &heir)
		}, "names claim other/given", false},
		"a damaged record": {func(s *scene, claims map[string]*Claim) {
			s.Share[recordsDir+"/ns%2Fused-delete/pvc-used-delete@tag.json"] = Entry{Mode: fileMode, Content: "{"}
		}, "is damaged", true},
		"an archive's name": {func(s *scene, claims map[string]*Claim) {
			s.removeTree(archiveOf(claims["archive"]))
			s.directory("archived-x", claims["archive"].all()...)
			s.record("archived", "archived-x", claims["archive"])
		}, "should be called archived-ns-archive-pvc-archive", true},
		"deleted and not archived": {func(s *scene, claims map[string]*Claim) {
			s.removeTree(archiveOf(claims["archive"]))
			s.gone(claims["archive"])
		}, "whose policy is archive, was deleted", true},
		"archived and not deleted": {func(s *scene, claims map[string]*Claim) {
			s.directory(archiveOf(claims["delete"]), claims["delete"].all()...)
			s.record("archived", archiveOf(claims["delete"]), claims["delete"])
		}, "its policy is delete", false},
		"a file of a volume in use is gone": {func(s *scene, claims map[string]*Claim) {
			delete(s.Share, "ns/used-retain/"+claims["used retain"].Wrote[0])
			s.gone(claims["used retain"])
		}, "whose policy is retain, was deleted", true},
		"expired early": {func(s *scene, claims map[string]*Claim) {
			s.removeTree(archiveOf(claims["expire"]))
			s.Log.Tokens[claims["expire"].Wrote[0]].Gone = claims["expire"].Deleted.Add(30 * time.Second)
		}, ", before 12:", true},
		"not expired": {func(s *scene, claims map[string]*Claim) { s.Now = s.at.Add(time.Hour) }, "should have expired", false},
		"another's content": {func(s *scene, claims map[string]*Claim) { claims["used archive"].Found = claims["used delete"].all() },
			"which is not for it", true},
		"the wrong archive": {func(s *scene, claims map[string]*Claim) { claims["restored"].From = "pvc-archive" },
			"should have got that of pvc-archive", true},
		"nothing restored": {func(s *scene, claims map[string]*Claim) { claims["used delete"].From = "pvc-archive" },
			"and found nothing", true},
		"half of what was left": {func(s *scene, claims map[string]*Claim) {
			claims["source"].Wrote = append(claims["source"].Wrote, "token.more")
		},
			"left is [token.first token.more]", true},
		"content mixed up": {func(s *scene, claims map[string]*Claim) {
			s.Share["ns/used-delete/token.used-archive"] = Entry{Mode: fileMode, Content: "token.used-archive"}
		}, "lies in", true},
		"content damaged": {func(s *scene, claims map[string]*Claim) {
			s.Share["ns/used-delete/token.used-delete"] = Entry{Mode: fileMode, Content: "x"}
		}, `holds "x"`, true},
		"adopted, and emptied": {func(s *scene, claims map[string]*Claim) { claims["used delete"].Adopts = []string{"token.x"} },
			"[token.x] was there before", true},
		"the trash":       {func(s *scene, _ map[string]*Claim) { s.Share[metaDir+"/trash/x"] = Entry{Mode: private} }, "trash/x is left", false},
		"set aside":       {func(s *scene, _ map[string]*Claim) { s.Share[metaDir+"/moving/x"] = Entry{Mode: private} }, "moving/x is left", false},
		"staged":          {func(s *scene, _ map[string]*Claim) { s.Share[metaDir+"/staged/pvc-x@tag-1"] = Entry{Mode: private} }, "staged/pvc-x@tag-1 is left", false},
		"of others":       {func(s *scene, _ map[string]*Claim) { s.Share["others/file"] = Entry{Mode: fileMode} }, "others/file on the share was", true},
		"outside changed": {func(s *scene, _ map[string]*Claim) { delete(s.OutsideNow, "file") }, "file beside the share was", true},
		"outside made":    {func(s *scene, _ map[string]*Claim) { s.OutsideNow["new"] = Entry{} }, "new beside the share was made", true},
		"doctor":          {func(s *scene, _ map[string]*Claim) { s.Findings = []string{"something"} }, "doctor finds something", false},
	} {
		t.Run(name, func(t *testing.T) {
			s, claims := story()
			c.spoil(s, claims)
			var all []string
			for _, v := range Check(s.State) {
				if strings.Contains(v.Text, c.want) && v.Lasting == c.lasting {
					return
				}
				all = append(all, fmt.Sprint(v.Lasting, " ", v))
			}
			t.Errorf("nothing with %q (lasting %v) in\n%s", c.want, c.lasting, strings.Join(all, "\n"))
		})
	}
}

// TestAbandoned: what a claim did that was deleted before anybody saw it Bound is not known, and
// each end that it may have come to is well.
func TestAbandoned(t *testing.T) {
	s, claims := story()
	from := claims["archive"]
	c := &Claim{Namespace: "ns", Name: "archive", UID: "abandoned", Class: "archive", Restore: "latest", Made: s.tick(), Deleted: s.tick()}
	s.Log.Claims = append(s.Log.Claims, c)
	if all := Check(s.State); len(all) > 0 {
		t.Error("it never had the archive:", all)
	}
	c.PV = "pvc-abandoned"
	s.removeTree(archiveOf(from))
	s.directory(archiveOf(c), from.all()...)
	s.record("archived", archiveOf(c), c)
	if all := Check(s.State); len(all) > 0 {
		t.Error("it had the archive, and left it:", all)
	}
	c.Name = "other"
	if all := Check(s.State); len(all) == 0 {
		t.Error("another claim had the archive, and nobody says so")
	}
	s, _ = story()
	s.Share[metaDir+"/staged/pvc-delete@tag-123"] = Entry{Mode: private}
	s.Share[metaDir+"/moving/pvc-delete@tag-456"] = Entry{Mode: private}
	s.Share[recordsDir+"/ns%2Fused-delete/pvc-used-delete@tag.json.new"] = Entry{Mode: fileMode}
	if all := Check(s.State); len(all) > 0 {
		t.Error("what a kill leaves for an hour:", all)
	}
	s.Share[metaDir+"/moving/pvc-delete@tag-456/volume"] = Entry{Mode: private}
	if all := Check(s.State); len(all) == 0 {
		t.Error("a directory that is set aside for ever, and nobody says so")
	}
}

// TestNoCodeShared: a mistake of claimdir's is not the checker's.
func TestNoCodeShared(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		if name := strings.TrimSpace(line); strings.HasPrefix(name, "claimdir/") && name != "claimdir/hack/chaos/check" {
			t.Errorf("the checker imports %s", name)
		}
	}
}
