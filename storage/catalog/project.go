package catalog

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/midwatch/midwatch/storage/retention"
)

// MaxProjects is how many projects an organisation may have.
const MaxProjects = 1000

// Organisation owns projects and has people in it.
type Organisation struct {
	ID, Slug, Name string
	CreatedAt      time.Time
}

// Project is what telemetry belongs to.
type Project struct {
	// Number is the project's identity everywhere. It is above 0 and never given out twice.
	Number         uint32
	OrganisationID string
	// Slug is unique in the organisation.
	Slug string
	Name string
	// IngestKey lets its holder send, not read. It is the DSN's public key and the ping key, too.
	IngestKey string
	CreatedAt time.Time
	// Retention is for how long what it sends is kept.
	Retention retention.Days
}

var ingestKeyPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{8,128}$`)

// Organisations returns all organisations, oldest first.
func (db *DB) Organisations(ctx context.Context) ([]Organisation, error) {
	all, err := view(ctx, db, func(r runner) ([]Organisation, error) {
		return many(ctx, r, func(row scanner) (Organisation, error) {
			var o Organisation
			var created int64
			err := row.Scan(&o.ID, &o.Slug, &o.Name, &created)
			o.CreatedAt = toTime(created)
			return o, err
		}, `SELECT id, slug, name, created_at FROM organisations ORDER BY created_at, id LIMIT 100000`)
	})
	if err != nil {
		return nil, fmt.Errorf("organisations: %w", err)
	}
	return all, nil
}

const projectColumns = `number, organisation_id, slug, name, ingest_key, created_at, metrics_days, logs_days, errors_days, checkins_days`

func scanProject(row scanner) (Project, error) {
	var p Project
	var number, createdAt int64
	err := row.Scan(&number, &p.OrganisationID, &p.Slug, &p.Name, &p.IngestKey, &createdAt,
		&p.Retention.Metrics, &p.Retention.Logs, &p.Retention.Errors, &p.Retention.Checkins)
	p.Number, p.CreatedAt = uint32(number), toTime(createdAt)
	return p, err
}

// Project returns a project by its number, or ErrNotFound.
func (db *DB) Project(ctx context.Context, number uint32) (Project, error) {
	p, err := view(ctx, db, func(r runner) (Project, error) {
		return one(ctx, r, scanProject, `SELECT `+projectColumns+` FROM projects WHERE number = $1`, int64(number))
	})
	if err != nil {
		return Project{}, fmt.Errorf("project %d: %w", number, err)
	}
	return p, nil
}

// Project returns a project by its number, or ErrNotFound.
func (tx *Tx) Project(ctx context.Context, number uint32) (Project, error) {
	p, err := one(ctx, tx.runner, scanProject, `SELECT `+projectColumns+` FROM projects WHERE number = $1`, int64(number))
	if err != nil {
		return Project{}, fmt.Errorf("project %d: %w", number, err)
	}
	return p, nil
}

// ProjectByKey returns the project of an ingest key, or ErrNotFound. Errors do not show the key.
func (db *DB) ProjectByKey(ctx context.Context, key string) (Project, error) {
	if !ingestKeyPattern.MatchString(key) {
		return Project{}, fmt.Errorf("project of an ingest key: %w", ErrNotFound)
	}
	p, err := view(ctx, db, func(r runner) (Project, error) {
		return one(ctx, r, scanProject, `SELECT `+projectColumns+` FROM projects WHERE ingest_key = $1`, key)
	})
	if err != nil {
		return Project{}, fmt.Errorf("project of an ingest key: %w", err)
	}
	return p, nil
}

// Projects returns the projects of an organisation, oldest first, MaxProjects at most.
func (db *DB) Projects(ctx context.Context, organisationID string) ([]Project, error) {
	projects, err := view(ctx, db, func(r runner) ([]Project, error) {
		return many(ctx, r, scanProject, `SELECT `+projectColumns+` FROM projects WHERE organisation_id = $1 ORDER BY number LIMIT $2`,
			organisationID, MaxProjects)
	})
	if err != nil {
		return nil, fmt.Errorf("projects of organisation %s: %w", organisationID, err)
	}
	return projects, nil
}

// CreateProject makes a project with the next number and a fresh ingest key. It returns
// ErrConflict when the organisation has a project of this slug, ErrNotFound when there is no such
// organisation, and ErrLimit when it has MaxProjects.
func (db *DB) CreateProject(ctx context.Context, organisationID, slug, name string) (Project, error) {
	var p Project
	err := db.InTx(ctx, func(tx *Tx) (err error) {
		n, err := one(ctx, tx.runner, scanInt, `SELECT count(*) FROM projects WHERE organisation_id = $1`, organisationID)
		if err != nil {
			return err
		}
		if n >= MaxProjects {
			return ErrLimit
		}
		p, err = tx.createProject(ctx, organisationID, slug, name, newKey())
		return err
	})
	if err != nil {
		return Project{}, fmt.Errorf("create project %q: %w", slug, err)
	}
	return p, nil
}

func (tx *Tx) createProject(ctx context.Context, organisationID, slug, name, key string) (Project, error) {
	// A counter and not the highest number plus one: the number of a deleted project must not
	// come back, and the row's lock puts racing callers in a line.
	number, err := one(ctx, tx.runner, scanInt, `UPDATE counters SET value = value + 1 WHERE name = 'project' RETURNING value`)
	if err != nil {
		return Project{}, fmt.Errorf("next project number: %w", err)
	}
	if number > 1<<32-1 {
		return Project{}, errors.New("next project number: there are none left")
	}
	p := Project{Number: uint32(number), OrganisationID: organisationID, Slug: slug, Name: name, IngestKey: key, CreatedAt: toTime(fromTime(tx.now)), Retention: retention.Default}
	_, err = tx.exec(ctx, `INSERT INTO projects (`+projectColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
		number, p.OrganisationID, p.Slug, p.Name, p.IngestKey, fromTime(p.CreatedAt),
		p.Retention.Metrics, p.Retention.Logs, p.Retention.Errors, p.Retention.Checkins)
	return p, err
}

// newKey is 128 random bits in 32 lower-case hexadecimal digits, as DSNs have them; of ingest and badges.
func newKey() string {
	var b [16]byte
	rand.Read(b[:]) // never fails: it ends the program instead
	return hex.EncodeToString(b[:])
}
