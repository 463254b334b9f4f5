package usage

import (
	"context"
	"fmt"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"claimdir/provisioner/class"
	"claimdir/provisioner/cluster"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/volume"
)

// ConditionOverSize is the type of the condition of a claim whose directory holds more than its volume's size.
const ConditionOverSize v1.PersistentVolumeClaimConditionType = "claimdir/OverSize"

// Reasons of events on claims.
const (
	eventFillingUp = "VolumeFillingUp"
	eventOverSize  = "VolumeOverSize"
)

// Percentages of a volume's size that people are told of, and by how much the figure must be lower before they
// are told again.
const (
	fillingUp = 80
	overSize  = 100
	rearm     = 5
)

// writeTimeout bounds the calls to the API server for one claim.
const writeTimeout = 10 * time.Second

// level returns which percentage counts as reached, if told counted before: 0, fillingUp or overSize.
func level(told int, percent int64) int {
	reached := func(threshold int) bool {
		return percent >= int64(threshold) || told >= threshold && percent >= int64(threshold-rearm)
	}
	switch {
	case reached(overSize):
		return overSize
	case reached(fillingUp):
		return fillingUp
	}
	return 0
}

// percentOf returns how many hundredths of a size are used; 0 if the size is not known.
func percentOf(bytes, size int64) int64 {
	if size <= 0 {
		return 0
	}
	return int64(float64(bytes) / float64(size) * 100)
}

// tell says on the claim of a volume what was measured, if its class wants that, and notes in f what people are told
// of from now on.
func (m *Measurer) tell(ctx context.Context, f *figures) {
	told := f.Told
	pv, bound := m.boundVolume(*f)
	if !bound {
		f.Told, f.ToldOf = 0, 0
		return
	}
	answer, size := m.answer(pv), pv.Spec.Capacity.Storage().Value()
	if answer == class.Ignore && told == 0 {
		return
	}
	percent, now := percentOf(f.Bytes, size), 0
	if answer != class.Ignore {
		now = f.level(size)
	}
	text := fmt.Sprintf("the directory holds %s, %d %% of the %s that the claim has", atLeast(f.Usage), percent, class.FormatSize(float64(size)))
	if err := m.setCondition(ctx, pv.Spec.ClaimRef, now == overSize, text); err != nil { // it is set when the directory is measured again
		m.say(ctx, "Cannot say in the status of a claim how full its volume is", err)
	}
	if now > told {
		reason, advice := eventFillingUp, "remove data, or request more, if the class allows that"
		if now == overSize {
			reason = eventOverSize
			if answer == class.Freeze {
				advice += "; new claims of this namespace and class wait until then"
			}
		}
		m.config.Tell(claimOf(pv.Spec.ClaimRef), v1.EventTypeWarning, reason, text+": "+advice)
	}
	if f.Told = now; now != told {
		f.ToldOf = size
	}
}

// level is the level of a directory whose volume has a size. Figures that are too small tell nobody that there is room
// again, as long as the volume is not larger: a tenant can make a part of a tree unreadable.
func (f figures) level(size int64) int {
	now := level(f.Told, percentOf(f.Bytes, size))
	if f.AtLeast() && size <= f.ToldOf {
		now = max(now, f.Told)
	}
	return now
}

// boundVolume returns the PersistentVolume of a directory, if it is bound to the claim that its record names.
func (m *Measurer) boundVolume(f figures) (*v1.PersistentVolume, bool) {
	if f.state != ledger.Active {
		return nil, false
	}
	pv, found := m.config.Objects.Volume(f.PV)
	if !found || pv.Status.Phase != v1.VolumeBound || pv.Spec.ClaimRef == nil || string(pv.Spec.ClaimRef.UID) != f.claim.UID {
		return nil, false
	}
	return pv, true
}

// answer is what the class of a PersistentVolume wants. A class that is gone, or has mistakes, wants nothing.
func (m *Measurer) answer(pv *v1.PersistentVolume) class.OverSize {
	sc, found := m.config.Objects.Class(volume.ClassOfPV(pv))
	if !found {
		return class.Ignore
	}
	c, err := m.classes.Parse(string(sc.UID), sc.Parameters)
	if err != nil {
		return class.Ignore
	}
	return c.OnOverSize
}

// atLeast writes how much is used.
func atLeast(u ledger.Usage) string {
	text := class.FormatSize(float64(u.Bytes))
	if u.AtLeast() {
		return "at least " + text
	}
	return text
}

func claimOf(ref *v1.ObjectReference) *v1.PersistentVolumeClaim {
	return &v1.PersistentVolumeClaim{
		TypeMeta:   metav1.TypeMeta{Kind: "PersistentVolumeClaim", APIVersion: "v1"},
		ObjectMeta: metav1.ObjectMeta{Namespace: ref.Namespace, Name: ref.Name, UID: ref.UID},
	}
}

// setCondition sets the condition ConditionOverSize on a claim, or removes it, if the claim does not have it so. A claim
// that is gone needs none. The patch changes this condition alone, whatever else of the claim changes meanwhile.
func (m *Measurer) setCondition(ctx context.Context, ref *v1.ObjectReference, over bool, text string) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	claims := m.config.Client.CoreV1().PersistentVolumeClaims(ref.Namespace)
	claim, err := claims.Get(ctx, ref.Name, metav1.GetOptions{})
	if cluster.IsAbsent(err) || err == nil && (claim.UID != ref.UID || over == hasCondition(claim)) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read claim %s/%s: %w", ref.Namespace, ref.Name, err)
	}
	condition := cluster.WithoutCondition(ConditionOverSize)
	if over {
		condition = map[string]any{
			"type": ConditionOverSize, "status": v1.ConditionTrue, "reason": eventOverSize, "message": text, "lastTransitionTime": metav1.NewTime(m.now()),
		}
	}
	data := cluster.Patch(claimOf(ref), "status", map[string]any{"conditions": []any{condition}})
	if _, err = claims.Patch(ctx, ref.Name, types.StrategicMergePatchType, data, metav1.PatchOptions{}, "status"); err != nil && !cluster.IsAbsent(err) {
		return fmt.Errorf("write the status of claim %s/%s: %w", ref.Namespace, ref.Name, err)
	}
	return nil
}

func hasCondition(claim *v1.PersistentVolumeClaim) bool {
	return slices.ContainsFunc(claim.Status.Conditions, func(c v1.PersistentVolumeClaimCondition) bool { return c.Type == ConditionOverSize })
}

// OverSize returns the claims of a namespace and class that hold more than their volumes' sizes, sorted by name. It
// goes by the last figures, and by the sizes as they are now. known is false until what was measured before has been
// read from the share.
func (m *Measurer) OverSize(namespace, class string) (claims []string, known bool) {
	m.mu.Lock()
	known = m.known != nil
	var found []figures
	for _, f := range m.known {
		if f.Told == overSize && f.claim.Namespace == namespace && f.class == class {
			found = append(found, f)
		}
	}
	m.mu.Unlock()
	for _, f := range found {
		pv, bound := m.boundVolume(f)
		if bound && f.level(pv.Spec.Capacity.Storage().Value()) == overSize {
			claims = append(claims, f.claim.Name)
		}
	}
	slices.Sort(claims)
	return claims, known
}
