package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"claimdir/hack/chaos/check"
)

// user tells the stories of a slot, one after the other.
type user struct {
	*world
	slot Slot
	at   int // the namespace
	told int // stories

	ended atomic.Int32 // stories, for others to see

	archives  *archives
	last      *check.Claim // that was used
	abandoned bool         // the last story's claim
}

// run tells stories until the time is over. ctx ends when nothing more can be waited for.
func (u *user) run(ctx context.Context) error {
	for !u.ends() || u.abandoned { // a claim that is made again ends what one of its name has left
		if err := u.tell(ctx, u.slot.Stories[u.told%len(u.slot.Stories)]); err != nil {
			return fmt.Errorf("user %s, story %d: %w", u.slot.Name, u.told, err)
		}
		u.told++
		u.ended.Add(1)
	}
	return nil
}

// ends reports whether the user makes no new claim. One that has told all stories must let another have a path that both want.
func (u *user) ends() bool {
	return u.isOver() || isClosed(u.late) && u.told >= len(u.slot.Stories)
}

// tell is one claim from its beginning to its end.
func (u *user) tell(ctx context.Context, s Story) error {
	c := &check.Claim{Namespace: u.namespaces[u.at], Name: u.slot.Name, Class: u.class(s.Class)}
	claim := u.claim(c)
	if err := u.adopts(c, claim, s); err != nil {
		return err
	}
	u.expects(c, s)
	if c.Restore != "" {
		claim.Annotations[annRestore] = c.Restore
		u.counts.add("restores")
	}
	if err := u.make(ctx, c, claim); err != nil {
		return err
	}
	u.counts.add(claimsMade)
	if u.abandoned = s.Abandon > 0 && !u.isOver(); u.abandoned {
		return u.abandon(ctx, c, s)
	}
	pv, err := u.use(ctx, c, s)
	if err != nil {
		return err
	}
	if s.HandOn {
		if c, err = u.handOn(ctx, c, pv, s); err != nil {
			return err
		}
	}
	u.rest(ctx, s.Hold)
	if s.Stay && u.isOver() {
		return nil
	}
	return u.release(ctx, c, s)
}

// claim is the object for c.
func (u *user) claim(c *check.Claim) *v1.PersistentVolumeClaim {
	claim := &v1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: c.Name, Namespace: c.Namespace, Annotations: map[string]string{}, Labels: map[string]string{
			labelStory: fmt.Sprintf("%s-%d", u.slot.Name, u.told),
		}},
		Spec: v1.PersistentVolumeClaimSpec{
			StorageClassName: &c.Class,
			AccessModes:      []v1.PersistentVolumeAccessMode{v1.ReadWriteMany},
			Resources:        v1.VolumeResourceRequirements{Requests: v1.ResourceList{v1.ResourceStorage: resource.MustParse("1Mi")}},
		},
	}
	if u.slot.Role == Contended {
		claim.Labels[labelSpot] = "spot-" + string(u.slot.Name[len(u.slot.Name)-1]/2%2+'a')
	}
	return claim
}

// expects has the claim ask for an archive, if the user has one, and notes what it must get.
func (u *user) expects(c *check.Claim, s Story) {
	if u.slot.Role == Retained && u.last != nil {
		c.From = u.last.PV
		return
	}
	c.Restore, c.From = u.archives.ask(c.Namespace, s)
}

// make makes the claim, also if the first answer is lost.
func (u *user) make(ctx context.Context, c *check.Claim, claim *v1.PersistentVolumeClaim) error {
	claims := u.bed.Admin.CoreV1().PersistentVolumeClaims(c.Namespace)
	u.journal.begin(c)
	return try(ctx, "make claim "+c.Name, func(ctx context.Context) error {
		made, err := claims.Create(ctx, claim, metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) {
			made, err = claims.Get(ctx, c.Name, metav1.GetOptions{})
			if err == nil && made.Labels[labelStory] != claim.Labels[labelStory] {
				return errors.New("an earlier claim is there")
			}
		}
		if err == nil {
			u.journal.note(func() { c.UID = string(made.UID) })
		}
		return err
	})
}

// use waits until the claim is Bound, looks into its volume and writes something.
func (u *user) use(ctx context.Context, c *check.Claim, s Story) (*v1.PersistentVolume, error) {
	pv, err := u.bound(ctx, c)
	if err != nil {
		return nil, err
	}
	dir := strings.TrimPrefix(pv.Spec.NFS.Path, u.export+"/")
	found, mode, err := u.lookInto(ctx, dir)
	if err != nil {
		return nil, err
	}
	u.journal.note(func() { c.Bound, c.PV, c.Path, c.Found, c.Mode = true, pv.Name, dir, found, mode })
	if err := u.write(ctx, c, s.Files); err != nil {
		return nil, err
	}
	u.archives.took(c.Found)
	u.last = c
	u.counts.add("claims used")
	return pv, nil
}

func (u *user) bound(ctx context.Context, c *check.Claim) (pv *v1.PersistentVolume, err error) {
	err = try(ctx, fmt.Sprintf("claim %s/%s of class %s is Bound", c.Namespace, c.Name, c.Class), func(ctx context.Context) error {
		claim, err := u.bed.Admin.CoreV1().PersistentVolumeClaims(c.Namespace).Get(ctx, c.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if claim.Status.Phase != v1.ClaimBound {
			return fmt.Errorf("it is %s", claim.Status.Phase)
		}
		pv, err = u.bed.Admin.CoreV1().PersistentVolumes().Get(ctx, claim.Spec.VolumeName, metav1.GetOptions{})
		return err
	})
	return pv, err
}

// abandon deletes a claim that may not be Bound yet, and looks no more at it.
func (u *user) abandon(ctx context.Context, c *check.Claim, s Story) error {
	u.rest(ctx, s.Abandon)
	u.archives.abandon(c)
	u.counts.add("claims abandoned")
	return u.deleteClaim(ctx, c)
}

// release deletes the claim, and waits until its volume is gone unless the next one is in haste.
func (u *user) release(ctx context.Context, c *check.Claim, s Story) error {
	if err := u.deleteClaim(ctx, c); err != nil {
		return err
	}
	u.counts.add("claims released")
	u.archives.release(c, strings.TrimPrefix(c.Class, u.class("")))
	if s.Hasty {
		return nil
	}
	for _, pv := range u.archives.pending {
		if err := u.gone(ctx, pv); err != nil {
			return err
		}
	}
	u.archives.pending = nil
	return nil
}

func (u *user) gone(ctx context.Context, name string) error {
	return try(ctx, "volume "+name+" is gone", func(ctx context.Context) error {
		pv, err := u.bed.Admin.CoreV1().PersistentVolumes().Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err == nil {
			err = fmt.Errorf("it is %s", pv.Status.Phase)
		}
		return err
	})
}

// deleteClaim returns when the claim is gone.
func (u *user) deleteClaim(ctx context.Context, c *check.Claim) error {
	claims := u.bed.Admin.CoreV1().PersistentVolumeClaims(c.Namespace)
	u.journal.note(func() { c.Deleted = time.Now() })
	return try(ctx, fmt.Sprintf("claim %s/%s is gone", c.Namespace, c.Name), func(ctx context.Context) error {
		err := claims.Delete(ctx, c.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: new(types.UID(c.UID))}})
		if apierrors.IsNotFound(err) || apierrors.IsConflict(err) { // a later claim of the name has another UID
			return nil
		}
		if err == nil {
			err = errors.New("it is being deleted")
		}
		return err
	})
}
