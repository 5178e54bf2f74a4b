package telemetry

import (
	"encoding/binary"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/midwatch/midwatch/proto/telemetrypb"
	"github.com/midwatch/midwatch/storage/retention"
)

// A telemetrypb.LogFrame is read by hand, as a MetricFrame is: generated structs take an allocation
// for each record and attribute. Heads come before what they are of.

// Add appends the records of an encoded telemetrypb.LogFrame, which begins at offset in the message
// that the bus keeps under seq. After an error nothing of the frame is in the block. Nothing in the
// block refers to the frame.
func (b *LogBlock) Add(seq uint64, offset int, frame []byte) error {
	before := b.mark()
	if before.rows == 0 {
		b.base = rowID(seq, offset)
	}
	err := eachBatch(frame, b.addBatch)
	if err != nil {
		b.cutTo(before)
	}
	return err
}

func (b *LogBlock) addBatch(data []byte) error {
	head, rest, err := readHead(data, retention.Default.Logs)
	if err != nil {
		return err
	}
	return eachItem(rest, func(group []byte) error { return b.addGroup(&head, group) })
}

// logGroup is what the records of a group share.
type logGroup struct{ service, scope, resource uint32 } // keys of their columns

func (b *LogBlock) addGroup(batch *batchHead, data []byte) error {
	var service, scope []byte
	rest := data
	for len(rest) > 0 && rest[0] < telemetrypb.TagGroupResource {
		var ok bool
		value := &service
		switch rest[0] {
		case telemetrypb.TagGroupService:
		case telemetrypb.TagGroupScope:
			value = &scope
		default:
			return errFrameOrder
		}
		if *value, rest, ok = cutBytes(rest[1:]); !ok {
			return errFrameEnds
		}
	}
	if !utf8.Valid(service) || !utf8.Valid(scope) {
		return errFrameText
	}
	begin := rest
	for len(rest) > 0 && rest[0] == telemetrypb.TagGroupResource {
		_, more, ok := cutBytes(rest[1:])
		if !ok {
			return errFrameEnds
		}
		rest = more
	}
	resource, err := b.packedResource(begin[:len(begin)-len(rest)])
	if err != nil {
		return err
	}
	g := logGroup{b.service.keyOf(service), b.scope.keyOf(scope), b.resource.key(resource)}
	return eachItem(rest, func(record []byte) error { return b.addRecord(batch, g, record) })
}

// Bounds of the resources whose packed form is remembered, which senders choose: their number, and
// the bytes of both forms.
const (
	maxPackedResources     = 1 << 12
	maxPackedResourceBytes = 4 << 20
)

// packedResource is the text of a JSON object of the resource fields of a group: what many records
// share is stored as one word of a dictionary.
func (b *LogBlock) packedResource(fields []byte) (string, error) {
	if len(fields) == 0 {
		return "", nil
	}
	if packed, ok := b.resources[string(fields)]; ok {
		return packed, nil
	}
	text := append(b.scratch[:0], '{')
	for rest := fields; len(rest) > 0; {
		key, value, more, err := cutLabel(rest)
		if err != nil {
			return "", err
		}
		if !utf8.Valid(key) || !utf8.Valid(value) {
			return "", errFrameText
		}
		if len(text) > 1 {
			text = append(text, ',')
		}
		text = append(appendJSON(text, string(key)), ':')
		text = appendJSON(text, string(value))
		rest = more
	}
	b.scratch = append(text, '}')
	packed := string(b.scratch)
	size := len(fields) + len(packed)
	if b.resources == nil || len(b.resources) == maxPackedResources || b.resourceBytes+size > maxPackedResourceBytes {
		b.resources, b.resourceBytes = make(map[string]string), 0
	}
	b.resources[string(fields)] = packed
	b.resourceBytes += size
	return packed, nil
}

func (b *LogBlock) addRecord(batch *batchHead, g logGroup, data []byte) error {
	var (
		at, observed              uint64
		severity                  uint64
		text, body, trace, spanID []byte
	)
	for len(data) > 0 {
		var value *[]byte
		switch tag := data[0]; tag {
		case telemetrypb.TagRecordTime, telemetrypb.TagRecordObservedTime:
			if len(data) < 9 {
				return errFrameEnds
			}
			v := binary.LittleEndian.Uint64(data[1:])
			if tag == telemetrypb.TagRecordTime {
				at = v
			} else {
				observed = v
			}
			data = data[9:]
			continue
		case telemetrypb.TagRecordSeverity:
			v, n := protowire.ConsumeVarint(data[1:])
			if n < 0 {
				return errFrameEnds
			}
			severity, data = v, data[1+n:]
			continue
		case telemetrypb.TagRecordAttributes:
			key, v, rest, err := cutLabel(data)
			if err != nil {
				return err
			}
			if !utf8.Valid(key) || !utf8.Valid(v) {
				return errFrameText
			}
			b.attribute.appendBytes(key, v)
			data = rest
			continue
		case telemetrypb.TagRecordSeverityText:
			value = &text
		case telemetrypb.TagRecordBody:
			value = &body
		case telemetrypb.TagRecordTraceID:
			value = &trace
		case telemetrypb.TagRecordSpanID:
			value = &spanID
		default:
			rest, err := skipField(data)
			if err != nil {
				return err
			}
			data = rest
			continue
		}
		var ok bool
		if *value, data, ok = cutBytes(data[1:]); !ok {
			return errFrameEnds
		}
	}
	if !utf8.Valid(text) || !utf8.Valid(body) {
		return errFrameText
	}
	b.attribute.end()

	stored := storedTime(at, observed, batch.received)
	if severity > maxSeverity {
		severity = 0
	}
	if string(text) == levelOf(severity) {
		text = nil // a read puts it in again
	}
	b.project = append(b.project, batch.project)
	b.day.ColUInt16 = append(b.day.ColUInt16, batch.dayOf(stored))
	b.retention.ColUInt16 = append(b.retention.ColUInt16, uint16(batch.keep))
	b.at.ColInt64 = append(b.at.ColInt64, stored)
	b.observed.ColInt64 = append(b.observed.ColInt64, storedTime(observed, batch.received, uint64(stored))/1e6)
	b.service.keys = append(b.service.keys, g.service)
	b.severity = append(b.severity, uint8(severity))
	b.sevText.keys = append(b.sevText.keys, b.sevText.keyOf(text))
	b.scope.keys = append(b.scope.keys, g.scope)
	b.body.appendBytes(body)
	b.resource.keys = append(b.resource.keys, g.resource)
	b.trace.append(trace)
	b.span.append(spanID)
	return nil
}

// logMark is how much a block held at a time.
type logMark struct {
	rows, body         int
	pairs, values      int
	prevRow, beginsRow int
}

func (b *LogBlock) mark() logMark {
	a := &b.attribute
	return logMark{b.Rows(), len(b.body.buf), len(a.keys.keys), len(a.values.buf), a.prev, a.begin}
}

// cutTo takes back what was added since a mark. Words of dictionaries stay.
func (b *LogBlock) cutTo(m logMark) {
	n := m.rows
	b.project = b.project[:n]
	b.day.ColUInt16 = b.day.ColUInt16[:n]
	b.retention.ColUInt16 = b.retention.ColUInt16[:n]
	b.at.ColInt64 = b.at.ColInt64[:n]
	b.observed.ColInt64 = b.observed.ColInt64[:n]
	b.service.keys = b.service.keys[:n]
	b.severity = b.severity[:n]
	b.sevText.keys = b.sevText.keys[:n]
	b.scope.keys = b.scope.keys[:n]
	b.body.buf, b.body.rows = b.body.buf[:m.body], n
	b.resource.keys = b.resource.keys[:n]
	b.trace.buf = b.trace.buf[:n*b.trace.size]
	b.span.buf = b.span.buf[:n*b.span.size]
	a := &b.attribute
	a.offsets = a.offsets[:n]
	a.keys.keys = a.keys.keys[:m.pairs]
	a.values.buf, a.values.rows = a.values.buf[:m.values], m.pairs
	a.prev, a.begin = m.prevRow, m.beginsRow
}
