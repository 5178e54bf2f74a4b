package alerting

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/metric/noop"

	"golang.org/x/sync/errgroup"

	"github.com/midwatch/midwatch/alerts/deliver"
	"github.com/midwatch/midwatch/alerts/desk"
	"github.com/midwatch/midwatch/alerts/evaluate"
	"github.com/midwatch/midwatch/storage/catalog"
	"github.com/midwatch/midwatch/storage/storagetest"
)

// sky is a bubble in which time passes as fast as nobody has anything to do.
type sky struct {
	t  *testing.T
	db *catalog.DB
}

// underTheSky runs f in a bubble. A PostgreSQL has a clock of its own, which does not hurry.
func underTheSky(t *testing.T, f func(t *testing.T, s sky)) {
	t.Helper()
	t.Parallel()
	cfg := storagetest.CatalogConfig(t)
	if cfg.URL != "" {
		t.Skip("the clock of the database cannot be driven")
	}
	synctest.Test(t, func(t *testing.T) { f(t, sky{t, storagetest.OpenCatalog(t, cfg)}) })
}

// start begins the evaluation and, if it sends, the sender of a replica, and returns what ends it.
func (s sky) start(replica string, sends bool) (stop func()) {
	s.t.Helper()
	log, meter := slog.New(slog.DiscardHandler), noop.NewMeterProvider().Meter("")
	d := desk.New(desk.Config{URL: "https://midwatch.example.com"}, s.db, log)
	e, err := evaluate.New(evaluate.Config{Replica: replica, Canary: desk.DrillID}, s.db, nil, d, meter, log)
	if err != nil {
		s.t.Fatal(err)
	}
	sender, err := deliver.New(deliver.Config{Open: (&opener{db: s.db}).open, Now: s.db.Clock}, s.db, d, meter, log)
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(s.t.Context())
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return e.Run(ctx) })
	if sends {
		group.Go(func() error { return sender.Run(ctx) })
	}
	return func() {
		s.t.Helper()
		cancel()
		if err := group.Wait(); err != nil {
			s.t.Error(err)
		}
	}
}

// watch looks as often as a watcher does, and returns what it says at the end of a while; and how often
// it said that anything was wrong.
func (s sky) watch(w *watcher, while time.Duration) (last string, bad int) {
	s.t.Helper()
	for end := time.Now().Add(while); time.Now().Before(end); {
		time.Sleep(lookInterval)
		synctest.Wait()
		canaries, err := w.canaries(s.t.Context(), time.Now())
		if err != nil {
			s.t.Fatal(err)
		}
		p, is := lost(canaries)
		if last = p.Text; is {
			bad++
		}
	}
	return last, bad
}

func TestCanariesComeHomeAndNobodyNotices(t *testing.T) {
	underTheSky(t, func(t *testing.T, s sky) {
		ctx := t.Context()
		first, err := s.db.Initialise(ctx, catalog.Initial{Email: "ann@example.com", Password: "correct horse"})
		if err != nil {
			t.Fatal(err)
		}
		stop := s.start("a", true)
		w := newTestWatcher(t, "", s.db)
		if last, bad := s.watch(w, 35*time.Minute); bad > 0 {
			t.Errorf("%d looks are bad: %s", bad, last)
		}
		stop()
		shards, err := s.db.WatchShards(ctx)
		if err != nil || len(shards) != evaluate.Shards {
			t.Fatalf("%d shards, %v", len(shards), err)
		}
		for _, one := range shards {
			if age := time.Since(one.CanaryAt); age > 11*time.Minute {
				t.Errorf("the canary of shard %d came home %s ago", one.ID, age)
			}
		}
		// It is one incident of nobody's, told to the receiver that takes everything.
		flown := func(organisation string) (incidents, told, lines int) {
			t.Helper()
			all, err := s.db.Incidents(ctx, catalog.IncidentFilter{Organisation: organisation, Limit: 100})
			if err != nil {
				t.Fatal(err)
			}
			rows, err := s.db.Deliveries(ctx, catalog.OutboxFilter{Organisation: organisation, Limit: 1000})
			if err != nil {
				t.Fatal(err)
			}
			for _, row := range rows {
				if row.Receiver != desk.DrillID || row.State != catalog.OutboxDone {
					t.Errorf("message %+v", row)
				}
			}
			digest, err := s.db.DigestLines(ctx, organisation, "", time.Time{}, time.Now().Add(time.Hour))
			if err != nil {
				t.Fatal(err)
			}
			return len(all), len(rows), len(digest)
		}
		incidents, told, lines := flown(desk.DrillID)
		if incidents != 1 || told == 0 || told > 4*3 || lines > 0 {
			t.Errorf("%d incidents with %d messages and %d lines of a digest", incidents, told, lines)
		}
		if incidents, told, lines := flown(first.Project.OrganisationID); incidents+told+lines > 0 {
			t.Errorf("of somebody's: %d incidents, %d messages, %d lines", incidents, told, lines)
		}
		transitions, err := s.db.Transitions(ctx, first.Project.Number, "", time.Time{}, time.Now(), 10)
		if err != nil || len(transitions) > 0 {
			t.Errorf("transitions of somebody's: %+v, %v", transitions, err)
		}
		// And leaves nothing behind.
		if err := s.db.DropCanaries(ctx, desk.DrillID, time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		incidents, told, lines = flown(desk.DrillID)
		if incidents+told+lines > 0 {
			t.Errorf("%d incidents, %d messages, %d lines are left", incidents, told, lines)
		}
		if transitions, err = s.db.Transitions(ctx, 0, "", time.Time{}, time.Now(), 10); err != nil || len(transitions) > 0 {
			t.Errorf("%d transitions are left, %v", len(transitions), err)
		}
	})
}

func TestALostCanaryIsMissedAndOthersAreNotBlamed(t *testing.T) {
	underTheSky(t, func(t *testing.T, s sky) {
		// A peer watches; it holds no shard itself.
		w := newTestWatcher(t, "", s.db)
		stop := s.start("ship", true)
		if last, bad := s.watch(w, 15*time.Minute); bad > 0 {
			t.Errorf("at first: %s", last)
		}
		stop()
		if last, _ := s.watch(w, 40*time.Minute); last == "" {
			t.Error("nobody holds a shard, and that is well")
		}
		// What nobody has held for a while is not late once somebody does.
		stop = s.start("mute", false)
		s.watch(w, lookInterval)
		if last, bad := s.watch(w, 20*time.Minute); bad > 0 {
			t.Errorf("taken over: %s", last)
		}
		if last, _ := s.watch(w, 10*time.Minute); last != fmt.Sprintf("%d canaries have not come home: the canary of shard 0, which mute holds, has been away for 30m0s", evaluate.Shards) {
			t.Errorf("nobody sends: %q", last)
		}
		// Who has just begun to look, or has slept, does not know.
		if last, bad := s.watch(newTestWatcher(t, "", s.db), 10*time.Minute); bad > 0 {
			t.Errorf("a watcher that is new: %s", last)
		}
		if last, bad := s.watch(w, lookInterval); bad > 0 {
			t.Errorf("a watcher that did not look for ten minutes: %s", last)
		}
		stop()
	})
}

// TestACanaryWhoseOwnerGoesComesHomeToTheNext stops one of two replicas while its canaries are away.
func TestACanaryWhoseOwnerGoesComesHomeToTheNext(t *testing.T) {
	underTheSky(t, func(t *testing.T, s sky) {
		w := newTestWatcher(t, "", s.db)
		first, second := s.start("first", true), s.start("second", true)
		open := func() (n int) {
			t.Helper()
			all, err := s.db.Incidents(t.Context(), catalog.IncidentFilter{Organisation: desk.DrillID, State: catalog.IncidentOpen, Limit: 10})
			if err != nil {
				t.Fatal(err)
			}
			return len(all)
		}
		for s.watch(w, 10*time.Minute); open() < 2; { // each replica has its own
			s.watch(w, lookInterval)
		}
		first()
		if last, bad := s.watch(w, 15*time.Minute); bad > 0 {
			t.Errorf("%d looks are bad: %s", bad, last)
		}
		for ; open() > 0; s.watch(w, lookInterval) {
			if open() > 1 {
				t.Fatal("what the first has left behind is still open")
			}
		}
		shards, err := s.db.WatchShards(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range shards {
			if age := time.Since(one.CanaryAt); age > 11*time.Minute || one.Owner != "second" {
				t.Errorf("the canary of shard %d, which %s holds, came home %s ago", one.ID, one.Owner, age)
			}
		}
		second()
	})
}

func TestCanariesAreJudged(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		canaries []Canary
		want     []Problem
	}{
		"all are home": {[]Canary{{Shard: 3, Owner: "a", Away: canaryPatience}, {Shard: 4}}, nil},
		"one is lost": {
			[]Canary{{Shard: 3, Owner: "a", Away: 26 * time.Minute, Projects: []uint32{7}}, {Shard: 4, Owner: "b", Away: time.Minute, Projects: []uint32{8}}},
			[]Problem{{Text: "the canary of shard 3, which a holds, has been away for 26m0s", Projects: []uint32{7}}},
		},
		"several are": {
			[]Canary{{Shard: 3, Away: 27 * time.Minute, Projects: []uint32{7}}, {Shard: 4, Owner: "b", Away: 26 * time.Minute, Projects: []uint32{2}}},
			[]Problem{{Text: "2 canaries have not come home: the canary of shard 3, which nobody holds, has been away for 27m0s", Projects: []uint32{2, 7}}},
		},
	} {
		if diff := cmp.Diff(test.want, Judge(Facts{Now: noon, Canaries: test.canaries})); diff != "" {
			t.Errorf("%s: -want +got:\n%s", name, diff)
		}
	}
}
