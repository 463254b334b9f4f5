package ledger

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"strings"

	"claimdir/provisioner/volpath"
)

// Layout 1 had one file per path, volumes/<key>.json, one record per parent directory that claimdir
// had created, parents/<key>.json, and temporary files in tmp-0 to tmp-f. The ledger reads a record
// of layout 1 if the path has no record of layout 2. It converts the record when it changes, or by
// Convert.
const (
	firstLayout     = 1
	firstVolumesDir = "volumes"
	firstParentsDir = "parents"
	firstTempPrefix = "tmp-"
)

// ErrFirstLayout says that a share still has layout 1 and this process may not upgrade it.
var ErrFirstLayout = errors.New("an older claimdir wrote the records of this share; start the controller of this version once, which upgrades them, and run this again")

// mayWrite upgrades the share to layout 2 before the first record is written. From then on an older
// claimdir refuses the share, even one that is running.
func (l *Ledger) mayWrite() error {
	if !l.layout.old.Load() {
		return nil
	}
	l.layout.upgrading.Lock() // the identity of directories depends on the file: see share.Identity
	defer l.layout.upgrading.Unlock()
	identity, err := readIdentity(l.share)
	if err != nil {
		return err
	}
	if identity.Layout < Layout {
		if !l.layout.upgrades {
			return ErrFirstLayout
		}
		identity.Layout = Layout
		if err := l.exchangeIdentity(identity); err != nil {
			return fmt.Errorf("upgrade the share to layout %d: %w", Layout, err)
		}
	}
	l.layout.old.Store(false)
	return nil
}

// exchangeIdentity replaces share.json. It writes to a name of its own first, because another
// process may upgrade the share at the same time, and nobody recognises a share whose share.json is
// incomplete.
func (l *Ledger) exchangeIdentity(identity Identity) error {
	data, err := encodeIdentity(identity)
	if err != nil {
		return err
	}
	own := "share." + rand.Text()
	if err := l.share.WriteFile("", own, data); err != nil {
		return err
	}
	return l.share.RenameFile("", own, "", identityFile)
}

// Writable returns ErrFirstLayout if this process may not write records. Callers that change
// directories check it first.
func (l *Ledger) Writable() error { return l.mayWrite() }

// first returns the record of layout 1 of path, unless path has a record of layout 2.
func (l *Ledger) first(path volpath.Path) (Record, bool, error) {
	if !l.layout.first.Load() {
		return Record{}, false, nil
	}
	names, err := l.share.ListMeta(directoryOf(path))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Record{}, false, err
	}
	for _, name := range names {
		if strings.HasSuffix(name, recordSuffix) {
			return Record{}, false, nil
		}
	}
	data, err := l.share.ReadFile(firstVolumesDir, key(path)+recordSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		return Record{}, false, nil
	}
	if err != nil {
		return Record{}, false, fmt.Errorf("record of %s: %w", path, err)
	}
	r, err := decode(data, path)
	return r, err == nil, err
}

// convert replaces a record of layout 1 of path by one of layout 2. A kill in between leaves both.
// The record of layout 2 counts, and a repeat removes the other.
func (l *Ledger) convert(path volpath.Path) error {
	if !l.layout.first.Load() {
		return nil
	}
	r, found, err := l.first(path)
	if err != nil {
		return err
	}
	if found {
		err := l.placeUnconverted(path, r)
		if errors.Is(err, fs.ErrExist) { // another process has converted it, or a write was cut off there
			var still bool
			if _, still, err = l.first(path); err == nil && still {
				err = errors.Join(fs.ErrExist, l.clear(path))
			}
		}
		if err != nil {
			return fmt.Errorf("convert the record of %s: %w", path, err)
		}
	}
	return l.share.RemoveFile(firstVolumesDir, key(path)+recordSuffix)
}

// removeFirst removes r's record of layout 1, if it has one.
func (l *Ledger) removeFirst(path volpath.Path, r Record) error {
	known, found, err := l.first(path)
	if err != nil || found && !known.sameVolume(r) {
		return err
	}
	// The file may exist although it no longer counts; see convert.
	return l.share.RemoveFile(firstVolumesDir, key(path)+recordSuffix)
}

// FirstPaths yields the paths that have records of layout 1, for Convert. It yields an error for a
// record that cannot be read; that record stays.
func (l *Ledger) FirstPaths() iter.Seq2[volpath.Path, error] {
	return func(yield func(volpath.Path, error) bool) {
		if !l.layout.first.Load() {
			return
		}
		names, err := l.firstNames()
		if err != nil {
			yield(volpath.Path{}, err)
			return
		}
		for _, name := range names {
			data, err := l.share.ReadFile(firstVolumesDir, name)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			var r Record
			if err == nil {
				found := strings.TrimSuffix(name, recordSuffix)
				r, err = decodeKeyed(data, found, firstNamed(found))
			}
			var path volpath.Path
			if err == nil {
				path, err = volpath.ParseRecorded(r.Path)
			}
			if !yield(path, err) {
				return
			}
		}
	}
}

// Convert replaces the record of layout 1 of path by one of layout 2.
func (l *Ledger) Convert(path volpath.Path) error {
	if err := l.mayWrite(); err != nil {
		return err
	}
	return l.convert(path)
}

// firstNames lists the record files of layout 1. Once their directory is gone, the ledger no longer
// looks for records of layout 1.
func (l *Ledger) firstNames() ([]string, error) {
	names, err := l.share.ListMeta(firstVolumesDir)
	if errors.Is(err, fs.ErrNotExist) {
		l.layout.first.Store(false)
		return nil, nil
	}
	return names, err
}

// EndFirst removes the leftovers of layout 1: it marks the recorded parent directories (share.Mark)
// and removes their records, stale temporary files and empty directories. It does nothing while
// records of layout 1 exist.
func (l *Ledger) EndFirst() error {
	if !l.layout.first.Load() {
		return nil
	}
	names, err := l.firstNames()
	if err != nil || len(names) > 0 {
		return err
	}
	if err := l.mayWrite(); err != nil {
		return err
	}
	if err := l.endParents(); err != nil {
		return err
	}
	all, err := l.share.ListMeta("")
	if err != nil {
		return err
	}
	for _, name := range all {
		if strings.HasPrefix(name, firstTempPrefix) {
			err = errors.Join(err, l.share.RemoveStale(name, "probe."+l.id), l.share.RemoveEmptyDirectory("", name))
		}
	}
	err = errors.Join(err, l.share.RemoveEmptyDirectory("", firstParentsDir))
	if err == nil {
		err = l.endVolumes()
	}
	if err != nil {
		return fmt.Errorf("remove the leftovers of layout 1: %w", err)
	}
	_, err = l.firstNames()
	return err
}

// endVolumes removes the directory of the records. It runs last, because the next start repeats the
// clean-up as long as that directory exists. It leaves the directory while temporary files exist
// that are too young to be removed.
func (l *Ledger) endVolumes() error {
	all, err := l.share.ListMeta("")
	if err != nil || slices.ContainsFunc(all, func(name string) bool { return strings.HasPrefix(name, firstTempPrefix) }) {
		return err
	}
	return l.share.RemoveEmptyDirectory("", firstVolumesDir)
}
