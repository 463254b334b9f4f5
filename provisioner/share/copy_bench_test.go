package share

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"
)

// BenchmarkCopy sets Copy beside cp -a, in turn, and reports how long each takes in the middle, and how many times as long cp -a
// takes as Copy: with many small files, few large ones, and those between. TMPDIR says where.
func BenchmarkCopy(b *testing.B) {
	for _, tree := range []struct {
		name                     string
		directories, files, size int
	}{
		{"small", 200, 100, 4 << 10},
		{"mixed", 50, 20, 200 << 10},
		{"5M", 10, 10, 5 << 20},
		{"64M", 1, 8, 64 << 20},
		{"one-1G", 1, 1, 1 << 30},
	} {
		b.Run(tree.name, func(b *testing.B) {
			dir := b.TempDir()
			if err := manyFiles(dir+"/data", tree.directories, tree.files, tree.size); err != nil {
				b.Fatal(err)
			}
			s, err := Open(dir)
			if err != nil {
				b.Fatal(err)
			}
			beside(b, dir, func() error {
				_, err := s.Copy(b.Context(), NewCopier(16, 0, 0), CopyFrom{Path: pathOfData()}, staging, nil)
				return err
			})
		})
	}
}

func beside(b *testing.B, dir string, ours func() error) {
	b.Helper()
	var copying, cp []time.Duration
	for i := 0; b.Loop(); i++ {
		for j := range 2 {
			_ = exec.Command("sync").Run() // what the last one wrote is not this one's
			begin := time.Now()
			if (i+j)%2 == 0 {
				if err := ours(); err != nil {
					b.Fatal(err)
				}
				copying = append(copying, time.Since(begin))
			} else {
				if out, err := exec.Command("cp", "-a", dir+"/data", dir+"/copy").CombinedOutput(); err != nil {
					b.Fatal(err, string(out))
				}
				cp = append(cp, time.Since(begin))
			}
			_ = os.RemoveAll(dir + "/copy")
			_ = os.RemoveAll(dir + "/.claimdir")
		}
	}
	slices.Sort(copying)
	slices.Sort(cp)
	middle, its := copying[len(copying)/2], cp[len(cp)/2]
	b.ReportMetric(float64(middle.Milliseconds()), "copy-ms")
	b.ReportMetric(float64(its.Milliseconds()), "cp-ms")
	b.ReportMetric(float64(its)/float64(middle), "times")
	b.ReportMetric(0, "ns/op")
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
