package share

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// BenchmarkCopy sets Copy beside cp -a: many small files, few large ones, a sparse one. TMPDIR says where.
func BenchmarkCopy(b *testing.B) {
	trees := map[string]func(data string) error{
		"small": func(data string) error { return manyFiles(data, 200, 100, 4<<10) },
		"large": func(data string) error { return manyFiles(data, 1, 4, 128<<20) },
		"mixed": func(data string) error { return manyFiles(data, 50, 20, 200<<10) },
	}
	for name, fill := range trees {
		dir := b.TempDir()
		if err := fill(dir + "/data"); err != nil {
			b.Fatal(err)
		}
		s, err := Open(dir)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name+"/copy", func(b *testing.B) {
			for b.Loop() {
				if _, err := s.Copy(b.Context(), NewCopier(16, 0, 0), CopyFrom{Path: pathOfData()}, staging, nil); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				_ = os.RemoveAll(dir + "/.claimdir")
				b.StartTimer()
			}
		})
		b.Run(name+"/cp", func(b *testing.B) {
			for b.Loop() {
				if out, err := exec.Command("cp", "-a", dir+"/data", dir+"/copy").CombinedOutput(); err != nil {
					b.Fatal(err, string(out))
				}
				b.StopTimer()
				_ = os.RemoveAll(dir + "/copy")
				b.StartTimer()
			}
		})
	}
}

func manyFiles(data string, directories, files, size int) error {
	content := make([]byte, size)
	for i := range content {
		content[i] = byte(i%251 + 1)
	}
	for i := range directories {
		in := fmt.Sprintf("%s/%d", data, i)
		if err := os.MkdirAll(in, 0o755); err != nil {
			return err
		}
		for j := range files {
			if err := os.WriteFile(fmt.Sprintf("%s/%d", in, j), content, 0o600); err != nil {
				return err
			}
		}
	}
	return nil
}
