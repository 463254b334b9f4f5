package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/pager"

	"claimdir/provisioner/cluster/pvs"
	"claimdir/provisioner/ledger"
)

// ErrNeeded says that the claim or the PersistentVolume of a record still exists.
var ErrNeeded = errors.New("it may be needed")

// ErrClaimed is an ErrNeeded: the claim still exists.
var ErrClaimed = fmt.Errorf("%w", ErrNeeded)

// liveTimeout bounds the live reads of an operation on a share. It is well below the drain time-out
// of a stop.
const liveTimeout = 10 * time.Second

// Live reads from the API server, never from a cache. It reads a single object by get, not by a list with
// its name: such a list waits up to 100 ms until the API server's own cache is up to date.
type Live struct{ Client kubernetes.Interface }

// Volumes returns all PersistentVolumes. In a large cluster these take much memory: see EachVolume.
func (l Live) Volumes(ctx context.Context) (volumes []v1.PersistentVolume, err error) {
	err = l.EachVolume(ctx, func(pv *v1.PersistentVolume) {
		pv.ManagedFields = nil
		volumes = append(volumes, *pv)
	})
	return volumes, err
}

// EachVolume calls do with each PersistentVolume. It reads them in pages of 500, and a page is in memory
// as long as do keeps something of it.
func (l Live) EachVolume(ctx context.Context, do func(pv *v1.PersistentVolume)) error {
	pages := pager.New(func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
		return l.Client.CoreV1().PersistentVolumes().List(ctx, o)
	})
	pages.PageSize, pages.PageBufferSize = pageSize, 1
	return pages.EachListItem(ctx, metav1.ListOptions{}, func(object runtime.Object) error {
		if pv, ok := object.(*v1.PersistentVolume); ok {
			do(pv)
		}
		return nil
	})
}

// ArchiveCopies returns the claims of a namespace that name no volume and are to be copies of archives. It reads the claims in pages
// of 500, and keeps only these.
func (l Live) ArchiveCopies(ctx context.Context, namespace string) (claims []*v1.PersistentVolumeClaim, err error) {
	pages := pager.New(func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
		return l.Client.CoreV1().PersistentVolumeClaims(namespace).List(ctx, o)
	})
	pages.PageSize, pages.PageBufferSize = pageSize, 1
	err = pages.EachListItem(ctx, metav1.ListOptions{}, func(object runtime.Object) error {
		if claim, is := object.(*v1.PersistentVolumeClaim); is && claim.Spec.VolumeName == "" && pvs.ArchiveToCopy(claim) != "" {
			claims = append(claims, claim.DeepCopy()) // the page is not kept for it
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list the claims of namespace %s: %w", namespace, err)
	}
	return claims, nil
}

// Gone returns nil if neither the claim of a record nor its PersistentVolume exists. It returns
// ErrNeeded if one of them does, and another error if a read fails. A claim that has got another volume
// does not need the one that was begun for it.
func (l Live) Gone(ctx context.Context, r ledger.Record) error {
	return l.gone(ctx, r, func(claim *v1.PersistentVolumeClaim) bool {
		has := claim.Spec.VolumeName
		return string(claim.UID) == r.Claim.UID && (r.State != ledger.Creating || has == "" || has == r.PV)
	})
}

// GoneForGood is Gone, but also returns ErrNeeded for another claim of the same name, which could
// take over the record's directory.
func (l Live) GoneForGood(ctx context.Context, r ledger.Record) error {
	return l.gone(ctx, r, func(*v1.PersistentVolumeClaim) bool { return true })
}

// gone reads the PersistentVolume last, because it may be saved while its claim is deleted.
func (l Live) gone(ctx context.Context, r ledger.Record, same func(*v1.PersistentVolumeClaim) bool) error {
	if r.PV == "" || r.Claim.Namespace == "" || r.Claim.Name == "" || r.Claim.UID == "" {
		return fmt.Errorf("%w: the record does not name its claim and volume", ErrNeeded)
	}
	ctx, cancel := context.WithTimeout(ctx, liveTimeout)
	defer cancel()
	claim, err := l.claim(ctx, r.Claim)
	if err != nil {
		return err
	}
	if claim != nil && same(claim) {
		return fmt.Errorf("%w: claim %s/%s is there", ErrClaimed, claim.Namespace, claim.Name)
	}
	return l.NoVolume(ctx, r)
}

// Claim returns the claim of that namespace and name, or nil if there is none. It gives up after ten seconds.
func (l Live) Claim(ctx context.Context, namespace, name string) (*v1.PersistentVolumeClaim, error) {
	ctx, cancel := context.WithTimeout(ctx, liveTimeout)
	defer cancel()
	return l.claim(ctx, ledger.Claim{Namespace: namespace, Name: name})
}

// claim returns the claim of that namespace and name, whatever its UID, or nil if there is none.
func (l Live) claim(ctx context.Context, c ledger.Claim) (*v1.PersistentVolumeClaim, error) {
	claim, err := l.Client.CoreV1().PersistentVolumeClaims(c.Namespace).Get(ctx, c.Name, metav1.GetOptions{})
	if IsAbsent(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read claim %s/%s: %w", c.Namespace, c.Name, err)
	}
	return claim, nil
}

// IsAbsent reports whether the API server itself says that an object does not exist. A proxy's page
// "404 not found" says nothing about the object.
func IsAbsent(err error) bool {
	return apierrors.IsNotFound(err) && !apierrors.IsUnexpectedServerError(err)
}

// Namespace returns the UID of the namespace of a claim, or an empty string if the API server does
// not let claimdir read namespaces. The error is ErrNoClaim if the claim does not exist any more.
//
// It reads the namespace first and the claim then. A namespace lasts as long as the claims in it, so
// the namespace that is read is the claim's, and not a later one of the same name, if the caller
// knew the claim before and it still exists.
func (l Live) Namespace(ctx context.Context, claim ledger.Claim) (uid string, err error) {
	ctx, cancel := context.WithTimeout(ctx, liveTimeout)
	defer cancel()
	namespace, err := l.Client.CoreV1().Namespaces().Get(ctx, claim.Namespace, metav1.GetOptions{})
	if apierrors.IsForbidden(err) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read namespace %s: %w", claim.Namespace, err)
	}
	now, err := l.claim(ctx, claim)
	if err != nil {
		return "", err
	}
	if now == nil || string(now.UID) != claim.UID {
		return "", fmt.Errorf("read claim %s/%s: %w", claim.Namespace, claim.Name, ErrNoClaim)
	}
	return string(namespace.UID), nil
}

// ErrNoClaim says that a claim does not exist any more.
var ErrNoClaim = errors.New("it does not exist any more")

// ErrNotReleased says that a PersistentVolume is not, or no longer, to be released.
var ErrNotReleased = errors.New("it is not to be released any more")

// Released returns nil if the PersistentVolume of that name was released by the claim and is to be
// deleted. The error is ErrNotReleased if not: it may be bound to another claim by now.
func (l Live) Released(ctx context.Context, name string, claim ledger.Claim) error {
	pv, err := l.Volume(ctx, name)
	switch {
	case err != nil:
		return err
	case pv == nil:
		return fmt.Errorf("%w: it does not exist", ErrNotReleased)
	case pv.Status.Phase != v1.VolumeReleased:
		return fmt.Errorf("%w: it is %s", ErrNotReleased, pv.Status.Phase)
	case pv.Spec.PersistentVolumeReclaimPolicy != v1.PersistentVolumeReclaimDelete:
		return fmt.Errorf("%w: its reclaim policy is %s", ErrNotReleased, pv.Spec.PersistentVolumeReclaimPolicy)
	}
	if ref := pv.Spec.ClaimRef; ref == nil || string(ref.UID) != claim.UID {
		return fmt.Errorf("%w: spec.claimRef names another claim", ErrNotReleased)
	}
	return nil
}

// Volume returns the PersistentVolume of that name, or nil if there is none. It gives up after ten
// seconds.
func (l Live) Volume(ctx context.Context, name string) (*v1.PersistentVolume, error) {
	ctx, cancel := context.WithTimeout(ctx, liveTimeout)
	defer cancel()
	pv, err := l.Client.CoreV1().PersistentVolumes().Get(ctx, name, metav1.GetOptions{})
	if IsAbsent(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read PersistentVolume %s: %w", name, err)
	}
	return pv, nil
}

// NoVolume returns nil if the PersistentVolume of a record does not exist, and
// ErrNeeded if it does.
func (l Live) NoVolume(ctx context.Context, r ledger.Record) error {
	pv, err := l.Volume(ctx, r.PV)
	if err == nil && pv != nil {
		err = fmt.Errorf("%w: PersistentVolume %s is there", ErrNeeded, r.PV)
	}
	return err
}
