package catalog_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/midwatch/midwatch/storage/catalog"
	"github.com/midwatch/midwatch/storage/storagetest"
)

func TestWhatEndedIsKeptUntilItIsOld(t *testing.T) {
	t.Parallel()
	storagetest.Catalogs(t, func(t *testing.T, cfg catalog.Config) {
		db := storagetest.OpenCatalog(t, cfg)
		now := time.Now().UTC().Truncate(time.Second)
		host := catalog.EndedEntity{Project: 1, ID: "a", At: now, Labels: map[string]string{"host.name": "web-3", "größe": `"\`}}
		old := catalog.EndedEntity{Project: 1, ID: "b", At: now.Add(-100 * 24 * time.Hour), Labels: map[string]string{"a": "b"}}
		for _, e := range []catalog.EndedEntity{host, old, {Project: 2, ID: "a", At: now, Labels: map[string]string{"a": "b"}}} {
			if err := db.AddEndedEntity(t.Context(), e); err != nil {
				t.Fatal(err)
			}
		}
		read := func(from, to time.Time) []catalog.EndedEntity {
			t.Helper()
			all, err := db.EndedEntities(t.Context(), 1, from, to)
			if err != nil {
				t.Fatal(err)
			}
			return all
		}
		if diff := cmp.Diff([]catalog.EndedEntity{host, old}, read(old.At, now.Add(1))); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
		if got := read(old.At.Add(1), now); len(got) > 0 {
			t.Errorf("outside of the time: %+v", got)
		}
		if err := db.DropOldAlerting(t.Context(), now.Add(-90*24*time.Hour)); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]catalog.EndedEntity{host}, read(old.At, now.Add(1))); diff != "" {
			t.Errorf("after the old went, -want +got:\n%s", diff)
		}
	})
}

func TestOnlySoMuchEndsInADay(t *testing.T) {
	t.Parallel()
	db := storagetest.Catalog(t)
	now := time.Now().UTC()
	add := func(i int, at time.Time) error {
		return db.AddEndedEntity(t.Context(), catalog.EndedEntity{Project: 1, ID: fmt.Sprint(i), At: at, Labels: map[string]string{"a": "b"}})
	}
	for i := range catalog.MaxEnded {
		if err := add(i, now); err != nil {
			t.Fatal(err)
		}
	}
	if err := add(catalog.MaxEnded, now); !errors.Is(err, catalog.ErrLimit) {
		t.Errorf("one more: %v, want %v", err, catalog.ErrLimit)
	}
	if err := add(catalog.MaxEnded, now.Add(catalog.EndedFor)); err != nil {
		t.Errorf("a day later: %v", err)
	}
}
