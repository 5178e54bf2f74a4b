package catalog

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// States of a row of the outbox.
const (
	OutboxDue     = "due"     // to be sent at DueAt
	OutboxSending = "sending" // somebody sends it until LeaseUntil
	OutboxDone    = "done"    // the receiver took it
	// OutboxWithdrawn is one that nobody needs any more, such as a trigger of what has resolved.
	OutboxWithdrawn = "withdrawn"
	// OutboxFailed is one that the receiver will never take, or did not for a day.
	OutboxFailed = "failed"
	// OutboxFolded is one that became part of another, for there were too many at once.
	OutboxFolded = "folded"
)

// OutboxRow is one message to one receiver.
type OutboxRow struct {
	// Key is incident:seq:receiver:action. It is the identity of the message, here and at the receiver.
	Key          string
	Organisation string
	Project      uint32
	// Incident is empty for what belongs to none, such as a digest.
	Incident string
	// Seq orders the messages of an incident: a receiver gets them in this order.
	Seq      int64
	Receiver string
	// Action and Severity are words of alerts/notify. Rank orders what is due at once, lowest first.
	Action, Severity string
	Rank             int
	State            string
	CreatedAt, DueAt time.Time
	LeaseUntil       time.Time
	// Claim names the attempt that is going on.
	Claim    string
	Attempts int
	// Uncertain says that an attempt may have reached the receiver without a word of it.
	Uncertain bool
	DoneAt    time.Time
	LastError string
	// Reference is what the receiver calls it.
	Reference string
	// Message is JSON of alerts/notify.
	Message []byte
	// Title is that of the incident; only Deliveries sets it.
	Title string
}

const outboxColumns = `key, organisation_id, project, incident, seq, receiver, action, severity, rank, state,
	created_at, due_at, lease_until, claim, attempts, uncertain, done_at, last_error, reference, message`

func scanOutbox(row scanner) (OutboxRow, error) {
	var o OutboxRow
	var project, rank, created, due, lease, attempts, uncertain, done int64
	var message string
	err := row.Scan(&o.Key, &o.Organisation, &project, &o.Incident, &o.Seq, &o.Receiver, &o.Action, &o.Severity, &rank, &o.State,
		&created, &due, &lease, &o.Claim, &attempts, &uncertain, &done, &o.LastError, &o.Reference, &message)
	o.Project, o.Rank, o.Attempts, o.Uncertain = uint32(project), int(rank), int(attempts), uncertain != 0
	o.CreatedAt, o.DueAt, o.LeaseUntil, o.DoneAt = toTime(created), toTime(due), toTime(lease), toTime(done)
	o.Message = []byte(message)
	return o, err
}

// Post writes a message into the outbox, due unless its State says otherwise. One whose key is there
// already is dropped: it was decided before.
func (tx *Tx) Post(ctx context.Context, o OutboxRow) error {
	if o.State == "" {
		o.State = OutboxDue
	}
	_, err := tx.exec(ctx, `INSERT INTO outbox (`+outboxColumns+`)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 0, '', 0, 0, 0, '', '', $13) ON CONFLICT (key) DO NOTHING`,
		o.Key, o.Organisation, int64(o.Project), o.Incident, o.Seq, o.Receiver, o.Action, o.Severity, int64(o.Rank), o.State,
		fromTime(o.CreatedAt), fromTime(o.DueAt), string(o.Message))
	return err
}

// PutOutbox changes a row that the transaction has read.
func (tx *Tx) PutOutbox(ctx context.Context, o OutboxRow) error {
	_, err := tx.exec(ctx, `UPDATE outbox SET state = $2, due_at = $3, lease_until = $4, claim = $5, attempts = $6, uncertain = $7,
		done_at = $8, last_error = $9, reference = $10, message = $11 WHERE key = $1`,
		o.Key, o.State, fromTime(o.DueAt), fromTime(o.LeaseUntil), o.Claim, int64(o.Attempts), bit(o.Uncertain), fromTime(o.DoneAt),
		clip(o.LastError, 2000), clip(o.Reference, 1000), string(o.Message))
	return err
}

func bit(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// Outbox returns a row, or ErrNotFound.
func (tx *Tx) Outbox(ctx context.Context, key string) (OutboxRow, error) {
	return one(ctx, tx.runner, scanOutbox, `SELECT `+outboxColumns+` FROM outbox WHERE key = $1`, key)
}

// OutboxOf returns the rows of an incident in the order of their writing.
func (db *DB) OutboxOf(ctx context.Context, incident string) ([]OutboxRow, error) {
	rows, err := view(ctx, db, func(r runner) ([]OutboxRow, error) { return outboxOf(ctx, r, incident) })
	if err != nil {
		return nil, fmt.Errorf("messages of incident %s: %w", incident, err)
	}
	return rows, nil
}

// OutboxOf is that of DB within a transaction.
func (tx *Tx) OutboxOf(ctx context.Context, incident string) ([]OutboxRow, error) {
	return outboxOf(ctx, tx.runner, incident)
}

func outboxOf(ctx context.Context, r runner, incident string) ([]OutboxRow, error) {
	return many(ctx, r, scanOutbox, `SELECT `+outboxColumns+` FROM outbox WHERE incident = $1 ORDER BY seq, key LIMIT 5000`, incident)
}

// Claim makes up to limit rows that are due the caller's until now + length, pages first: those whose
// earlier messages to the same receiver about the same incident are finished, and those whose sender has not come back.
// Rows of the receivers in except, each "organisation/receiver", are left alone.
func (db *DB) Claim(ctx context.Context, claim string, now time.Time, length time.Duration, limit int, except []string) ([]OutboxRow, error) {
	var rows []OutboxRow
	err := db.InTx(ctx, func(tx *Tx) (err error) {
		rows = nil
		lock := ""
		if db.dialect == postgresDialect {
			lock = " FOR UPDATE OF o SKIP LOCKED"
		}
		args := []any{fromTime(now), limit}
		var busy strings.Builder
		for _, receiver := range except {
			args = append(args, receiver)
			fmt.Fprintf(&busy, " AND o.organisation_id || '/' || o.receiver <> $%d", len(args))
		}
		due, err := many(ctx, tx.runner, scanOutbox, `SELECT `+prefixed("o.", outboxColumns)+` FROM outbox o
			WHERE o.due_at <= $1 AND (o.state = 'due' OR o.state = 'sending' AND o.lease_until <= $1)`+busy.String()+`
				AND NOT EXISTS (SELECT 1 FROM outbox e WHERE e.incident = o.incident AND e.incident <> '' AND e.receiver = o.receiver
					AND e.seq < o.seq AND e.state IN ('due', 'sending'))
			ORDER BY o.rank, o.due_at, o.key LIMIT $2`+lock, args...)
		if err != nil {
			return err
		}
		for _, o := range due {
			o.Uncertain = o.Uncertain || o.State == OutboxSending // whoever had it has not said how it went
			o.State, o.LeaseUntil, o.Claim = OutboxSending, now.Add(length), claim
			o.Attempts++
			if err := tx.PutOutbox(ctx, o); err != nil {
				return err
			}
			rows = append(rows, o)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("claim messages: %w", err)
	}
	return rows, nil
}

// OutboxDueAt returns when the next row is due, or the zero time.
func (db *DB) OutboxDueAt(ctx context.Context) (time.Time, error) {
	ns, err := view(ctx, db, func(r runner) (int64, error) {
		return one(ctx, r, scanInt, `SELECT coalesce(min(due_at), 0) FROM outbox WHERE state IN ('due', 'sending')`)
	})
	if err != nil {
		return time.Time{}, fmt.Errorf("next message due: %w", err)
	}
	return toTime(ns), nil
}

// OutboxFilter selects rows for people to read.
type OutboxFilter struct {
	Organisation string
	Receiver     string // empty is all
	Incident     string // empty is all
	State        string // empty is all
	Limit        int
}

// Deliveries returns rows of the outbox, newest first, with the titles of their incidents instead of
// their messages.
func (db *DB) Deliveries(ctx context.Context, f OutboxFilter) ([]OutboxRow, error) {
	rows, err := view(ctx, db, func(r runner) ([]OutboxRow, error) {
		return many(ctx, r, func(row scanner) (OutboxRow, error) {
			o, err := scanOutbox(row)
			o.Title, o.Message = string(o.Message), nil
			return o, err
		}, `SELECT `+prefixed("o.", strings.TrimSuffix(outboxColumns, ", message"))+`, coalesce(i.title, '')
			FROM outbox o LEFT JOIN incidents i ON i.id = o.incident
			WHERE o.organisation_id = $1 AND ($2 = '' OR o.receiver = $2) AND ($3 = '' OR o.incident = $3) AND ($4 = '' OR o.state = $4)
			ORDER BY o.created_at DESC, o.key LIMIT $5`, f.Organisation, f.Receiver, f.Incident, f.State, min(max(f.Limit, 0), 1000))
	})
	if err != nil {
		return nil, fmt.Errorf("deliveries: %w", err)
	}
	return rows, nil
}

// Delivery returns a row of the outbox by its key, or ErrNotFound.
func (db *DB) Delivery(ctx context.Context, key string) (OutboxRow, error) {
	row, err := view(ctx, db, func(r runner) (OutboxRow, error) {
		return one(ctx, r, scanOutbox, `SELECT `+outboxColumns+` FROM outbox WHERE key = $1`, key)
	})
	if err != nil {
		return OutboxRow{}, fmt.Errorf("delivery: %w", err)
	}
	return row, nil
}

// Attempt is one try to deliver a row.
type Attempt struct {
	ID, Key string
	At      time.Time
	Number  int
	// Code is the receiver's answer as a number, 0 if there was none; Excerpt is the beginning of it.
	Code           int
	Took           time.Duration
	Error, Excerpt string
}

// AddAttempt notes a try.
func (tx *Tx) AddAttempt(ctx context.Context, a Attempt) error {
	_, err := tx.exec(ctx, `INSERT INTO receipts (id, outbox_key, at, attempt, code, duration, error, excerpt) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
		ON CONFLICT (id) DO NOTHING`,
		a.ID, a.Key, fromTime(a.At), int64(a.Number), int64(a.Code), int64(a.Took), clip(a.Error, 2000), clip(a.Excerpt, 2000))
	return err
}

// Attempts returns the tries of a row, oldest first.
func (db *DB) Attempts(ctx context.Context, key string) ([]Attempt, error) {
	all, err := view(ctx, db, func(r runner) ([]Attempt, error) {
		return many(ctx, r, func(row scanner) (Attempt, error) {
			var a Attempt
			var at, number, code, took int64
			err := row.Scan(&a.ID, &a.Key, &at, &number, &code, &took, &a.Error, &a.Excerpt)
			a.At, a.Number, a.Code, a.Took = toTime(at), int(number), int(code), time.Duration(took)
			return a, err
		}, `SELECT id, outbox_key, at, attempt, code, duration, error, excerpt FROM receipts WHERE outbox_key = $1 ORDER BY at, id LIMIT 2000`, key)
	})
	if err != nil {
		return nil, fmt.Errorf("attempts of a delivery: %w", err)
	}
	return all, nil
}

// ReceiverState returns what is remembered of a receiver as JSON; empty is nothing.
func (tx *Tx) ReceiverState(ctx context.Context, organisation, receiver string) ([]byte, error) {
	text, err := one(ctx, tx.runner, scanText, `SELECT body FROM receiver_states WHERE organisation_id = $1 AND receiver = $2`, organisation, receiver)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	return []byte(text), err
}

// PutReceiverState remembers something of a receiver.
func (tx *Tx) PutReceiverState(ctx context.Context, organisation, receiver string, body []byte) error {
	_, err := tx.exec(ctx, `INSERT INTO receiver_states (organisation_id, receiver, body) VALUES ($1, $2, $3)
		ON CONFLICT (organisation_id, receiver) DO UPDATE SET body = excluded.body`, organisation, receiver, string(body))
	return err
}

// ReceiverStates returns what is remembered of the receivers of an organisation, by receiver.
func (db *DB) ReceiverStates(ctx context.Context, organisation string) (map[string][]byte, error) {
	type pair struct {
		id   string
		body string
	}
	all, err := view(ctx, db, func(r runner) ([]pair, error) {
		return many(ctx, r, func(row scanner) (p pair, err error) { return p, row.Scan(&p.id, &p.body) },
			`SELECT receiver, body FROM receiver_states WHERE organisation_id = $1 LIMIT $2`, organisation, MaxDocuments)
	})
	if err != nil {
		return nil, fmt.Errorf("states of receivers: %w", err)
	}
	out := make(map[string][]byte, len(all))
	for _, p := range all {
		out[p.id] = []byte(p.body)
	}
	return out, nil
}

// ExternalAlert is one that somebody else's Prometheus evaluated.
type ExternalAlert struct {
	Project uint32
	// ID is the hash of all its labels.
	ID                          string
	StartsAt, EndsAt, UpdatedAt time.Time
	Firing                      bool
	// Body is JSON: labels, annotations, generator.
	Body []byte
}

const externalColumns = `project, id, starts_at, ends_at, updated_at, firing, body`

func scanExternal(row scanner) (ExternalAlert, error) {
	var e ExternalAlert
	var project, starts, ends, updated, firing int64
	var body string
	err := row.Scan(&project, &e.ID, &starts, &ends, &updated, &firing, &body)
	e.Project, e.StartsAt, e.EndsAt, e.UpdatedAt, e.Firing, e.Body = uint32(project), toTime(starts), toTime(ends), toTime(updated), firing != 0, []byte(body)
	return e, err
}

// ExternalAlert returns one, or ErrNotFound.
func (tx *Tx) ExternalAlert(ctx context.Context, project uint32, id string) (ExternalAlert, error) {
	return one(ctx, tx.runner, scanExternal, `SELECT `+externalColumns+` FROM external_alerts WHERE project = $1 AND id = $2`, int64(project), id)
}

// PutExternalAlert keeps one.
func (tx *Tx) PutExternalAlert(ctx context.Context, e ExternalAlert) error {
	_, err := tx.exec(ctx, `INSERT INTO external_alerts (`+externalColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (project, id) DO UPDATE SET starts_at = excluded.starts_at, ends_at = excluded.ends_at, updated_at = excluded.updated_at,
			firing = excluded.firing, body = excluded.body`,
		int64(e.Project), e.ID, fromTime(e.StartsAt), fromTime(e.EndsAt), fromTime(e.UpdatedAt), bit(e.Firing), string(e.Body))
	return err
}

// FiringExternalAlerts returns how many of a project fire.
func (tx *Tx) FiringExternalAlerts(ctx context.Context, project uint32) (int64, error) {
	return one(ctx, tx.runner, scanInt, `SELECT count(*) FROM external_alerts WHERE project = $1 AND firing = 1`, int64(project))
}

// ExternalAlertsEnded returns firing ones whose end has passed.
func (db *DB) ExternalAlertsEnded(ctx context.Context, now time.Time, limit int) ([]ExternalAlert, error) {
	all, err := view(ctx, db, func(r runner) ([]ExternalAlert, error) {
		return many(ctx, r, scanExternal, `SELECT `+externalColumns+` FROM external_alerts WHERE firing = 1 AND ends_at <= $1 ORDER BY ends_at LIMIT $2`, fromTime(now), limit)
	})
	if err != nil {
		return nil, fmt.Errorf("external alerts that ended: %w", err)
	}
	return all, nil
}

// ExternalAlerts returns the firing ones of a project, newest first.
func (db *DB) ExternalAlerts(ctx context.Context, project uint32, limit int) ([]ExternalAlert, error) {
	all, err := view(ctx, db, func(r runner) ([]ExternalAlert, error) {
		return many(ctx, r, scanExternal, `SELECT `+externalColumns+` FROM external_alerts WHERE project = $1 AND firing = 1 ORDER BY starts_at DESC, id LIMIT $2`, int64(project), limit)
	})
	if err != nil {
		return nil, fmt.Errorf("external alerts: %w", err)
	}
	return all, nil
}
