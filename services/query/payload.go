package query

import (
	"bytes"
	"encoding/json"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"
)

// The senders of events follow Sentry's format loosely: a list may come bare, wrapped in an object or as its only
// element, a number as text, anything as null. These functions read a decoded value as what was meant and answer with
// nothing where nothing can be meant. They expect numbers as json.Number.

// decodeObject reads data as a JSON object; anything else gives an empty one.
func decodeObject(data []byte) map[string]any {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber() // the payload is shown as it was kept, so identifiers of 64 bits must not pass through a float
	var m map[string]any
	if err := d.Decode(&m); err != nil || m == nil {
		return map[string]any{}
	}
	return m
}

// object returns v if it is an object that says something, else nil.
func object(v any) map[string]any {
	m, _ := v.(map[string]any)
	if len(m) == 0 {
		return nil
	}
	return m
}

// list returns the elements of a list in any of its shapes: [a, b], {"values": [a, b]}, or a alone.
func list(v any) []any {
	switch v := v.(type) {
	case []any:
		return v
	case map[string]any:
		values, ok := v["values"]
		if !ok {
			return []any{v}
		}
		l, _ := values.([]any)
		return l
	}
	return nil
}

// text returns v as text: strings as they are, other scalars in their JSON spelling, structures as compact JSON.
func text(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case json.Number:
		return v.String()
	case bool:
		return strconv.FormatBool(v)
	}
	b, err := json.Marshal(v)
	if err != nil {
		return "" // cannot be: v was decoded from JSON
	}
	return string(b)
}

// firstText returns the text of the first of the keys that has one.
func firstText(m map[string]any, keys ...string) string {
	for _, k := range keys {
		if s := text(m[k]); s != "" {
			return s
		}
	}
	return ""
}

// integer returns v as a whole number that every client of the API can read.
func integer(v any) (int, bool) {
	f, ok := float(v)
	if !ok || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
		return 0, false
	}
	return int(f), true
}

func float(v any) (float64, bool) {
	var s string
	switch v := v.(type) {
	case json.Number:
		s = v.String()
	case string:
		s = v
	default:
		return 0, false
	}
	f, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		return 0, false
	}
	return f, true
}

// truth returns v as a boolean.
func truth(v any) (value, ok bool) {
	switch v := v.(type) {
	case bool:
		return v, true
	case json.Number:
		f, ok := float(v)
		return f != 0, ok
	}
	return false, false
}

// timeLayouts are the spellings of time that senders use beside numbers; one without a zone is UTC.
var timeLayouts = []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999", "2006-01-02T15:04:05.999999999Z0700"}

// moment reads a time: seconds since 1970 with their fraction (or milliseconds, recognised by their size), or text.
func moment(v any) (time.Time, bool) {
	var s string
	switch v := v.(type) {
	case json.Number:
		s = v.String()
	case string:
		s = strings.TrimSpace(v)
	default:
		return time.Time{}, false
	}
	if t, ok := unixTime(s); ok {
		return t, true
	}
	for _, layout := range timeLayouts {
		if t, err := time.Parse(layout, s); err == nil && t.Year() >= 1970 && t.Year() < 2200 {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}

// unixTime reads a decimal number of seconds. It goes through a fraction, since a float has no place for nanoseconds.
func unixTime(s string) (time.Time, bool) {
	if len(s) > 40 {
		return time.Time{}, false
	}
	f, err := strconv.ParseFloat(s, 64)
	const latest = 7_258_118_400 // the year 2200
	if err != nil || !(f >= 1 && f < latest*1000) {
		return time.Time{}, false
	}
	r, ok := new(big.Rat).SetString(s)
	if !ok {
		return time.Time{}, false
	}
	scale := int64(time.Second)
	if f >= latest {
		scale = int64(time.Millisecond)
	}
	r.Mul(r, new(big.Rat).SetInt64(scale))
	ns := new(big.Int).Quo(r.Num(), r.Denom())
	return time.Unix(0, ns.Int64()).UTC(), true
}
