package share

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// unstick takes the sticky bit off the directory name of parent and off all
// directories below it, links not followed. Only the capability CAP_FOWNER lets
// root remove somebody's file from somebody else's sticky directory, and in a
// cluster we have no capability: the NFS client refuses such a call before the
// server, to which we are root all the same, hears of it. A mode is for the
// server alone to decide.
//
// It goes on after an error and returns all of them; what it could not reach is
// what removing it will fail on.
func unstick(parent *os.Root, name string) error {
	dir, err := openChild(parent, name)
	if err != nil {
		return err
	}
	defer closeRoot(dir)
	self, err := dir.Open(".")
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	defer self.Close()
	errs := []error{clearSticky(self, name)}
	for {
		entries, err := self.ReadDir(1000) // a directory may be larger than our memory
		for _, entry := range entries {
			if entry.IsDir() {
				errs = append(errs, unstick(dir, entry.Name()))
			}
		}
		if err != nil || len(entries) == 0 {
			return errors.Join(errs...)
		}
	}
}

func clearSticky(dir *os.File, name string) error {
	info, err := dir.Stat()
	if err != nil || info.Mode()&fs.ModeSticky == 0 {
		return err
	}
	if err := dir.Chmod(info.Mode() &^ fs.ModeSticky); err != nil {
		return fmt.Errorf("take the sticky bit off %s: %w", name, err)
	}
	return nil
}
