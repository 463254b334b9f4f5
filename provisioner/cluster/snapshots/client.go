package snapshots

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
)

// Resources of the API.
const (
	resourceSnapshots = "volumesnapshots"
	resourceClasses   = "volumesnapshotclasses"
	resourceContents  = "volumesnapshotcontents"
)

// callTimeout bounds one call to the API server.
const callTimeout = 10 * time.Second

// Client calls the API server. It needs the rights of manifests/components/snapshots, which has no right to get a single object: it
// lists the one of a name.
type Client struct {
	rest   rest.Interface
	params runtime.ParameterCodec
}

// NewClient returns a client that connects as config says, except for the form of the objects: the API server has these as JSON alone.
func NewClient(config *rest.Config) (*Client, error) {
	scheme := newScheme()
	config = rest.CopyConfig(config)
	config.APIPath, config.GroupVersion = "/apis", &schema.GroupVersion{Group: Group, Version: "v1"}
	config.ContentType, config.AcceptContentTypes = runtime.ContentTypeJSON, runtime.ContentTypeJSON
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	client, err := rest.RESTClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("connect to the snapshot API: %w", err)
	}
	return &Client{client, runtime.NewParameterCodec(scheme)}, nil
}

// Served returns nil if the API is there and may be read: its CRDs, and the rights of our component. The error is ErrNotServed if not.
func (c *Client) Served(ctx context.Context) error {
	for _, resource := range []string{resourceSnapshots, resourceClasses, resourceContents} {
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		err := c.rest.Get().Resource(resource).VersionedParams(&metav1.ListOptions{Limit: 1}, c.params).Do(ctx).Error()
		cancel()
		if notServed(err) {
			return fmt.Errorf("%w: %w", ErrNotServed, err)
		}
		if err != nil {
			return fmt.Errorf("look for the snapshot API: %w", err)
		}
	}
	return nil
}

// ErrNotServed says that the cluster does not have the snapshot API, or does not let claimdir read it.
var ErrNotServed = errors.New("VolumeSnapshots are not served")

func notServed(err error) bool {
	return apierrors.IsNotFound(err) || apierrors.IsForbidden(err) || meta.IsNoMatchError(err)
}

// CreateContent creates a VolumeSnapshotContent.
func (c *Client) CreateContent(ctx context.Context, content *VolumeSnapshotContent) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	content.APIVersion, content.Kind = APIVersion, KindContent
	if err := c.rest.Post().Resource(resourceContents).Body(content).Do(ctx).Error(); err != nil {
		return fmt.Errorf("create VolumeSnapshotContent %s: %w", content.Name, err)
	}
	return nil
}

// Content asks the API server, never a cache, for the VolumeSnapshotContent of that name, and returns nil if there is none.
func (c *Client) Content(ctx context.Context, name string) (*VolumeSnapshotContent, error) {
	var list ContentList
	if err := c.one(ctx, "", resourceContents, name, &list); err != nil {
		return nil, fmt.Errorf("read VolumeSnapshotContent %s: %w", name, err)
	}
	if len(list.Items) == 0 {
		return nil, nil
	}
	return &list.Items[0], nil
}

// Contents returns all VolumeSnapshotContents.
func (c *Client) Contents(ctx context.Context) ([]VolumeSnapshotContent, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var list ContentList
	if err := c.rest.Get().Resource(resourceContents).Do(ctx).Into(&list); err != nil {
		return nil, fmt.Errorf("list VolumeSnapshotContents: %w", err)
	}
	return list.Items, nil
}

// Snapshot asks the API server, never a cache, for the VolumeSnapshot of that name, and returns nil if there is none.
func (c *Client) Snapshot(ctx context.Context, namespace, name string) (*VolumeSnapshot, error) {
	var list SnapshotList
	if err := c.one(ctx, namespace, resourceSnapshots, name, &list); err != nil {
		return nil, fmt.Errorf("read VolumeSnapshot %s/%s: %w", namespace, name, err)
	}
	if len(list.Items) == 0 {
		return nil, nil
	}
	return &list.Items[0], nil
}

func (c *Client) one(ctx context.Context, namespace, resource, name string, into runtime.Object) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	o := metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("metadata.name", name).String()}
	return c.rest.Get().NamespaceIfScoped(namespace, namespace != "").Resource(resource).VersionedParams(&o, c.params).Do(ctx).Into(into)
}

// PatchContent changes a VolumeSnapshotContent, or a part of it such as its status, by a merge patch.
func (c *Client) PatchContent(ctx context.Context, name string, patch []byte, part ...string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := c.rest.Patch(types.MergePatchType).Resource(resourceContents).Name(name).SubResource(part...).Body(patch).Do(ctx).Error(); err != nil {
		return fmt.Errorf("change VolumeSnapshotContent %s: %w", name, err)
	}
	return nil
}

// PatchSnapshot changes a VolumeSnapshot by a merge patch.
func (c *Client) PatchSnapshot(ctx context.Context, namespace, name string, patch []byte) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := c.rest.Patch(types.MergePatchType).Namespace(namespace).Resource(resourceSnapshots).Name(name).Body(patch).Do(ctx).Error(); err != nil {
		return fmt.Errorf("change VolumeSnapshot %s/%s: %w", namespace, name, err)
	}
	return nil
}
