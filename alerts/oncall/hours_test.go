package oncall

import (
	"strings"
	"testing"
)

func TestActiveHours(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ text, inside, outside string }{
		{"Mon-Fri 08:00-20:00 Europe/Berlin", "2026-11-20T07:00Z", "2026-11-20T06:59Z"},
		{"Mon-Fri 08:00-20:00 Europe/Berlin", "2026-11-20T18:59Z", "2026-11-20T19:00Z"},
		{"Mon-Fri 08:00-20:00 Europe/Berlin", "2026-07-20T06:00Z", "2026-11-21T10:00Z"},
		{"mon-fri 08:00-20:00", "2026-11-20T08:00Z", "2026-11-20T20:00Z"},
		{"Fri 22:00-06:00", "2026-11-21T05:59Z", "2026-11-22T05:59Z"}, // the night from Friday
		{"Sat,Sun", "2026-11-22T23:59Z", "2026-11-23T00:00Z"},
		{"Fri-Mon", "2026-11-23T12:00Z", "2026-11-24T12:00Z"},
		{"08:00-24:00 Asia/Kathmandu", "2026-11-20T02:15Z", "2026-11-20T02:14Z"},
		{"Sunday Pacific/Auckland", "2026-11-21T11:00Z", "2026-11-22T11:00Z"},
		{" daily  09:00-10:00  UTC ", "2026-11-20T09:00Z", "2026-11-20T10:00Z"},
	} {
		a, err := ParseActive(c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		if !a.Contains(at(t, c.inside)) || a.Contains(at(t, c.outside)) {
			t.Errorf("%s: %s %v, %s %v", c.text, c.inside, a.Contains(at(t, c.inside)), c.outside, a.Contains(at(t, c.outside)))
		}
		if again, err := ParseActive(a.String()); err != nil || again.String() != a.String() {
			t.Errorf("%s: printed as %q: %v", c.text, a, err)
		}
	}
	always, err := ParseActive(" ")
	if err != nil || !always.Contains(at(t, "2026-11-20T09:00Z")) || always.String() != "" {
		t.Errorf("an empty text: %v", err)
	}
}

func TestWhatAreNoActiveHoursIsRefused(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"Mon-Fri 08:00":                      "have no end",
		"Mon-Fri 8:00-20:00":                 "not a time",
		"Mon-Fri 08:00-08:00":                "same as from",
		"Mon-Fri 24:00-08:00":                "begins at 00:00",
		"Mon-Fri 08:00-20:00 Europe/Nowhere": "unknown time zone",
		"Mon-Fri 08:00-20:00 UTC UTC":        "not understood",
		"Mon-Fry 08:00-20:00":                "not understood",
		"Local":                              "unknown time zone",
		strings.Repeat("Mon ", 60):           "are such as",
	} {
		if _, err := ParseActive(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: got %v, want %q", text, err, want)
		}
	}
}

// FuzzParseActive looks for texts that panic, or that mean something else once printed.
func FuzzParseActive(f *testing.F) {
	f.Add("Mon-Fri 08:00-20:00 Europe/Berlin")
	f.Add("Sat,Sun")
	f.Add("22:00-24:00")
	f.Fuzz(func(t *testing.T, text string) {
		a, err := ParseActive(text)
		if err != nil {
			return
		}
		again, err := ParseActive(a.String())
		if err != nil {
			t.Fatalf("%q: %v", a, err)
		}
		now := at(t, "2026-10-25T00:30Z")
		if a.Contains(now) != again.Contains(now) {
			t.Errorf("%q and %q differ", text, a)
		}
	})
}

func TestQuietHoursThatTouchAreOne(t *testing.T) {
	t.Parallel()
	p := Person{Name: "Ada", QuietHours: []Hours{{Days: "Sat,Sun", From: "00:00", To: "24:00"}, {From: "22:00", To: "07:00"}}}
	valid(t, p)
	until, held := p.Quiet(at(t, "2026-11-20T23:00Z")) // a Friday
	if !held || !until.Equal(at(t, "2026-11-23T07:00Z")) {
		t.Errorf("held %v until %s", held, until)
	}
	if until, held := (Person{}).Quiet(at(t, "2026-11-20T23:00Z")); held {
		t.Errorf("without quiet hours: held until %s", until)
	}
}

func TestDigestTimes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		digest      Digest
		after, want string
	}{
		{Digest{}, "2026-11-20T07:29Z", "2026-11-20T07:30Z"},
		{Digest{}, "2026-11-20T07:30Z", "2026-11-23T07:30Z"}, // over the weekend
		{Digest{}, "2026-10-23T12:00Z", "2026-10-26T07:30Z"}, // and a clock change
		{Digest{Days: Daily}, "2026-11-20T07:30Z", "2026-11-21T07:30Z"},
		{Digest{Days: Weekly, At: "10:00"}, "2026-11-20T07:30Z", "2026-11-23T09:00Z"},
		{Digest{Days: Daily, At: "02:30"}, "2026-03-28T12:00Z", "2026-03-29T01:00Z"}, // in the gap
		{Digest{Days: Daily, At: "02:30"}, "2026-10-25T00:30Z", "2026-10-26T01:30Z"}, // once in the repeated hour
	} {
		team := Team{Name: "shop", Zone: "Europe/Berlin", Digest: c.digest}
		valid(t, team)
		if got := team.NextDigest(at(t, c.after)); !got.Equal(at(t, c.want)) {
			t.Errorf("%+v after %s: got %s, want %s", c.digest, c.after, got, c.want)
		}
	}
	if got := (Team{Digest: Digest{Days: Off}}).NextDigest(at(t, "2026-11-20T07:30Z")); !got.IsZero() {
		t.Errorf("a digest that is off is due at %s", got)
	}
}

func TestTeamsAndPeopleNameWhatIsWrong(t *testing.T) {
	t.Parallel()
	for want, d := range map[string]interface{ Validate() error }{
		"name: is":              Team{},
		"name: has":             Team{Name: strings.Repeat("x", 201)},
		"id: ":                  Team{ID: strings.Repeat("x", 101), Name: "x"},
		"zone: unknown":         Team{Name: "x", Zone: "Local"},
		"quiet_hours[0].from: ": Team{Name: "x", QuietHours: []Hours{{From: "", To: "07:00"}}},
		"quiet_hours: nothing":  Team{Name: "x", QuietHours: []Hours{{From: "22:00", To: "07:00"}, {From: "07:00", To: "22:00"}}},
		"digest.at: ":           Team{Name: "x", Digest: Digest{At: "24:00"}},
		"digest.days: ":         Team{Name: "x", Digest: Digest{Days: "monthly"}},
		"members[0]: ":          Team{Name: "x", Members: []string{""}},
		"email: ":               Person{Name: "x", Email: "ada at example.com"},
		"contacts[0].receiver:": Person{Name: "x", Contacts: []Contact{{}}},
		"contacts: more":        Person{Name: "x", Contacts: make([]Contact, 11)},
	} {
		if err := d.Validate(); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	valid(t, Person{Name: "Ada", Email: "ada@example.com"})
}
