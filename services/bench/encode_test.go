package main

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/klauspost/compress/snappy"
	collectorlogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	collectormetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	"google.golang.org/protobuf/proto"

	"github.com/midwatch/midwatch/services/ingest/record"
	"github.com/midwatch/midwatch/services/ingest/remotewrite"
	"github.com/midwatch/midwatch/services/ingest/sentry"
)

func TestBodiesOfJSONLogsAreTheLines(t *testing.T) {
	text := madeLogs(t, 12)
	requests, err := encoder{}.jsonLogs(bytes.SplitAfter(text, []byte("\n"))[:12], 5)
	if err != nil {
		t.Fatal(err)
	}
	var all []byte
	for _, r := range requests {
		all = append(all, r.body...)
	}
	if len(requests) != 3 || records(requests) != 12 || !bytes.Equal(all, text) {
		t.Errorf("12 lines are %d requests with %d records", len(requests), records(requests))
	}
}

func TestLogsByOTLPSayWhatTheLinesSay(t *testing.T) {
	lines := bytes.SplitAfter(madeLogs(t, 50), []byte("\n"))[:50]
	requests, err := encoder{}.otlpLogs(lines)
	if err != nil {
		t.Fatal(err)
	}
	if len(requests) != 1 || records(requests) != 50 {
		t.Fatalf("50 lines are %d requests with %d records", len(requests), records(requests))
	}
	bodies := map[string]int{}
	for _, raw := range lines {
		var l line
		if err := json.Unmarshal(raw, &l); err != nil {
			t.Fatal(err)
		}
		bodies[l.Service+l.Host+l.Message]++
	}
	var message collectorlogs.ExportLogsServiceRequest
	if err := proto.Unmarshal(requests[0].body, &message); err != nil {
		t.Fatal(err)
	}
	for _, r := range message.GetResourceLogs() {
		attributes := r.GetResource().GetAttributes()
		for _, l := range r.GetScopeLogs()[0].GetLogRecords() {
			bodies[attributes[0].GetValue().GetStringValue()+attributes[1].GetValue().GetStringValue()+l.GetBody().GetStringValue()]--
			if len(l.GetTraceId()) != 16 {
				t.Errorf("a trace id of %d bytes", len(l.GetTraceId()))
			}
		}
	}
	for body, n := range bodies {
		if n != 0 {
			t.Errorf("%q is there %d times too few", body, n)
		}
	}
}

func TestMetricsByOTLPComeInRounds(t *testing.T) {
	c := readText(t, string(madeMetrics(t, 1000, 20)))
	requests, err := encoder{}.otlpMetrics(c)
	if err != nil {
		t.Fatal(err)
	}
	if len(requests) != 3 || requests[0].records != 8000 || records(requests) != c.count {
		t.Fatalf("20 rounds of 1000 series are %d requests, the first of %d points, %d in all", len(requests), requests[0].records, records(requests))
	}
	sum, points := 0.0, 0
	for _, r := range requests {
		var message collectormetrics.ExportMetricsServiceRequest
		if err := proto.Unmarshal(r.body, &message); err != nil {
			t.Fatal(err)
		}
		for _, resource := range message.GetResourceMetrics() {
			for _, m := range resource.GetScopeMetrics()[0].GetMetrics() {
				all := m.GetSum().GetDataPoints()
				if _, gauge := m.GetData().(*metricspb.Metric_Gauge); gauge {
					all = m.GetGauge().GetDataPoints()
				}
				for _, p := range all {
					sum += p.GetAsDouble()
					points++
				}
			}
		}
	}
	want := 0.0
	for _, s := range c.series {
		for _, one := range s.samples {
			want += one.value
		}
	}
	if points != c.count || sum-want > 1e-3 || want-sum > 1e-3 {
		t.Errorf("%d points with the sum %f, want %d with %f", points, sum, c.count, want)
	}
}

func TestRemoteWriteIsReadByIntake(t *testing.T) {
	c := readText(t, string(madeMetrics(t, 1000, 20)))
	now := time.Now()
	c.move(now)
	requests := c.remoteWrite(8)
	if requests[0].records != 2000 || records(requests) != c.count {
		t.Fatalf("the first request has %d samples, all have %d", requests[0].records, records(requests))
	}
	got := 0
	for _, r := range requests {
		body, err := snappy.Decode(nil, r.body)
		if err != nil {
			t.Fatal(err)
		}
		read, err := remotewrite.Decode(remotewrite.V1, body, record.NewWindow(now, 30))
		if err != nil {
			t.Fatal(err)
		}
		got += read.Samples()
		if read.Samples() != r.records {
			t.Errorf("%d of %d samples are read", read.Samples(), r.records)
		}
	}
	if got != c.count {
		t.Errorf("%d of %d samples are read", got, c.count)
	}
}

func TestEnvelopesAreThoseOfSomeHundredIssues(t *testing.T) {
	now := time.Now()
	const count = 3000
	requests, err := envelopes(count, now)
	if err != nil {
		t.Fatal(err)
	}
	again, err := envelopes(count, now)
	if err != nil {
		t.Fatal(err)
	}
	ids, issues := map[string]bool{}, map[uint64]bool{}
	normaliser := sentry.NewNormaliser()
	bytesOfAll := 0
	for i, r := range requests {
		if !bytes.Equal(r.body, again[i].body) {
			t.Fatalf("envelope %d is another one the second time", i)
		}
		bytesOfAll += len(r.body)
		env, err := sentry.ParseEnvelope(r.body)
		if err != nil {
			t.Fatal(err)
		}
		event, err := normaliser.Event(env.Items[0].Payload, sentry.Meta{Project: 1, ReceivedAt: now})
		if err != nil {
			t.Fatal(err)
		}
		ids[string(event.GetEventId())] = true
		issues[event.GetIssueId()] = true
	}
	if mean := bytesOfAll / count; mean < 7800 || mean > 8600 {
		t.Errorf("an envelope has %d bytes, want about 8192", mean)
	}
	if len(ids) != count {
		t.Errorf("%d envelopes have %d ids", count, len(ids))
	}
	if len(issues) < 200 || len(issues) > 400 {
		t.Errorf("the events are of %d issues, want about %d", len(issues), issueCount)
	}
}
