package catalog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// The statuses of an issue.
const (
	IssueUnresolved = "unresolved"
	IssueResolved   = "resolved"
	// IssueRegressed is one that was resolved and has happened again.
	IssueRegressed = "regressed"
)

// Where the fix of an issue is.
const (
	FixedNow       = "now" // in whatever runs from then on
	FixedInRelease = "release"
	FixedNext      = "next_release"
)

const (
	// releaseStale is how far behind the time may be at which a release was last seen: a row that is
	// written with each batch would be written for nothing.
	releaseStale = 24 * time.Hour
	// maxNewest is of how many releases the newest is found.
	maxNewest = 1000
)

// IssueLife is what people have said of an issue, and whether it has held.
//
// Each column has one writer, so that nothing is lost where both come at once. The console says that an
// issue is resolved, and counts how often; the writer says which of these resolutions did not hold. What
// the writer says of one is void as soon as there is a newer one, without the console taking it back, and
// an issue that is resolved twice can regress twice.
type IssueLife struct {
	// Resolution is the number of the newest one, 0 for none ever. The rest is zero of an issue that is
	// open again because somebody said so.
	Resolution                  int64
	ResolvedAt                  time.Time
	ResolvedBy, ResolvedRelease string
	// FixedAt is what tells releases apart: those first seen before it are older than the fix. Zero says
	// that no release is.
	FixedAt time.Time
	// RegressedFrom is the newest resolution that did not hold, RegressedAt the first event that showed it.
	RegressedFrom    int64
	RegressedAt      time.Time
	RegressedRelease string
}

const lifeColumns = `resolution, resolved_at, resolved_by, resolved_release, fixed_at, regressed_from, regressed_at, regressed_release`

// Status is one of the statuses of an issue.
func (l IssueLife) Status() string {
	switch {
	case l.ResolvedAt.IsZero():
		return IssueUnresolved
	case l.RegressedFrom == l.Resolution:
		return IssueRegressed
	}
	return IssueResolved
}

// FixedIn is where the fix of a resolved issue is; empty of one that is not resolved.
func (l IssueLife) FixedIn() string {
	switch {
	case l.ResolvedAt.IsZero():
		return ""
	case l.ResolvedRelease != "":
		return FixedInRelease
	case !l.FixedAt.IsZero():
		return FixedNext
	}
	return FixedNow
}

// Resolution says how issues are resolved. With neither Release nor Next the fix is in whatever runs
// from At on.
type Resolution struct {
	At time.Time
	By string
	// Release has the fix. One that was never seen counts as seen first at At.
	Release string
	// Next says that the fix is in the next release, whatever that is: in none that was seen before At.
	Next bool
}

// ResolveIssues says that issues do not happen any more, all of them or none, and returns them. It is
// a new resolution of those that are resolved already. ErrNotFound says that one does not exist.
func (db *DB) ResolveIssues(ctx context.Context, project uint32, ids []uint64, r Resolution) ([]Issue, error) {
	return db.changeIssues(ctx, project, ids, func(tx *Tx, where string, args []any) (int64, error) {
		release, fixed := clip(r.Release, maxIssueWord), int64(0)
		switch {
		case r.Next:
			release, fixed = "", fromTime(r.At)
		case release != "":
			var err error
			if fixed, err = tx.firstSeen(ctx, project, release); err != nil {
				return 0, err
			}
			fixed = cmp.Or(fixed, fromTime(r.At))
		}
		n := len(args)
		return tx.exec(ctx, fmt.Sprintf(`UPDATE issues SET resolution = resolution + 1, resolved_at = $%d, resolved_by = $%d, resolved_release = $%d, fixed_at = $%d
			WHERE `, n+1, n+2, n+3, n+4)+where, append(args, fromTime(r.At), clip(r.By, maxIssueWord), release, fixed)...)
	})
}

// ReopenIssues takes back that issues are resolved, of all of them or none, and returns them.
// ErrNotFound says that one does not exist.
func (db *DB) ReopenIssues(ctx context.Context, project uint32, ids []uint64) ([]Issue, error) {
	return db.changeIssues(ctx, project, ids, func(tx *Tx, where string, args []any) (int64, error) {
		return tx.exec(ctx, `UPDATE issues SET resolved_at = 0, resolved_by = '', resolved_release = '', fixed_at = 0 WHERE `+where, args...)
	})
}

func (db *DB) changeIssues(ctx context.Context, project uint32, ids []uint64, change func(tx *Tx, where string, args []any) (int64, error)) ([]Issue, error) {
	// In a fixed order, as the writer takes them.
	ids = slices.Compact(slices.Sorted(slices.Values(ids)))
	var out []Issue
	err := db.InTx(ctx, func(tx *Tx) error {
		out = out[:0]
		for chunk := range slices.Chunk(ids, issueIDs) {
			where, args := issuesAre(project, chunk)
			n, err := change(tx, where, args)
			if err != nil {
				return err
			}
			if n < int64(len(chunk)) {
				return ErrNotFound
			}
			changed, err := issuesOf(ctx, tx.runner, project, chunk)
			if err != nil {
				return err
			}
			out = append(out, changed...)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("change %d issues of project %d: %w", len(ids), project, err)
	}
	return out, nil
}

// firstSeen is when a release was first seen in errors or deployed, as a column holds it; 0 is never.
func (tx *Tx) firstSeen(ctx context.Context, project uint32, release string) (int64, error) {
	return one(ctx, tx.runner, scanInt, `SELECT coalesce(min(at), 0) FROM (
			SELECT first_seen AS at FROM releases WHERE project = $1 AND release = $2
			UNION ALL SELECT d.at FROM deploys d WHERE d.project = $1 AND `+deployOf("$2")+`) seen`, int64(project), release)
}

// deployOf is the condition that a deploy d is of the release that errors name, as Deploy.Of has it.
func deployOf(release string) string {
	return fmt.Sprintf(`(d.release = %[1]s OR substr(%[1]s, length(%[1]s) - length(d.release)) = '@' || d.release
		OR substr(d.release, length(d.release) - length(%[1]s)) = '@' || %[1]s)`, release)
}

// NewestRelease returns the release of a project that was first seen or deployed last, by now; empty is
// none.
func (db *DB) NewestRelease(ctx context.Context, project uint32, now time.Time) (string, error) {
	release, err := view(ctx, db, func(r runner) (string, error) {
		return one(ctx, r, func(row scanner) (release string, err error) { return release, row.Scan(&release) },
			`SELECT release FROM (
				SELECT release, first_seen AS at FROM (SELECT release, first_seen FROM releases
					WHERE project = $1 ORDER BY first_seen DESC LIMIT $3) r
				UNION ALL SELECT release, at FROM (SELECT release, at FROM deploys
					WHERE project = $1 AND at <= $2 AND release <> '' ORDER BY at DESC LIMIT $3) d
			) seen GROUP BY release ORDER BY min(at) DESC, release LIMIT 1`, int64(project), fromTime(now), maxNewest)
	})
	if errors.Is(err, ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("newest release of project %d: %w", project, err)
	}
	return release, nil
}

// noteReleases notes when the releases of events were first seen.
func (tx *Tx) noteReleases(ctx context.Context, events []IssueEvents) error {
	type name struct {
		project uint32
		release string
	}
	type span struct {
		name
		first, last int64
	}
	known := map[name]int{}
	var spans []span
	for _, e := range events {
		// As the database has it, since a statement may meet a row only once.
		n := name{e.Project, storableText(clip(e.Release, maxIssueWord))}
		if n.release == "" {
			continue
		}
		i, ok := known[n]
		if !ok {
			i = len(spans)
			known[n] = i
			spans = append(spans, span{n, fromTime(e.FirstSeen), fromTime(e.LastSeen)})
		}
		spans[i].first, spans[i].last = min(spans[i].first, fromTime(e.FirstSeen)), max(spans[i].last, fromTime(e.LastSeen))
	}
	slices.SortFunc(spans, func(a, b span) int {
		return cmp.Or(cmp.Compare(a.project, b.project), cmp.Compare(a.release, b.release))
	})
	for chunk := range slices.Chunk(spans, issueRows) {
		const columns = 4
		args := make([]any, 0, len(chunk)*columns+1)
		var b strings.Builder
		b.WriteString(`INSERT INTO releases (project, release, first_seen, last_seen) VALUES `)
		for i, s := range chunk {
			if i > 0 {
				b.WriteString(", ")
			}
			placeholders(&b, len(args)+1, columns)
			args = append(args, int64(s.project), s.release, s.first, s.last)
		}
		args = append(args, int64(releaseStale))
		fmt.Fprintf(&b, ` ON CONFLICT (project, release) DO UPDATE SET
			first_seen = CASE WHEN excluded.first_seen < releases.first_seen THEN excluded.first_seen ELSE releases.first_seen END,
			last_seen = CASE WHEN excluded.last_seen > releases.last_seen THEN excluded.last_seen ELSE releases.last_seen END
			WHERE excluded.first_seen < releases.first_seen OR excluded.last_seen > releases.last_seen + $%d`, len(args))
		if _, err := tx.exec(ctx, b.String(), args...); err != nil {
			return err
		}
	}
	return nil
}

// noteRegressions notes which resolved issues have happened again.
//
// An event shows that a resolution did not hold if it happened after it, whenever it is received, and in
// a release that is not older than the fix: in the release of the fix itself, or in one that was first
// seen, in errors or by a deploy, no earlier than the fix was. Of a release that nobody has seen before
// this is so by itself. An event without a release shows nothing where the fix is in a release.
//
// It is the writer's, in the transaction that counts the events: a batch that is carried out again
// has not counted before either, and the earliest event that shows a regression is the one that is
// kept, whatever order batches come in. Once a resolution has not held, later events change nothing.
func (tx *Tx) noteRegressions(ctx context.Context, events []IssueEvents) error {
	for chunk := range slices.Chunk(events, issueRows) {
		args := make([]any, 0, len(chunk)*5)
		var b strings.Builder
		b.WriteString(`WITH seen (project, id, release, first_seen, last_seen) AS (VALUES `)
		for i, e := range chunk {
			if i > 0 {
				b.WriteString(", ")
			}
			n := len(args)
			fmt.Fprintf(&b, `(CAST($%d AS BIGINT), CAST($%d AS BIGINT), CAST($%d AS TEXT), CAST($%d AS BIGINT), CAST($%d AS BIGINT))`, n+1, n+2, n+3, n+4, n+5)
			args = append(args, int64(e.Project), int64(e.ID), clip(e.Release, maxIssueWord), fromTime(e.FirstSeen), fromTime(e.LastSeen))
		}
		// Of events before and after the resolution the last is known to be after it.
		b.WriteString(`), again AS (
			SELECT s.project, s.id, s.release, CASE WHEN s.first_seen > i.resolved_at THEN s.first_seen ELSE s.last_seen END AS at
			FROM seen s JOIN issues i ON i.project = s.project AND i.id = s.id
			WHERE i.resolved_at > 0 AND s.last_seen > i.resolved_at AND (i.fixed_at = 0 OR s.release <> '' AND (s.release = i.resolved_release
				OR NOT EXISTS (SELECT 1 FROM releases r WHERE r.project = s.project AND r.release = s.release AND r.first_seen < i.fixed_at)
				AND NOT EXISTS (SELECT 1 FROM deploys d WHERE d.project = s.project AND ` + deployOf("s.release") + ` AND d.at < i.fixed_at)))
		), shown AS (
			SELECT project, id, release, at, row_number() OVER (PARTITION BY project, id ORDER BY at, release) AS n FROM again
		)
		UPDATE issues SET regressed_from = issues.resolution, regressed_at = shown.at, regressed_release = shown.release FROM shown
		WHERE shown.n = 1 AND issues.project = shown.project AND issues.id = shown.id
			AND (issues.regressed_from < issues.resolution OR shown.at < issues.regressed_at)`)
		if _, err := tx.exec(ctx, b.String(), args...); err != nil {
			return err
		}
	}
	return nil
}

// Regressions returns the issues that are regressed, by a first event in the half-open range, oldest
// first, limit at most.
func (db *DB) Regressions(ctx context.Context, project uint32, from, to time.Time, limit int) ([]Issue, error) {
	issues, err := view(ctx, db, func(r runner) ([]Issue, error) {
		return many(ctx, r, scanIssue, `SELECT `+issueColumns+` FROM issues
			WHERE project = $1 AND regressed_at > 0 AND regressed_at >= $2 AND regressed_at < $3 AND resolved_at > 0 AND regressed_from = resolution
			ORDER BY regressed_at, id LIMIT $4`, int64(project), fromTime(from), fromTime(to), max(limit, 0))
	})
	if err != nil {
		return nil, fmt.Errorf("regressed issues of project %d: %w", project, err)
	}
	return issues, nil
}

// DropOldReleases forgets the releases that were not seen after a time: the next event of one makes it
// a new one.
func (db *DB) DropOldReleases(ctx context.Context, before time.Time) error {
	err := db.drop(ctx, []string{`DELETE FROM releases WHERE last_seen < $1 AND (project, release) IN (
		SELECT project, release FROM releases WHERE last_seen < $1 LIMIT $2)`}, fromTime(before))
	if err != nil {
		return fmt.Errorf("forget old releases: %w", err)
	}
	return nil
}
