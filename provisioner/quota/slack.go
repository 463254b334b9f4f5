package quota

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
)

// Slack is what a volume may hold beyond the size of its claim. The zero Slack is none.
type Slack struct {
	bytes   int64
	percent int64 // of the size
}

// maxPercent bounds a slack in percent.
const maxPercent = 1000

// errSlack says which slacks are allowed.
var errSlack = fmt.Errorf("allowed are sizes such as 100Mi, and percents of the claim's size from 0%% to %d%%", maxPercent)

// ParseSlack parses a size, such as "100Mi", or a percentage, such as "5%". The error says what is
// allowed, without s.
func ParseSlack(s string) (Slack, error) {
	if percent, is := strings.CutSuffix(s, "%"); is {
		n, err := strconv.ParseUint(percent, 10, 16)
		if err != nil || n > maxPercent {
			return Slack{}, errSlack
		}
		return Slack{percent: int64(n)}, nil
	}
	n, err := resource.ParseQuantity(s)
	if err != nil || n.Sign() < 0 || n.Value() > maxLimit {
		return Slack{}, errSlack
	}
	return Slack{bytes: n.Value()}, nil
}

func (s Slack) String() string {
	if s.percent > 0 {
		return fmt.Sprintf("%d%%", s.percent)
	}
	return size(uint64(s.bytes))
}

// maxLimit is the largest limit, in bytes: an exbibyte. Larger claims exist, larger file systems do not.
const maxLimit = 1 << 60

// limit returns the limit in bytes of a volume with a size as a record has it, rounded up to whole
// blocks.
func (s Slack) limit(recorded string, block uint64) (uint64, error) {
	q, err := resource.ParseQuantity(recorded)
	if err != nil || q.Sign() <= 0 {
		return 0, fmt.Errorf("the size in its record, %q, is not a size above 0: mend the record, or expand the claim, which writes it anew", recorded)
	}
	n := new(big.Int).SetInt64(q.Value()) // MaxInt64 if it is larger
	n.Mul(n, big.NewInt(100+s.percent))
	n.Div(n.Add(n, big.NewInt(99)), big.NewInt(100))
	n.Add(n, big.NewInt(s.bytes))
	if n.Cmp(big.NewInt(maxLimit)) >= 0 {
		return maxLimit, nil
	}
	return (n.Uint64() + block - 1) / block * block, nil
}

// size writes bytes for people, as a claim has them.
func size(bytes uint64) string {
	if bytes == 0 {
		return "0"
	}
	return resource.NewQuantity(int64(min(bytes, math.MaxInt64)), resource.BinarySI).String()
}

// errBase says which project ids may come first.
var errBase = errors.New("allowed are 1 to 4294967294")

// CheckBase refuses what cannot be a Config's Base.
func CheckBase(base uint32) error {
	if base == 0 || base == math.MaxUint32 {
		return errBase
	}
	return nil
}
