package catalog_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/midwatch/midwatch/storage/catalog"
)

// putIncident makes an incident with a line of a timeline, an instance and a message that was sent.
func putIncident(t *testing.T, db *catalog.DB, i catalog.Incident, message catalog.OutboxRow) {
	t.Helper()
	ctx := t.Context()
	i.Number, i.Team, i.RouteKey, i.Severity, i.Title, i.Body = 1, "team", "route "+i.ID, "page", i.ID, []byte("{}")
	err := db.InTx(ctx, func(tx *catalog.Tx) error {
		message.Key, message.Organisation, message.Incident, message.Receiver = i.ID+":1:r:trigger", i.Organisation, i.ID, "r"
		message.CreatedAt, message.DueAt, message.Message = i.OpenedAt, i.OpenedAt, []byte("{}")
		return errors.Join(
			tx.PutIncident(ctx, i),
			tx.AddIncidentEntry(ctx, catalog.IncidentEntry{ID: i.ID + "/1", Incident: i.ID, At: i.OpenedAt, Kind: "opened", Text: "it began"}),
			tx.PutInstance(ctx, i.Project, "rule/page/"+i.ID, i.ID),
			tx.Post(ctx, message),
			tx.AddAttempt(ctx, catalog.Attempt{ID: i.ID, Key: message.Key, At: i.OpenedAt, Number: 1}),
		)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// left says what is there of some incidents.
func left(t *testing.T, db *catalog.DB, ids ...string) (all []string) {
	t.Helper()
	ctx := t.Context()
	for _, id := range ids {
		_, missing := db.Incident(ctx, id)
		if missing != nil && !errors.Is(missing, catalog.ErrNotFound) {
			t.Fatal(missing)
		}
		entries, err := db.IncidentEntries(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		rows, err := db.OutboxOf(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		attempts, err := db.Attempts(ctx, id+":1:r:trigger")
		if err != nil {
			t.Fatal(err)
		}
		if missing == nil || len(entries)+len(rows)+len(attempts) > 0 {
			all = append(all, fmt.Sprintf("%s %t %d %d %d", id, missing == nil, len(entries), len(rows), len(attempts)))
		}
	}
	return all
}

func TestOldIncidentsAreForgottenWithAllThatIsTheirs(t *testing.T) {
	onBoth(t, func(t *testing.T, db *catalog.DB) {
		ctx := t.Context()
		before := noon.AddDate(0, -13, 0)
		old, young := before.Add(-time.Hour), before.Add(time.Hour)
		sent := catalog.OutboxRow{State: catalog.OutboxDone}
		add := func(id, state string, opened, resolved time.Time, message catalog.OutboxRow) {
			t.Helper()
			putIncident(t, db, catalog.Incident{ID: id, Organisation: "o", Project: 1, State: state, OpenedAt: opened, Since: opened, ResolvedAt: resolved}, message)
		}
		add("resolved", catalog.IncidentResolved, old, old, sent)
		add("merged", catalog.IncidentMerged, old, old, sent)
		add("open", catalog.IncidentOpen, old, time.Time{}, sent)
		add("recent", catalog.IncidentResolved, old, young, sent)
		add("untold", catalog.IncidentResolved, old, old, catalog.OutboxRow{})
		for range 2 {
			if err := db.DropOldIncidents(ctx, before); err != nil {
				t.Fatal(err)
			}
			want := []string{"open true 1 1 1", "recent true 1 1 1", "untold true 1 1 1"}
			if diff := cmp.Diff(want, left(t, db, "resolved", "merged", "open", "recent", "untold")); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		}
		// What looks for incidents finds those that are left, and what looks for one that is gone none.
		err := db.InTx(ctx, func(tx *catalog.Tx) error {
			if bad, err := tx.IncidentsOfInstance(ctx, 1, "rule/page/resolved"); err != nil || len(bad) > 0 {
				t.Errorf("bad in %+v, %v", bad, err)
			}
			if bad, err := tx.IncidentsOfInstance(ctx, 1, "rule/page/open"); err != nil || len(bad) != 1 {
				t.Errorf("bad in %+v, %v", bad, err)
			}
			if newest, err := tx.NewestIncident(ctx, "o", "team", "route resolved"); !errors.Is(err, catalog.ErrNotFound) {
				t.Errorf("the newest is %+v, %v", newest, err)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		now := catalog.Incident{ID: "now", Organisation: "o", Team: "team", RouteKey: "route resolved", OpenedAt: noon}
		if previous, err := db.PreviousIncidents(ctx, now, 10); err != nil || len(previous) > 0 {
			t.Errorf("the last time was %+v, %v", previous, err)
		}
		if _, err := db.FreezeDossier(ctx, "resolved", []byte("{}")); !errors.Is(err, catalog.ErrNotFound) {
			t.Errorf("a dossier for what is gone: %v", err)
		}
	})
}

func TestManyOldIncidentsGoStepByStep(t *testing.T) {
	onBoth(t, func(t *testing.T, db *catalog.DB) {
		db.SetDropStep(2)
		var ids []string
		for i := range 7 {
			id := fmt.Sprint("i", i)
			ids = append(ids, id)
			putIncident(t, db, catalog.Incident{ID: id, Organisation: "o", Project: 1, State: catalog.IncidentResolved, OpenedAt: noon, ResolvedAt: noon}, catalog.OutboxRow{State: catalog.OutboxDone})
		}
		if err := db.DropOldIncidents(t.Context(), noon.Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		if some := left(t, db, ids...); len(some) > 0 {
			t.Errorf("left are %q", some)
		}
	})
}

func TestReceiversThatAreGoneAreForgotten(t *testing.T) {
	onBoth(t, func(t *testing.T, db *catalog.DB) {
		ctx := t.Context()
		if _, err := db.PutDocument(ctx, catalog.Document{Organisation: "o", Kind: "receiver", ID: "kept", Body: []byte("{}")}, catalog.NewDocument); err != nil {
			t.Fatal(err)
		}
		putIncident(t, db, catalog.Incident{ID: "i", Organisation: "o", State: catalog.IncidentOpen, OpenedAt: noon}, catalog.OutboxRow{State: catalog.OutboxDone})
		err := db.InTx(ctx, func(tx *catalog.Tx) error {
			return errors.Join(
				tx.PutReceiverState(ctx, "o", "kept", []byte("{}")), tx.PutReceiverState(ctx, "o", "gone", []byte("{}")),
				tx.PutReceiverState(ctx, "o", "r", []byte("{}")), tx.PutReceiverState(ctx, "another", "kept", []byte("{}")),
			)
		})
		if err != nil {
			t.Fatal(err)
		}
		count := func(organisation string, want int) {
			t.Helper()
			if states, err := db.ReceiverStates(ctx, organisation); err != nil || len(states) != want {
				t.Errorf("%d states of %s, %v; want %d", len(states), organisation, err, want)
			}
		}
		if err := db.DropOldAlerting(ctx, noon); err != nil {
			t.Fatal(err)
		}
		count("o", 2) // the one that is there, and the one that was sent something
		count("another", 0)
		if err := db.DropOldAlerting(ctx, noon.Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		count("o", 1)
	})
}

func TestShardsAreWatched(t *testing.T) {
	onBoth(t, func(t *testing.T, db *catalog.DB) {
		ctx := t.Context()
		held, err := db.HoldShards(ctx, "a", []int{3, 4}, noon, time.Minute, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := db.CanariesHome(ctx, []int{4, 9}, noon.Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		if err := db.CanariesHome(ctx, []int{4}, noon); err != nil { // an older one
			t.Fatal(err)
		}
		want := []catalog.ShardWatch{
			{ID: 3, Owner: "a", LeaseUntil: noon.Add(time.Minute)},
			{ID: 4, Owner: "a", LeaseUntil: noon.Add(time.Minute), CanaryAt: noon.Add(time.Second)},
		}
		got, err := db.WatchShards(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
		// A commit for several shards is held up by one that is lost.
		fence := func(shards ...catalog.Shard) error {
			return db.InTx(ctx, func(tx *catalog.Tx) error { return tx.Fence(ctx, shards...) })
		}
		if err := fence(held...); err != nil {
			t.Errorf("with all of them: %v", err)
		}
		if err := db.Leave(ctx, "a"); err != nil {
			t.Fatal(err)
		}
		if _, err := db.HoldShards(ctx, "b", []int{4}, noon, time.Minute, nil); err != nil {
			t.Fatal(err)
		}
		if err := fence(held...); !errors.Is(err, catalog.ErrFenced) {
			t.Errorf("with one that is lost: %v", err)
		}
		if err := fence(held[0]); err != nil {
			t.Errorf("with the one that nobody has taken: %v", err)
		}
		got, err = db.WatchShards(ctx)
		if err != nil || !got[1].CanaryAt.Equal(noon.Add(time.Second)) || got[1].Owner != "b" || !got[0].LeaseUntil.IsZero() {
			t.Errorf("after the takeover %+v, %v", got, err)
		}
	})
}

func TestShardsSayUpToWhenTheyAreEvaluated(t *testing.T) {
	onBoth(t, func(t *testing.T, db *catalog.DB) {
		hold := func(owner string, after time.Duration, evaluated map[int]time.Time) {
			t.Helper()
			if held, err := db.HoldShards(t.Context(), owner, []int{1, 2, 3}, noon.Add(after), 15*time.Second, evaluated); err != nil || len(held) != 3 {
				t.Fatalf("%s holds %v, %v", owner, held, err)
			}
		}
		want := func(shard int, want time.Time) {
			t.Helper()
			if got, err := db.EvaluatedUntil(t.Context(), shard); err != nil || !got.Equal(want) {
				t.Errorf("shard %d is evaluated until %s, %v; want %s", shard, got, err, want)
			}
		}
		at := func(seconds int) time.Time { return noon.Add(time.Duration(seconds) * time.Second) }
		hold("a", 0, map[int]time.Time{1: at(0)}) // taken: it knows nothing yet
		want(1, time.Time{})
		hold("a", 5*time.Second, map[int]time.Time{1: at(4), 2: at(3), 9: at(1)})
		want(1, at(4))
		want(2, at(3))
		want(3, time.Time{})
		want(9, time.Time{})
		hold("a", 10*time.Second, map[int]time.Time{1: at(2), 3: at(9)}) // what is evaluated stays so
		want(1, at(4))
		want(2, at(3))
		want(3, at(9))
		hold("b", time.Minute, nil)
		want(1, at(4))
		hold("b", 65*time.Second, map[int]time.Time{1: at(64)})
		want(1, at(64))
	})
}
