package rule

import (
	"encoding/json"
	"math/rand/v2"
	"testing"
)

func TestAHistoryCountsAsIfItKeptEverySlot(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	for range 300 {
		var h History
		seen, bad := map[int64]bool{}, map[int64]bool{}
		slot := int64(1000)
		for range 200 {
			slot += pick[int64](r, 1, 1, 1, 2, 5, 63, 64, 65, 130, 255, 256, 300)
			isBad := r.IntN(2) == 0
			h.add(slot, isBad)
			seen[slot], bad[slot] = true, isBad
			n := 1 + r.Int64N(maxSlots)
			wantBad, wantAll := 0, 0
			for k := slot - n + 1; k <= slot; k++ {
				if seen[k] {
					wantAll++
				}
				if bad[k] {
					wantBad++
				}
			}
			if gotBad, gotAll := h.count(n); gotBad != wantBad || gotAll != wantAll {
				t.Fatalf("slot %d, the last %d: %d of %d, want %d of %d", slot, n, gotBad, gotAll, wantBad, wantAll)
			}
			var again History
			if err := json.Unmarshal(mustJSON(t, h), &again); err != nil || again != h {
				t.Fatalf("read %+v, wrote %+v: %v", again, h, err)
			}
		}
	}
}

func TestAHistoryOfALongerIntervalBeginsAnew(t *testing.T) {
	var h History
	h.add(1000, true)
	h.add(100, false)
	if bad, all := h.count(maxSlots); bad != 0 || all != 1 {
		t.Errorf("%d of %d", bad, all)
	}
}

func TestOnlyTheNewestInstantsAreRemembered(t *testing.T) {
	var l Times
	for i := range int64(12) {
		l.add(100+i, 1000)
	}
	if l.N != maxMemory || l.At[0] != 104 || l.At[7] != 111 {
		t.Errorf("%+v", l)
	}
	l.add(1106, 1000) // 104 to 106 are as old as the window
	if want := (Times{At: [maxMemory]int64{107, 108, 109, 110, 111, 1106}, N: 6}); l != want {
		t.Errorf("%+v", l)
	}
}

func TestAStateThatIsNoneIsNotRead(t *testing.T) {
	for _, text := range []string{
		`{"status":"fine"}`, `{"last":"X"}`, `{"last":"BB"}`, `{"onsets":"x"}`, `{"history":{"seen":["1","1","1","1","1"]}}`,
		`{"history":{"seen":["x"]}}`, `{"history":{"bad":["x"]}}`, `{"history":3}`,
	} {
		var s State
		if err := json.Unmarshal([]byte(text), &s); err == nil {
			t.Errorf("%s is read as %+v", text, s)
		}
	}
}

// verdictMix is a history in which every state and overlay occurs.
var verdictMix = func() []Observation {
	var out []Observation
	for _, c := range "OOOBBBBBBBGGBOOONNBBOOOOOOOOEEEEEEEEHHIIIBBBBOBOBOBOOOOOOOOOBBBBBBBOOOOOOOOO" {
		out = append(out, Observation{Verdict(c), 0.1})
	}
	return out
}()

func TestStepDoesNotAllocate(t *testing.T) {
	for _, params := range []string{"default", "ratio=0.5 for=10m"} {
		m, _ := machine(t, params)
		var s State
		events := make([]Event, 0, 16)
		slot := int64(base)
		n := testing.AllocsPerRun(2000, func() {
			for _, o := range verdictMix {
				slot += 60
				events = Step(&m, &s, o, slot, events[:0])
			}
		})
		if n != 0 {
			t.Errorf("%s: %v allocations", params, n)
		}
	}
}

func BenchmarkStep(b *testing.B) {
	for _, params := range []string{"default", "ratio=0.5 for=10m"} {
		b.Run(params, func(b *testing.B) {
			m, _ := machine(b, params)
			var s State
			events := make([]Event, 0, 16)
			slot := int64(base)
			k := 0
			b.ReportAllocs()
			for b.Loop() {
				slot += 60
				events = Step(&m, &s, verdictMix[k], slot, events[:0])
				if k++; k == len(verdictMix) {
					k = 0
				}
			}
		})
	}
}
