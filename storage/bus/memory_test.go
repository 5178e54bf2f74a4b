package bus

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestMemoryIsTheWindow compares the memory with a list of everything that ever was.
func TestMemoryIsTheWindow(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		window := time.Duration(rapid.IntRange(1, 20).Draw(t, "window"))
		limit := rapid.IntRange(2, 30).Draw(t, "limit")
		least := rapid.IntRange(0, 10).Draw(t, "least")
		longest := window + time.Duration(rapid.IntRange(0, 40).Draw(t, "longest"))
		m := newMemory(window, longest, least, limit)
		var all []met
		now := time.Unix(0, 1000)
		for range rapid.IntRange(0, 200).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(1, 5).Draw(t, "pause")))
			one := id{byte(rapid.IntRange(0, 12).Draw(t, "id"))}
			want := false
			for i, old := range all {
				remembered := len(all)-i < limit && (old.at >= now.UnixNano()-int64(window) || old.at >= now.UnixNano()-int64(longest) && len(all)-i <= least)
				want = want || remembered && old.id == one && one != id{}
			}
			if got := m.repeats(one, now); got != want {
				t.Fatalf("repeats(%v) = %v, want %v", one, got, want)
			}
			if (one != id{}) {
				all = append(all, met{one, now.UnixNano()})
			}
			if len(m.last) > limit || len(m.order) > limit {
				t.Fatalf("%d ids are remembered, the limit is %d", len(m.order), limit)
			}
		}
	})
}
