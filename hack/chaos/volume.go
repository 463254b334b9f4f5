package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	v1 "k8s.io/api/core/v1"

	"claimdir/hack/chaos/check"
)

// lookInto returns the tokens in a volume, as a pod that mounts it sees them. One whose directory
// a late call has moved away is back soon.
func (u *user) lookInto(ctx context.Context, dir string) (tokens []string, mode fs.FileMode, err error) {
	err = try(ctx, "look into "+dir, func(context.Context) error {
		tokens = nil
		entries, err := os.ReadDir(filepath.Join(u.share, dir))
		if err != nil {
			return err
		}
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), check.TokenPrefix) {
				tokens = append(tokens, e.Name())
			}
		}
		info, err := os.Lstat(filepath.Join(u.share, dir))
		if err == nil {
			mode = info.Mode()
		}
		return err
	})
	return tokens, mode, err
}

// write writes a token into the volume, and what else a tenant has there: more files, some in
// directories below, and a link that leads out.
func (u *user) write(ctx context.Context, c *check.Claim, files int) error {
	token := check.TokenPrefix + rand.Text()
	u.journal.token(token)
	err := try(ctx, "write into "+c.Path, func(context.Context) error {
		dir, err := os.OpenRoot(filepath.Join(u.share, c.Path))
		if err != nil {
			return err
		}
		defer dir.Close()
		return u.put(dir, token, files)
	})
	if err == nil {
		u.journal.note(func() { c.Wrote = append(c.Wrote, token) })
	}
	return err
}

// put writes right into the directory that it was given, wherever that is by now.
func (u *user) put(dir *os.Root, token string, files int) error {
	if err := dir.WriteFile(token, []byte(token), 0o600); err != nil {
		return err
	}
	file, err := dir.Open(token)
	if err != nil {
		return err
	}
	u.journal.keep(token, file)
	for i := range files {
		name := fmt.Sprintf("file-%d", i)
		if i%3 == 2 {
			if err := dir.MkdirAll(fmt.Sprintf("below/%d", i), 0o700); err != nil {
				return err
			}
			name = fmt.Sprintf("below/%d/%s", i, name)
		}
		if err := dir.WriteFile(name, []byte(token), 0o600); err != nil {
			return err
		}
	}
	if err := dir.Symlink(u.outside, "way-out"); !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// adopts makes the directory that an adopting claim is for.
func (u *user) adopts(c *check.Claim, claim *v1.PersistentVolumeClaim, s Story) error {
	if u.slot.Role != Adopting {
		return nil
	}
	name := fmt.Sprintf("%s-%d", u.slot.Name, u.told)
	claim.Annotations[annDir] = name
	path := filepath.Join(u.share, "adopt", name)
	if err := errors.Join(os.Mkdir(path, 0o700), os.Chmod(path, 0o750)); err != nil {
		return err
	}
	dir, err := os.OpenRoot(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	token := check.TokenPrefix + rand.Text()
	u.journal.token(token)
	c.Adopts, c.Before = []string{token}, fs.ModeDir|0o750
	u.counts.add("adoptions")
	return u.put(dir, token, s.Files)
}

// readTree reads all that is below a directory, by its path there; the directory itself is ".".
func readTree(dir string) (map[string]check.Entry, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	tree := map[string]check.Entry{}
	err = fs.WalkDir(root.FS(), ".", func(name string, _ fs.DirEntry, err error) error {
		if err == nil {
			err = readEntry(root, name, tree)
		}
		if errors.Is(err, fs.ErrNotExist) { // it went meanwhile
			return nil
		}
		return err
	})
	return tree, err
}
