package remotewrite

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/midwatch/midwatch/proto/telemetrypb"
	"github.com/midwatch/midwatch/services/ingest/record"
)

// Decode reads a request, unpacked. Nothing that it returns refers to body. An error means that
// the body is not such a message, and that nothing of it is to be kept.
func Decode(v Version, body []byte, w record.Window) (*Request, error) {
	if v == V2 {
		return decodeV2(body, w)
	}
	return decodeV1(body, w)
}

// The tags of fields: number and type together.
const (
	asVarint  = uint64(protowire.VarintType)
	asFixed64 = uint64(protowire.Fixed64Type)
	asBytes   = uint64(protowire.BytesType)

	v1Series   = 1<<3 | asBytes
	v1Metadata = 3<<3 | asBytes

	v1SeriesLabel     = 1<<3 | asBytes
	v1SeriesSample    = 2<<3 | asBytes
	v1SeriesExemplar  = 3<<3 | asBytes
	v1SeriesHistogram = 4<<3 | asBytes

	v1LabelName  = 1<<3 | asBytes
	v1LabelValue = 2<<3 | asBytes

	v1MetadataType   = 1<<3 | asVarint
	v1MetadataFamily = 2<<3 | asBytes
	v1MetadataHelp   = 4<<3 | asBytes
	v1MetadataUnit   = 5<<3 | asBytes

	v2Symbol = 4<<3 | asBytes
	v2Series = 5<<3 | asBytes

	v2SeriesRef       = 1<<3 | asVarint
	v2SeriesRefs      = 1<<3 | asBytes // packed
	v2SeriesSample    = 2<<3 | asBytes
	v2SeriesHistogram = 3<<3 | asBytes
	v2SeriesExemplar  = 4<<3 | asBytes
	v2SeriesMetadata  = 5<<3 | asBytes

	v2MetadataType = 1<<3 | asVarint
	v2MetadataHelp = 3<<3 | asVarint
	v2MetadataUnit = 4<<3 | asVarint

	sampleValue = 1<<3 | asFixed64
	sampleTime  = 2<<3 | asVarint
)

// field is one field of a message: its value is in number or in bytes, by its type.
type field struct {
	tag    uint64
	number uint64
	bytes  []byte
}

// next cuts the first field off a message.
func next(b []byte) (f field, rest []byte, err error) {
	number, typ, n := protowire.ConsumeTag(b)
	if n < 0 {
		return f, nil, protowire.ParseError(n)
	}
	b = b[n:]
	switch typ {
	case protowire.VarintType:
		f.number, n = protowire.ConsumeVarint(b)
	case protowire.Fixed64Type:
		f.number, n = protowire.ConsumeFixed64(b)
	case protowire.BytesType:
		f.bytes, n = protowire.ConsumeBytes(b)
	default:
		n = protowire.ConsumeFieldValue(number, typ, b)
	}
	if n < 0 {
		return f, nil, protowire.ParseError(n)
	}
	f.tag = protowire.EncodeTag(number, typ)
	return f, b[n:], nil
}

// each calls take with every field of a message.
func each(b []byte, take func(f field) error) error {
	for len(b) > 0 {
		f, rest, err := next(b)
		if err != nil {
			return err
		}
		if err := take(f); err != nil {
			return err
		}
		b = rest
	}
	return nil
}

// sample reads a sample of the series at hand; it is the same in both versions.
func (c *collector) sample(b []byte) error {
	var s sample
	for len(b) > 0 {
		f, rest, err := next(b)
		if err != nil {
			return fmt.Errorf("sample: %w", err)
		}
		switch f.tag {
		case sampleValue:
			s.value = math.Float64frombits(f.number)
		case sampleTime:
			s.ms = int64(f.number)
		}
		b = rest
	}
	c.samples = append(c.samples, s)
	return nil
}

// decoderV1 reads 1.0.
type decoderV1 struct {
	collector
	families map[string]metadata
	shared   map[string]label // by their encoding
}

func decodeV1(body []byte, w record.Window) (*Request, error) {
	d := decoderV1{collector: newCollector(w), families: map[string]metadata{}, shared: map[string]label{}}
	// Metadata stands behind the series that it is about, or in a request of its own. That one
	// leaves nothing to keep: kinds are stored with samples.
	err := each(body, func(f field) error {
		if f.tag == v1Metadata {
			return d.family(f.bytes)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = each(body, func(f field) error {
		if f.tag == v1Series {
			return d.oneSeries(f.bytes)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &d.out, nil
}

func (d *decoderV1) family(b []byte) error {
	var metricType uint64
	var family, help, unit []byte
	err := each(b, func(f field) error {
		switch f.tag {
		case v1MetadataType:
			metricType = f.number
		case v1MetadataFamily:
			family = f.bytes
		case v1MetadataHelp:
			help = f.bytes
		case v1MetadataUnit:
			unit = f.bytes
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("metadata: %w", err)
	}
	d.families[string(family)] = newMetadata(metricType, unit, help)
	return nil
}

// about finds what is told of the family of a metric.
func (d *decoderV1) about(name string) metadata {
	if len(d.families) == 0 {
		return metadata{}
	}
	if m, ok := d.families[name]; ok {
		return m
	}
	for _, of := range [...]struct {
		suffix string
		kinds  []telemetrypb.MetricKind
	}{
		{"_total", []telemetrypb.MetricKind{telemetrypb.MetricKind_METRIC_KIND_COUNTER}},
		{"_bucket", []telemetrypb.MetricKind{telemetrypb.MetricKind_METRIC_KIND_HISTOGRAM}},
		{"_sum", []telemetrypb.MetricKind{telemetrypb.MetricKind_METRIC_KIND_HISTOGRAM, telemetrypb.MetricKind_METRIC_KIND_SUMMARY}},
		{"_count", []telemetrypb.MetricKind{telemetrypb.MetricKind_METRIC_KIND_HISTOGRAM, telemetrypb.MetricKind_METRIC_KIND_SUMMARY}},
	} {
		family, ok := strings.CutSuffix(name, of.suffix)
		if !ok {
			continue
		}
		if m := d.families[family]; slices.Contains(of.kinds, m.kind) {
			return m
		}
	}
	return metadata{}
}

func (d *decoderV1) oneSeries(b []byte) error {
	d.begin()
	err := each(b, func(f field) error {
		switch f.tag {
		case v1SeriesLabel:
			return d.oneLabel(f.bytes)
		case v1SeriesSample:
			return d.sample(f.bytes)
		case v1SeriesHistogram:
			d.histograms++
		case v1SeriesExemplar:
			d.exemplars++
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("series: %w", err)
	}
	if len(d.samples)+d.histograms == 0 {
		d.out.dropExemplars(d.exemplars)
		return nil // there is nothing to keep, and nothing wrong with it
	}
	d.end(d.about)
	return nil
}

func (d *decoderV1) oneLabel(b []byte) error {
	l, ok := d.shared[string(b)]
	if !ok {
		var name, value []byte
		err := each(b, func(f field) error {
			switch f.tag {
			case v1LabelName:
				name = f.bytes
			case v1LabelValue:
				value = f.bytes
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("label: %w", err)
		}
		if !d.room() {
			return nil
		}
		l = newLabel(name, value)
		if len(d.shared) < maxShared {
			d.shared[string(b)] = l
		}
	} else if !d.room() {
		return nil
	}
	d.label(l)
	return nil
}

// decoderV2 reads 2.0.
type decoderV2 struct {
	collector
	symbols [][]byte // of the body
	shared  map[[2]uint32]label

	// The series at hand.
	refs []uint32
	told metadata
}

func decodeV2(body []byte, w record.Window) (*Request, error) {
	d := decoderV2{collector: newCollector(w), shared: map[[2]uint32]label{}}
	err := each(body, func(f field) error {
		if f.tag != v2Symbol {
			return nil
		}
		if len(d.symbols) == maxSymbols {
			return fmt.Errorf("there are more than %d symbols", maxSymbols)
		}
		d.symbols = append(d.symbols, f.bytes)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(d.symbols) > 0 && len(d.symbols[0]) > 0 {
		return nil, errors.New("the first symbol is not empty")
	}
	err = each(body, func(f field) error {
		if f.tag == v2Series {
			return d.oneSeries(f.bytes)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &d.out, nil
}

func (d *decoderV2) oneSeries(b []byte) error {
	d.begin()
	d.refs, d.told = d.refs[:0], metadata{}
	err := each(b, func(f field) error {
		switch f.tag {
		case v2SeriesRef:
			d.refs = append(d.refs, uint32(f.number))
		case v2SeriesRefs:
			return d.packed(f.bytes)
		case v2SeriesSample:
			return d.sample(f.bytes)
		case v2SeriesHistogram:
			d.histograms++
		case v2SeriesExemplar:
			d.exemplars++
		case v2SeriesMetadata:
			return d.metadata(f.bytes)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("series: %w", err)
	}
	d.resolve()
	if len(d.samples)+d.histograms == 0 {
		d.fail(errNoSamples)
	}
	d.end(func(string) metadata { return d.told })
	return nil
}

func (d *decoderV2) packed(b []byte) error {
	for len(b) > 0 {
		ref, n := protowire.ConsumeVarint(b)
		if n < 0 {
			return fmt.Errorf("references: %w", protowire.ParseError(n))
		}
		d.refs = append(d.refs, uint32(ref))
		b = b[n:]
	}
	return nil
}

func (d *decoderV2) metadata(b []byte) error {
	var metricType uint64
	var help, unit uint32
	err := each(b, func(f field) error {
		switch f.tag {
		case v2MetadataType:
			metricType = f.number
		case v2MetadataHelp:
			help = uint32(f.number)
		case v2MetadataUnit:
			unit = uint32(f.number)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("metadata: %w", err)
	}
	d.told = newMetadata(metricType, d.symbol(unit), d.symbol(help))
	return nil
}

// symbol returns a symbol; the first, which is empty, need not be there.
func (d *decoderV2) symbol(ref uint32) []byte {
	if int64(ref) < int64(len(d.symbols)) {
		return d.symbols[ref]
	}
	if ref > 0 {
		d.fail(refuse("bad_reference", "it refers to symbol %d of %d", ref, len(d.symbols)))
	}
	return nil
}

// resolve makes labels of references.
func (d *decoderV2) resolve() {
	if len(d.refs)%2 != 0 {
		d.fail(errOddReferences)
	}
	for i := 0; i+1 < len(d.refs) && d.room(); i += 2 {
		key := [2]uint32{d.refs[i], d.refs[i+1]}
		l, ok := d.shared[key]
		if !ok {
			name, value := d.symbol(key[0]), d.symbol(key[1])
			if int64(max(key[0], key[1])) >= int64(max(1, len(d.symbols))) {
				continue // symbol has said so
			}
			l = newLabel(name, value)
			if len(d.shared) < maxShared {
				d.shared[key] = l
			}
		}
		d.label(l)
	}
}
