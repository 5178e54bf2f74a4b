package remotewrite

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/midwatch/midwatch/proto/telemetrypb"
	"github.com/midwatch/midwatch/services/ingest/protoscan"
	"github.com/midwatch/midwatch/services/ingest/record"
	"github.com/midwatch/midwatch/services/ingest/series"
)

// Decode reads a request, unpacked. Nothing that it returns refers to body; its owner releases it.
// An error means that the body is not such a message, and that nothing of it is to be kept.
func Decode(v Version, body []byte, w record.Window) (*Request, error) {
	c := newCollector(w)
	decode := c.decodeV1
	if v == V2 {
		decode = c.decodeV2
	}
	err := decode(body)
	out := c.end()
	if err != nil {
		out.Release()
		return nil, err
	}
	return out, nil
}

// The tags of fields: number and type together.
const (
	asVarint  = protoscan.Varint
	asFixed64 = protoscan.Fixed64
	asBytes   = protoscan.Bytes

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

// sample reads a sample of the series at hand; it is the same in both versions.
func (c *collector) sample(b []byte) error {
	var s series.Sample
	for len(b) > 0 {
		f, rest, err := protoscan.Next(b)
		if err != nil {
			return fmt.Errorf("sample: %w", err)
		}
		switch f.Tag {
		case sampleValue:
			// The bits of NaN stay as they are: one of them is the staleness marker.
			s.Value = math.Float64frombits(f.Number)
		case sampleTime:
			s.MS = int64(f.Number)
		}
		b = rest
	}
	c.samples = append(c.samples, s)
	return nil
}

// decodeV1 reads 1.0.
func (c *collector) decodeV1(body []byte) error {
	// Metadata stands behind the series that it is about, or in a request of its own. That one
	// leaves nothing to keep: kinds are stored with samples.
	err := protoscan.Each(body, func(f protoscan.Field) error {
		if f.Tag == v1Metadata {
			return c.family(f.Bytes)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for len(body) > 0 {
		f, rest, err := protoscan.Next(body)
		if err != nil {
			return err
		}
		if f.Tag == v1Series {
			if err := c.seriesV1(f.Bytes); err != nil {
				return err
			}
		}
		body = rest
	}
	return nil
}

func (c *collector) family(b []byte) error {
	var metricType uint64
	var family, help, unit []byte
	err := protoscan.Each(b, func(f protoscan.Field) error {
		switch f.Tag {
		case v1MetadataType:
			metricType = f.Number
		case v1MetadataFamily:
			family = f.Bytes
		case v1MetadataHelp:
			help = f.Bytes
		case v1MetadataUnit:
			unit = f.Bytes
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("metadata: %w", err)
	}
	if c.families == nil {
		c.families = map[string]metadata{}
	}
	c.families[string(family)] = newMetadata(metricType, unit, help)
	return nil
}

// about finds what is told of the family of a metric: in 1.0 by its name, in 2.0 by the series at
// hand.
func (c *collector) about(name string) metadata {
	if len(c.families) == 0 {
		return c.told
	}
	if m, ok := c.families[name]; ok {
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
		if m := c.families[family]; slices.Contains(of.kinds, m.kind) {
			return m
		}
	}
	return metadata{}
}

func (c *collector) seriesV1(b []byte) error {
	c.beginSeries()
	for len(b) > 0 {
		f, rest, err := protoscan.Next(b)
		if err == nil {
			switch f.Tag {
			case v1SeriesLabel:
				err = c.labelV1(f.Bytes)
			case v1SeriesSample:
				err = c.sample(f.Bytes)
			case v1SeriesHistogram:
				c.histograms++
			case v1SeriesExemplar:
				c.exemplars++
			}
		}
		if err != nil {
			return fmt.Errorf("series: %w", err)
		}
		b = rest
	}
	if len(c.samples)+c.histograms == 0 {
		c.out.dropExemplars(c.exemplars)
		return nil // there is nothing to keep, and nothing wrong with it
	}
	c.endSeries()
	return nil
}

func (c *collector) labelV1(b []byte) error {
	if c.count < len(c.memo) {
		if l := &c.memo[c.count]; l.ok && bytes.Equal(l.encoded, b) {
			c.count++
			c.labels = append(c.labels, &l.Label)
			return nil
		}
	}
	var name, value []byte
	for rest := b; len(rest) > 0; {
		f, more, err := protoscan.Next(rest)
		if err != nil {
			return fmt.Errorf("label: %w", err)
		}
		switch f.Tag {
		case v1LabelName:
			name = f.Bytes
		case v1LabelValue:
			value = f.Bytes
		}
		rest = more
	}
	if l := c.label(name, value); l != nil {
		l.encoded = b
	}
	return nil
}

// decodeV2 reads 2.0.
func (c *collector) decodeV2(body []byte) error {
	for rest := body; len(rest) > 0; {
		f, more, err := protoscan.Next(rest)
		if err != nil {
			return err
		}
		if f.Tag == v2Symbol {
			if len(c.symbols) == maxSymbols {
				return fmt.Errorf("there are more than %d symbols", maxSymbols)
			}
			c.symbols = append(c.symbols, f.Bytes)
		}
		rest = more
	}
	if len(c.symbols) > 0 && len(c.symbols[0]) > 0 {
		return errors.New("the first symbol is not empty")
	}
	for len(body) > 0 {
		f, rest, err := protoscan.Next(body)
		if err != nil {
			return err
		}
		if f.Tag == v2Series {
			if err := c.seriesV2(f.Bytes); err != nil {
				return err
			}
		}
		body = rest
	}
	return nil
}

func (c *collector) seriesV2(b []byte) error {
	c.beginSeries()
	c.refs, c.told = c.refs[:0], metadata{}
	for len(b) > 0 {
		f, rest, err := protoscan.Next(b)
		if err == nil {
			switch f.Tag {
			case v2SeriesRef:
				c.refs = append(c.refs, uint32(f.Number))
			case v2SeriesRefs:
				err = c.packed(f.Bytes)
			case v2SeriesSample:
				err = c.sample(f.Bytes)
			case v2SeriesHistogram:
				c.histograms++
			case v2SeriesExemplar:
				c.exemplars++
			case v2SeriesMetadata:
				err = c.metadata(f.Bytes)
			}
		}
		if err != nil {
			return fmt.Errorf("series: %w", err)
		}
		b = rest
	}
	c.resolve()
	if len(c.samples)+c.histograms == 0 {
		c.fail(errNoSamples)
	}
	c.endSeries()
	return nil
}

func (c *collector) packed(b []byte) error {
	for len(b) > 0 {
		ref, n := protowire.ConsumeVarint(b)
		if n < 0 {
			return fmt.Errorf("references: %w", protowire.ParseError(n))
		}
		c.refs = append(c.refs, uint32(ref))
		b = b[n:]
	}
	return nil
}

func (c *collector) metadata(b []byte) error {
	var metricType uint64
	var help, unit uint32
	for len(b) > 0 {
		f, rest, err := protoscan.Next(b)
		if err != nil {
			return fmt.Errorf("metadata: %w", err)
		}
		switch f.Tag {
		case v2MetadataType:
			metricType = f.Number
		case v2MetadataHelp:
			help = uint32(f.Number)
		case v2MetadataUnit:
			unit = uint32(f.Number)
		}
		b = rest
	}
	key := [3]uint64{metricType, uint64(help), uint64(unit)}
	if c.toldAs != key || !c.toldOnce {
		c.toldLast = newMetadata(metricType, c.symbol(unit), c.symbol(help))
		c.toldAs, c.toldOnce = key, max(int64(help), int64(unit)) < int64(len(c.symbols))
	}
	c.told = c.toldLast
	return nil
}

// symbol returns a symbol; the first, which is empty, need not be there.
func (c *collector) symbol(ref uint32) []byte {
	if int64(ref) < int64(len(c.symbols)) {
		return c.symbols[ref]
	}
	if ref > 0 {
		c.fail(refuse("bad_reference", "it refers to symbol %d of %d", ref, len(c.symbols)))
	}
	return nil
}

// resolve makes labels of references.
func (c *collector) resolve() {
	if len(c.refs)%2 != 0 {
		c.fail(errOddReferences)
	}
	for i := 0; i+1 < len(c.refs); i += 2 {
		refs := [2]uint32{c.refs[i], c.refs[i+1]}
		if c.count < len(c.memo) {
			if l := &c.memo[c.count]; l.ok && l.refs == refs {
				c.count++
				c.labels = append(c.labels, &l.Label)
				continue
			}
		}
		name, value := c.symbol(refs[0]), c.symbol(refs[1])
		if int64(max(refs[0], refs[1])) >= int64(max(1, len(c.symbols))) {
			c.count++ // symbol has said what is wrong with it
			continue
		}
		if l := c.label(name, value); l != nil {
			l.refs = refs
		} else if c.count > len(c.memo) {
			return
		}
	}
}
