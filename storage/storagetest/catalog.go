package storagetest

import (
	"context"
	"crypto/rand"
	"database/sql"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/midwatch/midwatch/storage/catalog"
)

// defaultDatabaseURL is the PostgreSQL server that tests use when it answers and
// MIDWATCH_TEST_DATABASE_URL names no other.
const defaultDatabaseURL = "postgres://postgres@127.0.0.1:5432/test?sslmode=disable"

// Catalog returns a catalog of the test's own, in a SQLite file, with its tables made.
func Catalog(t testing.TB) *catalog.DB {
	t.Helper()
	return OpenCatalog(t, sqliteConfig(t))
}

// Catalogs runs f as a subtest for each kind of database, each time with one that is empty and
// the test's own: on SQLite always, on PostgreSQL where a server answers. A server that
// MIDWATCH_TEST_DATABASE_URL names must answer.
func Catalogs(t *testing.T, f func(t *testing.T, cfg catalog.Config)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		f(t, sqliteConfig(t))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		f(t, postgresConfig(t))
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

func sqliteConfig(t testing.TB) catalog.Config {
	return catalog.Config{Path: filepath.Join(t.TempDir(), "catalog.db")}
}

// postgresConfig makes an empty schema, which goes with all that is in it after the test.
func postgresConfig(t testing.TB) catalog.Config {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	server := os.Getenv("MIDWATCH_TEST_DATABASE_URL")
	required := server != ""
	if !required {
		server = defaultDatabaseURL
	}
	address, err := url.Parse(server)
	if err != nil {
		t.Fatal("MIDWATCH_TEST_DATABASE_URL is not a URL")
	}
	admin, err := sql.Open("pgx", server) // the driver comes with the catalog
	if err != nil {
		t.Fatalf("PostgreSQL: %v", err)
	}
	t.Cleanup(func() { admin.Close() })
	admin.SetMaxOpenConns(1)
	schema := "test_" + strings.ToLower(rand.Text())
	if _, err := admin.ExecContext(ctx, `CREATE SCHEMA `+schema); err != nil {
		if required {
			t.Fatalf("PostgreSQL at %s: %v", address.Host, err)
		}
		t.Skipf("NOT TESTED ON POSTGRESQL: no server answers at %s: %v", address.Host, err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if _, err := admin.ExecContext(ctx, `DROP SCHEMA `+schema+` CASCADE`); err != nil {
			t.Errorf("drop the test's schema: %v", err)
		}
	})
	query := address.Query()
	query.Set("search_path", schema)
	address.RawQuery = query.Encode()
	return catalog.Config{URL: address.String()}
}
