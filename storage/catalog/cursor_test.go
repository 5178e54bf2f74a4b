package catalog_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/midwatch/midwatch/storage/catalog"
)

func TestCursorLife(t *testing.T) {
	onBoth(t, func(t *testing.T, db *catalog.DB) {
		const origin = int64(1_700_000_000_000_000_001)
		want := catalog.Cursor{Stream: "logs", Reader: "writer"}
		check := func(step string, got catalog.Cursor, err error) {
			t.Helper()
			if err != nil {
				t.Fatalf("%s: %v", step, err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("%s: (-want +got)\n%s", step, diff)
			}
			stored, err := db.ReadCursor(t.Context(), "logs", "writer")
			if err != nil {
				t.Fatalf("ReadCursor after %s: %v", step, err)
			}
			if diff := cmp.Diff(want, stored); diff != "" {
				t.Fatalf("ReadCursor after %s: (-want +got)\n%s", step, diff)
			}
		}
		c, err := db.ReadCursor(t.Context(), "logs", "writer")
		check("nothing", c, err)

		c, err = db.PlanBatch(t.Context(), c, origin, 1, 10)
		want.Origin, want.Version, want.First, want.Last = origin, 1, 1, 10
		check("the first plan", c, err)

		c, err = db.PlanBatch(t.Context(), c, origin, 1, 10)
		want.Version = 2
		check("the same plan again", c, err)

		c, err = db.FinishBatch(t.Context(), c, nil)
		want.Version, want.Done = 3, true
		check("finishing", c, err)

		c, err = db.PlanBatch(t.Context(), c, origin, 12, 1<<63-1)
		want.Version, want.First, want.Last, want.Done = 4, 12, 1<<63-1, false
		check("the second plan", c, err)

		c, err = db.ShortenBatch(t.Context(), c, 20)
		want.Version, want.Last = 5, 20
		check("shortening", c, err)

		c, err = db.PlanBatch(t.Context(), c, origin+1, 1, 5)
		want.Origin, want.Version, want.First, want.Last = origin+1, 6, 1, 5
		check("a stream made anew", c, err)
	})
}

func TestCursorRefuses(t *testing.T) {
	onBoth(t, func(t *testing.T, db *catalog.DB) {
		planned, err := db.PlanBatch(t.Context(), catalog.Cursor{Stream: "logs", Reader: "writer"}, 7, 5, 10)
		if err != nil {
			t.Fatal(err)
		}
		plan := func(name string, c catalog.Cursor, first, last uint64) {
			t.Helper()
			if got, err := db.PlanBatch(t.Context(), c, 7, first, last); err == nil || errors.Is(err, catalog.ErrConflict) || got != c {
				t.Errorf("PlanBatch of %s = %+v, %v; want the cursor as it was and an error other than ErrConflict", name, got, err)
			}
		}
		plan("the next while one is not done", planned, 11, 20)
		plan("a part of one that is not done", planned, 5, 9)
		plan("nothing", planned, 0, 0)
		plan("a reversed range", planned, 10, 9)
		shorten := func(name string, c catalog.Cursor, last uint64) {
			t.Helper()
			if got, err := db.ShortenBatch(t.Context(), c, last); err == nil || errors.Is(err, catalog.ErrConflict) || got != c {
				t.Errorf("ShortenBatch %s = %+v, %v; want the cursor as it was and an error other than ErrConflict", name, got, err)
			}
		}
		shorten("to nothing", planned, 4)
		shorten("to what it is", planned, 10)
		shorten("to more", planned, 11)
		done, err := db.FinishBatch(t.Context(), planned, nil)
		if err != nil {
			t.Fatal(err)
		}
		plan("what is done", done, 10, 20)
		shorten("of what is done", done, 7)
		shorten("without a plan", catalog.Cursor{Stream: "x", Reader: "y"}, 1)
		if _, err := db.FinishBatch(t.Context(), done, nil); err == nil {
			t.Error("FinishBatch of a batch that is done succeeded")
		}
		if _, err := db.FinishBatch(t.Context(), catalog.Cursor{Stream: "x", Reader: "y"}, nil); err == nil {
			t.Error("FinishBatch without a plan succeeded")
		}

		conflict := func(name string, err error) {
			t.Helper()
			if !errors.Is(err, catalog.ErrConflict) {
				t.Errorf("%s: %v, want ErrConflict", name, err)
			}
		}
		_, err = db.FinishBatch(t.Context(), planned, nil)
		conflict("FinishBatch with an old cursor", err)
		_, err = db.ShortenBatch(t.Context(), planned, 7)
		conflict("ShortenBatch with an old cursor", err)
		_, err = db.PlanBatch(t.Context(), planned, 7, 5, 10)
		conflict("PlanBatch with an old cursor", err)
		_, err = db.PlanBatch(t.Context(), catalog.Cursor{Stream: "logs", Reader: "writer"}, 7, 1, 2)
		conflict("PlanBatch as the first where there is one", err)
	})
}

func TestFinishBatchIsAllOrNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, db *catalog.DB) {
		planned, err := db.PlanBatch(t.Context(), catalog.Cursor{Stream: "errors", Reader: "writer"}, 7, 1, 1)
		if err != nil {
			t.Fatal(err)
		}
		events := []catalog.IssueEvents{{Project: 1, ID: 1, Title: "E", FirstSeen: time.Unix(1, 0), LastSeen: time.Unix(1, 0), Count: 1}}
		broken := errors.New("broken")
		got, err := db.FinishBatch(t.Context(), planned, func(tx *catalog.Tx) error {
			if err := tx.AddIssueEvents(t.Context(), events); err != nil {
				return err
			}
			return broken
		})
		if !errors.Is(err, broken) || got != planned {
			t.Fatalf("FinishBatch = %+v, %v; want the cursor as it was and the error of apply", got, err)
		}
		stored, err := db.ReadCursor(t.Context(), "errors", "writer")
		if err != nil || stored != planned {
			t.Fatalf("ReadCursor = %+v, %v; want %+v", stored, err, planned)
		}
		if issues, err := db.Issues(t.Context(), 1, []uint64{1}); err != nil || len(issues) != 0 {
			t.Fatalf("Issues = %v, %v; want none", issues, err)
		}
		if _, err := db.FinishBatch(t.Context(), planned, func(tx *catalog.Tx) error {
			return tx.AddIssueEvents(t.Context(), events)
		}); err != nil {
			t.Fatal(err)
		}
		if issues, err := db.Issues(t.Context(), 1, []uint64{1}); err != nil || issues[1].Count != 1 {
			t.Fatalf("Issues = %v, %v; want one with one event", issues, err)
		}
	})
}

// Readers that do not know of each other read the same batches; every batch must count once.
func TestRacingReadersCountEachBatchOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, db *catalog.DB) {
		const readers, batches = 4, 12
		errs := race(readers, func(int) error {
			c, err := db.ReadCursor(t.Context(), "errors", "writer")
			for err == nil {
				switch {
				case c.Version > 0 && !c.Done: // mine, or left by another who may still be at it
					c, err = db.FinishBatch(t.Context(), c, func(tx *catalog.Tx) error {
						at := time.Unix(int64(c.First), 0)
						return tx.AddIssueEvents(t.Context(), []catalog.IssueEvents{
							{Project: 1, ID: 1, FirstSeen: at, LastSeen: at, Count: 1},
							{Project: 1, ID: 2 + c.First, FirstSeen: at, LastSeen: at, Count: 1},
						})
					})
				case c.Last == batches:
					return nil
				default:
					c, err = db.PlanBatch(t.Context(), c, 7, c.Last+1, c.Last+1)
				}
				if errors.Is(err, catalog.ErrConflict) {
					c, err = db.ReadCursor(t.Context(), "errors", "writer")
				}
			}
			return err
		})
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		ids := []uint64{1}
		want := map[uint64]int64{1: batches}
		for batch := uint64(1); batch <= batches; batch++ {
			ids = append(ids, 2+batch)
			want[2+batch] = 1
		}
		issues, err := db.Issues(t.Context(), 1, ids)
		if err != nil {
			t.Fatal(err)
		}
		got := map[uint64]int64{}
		for id, issue := range issues {
			got[id] = issue.Count
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("events by issue (-want +got)\n%s", diff)
		}
	})
}

func TestRacingPlansHaveOneWinner(t *testing.T) {
	onBoth(t, func(t *testing.T, db *catalog.DB) {
		c := catalog.Cursor{Stream: "metrics", Reader: "writer"}
		for round := uint64(1); round <= 3; round++ {
			const readers = 6
			cursors := make([]catalog.Cursor, readers)
			errs := race(readers, func(i int) (err error) {
				// Each has seen another end of the stream.
				cursors[i], err = db.PlanBatch(t.Context(), c, 7, round*100, round*100+uint64(i))
				return err
			})
			winner := -1
			for i, err := range errs {
				switch {
				case err == nil && winner < 0:
					winner = i
				case err == nil:
					t.Fatalf("readers %d and %d both planned", winner, i)
				case !errors.Is(err, catalog.ErrConflict):
					t.Fatalf("reader %d: %v, want ErrConflict", i, err)
				}
			}
			if winner < 0 {
				t.Fatal("nobody planned")
			}
			applied := make([]int, readers)
			errs = race(readers, func(i int) error {
				_, err := db.FinishBatch(t.Context(), cursors[winner], func(tx *catalog.Tx) error {
					return tx.PutMonitor(t.Context(), catalog.Monitor{Project: 1, Slug: fmt.Sprintf("by-%d-%d", round, i)})
				})
				if err == nil {
					applied[i]++
				} else if !errors.Is(err, catalog.ErrConflict) {
					return err
				}
				return nil
			})
			if err := errors.Join(errs...); err != nil {
				t.Fatal(err)
			}
			total := 0
			for _, n := range applied {
				total += n
			}
			monitors, err := db.Monitors(t.Context(), 1)
			if err != nil || total != 1 || len(monitors) != int(round) {
				t.Fatalf("%d finished, %d changes (%v); want one each", total, len(monitors), err)
			}
			if c, err = db.ReadCursor(t.Context(), "metrics", "writer"); err != nil {
				t.Fatal(err)
			}
		}
	})
}
