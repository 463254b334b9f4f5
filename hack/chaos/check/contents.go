package check

import (
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
)

// TokenPrefix begins the names of the files that are written into volumes, and of no others.
const TokenPrefix = "token."

// expiresWithin is how long after its end an archive may still be there: claimdir looks once a minute.
const expiresWithin = 3 * time.Minute

// contents follows the content of each directory from claim to claim, and looks for it where the
// last of them has left it.
func (j *judge) contents() {
	at := j.tokens()
	heirs := map[*Claim]*Claim{}
	for _, c := range j.Log.Claims {
		if !c.Bound {
			continue
		}
		from := j.source(c)
		if from == nil {
			j.mode(c)
			continue
		}
		if other := heirs[from]; other != nil {
			j.wrong("claims %s and %s both got the content of %s", c.named(), other.named(), from.named())
		}
		heirs[from] = c
	}
	for _, c := range j.Log.Claims {
		if c.Bound && !c.HandedOn && heirs[c] == nil {
			j.end(c, at)
		}
	}
}

func (c *Claim) named() string { return c.Namespace + "/" + c.Name + " (" + c.own() + ")" }

// tokens returns the directory of each token, and judges what they hold. A directory's tokens lie
// right in it.
func (j *judge) tokens() (at map[string]string) {
	at = map[string]string{}
	for _, name := range sortedKeys(j.Share) {
		token := path.Base(name)
		if !strings.HasPrefix(token, TokenPrefix) {
			continue
		}
		if _, known := j.Log.Tokens[token]; !known {
			j.wrong("%s was written by nobody", name)
		} else if j.Share[name].Content != token {
			j.wrong("%s holds %q", name, j.Share[name].Content)
		}
		if other, twice := at[token]; twice {
			j.wrong("%s lies in %s too", name, other)
		}
		at[token] = path.Dir(name)
	}
	return at
}

// all are the tokens of a claim's directory.
func (c *Claim) all() []string {
	all := append(slices.Clone(c.Found), c.Wrote...)
	slices.Sort(all)
	return all
}

// source returns the claim whose content c found, and judges whether c may have it. It is the last
// claim before c that had one of the tokens.
func (j *judge) source(c *Claim) *Claim {
	found := slices.Sorted(slices.Values(c.Found))
	var from *Claim
	for _, other := range j.Log.Claims {
		if other == c {
			break
		}
		if other.Bound && slices.ContainsFunc(other.all(), func(t string) bool { return slices.Contains(found, t) }) {
			from = other
		}
	}
	if from == nil {
		adopted := slices.Sorted(slices.Values(c.Adopts))
		if !slices.Equal(found, adopted) {
			j.wrong("claim %s found %v in its volume, and %v was there before", c.named(), found, adopted)
		}
		if c.From != "" {
			j.wrong("claim %s should have got the content of %s, and found nothing", c.named(), c.From)
		}
		return nil
	}
	if want := from.all(); !slices.Equal(found, want) {
		j.wrong("claim %s found %v, and what claim %s left is %v", c.named(), found, from.named(), want)
	}
	if c.From != "" && from.PV != c.From {
		j.wrong("claim %s got the content of %s, and should have got that of %s", c.named(), from.named(), c.From)
	}
	if !j.mayHave(c, from) {
		j.wrong("claim %s got the content of claim %s, which is not for it", c.named(), from.named())
	}
	return from
}

// mode judges that of a directory which was new or adopted.
func (j *judge) mode(c *Claim) {
	want := fs.ModeDir | 0o777 // no class says another one
	if len(c.Adopts) > 0 {
		want = c.Before
	}
	if c.Mode != want {
		j.wrong("the directory of claim %s has mode %v from the beginning, instead of %v", c.named(), c.Mode, want)
	}
}

// mayHave reports whether c may have got the directory of from, at once or after a claim that was
// deleted before it was Bound.
func (j *judge) mayHave(c, from *Claim) bool {
	if c.Received != "" {
		return from.PV == c.Received && from.HandedOn
	}
	if from.Deleted.IsZero() || from.HandedOn || c.Namespace != from.Namespace || from.Deleted.After(c.Made) && c.Name == from.Name {
		return false
	}
	switch same := c.Name == from.Name; {
	case j.policy(from) == retain:
		return same && c.Path == from.Path && c.Restore == ""
	case j.policy(from) == archive && c.Restore == from.PV:
		return true
	case j.policy(from) == archive && strings.HasPrefix(c.Restore, "latest"):
		return same
	}
	return false
}

// end judges where the content of c is, which no later claim is known to have got.
func (j *judge) end(c *Claim, at map[string]string) {
	all := c.all()
	if len(all) == 0 {
		return
	}
	var there, gone []string
	places := map[string]bool{}
	for _, token := range all {
		if dir, found := at[token]; found {
			there = append(there, token)
			places[dir] = true
		} else {
			gone = append(gone, token)
		}
		j.deletion(c, token)
	}
	switch may := j.mayBeGone(c); {
	case len(there) > 0 && len(gone) > 0:
		j.waits("of the content of claim %s, %v is there and %v is not", c.named(), there, gone)
	case len(gone) > 0 && !may:
		j.waits("the content %v of claim %s is not on the share", gone, c.named())
	case len(places) > 1:
		j.wrong("the content of claim %s lies in %v", c.named(), sortedKeys(places))
	case len(there) > 0:
		j.kept(c, sortedKeys(places)[0], all)
	}
}

// kept judges the directory that holds the content of c.
func (j *judge) kept(c *Claim, dir string, all []string) {
	var holds []string
	for name := range j.Share {
		if path.Dir(name) == dir && strings.HasPrefix(path.Base(name), TokenPrefix) {
			holds = append(holds, path.Base(name))
		}
	}
	if slices.Sort(holds); !slices.Equal(holds, all) {
		j.wrong("the directory %s holds %v, and claim %s left %v", dir, holds, c.named(), all)
	}
	r, holder := j.holder(dir)
	if holder == nil || holder != c && !slices.Contains(j.heirs(c), holder) {
		j.waits("the content of claim %s lies in %s, which is volume %s's", c.named(), dir, r.PV)
		return
	}
	if holder == c && c.Deleted.IsZero() && dir != c.Path {
		j.waits("the content of claim %s lies in %s, and should lie in %s", c.named(), dir, c.Path)
	}
	over := c.Deleted.Add(j.retention(c) + expiresWithin)
	if holder == c && r.State == "archived" && j.retention(c) > 0 && j.Now.After(over) {
		j.waits("the archive %s should have expired before %v", dir, over)
	}
}

// holder is the claim that has a directory or had it last, with its record.
func (j *judge) holder(dir string) (record, *Claim) {
	r, recorded := j.recordOf[dir]
	c := j.inUse[dir]
	if c == nil && recorded {
		c = j.ownerOf[r.PV]
	}
	return r, c
}

// heirs are the claims that may have got the directory of c and were deleted before anybody saw
// them Bound.
func (j *judge) heirs(c *Claim) (heirs []*Claim) {
	for _, other := range j.Log.Claims {
		if !other.Bound && !other.Deleted.IsZero() {
			as := *other
			as.Path = c.Path
			if j.mayHave(&as, c) {
				heirs = append(heirs, other)
			}
		}
	}
	return heirs
}

// mayBeGone reports whether anybody's policy removes the directory of c by now.
func (j *judge) mayBeGone(c *Claim) bool {
	_, ends := j.removed(c)
	return ends
}

// removed is the time before which nobody may remove the directory of c, and whether anybody may
// after it.
func (j *judge) removed(c *Claim) (earliest time.Time, ends bool) {
	for _, holder := range append(j.heirs(c), c) {
		if holder.Deleted.IsZero() {
			continue
		}
		at := holder.Deleted
		switch policy := j.policy(holder); {
		case policy == remove:
		case policy == archive && j.retention(holder) > 0:
			at = at.Add(j.retention(holder) - time.Second) // records count whole seconds
		default:
			continue
		}
		if !ends || at.Before(earliest) {
			earliest, ends = at, true
		}
	}
	return earliest, ends
}

// deletion judges when a token was deleted.
func (j *judge) deletion(c *Claim, name string) {
	token := j.Log.Tokens[name]
	if token == nil || token.Gone.IsZero() {
		return
	}
	switch earliest, ends := j.removed(c); {
	case !ends:
		j.wrong("the file %s of claim %s, whose policy is %s, was deleted at %s", name, c.named(), j.policy(c), token.Gone.Format(time.TimeOnly))
	case token.Gone.Before(earliest):
		j.wrong("the file %s of claim %s was deleted at %s, before %s", name, c.named(), token.Gone.Format(time.TimeOnly), earliest.Format(time.TimeOnly))
	}
}
