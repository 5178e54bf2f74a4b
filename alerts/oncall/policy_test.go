package oncall

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func minutes(n int) Duration { return Duration(time.Duration(n) * time.Minute) }

// pages is the policy of the vector R2.
func pages() Policy {
	step := func(schedule string, wait int) Step {
		return Step{Targets: []Target{{ToSchedule, schedule}}, AckTimeout: minutes(wait)}
	}
	return Policy{
		Name: "pages", Steps: []Step{step("primary", 5), step("secondary", 10), step("lead", 10)}, Loops: 2,
		ExhaustedReceivers: []string{"owners"},
	}
}

// directory has a schedule for each name, in which the person of the same name is always on call.
func directory(names ...string) Directory {
	known := map[string]bool{}
	for _, n := range names {
		known[n] = true
	}
	return Directory{
		Schedule: func(id string) (Schedule, bool) {
			s := Schedule{Layers: []Layer{{Name: "all", Start: "2020-01-01", Every: Daily, People: []string{id}}}}
			if rest, ok := strings.CutPrefix(id, "empty-"); ok {
				return Schedule{Name: rest}, true
			}
			return s, known[id]
		},
		Person: func(id string) (Person, bool) {
			return Person{ID: id, Contacts: []Contact{{"pager-" + id}, {"mail-" + id}}}, known[id]
		},
		Receiver: func(id string) bool { return !strings.HasPrefix(id, "gone") },
	}
}

func TestR2WhenNobodyAcknowledges(t *testing.T) {
	t.Parallel()
	p := pages()
	valid(t, p)
	fired := at(t, "2026-11-21T10:05Z")
	var got []string
	stage, now := Stage{}, fired
	for range 10 {
		plan := p.Plan(stage, now, directory("primary", "secondary", "lead"))
		if len(plan.Recipients) != 1 || len(plan.Warnings) != 0 {
			t.Fatalf("got %+v", plan)
		}
		who := plan.Recipients[0].Receiver
		if plan.Stage.Exhausted {
			who += " exhausted"
		}
		got = append(got, now.Format("15:04")+" "+who)
		stage, now = plan.Next, plan.Due
	}
	want := []string{
		"10:05 pager-primary", "10:10 pager-secondary", "10:20 pager-lead",
		"10:30 pager-primary", "10:35 pager-secondary", "10:45 pager-lead",
		"10:55 owners exhausted", "11:25 owners exhausted", "11:55 owners exhausted", "12:25 owners exhausted",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestR3AfterAnAcknowledgementThatWasForgottenTheNextStepFollows(t *testing.T) {
	t.Parallel()
	if next, _ := pages().Next(Stage{}); next != (Stage{Step: 1}) {
		t.Errorf("got %+v", next)
	}
}

func TestR18NobodyOnCallTellsTheNextStepAtOnce(t *testing.T) {
	t.Parallel()
	p := pages()
	p.Steps[0].Targets[0].ID = "empty-primary"
	now := at(t, "2026-11-21T10:05Z")
	got := p.Plan(Stage{}, now, directory("secondary", "lead"))
	want := Plan{
		Stage:      Stage{Step: 1},
		Recipients: []Recipient{{Receiver: "pager-secondary", Fallbacks: []string{"mail-secondary"}, Person: "secondary", Schedule: "secondary"}},
		Warnings:   []Warning{{Kind: NobodyOnCall, Target: Target{ToSchedule, "empty-primary"}}},
		Next:       Stage{Step: 2}, Due: now.Add(10 * time.Minute),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestOwnersAreToldAtOnceWhenNobodyAtAllIsOnCall(t *testing.T) {
	t.Parallel()
	p := pages()
	for i := range p.Steps {
		p.Steps[i].Targets[0].ID = "empty"
	}
	now := at(t, "2026-11-21T10:05Z")
	got := p.Plan(Stage{}, now, directory())
	if !got.Stage.Exhausted || len(got.Warnings) != 6 || !got.Due.Equal(now.Add(30*time.Minute)) {
		t.Errorf("got %+v", got)
	}
	if diff := cmp.Diff([]Recipient{{Receiver: "owners"}}, got.Recipients); diff != "" {
		t.Error(diff)
	}
	p.ExhaustedReceivers = nil
	if got := p.Plan(Stage{}, now, directory()); len(got.Recipients) != 0 || !got.Next.Exhausted || !got.Due.After(now) {
		t.Errorf("without owners: %+v", got)
	}
}

func TestEachReceiverOfAStepIsToldOnce(t *testing.T) {
	t.Parallel()
	d := directory("ada", "bob")
	person := d.Person
	d.Person = func(id string) (Person, bool) {
		switch id {
		case "mute":
			return Person{ID: id, Contacts: []Contact{{"gone-pager"}}}, true
		case "moved":
			return Person{ID: id, Contacts: []Contact{{"gone-pager"}, {"mail-moved"}, {"mail-moved"}}}, true
		default:
			return person(id)
		}
	}
	p := Policy{Name: "p", Steps: []Step{{Targets: []Target{
		{ToPerson, "ada"},
		{ToSchedule, "ada"},
		{ToReceiver, "slack"},
		{ToPerson, "mute"},
		{ToPerson, "moved"},
		{ToPerson, "nobody"},
		{ToReceiver, "gone"},
		{ToSchedule, "nothing"},
		{ToSchedule, "empty-x"},
	}}}}
	valid(t, p)
	got := p.Plan(Stage{}, at(t, "2026-11-21T10:05Z"), d)
	if diff := cmp.Diff([]Recipient{
		{Receiver: "pager-ada", Fallbacks: []string{"mail-ada"}, Person: "ada"},
		{Receiver: "slack"},
		{Receiver: "mail-moved", Person: "moved"},
	}, got.Recipients); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]Warning{
		{Kind: NoContact, Target: Target{ToPerson, "mute"}},
		{Kind: Unknown, Target: Target{ToPerson, "nobody"}},
		{Kind: Unknown, Target: Target{ToReceiver, "gone"}},
		{Kind: Unknown, Target: Target{ToSchedule, "nothing"}},
		{Kind: NobodyOnCall, Target: Target{ToSchedule, "empty-x"}},
	}, got.Warnings); diff != "" {
		t.Error(diff)
	}
}

func TestAnEscalationGoesOnWhenItsPolicyWasMadeShorter(t *testing.T) {
	t.Parallel()
	p := pages()
	p.Steps = p.Steps[:1]
	for from, want := range map[Stage]Stage{
		{Step: 2}:           {Exhausted: true}, // the second loop's only step is executed, then it is over
		{Step: 2, Loop: 1}:  {Exhausted: true},
		{Loop: 7}:           {Exhausted: true},
		{Exhausted: true}:   {Exhausted: true},
		{Step: -1, Loop: 1}: {Exhausted: true},
		{}:                  {Loop: 1},
		{Step: 0, Loop: 1}:  {Exhausted: true},
	} {
		if got, wait := p.Next(from); got != want || wait <= 0 {
			t.Errorf("%+v: got %+v after %s, want %+v", from, got, wait, want)
		}
	}
	if got := p.Plan(Stage{Step: 2}, at(t, "2026-11-21T10:05Z"), directory("primary")); got.Stage != (Stage{Loop: 1}) {
		t.Errorf("got %+v", got)
	}
}

func TestPoliciesNameWhatIsWrong(t *testing.T) {
	t.Parallel()
	with := func(change func(*Policy)) Policy {
		p := pages()
		change(&p)
		return p
	}
	for want, p := range map[string]Policy{
		"name: ":                       {},
		"steps: are missing":           {Name: "p"},
		"steps: more than 20":          with(func(p *Policy) { p.Steps = make([]Step, 21) }),
		"steps[0].targets: ":           with(func(p *Policy) { p.Steps[0].Targets = nil }),
		"steps[1].targets[0].kind: ":   with(func(p *Policy) { p.Steps[1].Targets[0].Kind = "team" }),
		"steps[1].targets[0].id: ":     with(func(p *Policy) { p.Steps[1].Targets[0].ID = "" }),
		"steps[0].ack_timeout: 1s is ": with(func(p *Policy) { p.Steps[0].AckTimeout = Duration(time.Second) }),
		"loops: ":                      with(func(p *Policy) { p.Loops = 11 }),
		"repeat_exhausted: 25h is not": with(func(p *Policy) { p.RepeatExhausted = minutes(25 * 60) }),
		"exhausted_receivers[0]: ":     with(func(p *Policy) { p.ExhaustedReceivers = []string{""} }),
	} {
		if err := p.Validate(); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestPoliciesAreJSON(t *testing.T) {
	t.Parallel()
	text, err := json.Marshal(pages().WithDefaults())
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{`"ack_timeout":"10m"`, `"repeat_exhausted":"30m"`, `"targets":[{"kind":"schedule","id":"lead"}]`} {
		if !strings.Contains(string(text), part) {
			t.Errorf("%s has no %s", text, part)
		}
	}
	var again Policy
	if err := json.Unmarshal(text, &again); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(pages().WithDefaults(), again); diff != "" {
		t.Error(diff)
	}
	if err := json.Unmarshal([]byte(`{"repeat_exhausted":"soon"}`), &again); err == nil {
		t.Error("a duration that is none is read")
	}
	for d, want := range map[Duration]string{0: "0s", minutes(60): "1h", minutes(90): "1h30m", minutes(20): "20m", Duration(10 * time.Second): "10s"} {
		if d.String() != want {
			t.Errorf("got %s, want %s", d, want)
		}
	}
}
