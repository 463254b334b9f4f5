package main

// sabotage is one way to break claimdir.
type sabotage struct {
	way string
	// want is part of a violation that must be found.
	want    string
	changes []edit
}

// edit replaces a text of a file, in which SABOTAGED becomes the question whether this way is chosen.
type edit struct{ file, old, new string }

// sabotages are the ways in which claimdir is broken.
func sabotages() []sabotage {
	return append(releaseSabotages(), otherSabotages()...)
}

// releaseSabotages break what becomes of a released volume.
func releaseSabotages() []sabotage {
	return []sabotage{
		{"deletes instead of archiving", "whose policy is archive, was deleted", []edit{{
			"provisioner/steps/release.go",
			"	inside := op.keepsAdopted(policy, record)\n",
			"	if SABOTAGED && policy == class.Archive {\n		policy = class.Delete\n	}\n	inside := op.keepsAdopted(policy, record)\n",
		}}},
		{"deletes instead of retaining", "whose policy is retain, was deleted", []edit{{
			"provisioner/steps/release.go",
			"	if err := op.checkAlone(record); err != nil {\n",
			"	if SABOTAGED && policy == class.Retain {\n		policy = class.Delete\n	}\n	if err := op.checkAlone(record); err != nil {\n",
		}}},
		{"archives for the earlier owner", "should be called archived-", []edit{{
			"provisioner/steps/owner.go",
			"	if v.Claim.Name == \"\" || v.Claim.UID == \"\" {\n",
			"	if SABOTAGED || v.Claim.Name == \"\" || v.Claim.UID == \"\" {\n",
		}}},
		{"forgets the record of an archive", "is nobody's", []edit{{
			"provisioner/steps/archive.go",
			"	klog.FromContext(ctx).Info(\"Archived directory\", \"archive\", archive)\n",
			"	if SABOTAGED {\n		_ = op.Store.Records.Remove(archive, r)\n	}\n	klog.FromContext(ctx).Info(\"Archived directory\", \"archive\", archive)\n",
		}}},
		{"leaves the directory", "is nobody's", []edit{{
			"provisioner/steps/discard.go",
			"	own, err := op.trash(r, op.Path, id)\n	if share.CannotMove(err) {\n",
			"	if SABOTAGED {\n		return op.Store.Records.Remove(op.Path, r)\n	}\n	own, err := op.trash(r, op.Path, id)\n	if share.CannotMove(err) {\n",
		}}},
		{"keeps the record", "is active, in use false", []edit{{
			"provisioner/steps/discard.go",
			"	return op.Store.Records.Discard(op.Path, r, own)\n}\n\n// trash",
			"	if SABOTAGED {\n		return nil\n	}\n	return op.Store.Records.Discard(op.Path, r, own)\n}\n\n// trash",
		}}},
		{"empties another volume's directory", "was deleted", []edit{{
			"provisioner/steps/discard.go",
			"	logger.Info(\"Moved directory into the trash\", \"trash\", own)\n",
			"	if SABOTAGED {\n		spoilArchive(op.Store.Dirs.Dir(), r.Claim.Namespace)\n	}\n	logger.Info(\"Moved directory into the trash\", \"trash\", own)\n",
		}}},
		{"keeps the record of an archive that it restored", "has no directory", []edit{{
			"provisioner/steps/origin.go",
			"func (archived) finish(op Op, r ledger.Record) error { return op.endRestored(r) }\n",
			"func (archived) finish(op Op, r ledger.Record) error {\n	if SABOTAGED {\n		return nil\n	}\n	return op.endRestored(r)\n}\n",
		}}},
		{"leaves what it set aside", ".claimdir/moving/", []edit{{
			"provisioner/steps/archive.go",
			"		err = op.Store.Dirs.BringBack(share.MovingDir, own, archive)\n	}\n	if err != nil {\n",
			"		if SABOTAGED {\n			return archive, op.Store.Records.Remove(op.Path, r)\n		}\n		err = op.Store.Dirs.BringBack(share.MovingDir, own, archive)\n	}\n	if err != nil {\n",
		}}},
	}
}

// otherSabotages break what is not a release.
func otherSabotages() []sabotage {
	return []sabotage{
		{"gives two claims one directory", "which is not for it", []edit{
			{
				"provisioner/steps/neighbours.go",
				"	other, relative := op.overlapping(op.Path, asking.PV)\n	if other == nil {\n",
				"	other, relative := op.overlapping(op.Path, asking.PV)\n	if SABOTAGED || other == nil {\n",
			},
			{
				"provisioner/ledger/take.go",
				"	case known.sameVolume(r):\n		return l.own(path, r)\n",
				"	case known.sameVolume(r):\n		return l.own(path, r)\n	case SABOTAGED && known.State == Active:\n		r.State, r.Adopted, r.Directory = Active, true, known.Directory\n		return l.TakeOver(path, known, r)\n",
			},
		}},
		{"changes the mode of what it adopts", "from the beginning", []edit{{
			"provisioner/steps/origin.go",
			"	return id, op.Store.Records.CheckBelow(op.Path, r)\n",
			"	if SABOTAGED {\n		spoilMode(op.Store.Dirs.Dir(), op.Path.String())\n	}\n	return id, op.Store.Records.CheckBelow(op.Path, r)\n",
		}}},
		{"changes the mode of a directory outside", "on the share was", []edit{{
			"provisioner/steps/create.go",
			"	klog.FromContext(ctx).Info(from.done(), \"path\", op.Path, \"mode\", record.Mode)\n",
			"	if SABOTAGED {\n		spoilMode(op.Store.Dirs.Dir(), \"others\")\n	}\n	klog.FromContext(ctx).Info(from.done(), \"path\", op.Path, \"mode\", record.Mode)\n",
		}}},
		{"does not try a claim again", "is left waiting", []edit{{
			"provisioner/control/controller.go",
			"	return workqueue.NewTypedItemExponentialFailureRateLimiter[any](retryFirst, retryMost)\n",
			"	if SABOTAGED {\n		return workqueue.NewTypedItemExponentialFailureRateLimiter[any](time.Hour, time.Hour)\n	}\n	return workqueue.NewTypedItemExponentialFailureRateLimiter[any](retryFirst, retryMost)\n",
		}}},
		{"restores another archive", "should have got that of", []edit{{
			"provisioner/steps/findarchive.go",
			"	slices.SortFunc(found, func(a, b ledger.Record) int { return Older(b, a) })\n	for _, r := range found {\n",
			"	slices.SortFunc(found, func(a, b ledger.Record) int { return Older(b, a) })\n	if SABOTAGED {\n		slices.Reverse(found)\n	}\n	for _, r := range found {\n",
		}}},
		{"lets archives expire early", "before", []edit{{
			"provisioner/ledger/change.go",
			"		a.Until = new(a.Released.Add(kept))\n",
			"		a.Until = new(a.Released.Add(kept))\n		if SABOTAGED {\n			a.Until = a.Released\n		}\n",
		}}},
	}
}
