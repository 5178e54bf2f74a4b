package catalog

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"
)

const (
	// SessionLifetime is how long a session lasts after it was last used.
	SessionLifetime = 30 * 24 * time.Hour
	// sessionRenewal is how much of its lifetime a session may lose before a use is written down:
	// not every request writes.
	sessionRenewal = time.Hour

	// MaxPasswordBytes is the longest password that is looked at.
	MaxPasswordBytes = 1000
	maxEmailBytes    = 320

	tokenPrefix   = "mwt_"
	minTokenBytes = 8
	maxTokenBytes = 512
)

// User is a person.
type User struct {
	ID string
	// Email is kept in lower case and unique.
	Email     string
	CreatedAt time.Time
}

// Session is a browser that a user signed in with.
type Session struct {
	User         User
	Organisation Organisation
	// ExpiresAt is when it ends unless it is used before.
	ExpiresAt time.Time
	// Renewed says that this use put its end off: a browser must be told to keep the secret longer.
	Renewed bool
}

// APIToken lets a program act for an organisation.
type APIToken struct {
	ID, Name     string
	Organisation Organisation
	CreatedAt    time.Time
}

// normaliseEmail makes the spellings of one address that people mix up the same.
func normaliseEmail(email string) string { return strings.ToLower(strings.TrimSpace(email)) }

// Authenticate returns the user with this e-mail address and password. ErrNotFound says that there is no
// such pair, and not which of the two is wrong, not even by the time it takes.
func (db *DB) Authenticate(ctx context.Context, email, password string) (User, error) {
	if len(email) > maxEmailBytes || len(password) > MaxPasswordBytes {
		return User{}, fmt.Errorf("authenticate: %w", ErrNotFound)
	}
	type row struct {
		User
		hash string
	}
	found, err := view(ctx, db, func(r runner) (row, error) {
		return one(ctx, r, func(s scanner) (row, error) {
			var u row
			var createdAt int64
			err := s.Scan(&u.ID, &u.Email, &u.hash, &createdAt)
			u.CreatedAt = toTime(createdAt)
			return u, err
		}, `SELECT id, email, password_hash, created_at FROM users WHERE email = $1`, normaliseEmail(email))
	})
	if err != nil && !errors.Is(err, ErrNotFound) {
		return User{}, fmt.Errorf("authenticate: %w", err)
	}
	ok, err := db.checkPassword(ctx, password, found.hash)
	if err != nil {
		return User{}, fmt.Errorf("authenticate: %w", err)
	}
	if !ok {
		return User{}, fmt.Errorf("authenticate: %w", ErrNotFound)
	}
	return found.User, nil
}

// CreateSession signs a user in. The secret is what the browser keeps; only its hash is stored.
// Sessions of anybody that have ended are removed on the way.
func (db *DB) CreateSession(ctx context.Context, userID string) (secret string, err error) {
	secret = newSecret()
	err = db.InTx(ctx, func(tx *Tx) error {
		if _, err := tx.exec(ctx, `DELETE FROM sessions WHERE expires_at <= $1`, fromTime(tx.now)); err != nil {
			return err
		}
		_, err := tx.exec(ctx, `INSERT INTO sessions (secret_sha256, user_id, created_at, expires_at) VALUES ($1, $2, $3, $4)`,
			hashSecret(secret), userID, fromTime(tx.now), fromTime(tx.now.Add(SessionLifetime)))
		return err
	})
	if err != nil {
		return "", fmt.Errorf("create session: %w", err)
	}
	return secret, nil
}

// Session returns the session of a secret and puts its end off; ErrNotFound if there is none or
// it has ended. A user of several organisations is in the one they joined first.
func (db *DB) Session(ctx context.Context, secret string) (Session, error) {
	hash, now := hashSecret(secret), db.now()
	session, err := view(ctx, db, func(r runner) (Session, error) {
		return one(ctx, r, func(row scanner) (Session, error) {
			var s Session
			var userAt, organisationAt, expiresAt int64
			err := row.Scan(&s.User.ID, &s.User.Email, &userAt, &expiresAt,
				&s.Organisation.ID, &s.Organisation.Slug, &s.Organisation.Name, &organisationAt)
			s.User.CreatedAt, s.Organisation.CreatedAt, s.ExpiresAt = toTime(userAt), toTime(organisationAt), toTime(expiresAt)
			return s, err
		}, `SELECT u.id, u.email, u.created_at, s.expires_at, o.id, o.slug, o.name, o.created_at
			FROM sessions s
			JOIN users u ON u.id = s.user_id
			JOIN members m ON m.user_id = u.id
			JOIN organisations o ON o.id = m.organisation_id
			WHERE s.secret_sha256 = $1 AND s.expires_at > $2
			ORDER BY m.created_at, o.id LIMIT 1`, hash, fromTime(now))
	})
	if err != nil {
		return Session{}, fmt.Errorf("session: %w", err)
	}
	end := now.Add(SessionLifetime)
	if end.Sub(session.ExpiresAt) < sessionRenewal {
		return session, nil
	}
	err = db.InTx(ctx, func(tx *Tx) error {
		_, err := tx.exec(ctx, `UPDATE sessions SET expires_at = $2 WHERE secret_sha256 = $1 AND expires_at < $2`, hash, fromTime(end))
		return err
	})
	if err != nil {
		return Session{}, fmt.Errorf("put off the end of a session: %w", err)
	}
	session.ExpiresAt, session.Renewed = end.UTC(), true
	return session, nil
}

// DeleteSession signs a browser out. It is no error when it was not signed in.
func (db *DB) DeleteSession(ctx context.Context, secret string) error {
	err := db.InTx(ctx, func(tx *Tx) error {
		_, err := tx.exec(ctx, `DELETE FROM sessions WHERE secret_sha256 = $1`, hashSecret(secret))
		return err
	})
	if err != nil {
		return fmt.Errorf("delete session: %w", err)
	}
	return nil
}

// Token returns the API token of a secret, or ErrNotFound.
func (db *DB) Token(ctx context.Context, secret string) (APIToken, error) {
	if len(secret) < minTokenBytes || len(secret) > maxTokenBytes {
		return APIToken{}, fmt.Errorf("token: %w", ErrNotFound)
	}
	token, err := view(ctx, db, func(r runner) (APIToken, error) {
		return one(ctx, r, func(row scanner) (APIToken, error) {
			var t APIToken
			var organisationAt, createdAt int64
			err := row.Scan(&t.ID, &t.Name, &createdAt, &t.Organisation.ID, &t.Organisation.Slug, &t.Organisation.Name, &organisationAt)
			t.CreatedAt, t.Organisation.CreatedAt = toTime(createdAt), toTime(organisationAt)
			return t, err
		}, `SELECT t.id, t.name, t.created_at, o.id, o.slug, o.name, o.created_at
			FROM api_tokens t JOIN organisations o ON o.id = t.organisation_id
			WHERE t.secret_sha256 = $1`, hashSecret(secret))
	})
	if err != nil {
		return APIToken{}, fmt.Errorf("token: %w", err)
	}
	return token, nil
}

// newSecret is 256 random bits in letters, digits, "-" and "_".
func newSecret() string {
	var b [32]byte
	rand.Read(b[:]) // never fails: it ends the program instead
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// hashSecret is how a secret with enough randomness is stored: one that is looked up by its hash
// needs no salt, and none that is compared.
func hashSecret(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// Member returns the user with this e-mail address if they belong to an organisation, or ErrNotFound.
func (db *DB) Member(ctx context.Context, organisation, email string) (User, error) {
	user, err := view(ctx, db, func(r runner) (User, error) {
		return one(ctx, r, func(row scanner) (User, error) {
			var u User
			var createdAt int64
			err := row.Scan(&u.ID, &u.Email, &createdAt)
			u.CreatedAt = toTime(createdAt)
			return u, err
		}, `SELECT u.id, u.email, u.created_at FROM users u JOIN members m ON m.user_id = u.id
			WHERE m.organisation_id = $1 AND u.email = $2`, organisation, normaliseEmail(email))
	})
	if err != nil {
		return User{}, fmt.Errorf("member of organisation %s: %w", organisation, err)
	}
	return user, nil
}

// MaxEmails bounds what Emails returns.
const MaxEmails = 20

// Emails returns the addresses of the people of an organisation, the first to join first.
func (db *DB) Emails(ctx context.Context, organisation string) ([]string, error) {
	emails, err := view(ctx, db, func(r runner) ([]string, error) {
		return many(ctx, r, scanText, `SELECT u.email FROM users u JOIN members m ON m.user_id = u.id
			WHERE m.organisation_id = $1 ORDER BY m.created_at, u.id LIMIT $2`, organisation, MaxEmails)
	})
	if err != nil {
		return nil, fmt.Errorf("addresses of organisation %s: %w", organisation, err)
	}
	return emails, nil
}
