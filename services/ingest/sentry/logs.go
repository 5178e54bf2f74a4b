package sentry

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/midwatch/midwatch/proto/telemetrypb"
	"github.com/midwatch/midwatch/services/ingest/record"
)

// maxLogRecords is how many records one container may hold.
const maxLogRecords = 10_000

// resourceNames are the attributes that describe the sender rather than the record, by the names
// that OpenTelemetry has for them.
var resourceNames = map[string]string{
	"sentry.environment": "deployment.environment.name",
	"sentry.release":     "service.version",
	"sentry.sdk.name":    "telemetry.sdk.name",
	"sentry.sdk.version": "telemetry.sdk.version",
	"server.address":     "host.name",
	"service.name":       "service.name",
	"service.namespace":  "service.namespace",
}

// Logs reads a container of logs, or a single one as JSON. rejected is how many records could not
// be read; they cost only themselves. An error wraps ErrMalformed or ErrTooLarge and concerns all.
func Logs(raw []byte, meta Meta) (groups []*telemetrypb.LogGroup, rejected int, err error) {
	if len(raw) > MaxLogsBytes {
		return nil, 0, fmt.Errorf("logs of %d bytes are %w: the limit is %d", len(raw), ErrTooLarge, MaxLogsBytes)
	}
	head, err := decodeObject(raw)
	if err != nil {
		return nil, 0, fmt.Errorf("logs: %w", err)
	}
	items, ok := head["items"].([]any)
	if !ok {
		items = []any{head}
	}
	if len(items) > maxLogRecords {
		rejected = len(items) - maxLogRecords
		items = items[:maxLogRecords]
	}
	byResource := map[string]*telemetrypb.LogGroup{}
	for _, item := range items {
		in := object(item)
		body := logText(in["body"], record.MaxBodyBytes)
		if in == nil || body == "" && in["attributes"] == nil {
			rejected++
			continue
		}
		resource, attributes := logAttributes(object(in["attributes"]))
		key := resourceKey(resource)
		group := byResource[key]
		if group == nil {
			group = &telemetrypb.LogGroup{Service: resource["service.name"], Resource: pairs(resource)}
			byResource[key] = group
			groups = append(groups, group)
		}
		received := uint64(meta.ReceivedAt.UnixNano())
		r := &telemetrypb.LogRecord{
			Time: received, ObservedTime: received,
			Severity: severity(in), SeverityText: cut(text(in["level"]), 64),
			Body: body, Attributes: pairs(attributes),
		}
		if t, ok := parseTime(in["timestamp"]); ok {
			t, _ = meta.at(t)
			r.Time = uint64(t.UnixNano())
		}
		if id, ok := ParseID(text(in["trace_id"])); ok {
			r.TraceId = id[:]
		}
		span := text(in["span_id"])
		if span == "" {
			span = attributes["sentry.trace.parent_span_id"]
		}
		if id, err := hex.DecodeString(span); err == nil && len(id) == 8 {
			r.SpanId = id
		}
		group.Records = append(group.Records, r)
	}
	return groups, rejected, nil
}

func logText(v any, limit int) string {
	switch v.(type) {
	case []any, map[string]any:
		b, err := json.Marshal(v)
		if err != nil {
			return "" // cannot be: it came from JSON
		}
		return record.Clip(cut(string(b), len(b)), limit)
	}
	return record.Clip(cut(text(v), 2*record.MaxBodyBytes), limit)
}

// severity is OpenTelemetry's number for a record's level.
func severity(in map[string]any) uint32 {
	if n, ok := integer(in["severity_number"]); ok && n >= 1 && n <= 24 {
		return uint32(n)
	}
	n, _ := record.Severity(text(in["level"]))
	return n
}

// logAttributes takes {"name": {"value": v, "type": t}} or {"name": v} apart.
func logAttributes(in map[string]any) (resource, attributes map[string]string) {
	resource, attributes = map[string]string{}, map[string]string{}
	for _, k := range keys(in, record.MaxAttributes) {
		v := in[k]
		if o := object(v); o != nil {
			if inner, ok := o["value"]; ok {
				v = inner
			}
		}
		if k == "" || v == nil {
			continue
		}
		value := logText(v, record.MaxValueBytes)
		if secretName(k) {
			value = filtered
		}
		name := cut(k, maxTagKey)
		if r, ok := resourceNames[k]; ok {
			resource[r] = value
			continue
		}
		attributes[name] = value
	}
	return resource, attributes
}

func resourceKey(resource map[string]string) string {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(resource)) {
		fmt.Fprintf(&b, "%q=%q;", k, resource[k])
	}
	return b.String()
}

func pairs(m map[string]string) []*telemetrypb.KeyValue {
	out := make([]*telemetrypb.KeyValue, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, &telemetrypb.KeyValue{Key: k, Value: m[k]})
	}
	return out
}
