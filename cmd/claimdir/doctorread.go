package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"claimdir/provisioner/doctor"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
)

// readSites reads the shares. The caller must list the volumes afterwards, because a
// PersistentVolume is saved after its record. If no share is mounted, readSites says so in
// left, and returns the shares whose server and path are set.
func readSites(ctx context.Context, o options) (r sitesRead) {
	mounts, err := share.FindMounts(o.mountPath)
	if err != nil {
		r.trouble("", o.mountPath, err)
		return r
	}
	configured, configuredErr := configuredMounts(o)
	if _, err := os.Stat(o.mountPath); errors.Is(err, os.ErrNotExist) || err == nil && len(mounts) == 0 && len(configured) == 0 {
		left := fmt.Sprintf("records and directories, because no share is mounted at %s; to check everything, run: %s", o.mountPath, doctorAll)
		if len(configured) == 0 {
			left += "; or set --nfs-server and --nfs-path to check at least the server and path of each volume"
		}
		if configuredErr != nil {
			r.trouble("", o.mountPath, configuredErr)
		}
		r.left = append(r.left, left)
		for _, mount := range configured {
			r.sites = append(r.sites, &doctor.Site{Name: mount.Name, Source: mount.Source})
		}
		return r
	}
	if mounts, err = agree(mounts, o); err != nil {
		r.trouble("", o.mountPath, err)
		return r
	}
	for _, mount := range mounts {
		site, err := readSite(ctx, mount)
		if err != nil {
			r.trouble(mount.Name, mount.Dir, err)
		}
		r.sites = append(r.sites, site)
	}
	return r
}

func readSite(ctx context.Context, mount share.Mount) (*doctor.Site, error) {
	unread := &doctor.Site{Name: mount.Name, Source: mount.Source}
	dirs, records, err := openShare(mount)
	if err != nil {
		return unread, err
	}
	site := &doctor.Site{Name: mount.Name, Source: mount.Source, Dirs: dirs, Lookup: records.Lookup, Trash: records.TrashOf}
	for r, err := range records.Records() {
		if err != nil {
			site.Damaged = append(site.Damaged, err)
		} else {
			site.Add(r)
		}
	}
	return site, site.ReadSnapshots(ctx, ledger.Store{Dirs: dirs, Records: records})
}
