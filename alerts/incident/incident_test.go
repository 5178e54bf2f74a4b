package incident_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/midwatch/midwatch/alerts/incident"
	"github.com/midwatch/midwatch/alerts/match"
	"github.com/midwatch/midwatch/alerts/notify"
	"github.com/midwatch/midwatch/alerts/oncall"
	"github.com/midwatch/midwatch/alerts/rule"
)

var monday = time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)

// book has two steps for pages, a receiver of tickets, and sometimes quiet hours and a silence.
func book(r *rand.Rand) *incident.Book {
	b := incident.Book{
		Receivers: map[string]incident.Receiver{"one": {ID: "one"}, "two": {ID: "two"}, "tickets": {ID: "tickets"}},
		People: map[string]oncall.Person{
			"ann": {ID: "ann", Contacts: []oncall.Contact{{Receiver: "one"}}}, "bob": {ID: "bob", Contacts: []oncall.Contact{{Receiver: "two"}}},
		},
		Policies: map[string]oncall.Policy{"p": {ID: "p", Loops: 1 + r.IntN(2), Steps: []oncall.Step{
			{Targets: []oncall.Target{{Kind: oncall.ToPerson, ID: "ann"}}}, {Targets: []oncall.Target{{Kind: oncall.ToPerson, ID: "bob"}}},
		}}},
		Teams: map[string]oncall.Team{"t": {ID: "t", Policy: "p", Tickets: []string{"tickets"}}},
	}
	if r.IntN(3) == 0 {
		team := b.Teams["t"]
		team.QuietHours = []oncall.Hours{{From: "00:20", To: "00:50"}}
		b.Teams["t"] = team
	}
	if r.IntN(3) == 0 {
		from := monday.Add(time.Duration(r.IntN(60)) * time.Minute)
		b.Silences = []oncall.Silence{{
			ID: "s", Matchers: match.Set{{Label: "service", Op: "=", Value: "shop"}}, From: from, To: from.Add(time.Duration(r.IntN(30)) * time.Minute),
		}}
	}
	return incident.NewBook(b)
}

// TestRandomHistories plays troubles, people and time against an incident and checks what must always
// hold: whoever was told of a beginning is told of the end, once and after it, whatever is silenced;
// nobody is told of an end of which nobody knows; time that has passed does nothing again; and a state
// that was written and read back goes on as it would have.
func TestRandomHistories(t *testing.T) {
	t.Parallel()
	const histories = 20_000
	for seed := range uint64(histories) {
		if err := history(seed); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

func history(seed uint64) error {
	r := rand.New(rand.NewPCG(seed, 1))
	b := book(r)
	i := &incident.Incident{ID: "i", Team: "t", Labels: map[string]string{"service": "shop"}}
	now := monday
	var told, ended int // beginnings and ends of this episode
	var seq int64
	episode := 0
	check := func(c incident.Change) error {
		for _, s := range c.Sends {
			if s.Seq <= seq {
				return fmt.Errorf("%s has the number %d after %d", s.Action, s.Seq, seq)
			}
			seq = s.Seq
			switch s.Action {
			case notify.Resolve, notify.Close:
				if told == 0 {
					return fmt.Errorf("an end of which nobody knows the beginning")
				}
				if !s.Everybody {
					return fmt.Errorf("an end that not everybody hears of")
				}
				ended++
			case notify.Trigger, notify.Ticket, notify.Escalate, notify.Mail:
				if ended > 0 {
					return fmt.Errorf("%s after the end", s.Action)
				}
				told++
			}
		}
		if c.Ended {
			if i.State != incident.Resolved {
				return fmt.Errorf("ended and %s", i.State)
			}
			if told > 0 && ended != 1 {
				return fmt.Errorf("%d beginnings and %d ends", told, ended)
			}
			if told == 0 && len(c.Lines) != 1 {
				return fmt.Errorf("healed unseen with %d lines in the digest", len(c.Lines))
			}
		}
		var again incident.Change
		i.Tick(b, now, &again)
		if len(again.Sends)+len(again.Lines) > 0 {
			return fmt.Errorf("a second look at the same time sends %v", again.Sends)
		}
		if seed%16 != 0 {
			return nil
		}
		text := must(json.Marshal(i))
		kept := &incident.Incident{}
		if err := json.Unmarshal(text, kept); err != nil {
			return err
		}
		if diff := cmp.Diff(string(text), string(must(json.Marshal(kept)))); diff != "" {
			return fmt.Errorf("written and read back: %s", diff)
		}
		i = kept
		return nil
	}
	bad := map[string]bool{}
	for range 25 {
		var c incident.Change
		if next := i.NextAt(); !next.IsZero() && r.IntN(2) == 0 {
			if next.Before(now) {
				return fmt.Errorf("at %v it was due at %v", now, next)
			}
			now = next
			i.Tick(b, now, &c)
			if err := check(c); err != nil {
				return err
			}
			continue
		}
		step := time.Duration(1+r.IntN(240)) * time.Second
		for next := i.NextAt(); !next.IsZero() && !next.After(now.Add(step)); next = i.NextAt() {
			step -= next.Sub(now)
			now = next
			var due incident.Change
			i.Tick(b, now, &due)
			if err := check(due); err != nil {
				return err
			}
		}
		now = now.Add(step)
		key := fmt.Sprintf("rule%d/0/", r.IntN(3))
		switch k := r.IntN(10); {
		case k < 5:
			in := incident.Instance{
				Key: key, Rule: key[:5], Severity: []rule.Severity{rule.Page, rule.Ticket}[r.IntN(2)], Class: rule.Symptom, Headline: key,
				Labels: map[string]string{"service": "shop"}, Since: now, FiredAt: now, Quiet: r.IntN(8) == 0,
			}
			if i.State != incident.Open {
				told, ended = 0, 0
				episode++
			}
			bad[key] = true
			var parents []incident.Parent
			if r.IntN(6) == 0 {
				parents = []incident.Parent{{Rule: "parent", Firing: r.IntN(2) == 0, Pending: true}}
			}
			i.Fire(b, incident.Signal{Kind: incident.Fire, Instance: in, At: now, Again: episode > 1, Parents: parents}, now, &c)
		case i.State == "":
			continue
		case k < 8:
			delete(bad, key)
			i.Resolve(b, incident.Signal{Kind: incident.Resolve, Instance: incident.Instance{Key: key}, At: now}, now, &c)
		case k < 9:
			i.Acknowledge("ann", "link", now, &c)
		default:
			i.Release("parent", now)
			i.Tick(b, now, &c)
		}
		if err := check(c); err != nil {
			return err
		}
	}
	// In the end all is good.
	var c incident.Change
	for key := range bad {
		i.Resolve(b, incident.Signal{Kind: incident.Resolve, Instance: incident.Instance{Key: key}, At: now}, now, &c)
	}
	if err := check(c); err != nil {
		return err
	}
	if i.State == incident.Open || !i.NextAt().IsZero() {
		return fmt.Errorf("all is good and it is %s, due at %v", i.State, i.NextAt())
	}
	return nil
}

func must(text []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return text
}

// TestWhatSomebodyResolvedDidNotHeal is that an issue that is resolved before it is told is not called
// one that heals by itself, nor one that was closed after its day.
func TestWhatSomebodyResolvedDidNotHeal(t *testing.T) {
	t.Parallel()
	b := incident.NewBook(incident.Book{Teams: map[string]oncall.Team{"t": {ID: "t", Mails: []string{"one"}}}, Receivers: map[string]incident.Receiver{"one": {ID: "one"}}})
	fire := incident.Signal{Kind: incident.Fire, At: monday, Instance: incident.Instance{
		Key: "back/mail/7.1", Rule: "back", Severity: rule.Mail, Since: monday, FiredAt: monday, ExpiresAt: monday.Add(24 * time.Hour),
	}}
	f := func(wait time.Duration, reason rule.Reason, sections []string, outcome string) {
		t.Helper()
		i := &incident.Incident{ID: "i", Team: "t"}
		var c incident.Change
		i.Fire(b, fire, monday, &c)
		at := monday.Add(wait)
		i.Tick(b, at, &c)
		if reason != "" {
			i.Resolve(b, incident.Signal{Kind: incident.Resolve, Instance: fire.Instance, At: at, Reason: reason}, at, &c)
		}
		var got []string
		for _, l := range c.Lines {
			got = append(got, l.Section)
		}
		if diff := cmp.Diff(sections, got); diff != "" || i.Outcome != outcome {
			t.Errorf("after %s: %q (-want +got)\n%s", wait, i.Outcome, diff)
		}
	}
	f(time.Minute, rule.IssueResolved, []string{incident.SectionWithdrawn}, "the issue was resolved")
	f(time.Hour, rule.IssueResolved, nil, "the issue was resolved")
	f(24*time.Hour, "", []string{incident.SectionRecurring}, "closed by itself after a day")
}
