package digest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/midwatch/midwatch/alerts/desk"
	"github.com/midwatch/midwatch/alerts/incident"
	"github.com/midwatch/midwatch/alerts/notify"
	"github.com/midwatch/midwatch/alerts/oncall"
	"github.com/midwatch/midwatch/alerts/rule"
	"github.com/midwatch/midwatch/storage/catalog"
)

const (
	// dueReach is how far back the last two digests that were due are looked for.
	dueReach = 16 * 24 * time.Hour
	// hygieneFor is how long after it was due a weekly mail is still made: nothing waits for it.
	hygieneFor = 24 * time.Hour
	// orphanReach is how far back lines of teams are looked for that are gone.
	orphanReach = 31 * 24 * time.Hour
	maxMonth    = 5000
	emailKind   = "email"
)

// Digests makes the digests of all teams. It is safe for concurrent use, and any number of processes
// may do the same.
type Digests struct {
	url  string
	db   *catalog.DB
	desk *desk.Desk

	mu sync.Mutex
	// done are the newest digests that need not be looked at again, by organisation and team. It only
	// saves work: what is made is written down.
	done map[string]string
}

// New makes a Digests. url is that of the pages, without a slash at its end.
func New(url string, db *catalog.DB, d *desk.Desk) *Digests {
	return &Digests{url: url, db: db, desk: d, done: map[string]string{}}
}

// Run makes what is due at a time. It is called each minute or so.
func (d *Digests) Run(ctx context.Context, now time.Time) error {
	organisations, err := d.db.Organisations(ctx)
	if err != nil {
		return fmt.Errorf("make digests: %w", err)
	}
	var errs []error
	for _, o := range organisations {
		if err := d.organisation(ctx, o, now); err != nil {
			errs = append(errs, fmt.Errorf("make the digests of organisation %s: %w", o.ID, err))
		}
		if ctx.Err() != nil {
			return nil
		}
	}
	return errors.Join(errs...)
}

func (d *Digests) organisation(ctx context.Context, o catalog.Organisation, now time.Time) error {
	book, err := d.desk.Book(ctx, o.ID)
	if err != nil {
		return err
	}
	for n, id := range slices.Sorted(maps.Keys(book.Teams)) {
		team := book.Teams[id]
		team.ID = id
		to := mails(book, team)
		if len(to) == 0 {
			continue // the lines wait for somebody who reads them
		}
		if err := d.morning(ctx, o, book, team, to, n == 0, now); err != nil {
			return err
		}
		if err := d.hygiene(ctx, o, team, to, now); err != nil {
			return err
		}
	}
	return nil
}

// mails are the receivers of a team's digest: its own, or all of e-mail.
func mails(b *incident.Book, t oncall.Team) []string {
	var to []string
	for _, id := range t.Mails {
		if _, ok := b.Receivers[id]; ok && !slices.Contains(to, id) {
			to = append(to, id)
		}
	}
	if len(to) > 0 {
		return to
	}
	for _, id := range slices.Sorted(maps.Keys(b.Receivers)) {
		if b.Receivers[id].Kind == emailKind {
			to = append(to, id)
		}
	}
	return to
}

// lastDue returns when a team's newest digest was due, and the one before; zero if none was.
func lastDue(t oncall.Team, now time.Time) (before, due time.Time) {
	for at := t.NextDigest(now.Add(-dueReach)); !at.IsZero() && !at.After(now); at = t.NextDigest(at) {
		before, due = due, at
	}
	return before, due
}

// name is that of a team's digest: there is one a day.
func name(kind, organisation string, t oncall.Team, due time.Time) string {
	zone := notify.Message{Zone: t.Zone}.Location()
	return kind + ":" + organisation + ":" + t.ID + ":" + due.In(zone).Format(time.DateOnly)
}

// known reports whether a digest has been looked after by this process.
func (d *Digests) known(kind, organisation, team, name string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.done[kind+"/"+organisation+"/"+team] == name
}

func (d *Digests) note(kind, organisation, team, name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.done[kind+"/"+organisation+"/"+team] = name
}

// morning makes the digest of a team if it is due. The first team of an organisation also tells what
// teams have left that are gone.
func (d *Digests) morning(ctx context.Context, o catalog.Organisation, book *incident.Book, team oncall.Team, to []string, first bool, now time.Time) error {
	const kind = "digest"
	from, due := lastDue(team, now)
	if due.IsZero() {
		return nil
	}
	digest := name(kind, o.ID, team, due)
	if d.known(kind, o.ID, team.ID, digest) {
		return nil
	}
	teams := []oncall.Team{team}
	if first {
		waiting, err := d.db.DigestLines(ctx, o.ID, "", due.Add(-orphanReach), due)
		if err != nil {
			return err
		}
		for _, l := range waiting {
			gone := team
			gone.ID, gone.Name = l.Team, l.Team
			_, exists := book.Teams[l.Team]
			if l.SentIn == "" && !exists && !slices.ContainsFunc(teams, func(t oncall.Team) bool { return t.ID == l.Team }) {
				teams = append(teams, gone)
			}
		}
	}
	projects, err := d.projects(ctx, o.ID)
	if err != nil {
		return err
	}
	for _, t := range teams {
		in := Input{Organisation: o.Name, Team: t, From: from, To: due, Projects: projects, URL: d.url}
		if err := d.send(ctx, o.ID, name(kind, o.ID, t, due), in, to, now); err != nil {
			return err
		}
	}
	d.note(kind, o.ID, team.ID, digest)
	return nil
}

func (d *Digests) projects(ctx context.Context, organisation string) (map[uint32]string, error) {
	all, err := d.db.Projects(ctx, organisation)
	if err != nil {
		return nil, err
	}
	names := make(map[uint32]string, len(all))
	for _, p := range all {
		names[p.Number] = p.Name
	}
	return names, nil
}

// send takes the lines of a digest and posts it, both or neither. A digest that has taken lines is
// made: what is noted for that time later is in the next one.
func (d *Digests) send(ctx context.Context, organisation, digest string, in Input, to []string, now time.Time) error {
	recent, err := d.db.DigestLines(ctx, organisation, in.Team.ID, in.To.Add(-week), in.To)
	if err != nil {
		return err
	}
	in.Week = recent
	posted := false
	err = d.db.InTx(ctx, func(tx *catalog.Tx) (err error) {
		posted = false
		taken, err := tx.DigestTaken(ctx, organisation, in.Team.ID, digest)
		if err != nil || taken {
			return err
		}
		if in.Lines, err = tx.TakeDigestLines(ctx, organisation, in.Team.ID, digest, in.To); err != nil {
			return err
		}
		m, ok := Make(in)
		if !ok {
			return nil
		}
		posted = true
		return post(ctx, tx, organisation, digest, m, to, now)
	})
	if err != nil {
		return fmt.Errorf("send %s: %w", digest, err)
	}
	if posted {
		d.desk.Woke()
	}
	return nil
}

// hygiene makes the weekly mail of a team if it is due.
func (d *Digests) hygiene(ctx context.Context, o catalog.Organisation, team oncall.Team, to []string, now time.Time) error {
	const kind = "hygiene"
	_, due := lastDue(weekly(team), now)
	if due.IsZero() || now.Sub(due) > hygieneFor {
		return nil
	}
	digest := name(kind, o.ID, team, due)
	if d.known(kind, o.ID, team.ID, digest) {
		return nil
	}
	month, err := d.db.Incidents(ctx, catalog.IncidentFilter{Organisation: o.ID, From: due.Add(-noisyTime), To: due, Limit: maxMonth})
	if err != nil {
		return err
	}
	m, ok := Hygiene(Input{Organisation: o.Name, Team: team, To: due, URL: d.url}, month)
	if ok {
		if err := d.db.InTx(ctx, func(tx *catalog.Tx) error { return post(ctx, tx, o.ID, digest, m, to, now) }); err != nil {
			return fmt.Errorf("send %s: %w", digest, err)
		}
		d.desk.Woke()
	}
	d.note(kind, o.ID, team.ID, digest)
	return nil
}

// post writes a digest to its receivers. A row that is there stays as it is.
func post(ctx context.Context, tx *catalog.Tx, organisation, digest string, m notify.Message, to []string, now time.Time) error {
	for _, receiver := range to {
		m.Key = digest + ":" + receiver
		body, err := json.Marshal(m.Bounded())
		if err != nil {
			return fmt.Errorf("write %s: %w", m.Key, err)
		}
		err = tx.Post(ctx, catalog.OutboxRow{
			Key: m.Key, Organisation: organisation, Receiver: receiver, Action: string(notify.Digest), Severity: string(rule.Mail),
			Rank: incident.Rank(rule.Mail), State: catalog.OutboxDue, CreatedAt: now, DueAt: now, Message: body,
		})
		if err != nil {
			return err
		}
	}
	return nil
}
