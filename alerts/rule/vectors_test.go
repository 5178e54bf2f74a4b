package rule

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// base is 00:00 of the vectors.
const base = 1_795_000_020

// vector is a row of testdata/vectors.md.
type vector struct{ id, about, rule, input, states, notes string }

func readVectors(t testing.TB) []vector {
	t.Helper()
	text, err := os.ReadFile("testdata/vectors.md")
	if err != nil {
		t.Fatal(err)
	}
	var out []vector
	for line := range strings.Lines(string(text)) {
		c := strings.Split(strings.Trim(line, "| \n"), " | ")
		if len(c) == 6 && (strings.HasPrefix(c[0], "V") || strings.HasPrefix(c[0], "W")) {
			out = append(out, vector{c[0], c[1], c[2], strings.Trim(c[3], "`"), c[4], c[5]})
		}
	}
	return out
}

// machine is the default machine of the vectors with what params changes, and its severity.
func machine(t testing.TB, params string) (Machine, Severity) {
	t.Helper()
	r := Rule{
		ID: "x", Kind: Threshold, StaleClose: 30 * Minute,
		Levels: []Level{{Fire: ">= 1", Severity: Page}},
	}
	catchUp := Duration(0)
	for p := range strings.FieldsSeq(params) {
		key, value, _ := strings.Cut(p, "=")
		d, _ := ParseDuration(value)
		switch key {
		case "default":
		case "for":
			r.Levels[0].For = new(d)
		case "recover":
			r.RecoverFor = new(d)
		case "ratio":
			ratio, err := strconv.ParseFloat(value, 64)
			if err != nil {
				t.Fatal(err)
			}
			r.Debounce = Debounce{RatioMode, ratio}
		case "nodata":
			r.NoData = NoDataPolicy(value)
		case "catchup":
			catchUp = d
		case "severity":
			r.Levels[0].Severity = Severity(value)
		default:
			t.Fatalf("unknown parameter %q", key)
		}
	}
	m := r.WithDefaults().Machine(0)
	if catchUp > 0 {
		m.CatchUpMax = int64(catchUp)
	}
	return m, r.Levels[0].Severity
}

// input reads "B3 -O2": verdicts, and whether nobody evaluated.
func input(t testing.TB, text string) (verdicts []Verdict, down []bool) {
	t.Helper()
	for f := range strings.FieldsSeq(text) {
		f, isDown := strings.CutPrefix(f, "-")
		n := 1
		if len(f) > 1 {
			var err error
			if n, err = strconv.Atoi(f[1:]); err != nil {
				t.Fatal(err)
			}
		}
		for range n {
			verdicts, down = append(verdicts, Verdict(f[0])), append(down, isDown)
		}
	}
	return verdicts, down
}

func clock(slot int64) string {
	t := slot - base
	if t >= 3600 {
		return fmt.Sprintf("%d:%02d:%02d", t/3600, t%3600/60, t%60)
	}
	return fmt.Sprintf("%02d:%02d", t/60, t%60)
}

// note is an event as the vectors tell it; "" where nobody is told.
func note(e Event, severity Severity, now int64, replayed bool) string {
	id := fmt.Sprintf(" #%d.%d", e.Incident, e.Episode)
	late := ""
	if replayed {
		id = ""
		late = " late, since " + clock(e.Slot)
	}
	text := ""
	switch e.Kind {
	case EventFire:
		text = string(severity) + " trigger" + id + late
	case EventReopened:
		text = string(severity) + " trigger (reopened)" + id + late
	case EventFlapping:
		text = string(severity) + " trigger (flapping)" + id + late
	case EventResolved:
		switch {
		case replayed:
			text = "resolve late, at " + clock(e.Slot)
		case e.Reason == DataGone:
			text = "resolve (data gone, not confirmed)"
		default:
			text = "resolve" + id
		}
	case EventCameAndWent:
		text = "digest: came and went unseen, " + clock(e.Since) + "–" + clock(e.Slot)
	case EventTransient:
		text = "digest: self-resolved"
	case EventInconclusive:
		text = "digest: inconclusive"
	case EventRecurring:
		text = "ticket recurring transient"
	case EventNoDataOpen:
		text = "ticket no-data"
	case EventNoDataClose:
		text = "ticket no-data closed"
	case EventErrorOpen:
		text = "rule-health ticket"
	case EventErrorClose:
		text = "rule-health closed"
	default:
		return ""
	}
	if e.Slot != now && !strings.Contains(text, "late") && e.Kind != EventCameAndWent {
		text += " (at " + clock(e.Slot) + ")"
	}
	return clock(now) + " " + text
}

// play steps m through input and tells the states and the notifications. between is called after
// each slot.
func play(t testing.TB, m Machine, severity Severity, text string, between func(*State)) (states, notes string) {
	t.Helper()
	verdicts, down := input(t, text)
	var s [1]State
	var told, entered []string
	var missed []Missed
	last := ""
	enter := func(name string, slot int64) {
		if name != last {
			entered = append(entered, name+" "+clock(slot))
			last = name
		}
	}
	for i, v := range verdicts {
		slot := base + int64(i)*m.Interval
		o := Observation{Verdict: v}
		if down[i] {
			missed = append(missed, Missed{slot, []Observation{o}})
			enter("(down)", slot)
			continue
		}
		var events []Event
		replayed := len(missed) > 0
		if replayed {
			events = CatchUp([]Machine{m}, s[:], append(missed, Missed{slot, []Observation{o}}), nil)
			missed = nil
		} else {
			events = Step(&m, &s[0], o, slot, nil)
		}
		for _, e := range events {
			if text := note(e, severity, slot, replayed); text != "" {
				told = append(told, text)
			}
		}
		name := s[0].Status.String()
		if s[0].Flapping {
			name += "*"
		}
		enter(name, slot)
		if between != nil {
			between(&s[0])
		}
	}
	if len(told) == 0 {
		told = []string{"none"}
	}
	return strings.Join(entered, " → "), strings.Join(told, "; ")
}

func TestTheMachineFollowsItsVectors(t *testing.T) {
	vectors := readVectors(t)
	if len(vectors) != 42 {
		t.Fatalf("read %d vectors instead of 42", len(vectors))
	}
	for _, v := range vectors {
		t.Run(v.id, func(t *testing.T) {
			m, severity := machine(t, v.rule)
			states, notes := play(t, m, severity, v.input, nil)
			if diff := cmp.Diff([]string{v.states, v.notes}, []string{states, notes}); diff != "" {
				t.Errorf("%s: %s", v.about, diff)
			}
		})
	}
}

func TestAStateSurvivesBeingWrittenAndReadAfterEverySlot(t *testing.T) {
	for _, v := range readVectors(t) {
		t.Run(v.id, func(t *testing.T) {
			m, severity := machine(t, v.rule)
			states, notes := play(t, m, severity, v.input, func(s *State) {
				text, err := json.Marshal(s)
				if err != nil {
					t.Fatal(err)
				}
				var again State
				if err := json.Unmarshal(text, &again); err != nil {
					t.Fatal(err)
				}
				if again != *s {
					t.Fatalf("read %+v, wrote %+v", again, *s)
				}
				*s = again
			})
			if diff := cmp.Diff([]string{v.states, v.notes}, []string{states, notes}); diff != "" {
				t.Error(diff)
			}
		})
	}
}
