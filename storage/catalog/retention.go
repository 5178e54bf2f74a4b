package catalog

import (
	"context"
	"fmt"
	"time"

	"github.com/midwatch/midwatch/storage/retention"
)

// Shortening says that a project keeps a signal for less time than some of its rows were accepted
// for, so that they have to be looked for once a day.
type Shortening struct {
	Project uint32
	// Signal is metrics, logs, errors or checkins.
	Signal string
	// Days is for how long the project keeps the signal now.
	Days int
	// Version rises with every change of the project's choice.
	Version int64
}

// lateDays is how long after a change rows may still be stored that were accepted before it: as
// long as they waited in the buffer.
const lateDays = 7

// SetRetention changes for how long a project's records are kept and returns the project as it is
// then. Where a signal is kept for less time than before, that is noted for the keeper. A choice
// that is no class is an error fit for a user; ErrNotFound says that there is no such project.
func (db *DB) SetRetention(ctx context.Context, number uint32, days retention.Days) (Project, error) {
	if err := days.Check(); err != nil {
		return Project{}, err
	}
	var p Project
	err := db.InTx(ctx, func(tx *Tx) (err error) {
		p, err = one(ctx, tx.runner, scanProject, `SELECT `+projectColumns+` FROM projects WHERE number = $1`, int64(number))
		if err != nil {
			return err
		}
		_, err = tx.exec(ctx, `UPDATE projects SET metrics_days = $2, logs_days = $3, errors_days = $4, checkins_days = $5 WHERE number = $1`,
			int64(number), days.Metrics, days.Logs, days.Errors, days.Checkins)
		if err != nil {
			return err
		}
		was := p.Retention
		p.Retention = days
		for _, s := range []struct {
			signal   string
			was, now int
		}{
			{"metrics", was.Metrics, days.Metrics},
			{"logs", was.Logs, days.Logs},
			{"errors", was.Errors, days.Errors},
			{"checkins", was.Checkins, days.Checkins},
		} {
			if s.now == s.was {
				continue
			}
			if err := tx.noteRetention(ctx, number, s.signal, s.was, s.now); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return Project{}, fmt.Errorf("set the retention of project %d: %w", number, err)
	}
	return p, nil
}

// noteRetention has the keeper begin at once. A longer retention needs none of it by itself, but
// an unfinished shortening goes on with the new number.
func (tx *Tx) noteRetention(ctx context.Context, project uint32, signal string, was, now int) error {
	if now > was {
		_, err := tx.exec(ctx, `UPDATE shortenings SET version = version + 1 WHERE project = $1 AND signal = $2`, int64(project), signal)
		return err
	}
	last := dayOf(tx.now) + int64(was) + lateDays
	_, err := tx.exec(ctx, `INSERT INTO shortenings (project, signal, version, done_day, last_day) VALUES ($1, $2, 1, 0, $3)
		ON CONFLICT (project, signal) DO UPDATE SET version = shortenings.version + 1, done_day = 0,
			last_day = CASE WHEN shortenings.last_day > excluded.last_day THEN shortenings.last_day ELSE excluded.last_day END`,
		int64(project), signal, last)
	return err
}

// dayOf counts days since 1970.
func dayOf(t time.Time) int64 { return t.Unix() / 86_400 }

// DueShortenings returns up to limit shortenings that were not done on the day of now yet.
func (db *DB) DueShortenings(ctx context.Context, now time.Time, limit int) ([]Shortening, error) {
	due, err := view(ctx, db, func(r runner) ([]Shortening, error) {
		return many(ctx, r, func(row scanner) (Shortening, error) {
			var s Shortening
			var project int64
			var d retention.Days
			err := row.Scan(&project, &s.Signal, &s.Version, &d.Metrics, &d.Logs, &d.Errors, &d.Checkins)
			s.Project = uint32(project)
			s.Days = map[string]int{"metrics": d.Metrics, "logs": d.Logs, "errors": d.Errors, "checkins": d.Checkins}[s.Signal]
			return s, err
		}, `SELECT s.project, s.signal, s.version, p.metrics_days, p.logs_days, p.errors_days, p.checkins_days
			FROM shortenings s JOIN projects p ON p.number = s.project
			WHERE s.done_day < $1 ORDER BY s.done_day, s.project, s.signal LIMIT $2`, dayOf(now), limit)
	})
	if err != nil {
		return nil, fmt.Errorf("find shortened retentions: %w", err)
	}
	return due, nil
}

// FinishShortening notes that there is nothing left to do for a shortening on the day of now, and
// forgets it where that was its last day. ErrConflict says that the project has chosen again
// meanwhile: it is still due.
func (db *DB) FinishShortening(ctx context.Context, s Shortening, now time.Time) error {
	today := dayOf(now)
	err := db.InTx(ctx, func(tx *Tx) error {
		n, err := tx.exec(ctx, `UPDATE shortenings SET done_day = $4 WHERE project = $1 AND signal = $2 AND version = $3`,
			int64(s.Project), s.Signal, s.Version, today)
		if err := changed(n, err); err != nil {
			return err
		}
		_, err = tx.exec(ctx, `DELETE FROM shortenings WHERE project = $1 AND signal = $2 AND last_day < $3`, int64(s.Project), s.Signal, today)
		return err
	})
	if err != nil {
		return fmt.Errorf("finish the shortened retention of %s of project %d: %w", s.Signal, s.Project, err)
	}
	return nil
}
