package catalog

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// SetNow sets the clock of a catalog that nobody uses yet.
func (db *DB) SetNow(now func() time.Time) { db.now = now }

// SetDropStep sets how many rows a transaction of housekeeping removes, in a catalog that nobody uses yet.
func (db *DB) SetDropStep(n int) { db.dropStep = n }

// PHC returns the stored form of a password hash as it is understood.
func PHC(text string) (string, error) {
	h, err := parsePasswordHash(text)
	return h.String(), err
}

// PasswordHash returns what is stored for a user.
func (db *DB) PasswordHash(ctx context.Context, email string) (hash string, err error) {
	err = db.read.QueryRowContext(ctx, `SELECT password_hash FROM users WHERE email = $1`, email).Scan(&hash)
	return hash, err
}

// Pragmas returns how the writing connection of SQLite is set up.
func (db *DB) Pragmas(ctx context.Context, t testing.TB) string {
	var mode string
	var synchronous, foreignKeys int
	for pragma, dest := range map[string]any{"journal_mode": &mode, "synchronous": &synchronous, "foreign_keys": &foreignKeys} {
		if err := db.write.QueryRowContext(ctx, `PRAGMA `+pragma).Scan(dest); err != nil {
			t.Fatal(err)
		}
	}
	return fmt.Sprint(mode, " ", synchronous, " ", foreignKeys)
}
