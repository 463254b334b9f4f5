package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"claimdir/hack/release/oci"
)

// checkImage reads the name of an image and refuses one that nobody can have
// meant: without a tag, or with an example's address.
func checkImage(text string) (name.Tag, error) {
	const form = "it has the form HOST/NAME:TAG, such as IMAGE=ghcr.io/OWNER/claimdir:v0.1.0"
	if text == "" {
		return name.Tag{}, errors.New("IMAGE is missing; " + form)
	}
	for _, placeholder := range []string{"placeholder", "example.com/", "example.com:"} {
		if strings.Contains(strings.ToLower(text), placeholder) {
			return name.Tag{}, fmt.Errorf("IMAGE=%s is an example's address; put your registry's there", text)
		}
	}
	ref, err := name.NewTag(text, name.WithDefaultRegistry(""), name.WithDefaultTag(""))
	if err != nil {
		return name.Tag{}, fmt.Errorf("IMAGE=%s: %w; %s", text, err, form)
	}
	if ref.TagStr() == "" {
		return name.Tag{}, fmt.Errorf("IMAGE=%s has no tag; %s", text, form)
	}
	return ref, nil
}

// push pushes the image in dist/ and the SBOM of each of its platforms, lets it
// be signed, and gives it its tag at the end: who pulls by the tag finds all of
// it. A tag that another image has is left alone.
func push(ctx context.Context, root string, o options, out io.Writer) (err error) {
	tag, err := checkImage(o.image)
	if err != nil {
		return err
	}
	if tag.RegistryStr() == "" {
		return fmt.Errorf("IMAGE=%s names no registry; it has the form HOST/NAME:TAG", o.image)
	}
	released := filepath.Join(root, distDir)
	if err := checkSums(released); err != nil {
		return fmt.Errorf("nothing to push: %w; build it with: make dist VERSION=…", err)
	}
	archives, err := filepath.Glob(archiveFile(released, "*"))
	if err != nil || len(archives) != 1 {
		return errors.Join(err, fmt.Errorf("%s has %d image archives, not one: build it again with make dist", released, len(archives)))
	}
	dir, err := os.MkdirTemp("", "claimdir-push-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	index, err := oci.Open(archives[0], dir)
	if err != nil {
		return err
	}
	p := &pusher{tag: tag, out: out, options: []remote.Option{remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain)}}
	return p.push(ctx, index, released, o.sign)
}

type pusher struct {
	tag     name.Tag
	out     io.Writer
	options []remote.Option
}

func (p *pusher) push(ctx context.Context, index v1.ImageIndex, released, sign string) error {
	digest, err := index.Digest()
	if err != nil {
		return err
	}
	if err := p.checkTag(digest); err != nil {
		return err
	}
	pushed := p.tag.Digest(digest.String())
	if err := remote.WriteIndex(pushed, index, p.options...); err != nil {
		return fmt.Errorf("push %s: %w", pushed, err)
	}
	fmt.Fprintln(p.out, "pushed", pushed)
	if err := p.pushSBOMs(index, released); err != nil {
		return err
	}
	if sign != "" {
		fmt.Fprintln(p.out, sign, pushed)
		command := exec.CommandContext(ctx, "sh", "-c", sign+` "$0"`, pushed.String())
		command.Stdin, command.Stdout, command.Stderr = os.Stdin, p.out, p.out
		if err := command.Run(); err != nil {
			return fmt.Errorf("sign %s: %w; it is pushed, but has no tag yet: push again", pushed, err)
		}
	}
	if err := remote.Tag(p.tag, index, p.options...); err != nil {
		return fmt.Errorf("tag %s as %s: %w", pushed, p.tag, err)
	}
	fmt.Fprintf(p.out, "tagged %s\n", p.tag)
	return nil
}

// checkTag refuses a tag of another image: people have pulled it under this tag.
func (p *pusher) checkTag(digest v1.Hash) error {
	there, err := remote.Head(p.tag, p.options...)
	var answer *transport.Error
	switch {
	case errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound:
		return nil
	case err != nil:
		return fmt.Errorf("ask what %s is: %w", p.tag, err)
	case there.Digest != digest:
		return fmt.Errorf("%s is another image there, %s, and a tag is not moved: give this one another tag, or delete that one", p.tag, there.Digest)
	}
	return nil
}

// pushSBOMs pushes each platform's SBOM as a referrer of its image.
func (p *pusher) pushSBOMs(index v1.ImageIndex, released string) error {
	list, err := index.IndexManifest()
	if err != nil {
		return err
	}
	for _, d := range list.Manifests {
		files, err := filepath.Glob(filepath.Join(released, "claimdir_*_linux_"+d.Platform.Architecture+sbomSuffix))
		if err != nil || len(files) != 1 {
			return errors.Join(err, fmt.Errorf("%s has %d SBOMs for %s, not one: build it again with make dist", released, len(files), d.Platform.Architecture))
		}
		if err := p.attach(d, files[0]); err != nil {
			return fmt.Errorf("push %s: %w", filepath.Base(files[0]), err)
		}
		fmt.Fprintf(p.out, "pushed %s for %s\n", filepath.Base(files[0]), d.Digest)
	}
	return nil
}
