package rule

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// histories is how many random histories each property is tried on.
const histories = 20_000

// history is a random machine and random verdicts in runs of random length.
type history struct {
	seed     uint64
	m        Machine
	verdicts []Verdict
}

func pick[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

func randomHistory(seed uint64) history {
	r := rand.New(rand.NewPCG(seed, 4))
	m := Machine{
		Interval: pick[int64](r, 30, 60, 60, 300), For: pick[int64](r, 0, 60, 90, 180, 300, 600),
		RecoverFor: pick[int64](r, 0, 60, 300), Reopen: pick[int64](r, 0, 600, 900),
		FlapN: pick(r, 2, 3, 8), FlapWindow: 3600, FlapExit: pick[int64](r, 600, 1800),
		RecurN: pick(r, 2, 4, 8), RecurWindow: 3600, NoDataFor: 300, StaleClose: pick[int64](r, 300, 1800),
		ErrorFor: 300, Abandon: 600, CatchUpMax: 3600,
		NoData: pick(r, NoDataKeep, NoDataKeep, NoDataOK, NoDataBreach),
	}
	if r.IntN(3) == 0 {
		m.Share = pick(r, 0.3, 0.5, 0.6, 1)
	}
	h := history{seed: seed, m: m}
	alphabet := pick(r, "OB", "OOOBG", "OOOBBBGNIEH", "OBNH")
	for n := 20 + r.IntN(180); len(h.verdicts) < n; {
		v := Verdict(alphabet[r.IntN(len(alphabet))])
		for range 1 + r.IntN(pick(r, 1, 3, 12)) {
			h.verdicts = append(h.verdicts, v)
		}
	}
	return h
}

func (h history) slot(i int) int64 { return base + int64(i)*h.m.Interval }

func (h history) String() string {
	var b strings.Builder
	for _, v := range h.verdicts {
		b.WriteString(v.String())
	}
	return fmt.Sprintf("seed %d: %+v\n%s", h.seed, h.m, b.String())
}

// run steps the history from a zero state and calls each after every slot.
func (h history) run(each func(i int, s *State, events []Event)) State {
	var s State
	var events []Event
	for i, v := range h.verdicts {
		events = Step(&h.m, &s, Observation{Verdict: v}, h.slot(i), events[:0])
		if each != nil {
			each(i, &s, events)
		}
	}
	return s
}

func forRandomHistories(t *testing.T, n int, check func(t *testing.T, h history)) {
	t.Helper()
	for seed := range uint64(n) {
		check(t, randomHistory(seed))
		if t.Failed() {
			return
		}
	}
}

func TestStepAgreesWithTheReferenceModel(t *testing.T) {
	triggers := 0
	forRandomHistories(t, histories, func(t *testing.T, h history) {
		m := h.m
		model := newModel()
		r := modelRule{
			interval: m.Interval, hold: m.For, recover: m.RecoverFor, reopen: m.Reopen, flapN: m.FlapN, recurN: m.RecurN,
			flapWindow: m.FlapWindow, flapExit: m.FlapExit, recurWindow: m.RecurWindow, nodataFor: m.NoDataFor,
			staleClose: m.StaleClose, errFor: m.ErrorFor, abandon: m.Abandon, ratio: m.Share, nodata: string(m.NoData),
		}
		h.run(func(i int, s *State, events []Event) {
			want := model.step(r, byte(h.verdicts[i]), h.slot(i))
			var got []string
			for _, e := range events {
				name := string(e.Kind)
				if e.Reason != "" {
					name += ":" + string(e.Reason)
				}
				got = append(got, name)
				if e.Kind.Trigger() {
					triggers++
				}
			}
			if !slices.Equal(got, want) || s.Status.String() != model.st || s.Flapping != model.flap ||
				s.Incident != model.inc || s.Episode != model.ep {
				t.Fatalf("%v\nslot %d: got %v %v, want %v %+v", h, i, got, *s, want, *model)
			}
		})
	})
	if triggers < histories/2 {
		t.Errorf("only %d triggers: the histories are too quiet to prove anything", triggers)
	}
}

// evidence is the bad time up to slot i since the last good verdict: slots without a verdict do not
// count. It is computed from the verdicts alone.
func (h history) evidence(i int) int64 {
	slots, first := 0, false
	total := int64(0)
	for k := i; k >= 0; k-- {
		switch v := h.verdicts[k]; {
		case v == OK, v == None && h.m.NoData == NoDataOK:
			return total
		case v == Held, v == Failed, v == Insufficient, v == None && h.m.NoData == NoDataKeep:
			continue
		case v == Grey:
			slots++
		default:
			if first {
				slots++
			}
			first = true
			total = int64(slots) * h.m.Interval
		}
	}
	return total
}

func TestP1NothingTriggersWithoutEnoughEvidence(t *testing.T) {
	forRandomHistories(t, histories, func(t *testing.T, h history) {
		if h.m.Share > 0 {
			return
		}
		h.run(func(i int, _ *State, events []Event) {
			for _, e := range events {
				if e.Kind.Trigger() && h.evidence(i) < h.m.For {
					t.Fatalf("%v\nslot %d: triggered on %d s of evidence", h, i, h.evidence(i))
				}
			}
		})
	})
}

func TestP2TriggersAndResolvesAlternate(t *testing.T) {
	forRandomHistories(t, histories, func(t *testing.T, h history) {
		open, incident, episode := false, 0, 0
		h.run(func(i int, s *State, events []Event) {
			for _, e := range events {
				switch {
				case e.Kind.Trigger():
					next := e.Incident == incident+1 && e.Episode == 1 || e.Incident == incident && e.Episode == episode+1
					if open || !next {
						t.Fatalf("%v\nslot %d: %+v after #%d.%d, open %v", h, i, e, incident, episode, open)
					}
					open, incident, episode = true, e.Incident, e.Episode
				case e.Kind == EventResolved:
					if !open || e.Incident != incident || e.Episode != episode {
						t.Fatalf("%v\nslot %d: %+v after #%d.%d, open %v", h, i, e, incident, episode, open)
					}
					open = false
				}
			}
			if s.Status.Open() != open {
				t.Fatalf("%v\nslot %d: the state is %v, the events say open %v", h, i, s.Status, open)
			}
		})
	})
}

func TestP3ACrashAtAnySlotChangesNothing(t *testing.T) {
	forRandomHistories(t, histories, func(t *testing.T, h history) {
		want := h.run(nil)
		at := int(h.seed) % len(h.verdicts)
		var checkpoint []byte
		h.run(func(i int, s *State, _ []Event) {
			if i == at {
				checkpoint, _ = json.Marshal(s)
			}
		})
		var s State
		if err := json.Unmarshal(checkpoint, &s); err != nil {
			t.Fatal(err)
		}
		// the slots before the checkpoint come again, as they may after a crash
		for i := max(0, at-3); i < len(h.verdicts); i++ {
			Step(&h.m, &s, Observation{Verdict: h.verdicts[i]}, h.slot(i), nil)
		}
		if diff := cmp.Diff(want, s); diff != "" {
			t.Fatalf("%v\n%s", h, diff)
		}
	})
}

func TestP4AnInstanceTriggersAtMostOnceMoreThanItsFlapLimitAnHour(t *testing.T) {
	forRandomHistories(t, histories, func(t *testing.T, h history) {
		h.m.StaleClose = max(h.m.StaleClose, h.m.FlapExit) // data that are gone end the flapping as well
		var at []int64
		h.run(func(i int, _ *State, events []Event) {
			for _, e := range events {
				if e.Kind.Trigger() {
					at = append(at, e.Slot)
				}
			}
			hour := 0
			for _, a := range at {
				if a > h.slot(i)-3600 {
					hour++
				}
			}
			// while it flaps it stays open for FlapExit, so a short exit allows one more each time
			if allowed := h.m.FlapN + int(3600/h.m.FlapExit) - 1; hour > allowed {
				t.Fatalf("%v\nslot %d: %d triggers in an hour, %d are allowed", h, i, hour, allowed)
			}
		})
	})
}

func TestP11HeldSlotsChangeNothingButTheirAge(t *testing.T) {
	forRandomHistories(t, histories, func(t *testing.T, h history) {
		s := h.run(nil)
		before := s
		for k := range 200 {
			for _, e := range Step(&h.m, &s, Observation{Verdict: Held}, h.slot(len(h.verdicts)+k), nil) {
				switch e.Kind {
				case EventInconclusive, EventErrorClose:
				default:
					t.Fatalf("%v\nheld slots made %+v", h, e)
				}
			}
		}
		if before.Status == Pending {
			before.Status = StatusOK
		}
		if s.Status != before.Status || s.Incident != before.Incident || s.Flapping != before.Flapping {
			t.Fatalf("%v\nheld slots turned %+v into %+v", h, before, s)
		}
	})
}

func TestACatchUpEndsInTheStateOfWhoWasNeverDown(t *testing.T) {
	forRandomHistories(t, histories, func(t *testing.T, h history) {
		want := h.run(nil)
		n := len(h.verdicts)
		down := min(n, 1+int(h.seed%uint64(3600/h.m.Interval)))
		m, s := []Machine{h.m}, make([]State, 1)
		told := map[int]bool{} // incidents that were announced and not resolved
		tell := func(events []Event) {
			for _, e := range events {
				switch {
				case e.Kind.Trigger():
					told[e.Incident] = true
				case e.Kind == EventResolved:
					if !told[e.Incident] {
						t.Fatalf("%v\n%d down: %+v resolves what nobody was told", h, down, e)
					}
					delete(told, e.Incident)
				}
			}
		}
		for i := range n - down {
			tell(StepLevels(m, s, []Observation{{Verdict: h.verdicts[i]}}, h.slot(i), nil))
		}
		var missed []Missed
		for i := n - down; i < n; i++ {
			missed = append(missed, Missed{h.slot(i), []Observation{{Verdict: h.verdicts[i]}}})
		}
		tell(CatchUp(m, s, missed, nil))
		if diff := cmp.Diff(want, s[0]); diff != "" {
			t.Fatalf("%v\n%d down: %s", h, down, diff)
		}
		if open := s[0].Status.Open(); len(told) > 1 || open != told[s[0].Incident] {
			t.Fatalf("%v\n%d down: told %v, the state is %v #%d", h, down, told, s[0].Status, s[0].Incident)
		}
	})
}

func TestHeldSlotsStandForThoseThatAreNotGiven(t *testing.T) {
	forRandomHistories(t, 2000, func(t *testing.T, h history) {
		n := len(h.verdicts)
		gap := max(1, n/2)
		m := []Machine{h.m}
		given, silent := make([]State, 1), make([]State, 1)
		for i := range gap {
			o := Observation{Verdict: h.verdicts[i]}
			Step(&h.m, &given[0], o, h.slot(i), nil)
			Step(&h.m, &silent[0], o, h.slot(i), nil)
		}
		held := []Observation{{Verdict: Held}}
		var missed []Missed
		for i := gap; i < n-1; i++ {
			missed = append(missed, Missed{h.slot(i), held})
		}
		last := Missed{h.slot(n - 1), []Observation{{Verdict: Breach}}}
		a := CatchUp(m, given, append(missed, last), nil)
		b := CatchUp(m, silent, []Missed{last}, nil)
		if diff := cmp.Diff(given, silent) + cmp.Diff(a, b); diff != "" {
			t.Fatalf("%v\n%s", h, diff)
		}
	})
}
