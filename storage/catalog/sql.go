package catalog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

const (
	maxAttempts = 20
	firstPause  = 2 * time.Millisecond
	longPause   = 250 * time.Millisecond
)

// errAgain marks what the database refused only because of what others did at the same time.
var errAgain = errors.New("too many others at the same time")

// retry runs f until it does not fail with errAgain, a bounded number of times.
func retry(ctx context.Context, f func() error) error {
	pause := firstPause
	for attempt := 1; ; attempt++ {
		err := f()
		if err == nil {
			return nil
		}
		if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
			return fmt.Errorf("%w: %w", cause, err) // drivers have their own words for a cancelled query
		}
		if !errors.Is(err, errAgain) || attempt == maxAttempts {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		case <-time.After(pause/2 + rand.N(pause)):
		}
		pause = min(2*pause, longPause)
	}
}

// classify wraps an error of a driver in what the callers of this package branch on.
func classify(err error) error {
	if lite, ok := errors.AsType[*sqlite.Error](err); ok {
		switch lite.Code() {
		case sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY:
			return fmt.Errorf("%w: %w", ErrConflict, err)
		case sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
			return fmt.Errorf("%w: %w", ErrNotFound, err)
		}
		switch lite.Code() & 0xff {
		case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
			return fmt.Errorf("%w: %w", errAgain, err)
		}
		return err
	}
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch pg.Code {
		case "23505": // unique_violation
			return fmt.Errorf("%w: %w", ErrConflict, err)
		case "23503": // foreign_key_violation
			return fmt.Errorf("%w: %w", ErrNotFound, err)
		case "40001", "40P01": // transactions that did not fit together, deadlock
			return fmt.Errorf("%w: %w", errAgain, err)
		}
	}
	return err
}

// querier is a *sql.DB or a *sql.Tx.
type querier interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// runner runs SQL, with the same text and the same treatment of its arguments and errors for both
// databases.
type runner struct{ q querier }

// exec returns the number of rows that the statement changed.
func (r runner) exec(ctx context.Context, query string, args ...any) (int64, error) {
	result, err := r.q.ExecContext(ctx, query, storable(args)...)
	if err != nil {
		return 0, classify(err)
	}
	return result.RowsAffected()
}

// scanner is one row of a result.
type scanner interface{ Scan(dest ...any) error }

// many returns every row of a query; the query bounds how many there can be.
func many[T any](ctx context.Context, r runner, scan func(scanner) (T, error), query string, args ...any) ([]T, error) {
	rows, err := r.q.QueryContext(ctx, query, storable(args)...)
	if err != nil {
		return nil, classify(err)
	}
	defer rows.Close()
	var out []T
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	if err := rows.Err(); err != nil {
		return nil, classify(err)
	}
	return out, nil
}

// one returns the row of a query that has one at most; ErrNotFound if it has none.
func one[T any](ctx context.Context, r runner, scan func(scanner) (T, error), query string, args ...any) (T, error) {
	rows, err := many(ctx, r, scan, query, args...)
	if err != nil || len(rows) == 0 {
		var none T
		if err == nil {
			err = ErrNotFound
		}
		return none, err
	}
	return rows[0], nil
}

func scanInt(row scanner) (n int64, err error) { return n, row.Scan(&n) }

// storable makes text arguments such that both databases take them: PostgreSQL refuses NUL and what is
// not UTF-8, and one such byte from a tenant must not stop a batch of others.
func storable(args []any) []any {
	for i, arg := range args {
		if s, ok := arg.(string); ok {
			args[i] = storableText(s)
		}
	}
	return args
}

func storableText(s string) string {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	if strings.IndexByte(s, 0) >= 0 {
		s = strings.ReplaceAll(s, "\x00", "\uFFFD")
	}
	return s
}

// clip cuts s to max bytes, at the border of a character.
func clip(s string, max int) string {
	if len(s) <= max {
		return s
	}
	for max > 0 && !utf8.RuneStart(s[max]) {
		max--
	}
	return s[:max]
}

// fromTime is t as a column holds it; the zero time is 0.
func fromTime(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

// toTime is the reverse of fromTime.
func toTime(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns).UTC()
}

// prefixed puts a table's name before each column of a list.
func prefixed(table, columns string) string {
	names := strings.Split(columns, ",")
	for i, name := range names {
		names[i] = table + strings.TrimSpace(name)
	}
	return strings.Join(names, ", ")
}
