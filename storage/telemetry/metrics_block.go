package telemetry

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"sync"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/midwatch/midwatch/proto/telemetrypb"
	"github.com/midwatch/midwatch/storage/retention"
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

	series  []blockSeries
	index   map[seriesKey]int32 // into series
	metrics []metricMeta
	labels  []byte // of the series: each string with its length before it
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
	metric      int32 // into metrics
	labels      int   // into labels
	pairs       int
	first, last int64 // milliseconds
	form        decimalForm
}

type metricMeta struct {
	name, sourceName, unit, description string
	kind                                telemetrypb.MetricKind
}

// NewMetricBlock returns an empty block.
func NewMetricBlock() *MetricBlock {
	return &MetricBlock{
		day:       uint16Column{typ: "Date"},
		retention: uint16Column{typ: "UInt16"},
		at:        int64Column{typ: "DateTime64(3, 'UTC')"},
		index:     make(map[seriesKey]int32),
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

const maxTimeMS = math.MaxUint32 * int64(1000)

// Add appends the samples of a frame. The sequence that the bus keeps it under is of no use here:
// samples are named by their series and time.
func (b *MetricBlock) Add(_ uint64, f *telemetrypb.MetricFrame) {
	for _, batch := range f.GetBatches() {
		project, received := batch.GetProjectId(), batch.GetReceivedAt()
		keep := retention.Class(batch.GetRetentionDays(), retention.Default.Metrics)
		for _, m := range batch.GetMetrics() {
			meta := int32(len(b.metrics))
			b.metrics = append(b.metrics, metricMeta{
				name: m.GetName(), sourceName: m.GetSourceName(), unit: m.GetUnit(), description: m.GetDescription(), kind: m.GetKind(),
			})
			for _, s := range m.GetSeries() {
				key := seriesKey{fp: s.GetFingerprint(), project: project, retention: uint16(keep)}
				current := int32(-1)
				for _, sample := range s.GetSamples() {
					at := min(max(sample.GetTimeMs(), 0), maxTimeMS)
					d := storageDay(at*1e6, received, keep)
					if current < 0 || d != key.day {
						key.day = d
						current = b.seriesAt(key, meta, s, at)
					}
					entry := &b.series[current]
					entry.first, entry.last = min(entry.first, at), max(entry.last, at)

					b.project = append(b.project, project)
					b.day.ColUInt16 = append(b.day.ColUInt16, d)
					b.retention.ColUInt16 = append(b.retention.ColUInt16, uint16(keep))
					b.metric.append(m.GetName())
					b.fp = append(b.fp, key.fp)
					b.at.ColInt64 = append(b.at.ColInt64, at)
					mantissa, scale := entry.form.split(sample.GetValue())
					b.mantissa = append(b.mantissa, mantissa)
					b.scale = append(b.scale, scale)
				}
			}
		}
	}
}

func (b *MetricBlock) seriesAt(key seriesKey, meta int32, s *telemetrypb.Series, at int64) int32 {
	if i, ok := b.index[key]; ok {
		return i
	}
	i := int32(len(b.series))
	b.index[key] = i
	b.series = append(b.series, blockSeries{
		key: key, metric: meta, labels: len(b.labels), pairs: len(s.GetLabels()), first: at, last: at, form: b.decimals.of(key.fp),
	})
	for _, kv := range s.GetLabels() {
		b.labels = appendString(b.labels, kv.GetKey())
		b.labels = appendString(b.labels, kv.GetValue())
	}
	return i
}

func appendString(dst []byte, s string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

// cutString reads what appendString wrote: the string, its wire form and what follows.
func cutString(src []byte) (wire, rest []byte) {
	n, w := binary.Uvarint(src)
	end := w + int(n)
	return src[:end], src[end:]
}

// Rows is how many samples have been added since the last Reset.
func (b *MetricBlock) Rows() int { return len(b.project) }

// Bytes is about how much memory the rows take and how much will be sent, before compression.
func (b *MetricBlock) Bytes() int {
	const sample, series = 4 + 2 + 2 + 2 + 8 + 8 + 8 + 1, 96
	return len(b.project)*sample + len(b.series)*series + len(b.labels)
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
	if len(b.index) > dictKeep {
		b.index = make(map[seriesKey]int32)
	}
	clear(b.index)
	clear(b.metrics)
	b.metrics = b.metrics[:0]
	b.labels = b.labels[:0]
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

func (c *seriesColumns) append(b *MetricBlock, s *blockSeries) {
	m := &b.metrics[s.metric]
	c.project = append(c.project, s.key.project)
	c.day.ColUInt16 = append(c.day.ColUInt16, s.key.day)
	c.retention.ColUInt16 = append(c.retention.ColUInt16, s.key.retention)
	c.metric.append(m.name)
	c.fp = append(c.fp, s.key.fp)
	rest := b.labels[s.labels:]
	for range s.pairs {
		var key, value []byte
		key, rest = cutString(rest)
		value, rest = cutString(rest)
		c.labels.append(key, value)
	}
	c.labels.end()
	c.kind = append(c.kind, uint8(m.kind))
	c.unit.append(m.unit)
	c.sourceName.append(m.sourceName)
	c.description.append(m.description)
	c.first.ColInt64 = append(c.first.ColInt64, s.first)
	c.last.ColInt64 = append(c.last.ColInt64, s.last)
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
	var columns *seriesColumns
	for i := range b.series {
		entry := &b.series[i]
		if s.series.fresh(entry.key, entry.first, entry.last) {
			continue
		}
		if columns == nil {
			columns = newSeriesColumns()
		}
		columns.append(b, entry)
	}
	if columns == nil {
		return nil
	}
	if err := s.insert(ctx, "metric_series", "", columns.input()); err != nil {
		return fmt.Errorf("note %d series: %w", len(columns.fp), err)
	}
	for i := range b.series {
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
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.get(key)
	return ok && first >= r.first && last < r.last+seriesRefreshMS
}

func (m *seriesMemory) note(key seriesKey, first, last int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r, ok := m.get(key); ok {
		if first >= r.first && last < r.last+seriesRefreshMS {
			return // was fresh, was not stored
		}
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
