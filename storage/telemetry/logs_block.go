package telemetry

import (
	"cmp"
	"encoding/json"
	"slices"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/midwatch/midwatch/proto/telemetrypb"
	"github.com/midwatch/midwatch/storage/retention"
)

// LogBlock gathers log records for one insert. It is not safe for concurrent use.
type LogBlock struct {
	project   proto.ColUInt32
	day       uint16Column
	retention uint16Column
	at        int64Column
	id        proto.ColUInt64
	observed  int64Column
	service   dictColumn
	severity  proto.ColUInt8
	sevText   dictColumn
	scope     dictColumn
	body      textColumn
	attribute mapColumn
	resource  dictColumn
	trace     bytesColumn
	span      bytesColumn

	base    uint64 // the id of the first row
	ranks   []rowRank
	scratch []byte
}

// rowRank is what rows are numbered by.
type rowRank struct {
	at      int64
	project uint32
	row     int32
}

// NewLogBlock returns an empty block.
func NewLogBlock() *LogBlock {
	return &LogBlock{
		day:       uint16Column{typ: "Date"},
		retention: uint16Column{typ: "UInt16"},
		at:        int64Column{typ: "DateTime64(9, 'UTC')"},
		observed:  int64Column{typ: "DateTime64(3, 'UTC')"},
		trace:     newBytesColumn(16, "FixedString(16)"),
		span:      newBytesColumn(8, "FixedString(8)"),
	}
}

func (b *LogBlock) input() proto.Input {
	b.number()
	return proto.Input{
		{Name: "project_id", Data: &b.project},
		{Name: "day", Data: &b.day},
		{Name: "retention_days", Data: &b.retention},
		{Name: "ts", Data: &b.at},
		{Name: "id", Data: &b.id},
		{Name: "observed_ts", Data: &b.observed},
		{Name: "service", Data: &b.service},
		{Name: "severity", Data: &b.severity},
		{Name: "severity_text", Data: &b.sevText},
		{Name: "scope", Data: &b.scope},
		{Name: "body", Data: &b.body},
		{Name: "attributes", Data: &b.attribute},
		{Name: "resource", Data: &b.resource},
		{Name: "trace_id", Data: &b.trace},
		{Name: "span_id", Data: &b.span},
	}
}

// Add appends the records of a frame, which begins at offset in the message that the bus keeps
// under seq.
func (b *LogBlock) Add(seq uint64, offset int, f *telemetrypb.LogFrame) {
	if b.Rows() == 0 {
		b.base = rowID(seq, offset)
	}
	for _, batch := range f.GetBatches() {
		received := batch.GetReceivedAt()
		keep := retention.Class(batch.GetRetentionDays(), retention.Default.Logs)
		for _, g := range batch.GetGroups() {
			resource := b.packed(g.GetResource())
			for _, r := range g.GetRecords() {
				at := storedTime(r.GetTime(), r.GetObservedTime(), received)
				observed := storedTime(r.GetObservedTime(), received, uint64(at))
				severity := r.GetSeverity()
				if severity > maxSeverity {
					severity = 0
				}

				b.project = append(b.project, batch.GetProjectId())
				b.day.ColUInt16 = append(b.day.ColUInt16, storageDay(at, received, keep))
				b.retention.ColUInt16 = append(b.retention.ColUInt16, uint16(keep))
				b.at.ColInt64 = append(b.at.ColInt64, at)
				b.observed.ColInt64 = append(b.observed.ColInt64, observed/1e6)
				b.service.append(g.GetService())
				b.severity = append(b.severity, uint8(severity))
				b.sevText.append(ownText(r.GetSeverityText(), severity))
				b.scope.append(g.GetScope())
				b.body.append(r.GetBody())
				for _, kv := range r.GetAttributes() {
					b.attribute.append(kv.GetKey(), kv.GetValue())
				}
				b.attribute.end()
				b.resource.append(resource)
				b.trace.append(r.GetTraceId())
				b.span.append(r.GetSpanId())
			}
		}
	}
}

// number gives the rows their ids, in the order that they have in the table: neighbours then have
// neighbouring ids, which take next to no space. The same rows added in the same order get the same
// ones.
func (b *LogBlock) number() {
	b.ranks = slices.Grow(b.ranks[:0], len(b.project))[:len(b.project)]
	for i, at := range b.at.ColInt64 {
		b.ranks[i] = rowRank{at, b.project[i], int32(i)}
	}
	slices.SortFunc(b.ranks, func(x, y rowRank) int {
		switch {
		case x.project != y.project:
			return cmp.Compare(x.project, y.project)
		case x.at != y.at:
			return cmp.Compare(x.at, y.at)
		}
		return cmp.Compare(x.row, y.row)
	})
	b.id = slices.Grow(b.id[:0], len(b.project))[:len(b.project)]
	for rank, r := range b.ranks {
		b.id[r.row] = b.base + uint64(rank)
	}
}

// ownText leaves a severity's text out where it only repeats the level's name, as most do: a read
// puts that in again.
func ownText(text string, severity uint32) string {
	if text == levelOf(uint64(severity)) {
		return ""
	}
	return text
}

// packed returns attributes as the text of a JSON object: what many records share is stored as one
// word of a dictionary.
func (b *LogBlock) packed(kvs []*telemetrypb.KeyValue) string {
	if len(kvs) == 0 {
		return ""
	}
	b.scratch = append(b.scratch[:0], '{')
	for i, kv := range kvs {
		if i > 0 {
			b.scratch = append(b.scratch, ',')
		}
		b.scratch = appendJSON(b.scratch, kv.GetKey())
		b.scratch = append(b.scratch, ':')
		b.scratch = appendJSON(b.scratch, kv.GetValue())
	}
	b.scratch = append(b.scratch, '}')
	return string(b.scratch)
}

func appendJSON(dst []byte, s string) []byte {
	text, err := json.Marshal(s)
	if err != nil { // a string has no error
		return append(dst, `""`...)
	}
	return append(dst, text...)
}

// Rows is how many rows have been added since the last Reset.
func (b *LogBlock) Rows() int { return len(b.project) }

// Bytes is about how much memory the rows take and how much will be sent, before compression.
func (b *LogBlock) Bytes() int {
	const fixed = 4 + 2 + 2 + 8 + 8 + 8 + 1 + 4*4 + 16 + 8
	return len(b.project)*fixed + len(b.body.buf) + b.attribute.bytes() + len(b.resource.values.buf)
}

// Reset empties the block and keeps its memory.
func (b *LogBlock) Reset() {
	b.project.Reset()
	b.day.Reset()
	b.retention.Reset()
	b.at.Reset()
	b.id.Reset()
	b.observed.Reset()
	b.service.Reset()
	b.severity.Reset()
	b.sevText.Reset()
	b.scope.Reset()
	b.body.Reset()
	b.attribute.Reset()
	b.resource.Reset()
	b.trace.Reset()
	b.span.Reset()
}
