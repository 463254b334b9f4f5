package share

import "golang.org/x/sys/unix"

// Room is how large a share is, in bytes.
type Room struct {
	Size uint64
	// Free is what we may use.
	Free uint64
}

// Room asks the server how much room there is. It is no answer from a cache, so
// it also shows that the server answers.
func (s *Share) Room() (Room, error) {
	root, err := s.openRoot()
	if err != nil {
		return Room{}, err
	}
	defer s.done(root)
	var stat unix.Statfs_t
	if err := unix.Fstatfs(root.fd(), &stat); err != nil {
		return Room{}, unreachable(err)
	}
	unit := uint64(stat.Bsize) //nolint:unconvert // its type differs between architectures
	return Room{Size: stat.Blocks * unit, Free: stat.Bavail * unit}, nil
}
