// Package catalog keeps what Midwatch must not lose and what is not telemetry: organisations,
// people, projects, keys, issues, monitors, and how far the readers of the bus are. It lives in a
// SQLite file or in PostgreSQL, with one SQL text for both.
//
// Every change runs in a serializable transaction that is tried again when the database asks for
// it, so that a function given to InTx or FinishBatch may run more than once.
package catalog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	_ "modernc.org/sqlite" // the driver "sqlite"
)

var (
	// ErrNotFound says that there is no such thing, or that it has ended.
	ErrNotFound = errors.New("not found")
	// ErrConflict says that the name is taken, or that somebody else moved first.
	ErrConflict = errors.New("conflict")
	// ErrLimit says that there are already as many as there may be.
	ErrLimit = errors.New("limit reached")
)

const (
	// busyTimeout is how long SQLite itself waits for another process's lock.
	busyTimeout = 5 * time.Second
	// connectTimeout bounds one attempt to connect to PostgreSQL where its URL sets no other.
	connectTimeout = 10 * time.Second

	sqliteReaders    = 4
	postgresMaxConns = 16
)

// Config says where the catalog is.
type Config struct {
	// URL of a PostgreSQL database (postgres://…), or empty for SQLite.
	URL string
	// Path of the SQLite file; it and its folder are made when absent. Only used without a URL.
	Path string
}

// DB is an open catalog. It is safe for concurrent use.
type DB struct {
	dialect dialect
	write   *sql.DB // SQLite: the one connection that writes
	read    *sql.DB // PostgreSQL: the same as write
	hashing chan struct{}
	now     func() time.Time
	// dropStep is how many rows one transaction of housekeeping removes.
	dropStep int
}

type dialect int

const (
	sqliteDialect dialect = iota
	postgresDialect
)

// Open connects. The tables are made by Migrate.
func Open(ctx context.Context, cfg Config) (*DB, error) {
	db := &DB{hashing: make(chan struct{}, maxHashing), now: time.Now, dropStep: dropAtOnce}
	var err error
	switch {
	case strings.HasPrefix(cfg.URL, "postgres://"), strings.HasPrefix(cfg.URL, "postgresql://"):
		err = db.openPostgres(cfg.URL)
	case cfg.URL != "":
		return nil, errors.New("open catalog: the database URL must begin with postgres://")
	case cfg.Path == "":
		return nil, errors.New("open catalog: a database URL or a file is needed")
	default:
		err = db.openSQLite(cfg.Path)
	}
	if err != nil {
		return nil, fmt.Errorf("open catalog: %w", err)
	}
	if err := db.Ping(ctx); err != nil {
		db.Close()
		return nil, fmt.Errorf("open catalog: %w", err)
	}
	return db, nil
}

func (db *DB) openPostgres(databaseURL string) error {
	cfg, err := pgx.ParseConfig(databaseURL)
	if err != nil {
		return err
	}
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = connectTimeout
	}
	if _, set := cfg.RuntimeParams["application_name"]; !set {
		cfg.RuntimeParams["application_name"] = "midwatch"
	}
	db.dialect = postgresDialect
	db.write = stdlib.OpenDB(*cfg)
	db.write.SetMaxOpenConns(postgresMaxConns)
	db.write.SetMaxIdleConns(postgresMaxConns / 2)
	db.write.SetConnMaxIdleTime(5 * time.Minute)
	db.write.SetConnMaxLifetime(time.Hour)
	db.read = db.write
	return nil
}

func (db *DB) openSQLite(path string) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	// The file holds ingest keys: nobody else reads it. SQLite gives its journal the same mode.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	name := func(pragmas ...string) string {
		query := url.Values{
			"_pragma": append([]string{
				fmt.Sprintf("busy_timeout(%d)", busyTimeout.Milliseconds()),
				"foreign_keys(1)",
			}, pragmas...),
			"_txlock": {"immediate"},
		}
		return (&url.URL{Scheme: "file", Path: path, OmitHost: true, RawQuery: query.Encode()}).String()
	}
	db.dialect = sqliteDialect
	// fullfsync: a plain fsync of macOS does not reach the disk; elsewhere it changes nothing.
	if db.write, err = sql.Open("sqlite", name("journal_mode(WAL)", "synchronous(FULL)", "fullfsync(1)")); err != nil {
		return err
	}
	db.write.SetMaxOpenConns(1)
	if db.read, err = sql.Open("sqlite", name("query_only(1)")); err != nil {
		return errors.Join(err, db.write.Close())
	}
	db.read.SetMaxOpenConns(sqliteReaders)
	db.read.SetMaxIdleConns(sqliteReaders)
	return nil
}

// Shared reports whether other processes may use the catalog too. A SQLite file is its process's own.
func (db *DB) Shared() bool { return db.dialect == postgresDialect }

// Ping reports whether the database answers.
func (db *DB) Ping(ctx context.Context) error {
	// The writer first: it is what makes a fresh file a database in WAL mode.
	return retry(ctx, func() error {
		if err := db.write.PingContext(ctx); err != nil {
			return err
		}
		return db.read.PingContext(ctx)
	})
}

// Close ends all connections.
func (db *DB) Close() error {
	err := db.write.Close()
	if db.read != db.write {
		err = errors.Join(db.read.Close(), err)
	}
	return err
}

// Tx is a serializable transaction. It is not safe for concurrent use, and ends with the function
// that it was given to.
type Tx struct {
	runner
	now time.Time
}

// InTx runs f in a transaction and commits what it did unless it returns an error, which comes
// back unchanged. f may run more than once, so it must change nothing but the transaction, and it
// must not use the DB itself, which would wait for it for ever.
//
// After an error of the database (not of f) the changes may or may not be there: a connection
// can be lost while it commits.
func (db *DB) InTx(ctx context.Context, f func(*Tx) error) error {
	return retry(ctx, func() error {
		return db.transact(ctx, sql.LevelSerializable, func(r runner) error {
			return f(&Tx{runner: r, now: db.now()})
		})
	})
}

// transact is one attempt at a transaction.
func (db *DB) transact(ctx context.Context, level sql.IsolationLevel, f func(runner) error) error {
	if db.dialect == sqliteDialect {
		level = sql.LevelDefault // its only level is serializable
	}
	tx, err := db.write.BeginTx(ctx, &sql.TxOptions{Isolation: level})
	if err != nil {
		return fmt.Errorf("begin: %w", classify(err))
	}
	defer tx.Rollback() //nolint:errcheck // does nothing after a commit, and there is no more to do after an error
	if err := f(runner{tx}); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", classify(err))
	}
	return nil
}

// view runs one read, outside of any transaction.
func view[T any](ctx context.Context, db *DB, f func(runner) (T, error)) (T, error) {
	var out T
	err := retry(ctx, func() (err error) {
		out, err = f(runner{db.read})
		return err
	})
	return out, err
}
