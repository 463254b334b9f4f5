package share

import (
	"bytes"

	"golang.org/x/sys/unix"
)

// readExtent reads and writes a part of a file. With holes it writes no zeros: what is not written is a hole.
func (c *copying) readExtent(f *content, begin, end int64, holes bool) error {
	for at := begin; at < end; {
		length := c.limit(min(readSize, end-at))
		if int64(len(f.buffer)) < length {
			f.buffer = make([]byte, length)
		}
		if err := c.allow(length); err != nil {
			return err
		}
		n := 0
		err := c.source(func() (err error) {
			n, err = unix.Pread(f.in, f.buffer[:length], at)
			return err
		})
		if err != nil || n == 0 { // somebody has cut it off
			return err
		}
		if err := c.write(f, f.buffer[:n], at, holes); err != nil {
			return err
		}
		at += int64(n)
	}
	return nil
}

// write writes content at an offset.
func (c *copying) write(f *content, data []byte, at int64, holes bool) error {
	for len(data) > 0 {
		length := len(data)
		if holes {
			var zero bool
			if length, zero = run(data); zero {
				data, at = data[length:], at+int64(length)
				if err := c.passed(f, int64(length), at); err != nil {
					return err
				}
				continue
			}
		}
		n := 0
		err := c.target(func() (err error) {
			n, err = unix.Pwrite(f.out, data[:length], at)
			return err
		})
		if err != nil {
			return err
		}
		data, at = data[n:], at+int64(n)
		c.count(func(r *Copied) { r.Read += int64(n) })
		if err := c.wrote(f, int64(n), at); err != nil {
			return err
		}
	}
	return nil
}

// run returns how many bytes at the beginning of data are zeros, or are none, in whole units.
func run(data []byte) (length int, zero bool) {
	for length < len(data) {
		unit := data[length:min(length+zeroSize, len(data))]
		is := isZero(unit)
		if length == 0 {
			zero = is
		} else if is != zero {
			break
		}
		length += len(unit)
	}
	return length, zero
}

// isZero reports whether the first byte is zero, and each is like the one before.
func isZero(unit []byte) bool { return unit[0] == 0 && bytes.Equal(unit[1:], unit[:len(unit)-1]) }
