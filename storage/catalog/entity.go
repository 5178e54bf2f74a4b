package catalog

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

const (
	// EndedFor is how long it counts that an entity was said to have ended.
	EndedFor = 24 * time.Hour
	// MaxEnded is how many entities of a project may be said to have ended in that time.
	MaxEnded = 2000
	// maxEndedRead bounds one read.
	maxEndedRead = 100_000
)

// EndedEntity is something that ended for good: all that has the labels.
type EndedEntity struct {
	Project uint32
	ID      string
	At      time.Time
	Labels  map[string]string
}

// AddEndedEntity notes that something has ended. ErrLimit says that MaxEnded others did in the
// EndedFor before.
func (db *DB) AddEndedEntity(ctx context.Context, e EndedEntity) error {
	labels, err := json.Marshal(e.Labels)
	if err != nil {
		return fmt.Errorf("write the labels of what ended: %w", err)
	}
	err = db.InTx(ctx, func(tx *Tx) error {
		_, err := tx.exec(ctx, `INSERT INTO ended_entities (project, id, at, labels) VALUES ($1, $2, $3, $4)`,
			int64(e.Project), e.ID, fromTime(e.At), string(labels))
		if err != nil {
			return err
		}
		n, err := one(ctx, tx.runner, scanInt, `SELECT COUNT(*) FROM ended_entities WHERE project = $1 AND at > $2`,
			int64(e.Project), fromTime(e.At.Add(-EndedFor)))
		if err == nil && n > MaxEnded {
			return ErrLimit
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("note what ended in project %d: %w", e.Project, err)
	}
	return nil
}

// EndedEntities returns what ended in a project in [from, to), newest first.
func (db *DB) EndedEntities(ctx context.Context, project uint32, from, to time.Time) ([]EndedEntity, error) {
	all, err := view(ctx, db, func(r runner) ([]EndedEntity, error) {
		return many(ctx, r, func(row scanner) (EndedEntity, error) {
			e := EndedEntity{Project: project}
			var at int64
			var labels string
			if err := row.Scan(&e.ID, &at, &labels); err != nil {
				return e, err
			}
			e.At = toTime(at)
			return e, json.Unmarshal([]byte(labels), &e.Labels)
		}, `SELECT id, at, labels FROM ended_entities WHERE project = $1 AND at >= $2 AND at < $3 ORDER BY at DESC, id LIMIT $4`,
			int64(project), fromTime(from), fromTime(to), maxEndedRead)
	})
	if err != nil {
		return nil, fmt.Errorf("what ended in project %d: %w", project, err)
	}
	return all, nil
}
