package series

import (
	"encoding/binary"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/midwatch/midwatch/proto/telemetrypb"
)

// Frames writes a set as messages of the bus. The same set is cut in the same places each time.
type Frames struct {
	set           *Set
	project       uint32
	retentionDays int
	limit         int

	metric int   // the next, in set.order
	series int32 // its next series, by number and one; 0: its first
	groups []group
	head   []byte
}

// group is the part of a metric that is in a frame.
type group struct {
	metric      *Metric
	first, stop int32 // series, by number and one; stop is not in it
	bytes       int   // of the metric's fields
}

// Frames returns the set, to be kept for some days, as frames of at most limit bytes, each with one
// series at least. The set must not be changed meanwhile.
func (s *Set) Frames(project uint32, retentionDays, limit int) *Frames {
	return &Frames{set: s, project: project, retentionDays: retentionDays, limit: limit}
}

// Next appends the next frame to b, which it returns as it was when there is no more.
func (f *Frames) Next(b []byte, received time.Time) []byte {
	// Of the frame, and the longest head of a batch: where a set is cut must not depend on for how
	// long it is kept, which may change between a request and its repetition.
	const overhead = 16 + 6 + 9 + 6
	f.head = appendBatchHead(f.head[:0], f.project, f.retentionDays, received)
	total := overhead
	f.groups = f.groups[:0]
	batch := len(f.head)
plan:
	for f.metric < len(f.set.order) {
		m := f.set.order[f.metric]
		if f.series == 0 {
			f.series = m.first
		}
		g := group{metric: m, first: f.series, bytes: m.headBytes()}
		for f.series != 0 {
			e := &f.set.series[f.series-1]
			n := fieldBytes(e.bytes())
			if total+fieldBytes(g.bytes+n) > f.limit && (len(f.groups) > 0 || g.first != f.series) {
				if g.first != f.series {
					g.stop = f.series
					f.groups = append(f.groups, g)
					batch += fieldBytes(g.bytes)
				}
				break plan
			}
			g.bytes += n
			f.series = e.next
		}
		f.groups = append(f.groups, g)
		batch += fieldBytes(g.bytes)
		total += fieldBytes(g.bytes)
		f.metric++
	}
	if len(f.groups) == 0 {
		return b
	}
	b = slices.Grow(b, fieldBytes(batch))
	b = appendLength(b, telemetrypb.TagFrameBatches, batch)
	b = append(b, f.head...)
	for _, g := range f.groups {
		b = appendLength(b, telemetrypb.TagBatchItems, g.bytes)
		b = g.metric.appendHead(b)
		for n := g.first; n != g.stop; {
			e := &f.set.series[n-1]
			b = f.set.appendSeries(b, e)
			n = e.next
		}
	}
	return b
}

// appendBatchHead writes the fields of a telemetrypb.MetricBatch before its metrics.
func appendBatchHead(b []byte, project uint32, retentionDays int, received time.Time) []byte {
	b = protowire.AppendVarint(append(b, telemetrypb.TagBatchProject), uint64(project))
	b = binary.LittleEndian.AppendUint64(append(b, telemetrypb.TagBatchReceived), uint64(received.UnixNano()))
	return protowire.AppendVarint(append(b, telemetrypb.TagBatchRetention), uint64(retentionDays))
}

// fieldBytes is the size of a field of n bytes.
func fieldBytes(n int) int { return 1 + protowire.SizeBytes(n) }

// headBytes is the size of what appendHead writes.
func (m *Metric) headBytes() int {
	size := 0
	for _, text := range [...]string{m.Name, m.SourceName, m.Unit, m.Description} {
		if text != "" {
			size += fieldBytes(len(text))
		}
	}
	if m.Kind != 0 {
		size += 1 + protowire.SizeVarint(uint64(m.Kind))
	}
	return size
}

// appendHead writes the fields of a telemetrypb.Metric before its series.
func (m *Metric) appendHead(b []byte) []byte {
	b = appendText(b, telemetrypb.TagMetricName, m.Name)
	b = appendText(b, telemetrypb.TagMetricSourceName, m.SourceName)
	b = appendText(b, telemetrypb.TagMetricUnit, m.Unit)
	b = appendText(b, telemetrypb.TagMetricDescription, m.Description)
	if m.Kind != 0 {
		b = protowire.AppendVarint(append(b, telemetrypb.TagMetricKind), uint64(m.Kind))
	}
	return b
}

func appendText(b []byte, tag byte, text string) []byte {
	if text == "" {
		return b
	}
	return append(appendLength(b, tag, len(text)), text...)
}

// bytes is the size of a telemetrypb.Series.
func (e *entry) bytes() int { return 9 + int(e.labelBytes) + 2*fieldBytes(8*int(e.count)) }

// appendSeries writes a series as a field of its metric.
func (s *Set) appendSeries(b []byte, e *entry) []byte {
	b = appendLength(b, telemetrypb.TagMetricSeries, e.bytes())
	b = binary.LittleEndian.AppendUint64(append(b, telemetrypb.TagSeriesFingerprint), e.fingerprint)
	b = append(b, s.labels[e.labels:e.labels+int(e.labelBytes)]...)
	b = appendLength(b, telemetrypb.TagSeriesTimes, 8*int(e.count))
	for n := e.first; n != 0; n = s.samples[n-1].next {
		b = binary.LittleEndian.AppendUint64(b, uint64(s.samples[n-1].MS))
	}
	b = appendLength(b, telemetrypb.TagSeriesValues, 8*int(e.count))
	for n := e.first; n != 0; n = s.samples[n-1].next {
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(s.samples[n-1].Value))
	}
	return b
}

// valid makes a string valid UTF-8: a reader refuses the whole frame for one that is not. The
// decoders see to it; this is the last line.
func valid(v string) string {
	if utf8.ValidString(v) {
		return v
	}
	return strings.ToValidUTF8(v, "\uFFFD")
}
