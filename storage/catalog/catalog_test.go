package catalog_test

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/midwatch/midwatch/storage/catalog"
	"github.com/midwatch/midwatch/storage/storagetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// onBoth runs f on an empty, migrated catalog of each kind.
func onBoth(t *testing.T, f func(t *testing.T, db *catalog.DB)) {
	t.Helper()
	t.Parallel()
	storagetest.Catalogs(t, func(t *testing.T, cfg catalog.Config) {
		f(t, storagetest.OpenCatalog(t, cfg))
	})
}

// initialised makes the first organisation and project.
func initialised(t *testing.T, db *catalog.DB) catalog.Initialised {
	t.Helper()
	in, err := db.Initialise(t.Context(), catalog.Initial{Email: "ann@example.com", Password: "correct horse"})
	if err != nil || !in.Created {
		t.Fatalf("Initialise = %+v, %v", in, err)
	}
	return in
}

// race calls f n times at once and returns the errors in the order of their number.
func race(n int, f func(i int) error) []error {
	errs := make([]error, n)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			<-start
			errs[i] = f(i)
		})
	}
	close(start)
	wg.Wait()
	return errs
}

func TestMigrateConcurrently(t *testing.T) {
	t.Parallel()
	storagetest.Catalogs(t, func(t *testing.T, cfg catalog.Config) {
		const processes = 5
		errs := race(processes, func(int) error {
			db, err := catalog.Open(t.Context(), cfg)
			if err != nil {
				return err
			}
			return errors.Join(db.Migrate(t.Context()), db.Migrate(t.Context()), db.Close())
		})
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		db := storagetest.OpenCatalog(t, cfg)
		initialised(t, db)
	})
}

func TestMigrateLeavesUnknownMigrations(t *testing.T) {
	t.Parallel()
	cfg := catalog.Config{Path: filepath.Join(t.TempDir(), "catalog.db")}
	storagetest.OpenCatalog(t, cfg)
	raw, err := sql.Open("sqlite", cfg.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	if _, err := raw.Exec(`INSERT INTO schema_migrations (version, name, applied_at) VALUES (9999, 'from the future', 1)`); err != nil {
		t.Fatal(err)
	}
	initialised(t, storagetest.OpenCatalog(t, cfg))
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	f := func(name string, cfg catalog.Config) {
		t.Helper()
		if db, err := catalog.Open(t.Context(), cfg); err == nil {
			db.Close()
			t.Errorf("Open with %s succeeded", name)
		}
	}
	f("nothing", catalog.Config{})
	f("another database", catalog.Config{URL: "mysql://127.0.0.1/x"})
	f("nobody at the address", catalog.Config{URL: "postgres://postgres@127.0.0.1:1/x?sslmode=disable"})
	f("a folder", catalog.Config{Path: t.TempDir()})
	garbage := filepath.Join(t.TempDir(), "garbage.db")
	if err := os.WriteFile(garbage, []byte("this is certainly not a database file, whatever its name says"), 0o600); err != nil {
		t.Fatal(err)
	}
	f("another file", catalog.Config{Path: garbage})
}

func TestSQLiteFileIsPrivateDurableAndOddlyNamed(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a folder", "50% of #1?.db")
	db := storagetest.OpenCatalog(t, catalog.Config{Path: path})
	initialised(t, db)
	for _, name := range []string{path, path + "-wal"} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if mode := info.Mode().Perm(); mode != 0o600 {
			t.Errorf("mode of %s = %o, want 600", filepath.Base(name), mode)
		}
	}
	if got := db.Pragmas(t.Context(), t); got != "wal 2 1" {
		t.Errorf("journal_mode synchronous foreign_keys = %q, want wal, 2 (full), 1", got)
	}
}

func TestInTxRollsBack(t *testing.T) {
	onBoth(t, func(t *testing.T, db *catalog.DB) {
		mine := errors.New("mine")
		err := db.InTx(t.Context(), func(tx *catalog.Tx) error {
			if err := tx.PutMonitor(t.Context(), catalog.Monitor{Project: 1, Slug: "backup"}); err != nil {
				return err
			}
			return mine
		})
		if err != mine { //nolint:errorlint // it must come back unchanged
			t.Fatalf("InTx = %v, want the error of its function", err)
		}
		if _, err := db.Monitor(t.Context(), 1, "backup"); !errors.Is(err, catalog.ErrNotFound) {
			t.Fatalf("Monitor after a rollback: %v, want ErrNotFound", err)
		}
	})
}

func TestInTxCancelled(t *testing.T) {
	onBoth(t, func(t *testing.T, db *catalog.DB) {
		ctx, cancel := context.WithCancel(t.Context())
		err := db.InTx(ctx, func(tx *catalog.Tx) error {
			cancel()
			return tx.PutMonitor(ctx, catalog.Monitor{Project: 1, Slug: "backup"})
		})
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("InTx = %v, want context.Canceled", err)
		}
		if err := db.Ping(t.Context()); err != nil {
			t.Fatalf("the catalog is of no use afterwards: %v", err)
		}
	})
}

// Read, change, write: without serializable transactions and retries some of the changes get lost.
func TestInTxLosesNoUpdate(t *testing.T) {
	onBoth(t, func(t *testing.T, db *catalog.DB) {
		put := func(change func(*catalog.Monitor)) error {
			return db.InTx(t.Context(), func(tx *catalog.Tx) error {
				m, err := tx.Monitor(t.Context(), 1, "backup")
				if err != nil && !errors.Is(err, catalog.ErrNotFound) {
					return err
				}
				m.Project, m.Slug = 1, "backup"
				change(&m)
				return tx.PutMonitor(t.Context(), m)
			})
		}
		const writers = 8
		if err := errors.Join(race(writers, func(int) error {
			return put(func(m *catalog.Monitor) { m.State.Bad++ })
		})...); err != nil {
			t.Fatal(err)
		}
		m, err := db.Monitor(t.Context(), 1, "backup")
		if err != nil || m.State.Bad != writers {
			t.Fatalf("Monitor = %+v, %v; want %d increments", m, err, writers)
		}
	})
}
