package snapshots

import (
	"maps"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// What follows makes the objects runtime.Objects.

// DeepCopyObject implements runtime.Object.
func (s *VolumeSnapshot) DeepCopyObject() runtime.Object { return s.DeepCopy() }

// DeepCopy returns a copy that shares nothing with s.
func (s *VolumeSnapshot) DeepCopy() *VolumeSnapshot {
	c := *s
	c.ObjectMeta = metaOf(&s.ObjectMeta)
	c.Spec = SnapshotSpec{SnapshotSource{pointed(s.Spec.Source.Claim), pointed(s.Spec.Source.Content)}, pointed(s.Spec.Class)}
	if s.Status != nil {
		c.Status = &SnapshotStatus{Content: pointed(s.Status.Content), Ready: pointed(s.Status.Ready)}
		if s.Status.RestoreSize != nil {
			c.Status.RestoreSize = new(s.Status.RestoreSize.DeepCopy())
		}
	}
	return &c
}

// DeepCopyObject implements runtime.Object.
func (s *VolumeSnapshotClass) DeepCopyObject() runtime.Object {
	c := *s
	c.ObjectMeta = metaOf(&s.ObjectMeta)
	c.Parameters = maps.Clone(s.Parameters)
	return &c
}

// DeepCopyObject implements runtime.Object.
func (s *VolumeSnapshotContent) DeepCopyObject() runtime.Object { return s.DeepCopy() }

// DeepCopy returns a copy that shares nothing with s.
func (s *VolumeSnapshotContent) DeepCopy() *VolumeSnapshotContent {
	c := *s
	c.ObjectMeta = metaOf(&s.ObjectMeta)
	c.Spec.Class, c.Spec.SourceVolumeMode = pointed(s.Spec.Class), pointed(s.Spec.SourceVolumeMode)
	c.Spec.Source = ContentSource{pointed(s.Spec.Source.VolumeHandle), pointed(s.Spec.Source.SnapshotHandle)}
	if s.Status != nil {
		c.Status = &ContentStatus{
			SnapshotHandle: pointed(s.Status.SnapshotHandle), CreationTime: pointed(s.Status.CreationTime), RestoreSize: pointed(s.Status.RestoreSize), Ready: pointed(s.Status.Ready),
		}
		if s.Status.Error != nil {
			c.Status.Error = &Error{Time: s.Status.Error.Time.DeepCopy(), Message: pointed(s.Status.Error.Message)}
		}
	}
	return &c
}

// DeepCopyObject implements runtime.Object.
func (l *SnapshotList) DeepCopyObject() runtime.Object {
	c := SnapshotList{TypeMeta: l.TypeMeta, ListMeta: listOf(&l.ListMeta)}
	for i := range l.Items {
		c.Items = append(c.Items, *l.Items[i].DeepCopy())
	}
	return &c
}

// DeepCopyObject implements runtime.Object.
func (l *ClassList) DeepCopyObject() runtime.Object {
	c := ClassList{TypeMeta: l.TypeMeta, ListMeta: listOf(&l.ListMeta), Items: make([]VolumeSnapshotClass, 0, len(l.Items))}
	for _, item := range l.Items {
		item.ObjectMeta, item.Parameters = metaOf(&item.ObjectMeta), maps.Clone(item.Parameters)
		c.Items = append(c.Items, item)
	}
	return &c
}

// DeepCopyObject implements runtime.Object.
func (l *ContentList) DeepCopyObject() runtime.Object {
	c := ContentList{TypeMeta: l.TypeMeta, ListMeta: listOf(&l.ListMeta)}
	for i := range l.Items {
		c.Items = append(c.Items, *l.Items[i].DeepCopy())
	}
	return &c
}

func metaOf(m *metav1.ObjectMeta) metav1.ObjectMeta { return *m.DeepCopy() }

func listOf(m *metav1.ListMeta) metav1.ListMeta { return *m.DeepCopy() }

// pointed returns a pointer to a copy of what p points at.
func pointed[T any](p *T) *T {
	if p == nil {
		return nil
	}
	return new(*p)
}
