package telemetry

import (
	"context"
	"fmt"
	"math"
	"sync"

	"github.com/ClickHouse/ch-go/proto"
)

// MetricBlock gathers samples for one insert, and the series that they belong to. It is not safe
// for concurrent use.
type MetricBlock struct {
	project   proto.ColUInt32
	day       uint16Column
	retention uint16Column
	metric    dictColumn
	fp        proto.ColUInt64
	at        int64Column
	// The value is mantissa / 10^scale; see decimals.
	mantissa proto.ColInt64
	scale    proto.ColUInt8
	decimals decimals

	series []blockSeries
	index  seriesIndex
	text   []byte // what is known of the series, as it came: heads of metrics and labels
}

// seriesKey names a series on one day, of those samples that are kept equally long.
type seriesKey struct {
	fp        uint64
	project   uint32
	day       uint16
	retention uint16
}

type blockSeries struct {
	key         seriesKey
	head        span  // of its metric, in text: the fields of telemetrypb.Metric before its series
	labels      span  // in text: the labels fields of telemetrypb.Series
	first, last int64 // milliseconds
	form        decimalForm
}

// span is a part of MetricBlock.text.
type span struct{ from, to int }

func (b *MetricBlock) cut(s span) []byte { return b.text[s.from:s.to] }

func (b *MetricBlock) keep(text []byte) span {
	from := len(b.text)
	b.text = append(b.text, text...)
	return span{from, len(b.text)}
}

// NewMetricBlock returns an empty block.
func NewMetricBlock() *MetricBlock {
	return &MetricBlock{
		day:       uint16Column{typ: "Date"},
		retention: uint16Column{typ: "UInt16"},
		at:        int64Column{typ: "DateTime64(3, 'UTC')"},
		index:     newSeriesIndex(),
	}
}

func (b *MetricBlock) input() proto.Input {
	return proto.Input{
		{Name: "project_id", Data: &b.project},
		{Name: "day", Data: &b.day},
		{Name: "retention_days", Data: &b.retention},
		{Name: "metric", Data: &b.metric},
		{Name: "fp", Data: &b.fp},
		{Name: "ts", Data: &b.at},
		{Name: "mantissa", Data: &b.mantissa},
		{Name: "scale", Data: &b.scale},
	}
}

const (
	maxTimeMS = math.MaxUint32 * int64(1000)
)

// appendSample appends one row.
func (b *MetricBlock) appendSample(entry *blockSeries, metric uint32, at int64, value float64) {
	b.project = append(b.project, entry.key.project)
	b.day.ColUInt16 = append(b.day.ColUInt16, entry.key.day)
	b.retention.ColUInt16 = append(b.retention.ColUInt16, entry.key.retention)
	b.metric.keys = append(b.metric.keys, metric)
	b.fp = append(b.fp, entry.key.fp)
	b.at.ColInt64 = append(b.at.ColInt64, at)
	mantissa, scale := entry.form.split(value)
	b.mantissa = append(b.mantissa, mantissa)
	b.scale = append(b.scale, scale)
}

// cutRows takes back all rows after the first n.
func (b *MetricBlock) cutRows(n int) {
	b.project = b.project[:n]
	b.day.ColUInt16 = b.day.ColUInt16[:n]
	b.retention.ColUInt16 = b.retention.ColUInt16[:n]
	b.metric.keys = b.metric.keys[:n]
	b.fp = b.fp[:n]
	b.at.ColInt64 = b.at.ColInt64[:n]
	b.mantissa = b.mantissa[:n]
	b.scale = b.scale[:n]
}

// Rows is how many samples have been added since the last Reset.
func (b *MetricBlock) Rows() int { return len(b.project) }

// Bytes is about how much memory the rows take and how much will be sent, before compression.
func (b *MetricBlock) Bytes() int {
	const sample, series = 4 + 2 + 2 + 2 + 8 + 8 + 8 + 1, 96
	return len(b.project)*sample + len(b.series)*series + len(b.text)
}

// Reset empties the block and keeps its memory.
func (b *MetricBlock) Reset() {
	b.project.Reset()
	b.day.Reset()
	b.retention.Reset()
	b.metric.Reset()
	b.fp.Reset()
	b.at.Reset()
	b.mantissa.Reset()
	b.scale.Reset()
	for i := range b.series {
		b.decimals.keep(b.series[i].key.fp, b.series[i].form)
	}
	b.series = b.series[:0]
	b.index.reset()
	b.text = b.text[:0]
}

// seriesColumns are the rows of metric_series.
type seriesColumns struct {
	project     proto.ColUInt32
	day         uint16Column
	retention   uint16Column
	metric      dictColumn
	fp          proto.ColUInt64
	labels      textMapColumn
	kind        proto.ColUInt8
	unit        textColumn
	sourceName  textColumn
	description textColumn
	first, last int64Column
}

func newSeriesColumns() *seriesColumns {
	return &seriesColumns{
		day:       uint16Column{typ: "Date"},
		retention: uint16Column{typ: "UInt16"},
		first:     int64Column{typ: "DateTime64(3, 'UTC')"},
		last:      int64Column{typ: "DateTime64(3, 'UTC')"},
	}
}

func (c *seriesColumns) input() proto.Input {
	return proto.Input{
		{Name: "project_id", Data: &c.project},
		{Name: "day", Data: &c.day},
		{Name: "retention_days", Data: &c.retention},
		{Name: "metric", Data: &c.metric},
		{Name: "fp", Data: &c.fp},
		{Name: "labels", Data: &c.labels},
		{Name: "kind", Data: &c.kind},
		{Name: "unit", Data: &c.unit},
		{Name: "source_name", Data: &c.sourceName},
		{Name: "description", Data: &c.description},
		{Name: "first_seen", Data: &c.first},
		{Name: "last_seen", Data: &c.last},
	}
}

func (c *seriesColumns) append(b *MetricBlock, s *blockSeries) error {
	m, err := readMetricHead(b.cut(s.head))
	if err != nil {
		return err
	}
	c.project = append(c.project, s.key.project)
	c.day.ColUInt16 = append(c.day.ColUInt16, s.key.day)
	c.retention.ColUInt16 = append(c.retention.ColUInt16, s.key.retention)
	c.metric.append(string(m.name))
	c.fp = append(c.fp, s.key.fp)
	if err := eachLabel(b.cut(s.labels), c.labels.append); err != nil {
		return err
	}
	c.labels.end()
	c.kind = append(c.kind, uint8(m.kind))
	c.unit.appendBytes(m.unit)
	c.sourceName.appendBytes(m.sourceName)
	c.description.appendBytes(m.description)
	c.first.ColInt64 = append(c.first.ColInt64, s.first)
	c.last.ColInt64 = append(c.last.ColInt64, s.last)
	return nil
}

// InsertMetrics stores the samples of a block, and notes its series first, so that no sample is
// without its labels. See InsertLogs for what the token does.
func (s *Store) InsertMetrics(ctx context.Context, token string, b *MetricBlock) error {
	if b.Rows() == 0 {
		return nil
	}
	if err := s.noteSeries(ctx, b); err != nil {
		return err
	}
	return s.insert(ctx, "metric_samples", token, b.input())
}

// noteSeries stores what is known of the series that this process has not noted lately. Doing so
// twice is harmless, hence no token.
func (s *Store) noteSeries(ctx context.Context, b *MetricBlock) error {
	stale := s.series.stale(b.series)
	if len(stale) == 0 {
		return nil
	}
	columns := newSeriesColumns()
	for _, i := range stale {
		if err := columns.append(b, &b.series[i]); err != nil {
			return fmt.Errorf("note series %x: %w", b.series[i].key.fp, err)
		}
	}
	if err := s.insert(ctx, seriesTable, "", columns.input()); err != nil {
		return fmt.Errorf("note %d series: %w", len(columns.fp), err)
	}
	for _, i := range stale {
		entry := &b.series[i]
		s.series.note(entry.key, entry.first, entry.last)
	}
	return nil
}

const (
	// seriesRefreshMS is how far behind last_seen may be.
	seriesRefreshMS = 10 * 60 * 1000
	// seriesRemembered bounds the memory; a series that is forgotten is noted more often, no more.
	seriesRemembered = 1 << 19
)

// seriesMemory remembers which series were noted, and for which time. It keeps two generations:
// when the young one is full it becomes the old one, which is forgotten.
type seriesMemory struct {
	mu         sync.Mutex
	limit      int // of a generation
	young, old map[seriesKey]seenRange
}

// seenRange is in milliseconds since 1970.
type seenRange struct{ first, last int64 }

func newSeriesMemory(limit int) *seriesMemory {
	return &seriesMemory{limit: limit / 2, young: make(map[seriesKey]seenRange)}
}

func (m *seriesMemory) get(key seriesKey) (seenRange, bool) {
	if r, ok := m.young[key]; ok {
		return r, true
	}
	r, ok := m.old[key]
	return r, ok
}

// fresh reports whether what is stored of a series says enough of these times.
func (m *seriesMemory) fresh(key seriesKey, first, last int64) bool {
	r, ok := m.get(key)
	return ok && first >= r.first && last < r.last+seriesRefreshMS
}

// stale returns which of some series are not fresh.
func (m *seriesMemory) stale(series []blockSeries) []int {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []int
	for i := range series {
		if s := &series[i]; !m.fresh(s.key, s.first, s.last) {
			out = append(out, i)
		}
	}
	return out
}

func (m *seriesMemory) note(key seriesKey, first, last int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r, ok := m.get(key); ok {
		first, last = min(first, r.first), max(last, r.last)
	}
	if len(m.young) >= m.limit {
		m.old, m.young = m.young, make(map[seriesKey]seenRange, m.limit)
	}
	m.young[key] = seenRange{first, last}
}

// forget has every series noted again: the rows of some may be gone.
func (m *seriesMemory) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.young, m.old = make(map[seriesKey]seenRange), nil
}
