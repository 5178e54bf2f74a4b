package deliver_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/midwatch/midwatch/alerts/incident"
	"github.com/midwatch/midwatch/alerts/notify"
	"github.com/midwatch/midwatch/alerts/rule"
	"github.com/midwatch/midwatch/storage/catalog"
)

// claim takes what is due and forgets it, as a sender does that dies.
func (w *world) claim() []catalog.OutboxRow {
	w.t.Helper()
	rows, err := w.db.Claim(w.t.Context(), "dead", w.now, 30*time.Second, 100, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return rows
}

func TestWhatIsSaidOfOneInstanceKeepsItsOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.single()
	a := trouble("A", rule.Page)
	fire := incident.Signal{Kind: incident.Fire, Instance: a, At: w.now}
	over := incident.Signal{Kind: incident.Resolve, Instance: a, At: w.now}
	w.at("05:00", func() { w.signal(fire) })
	// Read at once after a time of being down: it recovered and is bad again.
	w.at("10:00", func() { w.signal(over, fire) })
	w.until("11:00")
	w.wants("05:00 trigger primary: A", "10:00 resolve primary: A", "10:00 trigger primary: A")
	w.at("12:00", func() { w.signal(over, fire, over) })
	w.until("20:00")
	w.wants("05:00 trigger primary: A", "10:00 resolve primary: A", "10:00 trigger primary: A", "12:00 resolve primary: A")
	if diff := cmp.Diff([]string{"withdrawn: A: over before primary was told"}, w.digest()); diff != "" {
		t.Errorf("digest (-want +got):\n%s", diff)
	}
}

func TestFallbackIsNotToldOfWhatItsReceiverTookLater(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(incident.DocReceiver, "primary", map[string]any{"name": "PagerDuty", "kind": "pagerduty", "fallback": "lead"})
	w.single()
	w.answers = func(_ string, _ notify.Message) error {
		if len(w.tried) == 1 {
			return &notify.RetryError{Code: 503, Reason: "503"}
		}
		return nil
	}
	a := trouble("A", rule.Page)
	w.at("05:00", func() { w.fire(a) })
	w.at("20:00", func() { w.resolve(a) })
	w.until("30:00")
	w.wants("05:01 trigger primary: A", "20:00 resolve primary: A")
	w.state("lead", "trigger", catalog.OutboxWithdrawn)
}

func TestFallbackThatMayHaveHeardOfTheBeginningHearsOfTheEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(incident.DocReceiver, "primary", map[string]any{"name": "PagerDuty", "kind": "pagerduty", "fallback": "lead"})
	w.single()
	w.answers = func(receiver string, _ notify.Message) error {
		if receiver == "primary" {
			return &notify.RetryError{Code: 503, Reason: "503"}
		}
		return nil
	}
	a := trouble("A", rule.Page)
	w.at("05:00", func() { w.fire(a) })
	w.until("06:59")
	w.now = clock(t, "07:00")
	// The primary's next try may be due as well: back-off is spread at random.
	if rows := w.claim(); !slices.ContainsFunc(rows, func(row catalog.OutboxRow) bool { return row.Receiver == "lead" }) {
		t.Fatalf("claimed %+v", rows)
	}
	w.resolve(a) // while the sender of the fallback is dead, with nothing known of its call
	w.until("20:00")
	ended := 0
	for _, s := range w.sent {
		if s.Receiver == "lead" && s.Message.Action.Ends() {
			ended++
		}
	}
	if ended != 1 {
		t.Errorf("the fallback was told %d times of the end: %q", ended, lines(w.sent))
	}
}

func TestWhoIsToldOfAnotherEpisodeOnlyHearsOfItsEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := trouble("A", rule.Page)
	again := incident.Signal{Kind: incident.Fire, Instance: a, Again: true}
	w.at("05:00", func() { w.fire(a) })
	w.until("11:00") // the secondary is told
	w.at("12:00", func() { w.resolve(a) })
	w.at("13:00", func() { again.At = w.now; w.signal(again) })
	w.at("14:00", func() { w.resolve(a) })
	w.until("20:00")
	var got []string
	for _, s := range w.sent {
		got = append(got, stamp(s.At)+" "+string(s.Message.Action)+" "+s.Receiver)
	}
	want := []string{
		"05:00 trigger primary", "10:00 escalate secondary", "12:00 resolve primary", "12:00 resolve secondary",
		"13:00 trigger primary", "14:00 resolve primary",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}
}
