package catalog

import (
	"context"
	"errors"
	"fmt"
)

// Cursor is how far one reader of one stream of the bus is. It names a batch, which is either
// planned (Done is false: some of it may have been stored, so exactly this batch must be stored
// again before anything else) or done.
type Cursor struct {
	// Stream and Reader name the cursor.
	Stream, Reader string
	// Origin is the identity of the stream that the sequences belong to. When the stream has
	// another one now, it was made anew and the sequences mean nothing in it.
	Origin int64
	// Version rises with every change; 0 says that there is no cursor yet.
	Version int64
	// First and Last are the sequences of the batch, both included.
	First, Last uint64
	// Done says that everything up to Last has been dealt with.
	Done bool
}

// ReadCursor returns where a reader is; a cursor of Version 0 when it has never been anywhere.
func (db *DB) ReadCursor(ctx context.Context, stream, reader string) (Cursor, error) {
	c, err := view(ctx, db, func(r runner) (Cursor, error) {
		return one(ctx, r, func(row scanner) (Cursor, error) {
			c := Cursor{Stream: stream, Reader: reader}
			var first, last, done int64
			err := row.Scan(&c.Origin, &c.Version, &first, &last, &done)
			c.First, c.Last, c.Done = uint64(first), uint64(last), done != 0
			return c, err
		}, `SELECT origin, version, first_seq, last_seq, done FROM cursors WHERE stream = $1 AND reader = $2`, stream, reader)
	})
	if errors.Is(err, ErrNotFound) {
		return Cursor{Stream: stream, Reader: reader}, nil
	}
	if err != nil {
		return Cursor{}, fmt.Errorf("read cursor %s/%s: %w", stream, reader, err)
	}
	return c, nil
}

// PlanBatch notes durably that the batch from first to last is about to be stored, and returns the
// moved cursor. ErrConflict says that c is not the newest: another reader moved it, which goes on
// in its place. After any other error the cursor must be read again, for it may have moved.
//
// A batch must begin behind the one before it, which must be done; a batch that is not done can
// only be planned again as it is. Both hold only while the origin stays.
func (db *DB) PlanBatch(ctx context.Context, c Cursor, origin int64, first, last uint64) (Cursor, error) {
	fail := func(err error) (Cursor, error) {
		return c, fmt.Errorf("plan batch %d to %d of %s/%s: %w", first, last, c.Stream, c.Reader, err)
	}
	switch {
	case first == 0 || last < first || last > 1<<63-1:
		return fail(errors.New("not a range of sequences"))
	case c.Version == 0 || c.Origin != origin:
	case !c.Done && (first != c.First || last != c.Last):
		return fail(fmt.Errorf("the batch %d to %d before it is not done", c.First, c.Last))
	case c.Done && first <= c.Last:
		return fail(fmt.Errorf("everything up to %d is done already", c.Last))
	}
	next := Cursor{Stream: c.Stream, Reader: c.Reader, Origin: origin, Version: c.Version + 1, First: first, Last: last}
	err := db.InTx(ctx, func(tx *Tx) error {
		var n int64
		var err error
		if c.Version == 0 {
			n, err = tx.exec(ctx, `INSERT INTO cursors (stream, reader, origin, version, first_seq, last_seq, done)
				VALUES ($1, $2, $3, 1, $4, $5, 0) ON CONFLICT (stream, reader) DO NOTHING`,
				c.Stream, c.Reader, origin, int64(first), int64(last))
		} else {
			n, err = tx.exec(ctx, `UPDATE cursors SET origin = $4, version = version + 1, first_seq = $5, last_seq = $6, done = 0
				WHERE stream = $1 AND reader = $2 AND version = $3`,
				c.Stream, c.Reader, c.Version, origin, int64(first), int64(last))
		}
		return changed(n, err)
	})
	if err != nil {
		return fail(err)
	}
	return next, nil
}

// ShortenBatch moves the end of the planned batch forward to last, and returns the moved cursor: the
// rest belongs to later batches. It is only for a batch of which nothing has been stored. ErrConflict
// and other errors are as in PlanBatch.
func (db *DB) ShortenBatch(ctx context.Context, c Cursor, last uint64) (Cursor, error) {
	fail := func(err error) (Cursor, error) {
		return c, fmt.Errorf("shorten batch %d to %d of %s/%s to %d: %w", c.First, c.Last, c.Stream, c.Reader, last, err)
	}
	if c.Version == 0 || c.Done {
		return fail(errors.New("it is not planned"))
	}
	if last < c.First || last >= c.Last {
		return fail(errors.New("that is no shorter one"))
	}
	err := db.InTx(ctx, func(tx *Tx) error {
		n, err := tx.exec(ctx, `UPDATE cursors SET version = version + 1, last_seq = $4
			WHERE stream = $1 AND reader = $2 AND version = $3 AND done = 0`, c.Stream, c.Reader, c.Version, int64(last))
		return changed(n, err)
	})
	if err != nil {
		return fail(err)
	}
	c.Version++
	c.Last = last
	return c, nil
}

// FinishBatch marks the planned batch as done and makes the changes of apply, either both or
// neither, and returns the moved cursor. apply may be nil; it may run more than once, see InTx. An
// error of apply undoes everything and comes back wrapped, with the batch still planned.
// ErrConflict and other errors are as in PlanBatch.
func (db *DB) FinishBatch(ctx context.Context, c Cursor, apply func(*Tx) error) (Cursor, error) {
	fail := func(err error) (Cursor, error) {
		return c, fmt.Errorf("finish batch %d to %d of %s/%s: %w", c.First, c.Last, c.Stream, c.Reader, err)
	}
	if c.Version == 0 || c.Done {
		return fail(errors.New("it is not planned"))
	}
	err := db.InTx(ctx, func(tx *Tx) error {
		// The cursor first: its lock keeps a racing reader from doing the work of apply in vain.
		n, err := tx.exec(ctx, `UPDATE cursors SET version = version + 1, done = 1
			WHERE stream = $1 AND reader = $2 AND version = $3 AND done = 0`, c.Stream, c.Reader, c.Version)
		if err := changed(n, err); err != nil {
			return err
		}
		if apply == nil {
			return nil
		}
		return apply(tx)
	})
	if err != nil {
		return fail(err)
	}
	c.Version++
	c.Done = true
	return c, nil
}

// changed turns a compare-and-set that met another version into ErrConflict.
func changed(rows int64, err error) error {
	if err == nil && rows == 0 {
		return ErrConflict
	}
	return err
}
