package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"claimdir/hack/project"
)

// sabotageEnv chooses the way in which the sabotaged claimdir is broken; without it that is as any other.
const sabotageEnv = "CLAIMDIR_SABOTAGE"

// helperFile is added to each package that is broken.
const helperFile = "sabotaged.go"

const helper = `package %s

import (
	"os"
	"path"
	"strings"
)

func sabotaged(way string) bool { return os.Getenv(%q) == way }

// spoilMode changes the mode of what the share has at a path.
func spoilMode(share, at string) { _ = os.Chmod(path.Join(share, at), 0o777) }

// spoilArchive removes the first archive of this world's claims with all in it, whosever that is.
func spoilArchive(share, namespace string) {
	world, _, _ := strings.Cut(namespace, "-")
	entries, _ := os.ReadDir(share)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "archived-"+world+"-") {
			_ = os.RemoveAll(path.Join(share, e.Name()))
			return
		}
	}
}
`

// writeOverlay writes the changed files into dir, and the file for go build -overlay that names them.
// The source itself stays as it is. A place that is not found exactly once is an error: the code there has
// changed, and the sabotage must too.
func writeOverlay(dir string, all []sabotage) (file string, err error) {
	root, err := project.Root()
	if err != nil {
		return "", err
	}
	replace := map[string]string{}
	put := func(name, text string) error {
		copied := filepath.Join(dir, strings.ReplaceAll(name, "/", "-"))
		replace[filepath.Join(root, name)] = copied
		return os.WriteFile(copied, []byte(text), 0o600)
	}
	texts := map[string]string{}
	for _, s := range all {
		for _, c := range s.changes {
			if err := change(root, texts, s.way, c); err != nil {
				return "", err
			}
		}
	}
	for name, text := range texts {
		room := filepath.Dir(name)
		if err := put(name, text); err != nil {
			return "", err
		}
		if err := put(filepath.Join(room, helperFile), fmt.Sprintf(helper, filepath.Base(room), sabotageEnv)); err != nil {
			return "", err
		}
	}
	data, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	file = filepath.Join(dir, "overlay.json")
	return file, os.WriteFile(file, data, 0o600)
}

// change carries out one change in the texts, which it reads when they are first needed.
func change(root string, texts map[string]string, way string, c edit) error {
	text, read := texts[c.file]
	if !read {
		data, err := os.ReadFile(filepath.Join(root, c.file))
		if err != nil {
			return err
		}
		text = string(data)
	}
	if n := strings.Count(text, c.old); n != 1 {
		return fmt.Errorf("sabotage %q: %s has %d times, instead of once:\n%s", way, c.file, n, c.old)
	}
	texts[c.file] = strings.Replace(text, c.old, strings.ReplaceAll(c.new, "SABOTAGED", fmt.Sprintf("sabotaged(%q)", way)), 1)
	return nil
}
