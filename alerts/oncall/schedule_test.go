package oncall

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func at(t testing.TB, text string) time.Time {
	t.Helper()
	v, err := time.Parse("2006-01-02T15:04Z07:00", text)
	if err != nil {
		t.Fatal(err)
	}
	return v.UTC()
}

func valid(t testing.TB, d interface{ Validate() error }) {
	t.Helper()
	if err := d.Validate(); err != nil {
		t.Fatal(err)
	}
}

// shiftTexts are shifts as "person from–to".
func shiftTexts(shifts []Shift) []string {
	var texts []string
	for _, s := range shifts {
		texts = append(texts, s.Person+" "+s.From.UTC().Format("01-02T15:04")+" "+s.To.UTC().Format("01-02T15:04"))
	}
	return texts
}

// mondays is the schedule of the vectors R14 and R15.
func mondays() Schedule {
	return Schedule{Name: "primary", Layers: []Layer{{
		Name: "weeks", Zone: "Europe/Berlin", Start: "2026-10-19", Every: Weekly, Weekday: "Mon", Handover: "09:00",
		People: []string{"ada", "bob"},
	}}}
}

func TestVectors(t *testing.T) {
	t.Parallel()
	t.Run("R13 quiet hours last as long as the night", func(t *testing.T) {
		t.Parallel()
		team := Team{Name: "shop", Zone: "Europe/Berlin", QuietHours: []Hours{{From: "22:00", To: "07:00"}}}
		valid(t, team)
		for from, until := range map[string]string{
			"2026-10-24T20:00Z": "2026-10-25T06:00Z", // 10 h
			"2026-10-24T21:00Z": "2026-10-25T06:00Z",
			"2026-10-25T05:59Z": "2026-10-25T06:00Z",
			"2026-10-25T21:00Z": "2026-10-26T06:00Z", // 9 h
			"2026-03-28T21:00Z": "2026-03-29T05:00Z", // 8 h
		} {
			if got, held := team.Quiet(at(t, from)); !held || !got.Equal(at(t, until)) {
				t.Errorf("%s: held %v until %s, want until %s", from, held, got, until)
			}
		}
		for _, awake := range []string{"2026-10-24T19:59Z", "2026-10-25T06:00Z", "2026-10-25T20:59Z", "2026-10-26T06:00Z"} {
			if until, held := team.Quiet(at(t, awake)); held {
				t.Errorf("%s: held until %s", awake, until)
			}
		}
	})
	t.Run("R14 hand-over follows the clock on the wall", func(t *testing.T) {
		t.Parallel()
		s := mondays()
		valid(t, s)
		got, ok := s.OnCall(at(t, "2026-10-26T07:30Z"))
		want := Shift{Person: "ada", From: at(t, "2026-10-19T07:00Z"), To: at(t, "2026-10-26T08:00Z"), Layer: "weeks"}
		if diff := cmp.Diff(want, got); !ok || diff != "" {
			t.Error(ok, diff)
		}
		if length := got.To.Sub(got.From); length != (7*24+1)*time.Hour {
			t.Errorf("the shift lasts %s", length)
		}
		if got, _ := s.OnCall(at(t, "2026-10-26T08:00Z")); got.Person != "bob" {
			t.Errorf("after the hand-over: %+v", got)
		}
	})
	t.Run("R15 an override wins", func(t *testing.T) {
		t.Parallel()
		s := mondays()
		s.Overrides = []Override{{Person: "x", From: at(t, "2026-10-26T07:00Z"), To: at(t, "2026-10-26T08:00Z"), By: "ada"}}
		valid(t, s)
		got, ok := s.OnCall(at(t, "2026-10-26T07:30Z"))
		want := Shift{Person: "x", From: at(t, "2026-10-26T07:00Z"), To: at(t, "2026-10-26T08:00Z"), Override: true}
		if diff := cmp.Diff(want, got); !ok || diff != "" {
			t.Error(ok, diff)
		}
		before, _ := s.OnCall(at(t, "2026-10-26T06:59Z"))
		if want := at(t, "2026-10-26T07:00Z"); before.Person != "ada" || !before.To.Equal(want) {
			t.Errorf("before the override: %+v", before)
		}
	})
}

func TestHandOversAcrossClockChanges(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		layer    Layer
		from, to string
		want     []string
	}{
		{
			"daily in spring: 23 hours",
			Layer{Zone: "America/Chicago", Start: "2017-03-10", Every: Daily, Handover: "08:00"},
			"2017-03-11T14:00Z", "2017-03-13T13:00Z",
			[]string{"b 03-11T14:00 03-12T13:00", "c 03-12T13:00 03-13T13:00"},
		},
		{
			"daily in autumn: 25 hours",
			Layer{Zone: "America/Chicago", Start: "2017-11-03", Every: Daily, Handover: "08:00"},
			"2017-11-04T13:00Z", "2017-11-06T14:00Z",
			[]string{"b 11-04T13:00 11-05T14:00", "c 11-05T14:00 11-06T14:00"},
		},
		{
			"every second day in spring",
			Layer{Zone: "America/Chicago", Start: "2017-03-11", Every: Daily, Interval: 2, Handover: "08:00"},
			"2017-03-11T14:00Z", "2017-03-15T13:00Z",
			[]string{"a 03-11T14:00 03-13T13:00", "b 03-13T13:00 03-15T13:00"},
		},
		{
			"weekly in spring",
			Layer{Zone: "America/Chicago", Start: "2017-03-10", Every: Weekly, Handover: "08:00"},
			"2017-03-10T14:00Z", "2017-03-24T13:00Z",
			[]string{"a 03-10T14:00 03-17T13:00", "b 03-17T13:00 03-24T13:00"},
		},
		{
			"every second week in autumn",
			Layer{Zone: "America/Chicago", Start: "2017-11-04", Every: Weekly, Interval: 2, Handover: "08:00"},
			"2017-11-04T13:00Z", "2017-12-02T14:00Z",
			[]string{"a 11-04T13:00 11-18T14:00", "b 11-18T14:00 12-02T14:00"},
		},
		{
			"monthly on the 31st is the last of the month",
			Layer{Zone: "Europe/Berlin", Start: "2027-12-31", Every: Monthly, Day: 31},
			"2027-12-31T08:00Z", "2028-04-30T07:00Z",
			[]string{"a 12-31T08:00 01-31T08:00", "b 01-31T08:00 02-29T08:00", "c 02-29T08:00 03-31T07:00", "a 03-31T07:00 04-30T07:00"},
		},
		{
			"a hand-over in the gap is at its end",
			Layer{Zone: "Europe/Berlin", Start: "2026-03-27", Every: Daily, Handover: "02:30"},
			"2026-03-28T01:30Z", "2026-03-30T00:30Z",
			[]string{"b 03-28T01:30 03-29T01:00", "c 03-29T01:00 03-30T00:30"},
		},
		{
			"a layer that begins in the gap",
			Layer{Zone: "Europe/Berlin", Start: "2026-03-29", Every: Daily, Handover: "02:30"},
			"2026-03-28T00:00Z", "2026-03-30T00:30Z",
			[]string{"a 03-29T01:00 03-30T00:30"},
		},
		{
			"a hand-over in the repeated hour is at the first",
			Layer{Zone: "Europe/Berlin", Start: "2026-10-24", Every: Daily, Handover: "02:30"},
			"2026-10-24T00:30Z", "2026-10-26T01:30Z",
			[]string{"a 10-24T00:30 10-25T00:30", "b 10-25T00:30 10-26T01:30"},
		},
		{
			"half an hour's change",
			Layer{Zone: "Australia/Lord_Howe", Start: "2026-10-03", Every: Daily, Handover: "02:10"},
			"2026-10-02T15:40Z", "2026-10-04T15:10Z",
			[]string{"a 10-02T15:40 10-03T15:30", "b 10-03T15:30 10-04T15:10"},
		},
		{
			"a day that is left out",
			Layer{Zone: "Pacific/Apia", Start: "2011-12-28", Every: Daily, Handover: "09:00"},
			"2011-12-28T19:00Z", "2011-12-31T19:00Z",
			[]string{"a 12-28T19:00 12-29T19:00", "b 12-29T19:00 12-30T10:00", "c 12-30T10:00 12-30T19:00", "a 12-30T19:00 12-31T19:00"},
		},
		{
			"a turn of which nothing is left",
			Layer{Zone: "Pacific/Apia", Start: "2011-12-28", Every: Daily, Handover: "00:00"},
			"2011-12-28T10:00Z", "2011-12-31T10:00Z",
			[]string{"a 12-28T10:00 12-29T10:00", "b 12-29T10:00 12-30T10:00", "a 12-30T10:00 12-31T10:00"},
		},
		{
			"the first turn is what is left of a week",
			Layer{Start: "2026-10-21", Every: Weekly, Weekday: "Mon"},
			"2026-10-20T00:00Z", "2026-11-02T09:00Z",
			[]string{"a 10-21T09:00 10-26T09:00", "b 10-26T09:00 11-02T09:00"},
		},
		{
			"the first turn is what is left of a month",
			Layer{Start: "2026-10-21", Every: Monthly, Day: 31},
			"2026-10-20T00:00Z", "2026-11-30T09:00Z",
			[]string{"a 10-21T09:00 10-31T09:00", "b 10-31T09:00 11-30T09:00"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.layer.Name, c.layer.People = "layer", []string{"a", "b", "c"}
			s := Schedule{Name: "s", Layers: []Layer{c.layer}}
			valid(t, s)
			got := s.Shifts(at(t, c.from), at(t, c.to))
			if diff := cmp.Diff(c.want, shiftTexts(got)); diff != "" {
				t.Error(diff)
			}
			for _, shift := range got {
				middle, ok := s.OnCall(shift.From.Add(shift.To.Sub(shift.From) / 2))
				if diff := cmp.Diff(shift, middle); !ok || diff != "" {
					t.Error(ok, diff)
				}
			}
		})
	}
}

func TestLaterLayersAndOverridesWin(t *testing.T) {
	t.Parallel()
	s := Schedule{Name: "s", Layers: []Layer{
		{Name: "base", Zone: "UTC", Start: "2026-11-02", Every: Weekly, People: []string{"a", "b"}},
		{
			Name: "office", Zone: "Europe/Berlin", Start: "2026-11-01", Every: Daily, People: []string{"c"},
			Restrictions: []Hours{{Days: "Mon-Fri", From: "10:00", To: "18:00"}, {Days: "Sat", From: "10:00", To: "12:00"}},
		},
	}, Overrides: []Override{
		{Person: "x", From: at(t, "2026-11-05T12:00Z"), To: at(t, "2026-11-05T20:00Z")},
		{Person: "y", From: at(t, "2026-11-05T14:00Z"), To: at(t, "2026-11-05T15:00Z")},
		{Person: "z", From: at(t, "2026-11-05T14:30Z"), To: at(t, "2026-11-05T21:00Z")},
	}}
	valid(t, s)
	got := shiftTexts(s.Shifts(at(t, "2026-11-05T00:00Z"), at(t, "2026-11-08T00:00Z")))
	want := []string{
		"a 11-05T00:00 11-05T09:00", "c 11-05T09:00 11-05T12:00", "x 11-05T12:00 11-05T14:00",
		"y 11-05T14:00 11-05T14:30", "z 11-05T14:30 11-05T21:00", "a 11-05T21:00 11-06T09:00",
		"c 11-06T09:00 11-06T17:00", "a 11-06T17:00 11-07T09:00", "c 11-07T09:00 11-07T11:00", "a 11-07T11:00 11-08T00:00",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestGapsAreWhereNobodyIsOnCall(t *testing.T) {
	t.Parallel()
	s := Schedule{Name: "s", Layers: []Layer{{
		Name: "nights", Zone: "Europe/Berlin", Start: "2026-10-23", Every: Daily, Handover: "12:00", People: []string{"a", "b"},
		Restrictions: []Hours{{From: "22:00", To: "07:00"}},
	}}}
	valid(t, s)
	span := func(from, to string) Span { return Span{at(t, from), at(t, to)} }
	want := []Span{
		span("2026-10-24T12:00Z", "2026-10-24T20:00Z"), span("2026-10-25T06:00Z", "2026-10-25T21:00Z"), span("2026-10-26T06:00Z", "2026-10-26T12:00Z"),
	}
	if diff := cmp.Diff(want, s.Gaps(at(t, "2026-10-24T12:00Z"), at(t, "2026-10-26T12:00Z"))); diff != "" {
		t.Error(diff)
	}
	if got, ok := s.OnCall(at(t, "2026-10-24T19:59Z")); ok {
		t.Errorf("in the gap: %+v", got)
	}
	night, ok := s.OnCall(at(t, "2026-10-25T03:00Z"))
	if want := (Shift{Person: "b", From: at(t, "2026-10-24T20:00Z"), To: at(t, "2026-10-25T06:00Z"), Layer: "nights"}); !ok || night != want {
		t.Errorf("got %+v, want %+v", night, want)
	}
	if _, ok := (Schedule{}).OnCall(at(t, "2026-10-25T03:00Z")); ok {
		t.Error("an empty schedule has somebody on call")
	}
}

func TestSchedulesNameWhatIsWrong(t *testing.T) {
	t.Parallel()
	layer := func(change func(*Layer)) Schedule {
		s := mondays()
		change(&s.Layers[0])
		return s
	}
	override := func(o Override) Schedule {
		s := mondays()
		s.Overrides = []Override{o}
		return s
	}
	from := at(t, "2026-10-26T07:00Z")
	for want, s := range map[string]Schedule{
		"name: ":                          {},
		"layers[0].name: ":                layer(func(l *Layer) { l.Name = " " }),
		"layers[0].zone: ":                layer(func(l *Layer) { l.Zone = "Europe/Nowhere" }),
		"layers[0].start: ":               layer(func(l *Layer) { l.Start = "2026-02-30" }),
		"layers[0].every: ":               layer(func(l *Layer) { l.Every = "hourly" }),
		"layers[0].interval: ":            layer(func(l *Layer) { l.Interval = -1 }),
		"layers[0].handover: ":            layer(func(l *Layer) { l.Handover = "9:00" }),
		"layers[0].weekday: ":             layer(func(l *Layer) { l.Weekday = "Mo" }),
		"layers[0].day: ":                 layer(func(l *Layer) { l.Every, l.Day = Monthly, 32 }),
		"layers[0].people: ":              layer(func(l *Layer) { l.People = nil }),
		"layers[0].people[1]: ":           layer(func(l *Layer) { l.People[1] = "" }),
		"layers[0].restrictions[0].to: ":  layer(func(l *Layer) { l.Restrictions = []Hours{{From: "09:00", To: "09:00"}} }),
		"layers[0].restrictions[0].days:": layer(func(l *Layer) { l.Restrictions = []Hours{{Days: "Mon-", From: "09:00", To: "10:00"}} }),
		"layers[1].name: ":                {Name: "twice", Layers: append(mondays().Layers, mondays().Layers...)},
		"overrides[0].person: ":           override(Override{From: from, To: from.Add(time.Hour)}),
		"overrides[0].to: is not":         override(Override{Person: "x", From: from, To: from}),
		"overrides[0].to: is more":        override(Override{Person: "x", From: from, To: from.AddDate(2, 0, 0)}),
	} {
		if err := s.Validate(); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestZeroLengthRestrictionsHoldNever(t *testing.T) {
	t.Parallel()
	s := mondays()
	s.Layers[0].Restrictions = []Hours{{From: "09:00", To: "09:00"}}
	from := at(t, "2026-10-20T00:00Z")
	if got := s.Shifts(from, from.AddDate(0, 1, 0)); got != nil {
		t.Errorf("got %v", got)
	}
}

func TestDefaultsAreMadeExplicit(t *testing.T) {
	t.Parallel()
	got := Schedule{Layers: []Layer{{Start: "2026-10-20", Every: Weekly}, {Start: "2026-10-20", Every: Monthly}}}.WithDefaults()
	want := Schedule{Layers: []Layer{
		{Zone: "UTC", Start: "2026-10-20", Every: Weekly, Interval: 1, Handover: "09:00", Weekday: "Tue"},
		{Zone: "UTC", Start: "2026-10-20", Every: Monthly, Interval: 1, Handover: "09:00", Day: 20},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestShiftsAndOnCallAgree draws schedules and compares the shifts with a slower way to the same
// answer: at each instant the last override, or else the last layer, that has somebody.
func TestShiftsAndOnCallAgree(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		from := time.Date(2026, time.October, 20, 0, 0, 0, 0, time.UTC)
		zones := []string{"UTC", "Europe/Berlin", "Australia/Lord_Howe", "America/Havana", "Asia/Kathmandu"}
		clock := rapid.SampledFrom([]string{"00:00", "00:30", "02:00", "02:30", "09:00", "23:30"})
		hours := rapid.Custom(func(t *rapid.T) Hours {
			return Hours{
				Days: rapid.SampledFrom([]string{"", "Mon-Fri", "Sat,Sun", "Fri-Mon"}).Draw(t, "days"),
				From: clock.Draw(t, "from"), To: rapid.SampledFrom([]string{"07:00", "01:30", "18:00", "24:00"}).Draw(t, "to"),
			}
		})
		s := Schedule{Name: "drawn"}
		for i := range rapid.IntRange(0, 4).Draw(t, "layers") {
			s.Layers = append(s.Layers, Layer{
				Name: string(rune('A' + i)), Zone: rapid.SampledFrom(zones).Draw(t, "zone"),
				Start:        from.AddDate(0, 0, rapid.IntRange(-40, 10).Draw(t, "start")).Format(time.DateOnly),
				Every:        rapid.SampledFrom([]string{Daily, Weekly, Monthly}).Draw(t, "every"),
				Interval:     rapid.IntRange(1, 3).Draw(t, "interval"),
				Handover:     clock.Draw(t, "handover"),
				People:       rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c"}), 1, 3).Draw(t, "people"),
				Restrictions: rapid.SliceOfN(hours, 0, 2).Draw(t, "restrictions"),
			})
		}
		minutes := rapid.IntRange(0, 20*24*60)
		for range rapid.IntRange(0, 5).Draw(t, "overrides") {
			begin := from.Add(time.Duration(minutes.Draw(t, "begin")) * time.Minute)
			s.Overrides = append(s.Overrides, Override{
				Person: rapid.SampledFrom([]string{"x", "y"}).Draw(t, "person"),
				From:   begin, To: begin.Add(time.Duration(minutes.Draw(t, "length")+1) * time.Minute),
			})
		}
		if err := s.Validate(); err != nil {
			t.Fatal(err)
		}
		to := from.AddDate(0, 0, 20)
		shifts := s.Shifts(from, to)
		for i, shift := range shifts {
			if !shift.From.Before(shift.To) || shift.From.Before(from) || shift.To.After(to) || i > 0 && shift.From.Before(shifts[i-1].To) {
				t.Fatalf("shift %d of %v", i, shifts)
			}
		}
		table := s.compile()
		for range 50 {
			at := from.Add(time.Duration(minutes.Draw(t, "at")) * time.Minute)
			if !at.Before(to) {
				continue
			}
			want, wantOK := Shift{}, false
			for _, l := range table.layers {
				if found := l.shifts(at, at.Add(1)); len(found) > 0 {
					want, wantOK = found[0], true
				}
			}
			for _, o := range s.Overrides {
				if (Span{o.From, o.To}).Contains(at) {
					want, wantOK = Shift{Person: o.Person, Override: true}, true
				}
			}
			got, ok := s.OnCall(at)
			if ok != wantOK || got.Person != want.Person || got.Layer != want.Layer || got.Override != want.Override {
				t.Fatalf("%s: on call is %+v (%v), want %+v (%v)", at, got, ok, want, wantOK)
			}
			var listed Shift
			for _, shift := range shifts {
				if (Span{shift.From, shift.To}).Contains(at) {
					listed = shift
				}
			}
			if listed.Person != got.Person || ok && (listed.From.After(got.From) && listed.From != from || listed.To.Before(got.To) && listed.To != to) {
				t.Fatalf("%s: on call is %+v, listed is %+v", at, got, listed)
			}
		}
	})
}
