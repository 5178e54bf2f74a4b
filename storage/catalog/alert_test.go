package catalog_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/midwatch/midwatch/storage/catalog"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func everyShard(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

func TestShardsHaveOneOwnerEach(t *testing.T) {
	onBoth(t, func(t *testing.T, db *catalog.DB) {
		const replicas, shards, rounds = 4, 16, 5
		last := map[int]int64{}
		for round := range rounds {
			now := noon.Add(time.Duration(round) * time.Minute) // all leases are over
			var mu sync.Mutex
			owners := map[int]int{}
			if err := errors.Join(race(replicas, func(i int) error {
				held, err := db.HoldShards(t.Context(), fmt.Sprint("replica", i), everyShard(shards), now, 15*time.Second, nil)
				mu.Lock()
				defer mu.Unlock()
				for _, s := range held {
					owners[s.ID]++
					if s.Epoch <= last[s.ID] {
						t.Errorf("round %d: shard %d has epoch %d after %d", round, s.ID, s.Epoch, last[s.ID])
					}
					last[s.ID] = s.Epoch
				}
				return err
			})...); err != nil {
				t.Fatal(err)
			}
			for _, id := range everyShard(shards) {
				if owners[id] != 1 {
					t.Errorf("round %d: shard %d has %d owners", round, id, owners[id])
				}
			}
		}
	})
}

func TestFenceStopsWhoHasLostItsShard(t *testing.T) {
	onBoth(t, func(t *testing.T, db *catalog.DB) {
		ctx := t.Context()
		hold := func(owner string, want []int, now time.Time) []catalog.Shard {
			t.Helper()
			held, err := db.HoldShards(ctx, owner, want, now, 15*time.Second, nil)
			if err != nil {
				t.Fatal(err)
			}
			return held
		}
		commit := func(s catalog.Shard, cursor time.Time) error {
			return db.InTx(ctx, func(tx *catalog.Tx) error {
				if err := tx.Fence(ctx, s); err != nil {
					return err
				}
				return tx.PutRuleState(ctx, catalog.RuleState{Project: 1, Rule: "r", Identity: "i", Cursor: cursor, State: []byte("{}")})
			})
		}
		first := hold("one", []int{7}, noon)
		if len(first) != 1 || first[0].Epoch != 1 {
			t.Fatalf("held %+v", first)
		}
		if renewed := hold("one", []int{7}, noon.Add(5*time.Second)); len(renewed) != 1 || renewed[0] != first[0] {
			t.Fatalf("renewed %+v, want the same epoch", renewed)
		}
		if early := hold("two", []int{7}, noon.Add(19*time.Second)); len(early) != 0 {
			t.Fatalf("taken before the lease was over: %+v", early)
		}
		// The lease may be over; until somebody takes the shard its owner's word stands.
		if err := commit(first[0], noon.Add(10*time.Second)); err != nil {
			t.Fatal(err)
		}
		second := hold("two", []int{7}, noon.Add(21*time.Second))
		if len(second) != 1 || second[0].Epoch != 2 {
			t.Fatalf("held %+v", second)
		}
		if err := commit(second[0], noon.Add(20*time.Second)); err != nil {
			t.Fatal(err)
		}
		if err := commit(first[0], noon.Add(30*time.Second)); !errors.Is(err, catalog.ErrFenced) {
			t.Fatalf("the frozen owner commits: %v, want ErrFenced", err)
		}
		states, err := db.RuleStates(ctx)
		if err != nil || len(states) != 1 || !states[0].Cursor.Equal(noon.Add(20*time.Second)) {
			t.Fatalf("states %+v, %v", states, err)
		}
	})
}

// A takeover and a commit of the old owner at the same time: the commit counts or the fence stops it,
// and after the takeover nothing of the old owner comes any more.
func TestFenceRacesWithATakeover(t *testing.T) {
	onBoth(t, func(t *testing.T, db *catalog.DB) {
		ctx := t.Context()
		for round := range 20 {
			now := noon.Add(time.Duration(round) * time.Minute)
			old, err := db.HoldShards(ctx, fmt.Sprint("old", round), []int{1}, now, time.Second, nil)
			if err != nil || len(old) != 1 {
				t.Fatalf("HoldShards = %v, %v", old, err)
			}
			errs := race(2, func(i int) error {
				if i == 0 {
					taken, err := db.HoldShards(ctx, fmt.Sprint("new", round), []int{1}, now.Add(10*time.Second), time.Second, nil)
					if err == nil && (len(taken) != 1 || taken[0].Epoch != old[0].Epoch+1) {
						err = fmt.Errorf("taken %v after %v", taken, old)
					}
					return err
				}
				err := db.InTx(ctx, func(tx *catalog.Tx) error { return tx.Fence(ctx, old[0]) })
				if errors.Is(err, catalog.ErrFenced) {
					return nil
				}
				return err
			})
			if err := errors.Join(errs...); err != nil {
				t.Fatal(err)
			}
			if err := db.InTx(ctx, func(tx *catalog.Tx) error { return tx.Fence(ctx, old[0]) }); !errors.Is(err, catalog.ErrFenced) {
				t.Fatalf("the old owner after the takeover: %v", err)
			}
		}
	})
}

// postAll writes messages: two about each incident to one receiver.
func postAll(t *testing.T, db *catalog.DB, incidents int) {
	t.Helper()
	err := db.InTx(t.Context(), func(tx *catalog.Tx) error {
		for i := range incidents {
			for seq, action := range []string{"trigger", "resolve"} {
				row := catalog.OutboxRow{
					Key: fmt.Sprintf("i%02d:%d:r:%s", i, seq+1, action), Organisation: "org", Incident: fmt.Sprintf("i%02d", i), Seq: int64(seq + 1), Receiver: "r",
					Action: action, Severity: "page", CreatedAt: noon, DueAt: noon, Message: []byte("{}"),
				}
				if err := tx.Post(t.Context(), row); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestMessagesAreClaimedOnceAndInOrder(t *testing.T) {
	onBoth(t, func(t *testing.T, db *catalog.DB) {
		const senders, incidents = 6, 30
		ctx := t.Context()
		postAll(t, db, incidents)
		var mu sync.Mutex
		claimed := map[string]int{}
		finished := map[string]int64{} // the newest message that is done, by incident
		err := errors.Join(race(senders, func(i int) error {
			all := func() bool {
				mu.Lock()
				defer mu.Unlock()
				return len(claimed) == 2*incidents
			}
			for !all() {
				rows, err := db.Claim(ctx, fmt.Sprint("sender", i), noon, 30*time.Second, 7, nil)
				if err != nil {
					return err
				}
				for _, row := range rows {
					mu.Lock()
					claimed[row.Key]++
					if finished[row.Incident] != row.Seq-1 {
						t.Errorf("%s is claimed while %d is the newest that is done", row.Key, finished[row.Incident])
					}
					finished[row.Incident] = row.Seq // before it is: another one may come at once
					mu.Unlock()
					err := db.InTx(ctx, func(tx *catalog.Tx) error {
						kept, err := tx.Outbox(ctx, row.Key)
						if err != nil {
							return err
						}
						kept.State, kept.Claim, kept.LeaseUntil = catalog.OutboxDone, "", time.Time{}
						return tx.PutOutbox(ctx, kept)
					})
					if err != nil {
						return err
					}
				}
			}
			return nil
		})...)
		if err != nil {
			t.Fatal(err)
		}
		if len(claimed) != 2*incidents {
			t.Errorf("%d of %d messages were claimed", len(claimed), 2*incidents)
		}
		for key, n := range claimed {
			if n != 1 {
				t.Errorf("%s was claimed %d times", key, n)
			}
		}
	})
}

func TestClaimTakesOverWhatWasLeftBehind(t *testing.T) {
	onBoth(t, func(t *testing.T, db *catalog.DB) {
		ctx := t.Context()
		postAll(t, db, 1)
		claim := func(name string, now time.Time, except ...string) []catalog.OutboxRow {
			t.Helper()
			rows, err := db.Claim(ctx, name, now, 30*time.Second, 10, except)
			if err != nil {
				t.Fatal(err)
			}
			return rows
		}
		if rows := claim("busy", noon, "org/r"); len(rows) != 0 {
			t.Fatalf("claimed for a receiver that is busy: %+v", rows)
		}
		first := claim("dead", noon, "other/r")
		if len(first) != 1 || first[0].Uncertain || first[0].Attempts != 1 {
			t.Fatalf("claimed %+v", first)
		}
		if rows := claim("early", noon.Add(29*time.Second)); len(rows) != 0 {
			t.Fatalf("claimed before the lease was over: %+v", rows)
		}
		second := claim("heir", noon.Add(31*time.Second))
		if len(second) != 1 || second[0].Key != first[0].Key || !second[0].Uncertain || second[0].Attempts != 2 {
			t.Fatalf("claimed %+v", second)
		}
	})
}

func TestDigestLinesAreTakenOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, db *catalog.DB) {
		const lines, digests = 40, 5
		ctx := t.Context()
		err := db.InTx(ctx, func(tx *catalog.Tx) error {
			for i := range lines {
				line := catalog.DigestLine{ID: fmt.Sprint("line", i), Organisation: "org", Team: "team", At: noon, Section: "healed", Body: []byte("{}")}
				if err := tx.AddDigestLine(ctx, line); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		take := func(digest string) (n int, err error) {
			err = db.InTx(ctx, func(tx *catalog.Tx) error {
				taken, err := tx.TakeDigestLines(ctx, "org", "team", digest, noon.Add(time.Second))
				n = len(taken)
				return err
			})
			return n, err
		}
		counts := make([]int, digests)
		if err := errors.Join(race(digests, func(i int) (err error) {
			counts[i], err = take(fmt.Sprint("digest", i))
			return err
		})...); err != nil {
			t.Fatal(err)
		}
		sum := 0
		for i, n := range counts {
			sum += n
			if again, err := take(fmt.Sprint("digest", i)); err != nil || again != n {
				t.Errorf("digest %d has %d lines, then %d, %v", i, n, again, err)
			}
		}
		if sum != lines {
			t.Errorf("%d lines were taken, want each of %d once", sum, lines)
		}
	})
}
