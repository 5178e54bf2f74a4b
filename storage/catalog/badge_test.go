package catalog_test

import (
	"errors"
	"testing"

	"github.com/midwatch/midwatch/storage/catalog"
)

func TestBadges(t *testing.T) {
	onBoth(t, func(t *testing.T, db *catalog.DB) {
		project := initialised(t, db).Project.Number
		first, err := db.Badges(t.Context(), project)
		if err != nil || len(first.Key) != 32 || first.StatusPage || first.Project != project {
			t.Fatalf("Badges = %+v, %v; want a key and no page", first, err)
		}
		again, err := db.Badges(t.Context(), project)
		if err != nil || again != first {
			t.Errorf("Badges again = %+v, %v; want %+v", again, err, first)
		}
		shown, err := db.SetStatusPage(t.Context(), project, true)
		if err != nil || !shown.StatusPage || shown.Key != first.Key {
			t.Errorf("SetStatusPage = %+v, %v", shown, err)
		}
		found, err := db.BadgesByKey(t.Context(), first.Key)
		if err != nil || found != shown {
			t.Errorf("BadgesByKey = %+v, %v; want %+v", found, err, shown)
		}
		replaced, err := db.ReplaceBadgeKey(t.Context(), project)
		if err != nil || replaced.Key == first.Key || len(replaced.Key) != 32 || !replaced.StatusPage {
			t.Errorf("ReplaceBadgeKey = %+v, %v", replaced, err)
		}
		if _, err := db.BadgesByKey(t.Context(), first.Key); !errors.Is(err, catalog.ErrNotFound) {
			t.Errorf("BadgesByKey of the old key: %v, want ErrNotFound", err)
		}
	})
}

func TestBadgesAreNotFound(t *testing.T) {
	onBoth(t, func(t *testing.T, db *catalog.DB) {
		for _, key := range []string{"", "short", "0123456789abcdef0123456789abcdef", "0123456789ABCDEF0123456789ABCDEF", "' OR 1=1 --", "\x00"} {
			if _, err := db.BadgesByKey(t.Context(), key); !errors.Is(err, catalog.ErrNotFound) {
				t.Errorf("BadgesByKey(%q): %v, want ErrNotFound", key, err)
			}
		}
		if _, err := db.Badges(t.Context(), 99); !errors.Is(err, catalog.ErrNotFound) {
			t.Errorf("Badges of no project: %v, want ErrNotFound", err)
		}
	})
}
