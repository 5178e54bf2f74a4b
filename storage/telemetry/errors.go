package telemetry

import (
	"context"
	"errors"
	"fmt"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/clickhouse-go/v2"
)

// ErrNotFound says that what was asked for by name is not in the scope.
var ErrNotFound = errors.New("not found")

// ErrUnavailable says that the database does not answer, or has no time for another read, now.
var ErrUnavailable = errors.New("the telemetry store is not available")

// InvalidError says that a read was asked for in a way that cannot be answered. Its message is fit
// for a user.
type InvalidError struct{ Message string }

func (e *InvalidError) Error() string { return e.Message }

func invalid(format string, args ...any) error {
	return &InvalidError{Message: fmt.Sprintf(format, args...)}
}

// LimitError says that a read was ended because it would have cost too much: the same read of a
// narrower range or with a narrower filter may succeed. Its message is fit for a user.
type LimitError struct {
	// Limit is what ran out: "time", "memory", "rows" or "series".
	Limit string
	err   error
}

func (e *LimitError) Error() string {
	if e.Limit == "time" {
		return "the search takes too long: narrow the time range or the filter"
	}
	return "the search needs too many " + e.Limit + ": narrow the time range or the filter"
}

// Unwrap returns the error of the database, if it was that which ended the read.
func (e *LimitError) Unwrap() error { return e.err }

// Error numbers of ClickHouse that are handled here.
const (
	codeDuplicateColumn = 15
	codeTableExists     = 57
	codeUnknownTable    = 60
	codeUnknownDatabase = 81
	codeTooManyRows     = 158
	codeTimeout         = 159
	codeTooSlow         = 160
	codeMemory          = 241
	codeTooManyBytes    = 307
	codeResultTooLarge  = 396
)

// code returns the error number of ClickHouse in err, or 0.
func code(err error) int {
	if row, ok := errors.AsType[*clickhouse.Exception](err); ok {
		return int(row.Code)
	}
	if block, ok := errors.AsType[*ch.Exception](err); ok {
		return int(block.Code)
	}
	return 0
}

// readError gives the errors of a read the type that callers tell them by.
func readError(ctx context.Context, doing string, err error) error {
	if err == nil {
		return nil
	}
	wrap := func(err error) error { return fmt.Errorf("%s: %w", doing, err) }
	switch code(err) {
	case 0:
	case codeTimeout, codeTooSlow:
		return wrap(&LimitError{Limit: "time", err: err})
	case codeMemory:
		return wrap(&LimitError{Limit: "bytes of memory", err: err})
	case codeTooManyRows, codeTooManyBytes, codeResultTooLarge:
		return wrap(&LimitError{Limit: "rows", err: err})
	default:
		if overloaded[code(err)] {
			return wrap(fmt.Errorf("%w: %w", ErrUnavailable, err))
		}
		return wrap(err)
	}
	var known interface{ telemetryError() }
	switch {
	case errors.Is(context.Cause(ctx), errReadTimeout):
		return wrap(&LimitError{Limit: "time", err: err})
	case ctx.Err() != nil:
		return wrap(context.Cause(ctx)) // the caller has gone or its own time is up
	case errors.As(err, &known), errors.Is(err, ErrNotFound):
		return wrap(err)
	}
	// What is not an answer of the server is the way to it.
	return wrap(fmt.Errorf("%w: %w", ErrUnavailable, err))
}

func (e *InvalidError) telemetryError() {}
func (e *LimitError) telemetryError()   {}

// overloaded are the errors of ClickHouse that are no fault of what was sent: it is short of
// something, stopping, not set up yet, or cannot reach what it depends on.
var overloaded = map[int]bool{
	codeUnknownTable:    true, // not migrated yet
	codeUnknownDatabase: true,
	codeTimeout:         true,
	codeTooSlow:         true,
	codeMemory:          true,
	3:                   true, // UNEXPECTED_END_OF_FILE
	32:                  true, // ATTEMPT_TO_READ_AFTER_EOF
	74:                  true, // CANNOT_READ_FROM_FILE_DESCRIPTOR
	75:                  true, // CANNOT_WRITE_TO_FILE_DESCRIPTOR
	76:                  true, // CANNOT_OPEN_FILE
	95:                  true, // CANNOT_READ_FROM_SOCKET
	96:                  true, // CANNOT_WRITE_TO_SOCKET
	173:                 true, // CANNOT_ALLOCATE_MEMORY
	192:                 true, // UNKNOWN_USER
	193:                 true, // WRONG_PASSWORD
	201:                 true, // QUOTA_EXCEEDED
	202:                 true, // TOO_MANY_SIMULTANEOUS_QUERIES
	203:                 true, // NO_FREE_CONNECTION
	209:                 true, // SOCKET_TIMEOUT
	210:                 true, // NETWORK_ERROR
	218:                 true, // TABLE_IS_DROPPED
	225:                 true, // NO_ZOOKEEPER
	236:                 true, // ABORTED
	242:                 true, // TABLE_IS_READ_ONLY
	243:                 true, // NOT_ENOUGH_SPACE
	244:                 true, // UNEXPECTED_ZOOKEEPER_ERROR
	252:                 true, // TOO_MANY_PARTS
	279:                 true, // ALL_CONNECTION_TRIES_FAILED
	285:                 true, // TOO_FEW_LIVE_REPLICAS
	286:                 true, // UNSATISFIED_QUORUM_FOR_PREVIOUS_WRITE
	319:                 true, // UNKNOWN_STATUS_OF_INSERT
	373:                 true, // SESSION_IS_LOCKED
	394:                 true, // QUERY_WAS_CANCELLED
	425:                 true, // SYSTEM_ERROR
	439:                 true, // CANNOT_SCHEDULE_TASK
	473:                 true, // DEADLOCK_AVOIDED
	497:                 true, // ACCESS_DENIED
	499:                 true, // S3_ERROR
	516:                 true, // AUTHENTICATION_FAILED
	519:                 true, // NO_REMOTE_SHARD_AVAILABLE
	734:                 true, // CANNOT_WRITE_AFTER_BUFFER_CANCELED
	735:                 true, // QUERY_WAS_CANCELLED_BY_CLIENT
	745:                 true, // SERVER_OVERLOADED
	999:                 true, // KEEPER_EXCEPTION
	1000:                true, // POCO_EXCEPTION: mostly the network and files
	1001:                true, // STD_EXCEPTION: mostly memory
}

// Retryable reports whether an insert that failed with err may succeed when it is sent again with
// the same token: the way to the database is broken, or the database is overloaded, stopping or
// not set up. Anything else is for a person to look at: the rows themselves are refused.
func Retryable(err error) bool {
	if err == nil {
		return false
	}
	if c := code(err); c != 0 {
		return overloaded[c]
	}
	return true
}
