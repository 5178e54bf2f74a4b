package catalog

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"
)

// firstProject is the number of the project that the first start makes.
const firstProject = 1

// defaultEmail names the first user when nobody says how.
const defaultEmail = "admin@localhost"

// Initial is what the operator wants the first start to make. What is empty is generated.
type Initial struct {
	Email, Password, IngestKey, APIToken string
}

// Initialised is what the first start made.
type Initialised struct {
	// Created says that this was the first start.
	Created bool
	// Project is the first project, on later starts too unless it is gone.
	Project Project
	// Email of the first user; only set on the first start.
	Email string
	// Password, IngestKey and APIToken are set only where they were generated: to be shown once.
	// What was given is known to who gave it and does not belong in a terminal.
	Password, IngestKey, APIToken string
}

// Initialise makes the first user, the organisation "default", and in it the project "default"
// (number 1) with its ingest key and an API token, all or nothing. It does so once: later calls,
// and those of other processes at the same time, make nothing and do not look at what is given.
func (db *DB) Initialise(ctx context.Context, in Initial) (Initialised, error) {
	first, err := view(ctx, db, func(r runner) (int64, error) {
		return one(ctx, r, scanInt, `SELECT count(*) FROM installation`)
	})
	if err != nil {
		return Initialised{}, fmt.Errorf("initialise: %w", err)
	}
	if first > 0 {
		return db.alreadyInitialised(ctx) // without the work of hashing a password
	}
	out := Initialised{Created: true}
	if in.Email = normaliseEmail(in.Email); in.Email == "" {
		in.Email = defaultEmail
	}
	if in.Password == "" {
		in.Password = newPassword()
		out.Password = in.Password
	}
	if in.IngestKey == "" {
		in.IngestKey = newKey()
		out.IngestKey = in.IngestKey
	}
	if in.APIToken == "" {
		in.APIToken = tokenPrefix + newSecret()
		out.APIToken = in.APIToken
	}
	if err := in.validate(); err != nil {
		return Initialised{}, fmt.Errorf("initialise: %w", err)
	}
	hash, err := db.hashPassword(ctx, in.Password)
	if err != nil {
		return Initialised{}, fmt.Errorf("initialise: %w", err)
	}
	err = db.InTx(ctx, func(tx *Tx) (err error) {
		out.Project, err = tx.initialise(ctx, in, hash)
		return err
	})
	if errors.Is(err, errInitialised) {
		return db.alreadyInitialised(ctx)
	}
	if err != nil {
		return Initialised{}, fmt.Errorf("initialise: %w", err)
	}
	out.Email = in.Email
	return out, nil
}

func (db *DB) alreadyInitialised(ctx context.Context) (Initialised, error) {
	project, err := db.Project(ctx, firstProject)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return Initialised{}, fmt.Errorf("initialise: %w", err)
	}
	return Initialised{Project: project}, nil
}

var errInitialised = errors.New("another process was faster")

func (tx *Tx) initialise(ctx context.Context, in Initial, passwordHash string) (Project, error) {
	now := fromTime(tx.now)
	n, err := tx.exec(ctx, `INSERT INTO installation (id, created_at) VALUES (1, $1) ON CONFLICT (id) DO NOTHING`, now)
	if err != nil {
		return Project{}, err
	}
	if n == 0 {
		return Project{}, errInitialised
	}
	organisation, user, token := newID(), newID(), newID()
	_, err = tx.exec(ctx, `INSERT INTO organisations (id, slug, name, created_at) VALUES ($1, 'default', 'Default', $2)`, organisation, now)
	if err != nil {
		return Project{}, fmt.Errorf("make the organisation: %w", err)
	}
	_, err = tx.exec(ctx, `INSERT INTO users (id, email, password_hash, created_at) VALUES ($1, $2, $3, $4)`, user, in.Email, passwordHash, now)
	if err != nil {
		return Project{}, fmt.Errorf("make the user: %w", err)
	}
	_, err = tx.exec(ctx, `INSERT INTO members (user_id, organisation_id, created_at) VALUES ($1, $2, $3)`, user, organisation, now)
	if err != nil {
		return Project{}, fmt.Errorf("make the user a member: %w", err)
	}
	_, err = tx.exec(ctx, `INSERT INTO api_tokens (id, organisation_id, name, secret_sha256, created_at) VALUES ($1, $2, 'default', $3, $4)`,
		token, organisation, hashSecret(in.APIToken), now)
	if err != nil {
		return Project{}, fmt.Errorf("make the API token: %w", err)
	}
	project, err := tx.createProject(ctx, organisation, "default", "Default", in.IngestKey)
	if err != nil {
		return Project{}, fmt.Errorf("make the project: %w", err)
	}
	return project, nil
}

// validate names everything that is wrong, in words for who gave it, without showing secrets.
func (in Initial) validate() error {
	var problems []error
	if at := strings.LastIndexByte(in.Email, '@'); at < 1 || at == len(in.Email)-1 || len(in.Email) > maxEmailBytes ||
		strings.ContainsAny(in.Email, " \t\r\n\x00") {
		problems = append(problems, errors.New("the first user's e-mail address must have the form name@host"))
	}
	if len(in.Password) > MaxPasswordBytes {
		problems = append(problems, fmt.Errorf("the first user's password must not be longer than %d bytes", MaxPasswordBytes))
	}
	if !ingestKeyPattern.MatchString(in.IngestKey) {
		problems = append(problems, errors.New("the ingest key must be 8 to 128 letters, digits, hyphens or underscores"))
	}
	if len(in.APIToken) < minTokenBytes || len(in.APIToken) > maxTokenBytes || strings.ContainsAny(in.APIToken, " \t\r\n\x00") {
		problems = append(problems, fmt.Errorf("the API token must be %d to %d characters without spaces", minTokenBytes, maxTokenBytes))
	}
	return errors.Join(problems...)
}

// newID is the identity of a row: in the order of time, which keeps indexes small.
func newID() string { return uuid.Must(uuid.NewV7()).String() }

// newPassword is 100 random bits in letters and digits that are easily typed.
func newPassword() string {
	var b [13]byte
	rand.Read(b[:]) // never fails: it ends the program instead
	text := strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:]))[:20]
	return text[:5] + "-" + text[5:10] + "-" + text[10:15] + "-" + text[15:]
}
