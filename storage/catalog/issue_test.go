package catalog_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/midwatch/midwatch/storage/catalog"
	"github.com/midwatch/midwatch/storage/storagetest"
)

func addEvents(t *testing.T, db *catalog.DB, events ...catalog.IssueEvents) {
	t.Helper()
	if err := db.InTx(t.Context(), func(tx *catalog.Tx) error { return tx.AddIssueEvents(t.Context(), events) }); err != nil {
		t.Fatal(err)
	}
}

func issueOf(t *testing.T, db *catalog.DB, id uint64) catalog.Issue {
	t.Helper()
	issues, err := db.Issues(t.Context(), 1, []uint64{id})
	if err != nil || len(issues) != 1 {
		t.Fatalf("Issues = %v, %v; want one", issues, err)
	}
	return issues[id]
}

func at(seconds int64) time.Time { return time.Unix(seconds, 5).UTC() }

func batch(id uint64, word string, first, last, count int64) catalog.IssueEvents {
	return catalog.IssueEvents{
		Project: 1, ID: id, GroupingVersion: 1, Title: "title " + word, Type: "type " + word, Value: "value " + word, Culprit: "culprit " + word,
		Level: "level " + word, Platform: "platform " + word, Release: "release " + word,
		FirstSeen: at(first), LastSeen: at(last), Count: count,
	}
}

// Whatever the order of batches, and whether they come in one call or in several, the issue is the same.
func TestAddIssueEventsInAnyOrder(t *testing.T) {
	onBoth(t, func(t *testing.T, db *catalog.DB) {
		const big = 1<<63 + 42 // beyond a signed integer
		a, b, c := batch(0, "a", 100, 200, 3), batch(0, "b", 150, 300, 4), batch(0, "c", 50, 250, 5)
		a.Release = ""
		b.GroupingVersion = 2
		want := catalog.Issue{
			Project: 1, GroupingVersion: 2, Title: "title b", Type: "type b", Value: "value b", Culprit: "culprit b",
			Level: "level b", Platform: "platform b", FirstRelease: "release c", LastRelease: "release b",
			FirstSeen: at(50), LastSeen: at(300), Count: 12,
		}
		id := uint64(big)
		f := func(calls ...[]catalog.IssueEvents) {
			t.Helper()
			id++
			want.ID = id
			for _, events := range calls {
				events = slices.Clone(events)
				for i := range events {
					events[i].ID = id
				}
				addEvents(t, db, events...)
			}
			if diff := cmp.Diff(want, issueOf(t, db, id)); diff != "" {
				t.Errorf("issue of %d calls (-want +got)\n%s", len(calls), diff)
			}
		}
		type list = []catalog.IssueEvents
		f(list{a}, list{b}, list{c})
		f(list{c}, list{b}, list{a})
		f(list{b}, list{c}, list{a})
		f(list{a, b, c})
		f(list{c, b, a})
		f(list{b, a}, list{c})
		f(list{c}, list{a, b})
	})
}

func TestAddIssueEventsManyIssues(t *testing.T) {
	onBoth(t, func(t *testing.T, db *catalog.DB) {
		const issues = 1201
		var events []catalog.IssueEvents
		var ids []uint64
		for i := range uint64(issues) {
			events = append(events, batch(i, "x", 1, 2, 1), batch(i, "y", 1, 2, 1))
			ids = append(ids, i)
		}
		other := batch(3, "other project", 1, 2, 7)
		other.Project = 2
		events = append(events, other)
		before := slices.Clone(events)
		addEvents(t, db, events...)
		if diff := cmp.Diff(before, events); diff != "" {
			t.Errorf("the caller's slice changed\n%s", diff)
		}
		got, err := db.Issues(t.Context(), 1, append(ids, 99_999))
		if err != nil || len(got) != issues {
			t.Fatalf("Issues = %d, %v; want %d", len(got), err, issues)
		}
		for id, issue := range got {
			if issue.Count != 2 || issue.ID != id || issue.Title != "title y" {
				t.Fatalf("issue %d = %+v", id, issue)
			}
		}
	})
}

// A tenant's bytes must not stop a batch, whatever they are.
func TestAddIssueEventsWithBadText(t *testing.T) {
	onBoth(t, func(t *testing.T, db *catalog.DB) {
		e := batch(1, "x", 1, 1, 1)
		e.Title, e.Value, e.Culprit = "a\x00b", "\xff\xfe", strings.Repeat("ä", 5000)
		addEvents(t, db, e)
		got := issueOf(t, db, 1)
		if got.Title != "a\uFFFDb" || got.Value != "\uFFFD" {
			t.Errorf("title and value = %q, %q", got.Title, got.Value)
		}
		if len(got.Culprit) != 500 || !utf8.ValidString(got.Culprit) {
			t.Errorf("culprit has %d bytes, want 500 of whole characters", len(got.Culprit))
		}
	})
}

func TestIssuesFirstSeen(t *testing.T) {
	onBoth(t, func(t *testing.T, db *catalog.DB) {
		addEvents(t, db, batch(1, "x", 10, 50, 1), batch(2, "x", 20, 50, 1), batch(3, "x", 30, 50, 1))
		f := func(project uint32, from, to time.Time, want int) {
			t.Helper()
			if got, err := db.IssuesFirstSeen(t.Context(), project, from, to); err != nil || got != want {
				t.Errorf("IssuesFirstSeen(%d, %s, %s) = %d, %v; want %d", project, from, to, got, err, want)
			}
		}
		f(1, at(10), at(30), 2)
		f(1, at(11), at(31), 2)
		f(1, at(30), at(30), 0)
		f(1, time.Time{}, at(100), 3)
		f(2, time.Time{}, at(100), 0)
	})
}

func TestSearchIssues(t *testing.T) {
	onBoth(t, func(t *testing.T, db *catalog.DB) {
		for i, title := range []string{
			"TypeError: cannot read 'id'", "ÜberFehler: kaputt", "100% CPU", "100 CPU", "snake_case", "snakeXcase", `back\slash`,
		} {
			e := batch(uint64(i), "x", 1, int64(100-i), 1)
			e.Title = title
			addEvents(t, db, e)
		}
		f := func(text string, limit int, want ...uint64) {
			t.Helper()
			got, err := db.SearchIssues(t.Context(), 1, text, limit)
			if diff := cmp.Diff(want, got); err != nil || diff != "" {
				t.Errorf("SearchIssues(%q): %v (-want +got)\n%s", text, err, diff)
			}
		}
		f("", 3, 0, 1, 2)
		f("typeerror", 10, 0)
		f("ID cannot", 10, 0)
		f("überfehler", 10, 1)
		f("ÜBER", 10, 1)
		f("100%", 10, 2)
		f("cpu", 10, 2, 3)
		f("cpu", 1, 2)
		f("e_c", 10, 4)
		f(`k\s`, 10, 6)
		f("nothing like it", 10)
		f("'; DROP TABLE issues; --", 10)
		f("\x00 \xff", 10)
		f("cpu", 0)
		f("cpu", -1)
		f(strings.Repeat("cpu ", 1000), 10, 2, 3)
		if got, err := db.SearchIssues(t.Context(), 2, "", 10); err != nil || len(got) != 0 {
			t.Errorf("SearchIssues of another project = %v, %v", got, err)
		}
	})
}

func BenchmarkAddIssueEvents(b *testing.B) {
	db := storagetest.Catalog(b)
	for _, issues := range []int{1, 100} {
		b.Run(fmt.Sprint(issues), func(b *testing.B) {
			var events []catalog.IssueEvents
			for i := range issues {
				events = append(events, batch(uint64(i), "x", 1, 2, 1))
			}
			b.ReportAllocs()
			for b.Loop() {
				if err := db.InTx(b.Context(), func(tx *catalog.Tx) error { return tx.AddIssueEvents(b.Context(), events) }); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
