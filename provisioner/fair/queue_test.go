package fair

import (
	"fmt"
	"slices"
	"testing"
)

func TestNamespacesTakeTurns(t *testing.T) {
	var q Queue[string]
	for i := range 100 {
		q.Push("many", fmt.Sprint("many/", i))
	}
	q.Push("few", "few/a")
	q.Push("few", "few/b")
	var order []string
	for range 5 {
		order = append(order, q.Pop())
	}
	if want := []string{"many/0", "few/a", "many/1", "few/b", "many/2"}; !slices.Equal(order, want) || q.Len() != 97 || q.LenOf("many") != 97 || q.LenOf("few") != 0 {
		t.Errorf("got %q, %d left", order, q.Len())
	}
	for q.Len() > 0 {
		q.Pop()
	}
	if len(q.waiting)+len(q.order) > 0 {
		t.Errorf("remembers %v %v", q.waiting, q.order)
	}
}
