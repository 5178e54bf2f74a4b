package catalog

import (
	"context"
	"fmt"
	"time"
)

const (
	// noticeLifetime is how long a notice is kept, and MaxNotices how many of a project are.
	noticeLifetime = 30 * 24 * time.Hour
	MaxNotices     = 100
	// maxNoticeProjects bounds whom one event is told to.
	maxNoticeProjects = 1000
)

// Notice says what happened to a project's data without its doing.
type Notice struct {
	// Kind is a word of snake_case; Subject tells the notices of a kind apart. The same once more
	// replaces the one before.
	Kind, Subject string
	At            time.Time
	// Message is for a person.
	Message string
	// Details is a JSON object.
	Details string
}

// AddNotice tells the operator and some projects, the first thousand. Old notices of anybody go
// on the way.
func (db *DB) AddNotice(ctx context.Context, n Notice, projects []uint32) error {
	projects = append([]uint32{0}, projects[:min(len(projects), maxNoticeProjects)]...)
	err := db.InTx(ctx, func(tx *Tx) error {
		if _, err := tx.exec(ctx, `DELETE FROM notices WHERE at < $1`, fromTime(n.At.Add(-noticeLifetime))); err != nil {
			return err
		}
		for _, p := range projects {
			_, err := tx.exec(ctx, `INSERT INTO notices (project, kind, subject, at, message, details) VALUES ($1, $2, $3, $4, $5, $6)
				ON CONFLICT (project, kind, subject) DO UPDATE SET at = excluded.at, message = excluded.message, details = excluded.details`,
				int64(p), n.Kind, n.Subject, fromTime(n.At), n.Message, n.Details)
			if err != nil {
				return err
			}
			_, err = tx.exec(ctx, `DELETE FROM notices WHERE project = $1 AND at <
				(SELECT at FROM notices WHERE project = $1 ORDER BY at DESC LIMIT 1 OFFSET $2)`, int64(p), MaxNotices-1)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("add the notice %s %q: %w", n.Kind, n.Subject, err)
	}
	return nil
}

// Notices returns what a project was told since a time, newest first; project 0 is the operator.
func (db *DB) Notices(ctx context.Context, project uint32, since time.Time) ([]Notice, error) {
	notices, err := view(ctx, db, func(r runner) ([]Notice, error) {
		return many(ctx, r, func(row scanner) (Notice, error) {
			var n Notice
			var at int64
			err := row.Scan(&n.Kind, &n.Subject, &at, &n.Message, &n.Details)
			n.At = toTime(at)
			return n, err
		}, `SELECT kind, subject, at, message, details FROM notices WHERE project = $1 AND at >= $2 ORDER BY at DESC, subject DESC LIMIT $3`,
			int64(project), fromTime(since), MaxNotices)
	})
	if err != nil {
		return nil, fmt.Errorf("notices of project %d: %w", project, err)
	}
	return notices, nil
}
