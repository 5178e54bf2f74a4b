package telemetry

import (
	"bytes"
	"context"
	"fmt"

	"github.com/ClickHouse/ch-go/proto"
	"github.com/klauspost/compress/zstd"

	"github.com/midwatch/midwatch/proto/telemetrypb"
	"github.com/midwatch/midwatch/storage/retention"
)

// maxPayloadBytes bounds what a payload may grow to when it is unpacked. A larger one is stored
// packed.
const maxPayloadBytes = 16 << 20

// zstdMagic is what a packed payload begins with; JSON never does.
var zstdMagic = []byte{0x28, 0xb5, 0x2f, 0xfd}

// ErrorBlock gathers error events for one insert. It is not safe for concurrent use.
type ErrorBlock struct {
	project     proto.ColUInt32
	day         uint16Column
	retention   uint16Column
	issue       proto.ColUInt64
	event       bytesColumn
	at          int64Column
	received    int64Column
	grouping    uint16Column
	level       dictColumn
	platform    dictColumn
	environment dictColumn
	release     dictColumn
	typ         dictColumn
	value       textColumn
	title       textColumn
	culprit     textColumn
	transaction dictColumn
	serverName  dictColumn
	user        textColumn
	trace       bytesColumn
	tags        mapColumn
	payload     textColumn

	unpacker *zstd.Decoder
	unpacked []byte
}

// NewErrorBlock returns an empty block.
func NewErrorBlock() *ErrorBlock {
	return &ErrorBlock{
		day:       uint16Column{typ: "Date"},
		retention: uint16Column{typ: "UInt16"},
		event:     newBytesColumn(16, "FixedString(16)"),
		at:        int64Column{typ: "DateTime64(9, 'UTC')"},
		received:  int64Column{typ: "DateTime64(3, 'UTC')"},
		grouping:  uint16Column{typ: "UInt16"},
		trace:     newBytesColumn(16, "FixedString(16)"),
	}
}

func (b *ErrorBlock) input() proto.Input {
	return proto.Input{
		{Name: "project_id", Data: &b.project},
		{Name: "day", Data: &b.day},
		{Name: "retention_days", Data: &b.retention},
		{Name: "issue_id", Data: &b.issue},
		{Name: "event_id", Data: &b.event},
		{Name: "ts", Data: &b.at},
		{Name: "received_ts", Data: &b.received},
		{Name: "grouping_version", Data: &b.grouping},
		{Name: "level", Data: &b.level},
		{Name: "platform", Data: &b.platform},
		{Name: "environment", Data: &b.environment},
		{Name: "release", Data: &b.release},
		{Name: "type", Data: &b.typ},
		{Name: "value", Data: &b.value},
		{Name: "title", Data: &b.title},
		{Name: "culprit", Data: &b.culprit},
		{Name: "transaction", Data: &b.transaction},
		{Name: "server_name", Data: &b.serverName},
		{Name: "user_id", Data: &b.user},
		{Name: "trace_id", Data: &b.trace},
		{Name: "tags", Data: &b.tags},
		{Name: "payload", Data: &b.payload},
	}
}

// Add appends the events of a frame. Payloads are unpacked, since those of many events together
// take far less room on disk than each packed for itself.
func (b *ErrorBlock) Add(_ uint64, f *telemetrypb.ErrorFrame) {
	for _, e := range f.GetEvents() {
		at := storedTime(e.GetTime(), e.GetReceivedAt())
		keep := retention.Class(e.GetRetentionDays(), retention.Default.Errors)

		b.project = append(b.project, e.GetProjectId())
		b.day.ColUInt16 = append(b.day.ColUInt16, storageDay(at, e.GetReceivedAt(), keep))
		b.retention.ColUInt16 = append(b.retention.ColUInt16, uint16(keep))
		b.issue = append(b.issue, e.GetIssueId())
		b.event.append(e.GetEventId())
		b.at.ColInt64 = append(b.at.ColInt64, at)
		b.received.ColInt64 = append(b.received.ColInt64, storedTime(e.GetReceivedAt(), uint64(at))/1e6)
		b.grouping.ColUInt16 = append(b.grouping.ColUInt16, uint16(e.GetGroupingVersion()))
		b.level.append(e.GetLevel())
		b.platform.append(e.GetPlatform())
		b.environment.append(e.GetEnvironment())
		b.release.append(e.GetRelease())
		b.typ.append(e.GetType())
		b.value.append(e.GetValue())
		b.title.append(e.GetTitle())
		b.culprit.append(e.GetCulprit())
		b.transaction.append(e.GetTransaction())
		b.serverName.append(e.GetServerName())
		b.user.append(e.GetUserId())
		b.trace.append(e.GetTraceId())
		for _, kv := range e.GetTags() {
			b.tags.append(kv.GetKey(), kv.GetValue())
		}
		b.tags.end()
		b.payload.appendBytes(b.unpack(e.GetPayloadZstd()))
	}
}

// unpack returns what is inside of a payload, or the payload itself where that is too large or no
// zstd: it is kept for a person to look at.
func (b *ErrorBlock) unpack(packed []byte) []byte {
	if !bytes.HasPrefix(packed, zstdMagic) {
		return packed
	}
	if b.unpacker == nil {
		unpacker, err := newUnpacker()
		if err != nil {
			return packed
		}
		b.unpacker = unpacker
	}
	if cap(b.unpacked) > maxPayloadBytes/16 {
		b.unpacked = nil // a rare giant
	}
	unpacked, err := b.unpacker.DecodeAll(packed, b.unpacked[:0])
	b.unpacked = unpacked[:0]
	if err != nil {
		return packed
	}
	return unpacked
}

func newUnpacker() (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxPayloadBytes))
}

// unpackPayload is for payloads that are stored packed.
func unpackPayload(payload []byte) ([]byte, error) {
	if !bytes.HasPrefix(payload, zstdMagic) {
		return payload, nil
	}
	unpacker, err := newUnpacker()
	if err != nil {
		return nil, fmt.Errorf("unpack the event's payload: %w", err)
	}
	defer unpacker.Close()
	unpacked, err := unpacker.DecodeAll(payload, nil)
	if err != nil {
		return nil, fmt.Errorf("unpack the event's payload: %w", err)
	}
	return unpacked, nil
}

// Rows is how many events have been added since the last Reset.
func (b *ErrorBlock) Rows() int { return len(b.project) }

// Bytes is about how much memory the rows take and how much will be sent, before compression.
func (b *ErrorBlock) Bytes() int {
	const fixed = 96
	return len(b.project)*fixed + len(b.value.buf) + len(b.title.buf) + len(b.culprit.buf) +
		len(b.user.buf) + b.tags.bytes() + len(b.payload.buf)
}

// Reset empties the block and keeps its memory.
func (b *ErrorBlock) Reset() {
	b.project.Reset()
	b.day.Reset()
	b.retention.Reset()
	b.issue.Reset()
	b.event.Reset()
	b.at.Reset()
	b.received.Reset()
	b.grouping.Reset()
	for _, c := range []*dictColumn{&b.level, &b.platform, &b.environment, &b.release, &b.typ, &b.transaction, &b.serverName} {
		c.Reset()
	}
	for _, c := range []*textColumn{&b.value, &b.title, &b.culprit, &b.user, &b.payload} {
		c.Reset()
	}
	b.trace.Reset()
	b.tags.Reset()
}

// InsertErrors stores the events of a block; see InsertLogs.
func (s *Store) InsertErrors(ctx context.Context, token string, b *ErrorBlock) error {
	if b.Rows() == 0 {
		return nil
	}
	return s.insert(ctx, "error_events", token, b.input())
}
