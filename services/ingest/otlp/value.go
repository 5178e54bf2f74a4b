package otlp

import (
	"encoding/base64"
	"math"
	"strconv"
	"unicode/utf8"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"

	"github.com/midwatch/midwatch/services/ingest/record"
)

// tooDeep stands for what is nested deeper than record.MaxDepth.
const tooDeep = "…[nested too deep]"

// flatten puts a value under a key into the open list; the members of maps get keys with dots.
func flatten(l *record.Lists, key string, v *commonpb.AnyValue, depth int) {
	if kvs := v.GetKvlistValue(); kvs != nil && len(kvs.Values) > 0 {
		if depth <= 0 {
			l.Set(key, tooDeep)
			return
		}
		for _, kv := range kvs.Values {
			flatten(l, join(key, kv.Key), kv.Value, depth-1)
		}
		return
	}
	if v == nil || v.Value == nil {
		return // a null says nothing
	}
	l.Set(key, text(v, depth))
}

func join(prefix, key string) string {
	if prefix == "" {
		return key
	}
	if len(prefix) > record.MaxKeyBytes {
		return prefix // it is cut there anyway; and so nested long keys cannot multiply
	}
	return prefix + "." + key
}

// text writes a value as text: maps and arrays as JSON, bytes as base64.
func text(v *commonpb.AnyValue, depth int) string {
	switch v := v.GetValue().(type) {
	case *commonpb.AnyValue_StringValue:
		return v.StringValue
	case *commonpb.AnyValue_BoolValue:
		return strconv.FormatBool(v.BoolValue)
	case *commonpb.AnyValue_IntValue:
		return strconv.FormatInt(v.IntValue, 10)
	case *commonpb.AnyValue_DoubleValue:
		return formatFloat(v.DoubleValue)
	case *commonpb.AnyValue_BytesValue:
		return base64.StdEncoding.EncodeToString(v.BytesValue)
	case nil:
		return ""
	}
	return string(appendJSON(nil, v, depth))
}

// formatFloat writes the shortest text that reads back as v, without an exponent where a person
// would not use one.
func formatFloat(v float64) string {
	if a := math.Abs(v); a != 0 && (a < 1e-6 || a >= 1e21) {
		return strconv.FormatFloat(v, 'g', -1, 64)
	}
	return strconv.FormatFloat(v, 'f', -1, 64)
}

// appendJSON writes a value as JSON.
func appendJSON(b []byte, v *commonpb.AnyValue, depth int) []byte {
	switch v := v.GetValue().(type) {
	case *commonpb.AnyValue_StringValue:
		return appendQuoted(b, v.StringValue)
	case *commonpb.AnyValue_BoolValue:
		return strconv.AppendBool(b, v.BoolValue)
	case *commonpb.AnyValue_IntValue:
		return strconv.AppendInt(b, v.IntValue, 10)
	case *commonpb.AnyValue_DoubleValue:
		if math.IsNaN(v.DoubleValue) || math.IsInf(v.DoubleValue, 0) {
			return appendQuoted(b, formatFloat(v.DoubleValue))
		}
		return append(b, formatFloat(v.DoubleValue)...)
	case *commonpb.AnyValue_BytesValue:
		return appendQuoted(b, base64.StdEncoding.EncodeToString(v.BytesValue))
	case *commonpb.AnyValue_ArrayValue:
		if depth <= 0 {
			return appendQuoted(b, tooDeep)
		}
		b = append(b, '[')
		for i, e := range v.ArrayValue.GetValues() {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendJSON(b, e, depth-1)
		}
		return append(b, ']')
	case *commonpb.AnyValue_KvlistValue:
		if depth <= 0 {
			return appendQuoted(b, tooDeep)
		}
		b = append(b, '{')
		for i, kv := range v.KvlistValue.GetValues() {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendQuoted(b, kv.Key)
			b = append(b, ':')
			b = appendJSON(b, kv.Value, depth-1)
		}
		return append(b, '}')
	}
	return append(b, "null"...)
}

// appendQuoted writes a JSON string. Unlike encoding/json it leaves <, > and & as they are: this
// is read by people.
func appendQuoted(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf || c >= 0x20 && c != '"' && c != '\\' {
			i++
			continue
		}
		b = append(b, s[from:i]...)
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		case '\r':
			b = append(b, '\\', 'r')
		case '\t':
			b = append(b, '\\', 't')
		default:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
		i++
		from = i
	}
	return append(append(b, s[from:]...), '"')
}
