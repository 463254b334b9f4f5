//go:build vm

package nfscases

import (
	"context"
	"fmt"
	"os"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
)

// act does what its name says on the share at the first argument. It is the one
// place where the tests with a second client use claimdir's own code: they start
// each action in a process of one of the clients.
//
//	mkdir DIRECTORY, rename FROM TO   the kernel's own calls
//	provision PATH PV                 make a volume
//	release PATH PV                   what Delete does with the policy delete
//	look-after                        what a leader does by and by: the trash
func act(name string, args ...string) error {
	dir, args := args[0], args[1:]
	switch name {
	case "mkdir":
		return os.Mkdir(dir+"/"+args[0], 0o755)
	case "rename":
		return os.Rename(dir+"/"+args[0], dir+"/"+args[1])
	case "provision":
		return provision(dir, args[0], args[1])
	case "release":
		return release(dir, args[0], args[1])
	case "look-after":
		return lookAfter(dir)
	}
	return fmt.Errorf("no action is called %s", name)
}

func openStore(dir string) (*share.Share, *ledger.Ledger, error) {
	s, err := share.Open(dir)
	if err != nil {
		return nil, nil, err
	}
	l, err := ledger.Open(s, "share-1")
	return s, l, err
}

func provision(dir, name, pv string) error {
	s, l, err := openStore(dir)
	if err != nil {
		return err
	}
	path, err := volpath.Parse(name)
	if err != nil {
		return err
	}
	record, err := l.Claim(path, ledger.Record{
		State: ledger.Creating, PV: pv, Cluster: "cluster-1",
		Claim: ledger.Claim{Namespace: "ns", Name: name, UID: "uid-of-" + pv}, Policy: "delete",
	}, false)
	if err != nil {
		return err
	}
	if _, err = s.Create(path, share.Attributes{Mode: 0o777}); err != nil {
		return err
	}
	return l.Activate(path, record)
}

func release(dir, name, pv string) error {
	s, l, err := openStore(dir)
	if err != nil {
		return err
	}
	path, err := volpath.Parse(name)
	if err != nil {
		return err
	}
	record, known, err := l.Lookup(path)
	if err != nil || !known || record.PV != pv {
		return err // it is released
	}
	trashed, err := s.Discard(path, pv)
	if err != nil {
		return err
	}
	return l.Discard(path, trashed)
}

func lookAfter(dir string) error {
	s, l, err := openStore(dir)
	if err != nil {
		return err
	}
	names, _, err := s.Trash()
	if err != nil {
		return err
	}
	for _, name := range names {
		if _, err := s.EmptyTrash(context.Background(), name, share.NewRemover(1, 0)); err != nil {
			return err
		}
		if err := l.ForgetDiscarded(name); err != nil {
			return err
		}
	}
	return nil
}
