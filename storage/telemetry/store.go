// Package telemetry keeps metrics, logs, errors and check-ins in ClickHouse and reads them back.
//
// It is the only place that knows tables and columns. Writing is by blocks: a reader of the bus
// fills one and inserts it under a token, and the same token is stored once however often it is
// sent. Reading is by methods that each answer one kind of question; each takes a Scope, so that
// no read can be written that forgets its tenant or its time range, and each is bounded in time
// and memory. User text reaches the database as parameters only.
//
// Strings are stored as they come: ClickHouse takes any bytes, NUL included.
package telemetry

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

const (
	// readConns bounds how many reads run at once; others wait for acquireTimeout.
	readConns = 12
	// sampleConns bounds how many reads of samples run at once; others wait for readTimeout.
	sampleConns = 12
	// insertConns bounds how many inserts run at once.
	insertConns = 12

	acquireTimeout = 10 * time.Second
	dialTimeout    = 5 * time.Second
)

// Store is a connection to the database. It is safe for concurrent use.
type Store struct {
	log      *slog.Logger
	options  clickhouse.Options
	rows     driver.Conn // statements and reads by row
	blocks   *pool       // inserts and reads by block
	series   *seriesMemory
	database string
}

// Open returns a Store for the native protocol at url, for instance
// clickhouse://user:password@host:9000/database; several hosts may be given, separated by commas,
// and secure=true asks for TLS. It does not wait for the server: Ping tells whether it answers.
func Open(_ context.Context, url string, log *slog.Logger) (*Store, error) {
	if scheme, _, _ := strings.Cut(url, "://"); scheme != "clickhouse" && scheme != "tcp" {
		return nil, errors.New("read clickhouse url: the native protocol is needed (clickhouse://host:9000/database)")
	}
	options, err := clickhouse.ParseDSN(url)
	if err != nil {
		return nil, fmt.Errorf("read clickhouse url: %w", err)
	}
	if options.Auth.Database == "" {
		return nil, errors.New("read clickhouse url: a database is needed (clickhouse://host:9000/database)")
	}
	options.DialTimeout = acquireTimeout // also how long a read waits for a connection
	options.MaxOpenConns = readConns
	options.MaxIdleConns = readConns
	options.ConnOpenStrategy = clickhouse.ConnOpenRoundRobin
	if options.Compression == nil {
		options.Compression = &clickhouse.Compression{Method: clickhouse.CompressionLZ4}
	}
	rows, err := clickhouse.Open(options)
	if err != nil {
		return nil, fmt.Errorf("open clickhouse: %w", err)
	}
	return &Store{
		log:      log,
		options:  *options,
		rows:     rows,
		blocks:   newPool(options),
		series:   newSeriesMemory(seriesRemembered),
		database: options.Auth.Database,
	}, nil
}

// Ping reports whether the server answers and has the database.
func (s *Store) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, dialTimeout, errors.New("clickhouse did not answer in time"))
	defer cancel()
	if err := s.rows.Ping(ctx); err != nil {
		return fmt.Errorf("ping clickhouse: %w", err)
	}
	return nil
}

// Close ends the connections. Reads and inserts that are under way fail.
func (s *Store) Close() error {
	s.blocks.close()
	if err := s.rows.Close(); err != nil {
		return fmt.Errorf("close clickhouse: %w", err)
	}
	return nil
}

func cloneTLS(c *tls.Config) *tls.Config {
	if c == nil {
		return nil
	}
	return c.Clone()
}
