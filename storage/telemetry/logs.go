package telemetry

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"golang.org/x/sync/errgroup"
)

// Log is one record.
type Log struct {
	ID           string // opaque
	Time         time.Time
	ObservedAt   time.Time // to the millisecond
	Level        string    // one of Levels
	Severity     int       // OpenTelemetry severity number, 1 to 24; 0 is unknown
	SeverityText string    // as the sender wrote it; the level's name where it gave none but a number
	Service      string
	Scope        string
	Body         string
	Attributes   map[string]string // not nil
	Resource     map[string]string // not nil; rows may share one
	TraceID      string            // 32 hexadecimal digits or empty
	SpanID       string            // 16 hexadecimal digits or empty
}

// LogFilter selects records; the zero LogFilter selects all.
type LogFilter struct {
	Text       string       // see Text
	Levels     []string     // of Levels; none keeps all
	Services   []string     // none keeps all
	Attributes []LabelMatch // all of which hold
}

// LogPage is a part of the records, newest first.
type LogPage struct {
	Rows []Log
	Next string // the cursor of the page after this one; empty on the last page
}

// LogHistogram counts the records that match, by time and level, and by service.
type LogHistogram struct {
	Total    int64
	Step     time.Duration
	Buckets  []LogBucket    // every step of the range, oldest first
	Services []ServiceCount // up to 20, most records first
}

// LogBucket counts the records of one step.
type LogBucket struct {
	At     time.Time        // when the step begins
	Counts map[string]int64 // by level; levels without a record are absent; not nil
}

// ServiceCount is how many records a service wrote.
type ServiceCount struct {
	Service string
	Count   int64
}

// levels are the names of ranges of four severity numbers each; 0 alone is unknown.
var levels = [...]string{"unknown", "trace", "debug", "info", "warn", "error", "fatal"}

// Levels returns the names of the levels, lowest first.
func Levels() []string { return slices.Clone(levels[:]) }

// levelColumn is the index into levels.
const levelColumn = "intDiv(severity + 3, 4)"

// badLevels are the levels that count as errors.
const badLevels = levelColumn + " >= 5"

func levelName(i uint64) string {
	if i < uint64(len(levels)) {
		return levels[i]
	}
	return levels[0]
}

// levelOf is the level of a severity number.
func levelOf(severity uint64) string { return levelName((severity + 3) / 4) }

// where returns the condition of a filter, which begins with AND or is empty, and adds its values
// to p.
func (f LogFilter) where(p params) (string, error) {
	text, err := ParseText(f.Text)
	if err != nil {
		return "", err
	}
	where := text.where(p)
	if len(f.Levels) > 0 {
		var numbers []string // ours, not the user's: small integers
		for _, name := range f.Levels {
			i := slices.Index(levels[:], name)
			if i < 0 {
				return "", invalid("there is no level %q: the levels are %s", name, strings.Join(levels[:], ", "))
			}
			numbers = append(numbers, strconv.Itoa(i))
		}
		where += " AND " + levelColumn + " IN (" + strings.Join(numbers, ", ") + ")"
	}
	if len(f.Services) > 0 {
		where += " AND service IN {" + p.add("services", f.Services) + ":Array(String)}"
	}
	matches, err := whereAttributes(f.Attributes, p)
	return where + matches, err
}

// Limits of one page of records.
const (
	maxLogPage      = 10_000
	maxLogPageBytes = 16 << 20 // of their texts; a page has one record at least
)

// Logs returns records, newest first: the first page for an empty cursor, else the page that
// follows the one whose Next it is. A page has fewer records than limit where they are large.
// Records that arrive meanwhile change no later page.
func (s *Store) Logs(ctx context.Context, sc Scope, f LogFilter, limit int, cursor string) (LogPage, error) {
	if limit < 1 || limit > maxLogPage {
		return LogPage{}, invalid("the limit must be between 1 and %d", maxLogPage)
	}
	p := sc.scoped()
	where, err := f.where(p)
	if err != nil {
		return LogPage{}, err
	}
	if cursor != "" {
		at, id, err := readCursor(cursor)
		if err != nil {
			return LogPage{}, err
		}
		p["cursor_ts"], p["cursor_id"] = at, id
		const cursorTime = "fromUnixTimestamp64Nano({cursor_ts:Int64}, 'UTC')"
		where += " AND ts <= " + cursorTime + " AND (ts < " + cursorTime + " OR id < {cursor_id:UInt64})"
	}
	ctx, cancel := context.WithTimeoutCause(ctx, readTimeout, errReadTimeout)
	defer cancel()
	for {
		page, err := s.logPage(ctx, sc, where, p, limit)
		// The server gathers rows to blocks by their number: where records are so large that one
		// block is too much, a shorter page has smaller blocks.
		tooMuch, ok := errors.AsType[*LimitError](err)
		if !ok || tooMuch.Limit == "time" || limit == 1 {
			return page, err
		}
		limit = max(1, limit/logPageShrink)
	}
}

const logPageShrink = 16

func (s *Store) logPage(ctx context.Context, sc Scope, where string, p params, limit int) (LogPage, error) {
	sql := `SELECT ts, id, observed_ts, service, severity, severity_text, scope, body, attributes, resource, trace_id, span_id
FROM logs WHERE ` + inScope + where + `
ORDER BY ts DESC, id DESC LIMIT {limit:UInt32}
SETTINGS ` + inOrder

	var (
		page      = LogPage{Rows: make([]Log, 0, min(limit, 1000))}
		resources = make(map[string]map[string]string)
		id        uint64
		size      int
		lastAt    int64
		lastID    uint64
	)
	err := s.query(ctx, sc, "read logs", sql, p.with("limit", limit+1), func(rows driver.Rows) error {
		var (
			l        Log
			severity uint8
			resource string
			trace    string
			span     string
		)
		if err := rows.Scan(&l.Time, &id, &l.ObservedAt, &l.Service, &severity, &l.SeverityText, &l.Scope,
			&l.Body, &l.Attributes, &resource, &trace, &span); err != nil {
			return err
		}
		size += l.textBytes() + len(resource)
		if n := len(page.Rows); n == limit || n > 0 && size > maxLogPageBytes {
			page.Next = writeCursor(lastAt, lastID)
			if n == limit {
				return nil // the last row anyway
			}
			return errEnough
		}
		lastAt, lastID = l.Time.UnixNano(), id
		l.ID = strconv.FormatUint(id, 16)
		l.Severity = int(severity)
		l.Level = levelOf(uint64(severity))
		if l.SeverityText == "" && severity > 0 {
			l.SeverityText = l.Level
		}
		if l.Attributes == nil {
			l.Attributes = map[string]string{}
		}
		if l.Resource = resources[resource]; l.Resource == nil {
			l.Resource = unpackResource(resource)
			resources[resource] = l.Resource
		}
		l.TraceID, l.SpanID = hexID(trace), hexID(span)
		page.Rows = append(page.Rows, l)
		return nil
	})
	if err != nil {
		return LogPage{}, err
	}
	return page, nil
}

// textBytes is the length of a record's own texts.
func (l *Log) textBytes() int {
	n := len(l.Service) + len(l.SeverityText) + len(l.Scope) + len(l.Body)
	for k, v := range l.Attributes {
		n += len(k) + len(v)
	}
	return n
}

func unpackResource(packed string) map[string]string {
	m := map[string]string{}
	if packed == "" {
		return m
	}
	if err := json.Unmarshal([]byte(packed), &m); err != nil {
		// Not written by LogBlock: shown as it is.
		return map[string]string{"resource": packed}
	}
	return m
}

// hexID writes an id of raw bytes; zeros are none.
func hexID(raw string) string {
	if strings.Trim(raw, "\x00") == "" {
		return ""
	}
	return hex.EncodeToString([]byte(raw))
}

// A cursor is the time and id of the last record of a page.

func writeCursor(at int64, id uint64) string {
	var raw [16]byte
	binary.BigEndian.PutUint64(raw[:8], uint64(at))
	binary.BigEndian.PutUint64(raw[8:], id)
	return base64.RawURLEncoding.EncodeToString(raw[:])
}

func readCursor(cursor string) (at int64, id uint64, err error) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	if err != nil || len(raw) != 16 {
		return 0, 0, invalid("the cursor is not one that a page of logs gave")
	}
	return int64(binary.BigEndian.Uint64(raw[:8])), binary.BigEndian.Uint64(raw[8:]), nil
}

// maxServices bounds the services that a histogram counts apart.
const maxServices = 20

// LogHistogram counts the records that match.
func (s *Store) LogHistogram(ctx context.Context, sc Scope, f LogFilter) (LogHistogram, error) {
	var (
		steps = bucketsOf(sc, Step(sc))
		h     = LogHistogram{Step: steps.step, Buckets: make([]LogBucket, steps.n), Services: []ServiceCount{}}
	)
	for i := range h.Buckets {
		h.Buckets[i] = LogBucket{At: steps.at(i), Counts: map[string]int64{}}
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		p := sc.scoped()
		where, err := f.where(p)
		if err != nil {
			return err
		}
		sql := `SELECT ` + steps.column(p) + ` AS bucket, ` + `toUInt8(` + levelColumn + `) AS level, count()
FROM logs WHERE ` + inScope + where + ` GROUP BY bucket, level`
		return s.query(ctx, sc, "count logs by time", sql, p, func(rows driver.Rows) error {
			var bucket, n uint64
			var level uint8
			if err := rows.Scan(&bucket, &level, &n); err != nil {
				return err
			}
			h.Total += int64(n)
			h.Buckets[min(bucket, uint64(steps.n-1))].Counts[levelName(uint64(level))] += int64(n)
			return nil
		})
	})
	g.Go(func() error {
		p := sc.scoped().with("limit", maxServices)
		where, err := f.where(p)
		if err != nil {
			return err
		}
		sql := `SELECT service, count() AS n FROM logs WHERE ` + inScope + where + `
GROUP BY service ORDER BY n DESC, service LIMIT {limit:UInt32}`
		return s.query(ctx, sc, "count logs by service", sql, p, func(rows driver.Rows) error {
			var c ServiceCount
			var n uint64
			if err := rows.Scan(&c.Service, &n); err != nil {
				return err
			}
			c.Count = int64(n)
			h.Services = append(h.Services, c)
			return nil
		})
	})
	if err := g.Wait(); err != nil {
		return LogHistogram{}, err
	}
	return h, nil
}

// paramName names the i-th parameter of a kind.
func paramName(kind string, i int) string { return fmt.Sprintf("%s_%d", kind, i) }
