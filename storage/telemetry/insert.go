package telemetry

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"
)

// insertTimeout bounds one insert.
const insertTimeout = 2 * time.Minute

var errInsertTimeout = errors.New("the insert took too long")

// insert sends rows as one block. The database keeps the token for each day of rows that the
// block touches, so that an insert which failed half-way is completed by its repetition.
func (s *Store) insert(ctx context.Context, table, token string, rows proto.Input) error {
	ctx, cancel := context.WithTimeoutCause(ctx, insertTimeout, errInsertTimeout)
	defer cancel()
	settings := []ch.Setting{
		{Key: "async_insert", Value: "0", Important: true},
		// The number of days is bounded by storageDay.
		{Key: "max_partitions_per_insert_block", Value: "0", Important: true},
	}
	if token != "" {
		settings = append(settings,
			ch.Setting{Key: "insert_deduplicate", Value: "1", Important: true},
			ch.Setting{Key: "deduplicate_insert", Value: "enable"}, // newer servers: outranks the former
			ch.Setting{Key: "insert_deduplication_token", Value: token, Important: true},
		)
	}
	err := s.blocks.do(ctx, s.blocks.inserts, ch.Query{
		Body:     rows.Into(table),
		Input:    rows,
		Settings: settings,
	})
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = errors.Join(cause, err)
		}
		return fmt.Errorf("insert into %s under token %q: %w", table, token, err)
	}
	return nil
}

// InsertLogs stores the rows of a block. Repeating it with the same token and the same rows stores
// nothing twice; Retryable tells whether that is worth while.
func (s *Store) InsertLogs(ctx context.Context, token string, b *LogBlock) error {
	if b.Rows() == 0 {
		return nil
	}
	return s.insert(ctx, "logs", token, b.input())
}
