package catalog_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/midwatch/midwatch/storage/catalog"
	"github.com/midwatch/midwatch/storage/retention"
)

func setRetention(t *testing.T, db *catalog.DB, project uint32, d retention.Days) {
	t.Helper()
	if _, err := db.SetRetention(t.Context(), project, d); err != nil {
		t.Fatal(err)
	}
}

// due lists what is due at a time: signal and days.
func due(t *testing.T, db *catalog.DB, at time.Time) (list []catalog.Shortening, text string) {
	t.Helper()
	list, err := db.DueShortenings(t.Context(), at, 10)
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for _, s := range list {
		texts = append(texts, fmt.Sprintf("%s of %d: %d", s.Signal, s.Project, s.Days))
	}
	return list, strings.Join(texts, ", ")
}

func finish(t *testing.T, db *catalog.DB, s catalog.Shortening, at time.Time) {
	t.Helper()
	if err := db.FinishShortening(t.Context(), s, at); err != nil {
		t.Fatal(err)
	}
}

func TestRetentionIsKept(t *testing.T) {
	onBoth(t, func(t *testing.T, db *catalog.DB) {
		first := initialised(t, db).Project
		if first.Retention != retention.Default {
			t.Errorf("a new project has %+v", first.Retention)
		}
		want := retention.Days{Metrics: 400, Logs: 1, Errors: 14, Checkins: 365}
		changed, err := db.SetRetention(t.Context(), 1, want)
		if err != nil || changed.Retention != want {
			t.Errorf("SetRetention = %+v, %v", changed, err)
		}
		got, err := db.ProjectByKey(t.Context(), first.IngestKey)
		if diff := cmp.Diff(changed, got); err != nil || diff != "" {
			t.Errorf("ProjectByKey: %v\n%s", err, diff)
		}
		if _, err := db.SetRetention(t.Context(), 99, want); !errors.Is(err, catalog.ErrNotFound) {
			t.Errorf("SetRetention of nobody: %v, want ErrNotFound", err)
		}
		if _, err := db.SetRetention(t.Context(), 1, retention.Days{Metrics: 2, Logs: 1, Errors: 1, Checkins: 1}); err == nil {
			t.Error("two days are taken")
		}
	})
}

func TestAShorteningIsDueEachDayUntilItsRowsHaveGone(t *testing.T) {
	onBoth(t, func(t *testing.T, db *catalog.DB) {
		now := time.Date(2026, 10, 12, 23, 0, 0, 0, time.UTC)
		db.SetNow(func() time.Time { return now })
		initialised(t, db)
		d := retention.Default
		setRetention(t, db, 1, d)
		d.Metrics = 90
		setRetention(t, db, 1, d)
		if _, text := due(t, db, now); text != "" {
			t.Errorf("due after a longer choice: %s", text)
		}
		d.Logs, d.Errors = 7, 30
		setRetention(t, db, 1, d)
		list, text := due(t, db, now)
		if text != "errors of 1: 30, logs of 1: 7" {
			t.Fatalf("due after a shorter choice: %s", text)
		}
		finish(t, db, list[0], now)
		if _, text := due(t, db, now); text != "logs of 1: 7" {
			t.Errorf("due after the first is done: %s", text)
		}
		finish(t, db, list[1], now)
		finish(t, db, list[1], now)
		if _, text := due(t, db, now); text != "" {
			t.Errorf("due on the same day: %s", text)
		}
		tomorrow := now.Add(time.Hour)
		list, text = due(t, db, tomorrow)
		if text != "errors of 1: 30, logs of 1: 7" {
			t.Errorf("due on the next day: %s", text)
		}
		// Whoever has looked before another choice has not done what is due now.
		d.Logs = 14
		setRetention(t, db, 1, d)
		d.Logs = 3
		setRetention(t, db, 1, d)
		if err := db.FinishShortening(t.Context(), list[1], tomorrow); !errors.Is(err, catalog.ErrConflict) {
			t.Errorf("FinishShortening of an older choice: %v, want ErrConflict", err)
		}
		// The logs were kept for 30 days when they were shortened first: none of them outlives the last day.
		end := now.Add((30 + 7) * 24 * time.Hour)
		for _, at := range []time.Time{end, end.Add(24 * time.Hour)} {
			list, text = due(t, db, at)
			if !strings.Contains(text, "logs of 1: 3") {
				t.Fatalf("due on %s: %s", at, text)
			}
			for _, s := range list {
				finish(t, db, s, at)
			}
		}
		if _, text = due(t, db, end.Add(10*24*time.Hour)); text != "errors of 1: 30" {
			t.Errorf("due after the last day: %s", text)
		}
	})
}

func TestALeaseHasOneHolder(t *testing.T) {
	onBoth(t, func(t *testing.T, db *catalog.DB) {
		now := time.Now()
		take := func(holder string, at time.Duration, want bool) {
			t.Helper()
			got, err := db.TakeLease(t.Context(), "work", holder, now.Add(at), time.Minute)
			if err != nil || got != want {
				t.Errorf("%s after %s: %t, %v, want %t", holder, at, got, err, want)
			}
		}
		take("a", 0, true)
		take("b", 30*time.Second, false)
		take("a", 30*time.Second, true) // put off
		take("b", 89*time.Second, false)
		take("b", 90*time.Second, true)
		take("a", 91*time.Second, false)
		for _, holder := range []string{"a", "b"} {
			if err := db.EndLease(t.Context(), "work", holder); err != nil {
				t.Fatal(err)
			}
			take("a", 92*time.Second, holder == "b")
		}
	})
}

func TestNoticesAreToldOnceAndForget(t *testing.T) {
	onBoth(t, func(t *testing.T, db *catalog.DB) {
		now := time.Date(2026, 10, 12, 0, 0, 0, 0, time.UTC)
		add := func(subject, message string, at time.Duration, projects ...uint32) {
			t.Helper()
			n := catalog.Notice{Kind: "k", Subject: subject, At: now.Add(at), Message: message, Details: `{"a":1}`}
			if err := db.AddNotice(t.Context(), n, projects); err != nil {
				t.Fatal(err)
			}
		}
		read := func(project uint32, since time.Duration) string {
			t.Helper()
			all, err := db.Notices(t.Context(), project, now.Add(since))
			if err != nil {
				t.Fatal(err)
			}
			texts := make([]string, len(all))
			for i, n := range all {
				texts[i] = n.Message
			}
			return strings.Join(texts, ", ")
		}
		add("x", "x", 0, 1, 2)
		add("y", "y", time.Hour, 2)
		add("x", "x again", 2*time.Hour, 2)
		for project, want := range map[uint32]string{0: "x again, y", 1: "x", 2: "x again, y", 3: ""} {
			if got := read(project, 0); got != want {
				t.Errorf("project %d was told %q, want %q", project, got, want)
			}
		}
		if got := read(2, 2*time.Hour); got != "x again" {
			t.Errorf("since two hours: %q", got)
		}
		for i := range catalog.MaxNotices + 20 {
			add(fmt.Sprint(i), "many", 3*time.Hour+time.Duration(i)*time.Second, 4)
		}
		if got := strings.Count(read(4, -time.Hour), "many"); got != catalog.MaxNotices {
			t.Errorf("%d notices are kept", got)
		}
		add("z", "z", 40*24*time.Hour)
		if got := read(1, -time.Hour); got != "" {
			t.Errorf("after 40 days: %q", got)
		}
	})
}

func TestADismissedNoticeIsHiddenFromOnePersonUntilItIsToldAnew(t *testing.T) {
	onBoth(t, func(t *testing.T, db *catalog.DB) {
		in := initialised(t, db)
		user, err := db.Authenticate(t.Context(), in.Email, "correct horse")
		if err != nil {
			t.Fatal(err)
		}
		ann := user.ID
		now := time.Date(2026, 10, 12, 0, 0, 0, 7, time.UTC)
		first := catalog.Notice{Kind: "k", Subject: "x", At: now, Message: "first", Details: "{}"}
		again := catalog.Notice{Kind: "k", Subject: "x", At: now.Add(time.Second), Message: "again", Details: "{}"}
		add := func(n catalog.Notice) {
			t.Helper()
			if err := db.AddNotice(t.Context(), n, []uint32{1, 2}); err != nil {
				t.Fatal(err)
			}
		}
		seen := func(user string, project uint32, want int) {
			t.Helper()
			all, err := db.NoticesTo(t.Context(), user, project, now)
			if err != nil || len(all) != want {
				t.Errorf("%q sees %d of project %d, %v; want %d", user, len(all), project, err, want)
			}
		}
		dismiss := func(n catalog.Notice) error { return db.DismissNotice(t.Context(), ann, 1, n) }
		add(first)
		for range 2 {
			if err := dismiss(first); err != nil {
				t.Fatal(err)
			}
		}
		seen(ann, 1, 0)
		seen(ann, 2, 1)
		seen("", 1, 1)
		seen("somebody else", 1, 1)

		add(again)
		seen(ann, 1, 1)
		for _, n := range []catalog.Notice{first, {Kind: "k", Subject: "y", At: now}} {
			if err := dismiss(n); !errors.Is(err, catalog.ErrNotFound) {
				t.Errorf("dismiss what was not told, or is told anew: %v, want ErrNotFound", err)
			}
		}
		seen(ann, 1, 1)
		if err := dismiss(again); err != nil {
			t.Fatal(err)
		}
		seen(ann, 1, 0)

		// A notice that is too old goes, dismissed or not.
		add(catalog.Notice{Kind: "k", Subject: "z", At: now.AddDate(0, 0, 40), Details: "{}"})
		seen("", 1, 1)
		add(first)
		seen(ann, 1, 2)
	})
}
