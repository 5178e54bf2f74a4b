package catalog

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	// maxAllProjects bounds a look at everybody's projects.
	maxAllProjects = 100_000
	// maxUnseen bounds how many monitors are found at once that nothing came for.
	maxUnseen = 1000
)

// RuleCursors returns how far each rule is, as it is kept: RuleStates without State.
func (db *DB) RuleCursors(ctx context.Context) ([]RuleState, error) {
	states, err := view(ctx, db, func(r runner) ([]RuleState, error) {
		return many(ctx, r, scanRuleState, `SELECT project, rule, identity, cursor, '' FROM alert_states LIMIT $1`, maxAllDocuments)
	})
	if err != nil {
		return nil, fmt.Errorf("cursors of rules: %w", err)
	}
	return states, nil
}

// ReplicaBeat returns when a replica last said that it evaluates; zero if it never did.
func (db *DB) ReplicaBeat(ctx context.Context, replica string) (time.Time, error) {
	ns, err := view(ctx, db, func(r runner) (int64, error) {
		return one(ctx, r, scanInt, `SELECT coalesce(max(beat_at), 0) FROM alert_replicas WHERE id = $1`, replica)
	})
	if err != nil {
		return time.Time{}, fmt.Errorf("the beat of a replica: %w", err)
	}
	return toTime(ns), nil
}

// ShardWatch is how a shard does, for whoever watches.
type ShardWatch struct {
	ID int
	// Owner is who had it last; LeaseUntil is over, or zero, while nobody holds it.
	Owner      string
	LeaseUntil time.Time
	// CanaryAt is when its canary last came home; zero if it never did.
	CanaryAt time.Time
}

// WatchShards returns the shards that somebody has held, by number.
func (db *DB) WatchShards(ctx context.Context) ([]ShardWatch, error) {
	shards, err := view(ctx, db, func(r runner) ([]ShardWatch, error) {
		return many(ctx, r, func(row scanner) (ShardWatch, error) {
			var s ShardWatch
			var id, lease, canary int64
			err := row.Scan(&id, &s.Owner, &lease, &canary)
			s.ID, s.LeaseUntil, s.CanaryAt = int(id), toTime(lease), toTime(canary)
			return s, err
		}, `SELECT id, owner, lease_until, canary_at FROM alert_shards ORDER BY id LIMIT 4096`)
	})
	if err != nil {
		return nil, fmt.Errorf("watch the shards: %w", err)
	}
	return shards, nil
}

// EvaluatedUntil returns up to when all that the rules of a shard had to look at is looked at, as of a few
// seconds ago; zero if that is not known.
func (db *DB) EvaluatedUntil(ctx context.Context, shard int) (time.Time, error) {
	ns, err := view(ctx, db, func(r runner) (int64, error) {
		return one(ctx, r, scanInt, `SELECT coalesce(max(evaluated_at), 0) FROM alert_shards WHERE id = $1`, int64(shard))
	})
	if err != nil {
		return time.Time{}, fmt.Errorf("up to when shard %d is evaluated: %w", shard, err)
	}
	return toTime(ns), nil
}

// CanariesHome notes that the canaries of shards have come home.
func (db *DB) CanariesHome(ctx context.Context, shards []int, at time.Time) error {
	err := db.InTx(ctx, func(tx *Tx) error {
		for _, id := range shards {
			if _, err := tx.exec(ctx, `UPDATE alert_shards SET canary_at = $2 WHERE id = $1 AND canary_at < $2`, int64(id), fromTime(at)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("note that canaries have come home: %w", err)
	}
	return nil
}

// Overdue is a message that no sender has taken up.
type Overdue struct {
	Project uint32
	Since   time.Time
}

// OldestUndeliveredPage returns the page that is due for longest and that no sender tries to deliver;
// the zero value if there is none. One that its receiver does not take is tried, and none of them.
func (db *DB) OldestUndeliveredPage(ctx context.Context, now time.Time) (Overdue, error) {
	found, err := view(ctx, db, func(r runner) (Overdue, error) {
		return one(ctx, r, func(row scanner) (Overdue, error) {
			var project, since int64
			err := row.Scan(&project, &since)
			return Overdue{uint32(project), toTime(since)}, err
		}, `SELECT o.project, CASE WHEN o.state = 'due' THEN o.due_at ELSE o.lease_until END FROM outbox o
			WHERE o.severity = 'page' AND (o.state = 'due' AND o.attempts = 0 AND o.due_at <= $1 OR o.state = 'sending' AND o.lease_until <= $1)
				AND NOT EXISTS (SELECT 1 FROM outbox e WHERE e.incident = o.incident AND e.incident <> '' AND e.receiver = o.receiver
					AND e.seq < o.seq AND e.state IN ('due', 'sending'))
			ORDER BY 2 LIMIT 1`, fromTime(now))
	})
	if errors.Is(err, ErrNotFound) {
		return Overdue{}, nil
	}
	if err != nil {
		return Overdue{}, fmt.Errorf("oldest undelivered page: %w", err)
	}
	return found, nil
}

// AllProjects returns everybody's projects, oldest first.
func (db *DB) AllProjects(ctx context.Context) ([]Project, error) {
	projects, err := view(ctx, db, func(r runner) ([]Project, error) {
		return many(ctx, r, scanProject, `SELECT `+projectColumns+` FROM projects ORDER BY number LIMIT $1`, maxAllProjects)
	})
	if err != nil {
		return nil, fmt.Errorf("all projects: %w", err)
	}
	return projects, nil
}

// UnseenMonitors returns monitors with a schedule that were made in [from, to) and for which nothing
// has come yet, oldest first.
func (db *DB) UnseenMonitors(ctx context.Context, from, to time.Time) ([]Monitor, error) {
	monitors, err := view(ctx, db, func(r runner) ([]Monitor, error) {
		return many(ctx, r, scanMonitor, `SELECT `+monitorColumns+` FROM monitors
			WHERE status = $1 AND schedule_kind <> $2 AND created_at >= $3 AND created_at < $4 ORDER BY created_at, project, slug LIMIT $5`,
			MonitorNew, ScheduleNone, fromTime(from), fromTime(to), maxUnseen)
	})
	if err != nil {
		return nil, fmt.Errorf("monitors that were never seen: %w", err)
	}
	return monitors, nil
}
