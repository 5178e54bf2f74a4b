package sentry

import (
	"encoding/hex"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestLogs(t *testing.T) {
	t.Parallel()
	groups, rejected, err := Logs([]byte(`{"version":2,"items":[
		{"timestamp":1793700672.5,"trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","level":"warn","body":"slow","severity_number":13,"attributes":{"n":{"value":17,"type":"integer"},"password":{"value":"x","type":"string"},"sentry.release":{"value":"r1","type":"string"},"sentry.environment":{"value":"prod","type":"string"}}},
		{"timestamp":"2026-11-03T10:11:12.123456789Z","span_id":"00f067aa0ba902b7","level":"error","body":"broken","attributes":{"service.name":{"value":"shop","type":"string"},"ok":{"value":true,"type":"boolean"},"list":{"value":[1,"a"],"type":"array"}}},
		{"level":"info","body":""}, null, 17,
		{"level":"fatal","body":{"a":1},"attributes":{"sentry.release":{"value":"r1"},"sentry.environment":"prod"}}]}`), testMeta())
	if err != nil {
		t.Fatal(err)
	}
	if rejected != 3 || len(groups) != 2 {
		t.Fatalf("%d groups, %d rejected", len(groups), rejected)
	}
	type row struct {
		Service, Body, Trace, Span string
		Severity                   uint32
		At                         time.Duration
		Resource, Attributes       map[string]string
	}
	var got []row
	for _, g := range groups {
		resource := map[string]string{}
		for _, kv := range g.Resource {
			resource[kv.Key] = kv.Value
		}
		for _, r := range g.Records {
			attributes := map[string]string{}
			for _, kv := range r.Attributes {
				attributes[kv.Key] = kv.Value
			}
			got = append(got, row{g.Service, r.Body, hex.EncodeToString(r.TraceId), hex.EncodeToString(r.SpanId), r.Severity, time.Unix(0, int64(r.Time)).Sub(received), resource, attributes})
		}
	}
	prod := map[string]string{"deployment.environment.name": "prod", "service.version": "r1"}
	want := []row{
		{"", "slow", "4bf92f3577b34da6a3ce929d0e0e4736", "", 13, -500 * time.Millisecond, prod, map[string]string{"n": "17", "password": filtered}},
		{"", `{"a":1}`, "", "", 21, 0, prod, map[string]string{}},
		{"shop", "broken", "", "00f067aa0ba902b7", 17, -876543211, map[string]string{"service.name": "shop"}, map[string]string{"ok": "true", "list": `[1,"a"]`}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("logs (-want +got):\n%s", diff)
	}
}

func TestLogsRefuses(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{"", "[]", `"x"`, `{"items":[`} {
		if _, _, err := Logs([]byte(raw), testMeta()); !errors.Is(err, ErrMalformed) {
			t.Errorf("Logs(%q): %v", raw, err)
		}
	}
	if _, _, err := Logs(make([]byte, MaxLogsBytes+1), testMeta()); !errors.Is(err, ErrTooLarge) {
		t.Errorf("large logs: %v", err)
	}
}
