package telemetry

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strconv"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// migration is one step of the schema. Its statements are idempotent, since ClickHouse has no
// transactions: a step that was interrupted, or that two processes take at once, is taken again.
type migration struct {
	version    uint32
	name       string
	statements []string
}

// Migrate brings the database up to the schema of this program and makes it where there is none.
// It may run in several processes at once. A schema that is newer than the program is left as it
// is.
func (s *Store) Migrate(ctx context.Context) error {
	steps, err := migrations(migrationFiles)
	if err != nil {
		return err
	}
	if err := s.createDatabase(ctx); err != nil {
		return err
	}
	if err := s.apply(ctx, createMigrations); err != nil {
		return fmt.Errorf("create schema_migrations: %w", err)
	}
	done, err := s.applied(ctx)
	if err != nil {
		return err
	}
	for _, step := range steps {
		if done[step.version] {
			continue
		}
		for i, statement := range step.statements {
			if err := s.apply(ctx, statement); err != nil {
				return fmt.Errorf("apply migration %s, statement %d: %w", step.name, i+1, err)
			}
		}
		const note = "INSERT INTO schema_migrations (version, name, applied_at) VALUES ({version:UInt32}, {name:String}, now())"
		if err := s.rows.Exec(ctx, note, clickhouse.Named("version", step.version), clickhouse.Named("name", step.name)); err != nil {
			return fmt.Errorf("note migration %s: %w", step.name, err)
		}
		s.log.InfoContext(ctx, "telemetry schema migrated", slog.String("migration", step.name))
	}
	return nil
}

const createMigrations = `CREATE TABLE IF NOT EXISTS schema_migrations (
	version UInt32, name String, applied_at DateTime('UTC')
) ENGINE = ReplacingMergeTree ORDER BY version`

// createDatabase makes the database that the URL names, over a connection that names none: one
// that does is refused while there is no such database.
func (s *Store) createDatabase(ctx context.Context) error {
	options := s.options
	options.Auth.Database = ""
	options.MaxOpenConns, options.MaxIdleConns = 1, 1
	conn, err := clickhouse.Open(&options)
	if err != nil {
		return fmt.Errorf("open clickhouse: %w", err)
	}
	defer func() { _ = conn.Close() }() // nothing is pending on it
	if exists(ctx, conn, s.database) {
		return nil // the user may lack the right to make one
	}
	if err := conn.Exec(ctx, "CREATE DATABASE IF NOT EXISTS "+quoteName(s.database)); err != nil {
		return fmt.Errorf("create database %s: %w", s.database, err)
	}
	return nil
}

func exists(ctx context.Context, conn driver.Conn, database string) bool {
	var n uint64
	err := conn.QueryRow(ctx, "SELECT count() FROM system.databases WHERE name = {name:String}",
		clickhouse.Named("name", database)).Scan(&n)
	return err == nil && n > 0
}

func quoteName(name string) string {
	return "`" + strings.NewReplacer("\\", "\\\\", "`", "\\`").Replace(name) + "`"
}

// apply runs one statement of the schema. When two processes make the same thing at once one of
// them may be told so, whatever IF NOT EXISTS says: it asks again.
func (s *Store) apply(ctx context.Context, statement string) error {
	err := s.rows.Exec(ctx, statement)
	if c := code(err); c == codeTableExists || c == codeDuplicateColumn {
		err = s.rows.Exec(ctx, statement)
	}
	return err
}

func (s *Store) applied(ctx context.Context) (map[uint32]bool, error) {
	rows, err := s.rows.Query(ctx, "SELECT DISTINCT version FROM schema_migrations")
	if err != nil {
		return nil, fmt.Errorf("read schema_migrations: %w", err)
	}
	defer rows.Close()
	done := make(map[uint32]bool)
	for rows.Next() {
		var version uint32
		if err := rows.Scan(&version); err != nil {
			return nil, fmt.Errorf("read schema_migrations: %w", err)
		}
		done[version] = true
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read schema_migrations: %w", err)
	}
	return done, nil
}

// migrations reads the steps in order. A file is named by its number and what it does:
// 0001_logs.sql.
func migrations(files fs.FS) ([]migration, error) {
	names, err := fs.Glob(files, "migrations/*.sql")
	if err != nil {
		return nil, fmt.Errorf("list migrations: %w", err)
	}
	slices.Sort(names)
	var steps []migration
	for i, path := range names {
		name := strings.TrimSuffix(path[strings.LastIndexByte(path, '/')+1:], ".sql")
		number, _, _ := strings.Cut(name, "_")
		version, err := strconv.ParseUint(number, 10, 32)
		if err != nil || version != uint64(i+1) {
			return nil, fmt.Errorf("migration %s: want number %04d", name, i+1)
		}
		text, err := fs.ReadFile(files, path)
		if err != nil {
			return nil, fmt.Errorf("read migration %s: %w", name, err)
		}
		steps = append(steps, migration{version: uint32(version), name: name, statements: splitStatements(string(text))})
	}
	return steps, nil
}

// splitStatements cuts SQL text at its semicolons, but not at those in quotes and comments, and
// drops comments and what is empty.
func splitStatements(text string) []string {
	var (
		statements []string
		b          strings.Builder
	)
	end := func() {
		if statement := strings.TrimSpace(b.String()); statement != "" {
			statements = append(statements, statement)
		}
		b.Reset()
	}
	for i := 0; i < len(text); {
		switch c := text[i]; {
		case c == ';':
			end()
			i++
		case strings.HasPrefix(text[i:], "--"):
			n := strings.IndexByte(text[i:], '\n')
			if n < 0 {
				n = len(text) - i
			}
			i += n
		case strings.HasPrefix(text[i:], "/*"):
			n := strings.Index(text[i+2:], "*/")
			if n < 0 {
				n = len(text) - i - 4
			}
			b.WriteByte(' ')
			i += n + 4
		case c == '\'' || c == '"' || c == '`':
			n := quotedLen(text[i:])
			b.WriteString(text[i : i+n])
			i += n
		default:
			b.WriteByte(c)
			i++
		}
	}
	end()
	return statements
}

// quotedLen is the length of the quoted text that s begins with, quotes included. A quote inside
// is doubled or after a backslash.
func quotedLen(s string) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case s[0]:
			if i+1 < len(s) && s[i+1] == s[0] {
				i++
				continue
			}
			return i + 1
		}
	}
	return len(s)
}
