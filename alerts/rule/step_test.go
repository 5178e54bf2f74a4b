package rule

import "testing"

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
