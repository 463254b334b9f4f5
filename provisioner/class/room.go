package class

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
)

// MinFree is how much of a share must stay free. The zero MinFree asks for nothing.
type MinFree struct {
	Bytes   uint64
	Percent float64 // of the share's size, in place of Bytes
}

// Of returns the bytes that must stay free on a share of that size, in bytes.
func (m MinFree) Of(size uint64) uint64 {
	if m.Percent > 0 {
		return uint64(float64(size) * m.Percent / 100)
	}
	return m.Bytes
}

// String is the MinFree as it was written.
func (m MinFree) String() string {
	if m.Percent > 0 {
		return strconv.FormatFloat(m.Percent, 'f', -1, 64) + "%"
	}
	return strconv.FormatUint(m.Bytes, 10)
}

// minFree reads the parameter minFree.
func minFree(params map[string]string) (m MinFree, err error) {
	s := params["minFree"]
	if s == "" {
		return m, nil
	}
	refused := wrap("minFree", fmt.Errorf(`%q is not allowed; allowed are a size such as "10Gi" or "500G", or a part of the share such as "5%%", above 0 and below 100%%`, s))
	if part, is := strings.CutSuffix(s, "%"); is {
		m.Percent, err = strconv.ParseFloat(part, 64)
		if err != nil || !(m.Percent > 0 && m.Percent < 100) {
			return MinFree{}, refused
		}
		return m, nil
	}
	if m.Bytes = parseSize(s); m.Bytes == 0 {
		return MinFree{}, refused
	}
	return m, nil
}

// overcommit reads the parameter overcommit; 0 means no limit.
func overcommit(params map[string]string) (float64, error) {
	s := params["overcommit"]
	if s == "" {
		return 0, nil
	}
	factor, err := strconv.ParseFloat(s, 64)
	if err != nil || !(factor > 0 && factor <= maxOvercommit) {
		return 0, wrap("overcommit", fmt.Errorf(`%q is not allowed; a number above 0 and up to %d is allowed, such as "1.5"`, s, maxOvercommit))
	}
	return factor, nil
}

const maxOvercommit = 1000

// size is a number with a unit, as Kubernetes writes quantities.
var size = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?)(Ki|Mi|Gi|Ti|Pi|k|M|G|T|P)?$`)

// parseSize returns the bytes of a size, rounded up, or 0 if s is none or more than any share has.
func parseSize(s string) uint64 {
	parts := size.FindStringSubmatch(s)
	if parts == nil {
		return 0
	}
	n, err := strconv.ParseFloat(parts[1], 64)
	if err != nil {
		return 0
	}
	base, units := 1000., "kMGTP"
	if strings.HasSuffix(parts[2], "i") {
		base, units = 1024, "KMGTP"
	}
	if parts[2] != "" {
		n *= math.Pow(base, float64(1+strings.IndexByte(units, parts[2][0])))
	}
	if n >= 1<<63 {
		return 0
	}
	return uint64(math.Ceil(n))
}

// FormatSize writes a number of bytes for people, as Kubernetes writes quantities, with one decimal.
func FormatSize(bytes float64) string {
	units := []string{"", "Ki", "Mi", "Gi", "Ti", "Pi"}
	i := 0
	for ; bytes >= 1024 && i < len(units)-1; i++ {
		bytes /= 1024
	}
	if i == 0 {
		return fmt.Sprintf("%.0f", bytes)
	}
	return fmt.Sprintf("%.1f%s", bytes, units[i])
}
