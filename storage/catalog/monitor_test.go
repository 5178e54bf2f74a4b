package catalog_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/midwatch/midwatch/storage/catalog"
)

func fullMonitor(slug string) catalog.Monitor {
	return catalog.Monitor{
		Project: 1, Slug: slug, UUID: uuid.NewString(), Name: "The " + slug,
		Schedule: catalog.Schedule{
			Kind: catalog.ScheduleCrontab, Value: "30 2 * * *", Timezone: "Europe/Berlin",
			Margin: 5 * time.Minute, MaxRuntime: time.Hour, FailAfter: 2, RecoverAfter: 3, MissAfter: 4,
		},
		State: catalog.MonitorState{
			Status: catalog.MonitorRunning, Since: at(1), LastCheckinAt: at(2), LastStartAt: at(3), NextExpectedAt: at(4), DueAt: at(5),
			LastDuration: time.Second, Runs: "0123456789abcdef0123456789abcdef", Bad: 1,
		},
		CreatedAt: at(6),
	}
}

func putMonitors(t *testing.T, db *catalog.DB, monitors ...catalog.Monitor) {
	t.Helper()
	if err := db.InTx(t.Context(), func(tx *catalog.Tx) error {
		for _, m := range monitors {
			if err := tx.PutMonitor(t.Context(), m); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func TestPutMonitorKeepsEverything(t *testing.T) {
	onBoth(t, func(t *testing.T, db *catalog.DB) {
		want := fullMonitor("backup")
		putMonitors(t, db, want)
		got, err := db.Monitor(t.Context(), 1, "backup")
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Fatalf("Monitor: %v (-want +got)\n%s", err, diff)
		}

		changed := want
		changed.Name = "Another name"
		changed.Schedule = catalog.Schedule{Kind: catalog.ScheduleInterval, Value: "60", FailAfter: 1, RecoverAfter: 1}
		changed.State = catalog.MonitorState{Status: catalog.MonitorOK, Since: at(9)}
		sent := changed
		sent.UUID, sent.CreatedAt = "", time.Time{}
		putMonitors(t, db, sent)
		got, err = db.Monitor(t.Context(), 1, "backup")
		if diff := cmp.Diff(changed, got); err != nil || diff != "" {
			t.Fatalf("Monitor after a second put: %v (-want +got)\n%s", err, diff)
		}
		for _, spelling := range []string{want.UUID, strings.ToUpper(want.UUID), strings.ReplaceAll(want.UUID, "-", "")} {
			got, err = db.MonitorByUUID(t.Context(), spelling)
			if diff := cmp.Diff(changed, got); err != nil || diff != "" {
				t.Fatalf("MonitorByUUID(%s): %v\n%s", spelling, err, diff)
			}
		}
	})
}

func TestCreateMonitor(t *testing.T) {
	onBoth(t, func(t *testing.T, db *catalog.DB) {
		got, err := db.CreateMonitor(t.Context(), catalog.Monitor{Project: 1, Slug: "backup"})
		if err != nil {
			t.Fatal(err)
		}
		want := catalog.Monitor{
			Project: 1, Slug: "backup", Name: "backup", UUID: got.UUID, CreatedAt: got.CreatedAt,
			Schedule: catalog.Schedule{Kind: catalog.ScheduleNone, FailAfter: 1, RecoverAfter: 1},
			State:    catalog.MonitorState{Status: catalog.MonitorNew, Since: got.CreatedAt},
		}
		if diff := cmp.Diff(want, got); diff != "" || uuid.Validate(got.UUID) != nil || got.CreatedAt.IsZero() {
			t.Errorf("CreateMonitor (-want +got)\n%s", diff)
		}
		stored, err := db.Monitor(t.Context(), 1, "backup")
		if diff := cmp.Diff(got, stored); err != nil || diff != "" {
			t.Errorf("Monitor: %v\n%s", err, diff)
		}
		if _, err := db.CreateMonitor(t.Context(), catalog.Monitor{Project: 1, Slug: "backup"}); !errors.Is(err, catalog.ErrConflict) {
			t.Errorf("CreateMonitor of a slug that is taken: %v, want ErrConflict", err)
		}
		if _, err := db.CreateMonitor(t.Context(), catalog.Monitor{Project: 2, Slug: "backup"}); err != nil {
			t.Errorf("CreateMonitor in another project: %v", err)
		}
	})
}

func TestCreateMonitorLimit(t *testing.T) {
	onBoth(t, func(t *testing.T, db *catalog.DB) {
		var monitors []catalog.Monitor
		for i := range catalog.MaxMonitors {
			monitors = append(monitors, catalog.Monitor{Project: 1, Slug: fmt.Sprintf("m%04d", i)})
		}
		putMonitors(t, db, monitors...)
		if _, err := db.CreateMonitor(t.Context(), catalog.Monitor{Project: 1, Slug: "more"}); !errors.Is(err, catalog.ErrLimit) {
			t.Errorf("CreateMonitor beyond the limit: %v, want ErrLimit", err)
		}
		if _, err := db.CreateMonitor(t.Context(), catalog.Monitor{Project: 1, Slug: "m0000"}); !errors.Is(err, catalog.ErrConflict) {
			t.Errorf("CreateMonitor of a slug that is taken: %v, want ErrConflict", err)
		}
		got, err := db.Monitors(t.Context(), 1)
		if err != nil || len(got) != catalog.MaxMonitors || got[0].Slug != "m0000" {
			t.Errorf("Monitors = %d, %v", len(got), err)
		}
	})
}

func TestMonitorNotFound(t *testing.T) {
	onBoth(t, func(t *testing.T, db *catalog.DB) {
		putMonitors(t, db, fullMonitor("backup"))
		for _, slug := range []string{"", "other", "BACKUP", "backup\x00", "\xff"} {
			if _, err := db.Monitor(t.Context(), 1, slug); !errors.Is(err, catalog.ErrNotFound) {
				t.Errorf("Monitor(%q): %v, want ErrNotFound", slug, err)
			}
		}
		if _, err := db.Monitor(t.Context(), 2, "backup"); !errors.Is(err, catalog.ErrNotFound) {
			t.Errorf("Monitor of another project: %v, want ErrNotFound", err)
		}
		for _, id := range []string{"", "x", uuid.NewString(), "\x00"} {
			if _, err := db.MonitorByUUID(t.Context(), id); !errors.Is(err, catalog.ErrNotFound) {
				t.Errorf("MonitorByUUID(%q): %v, want ErrNotFound", id, err)
			}
		}
		if err := db.InTx(t.Context(), func(tx *catalog.Tx) error {
			_, err := tx.Monitor(t.Context(), 1, "other")
			return err
		}); !errors.Is(err, catalog.ErrNotFound) {
			t.Errorf("Monitor in a transaction: %v, want ErrNotFound", err)
		}
	})
}

func TestDeleteMonitor(t *testing.T) {
	onBoth(t, func(t *testing.T, db *catalog.DB) {
		putMonitors(t, db, fullMonitor("backup"), fullMonitor("other"))
		remove := func(project uint32, slug string) error {
			return db.InTx(t.Context(), func(tx *catalog.Tx) error { return tx.DeleteMonitor(t.Context(), project, slug) })
		}
		if err := remove(2, "backup"); !errors.Is(err, catalog.ErrNotFound) {
			t.Errorf("DeleteMonitor of another project: %v, want ErrNotFound", err)
		}
		if err := remove(1, "backup"); err != nil {
			t.Errorf("DeleteMonitor: %v", err)
		}
		if err := remove(1, "backup"); !errors.Is(err, catalog.ErrNotFound) {
			t.Errorf("DeleteMonitor again: %v, want ErrNotFound", err)
		}
		left, err := db.Monitors(t.Context(), 1)
		if err != nil || len(left) != 1 || left[0].Slug != "other" {
			t.Errorf("Monitors = %v, %v; want the other one", left, err)
		}
	})
}

func TestMonitorsDue(t *testing.T) {
	onBoth(t, func(t *testing.T, db *catalog.DB) {
		var monitors []catalog.Monitor
		for slug, due := range map[string]time.Time{"never": {}, "now": at(100), "later": at(101), "long-ago": at(1), "ago": at(50)} {
			m := fullMonitor(slug)
			m.State.DueAt = due
			monitors = append(monitors, m)
		}
		other := fullMonitor("other-project")
		other.Project, other.State.DueAt = 2, at(60)
		putMonitors(t, db, append(monitors, other)...)
		f := func(now time.Time, limit int, want ...string) {
			t.Helper()
			due, err := db.MonitorsDue(t.Context(), now, limit)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for m := range slices.Values(due) {
				got = append(got, m.Slug)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("MonitorsDue(%s, %d) (-want +got)\n%s", now, limit, diff)
			}
		}
		f(at(100), 10, "long-ago", "ago", "other-project", "now")
		f(at(100), 2, "long-ago", "ago")
		f(at(0), 10)
	})
}
