package catalog

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// Longer texts are cut; the event itself is whole in telemetry.
	maxIssueTitle = 500
	maxIssueValue = 4096
	maxIssueWord  = 500

	// issueRows is how many issues one statement writes.
	issueRows = 100
	// issueIDs is how many identities one statement asks for.
	issueIDs = 500

	maxSearchWords = 20
)

// Issue is a group of error events with one cause, as far as can be told.
type Issue struct {
	Project uint32
	// ID is unique in its project.
	ID uint64
	// GroupingVersion is that of the rules that made ID.
	GroupingVersion uint32
	// Of the newest event.
	Title, Type, Value, Culprit, Level, Platform string
	// Releases of the oldest and the newest event that had one.
	FirstRelease, LastRelease string
	// Times of the oldest and the newest event.
	FirstSeen, LastSeen time.Time
	// Count of all events ever.
	Count int64
	IssueLife
}

// IssueEvents is what a batch of events adds to one issue: the same fields over those events of the
// batch alone that are of one release.
type IssueEvents struct {
	Project                                      uint32
	ID                                           uint64
	GroupingVersion                              uint32
	Title, Type, Value, Culprit, Level, Platform string
	Release                                      string
	FirstSeen, LastSeen                          time.Time
	Count                                        int64
}

// mergedEvents are those of all releases.
type mergedEvents struct {
	IssueEvents
	firstRelease, lastRelease string
}

// AddIssueEvents adds events to their issues, and makes the issues that are new. Counts are added,
// the span of time grows, the words are those of the newest event, and what was resolved has regressed,
// whatever order batches come in. The slice may name an issue several times and is not changed.
func (tx *Tx) AddIssueEvents(ctx context.Context, events []IssueEvents) error {
	if err := tx.noteReleases(ctx, events); err != nil {
		return fmt.Errorf("note releases: %w", err)
	}
	merged := mergeIssueEvents(events)
	for chunk := range slices.Chunk(merged, issueRows) {
		if err := tx.upsertIssues(ctx, chunk); err != nil {
			return fmt.Errorf("add events to %d issues: %w", len(merged), err)
		}
	}
	if err := tx.noteRegressions(ctx, events); err != nil {
		return fmt.Errorf("note which of %d issues have regressed: %w", len(merged), err)
	}
	return nil
}

// mergeIssueEvents gives one entry an issue (a statement may meet a row only once), in a fixed order (so
// that two writers cannot wait for each other).
func mergeIssueEvents(events []IssueEvents) []mergedEvents {
	sorted := make([]mergedEvents, len(events))
	for i, e := range events {
		sorted[i] = mergedEvents{e, e.Release, e.Release}
	}
	slices.SortStableFunc(sorted, func(a, b mergedEvents) int {
		return cmp.Or(cmp.Compare(a.Project, b.Project), cmp.Compare(a.ID, b.ID))
	})
	out := sorted[:0]
	for _, e := range sorted {
		if n := len(out); n > 0 && out[n-1].Project == e.Project && out[n-1].ID == e.ID {
			out[n-1] = out[n-1].with(e)
		} else {
			out = append(out, e)
		}
	}
	return out
}

// with is the union of two batches of one issue, by the rules of the statement in upsertIssues.
func (e mergedEvents) with(other mergedEvents) mergedEvents {
	newest, older := other, e
	if other.LastSeen.Before(e.LastSeen) {
		newest, older = e, other
	}
	oldest, younger := e, other
	if other.FirstSeen.Before(e.FirstSeen) {
		oldest, younger = other, e
	}
	out := newest
	out.lastRelease = cmp.Or(newest.lastRelease, older.lastRelease)
	out.firstRelease = cmp.Or(oldest.firstRelease, younger.firstRelease)
	out.FirstSeen = oldest.FirstSeen
	out.Count = e.Count + other.Count
	return out
}

// eventColumns are those that events change, all by one statement.
const (
	eventColumns = `project, id, grouping_version, title, type, value, culprit, level, platform,
	first_release, last_release, first_seen, last_seen, events`
	issueColumns = eventColumns + `, ` + lifeColumns
)

func (tx *Tx) upsertIssues(ctx context.Context, events []mergedEvents) error {
	const columns = 15
	args := make([]any, 0, len(events)*columns)
	var b strings.Builder
	b.WriteString(`INSERT INTO issues (` + eventColumns + `, title_lower) VALUES `)
	for i, e := range events {
		if i > 0 {
			b.WriteString(", ")
		}
		placeholders(&b, len(args)+1, columns)
		title := clip(e.Title, maxIssueTitle)
		args = append(args, int64(e.Project), int64(e.ID), int64(e.GroupingVersion),
			title, clip(e.Type, maxIssueWord), clip(e.Value, maxIssueValue), clip(e.Culprit, maxIssueWord),
			clip(e.Level, maxIssueWord), clip(e.Platform, maxIssueWord),
			clip(e.firstRelease, maxIssueWord), clip(e.lastRelease, maxIssueWord),
			fromTime(e.FirstSeen), fromTime(e.LastSeen), e.Count, strings.ToLower(title))
	}
	b.WriteString(` ON CONFLICT (project, id) DO UPDATE SET events = issues.events + excluded.events`)
	for _, column := range []string{"grouping_version", "title", "title_lower", "type", "value", "culprit", "level", "platform", "last_seen"} {
		fmt.Fprintf(&b, `, %[1]s = CASE WHEN excluded.last_seen >= issues.last_seen THEN excluded.%[1]s ELSE issues.%[1]s END`, column)
	}
	b.WriteString(`,
		first_seen = CASE WHEN excluded.first_seen < issues.first_seen THEN excluded.first_seen ELSE issues.first_seen END,
		first_release = CASE WHEN issues.first_release = '' OR (excluded.first_seen < issues.first_seen AND excluded.first_release <> '')
			THEN excluded.first_release ELSE issues.first_release END,
		last_release = CASE WHEN issues.last_release = '' OR (excluded.last_seen >= issues.last_seen AND excluded.last_release <> '')
			THEN excluded.last_release ELSE issues.last_release END`)
	_, err := tx.exec(ctx, b.String(), args...)
	return err
}

// placeholders writes ($from, …) with n of them.
func placeholders(b *strings.Builder, from, n int) {
	separator := "($"
	for i := range n {
		b.WriteString(separator)
		b.WriteString(strconv.Itoa(from + i))
		separator = ", $"
	}
	b.WriteString(")")
}

func scanIssue(row scanner) (Issue, error) {
	var i Issue
	var project, id, version, firstSeen, lastSeen int64
	var resolvedAt, fixedAt, regressedAt int64
	err := row.Scan(&project, &id, &version, &i.Title, &i.Type, &i.Value, &i.Culprit, &i.Level, &i.Platform,
		&i.FirstRelease, &i.LastRelease, &firstSeen, &lastSeen, &i.Count,
		&i.Resolution, &resolvedAt, &i.ResolvedBy, &i.ResolvedRelease, &fixedAt, &i.RegressedFrom, &regressedAt, &i.RegressedRelease)
	i.Project, i.ID, i.GroupingVersion = uint32(project), uint64(id), uint32(version)
	i.FirstSeen, i.LastSeen = toTime(firstSeen), toTime(lastSeen)
	i.ResolvedAt, i.FixedAt, i.RegressedAt = toTime(resolvedAt), toTime(fixedAt), toTime(regressedAt)
	return i, err
}

// Issues returns those of the issues that exist.
func (db *DB) Issues(ctx context.Context, project uint32, ids []uint64) (map[uint64]Issue, error) {
	out := make(map[uint64]Issue, len(ids))
	for chunk := range slices.Chunk(ids, issueIDs) {
		issues, err := view(ctx, db, func(r runner) ([]Issue, error) { return issuesOf(ctx, r, project, chunk) })
		if err != nil {
			return nil, fmt.Errorf("issues of project %d: %w", project, err)
		}
		for _, issue := range issues {
			out[issue.ID] = issue
		}
	}
	return out, nil
}

func issuesOf(ctx context.Context, r runner, project uint32, ids []uint64) ([]Issue, error) {
	where, args := issuesAre(project, ids)
	return many(ctx, r, scanIssue, `SELECT `+issueColumns+` FROM issues WHERE `+where, args...)
}

// issuesAre is the condition that takes issues of a project, and its arguments.
func issuesAre(project uint32, ids []uint64) (where string, args []any) {
	var b strings.Builder
	b.WriteString(`project = $1 AND id IN `)
	placeholders(&b, 2, len(ids))
	args = []any{int64(project)}
	for _, id := range ids {
		args = append(args, int64(id))
	}
	return b.String(), args
}

// IssuesFirstSeen counts the issues whose first event is in the half-open range.
func (db *DB) IssuesFirstSeen(ctx context.Context, project uint32, from, to time.Time) (int, error) {
	n, err := view(ctx, db, func(r runner) (int64, error) {
		return one(ctx, r, scanInt, `SELECT count(*) FROM issues WHERE project = $1 AND first_seen >= $2 AND first_seen < $3`,
			int64(project), fromTime(from), fromTime(to))
	})
	if err != nil {
		return 0, fmt.Errorf("new issues of project %d: %w", project, err)
	}
	return int(n), nil
}

// NewIssues returns the issues whose first event is in the half-open range, oldest first, limit at
// most.
func (db *DB) NewIssues(ctx context.Context, project uint32, from, to time.Time, limit int) ([]Issue, error) {
	issues, err := view(ctx, db, func(r runner) ([]Issue, error) {
		return many(ctx, r, scanIssue, `SELECT `+issueColumns+` FROM issues
			WHERE project = $1 AND first_seen >= $2 AND first_seen < $3 ORDER BY first_seen, id LIMIT $4`,
			int64(project), fromTime(from), fromTime(to), max(limit, 0))
	})
	if err != nil {
		return nil, fmt.Errorf("new issues of project %d: %w", project, err)
	}
	return issues, nil
}

// SearchIssues returns the issues whose title has every word of text somewhere in it, in any
// case, last seen first, limit at most. An empty text finds all.
func (db *DB) SearchIssues(ctx context.Context, project uint32, text string, limit int) ([]uint64, error) {
	args := []any{int64(project)}
	var b strings.Builder
	b.WriteString(`SELECT id FROM issues WHERE project = $1`)
	words := strings.Fields(strings.ToLower(text))
	for _, word := range words[:min(len(words), maxSearchWords)] {
		args = append(args, "%"+likeEscaper.Replace(word)+"%")
		fmt.Fprintf(&b, ` AND title_lower LIKE $%d ESCAPE '\'`, len(args))
	}
	args = append(args, max(limit, 0))
	fmt.Fprintf(&b, ` ORDER BY last_seen DESC, id LIMIT $%d`, len(args))
	ids, err := view(ctx, db, func(r runner) ([]uint64, error) {
		return many(ctx, r, func(row scanner) (uint64, error) {
			id, err := scanInt(row)
			return uint64(id), err
		}, b.String(), args...)
	})
	if err != nil {
		return nil, fmt.Errorf("search issues of project %d: %w", project, err)
	}
	return ids, nil
}

var likeEscaper = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)
