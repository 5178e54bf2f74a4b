package otlp

import (
	"encoding/base64"
	"encoding/hex"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	collogspb "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	colmetricspb "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

func TestUnmarshalJSONTakesWhatClientsSend(t *testing.T) {
	t.Parallel()
	const ids = `{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"traceId":"5B8EFFF798038103D269B633813FC60C","spanId":"eee19b7ec3c1b174"}]}]}]}`
	logs := new(collogspb.ExportLogsServiceRequest)
	if err := UnmarshalJSON(ids, logs); err != nil {
		t.Fatal(err)
	}
	r := logs.ResourceLogs[0].ScopeLogs[0].LogRecords[0]
	if hex.EncodeToString(r.TraceId) != "5b8efff798038103d269b633813fc60c" || hex.EncodeToString(r.SpanId) != "eee19b7ec3c1b174" {
		t.Errorf("ids %x %x", r.TraceId, r.SpanId)
	}

	// The same request in different words.
	want := new(colmetricspb.ExportMetricsServiceRequest)
	if err := UnmarshalJSON(`{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"m","sum":{"aggregationTemporality":2,"isMonotonic":true,"dataPoints":[{"timeUnixNano":"1795255200000000000","asInt":"3","attributes":[{"key":"b","value":{"bytesValue":"_-8="}}]}]}}]}]}]}`, want); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		`{"resource_metrics":[{"scope_metrics":[{"metrics":[{"name":"m","sum":{"aggregation_temporality":"AGGREGATION_TEMPORALITY_CUMULATIVE","is_monotonic":true,"data_points":[{"time_unix_nano":1795255200000000000,"as_int":3,"attributes":[{"key":"b","value":{"bytes_value":"/+8"}}]}]}}]}]}]}`,
		` { "resourceMetrics" : [ { "schemaUrl":null, "new":{"x":[1,{"y":"z"}]}, "scopeMetrics":[{"metrics":[{"unit":"","name":"m","sum":{"aggregationTemporality":"2","isMonotonic":true,"dataPoints":[{"timeUnixNano":"1795255200000000000","asInt":3.0,"attributes":[{"key":"b","value":{"bytesValue":"/+8="}}]}]}}]}]}] } `,
	} {
		got := new(colmetricspb.ExportMetricsServiceRequest)
		if err := UnmarshalJSON(text, got); err != nil || !proto.Equal(got, want) {
			t.Errorf("UnmarshalJSON(%s) = %v, %v, want %v", text, got, err, want)
		}
	}
}

func TestUnmarshalJSONSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		``:                                      `at byte 0: the text ends where an object is expected`,
		`[]`:                                    `at byte 0: '[' where an object is expected`,
		`{} x`:                                  `at byte 3: more text behind the request`,
		`{"resourceMetrics":{}}`:                `at byte 19: '{' where an array is expected`,
		`{"resourceMetrics":[{"schemaUrl":1}]}`: `at byte 33: schemaUrl: 1 is not a string`,
		`{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"gauge":{"dataPoints":[{"asInt":"x"}]}}]}]}]}`:   `at byte 82: asInt: "x" is not a whole number of this size`,
		`{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"gauge":{"dataPoints":[{"asDouble":{}}]}}]}]}]}`: `at byte 85: asDouble has a value of double`,
		`{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"gauge":{"dataPoints":[{"flags":-1}]}}]}]}]}`:    `at byte 82: flags: "-1" is out of range`,
		`{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"sum":{"isMonotonic":1}}]}]}]}`:                  `at byte 71: isMonotonic: "1" is neither true nor false`,
		`{"resourceMetrics":[`:                   `at byte 20: the text ends where an object is expected`,
		`{"a":` + strings.Repeat("[", 300) + `}`: `at byte 260: nested too deep`,
	} {
		err := UnmarshalJSON(text, new(colmetricspb.ExportMetricsServiceRequest))
		if err == nil || err.Error() != want {
			t.Errorf("UnmarshalJSON(%.100s) = %v, want %s", text, err, want)
		}
	}
	err := UnmarshalJSON(`{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"traceId":"W47/95gDgQPSabYzgT/GDA=="}]}]}]}`, new(collogspb.ExportLogsServiceRequest))
	if err == nil || !strings.Contains(err.Error(), "is not hexadecimal") {
		t.Errorf("base64 id: %v", err)
	}
}

var jsonSeeds = []string{
	`{"resourceLogs":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"api"}}]},"scopeLogs":[{"scope":{"name":"s","version":"1"},"logRecords":[{"timeUnixNano":"1795255200000000000","severityNumber":9,"severityText":"INFO","body":{"kvlistValue":{"values":[{"key":"a","value":{"intValue":"1"}},{"key":"b","value":{"arrayValue":{"values":[{"doubleValue":1.5},{"boolValue":true},{}]}}}]}},"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174"}]}]}]}`,
	`{"resourceMetrics":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"api"}}]},"scopeMetrics":[{"metrics":[{"name":"m","unit":"s","histogram":{"aggregationTemporality":2,"dataPoints":[{"timeUnixNano":"1795255200000000000","count":"2","sum":1.5,"bucketCounts":["1","1"],"explicitBounds":[1]}]}},{"name":"e","exponentialHistogram":{"aggregationTemporality":2,"dataPoints":[{"timeUnixNano":"1795255200000000000","count":"2","scale":3,"positive":{"offset":-2,"bucketCounts":["1","1"]}}]}},{"name":"q","summary":{"dataPoints":[{"timeUnixNano":"1795255200000000000","count":"2","quantileValues":[{"quantile":0.5,"value":"NaN"}]}]}}]}]}]}`,
	`{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"5b8efff798038103d269b633813fc60c","parentSpanId":"","name":"x","kind":2,"status":{"code":1}}]}]}]}`,
	`{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"g","gauge":{"dataPoints":[{"asDouble":-0.0,"flags":1}]}},{"name":"c","sum":{"isMonotonic":true,"aggregationTemporality":1,"dataPoints":[{"asInt":"5"}]}}]}]}]}`,
}

var idField = regexp.MustCompile(`"(traceId|spanId|parentSpanId)":\s*"([^"]*)"`)

// FuzzOTLPJSON: what is read can be written by protobuf's own encoder, its ids made hexadecimal,
// and read again to the same message; and no request makes the conversion panic.
func FuzzOTLPJSON(f *testing.F) {
	for _, seed := range jsonSeeds {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, m := range []proto.Message{new(collogspb.ExportLogsServiceRequest), new(colmetricspb.ExportMetricsServiceRequest), new(coltracepb.ExportTraceServiceRequest)} {
			if err := UnmarshalJSON(text, m); err != nil {
				continue
			}
			switch m := m.(type) {
			case *collogspb.ExportLogsServiceRequest:
				Logs(m, window())
			case *colmetricspb.ExportMetricsServiceRequest:
				set, _ := Metrics(m, window())
				set.Release()
			}
			b, err := protojson.Marshal(m)
			if err != nil {
				continue // strings that are not UTF-8 cannot get here; depth can
			}
			written := idField.ReplaceAllStringFunc(string(b), func(s string) string {
				parts := idField.FindStringSubmatch(s)
				id, err := base64.StdEncoding.DecodeString(parts[2])
				if err != nil {
					t.Fatal(err)
				}
				return `"` + parts[1] + `":"` + hex.EncodeToString(id) + `"`
			})
			again := m.ProtoReflect().New().Interface()
			if err := UnmarshalJSON(written, again); err != nil {
				t.Fatalf("UnmarshalJSON(%s) after %s: %v", written, text, err)
			}
			if !proto.Equal(m, again) {
				t.Fatalf("%s\nbecame %s", text, written)
			}
		}
	})
}

// FuzzOTLPProtobuf: no request makes the conversion panic, and what it gives adds up.
func FuzzOTLPProtobuf(f *testing.F) {
	for _, seed := range jsonSeeds {
		for _, m := range []proto.Message{new(collogspb.ExportLogsServiceRequest), new(colmetricspb.ExportMetricsServiceRequest)} {
			if err := UnmarshalJSON(seed, m); err != nil {
				f.Fatal(err)
			}
			b, err := proto.Marshal(m)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		logs := new(collogspb.ExportLogsServiceRequest)
		if proto.Unmarshal(b, logs) == nil {
			groups, r := Logs(logs, window())
			n := int(r.Count)
			for _, g := range groups {
				n += len(g.Records)
			}
			for _, rl := range logs.ResourceLogs {
				for _, sl := range rl.ScopeLogs {
					n -= len(sl.LogRecords)
				}
			}
			if n != 0 {
				t.Errorf("%d records more out than in", n)
			}
		}
		// The scanner of bytes and protobuf's own decoder take the same and make the same of it.
		metrics := new(colmetricspb.ExportMetricsServiceRequest)
		broken := proto.Unmarshal(b, metrics)
		set, r, err := DecodeMetrics(b, window())
		if (err == nil) != (broken == nil) {
			t.Fatalf("DecodeMetrics = %v, protobuf says %v", err, broken)
		}
		if err != nil {
			return
		}
		got := readSet(t, set)
		want, wantRejected := Metrics(metrics, window())
		if d := cmp.Diff(showMetrics(readSet(t, want), wantRejected), showMetrics(got, r)); d != "" {
			t.Errorf("-from structs +from bytes\n%s", d)
		}
		if d := cmp.Diff(wantRejected.ByReason, r.ByReason); d != "" {
			t.Errorf("-from structs +from bytes\n%s", d)
		}
		for _, m := range got {
			if m.Name == "" || len(m.Series) == 0 {
				t.Errorf("metric %v", m)
			}
			for _, s := range m.Series {
				for i, l := range s.Labels {
					if l.Key == "" || l.Value == "" || i > 0 && l.Key <= s.Labels[i-1].Key {
						t.Errorf("labels %s", showLabels(s.Labels))
					}
				}
			}
		}
	})
}
