package evaluate

import (
	"errors"
	"fmt"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/midwatch/midwatch/alerts/incident"
	"github.com/midwatch/midwatch/alerts/rule"
	"github.com/midwatch/midwatch/storage/catalog"
	"github.com/midwatch/midwatch/storage/storagetest"
)

// canaryWorld is a world whose evaluators have canaries, and nothing else to do.
func canaryWorld(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, storagetest.Catalog(t), nil)
	w.now = begin - begin%canaryCycle + 2*canaryCycle - 30
	return w
}

func (w *world) withCanaries(replica string, d Desk) *Evaluator {
	w.t.Helper()
	e := w.evaluator(replica, d)
	e.cfg.Canary = "canary"
	var err error
	if e.canaries, err = newCanaries(e); err != nil {
		w.t.Fatal(err)
	}
	return e
}

// flights counts the signals of each kind, and returns those of one shard by minutes of their cycle.
func (d *desk) flights(t *testing.T, shard int) (counts map[incident.Kind]int, of []string) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	counts = map[incident.Kind]int{}
	for _, s := range d.signals {
		counts[s.Kind]++
		if s.Instance.Project != 0 || s.Instance.Rule != "canary" || s.Instance.Severity != rule.Page {
			t.Fatalf("signal %+v", s)
		}
		if s.Instance.Labels[CanaryLabel] == fmt.Sprint(shard) {
			of = append(of, fmt.Sprintf("%s at %d, again %t, late %t", s.Kind, s.At.Unix()%canaryCycle/60, s.Again, s.Late != ""))
		}
	}
	d.signals = nil
	return counts, of
}

func TestEachShardHasACanaryThatFlies(t *testing.T) {
	t.Parallel()
	w, d := canaryWorld(t), &desk{}
	e := w.withCanaries("a", d)
	w.until(e, w.now-begin+6*canaryCycle, 10)
	counts, of := d.flights(t, 17)
	if diff := gocmp.Diff(map[incident.Kind]int{incident.Fire: 6 * Shards, incident.Resolve: 6 * Shards}, counts); diff != "" {
		t.Errorf("signals (-want +got):\n%s", diff)
	}
	// However often it flies, it is one incident, and never one that flaps.
	want := []string{"fire at 0, again false, late false", "resolve at 4, again false, late false"}
	for range 5 {
		want = append(want, "fire at 0, again true, late false", "resolve at 4, again false, late false")
	}
	if diff := gocmp.Diff(want, of); diff != "" {
		t.Errorf("signals of a shard (-want +got):\n%s", diff)
	}
	if accounts, err := w.db.Accounts(t.Context(), unix(0)); err != nil || len(accounts) > 0 {
		t.Errorf("accounts %+v, %v: a canary is no slot of anybody", accounts, err)
	}
	if states, err := w.db.RuleStatesOf(t.Context(), w.project); err != nil || len(states) > 0 {
		t.Errorf("states %+v, %v of a project that has no rules", states, err)
	}
}

func TestACanaryFliesOnWithTheNextOwner(t *testing.T) {
	t.Parallel()
	w, d := canaryWorld(t), &desk{}
	w.until(w.withCanaries("dead", d), w.now-begin+60, 10)
	if counts, _ := d.flights(t, 17); counts[incident.Fire] != Shards {
		t.Fatalf("signals %v, want a fire of each", counts)
	}
	next := w.withCanaries("next", d)
	w.until(next, w.now-begin+180, 10)
	if counts, of := d.flights(t, 17); counts[incident.Fire] > 0 {
		t.Errorf("told twice: %v %q", counts, of)
	}
	w.until(next, w.now-begin+120, 10)
	if _, of := d.flights(t, 17); len(of) != 1 || of[0] != "resolve at 4, again false, late false" {
		t.Errorf("the next owner says %q", of)
	}
	// Nobody looks for an hour, and what was missed is caught up with.
	w.now += 3600 + 30
	late := w.withCanaries("late", d)
	w.until(late, w.now-begin+600, 10)
	if _, of := d.flights(t, 17); len(of) == 0 {
		t.Error("it does not fly any more")
	}
}

func TestWhoLostAShardCannotFlyItsCanary(t *testing.T) {
	t.Parallel()
	w, d := canaryWorld(t), &desk{}
	frozen := w.withCanaries("frozen", d)
	w.tick(frozen)
	w.now += 20
	if _, err := w.db.HoldShards(t.Context(), "heir", []int{17}, unix(w.now), time.Hour, nil); err != nil {
		t.Fatal(err)
	}
	w.now += 80 // bad now
	c := frozen.canaries
	if err := c.step(t.Context(), c.held, w.now); !errors.Is(err, catalog.ErrFenced) {
		t.Errorf("without all of its shards: %v", err)
	}
	if counts, _ := d.flights(t, 17); len(counts) > 0 {
		t.Errorf("told %v", counts)
	}
	// As soon as it knows better, it flies those that are left.
	w.tick(frozen)
	if counts, of := d.flights(t, 17); counts[incident.Fire] != Shards-1 || len(of) > 0 {
		t.Errorf("told %v, and of the shard that it lost %q", counts, of)
	}
}
