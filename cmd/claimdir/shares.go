package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/output"
	"claimdir/provisioner/share"
)

// findShares returns the shares to serve, with the server and path for their
// PersistentVolumes. These are the mounted ones or, if the directory is not an NFS mount,
// the configured ones. If both exist they must agree: otherwise pods would mount another
// directory than claimdir has made.
func findShares(o options) ([]share.Mount, error) {
	mounts, err := share.FindMounts(o.mountPath)
	if err != nil {
		return nil, err
	}
	return agree(mounts, o)
}

// openShare opens a share that the controller has used before. It never prepares a new
// share: the wrong file system may be mounted.
func openShare(mount share.Mount) (*share.Share, *ledger.Ledger, error) {
	dirs, err := share.Open(mount.Dir)
	if err != nil {
		return nil, nil, err
	}
	records, err := ledger.OpenReadOnly(dirs)
	return dirs, records, err
}

// openedShare is a share that is open.
type openedShare struct {
	share.Mount

	dirs    *share.Share
	records *ledger.Ledger
}

// openShares opens the shares, and returns an error for each that cannot be opened.
func openShares(mounts []share.Mount) (opened []openedShare, closed []error) {
	for _, mount := range mounts {
		dirs, records, err := openShare(mount)
		if err != nil {
			closed = append(closed, err)
			continue
		}
		opened = append(opened, openedShare{mount, dirs, records})
	}
	return opened, closed
}

// store is the share together with its records.
func (s openedShare) store() ledger.Store { return ledger.Store{Dirs: s.dirs, Records: s.records} }

// openAll finds the shares and opens them. closed has an error for each that cannot be opened; if none can, err has them.
func openAll(o options) (opened []openedShare, closed []error, err error) {
	mounts, err := findShares(o)
	if err != nil {
		return nil, nil, err
	}
	opened, closed = openShares(mounts)
	if len(opened) == 0 {
		return nil, nil, errors.Join(closed...)
	}
	return opened, closed, nil
}

// printUnread prints what could not be read, and returns an error that says how much, or nil.
func printUnread(std streams, unread []error) error {
	for _, err := range unread {
		fmt.Fprintln(std.err, "claimdir:", output.Line(err))
	}
	if n := len(unread); n > 0 {
		return fmt.Errorf("records or shares that could not be read: %d; all others were read", n)
	}
	return nil
}

// given is the value of NFS_SERVER or NFS_PATH: one for all shares, or one for each.
type given struct {
	all  string
	each map[string]string
}

// of returns the value for a share, empty if there is none.
func (g given) of(name string) string { return cmp.Or(g.each[name], g.all) }

// agree sets server and path of each share from the mounts and the configuration.
func agree(mounts []share.Mount, o options) ([]share.Mount, error) {
	server, path, err := readGiven(o)
	if err != nil {
		return nil, err
	}
	mounts, err = addDirectories(mounts, o.mountPath, server, path)
	if err != nil {
		return nil, err
	}
	if len(mounts) == 0 {
		mounts = []share.Mount{{Dir: o.mountPath}}
	}
	var errs []error
	if len(mounts) > 1 && path.all != "" {
		return nil, fmt.Errorf("NFS_PATH is %q, but several shares are mounted below %s: give one path for each share, such as %s", path.all, o.mountPath, example(mounts))
	}
	for i := range mounts {
		if mounts[i].Source, err = agreeOne(mounts[i], server, path); err != nil {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return mounts, share.CheckApart(mounts)
}

// configuredMounts returns the shares whose server and path are configured, whether they are
// mounted here or not.
func configuredMounts(o options) (mounts []share.Mount, err error) {
	server, path, err := readGiven(o)
	if err != nil {
		return nil, err
	}
	names := slices.Sorted(maps.Keys(path.each))
	if path.all != "" {
		names = append(names, "")
	}
	for _, name := range names {
		if s := server.of(name); s != "" {
			mounts = append(mounts, share.Mount{Name: name, Source: share.Source{Server: share.Unbracket(s), Path: cleanExport(path.of(name))}})
		}
	}
	return mounts, nil
}

// agreeOne returns server and path of one share, from its mount and the configuration.
func agreeOne(mount share.Mount, server, path given) (share.Source, error) {
	configured := share.Source{Server: share.Unbracket(server.of(mount.Name)), Path: cleanExport(path.of(mount.Name))}
	mounted := mount.Source
	switch {
	case mounted != (share.Source{}):
	case configured.Server == "" || configured.Path == "":
		return share.Source{}, fmt.Errorf("no NFS share is mounted at %s: mount it there, "+
			"or, if the directory is exported by other means, set both NFS_SERVER and NFS_PATH", mount.Dir)
	default:
		return configured, nil
	}
	if configured.Server != "" && !share.SameServer(configured.Server, mounted.Server) {
		return share.Source{}, fmt.Errorf("NFS_SERVER is %q, but %s has %q mounted: remove NFS_SERVER, or mount the other server", configured.Server, mount.Dir, mounted.Server)
	}
	if configured.Path != "" && configured.Path != mounted.Path {
		return share.Source{}, fmt.Errorf("NFS_PATH is %q, but %s has %q mounted: remove NFS_PATH, or mount the other path", configured.Path, mount.Dir, mounted.Path)
	}
	return mounted, nil
}

// addDirectories adds the shares that NFS_SERVER or NFS_PATH names and that are plain
// directories, not mounts.
func addDirectories(mounts []share.Mount, mountPath string, server, exported given) ([]share.Mount, error) {
	var errs []error
	names := slices.Sorted(maps.Keys(exported.each))
	names = append(names, slices.Sorted(maps.Keys(server.each))...)
	for _, name := range names {
		if slices.ContainsFunc(mounts, func(m share.Mount) bool { return m.Name == name }) {
			continue
		}
		if len(mounts) == 1 && mounts[0].Name == "" {
			return nil, fmt.Errorf("NFS_SERVER or NFS_PATH names the share %q, but the share at %s itself is the only one and has no name: give the value without a name", name, mountPath)
		}
		dir := path.Join(mountPath, name)
		info, err := os.Stat(dir)
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("NFS_SERVER or NFS_PATH names the share %q: %w; mount it there, or remove the name", name, err))
			continue
		case !info.IsDir():
			errs = append(errs, fmt.Errorf("NFS_SERVER or NFS_PATH names the share %q: %s is no directory", name, dir))
			continue
		}
		mounts = append(mounts, share.Mount{Name: name, Dir: dir})
	}
	slices.SortFunc(mounts, func(a, b share.Mount) int { return cmp.Compare(a.Name, b.Name) })
	return mounts, errors.Join(errs...)
}

// example returns a valid NFS_PATH with a path for each share.
func example(mounts []share.Mount) string {
	pairs := make([]string, len(mounts))
	for i, m := range mounts {
		pairs[i] = m.Name + "=" + cmp.Or(m.Source.Path, "/export/"+m.Name)
	}
	return strings.Join(pairs, ",")
}

func readGiven(o options) (server, exported given, err error) {
	server, serverErr := parseServers(o.nfsServer)
	exported, pathErr := parsePaths(o.nfsPath)
	return server, exported, errors.Join(serverErr, pathErr)
}

// check checks all values of the variable.
func (g given) check(variable string, check func(string) error) error {
	var errs []error
	for _, value := range append(slices.Sorted(maps.Values(g.each)), g.all) {
		if err := check(value); value != "" && err != nil {
			errs = append(errs, fmt.Errorf("%s %w", variable, err))
		}
	}
	return errors.Join(errs...)
}

// parseServers reads SERVER, or NAME=SERVER for each share, separated by
// commas.
func parseServers(value string) (given, error) {
	g := given{all: value}
	var err error
	if strings.Contains(value, "=") {
		g, err = parsePairs("NFS_SERVER", strings.Split(value, ","))
	}
	return g, errors.Join(err, g.check("NFS_SERVER", share.CheckServer))
}

// pathOfShare matches the beginning of NAME=/PATH in a list. A comma that such a beginning
// does not follow is part of a path.
var pathOfShare = regexp.MustCompile(`(^|,)[^/,=]*=/`)

// parsePaths reads PATH, or NAME=PATH for each share, separated by commas.
func parsePaths(value string) (given, error) {
	if value == "" || strings.HasPrefix(value, "/") {
		g := given{all: value}
		return g, g.check("NFS_PATH", share.CheckExport)
	}
	var pairs []string
	begins := pathOfShare.FindAllStringIndex(value, -1)
	if len(begins) == 0 || begins[0][0] != 0 {
		return given{}, fmt.Errorf("NFS_PATH %q: allowed are an absolute path, or NAME=/PATH for each share, separated by commas", value)
	}
	for i, at := range begins {
		end := len(value)
		if i+1 < len(begins) {
			end = begins[i+1][0]
		}
		pairs = append(pairs, strings.TrimPrefix(value[at[0]:end], ","))
	}
	g, err := parsePairs("NFS_PATH", pairs)
	return g, errors.Join(err, g.check("NFS_PATH", share.CheckExport))
}

func parsePairs(variable string, pairs []string) (given, error) {
	g := given{each: map[string]string{}}
	var errs []error
	for _, pair := range pairs {
		name, value, found := strings.Cut(pair, "=")
		switch err := share.CheckName(name); {
		case !found || value == "":
			errs = append(errs, fmt.Errorf("%s: %q: allowed are NAME=VALUE pairs, one for each share, separated by commas", variable, pair))
		case err != nil:
			errs = append(errs, fmt.Errorf("%s: %w", variable, err))
		case g.each[name] != "":
			errs = append(errs, fmt.Errorf("%s: share %q is given twice", variable, name))
		default:
			g.each[name] = value
		}
	}
	return g, errors.Join(errs...)
}
