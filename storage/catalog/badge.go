package catalog

import (
	"context"
	"errors"
	"fmt"
	"regexp"
)

// Badges is what a project shows without authentication.
type Badges struct {
	Project uint32
	// Key stands in the addresses of its badges and its status page: 32 lower-case hexadecimal digits
	// that cannot be guessed.
	Key string
	// StatusPage says that there is a page of all its monitors.
	StatusPage bool
}

var badgeKeyPattern = regexp.MustCompile(`^[0-9a-f]{32}$`)

const badgeColumns = `project, badge_key, status_page`

func scanBadges(row scanner) (Badges, error) {
	var b Badges
	var project, page int64
	err := row.Scan(&project, &b.Key, &page)
	b.Project, b.StatusPage = uint32(project), page == 1
	return b, err
}

// Badges returns what a project shows, with a fresh key and no page if it was never asked before.
// ErrNotFound says that there is no such project.
func (db *DB) Badges(ctx context.Context, project uint32) (Badges, error) {
	b, err := view(ctx, db, func(r runner) (Badges, error) { return badges(ctx, r, project) })
	if errors.Is(err, ErrNotFound) {
		return db.changeBadges(ctx, project, func(*Badges) {})
	}
	if err != nil {
		return Badges{}, fmt.Errorf("badges of project %d: %w", project, err)
	}
	return b, nil
}

// BadgesByKey returns what the project of a badge key shows, or ErrNotFound. Errors do not show the
// key.
func (db *DB) BadgesByKey(ctx context.Context, key string) (Badges, error) {
	if !badgeKeyPattern.MatchString(key) {
		return Badges{}, fmt.Errorf("badges of a key: %w", ErrNotFound)
	}
	b, err := view(ctx, db, func(r runner) (Badges, error) {
		return one(ctx, r, scanBadges, `SELECT `+badgeColumns+` FROM badges WHERE badge_key = $1`, key)
	})
	if err != nil {
		return Badges{}, fmt.Errorf("badges of a key: %w", err)
	}
	return b, nil
}

// SetStatusPage says whether a project has a page of all its monitors.
func (db *DB) SetStatusPage(ctx context.Context, project uint32, shown bool) (Badges, error) {
	return db.changeBadges(ctx, project, func(b *Badges) { b.StatusPage = shown })
}

// ReplaceBadgeKey gives a project another key; addresses with the old one stop to work.
func (db *DB) ReplaceBadgeKey(ctx context.Context, project uint32) (Badges, error) {
	return db.changeBadges(ctx, project, func(b *Badges) { b.Key = newKey() })
}

func (db *DB) changeBadges(ctx context.Context, project uint32, change func(*Badges)) (Badges, error) {
	var b Badges
	err := db.InTx(ctx, func(tx *Tx) (err error) {
		b, err = badges(ctx, tx.runner, project)
		if errors.Is(err, ErrNotFound) {
			b, err = Badges{Project: project, Key: newKey()}, nil
		}
		if err != nil {
			return err
		}
		change(&b)
		page := 0
		if b.StatusPage {
			page = 1
		}
		_, err = tx.exec(ctx, `INSERT INTO badges (`+badgeColumns+`) VALUES ($1, $2, $3)
			ON CONFLICT (project) DO UPDATE SET badge_key = excluded.badge_key, status_page = excluded.status_page`, int64(project), b.Key, page)
		return err
	})
	if err != nil {
		return Badges{}, fmt.Errorf("change the badges of project %d: %w", project, err)
	}
	return b, nil
}

func badges(ctx context.Context, r runner, project uint32) (Badges, error) {
	return one(ctx, r, scanBadges, `SELECT `+badgeColumns+` FROM badges WHERE project = $1`, int64(project))
}
