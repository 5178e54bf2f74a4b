package sentry

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// The functions here read a decoded JSON value as what it should be, whatever it is.

// text is a scalar as text; "" for null, lists and objects.
func text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	case bool:
		return strconv.FormatBool(v)
	}
	return ""
}

// object is v if it is one, else nil.
func object(v any) map[string]any {
	o, _ := v.(map[string]any)
	return o
}

// list is a list, the values of {"values": …}, or the one object that v is.
func list(v any) []any {
	switch v := v.(type) {
	case []any:
		return v
	case map[string]any:
		if values, ok := v["values"]; ok {
			if values, ok := values.([]any); ok {
				return values
			}
			if values, ok := values.(map[string]any); ok {
				return []any{values}
			}
			return nil
		}
		if len(v) > 0 {
			return []any{v}
		}
	}
	return nil
}

// boolean is v if it is true or false, also as text.
func boolean(v any) (value, ok bool) {
	switch v := v.(type) {
	case bool:
		return v, true
	case string:
		switch strings.ToLower(v) {
		case "true", "yes":
			return true, true
		case "false", "no":
			return false, true
		}
	}
	return false, false
}

// integer is a whole number, also as text.
func integer(v any) (int64, bool) {
	s := strings.TrimSpace(text(v))
	if s == "" || len(s) > 40 {
		return 0, false
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return n, true
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || f != math.Trunc(f) || math.Abs(f) >= 1<<62 {
		return 0, false
	}
	return int64(f), true
}

// parseTime reads a time as seconds since 1970 or as RFC 3339, also without a zone (UTC) or with a
// space for the T. Times out of 1970 to 2200 are none.
func parseTime(v any) (time.Time, bool) {
	s := strings.TrimSpace(text(v))
	if s == "" || len(s) > 64 {
		return time.Time{}, false
	}
	t, ok := parseSeconds(s)
	if !ok {
		for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999Z07:00", "2006-01-02 15:04:05.999999999", "2006-01-02T15:04:05.999999999-0700"} {
			var err error
			if t, err = time.Parse(layout, s); err == nil {
				ok = true
				break
			}
		}
	}
	if !ok || t.Year() < 1970 || t.Year() > 2200 {
		return time.Time{}, false
	}
	return t.UTC(), true
}

// parseSeconds reads decimal seconds without the rounding of a float; numbers that could only be
// milliseconds are taken as such.
func parseSeconds(s string) (time.Time, bool) {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(f) || f < 0 || f > 1e13 {
		return time.Time{}, false
	}
	if f > 1e11 {
		return time.UnixMicro(int64(f * 1000)), true
	}
	whole, frac, _ := strings.Cut(s, ".")
	seconds, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || len(frac) > 9 {
		return time.UnixMicro(int64(math.Round(f * 1e6))), true
	}
	var nanos int64
	if frac != "" {
		nanos, err = strconv.ParseInt(frac+"000000000"[len(frac):], 10, 64)
		if err != nil || nanos < 0 {
			return time.UnixMicro(int64(math.Round(f * 1e6))), true
		}
	}
	return time.Unix(seconds, nanos), true
}

// cut shortens s to about limit bytes, at a rune, and marks that it did. NUL bytes, which
// PostgreSQL refuses, and broken UTF-8 become the replacement character.
func cut(s string, limit int) string {
	short := len(s) > limit
	if short {
		for limit > 0 && !utf8.RuneStart(s[limit]) {
			limit--
		}
		s = s[:limit]
	}
	s = strings.ToValidUTF8(s, "\uFFFD")
	if strings.IndexByte(s, 0) >= 0 {
		s = strings.ReplaceAll(s, "\x00", "\uFFFD")
	}
	if short {
		s += "…"
	}
	return s
}

// firstLine is the first line of s that says something.
func firstLine(s string) string {
	for line := range strings.SplitSeq(s, "\n") {
		if line = strings.TrimSpace(line); line != "" {
			return line
		}
	}
	return ""
}
