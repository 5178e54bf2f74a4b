package digest

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/midwatch/midwatch/alerts/incident"
	"github.com/midwatch/midwatch/alerts/notify"
	"github.com/midwatch/midwatch/alerts/notify/notifytest"
	"github.com/midwatch/midwatch/alerts/oncall"
	"github.com/midwatch/midwatch/storage/catalog"
)

// morning is when the digest is due: a Monday at 08:30 in Berlin.
var morning = time.Date(2026, 11, 23, 7, 30, 0, 0, time.UTC)

func kept(t testing.TB, project uint32, l incident.Line) catalog.DigestLine {
	t.Helper()
	body, err := json.Marshal(l)
	if err != nil {
		t.Fatal(err)
	}
	return catalog.DigestLine{
		ID: fmt.Sprint(l.Section, l.Text, l.Name, l.From), Organisation: "org", Project: project, Team: "team", At: later(l.To), Section: l.Section, Body: body,
	}
}

// later is when a line was noted.
func later(t time.Time) time.Time {
	if t.IsZero() {
		return morning.Add(-time.Hour)
	}
	return t
}

// weekend is what there is to tell of a weekend.
func weekend(t testing.TB) Input {
	t.Helper()
	at := func(hour, minute int) time.Time {
		return morning.Truncate(24 * time.Hour).Add(time.Duration(hour)*time.Hour + time.Duration(minute)*time.Minute)
	}
	healed := func(from time.Time, minutes int, worst float64, group string) incident.Line {
		return incident.Line{
			Section: incident.SectionHealed, Rule: "checkout-errors", Name: "Checkout errors", Group: group, Kind: "error_rate", Service: "checkout",
			From: from, To: from.Add(time.Duration(minutes) * time.Minute), Worst: worst, Unit: "1", Limit: ">= 5 %", Text: "checkout: errors",
		}
	}
	in := Input{
		Organisation: "Acme", Team: oncall.Team{ID: "team", Name: "Platform", Zone: "Europe/Berlin"}, From: morning.Add(-72 * time.Hour), To: morning,
		Projects: map[uint32]string{1: "shop", 2: "blog"}, URL: "https://midwatch.example",
	}
	for _, l := range []incident.Line{
		healed(at(1, 41), 1, 0.08, ""), healed(at(2, 10), 1, 0.12, ""), healed(at(3, 0), 0, 0.06, ""), healed(at(-20, 5), 2, 0.07, "eu"),
		{Section: incident.SectionUnseen, Rule: "queue", Name: "Queue length", From: at(4, 0), To: at(4, 7), Worst: 1200, Limit: "> 1,000"},
		{Section: incident.SectionInconclusive, Rule: "free", Name: "Free memory", From: at(-30, 0), To: at(-4, 30), Worst: 3e8, Unit: "By", Limit: "< 512 MiB"},
		{Section: incident.SectionRecurring, Rule: "checkout-errors", Name: "Checkout errors", From: at(3, 0), To: at(3, 0)},
		{Section: incident.SectionWithdrawn, Text: "search: slow: over before owners was told", Incident: "i1", From: at(5, 0), To: at(5, 3)},
		{Section: incident.SectionHealth, Rule: "queue", Name: "Queue length", Text: "Queue length: there are no data", From: at(0, 0), To: at(0, 30)},
		{Section: incident.SectionDelivery, Text: "PagerDuty could not be reached from 05:00 to 12:00", Incident: "i2", From: at(5, 0), To: at(12, 0)},
		{Section: incident.SectionMail, Name: "Certificate", Rule: "tls", Text: "shop.example: certificate expires in 12 d", Incident: "i3", From: at(2, 0), To: at(2, 0)},
		{Section: "new", Text: "something of a later version"},
	} {
		in.Lines = append(in.Lines, kept(t, 1, l))
	}
	in.Lines = append(in.Lines, catalog.DigestLine{Project: 2, Section: incident.SectionHealed, At: at(1, 0), Body: []byte("{")})
	in.Week = append(in.Week, in.Lines...)
	for n := range 6 {
		in.Week = append(in.Week, kept(t, 1, healed(at(-24*n, 0), 1, 0.1, "")))
	}
	return in
}

func TestADigestReadsWell(t *testing.T) {
	m, ok := Make(weekend(t))
	if !ok {
		t.Fatal("there is no digest")
	}
	golden(t, "digest", m)
}

func golden(t *testing.T, name string, m notify.Message) {
	t.Helper()
	if diff := cmp.Diff(m, m.Bounded()); diff != "" {
		t.Errorf("it is cut:\n%s", diff)
	}
	notifytest.Golden(t, name+".txt", []byte(notify.Text(m)))
	html, err := notify.HTML(m, "")
	if err != nil {
		t.Fatal(err)
	}
	notifytest.Golden(t, name+".html", []byte(html))
	if folder := os.Getenv("MIDWATCH_TEST_PICTURES"); folder != "" {
		if err := os.WriteFile(filepath.Join(folder, name+".html"), []byte(html), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAQuietNightHasNoDigest(t *testing.T) {
	in := weekend(t)
	in.Lines = nil
	if m, ok := Make(in); ok {
		t.Errorf("it says %q", m.Title)
	}
}

func TestALongDigestIsBounded(t *testing.T) {
	in := weekend(t)
	in.Lines = nil
	for n := range 5000 {
		in.Lines = append(in.Lines, kept(t, 1, incident.Line{
			Section: sections[n%len(sections)].name, Name: strings.Repeat("long ", 100), Text: strings.Repeat("ü ", 300) + fmt.Sprint(n), Rule: fmt.Sprint(n % 900),
			Group: strings.Repeat("g", 200), From: morning.Add(-time.Hour), To: morning,
		}))
	}
	m, _ := Make(in)
	if diff := cmp.Diff(m, m.Bounded()); diff != "" {
		t.Errorf("it is cut:\n%s", diff)
	}
	for _, s := range m.Sections {
		if last := s.Lines[len(s.Lines)-1].Text; len(s.Lines) != maxGroups+1 || !strings.HasPrefix(last, "and ") {
			t.Errorf("%s: %d lines, the last is %q", s.Title, len(s.Lines), last)
		}
	}
}

func TestTheWeeklyMailSaysWhichPagesWereWorthIt(t *testing.T) {
	var all []catalog.Incident
	add := func(daysAgo, ack, over int, name, title string, falseAlarm bool) {
		opened := morning.Add(-time.Duration(daysAgo)*24*time.Hour - 5*time.Hour)
		i := catalog.Incident{
			ID: fmt.Sprint("i", len(all)), Number: int64(len(all)), Project: 1, Team: "team", State: catalog.IncidentResolved, Severity: "page", Title: title,
			OpenedAt: opened, Since: opened.Add(-5 * time.Minute),
		}
		if ack >= 0 {
			i.AckedAt = opened.Add(time.Duration(ack) * time.Minute)
		}
		if over >= 0 {
			i.ResolvedAt = opened.Add(time.Duration(over) * time.Minute)
		} else {
			i.State = catalog.IncidentOpen
		}
		body, err := json.Marshal(incident.Incident{FalseAlarm: falseAlarm, Instances: []incident.Instance{{Rule: strings.ToLower(name), Name: name}}})
		if err != nil {
			t.Fatal(err)
		}
		i.Body = body
		all = append(all, i)
	}
	add(0, 3, 20, "Checkout", "checkout: 12 % errors for 6 min (limit 5 %)", false)
	add(1, -1, 4, "Latency", "search: p99 2 s for 5 min (limit 1 s)", false)
	add(2, 20, 30, "Checkout", "checkout: 8 % errors for 5 min (limit 5 %)", false)
	add(3, 1, 2, "Latency", "search: p99 1.4 s for 5 min (limit 1 s)", true)
	add(4, -1, -1, "Disk", "db-1: / is full in 3 h", false)
	add(9, -1, 3, "Latency", "search: slow", false)
	add(40, -1, 3, "Disk", "long ago", false)
	other := all[0]
	other.Team = "other"
	ticket := all[0]
	ticket.Severity = "ticket"
	in := Input{Organisation: "Acme", Team: oncall.Team{ID: "team", Name: "Platform", Zone: "Europe/Berlin"}, To: morning, URL: "https://midwatch.example"}
	m, ok := Hygiene(in, append(all, other, ticket))
	if !ok {
		t.Fatal("there is no mail")
	}
	golden(t, "hygiene", m)
	if _, ok := Hygiene(in, append(all[5:], other, ticket)); ok {
		t.Error("a week without a page has a mail")
	}
}
