package otlp

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/midwatch/midwatch/services/ingest/protoscan"
	"github.com/midwatch/midwatch/services/ingest/record"
	"github.com/midwatch/midwatch/services/ingest/series"
)

// The tags of fields: number and type together.
const (
	asVarint  = protoscan.Varint
	asFixed64 = protoscan.Fixed64
	asBytes   = protoscan.Bytes

	requestResources = 1<<3 | asBytes

	resourcesResource = 1<<3 | asBytes
	resourcesScopes   = 2<<3 | asBytes
	resourcesSchema   = 3<<3 | asBytes

	resourceAttributes = 1<<3 | asBytes
	resourceEntities   = 3<<3 | asBytes

	scopesScope   = 1<<3 | asBytes
	scopesMetrics = 2<<3 | asBytes
	scopesSchema  = 3<<3 | asBytes

	metricName        = 1<<3 | asBytes
	metricDescription = 2<<3 | asBytes
	metricUnit        = 3<<3 | asBytes
	metricGauge       = 5<<3 | asBytes
	metricSum         = 7<<3 | asBytes
	metricHistogram   = 9<<3 | asBytes
	metricExponential = 10<<3 | asBytes
	metricSummary     = 11<<3 | asBytes
	metricMetadata    = 12<<3 | asBytes

	dataPoints      = 1<<3 | asBytes
	dataTemporality = 2<<3 | asVarint
	dataMonotonic   = 3<<3 | asVarint

	pointTime       = 3<<3 | asFixed64
	pointDouble     = 4<<3 | asFixed64
	pointExemplars  = 5<<3 | asBytes
	pointInt        = 6<<3 | asFixed64
	pointAttributes = 7<<3 | asBytes
	pointFlags      = 8<<3 | asVarint

	keyValueKey   = 1<<3 | asBytes
	keyValueValue = 2<<3 | asBytes

	anyString   = 1<<3 | asBytes
	anyBool     = 2<<3 | asVarint
	anyInt      = 3<<3 | asVarint
	anyDouble   = 4<<3 | asFixed64
	anyArray    = 5<<3 | asBytes
	anyKvlist   = 6<<3 | asBytes
	anyBytes    = 7<<3 | asBytes
	anyStrindex = 8<<3 | asVarint
)

var errText = errors.New("a string is not UTF-8")

// DecodeMetrics is Metrics for a request in protobuf form. What there is most of, points of gauges
// and sums, is read without generated structs, which take several times as long as all else. An
// error means that body is not such a request, or wraps ErrTooManyMessages.
func DecodeMetrics(body []byte, w record.Window) (*series.Set, *Rejections, error) {
	c := newMetricConverter(w)
	err := c.request(body)
	set, rejections := c.end()
	if err != nil {
		set.Release()
		return nil, nil, err
	}
	return set, rejections, nil
}

// count takes messages from what the request may still have.
func (c *metricConverter) count(n int) error {
	if c.left -= n; c.left < 0 {
		return tooManyMessages()
	}
	return nil
}

// decode reads a message with its generated struct; it stands depth messages deep in the request.
func (c *metricConverter) decode(b []byte, m proto.Message, depth int) error {
	if scan(b, m.ProtoReflect().Descriptor(), &c.left, depth); c.left < 0 {
		return tooManyMessages()
	}
	return proto.UnmarshalOptions{RecursionLimit: maxNesting - depth}.Unmarshal(b, m)
}

func (c *metricConverter) request(b []byte) error {
	return protoscan.Each(b, func(f protoscan.Field) error {
		if f.Tag == requestResources {
			if err := c.resourceMetrics(f.Bytes); err != nil {
				return err
			}
		}
		return nil
	})
}

// resourceMetrics converts the metrics of a resource, which may stand behind them.
func (c *metricConverter) resourceMetrics(b []byte) error {
	if err := c.count(1); err != nil {
		return err
	}
	c.beginResource()
	if err := protoscan.Each(b, func(f protoscan.Field) error {
		switch f.Tag {
		case resourcesResource:
			if err := c.resource(f.Bytes); err != nil {
				return err
			}
		case resourcesSchema:
			if !utf8.Valid(f.Bytes) {
				return errText
			}
		}
		return nil
	}); err != nil {
		return err
	}
	c.endResource()
	if err := protoscan.Each(b, func(f protoscan.Field) error {
		if f.Tag == resourcesScopes {
			if err := c.scopeMetrics(f.Bytes); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return err
	}
	c.targetInfo()
	return nil
}

func (c *metricConverter) resource(b []byte) error {
	if err := c.count(1); err != nil {
		return err
	}
	return protoscan.Each(b, func(f protoscan.Field) error {
		switch f.Tag {
		case resourceAttributes:
			key, value, _, err := c.keyValue(f.Bytes, 3)
			if err != nil {
				return err
			}
			c.resourceAttribute(key, value)
		case resourceEntities:
			if err := c.count(1); err != nil {
				return err
			}
			if err := c.decode(f.Bytes, new(commonpb.EntityRef), 3); err != nil {
				return err
			}
		}
		return nil
	})
}

func (c *metricConverter) scopeMetrics(b []byte) error {
	if err := c.count(1); err != nil {
		return err
	}
	return protoscan.Each(b, func(f protoscan.Field) error {
		switch f.Tag {
		case scopesScope:
			// Nothing of it is kept; it has to be what it says it is.
			if err := c.count(1); err != nil {
				return err
			}
			if err := c.decode(f.Bytes, new(commonpb.InstrumentationScope), 3); err != nil {
				return err
			}
		case scopesMetrics:
			if err := c.scanMetric(f.Bytes); err != nil {
				return err
			}
		case scopesSchema:
			if !utf8.Valid(f.Bytes) {
				return errText
			}
		}
		return nil
	})
}

// scanMetric converts the points of a metric, whose fields come in any order.
func (c *metricConverter) scanMetric(b []byte) error {
	if err := c.count(1); err != nil {
		return err
	}
	var head metricHead
	var data protoscan.Field
	parts := 0
	for rest := b; len(rest) > 0; {
		f, more, err := protoscan.Next(rest)
		if err != nil {
			return err
		}
		var text *[]byte
		switch f.Tag {
		case metricName:
			text = &head.name
		case metricDescription:
			text = &head.description
		case metricUnit:
			text = &head.unit
		case metricGauge, metricSum, metricHistogram, metricExponential, metricSummary:
			data = f
			parts++
		case metricMetadata:
			// Nothing of it is kept.
			if _, _, _, err := c.keyValue(f.Bytes, 4); err != nil {
				return err
			}
		}
		if text != nil {
			if !utf8.Valid(f.Bytes) {
				return errText
			}
			*text = f.Bytes
		}
		rest = more
	}
	if parts > 1 {
		// The parts of protobuf's messages may come apart; no client writes them so.
		m := new(metricspb.Metric)
		if err := c.decode(b, m, 3); err != nil {
			return err
		}
		c.metric(m)
		return nil
	}
	if parts == 0 {
		return nil
	}
	if err := c.count(1); err != nil {
		return err
	}
	switch data.Tag {
	case metricGauge:
		return c.scanNumbers(head, data.Bytes, sumOf{gauge: true})
	case metricSum:
		return c.scanNumbers(head, data.Bytes, sumOf{})
	case metricHistogram:
		m := new(metricspb.Histogram)
		if err := c.decode(data.Bytes, m, 4); err != nil {
			return err
		}
		c.explicits(head, m)
	case metricExponential:
		m := new(metricspb.ExponentialHistogram)
		if err := c.decode(data.Bytes, m, 4); err != nil {
			return err
		}
		c.exponentials(head, m)
	case metricSummary:
		m := new(metricspb.Summary)
		if err := c.decode(data.Bytes, m, 4); err != nil {
			return err
		}
		c.summaries(head, m)
	}
	return nil
}

// scanNumbers converts the points of a gauge or a sum.
func (c *metricConverter) scanNumbers(head metricHead, b []byte, of sumOf) error {
	points := 0
	for rest := b; len(rest) > 0; {
		f, more, err := protoscan.Next(rest)
		if err != nil {
			return err
		}
		switch f.Tag {
		case dataPoints:
			points++
		case dataTemporality:
			of.temporality = metricspb.AggregationTemporality(f.Number)
		case dataMonotonic:
			of.monotonic = protowire.DecodeBool(f.Number)
		}
		rest = more
	}
	o, refused := c.numbers(head, points, of)
	if refused != nil {
		c.reject(points, head.name, refused)
	}
	for len(b) > 0 {
		f, rest, err := protoscan.Next(b)
		if err != nil {
			return err
		}
		if f.Tag == dataPoints {
			n, err := c.scanNumber(f.Bytes)
			if err != nil {
				return err
			}
			if refused == nil {
				c.rejectPoint(head, c.number(o, n))
			}
		}
		b = rest
	}
	return nil
}

// scanNumber reads a point; its attributes are at hand then.
func (c *metricConverter) scanNumber(b []byte) (n number, err error) {
	if err := c.count(1); err != nil {
		return n, err
	}
	c.beginPoint("")
	for len(b) > 0 {
		f, rest, err := protoscan.Next(b)
		if err != nil {
			return n, err
		}
		switch f.Tag {
		case pointTime:
			n.ns = f.Number
		case pointDouble:
			n.value, n.has = math.Float64frombits(f.Number), true
		case pointInt:
			n.value, n.has = float64(int64(f.Number)), true
		case pointFlags:
			n.flags = uint32(f.Number)
		case pointAttributes:
			if c.again(f.Bytes) {
				err = c.count(2) // it and its value
				break
			}
			key, value, plain, failed := c.keyValue(f.Bytes, 6)
			if failed != nil {
				return n, failed
			}
			raw := f.Bytes
			if !plain {
				raw = nil
			}
			c.pointAttribute(raw, key, value)
		case pointExemplars:
			if err = c.count(1); err == nil {
				err = c.decode(f.Bytes, new(metricspb.Exemplar), 6)
			}
		}
		if err != nil {
			return n, err
		}
		b = rest
	}
	return n, nil
}

// keyValue reads an attribute. The value is its text, valid until the next one. It is plain where
// it has two messages: itself and its value.
func (c *metricConverter) keyValue(b []byte, depth int) (key, value []byte, plain bool, err error) {
	if err := c.count(1); err != nil {
		return nil, nil, false, err
	}
	values := 0
	for rest := b; len(rest) > 0; {
		f, more, err := protoscan.Next(rest)
		if err != nil {
			return nil, nil, false, err
		}
		switch f.Tag {
		case keyValueKey:
			if !utf8.Valid(f.Bytes) {
				return nil, nil, false, errText
			}
			key = f.Bytes
		case keyValueValue:
			value = f.Bytes
			values++
		}
		rest = more
	}
	switch values {
	case 0:
		return key, nil, false, nil
	case 1:
		if err := c.count(1); err != nil {
			return nil, nil, false, err
		}
		value, plain, err = c.anyValue(value, depth+1)
		return key, value, plain, err
	}
	m := new(commonpb.KeyValue)
	if err := c.decode(b, m, depth); err != nil {
		return nil, nil, false, err
	}
	return key, []byte(text(m.GetValue(), record.MaxDepth)), false, nil
}

// anyValue is text for a value in protobuf form.
func (c *metricConverter) anyValue(b []byte, depth int) (value []byte, plain bool, err error) {
	to := c.valueText[:0]
	for rest := b; len(rest) > 0; {
		f, more, err := protoscan.Next(rest)
		if err != nil {
			return nil, false, err
		}
		switch f.Tag {
		case anyString:
			if !utf8.Valid(f.Bytes) {
				return nil, false, errText
			}
			value = f.Bytes
		case anyBool:
			to = strconv.AppendBool(to[:0], protowire.DecodeBool(f.Number))
			value = to
		case anyInt:
			to = strconv.AppendInt(to[:0], int64(f.Number), 10)
			value = to
		case anyDouble:
			to = append(to[:0], formatFloat(math.Float64frombits(f.Number))...)
			value = to
		case anyBytes:
			to = base64.StdEncoding.AppendEncode(to[:0], f.Bytes)
			value = to
		case anyArray, anyKvlist, anyStrindex:
			m := new(commonpb.AnyValue)
			if err := c.decode(b, m, depth); err != nil {
				return nil, false, err
			}
			return []byte(text(m, record.MaxDepth)), false, nil
		}
		rest = more
	}
	c.valueText = to
	return value, true, nil
}

func tooManyMessages() error {
	return fmt.Errorf("%w: more than %d messages within it, send smaller batches", ErrTooManyMessages, maxMessages)
}
