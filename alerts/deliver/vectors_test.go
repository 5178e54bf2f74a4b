package deliver_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/midwatch/midwatch/alerts/deliver"
	"github.com/midwatch/midwatch/alerts/desk"
	"github.com/midwatch/midwatch/alerts/incident"
	"github.com/midwatch/midwatch/alerts/match"
	"github.com/midwatch/midwatch/alerts/notify"
	"github.com/midwatch/midwatch/alerts/oncall"
	"github.com/midwatch/midwatch/alerts/rule"
	"github.com/midwatch/midwatch/storage/catalog"
	"github.com/midwatch/midwatch/storage/storagetest"
)

// start is 00:00 of the vectors: a Monday.
var start = time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)

const organisation = "org"

// world is the desk and the sender on a clock that stands still until it is told to go on.
type world struct {
	t      *testing.T
	db     *catalog.DB
	desk   *desk.Desk
	sender *deliver.Sender
	now    time.Time
	// sent is what receivers took; tried are all attempts. answers decide, nil takes everything.
	sent    []sent
	tried   []sent
	answers func(receiver string, m notify.Message) error
}

type sent struct {
	At       time.Time
	Receiver string
	Message  notify.Message
}

// mailbox is a receiver that records.
type mailbox struct {
	w  *world
	id string
}

func (b mailbox) Notify(_ context.Context, m notify.Message) (notify.Receipt, error) {
	one := sent{b.w.now, b.id, m}
	b.w.tried = append(b.w.tried, one)
	if b.w.answers != nil {
		if err := b.w.answers(b.id, m); err != nil {
			return notify.Receipt{}, err
		}
	}
	b.w.sent = append(b.w.sent, one)
	return notify.Receipt{Reference: "ref-" + b.id, Code: 202}, nil
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, now: start}
	w.db = storagetest.OpenCatalog(t, catalog.Config{Path: t.TempDir() + "/catalog.sqlite"})
	w.desk = desk.New(desk.Config{URL: "https://mw.example"}, w.db, slog.New(slog.DiscardHandler))
	var err error
	w.sender, err = deliver.New(deliver.Config{
		Open: func(_ context.Context, _, receiver string) (notify.Notifier, error) { return mailbox{w, receiver}, nil },
		Now:  func(context.Context) (time.Time, error) { return w.now, nil },
	}, w.db, w.desk, noop.NewMeterProvider().Meter(""), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	// The page policy of the vectors.
	for _, name := range []string{"primary", "secondary", "lead", "acker"} {
		w.put(incident.DocReceiver, name, map[string]any{"name": name, "kind": "pagerduty"})
		w.put(incident.DocPerson, name, oncall.Person{ID: name, Name: name, Contacts: []oncall.Contact{{Receiver: name}}})
	}
	w.put(incident.DocReceiver, "owners", map[string]any{"name": "owners", "kind": "email"})
	w.put(incident.DocReceiver, "tickets", map[string]any{"name": "tickets", "kind": "webhook"})
	step := func(person string, wait time.Duration) oncall.Step {
		return oncall.Step{Targets: []oncall.Target{{Kind: oncall.ToPerson, ID: person}}, AckTimeout: oncall.Duration(wait)}
	}
	w.put(incident.DocPolicy, "pages", oncall.Policy{
		ID: "pages", Name: "Pages", Loops: 2, ExhaustedReceivers: []string{"owners"},
		Steps: []oncall.Step{step("primary", 5*time.Minute), step("secondary", 10*time.Minute), step("lead", 10*time.Minute)},
	})
	w.put(incident.DocTeam, "team", oncall.Team{ID: "team", Name: "Team", Policy: "pages", Tickets: []string{"tickets"}, Mails: []string{"owners"}})
	return w
}

func (w *world) put(kind, id string, body any) {
	w.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		w.t.Fatal(err)
	}
	_, err = w.db.PutDocument(w.t.Context(), catalog.Document{Organisation: organisation, Kind: kind, ID: id, Name: id, Body: text}, catalog.AnyVersion)
	if err != nil {
		w.t.Fatal(err)
	}
}

// clock reads "05:20" or "1:07:30" of the vectors, both with minutes and seconds last.
func clock(t *testing.T, text string) time.Time {
	t.Helper()
	parts := strings.Split(text, ":")
	var h, m, s int
	var err error
	if len(parts) == 3 {
		_, err = fmt.Sscanf(text, "%d:%d:%d", &h, &m, &s)
	} else {
		_, err = fmt.Sscanf(text, "%d:%d", &m, &s)
	}
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return start.Add(time.Duration(h)*time.Hour + time.Duration(m)*time.Minute + time.Duration(s)*time.Second)
}

func stamp(at time.Time) string {
	d := at.Sub(start).Round(time.Second)
	if d >= time.Hour {
		return fmt.Sprintf("%d:%02d:%02d", d/time.Hour, d%time.Hour/time.Minute, d%time.Minute/time.Second)
	}
	return fmt.Sprintf("%02d:%02d", d/time.Minute, d%time.Minute/time.Second)
}

// until lets time pass, and does on the way what becomes due.
func (w *world) until(text string) { w.pass(clock(w.t, text), true) }

func (w *world) pass(to time.Time, sending bool) {
	w.t.Helper()
	ctx := w.t.Context()
	for range 100_000 {
		w.settle(sending)
		next, err := w.db.NextIncidentAt(ctx)
		if err != nil {
			w.t.Fatal(err)
		}
		if sending {
			due, err := w.db.OutboxDueAt(ctx)
			if err != nil {
				w.t.Fatal(err)
			}
			if next.IsZero() || !due.IsZero() && due.Before(next) {
				next = due
			}
		}
		if next.IsZero() || next.After(to) {
			w.now = to
			w.settle(sending)
			return
		}
		if !next.After(w.now) {
			next = w.now.Add(time.Second) // a row that waits for an earlier one, or for a lease
			if next.After(to) {
				w.now = to
				return
			}
		}
		w.now = next
	}
	w.t.Fatal("time does not pass")
}

// settle does what is due now.
func (w *world) settle(sending bool) {
	w.t.Helper()
	ctx := w.t.Context()
	for range 10_000 {
		ids, err := w.desk.Due(ctx, w.now, 100)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, id := range ids {
			if err := w.desk.Tick(ctx, id, w.now); err != nil {
				w.t.Fatal(err)
			}
		}
		var rows []catalog.OutboxRow
		if sending {
			if rows, err = w.db.Claim(ctx, "sender", w.now, 30*time.Second, 100, nil); err != nil {
				w.t.Fatal(err)
			}
		}
		for _, row := range rows {
			if err := w.sender.Send(ctx, row); err != nil {
				w.t.Fatal(err)
			}
		}
		if len(ids) == 0 && len(rows) == 0 {
			return
		}
	}
	w.t.Fatal("nothing settles")
}

// signal applies signals at the time that it is.
func (w *world) signal(signals ...incident.Signal) {
	w.t.Helper()
	err := w.db.InTx(w.t.Context(), func(tx *catalog.Tx) error {
		return w.desk.Apply(w.t.Context(), tx, organisation, signals, w.now)
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// trouble is an instance of a rule in the service shop.
func trouble(name string, severity rule.Severity) incident.Instance {
	return incident.Instance{
		Key: name + "/0/", Project: 1, Rule: name, Name: name, Severity: severity, Class: rule.Symptom, Headline: name,
		Labels: map[string]string{"service": "shop"}, FirstAction: "look",
	}
}

func (w *world) fire(in incident.Instance, parents ...incident.Parent) {
	w.t.Helper()
	in.Since, in.FiredAt = w.now, w.now
	w.signal(incident.Signal{Kind: incident.Fire, Instance: in, At: w.now, Parents: parents})
}

func (w *world) resolve(in incident.Instance) {
	w.t.Helper()
	w.signal(incident.Signal{Kind: incident.Resolve, Instance: in, At: w.now})
}

// at fires or resolves at a time, after all that was due before.
func (w *world) at(text string, f func()) {
	w.t.Helper()
	w.until(text)
	f()
	w.settle(true)
}

// the one incident that there is.
func (w *world) incident() catalog.Incident {
	w.t.Helper()
	all, err := w.db.Incidents(w.t.Context(), catalog.IncidentFilter{Organisation: organisation, Limit: 10})
	if err != nil || len(all) != 1 {
		w.t.Fatalf("Incidents = %d, %v; want one", len(all), err)
	}
	return all[0]
}

// wants compares what receivers took.
func (w *world) wants(want ...string) {
	w.t.Helper()
	if diff := cmp.Diff(want, lines(w.sent)); diff != "" {
		w.t.Errorf("messages (-want +got):\n%s", diff)
	}
}

func lines(all []sent) []string {
	var out []string
	for _, s := range all {
		line := fmt.Sprintf("%s %s %s: %s", stamp(s.At), s.Message.Action, s.Receiver, s.Message.Title)
		for _, section := range s.Message.Sections {
			if section.Title == "New" || section.Title == "Probably because" || section.Title == "Also affected" {
				for _, l := range section.Lines {
					line += " | " + l.Text
				}
			}
		}
		out = append(out, line)
	}
	return out
}

// digest returns the sections and texts of what stands in the digest.
func (w *world) digest() []string {
	w.t.Helper()
	all, err := w.db.DigestLines(w.t.Context(), organisation, "", start.Add(-time.Hour), start.Add(48*time.Hour))
	if err != nil {
		w.t.Fatal(err)
	}
	var out []string
	for _, l := range all {
		var line incident.Line
		if err := json.Unmarshal(l.Body, &line); err != nil {
			w.t.Fatal(err)
		}
		out = append(out, line.Section+": "+line.Text)
	}
	return out
}

// single makes the policy one that tells the primary only, once.
func (w *world) single() {
	w.put(incident.DocPolicy, "pages", oncall.Policy{
		ID: "pages", Name: "Pages", Loops: 1,
		Steps: []oncall.Step{{Targets: []oncall.Target{{Kind: oncall.ToPerson, ID: "primary"}}, AckTimeout: oncall.Duration(24 * time.Hour)}},
	})
}

// TestVectors are those of routing and delivery. R13 to R15 are also alerts/oncall's, R17 is
// alerts/evaluate's.
func TestVectors(t *testing.T) {
	t.Parallel()
	vector := func(name string, f func(t *testing.T, w *world)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(t, newWorld(t))
		})
	}
	vector("R1", func(_ *testing.T, w *world) {
		w.single()
		a, b, c := trouble("A", rule.Page), trouble("B", rule.Page), trouble("C", rule.Page)
		w.at("05:00", func() { w.fire(a) })
		w.at("05:20", func() { w.fire(b) })
		w.at("09:00", func() { w.fire(c) })
		w.at("20:00", func() { w.resolve(a) })
		w.at("21:00", func() { w.resolve(b) })
		w.at("22:00", func() { w.resolve(c) })
		w.until("40:00")
		w.wants("05:00 trigger primary: A", "10:00 update primary: A (+2 more) | +2: B; C", "22:00 resolve primary: C")
	})
	vector("R2", func(_ *testing.T, w *world) {
		w.at("05:00", func() { w.fire(trouble("A", rule.Page)) })
		w.until("1:30:00")
		const nobody = "A | Nobody has acknowledged since "
		w.wants("05:00 trigger primary: A", "10:00 escalate secondary: "+nobody+"00:05.", "20:00 escalate lead: "+nobody+"00:10.",
			"30:00 escalate primary: "+nobody+"00:20.", "35:00 escalate secondary: "+nobody+"00:30.", "45:00 escalate lead: "+nobody+"00:35.",
			"55:00 reminder owners: A | Nobody has acknowledged: everybody who could be told has been told.",
			"1:25:00 reminder owners: A | Nobody has acknowledged: everybody who could be told has been told.")
	})
	vector("R3", func(t *testing.T, w *world) {
		w.at("05:00", func() { w.fire(trouble("A", rule.Page)) })
		w.at("07:30", func() {
			if err := w.desk.Acknowledge(t.Context(), w.incident().ID, "acker", "link", w.now); err != nil {
				t.Fatal(err)
			}
		})
		w.until("1:25:00")
		got := lines(w.sent)
		for i := range got {
			got[i], _, _ = strings.Cut(got[i], " |")
		}
		want := []string{"05:00 trigger primary: A", "07:30 acknowledge primary: A", "1:07:30 reminder acker: A", "1:22:30 escalate secondary: A"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("messages (-want +got):\n%s", diff)
		}
	})
	vector("R4", func(t *testing.T, w *world) {
		w.put(incident.DocReceiver, "primary", map[string]any{"name": "PagerDuty", "kind": "pagerduty", "fallback": "lead"})
		w.single()
		w.answers = func(receiver string, _ notify.Message) error {
			if receiver == "primary" && w.now.Before(clock(t, "13:00")) {
				return &notify.RetryError{Code: 503, Reason: "503"}
			}
			return nil
		}
		a := trouble("A", rule.Page)
		w.at("05:00", func() { w.fire(a) })
		w.at("12:00", func() { w.resolve(a) })
		w.until("20:00")
		w.wants("07:00 trigger lead: A", "12:00 resolve lead: A")
		var gaps []time.Duration
		last := clock(t, "05:00")
		for _, s := range w.tried {
			if s.Receiver == "primary" {
				gaps = append(gaps, s.At.Sub(last))
				last = s.At
			}
		}
		want := []time.Duration{0, 1, 2, 4, 8, 16, 32, 60, 60}
		for i, g := range gaps[:min(len(gaps), len(want))] {
			if w := want[i] * time.Second; (g - w).Abs() > w/5+time.Second {
				t.Errorf("attempt %d came %v after the one before, want about %v", i+1, g, w)
			}
		}
		if len(gaps) < len(want) {
			t.Errorf("%d attempts, want at least %d", len(gaps), len(want))
		}
		if diff := cmp.Diff([]string{"delivery: PagerDuty could not be reached from 00:05 to 00:12"}, w.digest()); diff != "" {
			t.Errorf("digest (-want +got):\n%s", diff)
		}
		w.state("primary", "trigger", catalog.OutboxWithdrawn)
	})
	vector("R5", func(t *testing.T, w *world) {
		a := trouble("A", rule.Ticket)
		w.at("05:00", func() { w.fire(a) })
		w.at("08:00", func() { w.resolve(a) })
		w.until("30:00")
		w.wants()
		if diff := cmp.Diff([]string{"healed: A"}, w.digest()); diff != "" {
			t.Errorf("digest (-want +got):\n%s", diff)
		}
	})
	silence := func(w *world, from, to string) {
		w.put(incident.DocSilence, "s", oncall.Silence{
			Matchers: match.Set{{Label: "service", Op: "=", Value: "shop"}}, From: clock(w.t, from), To: clock(w.t, to), Author: "ann", Reason: "known",
		})
	}
	for _, end := range []string{"20:00", "12:00"} {
		vector("R6 resolved at "+end, func(_ *testing.T, w *world) {
			w.single()
			a := trouble("A", rule.Page)
			w.at("05:00", func() { w.fire(a) })
			w.at("06:00", func() { silence(w, "06:00", "15:00") })
			w.at(end, func() { w.resolve(a) })
			w.until("40:00")
			w.wants("05:00 trigger primary: A", end+" resolve primary: A")
		})
	}
	vector("R7", func(t *testing.T, w *world) {
		w.single()
		silence(w, "00:00", "30:00")
		w.at("05:00", func() { w.fire(trouble("A", rule.Page)) })
		w.until("40:00")
		w.wants("30:00 trigger primary: A")
		if since := w.sent[0].Message.Since; !since.Equal(clock(t, "05:00")) {
			t.Errorf("since %v, want 05:00", since)
		}
	})
	vector("R8", func(_ *testing.T, w *world) {
		w.single()
		db, api := trouble("DB", rule.Page), trouble("API", rule.Page)
		db.Labels, api.Labels = map[string]string{"service": "db"}, map[string]string{"service": "api"}
		w.at("05:00", func() {
			db.Since, db.FiredAt, api.Since, api.FiredAt = w.now, w.now, w.now, w.now
			w.signal(
				incident.Signal{Kind: incident.Fire, Instance: api, At: w.now, Parents: []incident.Parent{{Rule: "DB", Firing: true}}},
				incident.Signal{Kind: incident.Fire, Instance: db, At: w.now},
			)
		})
		w.at("20:00", func() { w.resolve(db) })
		w.until("30:00")
		w.wants("05:00 trigger primary: DB | API", "20:00 resolve primary: DB", "22:00 trigger primary: API")
	})
	vector("R8 heals with its parent", func(t *testing.T, w *world) {
		w.single()
		db, api := trouble("DB", rule.Page), trouble("API", rule.Page)
		db.Labels, api.Labels = map[string]string{"service": "db"}, map[string]string{"service": "api"}
		w.at("05:00", func() { w.fire(db) })
		w.at("06:00", func() { w.fire(api, incident.Parent{Rule: "DB", Firing: true}) })
		w.at("20:00", func() { w.resolve(db) })
		w.at("21:00", func() { w.resolve(api) })
		w.until("30:00")
		w.wants("05:00 trigger primary: DB", "20:00 resolve primary: DB")
		if diff := cmp.Diff([]string{"withdrawn: API"}, w.digest()); diff != "" {
			t.Errorf("digest (-want +got):\n%s", diff)
		}
	})
	vector("R8 parent pending", func(_ *testing.T, w *world) {
		w.single()
		api := trouble("API", rule.Page)
		w.at("05:00", func() { w.fire(api, incident.Parent{Rule: "DB", Pending: true}) })
		w.until("10:00")
		w.wants("06:00 trigger primary: API")
	})
	vector("R9", func(_ *testing.T, w *world) {
		w.single()
		cpu := trouble("CPU throttled 60 %", rule.Ticket)
		cpu.Class = rule.Cause
		w.at("03:00", func() { w.fire(cpu) })
		w.at("05:00", func() { w.fire(trouble("errors 12 %", rule.Page)) })
		w.until("30:00")
		w.wants("05:00 trigger primary: errors 12 % | CPU throttled 60 %")
	})
	vector("R10", func(_ *testing.T, w *world) {
		w.single()
		warn, critical := trouble("errors 3 %", rule.Ticket), trouble("errors 12 %", rule.Page)
		w.at("02:00", func() { w.fire(warn) })
		w.at("09:00", func() { w.fire(critical) })
		w.at("20:00", func() { w.resolve(critical) })
		w.at("21:00", func() { w.resolve(warn) })
		w.until("30:00")
		w.wants("07:00 ticket tickets: errors 3 %", "09:00 trigger primary: errors 12 % (+1 more)",
			"21:00 resolve primary: errors 3 %", "21:00 resolve tickets: errors 3 %")
	})
	vector("R11", func(t *testing.T, w *world) {
		w.single()
		w.pass(clock(t, "05:00"), false)
		w.fire(trouble("A", rule.Page))
		// The sender claims the row and dies.
		if rows, err := w.db.Claim(t.Context(), "dead", w.now, 30*time.Second, 10, nil); err != nil || len(rows) != 1 {
			t.Fatalf("Claim = %d rows, %v", len(rows), err)
		}
		w.until("10:00")
		w.wants("05:30 trigger primary: A")
	})
	vector("R12", func(t *testing.T, w *world) {
		w.single()
		w.pass(clock(t, "05:00"), false)
		w.fire(trouble("A", rule.Page))
		// The receiver takes it and the sender dies before it can say so.
		rows, err := w.db.Claim(t.Context(), "dead", w.now, 30*time.Second, 10, nil)
		if err != nil || len(rows) != 1 {
			t.Fatalf("Claim = %d rows, %v", len(rows), err)
		}
		var m notify.Message
		if err := json.Unmarshal(rows[0].Message, &m); err != nil {
			t.Fatal(err)
		}
		if _, err := (mailbox{w, "primary"}).Notify(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		w.until("10:00")
		w.wants("05:00 trigger primary: A", "05:30 trigger primary: A")
		if a, b := w.sent[0].Message, w.sent[1].Message; a.Key != b.Key || a.ProviderKey() != b.ProviderKey() {
			t.Errorf("the second has the keys %q and %q, the first %q and %q", b.Key, b.ProviderKey(), a.Key, a.ProviderKey())
		}
	})
	vector("R13", func(t *testing.T, w *world) {
		w.put(incident.DocTeam, "team", oncall.Team{
			ID: "team", Name: "Team", Policy: "pages", Tickets: []string{"tickets"}, Zone: "Europe/Berlin",
			QuietHours: []oncall.Hours{{From: "22:00", To: "07:00"}},
		})
		w.now = time.Date(2026, 10, 24, 20, 55, 0, 0, time.UTC)
		w.fire(trouble("A", rule.Ticket))
		w.pass(time.Date(2026, 10, 25, 12, 0, 0, 0, time.UTC), true)
		want := time.Date(2026, 10, 25, 6, 0, 0, 0, time.UTC)
		if len(w.sent) != 1 || !w.sent[0].At.Equal(want) {
			t.Errorf("sent %v, want one at %v", w.sent, want)
		}
	})
	vector("R16", func(t *testing.T, w *world) {
		w.single()
		w.at("05:00", func() {
			var all []incident.Signal
			for n := range 200 {
				in := trouble(fmt.Sprintf("service %d", n), rule.Page)
				in.Labels = map[string]string{"service": fmt.Sprintf("s%d", n)}
				in.Value, in.Since, in.FiredAt = float64(n), w.now, w.now
				all = append(all, incident.Signal{Kind: incident.Fire, Instance: in, At: w.now})
			}
			w.signal(all...)
		})
		w.until("06:00")
		var want []string
		for n := 199; n > 190; n-- {
			want = append(want, fmt.Sprintf("05:00 trigger primary: service %d", n))
		}
		want = append(want, "05:00 trigger primary: 191 more incidents at once: service 190")
		got := lines(w.sent)
		slices.Sort(got)
		slices.Sort(want)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("messages (-want +got):\n%s", diff)
		}
		// What fires in the next slots joins the fold.
		late := trouble("late", rule.Page)
		late.Labels = map[string]string{"service": "late"}
		w.at("06:00", func() { w.fire(late) })
		w.until("11:00")
		if n := len(w.sent); n != 11 || w.sent[10].Message.Action != notify.Update || stamp(w.sent[10].At) != "10:00" {
			t.Errorf("%d messages, the last %v; want an update of the fold at 10:00", n, lines(w.sent[10:]))
		}
	})
	vector("R18", func(_ *testing.T, w *world) {
		w.put(incident.DocSchedule, "empty", oncall.Schedule{ID: "empty", Name: "Empty", Layers: []oncall.Layer{{
			Name: "weekdays", Start: "2026-01-01", Every: "daily", People: []string{"lead"},
			Restrictions: []oncall.Hours{{Days: "Tue", From: "08:00", To: "09:00"}},
		}}})
		w.put(incident.DocPolicy, "pages", oncall.Policy{ID: "pages", Name: "Pages", Steps: []oncall.Step{
			{Targets: []oncall.Target{{Kind: oncall.ToSchedule, ID: "empty"}}},
			{Targets: []oncall.Target{{Kind: oncall.ToPerson, ID: "secondary"}}, AckTimeout: oncall.Duration(24 * time.Hour)},
		}})
		w.at("05:00", func() { w.fire(trouble("A", rule.Page)) })
		w.until("06:00")
		w.wants("05:00 trigger secondary: A", "05:00 notice owners: A | step 1: gap in schedule Empty: nobody is on call")
	})
	vector("R19", func(t *testing.T, w *world) {
		w.put(incident.DocReceiver, "primary", map[string]any{"name": "Slack", "kind": "slack", "fallback": "lead"})
		w.single()
		w.answers = func(receiver string, _ notify.Message) error {
			if receiver == "primary" {
				return &notify.PermanentError{Code: 404, Broken: true, Reason: "404 no_service"}
			}
			return nil
		}
		w.at("05:00", func() { w.fire(trouble("A", rule.Page)) })
		w.until("30:00")
		w.wants("05:00 trigger lead: A", "10:00 ticket tickets: Receiver primary takes no messages: refused: 404 no_service")
		if n := len(slices.DeleteFunc(slices.Clone(w.tried), func(s sent) bool { return s.Receiver != "primary" })); n != 1 {
			t.Errorf("%d attempts, want one", n)
		}
		states, err := w.db.ReceiverStates(t.Context(), organisation)
		if err != nil || !strings.Contains(string(states["primary"]), "broken_at") {
			t.Errorf("the receiver's state is %s, %v; want it marked broken", states["primary"], err)
		}
	})
	vector("R20", func(t *testing.T, w *world) {
		w.single()
		a := trouble("A", rule.Page)
		w.pass(clock(t, "05:00"), false)
		w.fire(a)
		w.pass(clock(t, "05:30"), false)
		w.resolve(a)
		w.until("20:00")
		w.wants()
		if diff := cmp.Diff([]string{"withdrawn: A: over before primary was told"}, w.digest()); diff != "" {
			t.Errorf("digest (-want +got):\n%s", diff)
		}
		w.state("primary", "trigger", catalog.OutboxWithdrawn)
	})
}

// state checks how the row of a receiver and action has ended.
func (w *world) state(receiver, action, want string) {
	w.t.Helper()
	rows, err := w.db.Deliveries(w.t.Context(), catalog.OutboxFilter{Organisation: organisation, Receiver: receiver, Limit: 100})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, o := range rows {
		if o.Action == action && o.State != want {
			w.t.Errorf("the %s of %s is %s, want %s", action, receiver, o.State, want)
		}
	}
}

// TestAMailSaysWhatIsToldOfAnInstance is that its facts stand in the message as they were when it fired.
func TestAMailSaysWhatIsToldOfAnInstance(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	in := trouble("back", rule.Mail)
	in.Facts = []incident.Fact{{Name: "Resolved", Value: "21 Nov 2026 19:51 UTC by ann, fixed in 1.1"}, {Name: "Back", Value: "21 Nov 2026 20:10 UTC in 1.2"}}
	w.at("00:00", func() { w.fire(in) })
	w.until("06:00")
	w.wants("05:00 mail owners: back")
	if diff := cmp.Diff(in.Facts, w.sent[0].Message.Facts[:2]); diff != "" {
		t.Errorf("facts (-want +got):\n%s", diff)
	}
}
