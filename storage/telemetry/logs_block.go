package telemetry

import (
	"cmp"
	"encoding/json"
	"slices"

	"github.com/ClickHouse/ch-go/proto"
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

	base  uint64 // the id of the first row
	ranks []rowRank
	// resources are packed forms by the fields that they were made from, resourceBytes what both
	// come to.
	resources     map[string]string
	resourceBytes int
	scratch       []byte
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
