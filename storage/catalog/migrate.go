package catalog

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

//go:embed migrations/*.sql
var migrations embed.FS

// migrationLock is the key of the advisory lock that processes take in PostgreSQL to migrate one
// after another. Its value means nothing but must never change.
const migrationLock = 0x6d69647761746368

// Migrate brings the tables up to date, in one transaction. Processes that start at once wait for
// each other. Migrations that this program does not know are left alone: they only add, so that
// an older program goes on working while a newer one is rolled out.
func (db *DB) Migrate(ctx context.Context) error {
	files, err := fs.Glob(migrations, "migrations/*.sql") // in the order of their names
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	err = retry(ctx, func() error {
		// Read committed: what others did while this one waited for the lock must be seen.
		return db.transact(ctx, sql.LevelReadCommitted, func(r runner) error {
			if db.dialect == postgresDialect {
				if _, err := r.exec(ctx, `SELECT pg_advisory_xact_lock($1)`, int64(migrationLock)); err != nil {
					return fmt.Errorf("wait for others: %w", err)
				}
			}
			return migrate(ctx, r, files, fromTime(db.now()))
		})
	})
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	return nil
}

func migrate(ctx context.Context, r runner, files []string, now int64) error {
	_, err := r.exec(ctx, `CREATE TABLE IF NOT EXISTS schema_migrations (
		version BIGINT NOT NULL PRIMARY KEY, name TEXT NOT NULL, applied_at BIGINT NOT NULL)`)
	if err != nil {
		return fmt.Errorf("make the table of migrations: %w", err)
	}
	applied, err := many(ctx, r, scanInt, `SELECT version FROM schema_migrations`)
	if err != nil {
		return fmt.Errorf("read the migrations done: %w", err)
	}
	done := make(map[int64]bool, len(applied))
	for _, version := range applied {
		done[version] = true
	}
	for _, file := range files {
		name := strings.TrimSuffix(strings.TrimPrefix(file, "migrations/"), ".sql")
		digits, _, _ := strings.Cut(name, "_")
		version, err := strconv.ParseInt(digits, 10, 64)
		if err != nil {
			return fmt.Errorf("migration %s: its name must begin with a number", name)
		}
		if done[version] {
			continue
		}
		text, err := migrations.ReadFile(file)
		if err != nil {
			return fmt.Errorf("migration %s: %w", name, err)
		}
		if _, err := r.exec(ctx, string(text)); err != nil {
			return fmt.Errorf("migration %s: %w", name, err)
		}
		_, err = r.exec(ctx, `INSERT INTO schema_migrations (version, name, applied_at) VALUES ($1, $2, $3)`, version, name, now)
		if err != nil {
			return fmt.Errorf("note migration %s: %w", name, err)
		}
	}
	return nil
}
