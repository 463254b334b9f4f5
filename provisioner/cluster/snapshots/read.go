package snapshots

import (
	"k8s.io/client-go/tools/cache"
)

// Indexes of contents: by the volume that is copied, and by the snapshot that is on a share.
const (
	volumeIndex = "volume"
	dataIndex   = "data"
)

func indexVolume(object any) ([]string, error) {
	content, is := object.(*VolumeSnapshotContent)
	if !is || content.Spec.Source.VolumeHandle == nil {
		return nil, nil
	}
	return []string{*content.Spec.Source.VolumeHandle}, nil
}

func indexData(object any) ([]string, error) {
	content, is := object.(*VolumeSnapshotContent)
	if !is {
		return nil, nil
	}
	if handle := content.DataHandle(); handle != "" {
		return []string{handle}, nil
	}
	return nil, nil
}

// DataHandle is the handle of the snapshot on a share that the content names, or empty if it names none yet.
func (s *VolumeSnapshotContent) DataHandle() string {
	switch {
	case s.Spec.Source.SnapshotHandle != nil:
		return *s.Spec.Source.SnapshotHandle
	case s.Status != nil && s.Status.SnapshotHandle != nil:
		return *s.Status.SnapshotHandle
	}
	return ""
}

// IsReady reports whether the content says that its snapshot is whole.
func (s *VolumeSnapshotContent) IsReady() bool {
	return s.Status != nil && s.Status.Ready != nil && *s.Status.Ready
}

// The methods below read the caches. An object must not be changed. While the API is not there, there is none.

// Ready reports whether the caches are filled.
func (c *Caches) Ready() bool { return c.get() != nil }

// Snapshot returns the VolumeSnapshot of that name.
func (c *Caches) Snapshot(namespace, name string) (*VolumeSnapshot, bool) {
	return find[VolumeSnapshot](c, func(f *filled) cache.SharedIndexInformer { return f.snapshots }, cache.NewObjectName(namespace, name).String())
}

// Class returns the VolumeSnapshotClass of that name.
func (c *Caches) Class(name string) (*VolumeSnapshotClass, bool) {
	return find[VolumeSnapshotClass](c, func(f *filled) cache.SharedIndexInformer { return f.classes }, name)
}

// Content returns the VolumeSnapshotContent of that name.
func (c *Caches) Content(name string) (*VolumeSnapshotContent, bool) {
	return find[VolumeSnapshotContent](c, func(f *filled) cache.SharedIndexInformer { return f.contents }, name)
}

func find[T any](c *Caches, in func(*filled) cache.SharedIndexInformer, key string) (*T, bool) {
	now := c.get()
	if now == nil {
		return nil, false
	}
	object, found, err := in(now).GetStore().GetByKey(key)
	if err != nil || !found {
		return nil, false
	}
	typed, is := object.(*T)
	return typed, is
}

// Classes returns all VolumeSnapshotClasses.
func (c *Caches) Classes() []*VolumeSnapshotClass {
	now := c.get()
	if now == nil {
		return nil
	}
	return typed[VolumeSnapshotClass](now.classes.GetStore().List())
}

// Unbound returns the VolumeSnapshots of claims that have no VolumeSnapshotContent yet.
func (c *Caches) Unbound() (unbound []*VolumeSnapshot) {
	now := c.get()
	if now == nil {
		return nil
	}
	for _, snapshot := range typed[VolumeSnapshot](now.snapshots.GetStore().List()) {
		if snapshot.Spec.Source.Claim != nil && (snapshot.Status == nil || snapshot.Status.Content == nil) {
			unbound = append(unbound, snapshot)
		}
	}
	return unbound
}

// OfVolume returns the contents that are made, or to be made, of a volume.
func (c *Caches) OfVolume(handle string) []*VolumeSnapshotContent {
	return c.indexed(volumeIndex, handle)
}

// OfData returns the contents that name a snapshot on a share.
func (c *Caches) OfData(handle string) []*VolumeSnapshotContent { return c.indexed(dataIndex, handle) }

// Contents returns all contents, of other drivers the names alone.
func (c *Caches) Contents() []*VolumeSnapshotContent {
	now := c.get()
	if now == nil {
		return nil
	}
	return typed[VolumeSnapshotContent](now.contents.GetStore().List())
}

func (c *Caches) indexed(index, key string) []*VolumeSnapshotContent {
	now := c.get()
	if now == nil {
		return nil
	}
	objects, err := now.contents.GetIndexer().ByIndex(index, key)
	if err != nil {
		return nil // cannot happen: fill has added the index
	}
	return typed[VolumeSnapshotContent](objects)
}

func typed[T any](objects []any) (all []*T) {
	for _, object := range objects {
		if t, is := object.(*T); is {
			all = append(all, t)
		}
	}
	return all
}
