package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"time"

	"claimdir/hack/faultfs"
	"claimdir/hack/testbed"
)

// filled is claimdir on a share of its own, whose volumes may be filled before
// they are released.
type filled struct {
	delay time.Duration
	dir   string // the share, where nothing is slow
}

func (f *filled) start(ctx context.Context, bed *testbed.Bed, name string) (stop func() string, err error) {
	if f.dir, err = bed.NewShare(); err != nil {
		return nil, err
	}
	config := testbed.Config{Share: f.dir, Provisioner: name}
	if f.delay == 0 {
		return startClaimdir(ctx, bed, config)
	}
	if config.Share, err = bed.NewShare(); err != nil {
		return nil, err
	}
	slow, err := faultfs.Mount(f.dir, config.Share)
	if err != nil {
		return nil, err
	}
	slow.Delay(f.delay)
	end, err := startClaimdir(ctx, bed, config)
	if err != nil {
		return nil, err
	}
	return func() string {
		defer func() { _ = slow.Close() }() // the bed is removed with what is left
		return end()
	}, nil
}

// fill puts the files into each volume.
func (f *filled) fill(s shape) error {
	volumes, err := os.ReadDir(f.dir)
	if err != nil {
		return err
	}
	for _, volume := range volumes {
		if strings.HasPrefix(volume.Name(), ".") {
			continue
		}
		if err := s.make(filepath.Join(f.dir, volume.Name())); err != nil {
			return err
		}
	}
	return nil
}

// fullAndEmpty is claimdir with volumes that are full when they are released,
// beside itself with empty ones.
func fullAndEmpty(s shape, delay time.Duration) (empty, full contestant) {
	share := &filled{delay: delay}
	return contestant{name: "empty", start: share.start},
		contestant{name: s.String(), start: share.start, fill: func() error { return share.fill(s) }}
}
