package catalog

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ErrFenced says that the shard has another owner by now: what was to be committed is somebody else's
// work.
var ErrFenced = errors.New("the shard has another owner")

// Clock is the database's clock, by which leases and slots go, so that replicas whose own clocks
// differ agree. SQLite has none but this process's.
func (db *DB) Clock(ctx context.Context) (time.Time, error) {
	if db.dialect == sqliteDialect {
		return db.now().UTC(), nil
	}
	ns, err := view(ctx, db, func(r runner) (int64, error) { return one(ctx, r, scanInt, postgresClock) })
	if err != nil {
		return time.Time{}, fmt.Errorf("read the database's clock: %w", err)
	}
	return toTime(ns), nil
}

const postgresClock = `SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint * 1000`

// Shard is the owner's hold on one.
type Shard struct {
	ID    int
	Epoch int64
}

// Beat says that a replica lives, forgets those that have not for a long time, and returns the ones
// that have since a time, by id.
func (db *DB) Beat(ctx context.Context, replica string, now time.Time, since time.Time) ([]string, error) {
	var live []string
	err := db.InTx(ctx, func(tx *Tx) (err error) {
		if _, err = tx.exec(ctx, `INSERT INTO alert_replicas (id, beat_at) VALUES ($1, $2)
			ON CONFLICT (id) DO UPDATE SET beat_at = excluded.beat_at`, replica, fromTime(now)); err != nil {
			return err
		}
		if _, err = tx.exec(ctx, `DELETE FROM alert_replicas WHERE beat_at < $1`, fromTime(now.Add(-time.Hour))); err != nil {
			return err
		}
		live, err = many(ctx, tx.runner, scanText, `SELECT id FROM alert_replicas WHERE beat_at >= $1 ORDER BY id LIMIT 1000`, fromTime(since))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("say that a replica lives: %w", err)
	}
	return live, nil
}

// Leave says that a replica has gone, so that others need not wait for it.
func (db *DB) Leave(ctx context.Context, replica string) error {
	err := db.InTx(ctx, func(tx *Tx) error {
		if _, err := tx.exec(ctx, `DELETE FROM alert_replicas WHERE id = $1`, replica); err != nil {
			return err
		}
		_, err := tx.exec(ctx, `UPDATE alert_shards SET lease_until = 0 WHERE owner = $1`, replica)
		return err
	})
	if err != nil {
		return fmt.Errorf("say that a replica leaves: %w", err)
	}
	return nil
}

// HoldShards renews the leases of the shards that owner has among want, takes those that nobody has,
// and gives up those that it has beyond them. It returns what owner holds now. A shard that is taken
// gets a new epoch; one that is renewed keeps its own.
func (db *DB) HoldShards(ctx context.Context, owner string, want []int, now time.Time, length time.Duration) ([]Shard, error) {
	var held []Shard
	err := db.InTx(ctx, func(tx *Tx) error {
		held = nil
		wanted := make(map[int]bool, len(want))
		for _, id := range want {
			wanted[id] = true
		}
		rows, err := many(ctx, tx.runner, scanShard, `SELECT id, epoch, owner, lease_until FROM alert_shards ORDER BY id LIMIT 4096`)
		if err != nil {
			return err
		}
		known := make(map[int]bool, len(rows))
		until := fromTime(now.Add(length))
		for _, s := range rows {
			known[s.id] = true
			own, live := s.owner == owner, s.leaseUntil > fromTime(now)
			switch {
			case own && !wanted[s.id]:
				if _, err := tx.exec(ctx, `UPDATE alert_shards SET lease_until = 0, owner = '' WHERE id = $1`, int64(s.id)); err != nil {
					return err
				}
			case !wanted[s.id] || live && !own:
			case own && live:
				if _, err := tx.exec(ctx, `UPDATE alert_shards SET lease_until = $2 WHERE id = $1`, int64(s.id), until); err != nil {
					return err
				}
				held = append(held, Shard{s.id, s.epoch})
			default:
				if _, err := tx.exec(ctx, `UPDATE alert_shards SET owner = $2, epoch = epoch + 1, lease_until = $3 WHERE id = $1`,
					int64(s.id), owner, until); err != nil {
					return err
				}
				held = append(held, Shard{s.id, s.epoch + 1})
			}
		}
		for _, id := range want {
			if known[id] {
				continue
			}
			if _, err := tx.exec(ctx, `INSERT INTO alert_shards (id, epoch, owner, lease_until) VALUES ($1, 1, $2, $3)`, int64(id), owner, until); err != nil {
				if errors.Is(err, ErrConflict) {
					return errAgain // another replica has just made it
				}
				return err
			}
			held = append(held, Shard{id, 1})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("hold shards: %w", err)
	}
	return held, nil
}

type shardRow struct {
	id         int
	epoch      int64
	owner      string
	leaseUntil int64
}

func scanShard(row scanner) (s shardRow, err error) {
	var id int64
	err = row.Scan(&id, &s.epoch, &s.owner, &s.leaseUntil)
	s.id = int(id)
	return s, err
}

// Fence lets a transaction go on only while the shard is still held by the epoch that it was taken
// with. It locks the shard's row, so that a takeover waits for the commit. The lease itself may be
// over: until somebody else takes the shard its owner's word stands.
func (tx *Tx) Fence(ctx context.Context, s Shard) error {
	n, err := tx.exec(ctx, `UPDATE alert_shards SET epoch = epoch WHERE id = $1 AND epoch = $2`, int64(s.ID), s.Epoch)
	if err != nil {
		return err
	}
	if n == 0 {
		return ErrFenced
	}
	return nil
}

// RuleState is how far the evaluation of a rule is and what it remembers.
type RuleState struct {
	Project uint32
	Rule    string
	// Identity says for which rule the state was made; one whose identity has changed begins anew.
	Identity string
	// Cursor is the newest slot that is evaluated.
	Cursor time.Time
	// State is JSON in the words of the evaluator.
	State []byte
}

func scanRuleState(row scanner) (RuleState, error) {
	var s RuleState
	var project, cursor int64
	var state string
	err := row.Scan(&project, &s.Rule, &s.Identity, &cursor, &state)
	s.Project, s.Cursor, s.State = uint32(project), toTime(cursor), []byte(state)
	return s, err
}

// RuleStates returns what is remembered of every rule.
func (db *DB) RuleStates(ctx context.Context) ([]RuleState, error) {
	states, err := view(ctx, db, func(r runner) ([]RuleState, error) {
		return many(ctx, r, scanRuleState, `SELECT project, rule, identity, cursor, state FROM alert_states LIMIT $1`, maxAllDocuments)
	})
	if err != nil {
		return nil, fmt.Errorf("states of rules: %w", err)
	}
	return states, nil
}

// RuleStatesOf returns what is remembered of the rules of a project.
func (db *DB) RuleStatesOf(ctx context.Context, project uint32) ([]RuleState, error) {
	states, err := view(ctx, db, func(r runner) ([]RuleState, error) {
		return many(ctx, r, scanRuleState, `SELECT project, rule, identity, cursor, state FROM alert_states WHERE project = $1 LIMIT $2`, int64(project), MaxDocuments)
	})
	if err != nil {
		return nil, fmt.Errorf("states of the rules of project %d: %w", project, err)
	}
	return states, nil
}

// RuleState returns what is remembered of a rule, or ErrNotFound.
func (tx *Tx) RuleState(ctx context.Context, project uint32, rule string) (RuleState, error) {
	return one(ctx, tx.runner, scanRuleState, `SELECT project, rule, identity, cursor, state FROM alert_states WHERE project = $1 AND rule = $2`, int64(project), rule)
}

// PutRuleState keeps a state unless what is kept is of a later slot of the same rule.
func (tx *Tx) PutRuleState(ctx context.Context, s RuleState) error {
	_, err := tx.exec(ctx, `INSERT INTO alert_states (project, rule, identity, cursor, state) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (project, rule) DO UPDATE SET identity = excluded.identity, cursor = excluded.cursor, state = excluded.state
		WHERE alert_states.cursor <= excluded.cursor OR alert_states.identity <> excluded.identity`,
		int64(s.Project), s.Rule, s.Identity, fromTime(s.Cursor), string(s.State))
	return err
}

// DropRuleState forgets a rule that is gone.
func (tx *Tx) DropRuleState(ctx context.Context, project uint32, rule string) error {
	_, err := tx.exec(ctx, `DELETE FROM alert_states WHERE project = $1 AND rule = $2`, int64(project), rule)
	return err
}

// Account counts the slots of a minute.
type Account struct {
	Minute                  time.Time
	Replica                 string
	Due, Done, Held, Failed int64
}

// AddAccount adds to the counts of a minute.
func (tx *Tx) AddAccount(ctx context.Context, a Account) error {
	_, err := tx.exec(ctx, `INSERT INTO alert_accounts (minute, replica, due, done, held, failed) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (minute, replica) DO UPDATE SET due = alert_accounts.due + excluded.due, done = alert_accounts.done + excluded.done,
			held = alert_accounts.held + excluded.held, failed = alert_accounts.failed + excluded.failed`,
		fromTime(a.Minute), a.Replica, a.Due, a.Done, a.Held, a.Failed)
	return err
}

// Accounts returns the counts since a time, oldest first.
func (db *DB) Accounts(ctx context.Context, since time.Time) ([]Account, error) {
	accounts, err := view(ctx, db, func(r runner) ([]Account, error) {
		return many(ctx, r, func(row scanner) (Account, error) {
			var a Account
			var minute int64
			err := row.Scan(&minute, &a.Replica, &a.Due, &a.Done, &a.Held, &a.Failed)
			a.Minute = toTime(minute)
			return a, err
		}, `SELECT minute, replica, due, done, held, failed FROM alert_accounts WHERE minute >= $1 ORDER BY minute, replica LIMIT 100000`, fromTime(since))
	})
	if err != nil {
		return nil, fmt.Errorf("accounts of evaluation: %w", err)
	}
	return accounts, nil
}

// dropAtOnce is how many rows one transaction removes, so that nobody waits for it for long.
const dropAtOnce = 5000

// DropOldAlerting removes what is older than before: accounts, transitions, receipts and sent rows,
// digest lines, deploys, others' alerts that do not fire. Incidents stay.
func (db *DB) DropOldAlerting(ctx context.Context, before time.Time) error {
	for _, statement := range []string{
		`DELETE FROM alert_accounts WHERE minute IN (SELECT DISTINCT minute FROM alert_accounts WHERE minute < $1 LIMIT $2)`,
		`DELETE FROM alert_transitions WHERE id IN (SELECT id FROM alert_transitions WHERE at < $1 LIMIT $2)`,
		`DELETE FROM receipts WHERE id IN (SELECT id FROM receipts WHERE at < $1 LIMIT $2)`,
		`DELETE FROM outbox WHERE key IN (SELECT key FROM outbox WHERE created_at < $1 AND state NOT IN ('due', 'sending') LIMIT $2)`,
		`DELETE FROM digest_lines WHERE id IN (SELECT id FROM digest_lines WHERE at < $1 LIMIT $2)`,
		`DELETE FROM deploys WHERE id IN (SELECT id FROM deploys WHERE at < $1 LIMIT $2) AND at < $1`,
		`DELETE FROM external_alerts WHERE id IN (SELECT id FROM external_alerts WHERE firing = 0 AND updated_at < $1 LIMIT $2)
			AND firing = 0 AND updated_at < $1`,
	} {
		if err := db.dropInParts(ctx, statement, before); err != nil {
			return fmt.Errorf("remove old alerting: %w", err)
		}
	}
	return nil
}

// dropInParts runs a statement that removes what is older than $1, $2 rows at most, until there is no more.
func (db *DB) dropInParts(ctx context.Context, statement string, before time.Time) error {
	for more := true; more; {
		err := db.InTx(ctx, func(tx *Tx) error {
			n, err := tx.exec(ctx, statement, fromTime(before), dropAtOnce)
			more = n >= dropAtOnce
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Transition is a change of an instance, kept for people to read.
type Transition struct {
	ID      string
	Project uint32
	Rule    string
	// Group names the instance, level included.
	Group string
	At    time.Time
	// Kind is one of rule.EventKind.
	Kind     string
	Incident string
	// Body is JSON: value, reason, labels.
	Body []byte
}

func scanTransition(row scanner) (Transition, error) {
	var t Transition
	var project, at int64
	var body string
	err := row.Scan(&t.ID, &project, &t.Rule, &t.Group, &at, &t.Kind, &t.Incident, &body)
	t.Project, t.At, t.Body = uint32(project), toTime(at), []byte(body)
	return t, err
}

// AddTransition notes a change.
func (tx *Tx) AddTransition(ctx context.Context, t Transition) error {
	_, err := tx.exec(ctx, `INSERT INTO alert_transitions (id, project, rule, grp, at, kind, incident, body) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
		ON CONFLICT (id) DO NOTHING`, t.ID, int64(t.Project), t.Rule, clip(t.Group, 1000), fromTime(t.At), t.Kind, t.Incident, string(t.Body))
	return err
}

// Transitions returns the changes of a project's rules, or of one, in [from, to), newest first.
func (db *DB) Transitions(ctx context.Context, project uint32, rule string, from, to time.Time, limit int) ([]Transition, error) {
	all, err := view(ctx, db, func(r runner) ([]Transition, error) {
		return many(ctx, r, scanTransition, `SELECT id, project, rule, grp, at, kind, incident, body FROM alert_transitions
			WHERE project = $1 AND ($2 = '' OR rule = $2) AND at >= $3 AND at < $4 ORDER BY at DESC, id LIMIT $5`,
			int64(project), rule, fromTime(from), fromTime(to), min(max(limit, 0), 10_000))
	})
	if err != nil {
		return nil, fmt.Errorf("transitions of project %d: %w", project, err)
	}
	return all, nil
}

func scanText(row scanner) (s string, err error) { return s, row.Scan(&s) }

// Secret returns a value that only this installation knows, which make provides the first time.
func (db *DB) Secret(ctx context.Context, name string, make func() string) (string, error) {
	var value string
	err := db.InTx(ctx, func(tx *Tx) (err error) {
		if _, err = tx.exec(ctx, `INSERT INTO secrets (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING`, name, make()); err != nil {
			return err
		}
		value, err = one(ctx, tx.runner, scanText, `SELECT value FROM secrets WHERE name = $1`, name)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("secret %s: %w", name, err)
	}
	return value, nil
}
