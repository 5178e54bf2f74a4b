package catalog_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/midwatch/midwatch/storage/catalog"
	"github.com/midwatch/midwatch/storage/storagetest"
)

// happened is an event of an issue in a release.
func happened(id uint64, release string, seconds int64) catalog.IssueEvents {
	e := batch(id, "x", seconds, seconds, 1)
	e.Release = release
	return e
}

func resolve(t *testing.T, db *catalog.DB, id uint64, r catalog.Resolution) catalog.Issue {
	t.Helper()
	issues, err := db.ResolveIssues(t.Context(), 1, []uint64{id}, r)
	if err != nil || len(issues) != 1 {
		t.Fatalf("ResolveIssues = %v, %v; want one", issues, err)
	}
	return issues[0]
}

func TestAnIssueIsResolvedRegressesAndIsReopened(t *testing.T) {
	onBoth(t, func(t *testing.T, db *catalog.DB) {
		addEvents(t, db, happened(7, "1", 10))
		if got := issueOf(t, db, 7).Status(); got != catalog.IssueUnresolved {
			t.Errorf("a new issue is %s", got)
		}
		got := resolve(t, db, 7, catalog.Resolution{At: at(20), By: "ann"})
		want := catalog.IssueLife{Resolution: 1, ResolvedAt: at(20), ResolvedBy: "ann"}
		if diff := cmp.Diff(want, got.IssueLife); diff != "" || got.Status() != catalog.IssueResolved {
			t.Errorf("resolved is %s (-want +got)\n%s", got.Status(), diff)
		}
		if diff := cmp.Diff(got, issueOf(t, db, 7)); diff != "" {
			t.Errorf("what is kept is not what was answered\n%s", diff)
		}

		// What happened before comes late.
		addEvents(t, db, happened(7, "1", 15), happened(7, "1", 20))
		if got := issueOf(t, db, 7).Status(); got != catalog.IssueResolved {
			t.Errorf("after a late event it is %s", got)
		}
		addEvents(t, db, happened(7, "1", 30), happened(7, "2", 35))
		want.RegressedFrom, want.RegressedAt, want.RegressedRelease = 1, at(30), "1"
		got = issueOf(t, db, 7)
		if diff := cmp.Diff(want, got.IssueLife); diff != "" || got.Status() != catalog.IssueRegressed {
			t.Errorf("regressed is %s (-want +got)\n%s", got.Status(), diff)
		}
		addEvents(t, db, happened(7, "3", 50))
		if diff := cmp.Diff(want, issueOf(t, db, 7).IssueLife); diff != "" {
			t.Errorf("another event of a regressed issue (-want +got)\n%s", diff)
		}

		got = resolve(t, db, 7, catalog.Resolution{At: at(60), By: "bob"})
		if got.Status() != catalog.IssueResolved || got.Resolution != 2 {
			t.Errorf("resolved again is %s %+v", got.Status(), got.IssueLife)
		}
		addEvents(t, db, happened(7, "3", 70))
		if got := issueOf(t, db, 7); got.Status() != catalog.IssueRegressed || got.RegressedFrom != 2 || !got.RegressedAt.Equal(at(70)) {
			t.Errorf("the second regression is %s %+v", got.Status(), got.IssueLife)
		}

		open, err := db.ReopenIssues(t.Context(), 1, []uint64{7})
		if err != nil || open[0].Status() != catalog.IssueUnresolved || open[0].ResolvedBy != "" {
			t.Errorf("ReopenIssues = %+v, %v", open, err)
		}
		addEvents(t, db, happened(7, "4", 80))
		if got := issueOf(t, db, 7); got.Status() != catalog.IssueUnresolved || !got.RegressedAt.Equal(at(70)) {
			t.Errorf("an event of an open issue makes it %s %+v", got.Status(), got.IssueLife)
		}
	})
}

// TestReleasesOlderThanTheFixDoNotRegress is who regresses by which events, all in one batch and each in
// its own.
func TestReleasesOlderThanTheFixDoNotRegress(t *testing.T) {
	onBoth(t, func(t *testing.T, db *catalog.DB) {
		// Releases 1 to 3 were seen at 10, 20 and 30 in another issue, 4 was deployed at 40.
		addEvents(t, db, happened(1000, "1", 10), happened(1000, "2", 20), happened(1000, "3", 30), happened(1000, "1", 35))
		if err := db.AddDeploy(t.Context(), catalog.Deploy{Project: 1, ID: "a", At: at(40), Release: "4", Source: "api"}); err != nil {
			t.Fatal(err)
		}
		id := uint64(0)
		f := func(r catalog.Resolution, want string, events ...catalog.IssueEvents) {
			t.Helper()
			for range 2 {
				id++
				addEvents(t, db, happened(id, "1", 12))
				r.At = at(50)
				resolve(t, db, id, r)
				for i := range events {
					events[i].ID = id
				}
				if id%2 == 0 {
					addEvents(t, db, events...)
				} else {
					for _, e := range events {
						addEvents(t, db, e)
					}
				}
				got := ""
				if i := issueOf(t, db, id); i.Status() == catalog.IssueRegressed {
					got = fmt.Sprint(i.RegressedRelease, " at ", i.RegressedAt.Unix())
				}
				if got != want {
					t.Errorf("%+v: regressed in %q, want %q", r, got, want)
				}
			}
		}
		in := func(release string) catalog.Resolution { return catalog.Resolution{Release: release} }
		e := func(release string, seconds int64) catalog.IssueEvents { return happened(0, release, seconds) }

		f(in("3"), "", e("1", 60), e("2", 61))
		f(in("3"), "3 at 62", e("1", 60), e("3", 62), e("2", 70))
		f(in("3"), "4 at 61", e("2", 60), e("4", 61))
		f(in("3"), "", e("3", 45), e("4", 50)) // before it was resolved
		f(in("4"), "", e("3", 60))             // known by its deploy only
		f(in("4"), "4 at 60", e("4", 60))
		f(in("1"), "1 at 60", e("1", 60))
		f(in(""), "1 at 60", e("1", 60))
		f(in(""), " at 60", e("", 60))
		f(in("3"), "", e("", 60)) // of which release nobody knows
		f(catalog.Resolution{Next: true}, "", e("1", 60), e("3", 61), e("4", 62), e("", 63))
		f(catalog.Resolution{Next: true}, "5a at 64", e("4", 62), e("5a", 64))
		f(catalog.Resolution{Next: true}, "5a at 58", e("5b", 64), e("5a", 58), e("5a", 61)) // whatever order they come in
		f(in("3"), "6 at 59", e("6", 59))                                                    // never seen before
		f(in("7"), "", e("3", 60), e("4", 60))                                               // a fix that is still to come
		f(in("7"), "7 at 61", e("4", 60), e("7", 61))
		// First seen now, but by an event of before the fix: it is older.
		f(in("8"), "", func() catalog.IssueEvents {
			old := e("0", 5)
			old.LastSeen = at(60)
			return old
		}())
		f(catalog.Resolution{Next: true}, "", e("shop@4", 60)) // as an SDK names what was deployed before
		f(catalog.Resolution{Next: true}, "shop@44 at 60", e("shop@44", 60))
	})
}

// TestAnEventOfARangeRegresses is that a batch counts by its last event where its first was before.
func TestAnEventOfARangeRegresses(t *testing.T) {
	onBoth(t, func(t *testing.T, db *catalog.DB) {
		addEvents(t, db, happened(7, "1", 10))
		resolve(t, db, 7, catalog.Resolution{At: at(50)})
		addEvents(t, db, batch(7, "a", 40, 60, 9))
		if got := issueOf(t, db, 7); !got.RegressedAt.Equal(at(60)) {
			t.Errorf("regressed at %s", got.RegressedAt)
		}
	})
}

func TestIssuesAreResolvedTogetherOrNotAtAll(t *testing.T) {
	onBoth(t, func(t *testing.T, db *catalog.DB) {
		const issues = 700
		var events []catalog.IssueEvents
		var ids []uint64
		for i := range uint64(issues) {
			ids = append(ids, i+1<<63)
			events = append(events, happened(i+1<<63, "1", 10))
		}
		other := happened(1<<63, "1", 10)
		other.Project = 2
		addEvents(t, db, append(events, other)...)
		if _, err := db.ResolveIssues(t.Context(), 1, append(slices.Clone(ids), 5), catalog.Resolution{At: at(20)}); !errors.Is(err, catalog.ErrNotFound) {
			t.Errorf("ResolveIssues with one that is not there: %v", err)
		}
		if got := issueOf(t, db, 1<<63); got.Resolution != 0 {
			t.Errorf("resolved nevertheless: %+v", got.IssueLife)
		}
		got, err := db.ResolveIssues(t.Context(), 1, append(slices.Clone(ids), ids...), catalog.Resolution{At: at(20)})
		if err != nil || len(got) != issues {
			t.Fatalf("ResolveIssues = %d, %v", len(got), err)
		}
		for _, issue := range got {
			if issue.Resolution != 1 || issue.Status() != catalog.IssueResolved {
				t.Fatalf("%+v", issue)
			}
		}
		theirs, err := db.Issues(t.Context(), 2, ids)
		if err != nil || len(theirs) != 1 || theirs[1<<63].Status() != catalog.IssueUnresolved {
			t.Errorf("the neighbour's issue: %+v, %v", theirs, err)
		}
		if _, err := db.ReopenIssues(t.Context(), 1, []uint64{5}); !errors.Is(err, catalog.ErrNotFound) {
			t.Errorf("ReopenIssues of one that is not there: %v", err)
		}
	})
}

// TestResolvingAndCountingAtOnce is that neither the console nor the writer undoes what the other did.
func TestResolvingAndCountingAtOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, db *catalog.DB) {
		const writers, resolvers, times = 2, 2, 15
		addEvents(t, db, happened(7, "1", 1), happened(8, "1", 1))
		errs := race(writers+resolvers, func(i int) error {
			for n := range times {
				var err error
				if i < writers {
					err = db.InTx(t.Context(), func(tx *catalog.Tx) error {
						return tx.AddIssueEvents(t.Context(), []catalog.IssueEvents{happened(8, "1", 100), happened(7, fmt.Sprint("r", i, n), 100)})
					})
				} else {
					_, err = db.ResolveIssues(t.Context(), 1, []uint64{8, 7}, catalog.Resolution{At: at(50), By: fmt.Sprint(i)})
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		for _, id := range []uint64{7, 8} {
			got := issueOf(t, db, id)
			if got.Count != 1+writers*times || got.Resolution != resolvers*times {
				t.Errorf("issue %d counts %d events and %d resolutions", id, got.Count, got.Resolution)
			}
		}
		addEvents(t, db, happened(7, "1", 101))
		if got := issueOf(t, db, 7); got.Status() != catalog.IssueRegressed {
			t.Errorf("issue 7 is %s, want the regression", got.Status())
		}
	})
}

func TestRegressions(t *testing.T) {
	onBoth(t, func(t *testing.T, db *catalog.DB) {
		for id := range uint64(5) {
			addEvents(t, db, happened(id, "1", 10))
			resolve(t, db, id, catalog.Resolution{At: at(20)})
			addEvents(t, db, happened(id, "1", 100-10*int64(id)))
		}
		resolve(t, db, 1, catalog.Resolution{At: at(200)})
		if _, err := db.ReopenIssues(t.Context(), 1, []uint64{2}); err != nil {
			t.Fatal(err)
		}
		f := func(project uint32, from, to int64, limit int, want ...uint64) {
			t.Helper()
			issues, err := db.Regressions(t.Context(), project, at(from), at(to), limit)
			var got []uint64
			for _, issue := range issues {
				got = append(got, issue.ID)
			}
			if diff := cmp.Diff(want, got); err != nil || diff != "" {
				t.Errorf("Regressions: %v (-want +got)\n%s", err, diff)
			}
		}
		f(1, 0, 1000, 10, 4, 3, 0)
		f(1, 60, 100, 10, 4, 3)
		f(1, 0, 1000, 1, 4)
		f(1, 0, 1000, -1)
		f(2, 0, 1000, 10)
	})
}

func TestTheNewestRelease(t *testing.T) {
	onBoth(t, func(t *testing.T, db *catalog.DB) {
		f := func(want string) {
			t.Helper()
			if got, err := db.NewestRelease(t.Context(), 1, at(100)); err != nil || got != want {
				t.Errorf("NewestRelease = %q, %v; want %q", got, err, want)
			}
		}
		deploy := func(release string, seconds int64) {
			t.Helper()
			if err := db.AddDeploy(t.Context(), catalog.Deploy{Project: 1, ID: fmt.Sprint(release, seconds), At: at(seconds), Release: release, Source: "api"}); err != nil {
				t.Fatal(err)
			}
		}
		f("")
		addEvents(t, db, happened(1, "", 5))
		f("")
		addEvents(t, db, happened(1, "b", 20), happened(1, "a", 30), happened(1, "b", 60))
		f("a")
		deploy("b", 70) // rolled back
		f("a")
		deploy("c", 80)
		deploy("d", 110) // is still to come
		f("c")
		addEvents(t, db, happened(2, "c", 90), happened(2, "a", 95))
		f("c")
		other := happened(1, "z", 99)
		other.Project = 2
		addEvents(t, db, other)
		f("c")
	})
}

func TestReleasesThatAreNotSeenForLongAreForgotten(t *testing.T) {
	onBoth(t, func(t *testing.T, db *catalog.DB) {
		const day = 86_400
		addEvents(t, db, happened(1, "old", day), happened(1, "lives", day))
		addEvents(t, db, happened(1, "lives", 5*day))
		if err := db.DropOldReleases(t.Context(), at(3*day)); err != nil {
			t.Fatal(err)
		}
		resolve(t, db, 1, catalog.Resolution{At: at(6 * day), Next: true})
		addEvents(t, db, happened(1, "lives", 7*day))
		if got := issueOf(t, db, 1).Status(); got != catalog.IssueResolved {
			t.Errorf("after an event of a release that is older than the fix it is %s", got)
		}
		addEvents(t, db, happened(1, "old", 7*day))
		if got := issueOf(t, db, 1).Status(); got != catalog.IssueRegressed {
			t.Errorf("after an event of a release that nobody remembers it is %s", got)
		}
	})
}

// TestReleasesOfBeforeTheyWereNotedAreKnown takes the tables back to what they were before.
func TestReleasesOfBeforeTheyWereNotedAreKnown(t *testing.T) {
	t.Parallel()
	storagetest.Catalogs(t, func(t *testing.T, cfg catalog.Config) {
		db, raw := storagetest.OpenCatalog(t, cfg), storagetest.RawCatalog(t, cfg)
		addEvents(t, db, happened(1, "1", 10), happened(1, "2", 20), happened(2, "2", 15), happened(2, "", 30))
		was := issueOf(t, db, 1)
		statements := []string{
			`DROP INDEX issues_regressed_at`, `DROP INDEX deploys_release`, `DROP TABLE releases`, `DELETE FROM schema_migrations WHERE version = 4`,
		}
		for _, column := range []string{
			"resolution", "resolved_at", "resolved_by", "resolved_release", "fixed_at", "regressed_from", "regressed_at", "regressed_release",
		} {
			statements = append(statements, `ALTER TABLE issues DROP COLUMN `+column)
		}
		for _, statement := range statements {
			if _, err := raw.ExecContext(t.Context(), statement); err != nil {
				t.Fatalf("%s: %v", statement, err)
			}
		}
		if err := db.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(was, issueOf(t, db, 1)); diff != "" {
			t.Errorf("an issue of before (-want +got)\n%s", diff)
		}
		resolve(t, db, 1, catalog.Resolution{At: at(40), Next: true})
		addEvents(t, db, happened(1, "1", 50), happened(1, "2", 50))
		if got := issueOf(t, db, 1).Status(); got != catalog.IssueResolved {
			t.Errorf("after events of releases of before it is %s", got)
		}
		if got, err := db.NewestRelease(t.Context(), 1, at(100)); err != nil || got != "2" {
			t.Errorf("NewestRelease = %q, %v", got, err)
		}
	})
}

// TestReleasesWithBadTextAreOne is that what the database takes for one release is noted once.
func TestReleasesWithBadTextAreOne(t *testing.T) {
	onBoth(t, func(t *testing.T, db *catalog.DB) {
		addEvents(t, db, happened(1, "a\x00", 10), happened(1, "a\uFFFD", 10), happened(1, "a\xff", 10), happened(1, "A", 10))
		if got, err := db.NewestRelease(t.Context(), 1, time.Unix(100, 0)); err != nil || got != "A" {
			t.Errorf("NewestRelease = %q, %v", got, err)
		}
	})
}
