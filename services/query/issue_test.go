package query

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/midwatch/midwatch/storage/catalog"
	"github.com/midwatch/midwatch/storage/telemetry"
)

func TestIssueOf(t *testing.T) {
	t.Parallel()
	at := func(minute int) time.Time { return time.Date(2026, 3, 1, 2, minute, 0, 0, time.UTC) }

	// Before the writer has noted the issue, its events alone speak for it.
	got := issueOf(catalog.Issue{}, telemetry.IssueActivity{ID: 0xa1, Events: 3, Users: 2, FirstSeen: at(1), LastSeen: at(5)})
	want := Issue{Id: "00000000000000a1", Title: "Issue 00000000000000a1", Level: "error", FirstSeen: at(1), LastSeen: at(5), Events: 3, Users: 2, TotalEvents: 3, Trend: Trend{}, Status: Unresolved}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("an issue that is not noted yet (-want +got):\n%s", diff)
	}

	// Of a range in the past, the events are of the range and the times of its whole life.
	got = issueOf(catalog.Issue{ID: 0xa1, Title: "Timeout", Level: "fatal", FirstSeen: at(0), LastSeen: at(50), Count: 9},
		telemetry.IssueActivity{ID: 0xa1, Events: 3, Users: 2, FirstSeen: at(1), LastSeen: at(5), Trend: []int64{3}})
	want = Issue{Id: "00000000000000a1", Title: "Timeout", Level: "fatal", FirstSeen: at(0), LastSeen: at(50), Events: 3, Users: 2, TotalEvents: 9, Trend: Trend{3}, Status: Unresolved}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("an issue of the past (-want +got):\n%s", diff)
	}

	// Where it is noted a moment late, the newer knowledge wins.
	got = issueOf(catalog.Issue{ID: 0xa1, Title: "Timeout", Level: "fatal", FirstSeen: at(2), LastSeen: at(4), Count: 1},
		telemetry.IssueActivity{ID: 0xa1, Events: 3, FirstSeen: at(1), LastSeen: at(5), Trend: []int64{3}})
	if !got.FirstSeen.Equal(at(1)) || !got.LastSeen.Equal(at(5)) || got.TotalEvents != 3 {
		t.Errorf("an issue noted late was seen %v to %v %d times, want what its events say", got.FirstSeen, got.LastSeen, got.TotalEvents)
	}
}

func TestIssueOfSaysWhatBecameOfIt(t *testing.T) {
	t.Parallel()
	at := func(minute int) time.Time { return time.Date(2026, 3, 1, 2, minute, 0, 0, time.UTC) }
	f := func(life catalog.IssueLife, want Issue) {
		t.Helper()
		got := issueOf(catalog.Issue{ID: 1, IssueLife: life}, telemetry.IssueActivity{ID: 1})
		want.Id, want.Title, want.Level, want.Trend = got.Id, got.Title, got.Level, got.Trend
		want.FirstSeen, want.LastSeen = got.FirstSeen, got.LastSeen
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", life, diff)
		}
	}
	f(catalog.IssueLife{Resolution: 3, RegressedFrom: 2, RegressedAt: at(1), RegressedRelease: "1"}, Issue{Status: Unresolved})
	f(catalog.IssueLife{Resolution: 3, ResolvedAt: at(2), ResolvedBy: "ann", RegressedFrom: 2, RegressedAt: at(1), RegressedRelease: "1"},
		Issue{Status: Resolved, ResolvedAt: new(at(2)), ResolvedBy: new("ann"), ResolvedIn: new(Now)})
	f(catalog.IssueLife{Resolution: 3, ResolvedAt: at(2), ResolvedBy: "ann", FixedAt: at(2)},
		Issue{Status: Resolved, ResolvedAt: new(at(2)), ResolvedBy: new("ann"), ResolvedIn: new(NextRelease)})
	f(catalog.IssueLife{Resolution: 3, ResolvedAt: at(2), ResolvedBy: "ann", ResolvedRelease: "2", FixedAt: at(0), RegressedFrom: 3, RegressedAt: at(5), RegressedRelease: "3"},
		Issue{
			Status: Regressed, ResolvedAt: new(at(2)), ResolvedBy: new("ann"), ResolvedIn: new(Release), ResolvedRelease: new("2"),
			RegressedAt: new(at(5)), RegressedRelease: new("3"),
		})
}

func TestQuiet(t *testing.T) {
	t.Parallel()
	f := func(from, to string, want int) {
		t.Helper()
		parse := func(s string) time.Time {
			at, err := time.Parse(time.RFC3339Nano, s)
			if err != nil {
				t.Fatal(err)
			}
			return at
		}
		scope, err := telemetry.NewScope(1, parse(from), parse(to))
		if err != nil {
			t.Fatal(err)
		}
		if got := len(quiet(scope)); got != want {
			t.Errorf("%s to %s has %d steps of %v, want %d", from, to, got, telemetry.Step(scope), want)
		}
	}
	f("2026-03-01T00:00:00Z", "2026-03-01T00:10:00Z", 60)
	f("2026-03-01T00:00:01Z", "2026-03-01T00:10:01Z", 61) // touches one step more
	f("2026-03-01T00:00:00Z", "2026-03-01T00:00:00.000000001Z", 1)
	f("2026-03-01T00:00:00Z", "2026-03-31T00:00:00Z", 60)
}

func TestBrief(t *testing.T) {
	t.Parallel()
	f := func(in string, length int, want string) {
		t.Helper()
		if got := brief(in, length); got != want {
			t.Errorf("brief(%q, %d) = %q, want %q", in, length, got, want)
		}
	}
	f("", 3, "")
	f("abc", 3, "abc")
	f("abcd", 3, "abc…")
	f("aü…", 2, "a…")
	f("…", 1, "…")
}
