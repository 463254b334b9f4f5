package share

import "golang.org/x/sys/unix"

// Room is how large a share is, in bytes.
type Room struct {
	Size uint64
	// Free is the part that this process may use.
	Free uint64
}

// Room asks the server for the size and free space of the share. The answer never comes from a
// cache, so it also shows that the server responds.
func (s *Share) Room() (Room, error) {
	root, err := s.openRoot()
	if err != nil {
		return Room{}, err
	}
	defer s.done(root)
	room, _, err := roomOf(root)
	if err != nil {
		return Room{}, unreachable(err)
	}
	return room, nil
}

// roomOf asks the server for the size and free space that it has for a directory, and for the bytes that are
// used of it.
func roomOf(opened *dir) (room Room, used uint64, err error) {
	var stat unix.Statfs_t
	if err := unix.Fstatfs(opened.fd(), &stat); err != nil {
		return Room{}, 0, err
	}
	unit := uint64(stat.Bsize) // its type differs between architectures
	return Room{Size: stat.Blocks * unit, Free: stat.Bavail * unit}, (stat.Blocks - stat.Bfree) * unit, nil
}
