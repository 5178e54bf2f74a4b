package telemetry

import (
	"encoding/json"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/midwatch/midwatch/proto/telemetrypb"
)

// LogBlock gathers log records for one insert. It is not safe for concurrent use.
type LogBlock struct {
	project   proto.ColUInt32
	day       uint16Column
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

	scratch []byte
}

// NewLogBlock returns an empty block.
func NewLogBlock() *LogBlock {
	return &LogBlock{
		day:      uint16Column{typ: "Date"},
		at:       int64Column{typ: "DateTime64(9, 'UTC')"},
		observed: int64Column{typ: "DateTime64(3, 'UTC')"},
		trace:    newBytesColumn(16, "FixedString(16)"),
		span:     newBytesColumn(8, "FixedString(8)"),
	}
}

func (b *LogBlock) input() proto.Input {
	return proto.Input{
		{Name: "project_id", Data: &b.project},
		{Name: "day", Data: &b.day},
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
// under seq. The rows depend on nothing else, so that a replay makes the same ones.
func (b *LogBlock) Add(seq uint64, offset int, f *telemetrypb.LogFrame) {
	i := 0
	for _, batch := range f.GetBatches() {
		received := batch.GetReceivedAt()
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
				b.day.ColUInt16 = append(b.day.ColUInt16, storageDay(at, received, logDays))
				b.at.ColInt64 = append(b.at.ColInt64, at)
				b.id = append(b.id, rowID(seq, offset, i))
				b.observed.ColInt64 = append(b.observed.ColInt64, observed/1e6)
				b.service.append(g.GetService())
				b.severity = append(b.severity, uint8(severity))
				b.sevText.append(r.GetSeverityText())
				b.scope.append(g.GetScope())
				b.body.append(r.GetBody())
				for _, kv := range r.GetAttributes() {
					b.attribute.append(kv.GetKey(), kv.GetValue())
				}
				b.attribute.end()
				b.resource.append(resource)
				b.trace.append(r.GetTraceId())
				b.span.append(r.GetSpanId())
				i++
			}
		}
	}
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
	const fixed = 4 + 2 + 8 + 8 + 8 + 1 + 4*4 + 16 + 8
	return len(b.project)*fixed + len(b.body.buf) + b.attribute.bytes() + len(b.resource.values.buf)
}

// Reset empties the block and keeps its memory.
func (b *LogBlock) Reset() {
	b.project.Reset()
	b.day.Reset()
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
