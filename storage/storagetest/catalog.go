package storagetest

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/midwatch/midwatch/storage/catalog"
)

const (
	// databaseVariable names a PostgreSQL server that tests use instead of SQLite.
	databaseVariable = "MIDWATCH_TEST_DATABASE_URL"
	// defaultDatabaseURL is the one that tests of PostgreSQL use when it answers.
	defaultDatabaseURL = "postgres://postgres@127.0.0.1:5432/test?sslmode=disable"
)

// Catalog returns a catalog of the test's own with its tables made: in a SQLite file, or on the
// server that MIDWATCH_TEST_DATABASE_URL names.
func Catalog(t testing.TB) *catalog.DB {
	t.Helper()
	return OpenCatalog(t, CatalogConfig(t))
}

// CatalogConfig says where an empty catalog of the test's own is.
func CatalogConfig(t testing.TB) catalog.Config {
	t.Helper()
	if os.Getenv(databaseVariable) != "" {
		return PostgreSQL(t)
	}
	return sqliteConfig(t)
}

// Catalogs runs f as a subtest for each kind of database, each time with one that is empty and
// the test's own: on SQLite, and on PostgreSQL where a server answers; only on the server that
// MIDWATCH_TEST_DATABASE_URL names when there is one.
func Catalogs(t *testing.T, f func(t *testing.T, cfg catalog.Config)) {
	t.Helper()
	if os.Getenv(databaseVariable) == "" {
		t.Run("sqlite", func(t *testing.T) {
			t.Parallel()
			f(t, sqliteConfig(t))
		})
	}
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		f(t, PostgreSQL(t))
	})
}

// OpenCatalog opens a catalog until the end of the test and makes its tables.
func OpenCatalog(t testing.TB, cfg catalog.Config) *catalog.DB {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	db, err := catalog.Open(ctx, cfg)
	if err != nil {
		t.Fatalf("open the catalog: %v", err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("close the catalog: %v", err)
		}
	})
	if err := db.Migrate(ctx); err != nil {
		t.Fatalf("migrate the catalog: %v", err)
	}
	return db
}

// RawCatalog returns the database below a catalog until the end of the test, for rows that the
// catalog does not write. Placeholders are $1, $2 and so on.
func RawCatalog(t testing.TB, cfg catalog.Config) *sql.DB {
	t.Helper()
	driver, source := "sqlite", cfg.Path // the drivers come with the catalog
	if cfg.URL != "" {
		driver, source = "pgx", cfg.URL
	}
	db, err := sql.Open(driver, source)
	if err != nil {
		t.Fatalf("open the database of the catalog: %v", err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// PostgreSQL returns an empty schema on the PostgreSQL server that MIDWATCH_TEST_DATABASE_URL
// names, which goes with the test. Without a name it is the one at the usual port, and the test is
// skipped where none answers.
func PostgreSQL(t testing.TB) catalog.Config {
	t.Helper()
	server := os.Getenv(databaseVariable)
	named := server != ""
	if !named {
		server = defaultDatabaseURL
	}
	cfg, err := postgresConfig(t, server)
	if err != nil && named {
		t.Fatalf("%s: %v", databaseVariable, err)
	}
	if err != nil {
		t.Skipf("NOT TESTED ON POSTGRESQL: %v", err)
	}
	return cfg
}

func sqliteConfig(t testing.TB) catalog.Config {
	return catalog.Config{Path: filepath.Join(t.TempDir(), "catalog.db")}
}

// postgresConfig makes an empty schema, which goes with all that is in it after the test.
func postgresConfig(t testing.TB, server string) (catalog.Config, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	address, err := url.Parse(server)
	if err != nil {
		return catalog.Config{}, errors.New("it is not a URL") // without the URL: it has a password
	}
	admin, err := sql.Open("pgx", server) // the driver comes with the catalog
	if err != nil {
		return catalog.Config{}, err
	}
	admin.SetMaxOpenConns(1)
	schema := "test_" + strings.ToLower(rand.Text())
	if _, err := admin.ExecContext(ctx, `CREATE SCHEMA `+schema); err != nil {
		return catalog.Config{}, errors.Join(fmt.Errorf("no schema can be made at %s: %w", address.Host, err), admin.Close())
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_, err := admin.ExecContext(ctx, `DROP SCHEMA `+schema+` CASCADE`)
		if err := errors.Join(err, admin.Close()); err != nil {
			t.Errorf("drop the schema of the test: %v", err)
		}
	})
	query := address.Query()
	query.Set("search_path", schema)
	address.RawQuery = query.Encode()
	return catalog.Config{URL: address.String()}, nil
}
