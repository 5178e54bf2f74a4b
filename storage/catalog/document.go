package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

const (
	// MaxDocuments is how many documents of a kind an organisation may have in one place: a project,
	// or the organisation itself.
	MaxDocuments = 2000
	// maxDocumentBytes bounds the body of one.
	maxDocumentBytes = 256 << 10
	maxAllDocuments  = 200_000
)

// Versions that PutDocument takes beside the one that is to be replaced.
const (
	// NewDocument says that there must be none yet.
	NewDocument int64 = 0
	// AnyVersion says that whatever there is is replaced.
	AnyVersion int64 = -1
)

// Document is something that people configure: a rule, a receiver, a schedule. It is named by its
// organisation, kind, project and ID.
type Document struct {
	Organisation string
	Kind         string
	// Project is 0 for what belongs to the organisation.
	Project uint32
	ID      string
	Name    string
	// Version is 1 for a new document and grows by one with each change.
	Version int64
	// Body is a JSON object.
	Body                 []byte
	CreatedAt, UpdatedAt time.Time
	// UpdatedBy says who, in words for a person.
	UpdatedBy string
}

const documentColumns = `organisation_id, kind, project, id, name, version, body, created_at, updated_at, updated_by`

func scanDocument(row scanner) (Document, error) {
	var d Document
	var project, created, updated int64
	var body string
	err := row.Scan(&d.Organisation, &d.Kind, &project, &d.ID, &d.Name, &d.Version, &body, &created, &updated, &d.UpdatedBy)
	d.Project, d.Body, d.CreatedAt, d.UpdatedAt = uint32(project), []byte(body), toTime(created), toTime(updated)
	return d, err
}

// Documents returns the documents of a kind in a project, or those of the organisation itself
// (project 0), by name.
func (db *DB) Documents(ctx context.Context, organisation, kind string, project uint32) ([]Document, error) {
	all, err := view(ctx, db, func(r runner) ([]Document, error) { return documents(ctx, r, organisation, kind, project) })
	if err != nil {
		return nil, fmt.Errorf("documents %s of organisation %s: %w", kind, organisation, err)
	}
	return all, nil
}

// AllDocuments returns the documents of a kind of everybody.
func (db *DB) AllDocuments(ctx context.Context, kind string) ([]Document, error) {
	documents, err := view(ctx, db, func(r runner) ([]Document, error) {
		return many(ctx, r, scanDocument, `SELECT `+documentColumns+` FROM documents
			WHERE kind = $1 ORDER BY organisation_id, project, id LIMIT $2`, kind, maxAllDocuments)
	})
	if err != nil {
		return nil, fmt.Errorf("documents %s: %w", kind, err)
	}
	return documents, nil
}

// DocumentsVersion grows with each change of any document: who keeps documents in memory reads them
// again when it has grown.
func (db *DB) DocumentsVersion(ctx context.Context) (int64, error) {
	n, err := view(ctx, db, func(r runner) (int64, error) {
		return one(ctx, r, scanInt, `SELECT value FROM counters WHERE name = 'documents'`)
	})
	if err != nil {
		return 0, fmt.Errorf("version of the documents: %w", err)
	}
	return n, nil
}

// DocumentsVersion is that of DB within a transaction.
func (tx *Tx) DocumentsVersion(ctx context.Context) (int64, error) {
	return one(ctx, tx.runner, scanInt, `SELECT value FROM counters WHERE name = 'documents'`)
}

// Documents is that of DB within a transaction.
func (tx *Tx) Documents(ctx context.Context, organisation, kind string, project uint32) ([]Document, error) {
	return documents(ctx, tx.runner, organisation, kind, project)
}

func documents(ctx context.Context, r runner, organisation, kind string, project uint32) ([]Document, error) {
	return many(ctx, r, scanDocument, `SELECT `+documentColumns+` FROM documents
		WHERE organisation_id = $1 AND kind = $2 AND project = $3 ORDER BY name, id LIMIT $4`, organisation, kind, int64(project), MaxDocuments)
}

// DocumentsOfOrganisation returns what belongs to the organisation itself, of every kind.
func (tx *Tx) DocumentsOfOrganisation(ctx context.Context, organisation string) ([]Document, error) {
	return many(ctx, tx.runner, scanDocument, `SELECT `+documentColumns+` FROM documents
		WHERE organisation_id = $1 AND project = 0 ORDER BY kind, id LIMIT $2`, organisation, maxAllDocuments)
}

// DocumentsOfKind returns what an organisation has of a kind, in all its projects.
func (tx *Tx) DocumentsOfKind(ctx context.Context, organisation, kind string) ([]Document, error) {
	return many(ctx, tx.runner, scanDocument, `SELECT `+documentColumns+` FROM documents
		WHERE organisation_id = $1 AND kind = $2 ORDER BY project, id LIMIT $3`, organisation, kind, maxAllDocuments)
}

// Document returns one document, or ErrNotFound.
func (db *DB) Document(ctx context.Context, organisation, kind string, project uint32, id string) (Document, error) {
	return view(ctx, db, func(r runner) (Document, error) { return document(ctx, r, organisation, kind, project, id) })
}

func document(ctx context.Context, r runner, organisation, kind string, project uint32, id string) (Document, error) {
	d, err := one(ctx, r, scanDocument, `SELECT `+documentColumns+` FROM documents
		WHERE organisation_id = $1 AND kind = $2 AND project = $3 AND id = $4`, organisation, kind, int64(project), id)
	if err != nil {
		return Document{}, fmt.Errorf("document %s %q: %w", kind, id, err)
	}
	return d, nil
}

// PutDocument makes or changes a document and returns it as it is kept. version is the one that it
// replaces, NewDocument or AnyVersion; ErrConflict says that somebody else moved first, ErrLimit
// that there are MaxDocuments of its kind.
func (db *DB) PutDocument(ctx context.Context, d Document, version int64) (Document, error) {
	var kept Document
	err := db.InTx(ctx, func(tx *Tx) (err error) {
		kept, err = tx.PutDocument(ctx, d, version)
		return err
	})
	return kept, err
}

// PutDocument is that of DB within a transaction.
func (tx *Tx) PutDocument(ctx context.Context, d Document, version int64) (Document, error) {
	kept, err := tx.putDocument(ctx, d, version)
	if err != nil {
		return Document{}, fmt.Errorf("put document %s %q: %w", d.Kind, d.ID, err)
	}
	return kept, nil
}

func (tx *Tx) putDocument(ctx context.Context, d Document, version int64) (Document, error) {
	if len(d.Body) > maxDocumentBytes || !json.Valid(d.Body) {
		return Document{}, fmt.Errorf("its body must be JSON of at most %d bytes", maxDocumentBytes)
	}
	old, err := document(ctx, tx.runner, d.Organisation, d.Kind, d.Project, d.ID)
	switch {
	case errors.Is(err, ErrNotFound):
		if version > NewDocument {
			return Document{}, ErrConflict
		}
		n, err := one(ctx, tx.runner, scanInt, `SELECT count(*) FROM documents WHERE organisation_id = $1 AND kind = $2 AND project = $3`,
			d.Organisation, d.Kind, int64(d.Project))
		if err != nil {
			return Document{}, err
		}
		if n >= MaxDocuments {
			return Document{}, ErrLimit
		}
		d.CreatedAt = tx.now
	case err != nil:
		return Document{}, err
	case version == NewDocument || version > 0 && version != old.Version:
		return Document{}, ErrConflict
	default:
		d.CreatedAt = old.CreatedAt
	}
	d.Version, d.UpdatedAt = old.Version+1, tx.now
	_, err = tx.exec(ctx, `INSERT INTO documents (`+documentColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
		ON CONFLICT (organisation_id, kind, project, id) DO UPDATE SET name = excluded.name, version = excluded.version,
			body = excluded.body, updated_at = excluded.updated_at, updated_by = excluded.updated_by`,
		d.Organisation, d.Kind, int64(d.Project), d.ID, d.Name, d.Version, string(d.Body), fromTime(d.CreatedAt), fromTime(d.UpdatedAt), d.UpdatedBy)
	if err != nil {
		return Document{}, err
	}
	d.CreatedAt, d.UpdatedAt = toTime(fromTime(d.CreatedAt)), toTime(fromTime(d.UpdatedAt))
	return d, tx.touchDocuments(ctx)
}

func (tx *Tx) touchDocuments(ctx context.Context) error {
	_, err := tx.exec(ctx, `UPDATE counters SET value = value + 1 WHERE name = 'documents'`)
	return err
}

// DeleteDocument removes a document; ErrNotFound says that there is none.
func (db *DB) DeleteDocument(ctx context.Context, organisation, kind string, project uint32, id string) error {
	return db.InTx(ctx, func(tx *Tx) error { return tx.DeleteDocument(ctx, organisation, kind, project, id) })
}

// DeleteDocument is that of DB within a transaction.
func (tx *Tx) DeleteDocument(ctx context.Context, organisation, kind string, project uint32, id string) error {
	n, err := tx.exec(ctx, `DELETE FROM documents WHERE organisation_id = $1 AND kind = $2 AND project = $3 AND id = $4`,
		organisation, kind, int64(project), id)
	if err == nil && n == 0 {
		err = ErrNotFound
	}
	if err == nil {
		err = tx.touchDocuments(ctx)
	}
	if err != nil {
		return fmt.Errorf("delete document %s %q: %w", kind, id, err)
	}
	return nil
}
