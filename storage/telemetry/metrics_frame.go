package telemetry

import (
	"encoding/binary"
	"errors"
	"math"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/midwatch/midwatch/proto/telemetrypb"
	"github.com/midwatch/midwatch/storage/retention"
)

// A telemetrypb.MetricFrame is read by hand: generated structs take one allocation a series and
// several times as long as everything else that the writer does with a sample. What is read is
// what intake writes: fields in the order of their numbers, times and values in one piece.

var (
	errFrameEnds  = errors.New("it ends within a field")
	errFrameOrder = errors.New("its fields are not in order")
	errFramePairs = errors.New("it has not one value for each time")
	errFrameText  = errors.New("a string is not UTF-8")
)

// Add appends the samples of an encoded telemetrypb.MetricFrame. Where it lies on the bus is of no
// use here: samples are named by their series and time. After an error nothing of
// the frame is in the block. Nothing in the block refers to the frame.
func (b *MetricBlock) Add(frame []byte) error {
	rows, series, text := b.Rows(), len(b.series), len(b.text)
	err := eachBatch(frame, b.addBatch)
	if err != nil {
		b.cutRows(rows)
		b.series, b.text = b.series[:series], b.text[:text]
		b.index.rebuild(b.series)
		return err
	}
	return nil
}

// eachBatch calls take with the batches of a frame.
func eachBatch(frame []byte, take func(batch []byte) error) error {
	for len(frame) > 0 {
		if frame[0] != telemetrypb.TagFrameBatches {
			rest, err := skipField(frame)
			if err != nil {
				return err
			}
			frame = rest
			continue
		}
		batch, rest, ok := cutBytes(frame[1:])
		if !ok {
			return errFrameEnds
		}
		if err := take(batch); err != nil {
			return err
		}
		frame = rest
	}
	return nil
}

// batchHead is what the samples of a batch share, and the day of the sample before.
type batchHead struct {
	project  uint32
	received uint64
	keep     int // days

	ownDay int64  // days since 1970 of the sample's time
	day    uint16 // under which it is stored
}

// field reads a field of the batch before its metrics or groups, whose tag is the same, and returns
// what follows. A batch that says nothing of its retention is kept for def days.
func (h *batchHead) field(data []byte, def int) ([]byte, error) {
	switch data[0] {
	case telemetrypb.TagBatchProject, telemetrypb.TagBatchRetention:
		v, n := protowire.ConsumeVarint(data[1:])
		if n < 0 {
			return nil, errFrameEnds
		}
		if data[0] == telemetrypb.TagBatchProject {
			h.project = uint32(v)
		} else {
			h.keep = retention.Class(uint32(v), def)
		}
		return data[1+n:], nil
	case telemetrypb.TagBatchReceived:
		if len(data) < 9 {
			return nil, errFrameEnds
		}
		h.received = binary.LittleEndian.Uint64(data[1:])
		return data[9:], nil
	}
	return skipField(data)
}

// readHead reads the fields before the metrics or groups of a batch, which follow.
func readHead(data []byte, def int) (h batchHead, rest []byte, err error) {
	h = batchHead{keep: def, ownDay: -1}
	for len(data) > 0 && data[0] != telemetrypb.TagBatchItems {
		if data, err = h.field(data, def); err != nil {
			return h, nil, err
		}
	}
	return h, data, nil
}

// dayOf is the day under which a row of a time in nanoseconds is stored.
func (h *batchHead) dayOf(at int64) uint16 {
	if own := at / int64(day); own != h.ownDay {
		h.ownDay, h.day = own, storageDay(at, h.received, h.keep)
	}
	return h.day
}

func (b *MetricBlock) addBatch(data []byte) error {
	head, rest, err := readHead(data, retention.Default.Metrics)
	if err != nil {
		return err
	}
	return eachItem(rest, func(metric []byte) error { return b.addMetric(&head, metric) })
}

// eachItem calls take with the metrics or groups of a batch, or the records of a group, which have the
// same tag. Fields of the head have no place between them.
func eachItem(data []byte, take func(item []byte) error) error {
	for len(data) > 0 {
		switch tag := data[0]; {
		case tag < telemetrypb.TagBatchItems&^7:
			return errFrameOrder
		case tag != telemetrypb.TagBatchItems:
			rest, err := skipField(data)
			if err != nil {
				return err
			}
			data = rest
			continue
		}
		item, rest, ok := cutBytes(data[1:])
		if !ok {
			return errFrameEnds
		}
		if err := take(item); err != nil {
			return err
		}
		data = rest
	}
	return nil
}

func (b *MetricBlock) addMetric(batch *batchHead, data []byte) error {
	rest := data
	for len(rest) > 0 && rest[0] != telemetrypb.TagMetricSeries {
		var err error
		if rest, err = skipField(rest); err != nil {
			return err
		}
	}
	if len(rest) == 0 {
		return nil
	}
	head := data[:len(data)-len(rest)]
	m, err := readMetricHead(head)
	if err != nil {
		return err
	}
	if !utf8.Valid(m.name) || !utf8.Valid(m.sourceName) || !utf8.Valid(m.unit) || !utf8.Valid(m.description) {
		return errFrameText
	}
	name, ok := b.metric.index[string(m.name)]
	if !ok {
		name = b.metric.key(string(m.name))
	}
	var kept span // of head; none yet
	for len(rest) > 0 {
		switch tag := rest[0]; {
		case tag <= telemetrypb.TagMetricKind:
			return errFrameOrder
		case tag != telemetrypb.TagMetricSeries:
			if rest, err = skipField(rest); err != nil {
				return err
			}
			continue
		}
		series, more, ok := cutBytes(rest[1:])
		if !ok {
			return errFrameEnds
		}
		if err := b.addSeries(batch, name, head, &kept, series); err != nil {
			return err
		}
		rest = more
	}
	return nil
}

func (b *MetricBlock) addSeries(batch *batchHead, name uint32, head []byte, keptHead *span, data []byte) error {
	var labels, times, values []byte
	key := seriesKey{project: batch.project, retention: uint16(batch.keep)}
	last := byte(0)
	for len(data) > 0 {
		tag := data[0]
		if tag <= telemetrypb.TagSeriesValues {
			if tag <= last {
				return errFrameOrder
			}
			last = tag
		}
		switch tag {
		case telemetrypb.TagSeriesFingerprint:
			if len(data) < 9 {
				return errFrameEnds
			}
			key.fp = binary.LittleEndian.Uint64(data[1:])
			data = data[9:]
		case telemetrypb.TagSeriesLabels:
			all := data
			for len(data) > 0 && data[0] == telemetrypb.TagSeriesLabels {
				_, rest, ok := cutBytes(data[1:])
				if !ok {
					return errFrameEnds
				}
				data = rest
			}
			labels = all[:len(all)-len(data)]
		case telemetrypb.TagSeriesTimes, telemetrypb.TagSeriesValues:
			packed, rest, ok := cutBytes(data[1:])
			if !ok {
				return errFrameEnds
			}
			if tag == telemetrypb.TagSeriesTimes {
				times = packed
			} else {
				values = packed
			}
			data = rest
		default:
			rest, err := skipField(data)
			if err != nil {
				return err
			}
			data = rest
		}
	}
	if len(times) != len(values) || len(times)%8 != 0 {
		return errFramePairs
	}
	current := int32(-1)
	for ; len(times) > 0; times, values = times[8:], values[8:] {
		at := min(max(int64(binary.LittleEndian.Uint64(times)), 0), maxTimeMS)
		if stored := batch.dayOf(at * 1e6); current < 0 || stored != key.day {
			key.day = stored
			var err error
			if current, err = b.seriesAt(key, head, keptHead, labels, at); err != nil {
				return err
			}
		}
		entry := &b.series[current]
		entry.first, entry.last = min(entry.first, at), max(entry.last, at)
		b.appendSample(entry, name, at, math.Float64frombits(binary.LittleEndian.Uint64(values)))
	}
	return nil
}

// seriesAt returns the series of a key. One that is new to the block has its labels checked and
// copied.
func (b *MetricBlock) seriesAt(key seriesKey, head []byte, keptHead *span, labels []byte, at int64) (int32, error) {
	if i := b.index.get(key, b.series); i >= 0 {
		return i, nil
	}
	if *keptHead == (span{}) {
		*keptHead = b.keep(head)
	}
	if err := checkLabels(labels); err != nil {
		return 0, err
	}
	b.series = append(b.series, blockSeries{key: key, head: *keptHead, labels: b.keep(labels), first: at, last: at, form: b.decimals.of(key.fp)})
	b.index.add(b.series)
	return int32(len(b.series) - 1), nil
}

// metricHead has the fields of a telemetrypb.Metric besides its series.
type metricHead struct {
	name, sourceName, unit, description []byte
	kind                                uint64
}

func readMetricHead(data []byte) (m metricHead, err error) {
	for len(data) > 0 {
		var field *[]byte
		switch data[0] {
		case telemetrypb.TagMetricName:
			field = &m.name
		case telemetrypb.TagMetricSourceName:
			field = &m.sourceName
		case telemetrypb.TagMetricUnit:
			field = &m.unit
		case telemetrypb.TagMetricDescription:
			field = &m.description
		case telemetrypb.TagMetricKind:
			v, n := protowire.ConsumeVarint(data[1:])
			if n < 0 {
				return m, errFrameEnds
			}
			m.kind, data = v, data[1+n:]
			continue
		default:
			if data, err = skipField(data); err != nil {
				return m, err
			}
			continue
		}
		value, rest, ok := cutBytes(data[1:])
		if !ok {
			return m, errFrameEnds
		}
		*field, data = value, rest
	}
	return m, nil
}

// eachLabel calls take with every label of the labels fields of a series.
func eachLabel(data []byte, take func(key, value []byte)) error {
	for len(data) > 0 {
		key, value, rest, err := cutLabel(data)
		if err != nil {
			return err
		}
		take(key, value)
		data = rest
	}
	return nil
}

// checkLabels returns why eachLabel would fail, or that a text is not UTF-8.
func checkLabels(data []byte) error {
	plain := isASCII(data)
	for len(data) > 0 {
		key, value, rest, err := cutLabel(data)
		if err != nil {
			return err
		}
		if !plain && (!utf8.Valid(key) || !utf8.Valid(value)) {
			return errFrameText
		}
		data = rest
	}
	return nil
}

func isASCII(b []byte) bool {
	const high = 0x8080808080808080
	for ; len(b) >= 8; b = b[8:] {
		if binary.LittleEndian.Uint64(b)&high != 0 {
			return false
		}
	}
	for _, c := range b {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// cutLabel cuts a labels field off b.
func cutLabel(b []byte) (key, value, rest []byte, err error) {
	label, rest, ok := cutBytes(b[1:])
	for ok && len(label) > 0 {
		switch label[0] {
		case telemetrypb.TagKey:
			key, label, ok = cutBytes(label[1:])
		case telemetrypb.TagValue:
			value, label, ok = cutBytes(label[1:])
		default:
			if label, err = skipField(label); err != nil {
				return nil, nil, nil, err
			}
		}
	}
	if !ok {
		return nil, nil, nil, errFrameEnds
	}
	return key, value, rest, nil
}

// cutBytes cuts a length and as many bytes off b.
func cutBytes(b []byte) (value, rest []byte, ok bool) {
	if len(b) > 0 && b[0] < 0x80 {
		end := 1 + int(b[0])
		if end > len(b) {
			return nil, nil, false
		}
		return b[1:end], b[end:], true
	}
	value, n := protowire.ConsumeBytes(b)
	if n < 0 {
		return nil, nil, false
	}
	return value, b[n:], true
}

// skipField cuts a field off b that nobody here asks for.
func skipField(b []byte) ([]byte, error) {
	_, _, n := protowire.ConsumeField(b)
	if n < 0 {
		return nil, protowire.ParseError(n)
	}
	return b[n:], nil
}
