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
	return db.NoticesTo(ctx, "", project, since)
}

// NoticesTo are the notices of a project without those that a person, by the id, has dismissed.
func (db *DB) NoticesTo(ctx context.Context, user string, project uint32, since time.Time) ([]Notice, error) {
	notices, err := view(ctx, db, func(r runner) ([]Notice, error) {
		return many(ctx, r, func(row scanner) (Notice, error) {
			var n Notice
			var at int64
			err := row.Scan(&n.Kind, &n.Subject, &at, &n.Message, &n.Details)
			n.At = toTime(at)
			return n, err
		}, `SELECT kind, subject, at, message, details FROM notices n WHERE project = $1 AND at >= $2
			AND NOT EXISTS (SELECT 1 FROM notice_dismissals d WHERE d.project = n.project AND d.kind = n.kind AND d.subject = n.subject
				AND d.user_id = $3 AND d.at >= n.at)
			ORDER BY at DESC, subject DESC LIMIT $4`,
			int64(project), fromTime(since), user, MaxNotices)
	})
	if err != nil {
		return nil, fmt.Errorf("notices of project %d: %w", project, err)
	}
	return notices, nil
}

// DismissNotice hides a notice from a person, by the id, for as long as it is not told anew. It is
// told apart by project, kind, subject and time: nobody dismisses what they have not seen. ErrNotFound
// says that there is no such notice any more.
func (db *DB) DismissNotice(ctx context.Context, user string, project uint32, n Notice) error {
	err := db.InTx(ctx, func(tx *Tx) error {
		rows, err := tx.exec(ctx, `INSERT INTO notice_dismissals (project, kind, subject, user_id, at)
			SELECT project, kind, subject, $1, at FROM notices WHERE project = $2 AND kind = $3 AND subject = $4 AND at = $5
			ON CONFLICT (project, kind, subject, user_id) DO UPDATE SET at = excluded.at`,
			user, int64(project), n.Kind, n.Subject, fromTime(n.At))
		if err == nil && rows == 0 {
			return ErrNotFound
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("dismiss the notice %s %q: %w", n.Kind, n.Subject, err)
	}
	return nil
}
