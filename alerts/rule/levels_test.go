package rule

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// two are the machines of a page after 2 minutes and of a ticket after 1.
func two() []Machine {
	r := Rule{
		ID: "x", Kind: Threshold, RecoverFor: new(Minute),
		Levels: []Level{
			{Fire: ">= 10", Severity: Page, For: new(2 * Minute)},
			{Fire: ">= 5", Severity: Ticket, For: new(Minute)},
		},
	}.WithDefaults()
	return []Machine{r.Machine(0), r.Machine(1)}
}

// story steps both levels; each pair of letters is a slot, such as "BB OB". A pair in parentheses is
// missed. It tells triggers, resolves, and overlays as "02 L1 fire".
func story(t *testing.T, text string) []string {
	t.Helper()
	m, s := two(), make([]State, 2)
	var told []string
	var missed []Missed
	for i, pair := range strings.Fields(text) {
		slot := base + int64(i)*60
		down := pair[0] == '('
		pair = strings.Trim(pair, "()")
		o := []Observation{{Verdict(pair[0]), 1}, {Verdict(pair[1]), 1}}
		if down {
			missed = append(missed, Missed{slot, o})
			continue
		}
		var events []Event
		if missed != nil {
			events = CatchUp(m, s, append(missed, Missed{slot, o}), nil)
			missed = nil
		} else {
			events = StepLevels(m, s, o, slot, nil)
		}
		for _, e := range events {
			switch e.Kind {
			case EventPending, EventRecovering, EventRebound:
				continue
			}
			line := fmt.Sprintf("%02d L%d %s", i, e.Level, e.Kind)
			if e.Muted {
				line += " muted"
			}
			if e.Late {
				line += fmt.Sprintf(" late %02d", (e.Slot-base)/60)
			}
			told = append(told, line)
		}
	}
	return told
}

func TestAHigherLevelMutesTheLowerOnes(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"the ticket is first and resolves aloud", "BB BB BB OO OO", []string{
			"01 L1 fire", "02 L0 fire", "04 L0 resolved", "04 L1 resolved",
		}},
		{"a ticket during a page is muted, and so is its end", "BO BO BB OB OO OO", []string{
			"02 L0 fire", "03 L1 fire muted", "04 L0 resolved", "04 L1 fire", "05 L1 resolved",
		}},
		{"muted for its whole life", "BO BO BB BB BO BO OO OO", []string{
			"02 L0 fire", "03 L1 fire muted", "05 L1 resolved muted", "07 L0 resolved",
		}},
		{"what stays when the page ends is told then", "BO BO BB OB OB OB OO OO", []string{
			"02 L0 fire", "03 L1 fire muted", "04 L0 resolved", "04 L1 fire", "07 L1 resolved",
		}},
		{"a muted second episode is told as one", "BB BB BB OO OO BO BO BB OB OB", []string{
			"01 L1 fire", "02 L0 fire", "04 L0 resolved", "04 L1 resolved",
			"07 L0 reopened", "08 L1 reopened muted", "09 L0 resolved", "09 L1 reopened",
		}},
		{"no data is told once", "BB BB NN NN NN NN NN NN BB", []string{
			"01 L1 fire", "07 L0 nodata_open", "08 L0 nodata_close", "08 L0 fire",
		}},
		{"a catch-up tells the outcome", "OO (BB) (BB) (BB) BB OO OO", []string{
			"04 L0 fire late 03", "04 L1 fire late 02", "06 L0 resolved", "06 L1 resolved",
		}},
		{"a catch-up that unmutes", "BO BO BB BB (OB) (OB) OB", []string{
			"02 L0 fire", "03 L1 fire muted", "06 L0 resolved late 05", "06 L1 fire late 05",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := story(t, c.text); !slices.Equal(got, c.want) {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}

// firing is an instance whose levels are open.
func firing(m []Machine) []State {
	s := make([]State, len(m))
	for i := range 5 {
		StepLevels(m, s, []Observation{{Breach, 7}, {Breach, 7}}, base+int64(i)*60, nil)
	}
	return s
}

func summary(events []Event) string {
	var out []string
	for _, e := range events {
		out = append(out, strings.TrimSpace(fmt.Sprintf("L%d %s %s", e.Level, e.Kind, e.Reason)))
	}
	return strings.Join(out, ", ")
}

func TestWhatIsRemovedResolvesWithItsReason(t *testing.T) {
	m := two()
	for _, reason := range []Reason{RuleRemoved, RulePaused, RuleChanged} {
		s := firing(m)
		got := summary(Remove(s, reason, base+300, nil))
		if want := fmt.Sprintf("L0 resolved %s, L1 resolved %s", reason, reason); got != want {
			t.Errorf("%s, want %s", got, want)
		}
		if s[0].Status != Resolved || s[1].Status != Resolved {
			t.Errorf("%+v", s)
		}
		if again := Remove(s, reason, base+360, nil); len(again) != 0 {
			t.Errorf("removed twice: %s", summary(again))
		}
	}
}

func TestEvidenceThatIsRemovedIsForgottenSilently(t *testing.T) {
	m, s := two(), make([]State, 2)
	StepLevels(m, s, []Observation{{Breach, 7}, {Breach, 7}}, base, nil)
	if events := Remove(s, RulePaused, base+60, nil); len(events) != 0 || s[0].Status != StatusOK || s[1].Status != StatusOK {
		t.Errorf("%s, %+v", summary(events), s)
	}
}

func TestOverlaysCloseWithTheirRule(t *testing.T) {
	m := two()
	for v, want := range map[Verdict]string{None: "L0 nodata_close", Failed: "L0 error_close"} {
		s := make([]State, 2)
		for i := range 8 {
			StepLevels(m, s, []Observation{{v, 0}, {v, 0}}, base+int64(i)*60, nil)
		}
		if got := summary(Remove(s, RuleRemoved, base+600, nil)); got != want {
			t.Errorf("%s, want %s", got, want)
		}
		if s[0].NoData || s[1].NoData || s[0].Error || s[1].Error {
			t.Errorf("%+v", s)
		}
	}
}

func TestAGroupWhoseEntityEndedIsOverWithTheSecondSlot(t *testing.T) {
	for _, policy := range []NoDataPolicy{NoDataKeep, NoDataOK, NoDataBreach} { // whatever its absence would mean
		m := two()
		for i := range m {
			m[i].NoData = policy
		}
		s := firing(m)
		if events := Missing(m, s, true, 15*Minute, base+300, nil); len(events) != 0 {
			t.Errorf("%s: over with the first slot: %s", policy, summary(events))
		}
		got := summary(Missing(m, s, true, 15*Minute, base+360, nil))
		if got != "L0 resolved entity_gone, L1 resolved entity_gone" {
			t.Errorf("%s: %s", policy, got)
		}
		if m[0].NoData != policy {
			t.Errorf("the machine has got the policy %s", m[0].NoData)
		}
	}
}

func TestAGroupThatHadDataAtTheSlotIsNotMissing(t *testing.T) {
	m := two()
	s := firing(m)
	if events := Missing(m, s, true, 15*Minute, base+240, nil); len(events) != 0 {
		t.Error(summary(events))
	}
}

func TestAGroupThatIsMissingClosesUnconfirmed(t *testing.T) {
	m := two()
	s := firing(m)
	for i := range 16 {
		got := summary(Missing(m, s, false, 15*Minute, base+300+int64(i)*60, nil))
		want := ""
		switch i {
		case 5:
			want = "L0 nodata_open"
		case 15:
			want = "L0 nodata_close, L0 resolved data_gone, L1 resolved data_gone"
		}
		if got != want {
			t.Errorf("slot %d: %q, want %q", i, got, want)
		}
	}
}

func TestAGroupIsForgottenOnceNothingOfItMatters(t *testing.T) {
	m := two()
	s := firing(m)
	if Forgettable(&m[0], &s[0], base+30*int64(Day)) {
		t.Error("an open instance may be forgotten")
	}
	Remove(s, EntityGone, base+300, nil)
	if Forgettable(&m[0], &s[0], base+300+int64(Day)-1) || !Forgettable(&m[0], &s[0], base+300+int64(Day)) {
		t.Error("a resolved instance is remembered for a day")
	}
}

func TestTheWorstValueFollowsTheDirection(t *testing.T) {
	for fire, want := range map[string]float64{"> 1": 9, "< 10": 2} {
		m := Rule{Kind: Threshold, RecoverFor: new(Duration(0)), Levels: []Level{{Fire: fire, For: new(Minute)}}}.WithDefaults().Machine(0)
		var s State
		var last Event
		for i, v := range []float64{4, 9, 2, 5} {
			Step(&m, &s, Observation{Breach, v}, base+int64(i)*60, nil)
		}
		for _, e := range Step(&m, &s, Observation{OK, 100}, base+240, nil) {
			last = e
		}
		if last.Kind != EventResolved || last.Worst != want || last.Since != base {
			t.Errorf("%s: %+v, want %v", fire, last, want)
		}
	}
}

func TestARepeatedOrOlderSlotChangesNothing(t *testing.T) {
	m := two()
	s := firing(m)
	before := slices.Clone(s)
	for _, slot := range []int64{base + 240, base + 180, 0, -5} {
		if e := StepLevels(m, s, []Observation{{OK, 0}, {OK, 0}}, slot, nil); len(e) != 0 || !slices.Equal(s, before) {
			t.Errorf("slot %d: %s", slot, summary(e))
		}
	}
}

func TestAStateIsSmallAsJSON(t *testing.T) {
	var s State
	m, _ := machine(t, "default")
	Step(&m, &s, Observation{OK, 0}, base, nil)
	if text := string(mustJSON(t, s)); text != `{"status":"ok","last_slot":1795000020,"last":"O"}` {
		t.Error(text)
	}
}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
