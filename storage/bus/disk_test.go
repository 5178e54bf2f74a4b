package bus

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestShareOfTheDisk(t *testing.T) {
	t.Parallel()
	const gib = 1 << 30
	wanted := []int64{8 * gib, 8 * gib, 8 * gib, 8 * gib, gib}
	f := func(name string, held []int64, free, reserve int64, want []int64) {
		t.Helper()
		if diff := cmp.Diff(want, share(wanted, held, free, reserve)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	none := make([]int64, 5)
	f("a large disk", none, 100*gib, gib/2, wanted)
	f("just enough", none, 66*gib, 0, wanted)
	f("a half of it", none, 33*gib+gib/2, gib/2, []int64{4 * gib, 4 * gib, 4 * gib, 4 * gib, gib / 2})
	f("no room", none, 0, gib/2, []int64{minStreamBytes, minStreamBytes, minStreamBytes, minStreamBytes, minStreamBytes})
	// What is held counts as room, and stays.
	f("full of our own", []int64{4 * gib, 0, 0, 0, 0}, 29*gib, 0, []int64{4 * gib, 4 * gib, 4 * gib, 4 * gib, gib / 2})
	f("no room and much held", []int64{4 * gib, 0, 0, 0, 2 * gib}, 0, 6*gib, []int64{4 * gib, minStreamBytes, minStreamBytes, minStreamBytes, 2 * gib})
}
