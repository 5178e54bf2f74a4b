package telemetry

import (
	"context"
	"errors"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// Limits of one read. A read of a range that a person looks at takes milliseconds; these are for
// the rest.
const (
	readTimeout      = 20 * time.Second
	readMemoryBytes  = 500_000_000 // at the server; many reads run at once
	readMaxRows      = 5_000_000_000
	readMaxResult    = 50_000_000
	readResultBytes  = 64 << 20 // before compression; about what we hold of a read
	readQueryMaxSize = 1 << 20
)

var errReadTimeout = errors.New("the read took too long")

// readSettings bound a read at the server. They go with each query, and so hold whatever the
// profile of the user says.
func readSettings() clickhouse.Settings {
	return clickhouse.Settings{
		"readonly":             2, // no writes; settings may be sent along
		"max_execution_time":   int(readTimeout / time.Second),
		"max_memory_usage":     readMemoryBytes,
		"max_rows_to_read":     readMaxRows,
		"max_result_rows":      readMaxResult,
		"max_result_bytes":     readResultBytes,
		"result_overflow_mode": "throw",
		"max_query_size":       readQueryMaxSize,
	}
}

// inOrder are settings for a read of the first rows in the order of a table. It ends when it has
// them, but max_rows_to_read is held against all rows that it might read.
const inOrder = "max_rows_to_read = 0, optimize_read_in_order = 1"

// params are the values of a query by name. They are sent beside its text.
type params map[string]any

// scoped returns the parameters that every read has; see inScope.
func (s Scope) scoped() params {
	return params{"project": s.project, "from": s.from.UnixNano(), "to": s.to.UnixNano()}
}

// inScope selects the rows of a scope where ts has nanoseconds.
const inScope = `project_id = {project:UInt32}
	AND ts >= fromUnixTimestamp64Nano({from:Int64}, 'UTC') AND ts < fromUnixTimestamp64Nano({to:Int64}, 'UTC')`

func (p params) with(name string, value any) params {
	p[name] = value
	return p
}

// add adds a value under a name of its own, so that conditions of one kind can stand beside each
// other, and returns the name.
func (p params) add(kind string, value any) string {
	name := paramName(kind, len(p))
	p[name] = value
	return name
}

func (p params) args() []any {
	args := make([]any, 0, len(p))
	for name, value := range p {
		args = append(args, clickhouse.Named(name, value))
	}
	return args
}

// errEnough is what scan returns when it wants no further rows; it is no failure of the read.
var errEnough = errors.New("enough rows")

// query runs a read and hands each row to scan, which must not keep it. doing says what for.
func (s *Store) query(ctx context.Context, sc Scope, doing, sql string, p params, scan func(driver.Rows) error) error {
	if err := sc.check(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, readTimeout, errReadTimeout)
	defer cancel()
	rows, err := s.rows.Query(clickhouse.Context(ctx, clickhouse.WithSettings(readSettings())), sql, p.args()...)
	if err != nil {
		return readError(ctx, doing, err)
	}
	for rows.Next() {
		if err := scan(rows); err != nil {
			cancel() // Close would wait for the rest
			_ = rows.Close()
			if errors.Is(err, errEnough) {
				return nil
			}
			return readError(ctx, doing, err)
		}
	}
	if err := rows.Close(); err != nil {
		return readError(ctx, doing, err)
	}
	return readError(ctx, doing, rows.Err())
}
