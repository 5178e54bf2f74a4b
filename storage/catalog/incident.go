package catalog

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// States of an incident.
const (
	IncidentOpen     = "open"
	IncidentResolved = "resolved"
	// IncidentMerged is one that turned out to be part of another.
	IncidentMerged = "merged"
)

// Incident is what people are told about: a group of instances that are bad for one reason. At most
// one of an organisation, team and route key is open.
type Incident struct {
	// ID is a UUID, the key by which receivers know it; Number is for people.
	ID           string
	Number       int64
	Organisation string
	Project      uint32
	Team         string
	RouteKey     string
	// State is one of the Incident… constants. Severity is page, ticket or mail.
	State, Severity, Title string
	// Service is what it is about, HeldBy the rule whose trouble explains it.
	Service, HeldBy string
	// OpenedAt is when it was opened, Since when the trouble began.
	OpenedAt, Since, ResolvedAt, AckedAt time.Time
	AckedBy                              string
	// NextAt is when it has to be looked at again; zero is never.
	NextAt time.Time
	// Version grows with each change.
	Version int64
	// Body is JSON in the words of alerts/incident; Dossier is JSON, empty until it is put together.
	Body, Dossier []byte
}

const incidentColumns = `id, number, organisation_id, project, team, route_key, state, severity, title, service, held_by,
	opened_at, since, resolved_at, acked_at, acked_by, next_at, version, body, dossier`

func scanIncident(row scanner) (Incident, error) {
	var i Incident
	var project, opened, since, resolved, acked, next int64
	var body, dossier string
	err := row.Scan(&i.ID, &i.Number, &i.Organisation, &project, &i.Team, &i.RouteKey, &i.State, &i.Severity, &i.Title, &i.Service, &i.HeldBy,
		&opened, &since, &resolved, &acked, &i.AckedBy, &next, &i.Version, &body, &dossier)
	i.Project = uint32(project)
	i.OpenedAt, i.Since, i.ResolvedAt, i.AckedAt, i.NextAt = toTime(opened), toTime(since), toTime(resolved), toTime(acked), toTime(next)
	i.Body, i.Dossier = []byte(body), []byte(dossier)
	return i, err
}

// Incident returns an incident, or ErrNotFound.
func (db *DB) Incident(ctx context.Context, id string) (Incident, error) {
	return view(ctx, db, func(r runner) (Incident, error) { return incident(ctx, r, id) })
}

// Incident returns an incident, or ErrNotFound.
func (tx *Tx) Incident(ctx context.Context, id string) (Incident, error) {
	return incident(ctx, tx.runner, id)
}

func incident(ctx context.Context, r runner, id string) (Incident, error) {
	i, err := one(ctx, r, scanIncident, `SELECT `+incidentColumns+` FROM incidents WHERE id = $1`, id)
	if err != nil {
		return Incident{}, fmt.Errorf("incident %s: %w", id, err)
	}
	return i, nil
}

// NewestIncident returns the newest incident of a route key, open or not, or ErrNotFound.
func (tx *Tx) NewestIncident(ctx context.Context, organisation, team, routeKey string) (Incident, error) {
	return one(ctx, tx.runner, scanIncident, `SELECT `+incidentColumns+` FROM incidents
		WHERE organisation_id = $1 AND team = $2 AND route_key = $3 ORDER BY opened_at DESC, number DESC LIMIT 1`, organisation, team, routeKey)
}

// IncidentsOfInstance returns the open incidents in which an instance is bad.
func (tx *Tx) IncidentsOfInstance(ctx context.Context, project uint32, instance string) ([]Incident, error) {
	return many(ctx, tx.runner, scanIncident, `SELECT `+incidentColumns+` FROM incidents WHERE id IN
		(SELECT incident FROM incident_instances WHERE project = $1 AND instance = $2) AND state = 'open' ORDER BY number LIMIT 100`,
		int64(project), clip(instance, maxInstanceKey))
}

// IncidentsOfRule returns the open incidents in which an instance of a rule is bad. The names of its
// instances begin with the rule's and a slash.
func (tx *Tx) IncidentsOfRule(ctx context.Context, project uint32, rule string) ([]Incident, error) {
	return many(ctx, tx.runner, scanIncident, `SELECT `+incidentColumns+` FROM incidents WHERE id IN
		(SELECT incident FROM incident_instances WHERE project = $1 AND substr(instance, 1, $3) = $2) AND state = 'open' ORDER BY number LIMIT 100`,
		int64(project), rule+"/", int64(utf8.RuneCountInString(rule)+1))
}

// maxInstanceKey bounds the names of instances.
const maxInstanceKey = 2000

// OpenIncidentsOf returns the open incidents of a service of a project, oldest first.
func (tx *Tx) OpenIncidentsOf(ctx context.Context, project uint32, service string) ([]Incident, error) {
	return many(ctx, tx.runner, scanIncident, `SELECT `+incidentColumns+` FROM incidents
		WHERE project = $1 AND service = $2 AND state = 'open' ORDER BY opened_at, number LIMIT 200`, int64(project), service)
}

// IncidentsHeldBy returns the open incidents of a project that wait for a rule.
func (tx *Tx) IncidentsHeldBy(ctx context.Context, project uint32, rule string) ([]Incident, error) {
	return many(ctx, tx.runner, scanIncident, `SELECT `+incidentColumns+` FROM incidents
		WHERE project = $1 AND held_by = $2 AND state = 'open' ORDER BY opened_at, number LIMIT 1000`, int64(project), rule)
}

// PreviousIncidents returns the resolved incidents of the team and route key of another one that were
// opened before it, newest first.
func (db *DB) PreviousIncidents(ctx context.Context, of Incident, limit int) ([]Incident, error) {
	all, err := view(ctx, db, func(r runner) ([]Incident, error) {
		return many(ctx, r, scanIncident, `SELECT `+incidentColumns+` FROM incidents
			WHERE organisation_id = $1 AND team = $2 AND route_key = $3 AND state = 'resolved' AND opened_at < $4 AND id <> $5
			ORDER BY opened_at DESC, number DESC LIMIT $6`,
			of.Organisation, of.Team, clip(of.RouteKey, 2000), fromTime(of.OpenedAt), of.ID, min(max(limit, 0), 100))
	})
	if err != nil {
		return nil, fmt.Errorf("incidents before %s: %w", of.ID, err)
	}
	return all, nil
}

// PutInstance notes that an instance is bad in an incident, DropInstance that it is not any more.
func (tx *Tx) PutInstance(ctx context.Context, project uint32, instance, incident string) error {
	_, err := tx.exec(ctx, `INSERT INTO incident_instances (project, instance, incident) VALUES ($1, $2, $3)
		ON CONFLICT (project, instance, incident) DO NOTHING`, int64(project), clip(instance, maxInstanceKey), incident)
	return err
}

// DropInstance notes that an instance is not bad any more in an incident.
func (tx *Tx) DropInstance(ctx context.Context, project uint32, instance, incident string) error {
	_, err := tx.exec(ctx, `DELETE FROM incident_instances WHERE project = $1 AND instance = $2 AND incident = $3`,
		int64(project), clip(instance, maxInstanceKey), incident)
	return err
}

// NextIncidentNumber returns a number that no incident has had.
func (tx *Tx) NextIncidentNumber(ctx context.Context) (int64, error) {
	return one(ctx, tx.runner, scanInt, `UPDATE counters SET value = value + 1 WHERE name = 'incident' RETURNING value`)
}

// PutIncident makes or changes an incident. Its dossier is only set while it has none: it is what was
// known when people were first told.
func (tx *Tx) PutIncident(ctx context.Context, i Incident) error {
	_, err := tx.exec(ctx, `INSERT INTO incidents (`+incidentColumns+`)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)
		ON CONFLICT (id) DO UPDATE SET state = excluded.state, severity = excluded.severity, title = excluded.title,
			held_by = excluded.held_by, opened_at = excluded.opened_at, since = excluded.since, resolved_at = excluded.resolved_at, acked_at = excluded.acked_at,
			acked_by = excluded.acked_by, next_at = excluded.next_at, version = excluded.version, body = excluded.body`,
		i.ID, i.Number, i.Organisation, int64(i.Project), i.Team, clip(i.RouteKey, 2000), i.State, i.Severity, clip(i.Title, 1000),
		i.Service, i.HeldBy, fromTime(i.OpenedAt), fromTime(i.Since), fromTime(i.ResolvedAt), fromTime(i.AckedAt), i.AckedBy, fromTime(i.NextAt), i.Version,
		string(i.Body), string(i.Dossier))
	return err
}

// FreezeDossier sets the dossier of an incident that has none, and returns the one that it has then.
func (db *DB) FreezeDossier(ctx context.Context, id string, dossier []byte) ([]byte, error) {
	var kept string
	err := db.InTx(ctx, func(tx *Tx) (err error) {
		if _, err = tx.exec(ctx, `UPDATE incidents SET dossier = $2 WHERE id = $1 AND dossier = ''`, id, string(dossier)); err != nil {
			return err
		}
		kept, err = one(ctx, tx.runner, scanText, `SELECT dossier FROM incidents WHERE id = $1`, id)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("freeze the dossier of incident %s: %w", id, err)
	}
	return []byte(kept), nil
}

// IncidentsDue returns incidents that have to be looked at again, longest overdue first.
func (db *DB) IncidentsDue(ctx context.Context, now time.Time, limit int) ([]string, error) {
	ids, err := view(ctx, db, func(r runner) ([]string, error) {
		return many(ctx, r, scanText, `SELECT id FROM incidents WHERE next_at > 0 AND next_at <= $1 ORDER BY next_at, id LIMIT $2`, fromTime(now), limit)
	})
	if err != nil {
		return nil, fmt.Errorf("incidents due: %w", err)
	}
	return ids, nil
}

// NextIncidentAt returns when an incident has to be looked at next, or the zero time.
func (db *DB) NextIncidentAt(ctx context.Context) (time.Time, error) {
	ns, err := view(ctx, db, func(r runner) (int64, error) {
		return one(ctx, r, scanInt, `SELECT coalesce(min(next_at), 0) FROM incidents WHERE next_at > 0`)
	})
	if err != nil {
		return time.Time{}, fmt.Errorf("next incident due: %w", err)
	}
	return toTime(ns), nil
}

// IncidentFilter selects incidents; zero fields select all.
type IncidentFilter struct {
	Organisation string
	Project      uint32
	State        string
	// Opened in [From, To), or still open at From.
	From, To time.Time
	Limit    int
}

// Incidents returns incidents, newest first.
func (db *DB) Incidents(ctx context.Context, f IncidentFilter) ([]Incident, error) {
	to := f.To
	if to.IsZero() {
		to = time.Unix(0, 1<<62)
	}
	all, err := view(ctx, db, func(r runner) ([]Incident, error) {
		return many(ctx, r, scanIncident, `SELECT `+incidentColumns+` FROM incidents
			WHERE organisation_id = $1 AND ($2 = 0 OR project = $2) AND ($3 = '' OR state = $3) AND state <> 'merged'
				AND opened_at < $4 AND (opened_at >= $5 OR state = 'open' OR resolved_at >= $5)
			ORDER BY opened_at DESC, number DESC LIMIT $6`,
			f.Organisation, int64(f.Project), f.State, fromTime(to), fromTime(f.From), min(max(f.Limit, 0), 5000))
	})
	if err != nil {
		return nil, fmt.Errorf("incidents: %w", err)
	}
	return all, nil
}

// IncidentEntry is a line of an incident's timeline.
type IncidentEntry struct {
	ID, Incident string
	At           time.Time
	// Kind is a word: opened, told, acknowledged, note, resolved …; Person is who did it, if a person did.
	Kind, Person, Text string
}

// AddIncidentEntry adds a line; one with the ID of another is dropped.
func (tx *Tx) AddIncidentEntry(ctx context.Context, e IncidentEntry) error {
	_, err := tx.exec(ctx, `INSERT INTO incident_entries (id, incident, at, kind, person, text) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (id) DO NOTHING`, e.ID, e.Incident, fromTime(e.At), e.Kind, clip(e.Person, 200), clip(e.Text, 10_000))
	return err
}

// HasIncidentEntry reports whether there is a line with this ID.
func (tx *Tx) HasIncidentEntry(ctx context.Context, id string) (bool, error) {
	n, err := one(ctx, tx.runner, scanInt, `SELECT count(*) FROM incident_entries WHERE id = $1`, id)
	return n > 0, err
}

// IncidentEntries returns the timeline of an incident, oldest first.
func (db *DB) IncidentEntries(ctx context.Context, incident string) ([]IncidentEntry, error) {
	all, err := view(ctx, db, func(r runner) ([]IncidentEntry, error) {
		return many(ctx, r, func(row scanner) (IncidentEntry, error) {
			var e IncidentEntry
			var at int64
			err := row.Scan(&e.ID, &e.Incident, &at, &e.Kind, &e.Person, &e.Text)
			e.At = toTime(at)
			return e, err
		}, `SELECT id, incident, at, kind, person, text FROM incident_entries WHERE incident = $1 ORDER BY at, id LIMIT 2000`, incident)
	})
	if err != nil {
		return nil, fmt.Errorf("timeline of incident %s: %w", incident, err)
	}
	return all, nil
}

// DeployFromErrors is the source of a deploy that is known by the errors of its release only.
const DeployFromErrors = "errors"

// Deploy says that a release went live.
type Deploy struct {
	Project                       uint32
	ID                            string
	At                            time.Time
	Service, Environment, Release string
	// Person deployed it; Source is api or errors (a release that was first seen in an error).
	Person, URL, Source string
	// Soft says that users are expected to feel the restart.
	Soft bool
}

// Of reports whether a deploy is of a release. SDKs of Sentry put the package before it: "shop@1.42.0" is 1.42.0.
func (d Deploy) Of(release string) bool {
	return d.Release == release || strings.HasSuffix(d.Release, "@"+release) || strings.HasSuffix(release, "@"+d.Release)
}

// In reports whether a deploy may be of a service in an environment: what is empty is any.
func (d Deploy) In(service, environment string) bool {
	alike := func(a, b string) bool { return a == "" || b == "" || a == b }
	return alike(d.Service, service) && alike(d.Environment, environment)
}

// AddDeploy notes a deploy; the same ID once more changes nothing.
func (db *DB) AddDeploy(ctx context.Context, d Deploy) error {
	err := db.InTx(ctx, func(tx *Tx) error {
		_, err := tx.exec(ctx, `INSERT INTO deploys (project, id, at, service, environment, release, person, url, source, soft)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (project, id) DO NOTHING`,
			int64(d.Project), d.ID, fromTime(d.At), d.Service, d.Environment, d.Release, d.Person, d.URL, d.Source, bit(d.Soft))
		return err
	})
	if err != nil {
		return fmt.Errorf("add a deploy of project %d: %w", d.Project, err)
	}
	return nil
}

// Deploys returns the deploys of a project in [from, to), newest first.
func (db *DB) Deploys(ctx context.Context, project uint32, from, to time.Time) ([]Deploy, error) {
	all, err := view(ctx, db, func(r runner) ([]Deploy, error) {
		return many(ctx, r, func(row scanner) (Deploy, error) {
			var d Deploy
			var project, at, soft int64
			err := row.Scan(&project, &d.ID, &at, &d.Service, &d.Environment, &d.Release, &d.Person, &d.URL, &d.Source, &soft)
			d.Project, d.At, d.Soft = uint32(project), toTime(at), soft != 0
			return d, err
		}, `SELECT project, id, at, service, environment, release, person, url, source, soft FROM deploys
			WHERE project = $1 AND at >= $2 AND at < $3 ORDER BY at DESC, id LIMIT 1000`, int64(project), fromTime(from), fromTime(to))
	})
	if err != nil {
		return nil, fmt.Errorf("deploys of project %d: %w", project, err)
	}
	return all, nil
}

// DigestLine is a trouble that nobody was woken for.
type DigestLine struct {
	ID           string
	Organisation string
	Project      uint32
	Team         string
	At           time.Time
	// Section is a word: healed, unseen, inconclusive, recurring, withdrawn, health, delivery …
	Section string
	// SentIn names the digest that it was sent in; empty is none yet.
	SentIn string
	// Body is JSON in the words of alerts/incident.
	Body []byte
}

// AddDigestLine notes a line; one with the ID of another is dropped.
func (tx *Tx) AddDigestLine(ctx context.Context, l DigestLine) error {
	_, err := tx.exec(ctx, `INSERT INTO digest_lines (id, organisation_id, project, team, at, section, sent_in, body) VALUES ($1, $2, $3, $4, $5, $6, '', $7)
		ON CONFLICT (id) DO NOTHING`, l.ID, l.Organisation, int64(l.Project), l.Team, fromTime(l.At), l.Section, string(l.Body))
	return err
}

const digestColumns = `id, organisation_id, project, team, at, section, sent_in, body`

func scanDigestLine(row scanner) (DigestLine, error) {
	var l DigestLine
	var project, at int64
	var body string
	err := row.Scan(&l.ID, &l.Organisation, &project, &l.Team, &at, &l.Section, &l.SentIn, &body)
	l.Project, l.At, l.Body = uint32(project), toTime(at), []byte(body)
	return l, err
}

// DigestLines returns the lines of an organisation in [from, to), oldest first; of one team unless it
// is empty.
func (db *DB) DigestLines(ctx context.Context, organisation, team string, from, to time.Time) ([]DigestLine, error) {
	all, err := view(ctx, db, func(r runner) ([]DigestLine, error) {
		return many(ctx, r, scanDigestLine, `SELECT `+digestColumns+` FROM digest_lines
			WHERE organisation_id = $1 AND ($2 = '' OR team = $2) AND at >= $3 AND at < $4 ORDER BY at, id LIMIT 5000`,
			organisation, team, fromTime(from), fromTime(to))
	})
	if err != nil {
		return nil, fmt.Errorf("digest lines: %w", err)
	}
	return all, nil
}

// DigestTaken reports whether a digest has taken lines.
func (tx *Tx) DigestTaken(ctx context.Context, organisation, team, digest string) (bool, error) {
	n, err := one(ctx, tx.runner, scanInt, `SELECT count(*) FROM digest_lines WHERE organisation_id = $1 AND team = $2 AND sent_in = $3`,
		organisation, team, digest)
	return n > 0, err
}

// maxDigestLines bounds a digest.
const maxDigestLines = 5000

// TakeDigestLines marks a team's lines before a time as sent in a digest and returns them, oldest
// first. Asked again for the same digest it returns the same ones; what is too much for one is left for
// the next.
func (tx *Tx) TakeDigestLines(ctx context.Context, organisation, team, digest string, before time.Time) ([]DigestLine, error) {
	taken := func() ([]DigestLine, error) {
		return many(ctx, tx.runner, scanDigestLine, `SELECT `+digestColumns+` FROM digest_lines
			WHERE organisation_id = $1 AND team = $2 AND sent_in = $3 ORDER BY at, id LIMIT $4`, organisation, team, digest, maxDigestLines)
	}
	if lines, err := taken(); err != nil || len(lines) > 0 {
		return lines, err
	}
	_, err := tx.exec(ctx, `UPDATE digest_lines SET sent_in = $3 WHERE id IN (SELECT id FROM digest_lines
		WHERE organisation_id = $1 AND team = $2 AND sent_in = '' AND at < $4 ORDER BY at, id LIMIT $5)`,
		organisation, team, digest, fromTime(before), maxDigestLines)
	if err != nil {
		return nil, err
	}
	return taken()
}
