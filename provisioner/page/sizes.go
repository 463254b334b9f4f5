package page

import (
	"cmp"
	"container/heap"
	"slices"
)

// Sizes finds the largest volumes and namespaces. It holds Rows volumes, and one entry for each namespace. Its
// zero value is empty.
type Sizes struct {
	volumes    largest
	count      int
	namespaces map[string]*Namespace
}

// Add counts a volume. Its Claim may be set later, in what Volumes returns.
func (s *Sizes) Add(v Volume) {
	s.count++
	s.volumes.add(v)
	if s.namespaces == nil {
		s.namespaces = map[string]*Namespace{}
	}
	n := s.namespaces[v.Namespace]
	if n == nil {
		n = &Namespace{Name: v.Namespace}
		s.namespaces[v.Namespace] = n
	}
	n.Volumes++
	n.Requested += v.Requested
	n.rank += v.by()
	if v.Known {
		n.Used += v.Used
		n.Measured++
		n.Known = true
	}
}

// Volumes returns the largest volumes, the largest first.
func (s *Sizes) Volumes() List[Volume] {
	rows := slices.SortedFunc(slices.Values(s.volumes), func(a, b Volume) int { return -compare(a, b) })
	return List[Volume]{Rows: rows, Total: s.count}
}

// Namespaces returns the namespaces whose volumes are the largest together, the largest first.
func (s *Sizes) Namespaces() List[Namespace] {
	all := make([]Namespace, 0, len(s.namespaces))
	for _, n := range s.namespaces {
		all = append(all, *n)
	}
	slices.SortFunc(all, func(a, b Namespace) int { return cmp.Or(cmp.Compare(b.rank, a.rank), cmp.Compare(a.Name, b.Name)) })
	return List[Namespace]{Rows: slices.Clone(all[:min(Rows, len(all))]), Total: len(all)}
}

// compare orders volumes: the smaller one first and, of two of one size, the one whose name comes later, so that
// the order does not change from page to page.
func compare(a, b Volume) int {
	return cmp.Or(cmp.Compare(a.by(), b.by()), cmp.Compare(b.Name, a.Name))
}

// largest is a heap of the Rows largest volumes, the smallest of these first.
type largest []Volume

func (l *largest) add(v Volume) {
	switch {
	case len(*l) < Rows:
		heap.Push(l, v)
	case compare(v, (*l)[0]) > 0:
		(*l)[0] = v
		heap.Fix(l, 0)
	}
}

func (l largest) Len() int           { return len(l) }
func (l largest) Less(i, j int) bool { return compare(l[i], l[j]) < 0 }
func (l largest) Swap(i, j int)      { l[i], l[j] = l[j], l[i] }

// Push is for package heap.
func (l *largest) Push(v any) {
	if volume, ok := v.(Volume); ok {
		*l = append(*l, volume)
	}
}

// Pop is for package heap.
func (l *largest) Pop() any {
	last := (*l)[len(*l)-1]
	*l = (*l)[:len(*l)-1]
	return last
}
