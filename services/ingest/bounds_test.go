package ingest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	collogspb "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	colmetricspb "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/midwatch/midwatch/proto/telemetrypb"
	"github.com/midwatch/midwatch/storage/bus"
)

func TestALongSeriesIsPublishedInSeveralFrames(t *testing.T) {
	t.Parallel()
	e := newEdge(t, edgeConfig{})
	const n = 300_000
	start := uint64(time.Now().Add(-time.Hour).UnixNano())
	gauge := new(metricspb.Gauge)
	for i := range uint64(n) {
		gauge.DataPoints = append(gauge.DataPoints, &metricspb.NumberDataPoint{TimeUnixNano: start + i*1e6, Value: &metricspb.NumberDataPoint_AsInt{AsInt: 1}})
	}
	body := marshal(t, &colmetricspb.ExportMetricsServiceRequest{ResourceMetrics: []*metricspb.ResourceMetrics{{ScopeMetrics: []*metricspb.ScopeMetrics{{
		Metrics: []*metricspb.Metric{{Name: "g", Data: &metricspb.Metric_Gauge{Gauge: gauge}}},
	}}}}})
	if got := e.post(t, "/v1/metrics", body, "Content-Type", mimeProtobuf); got.status != 200 || got.body != "" {
		t.Fatalf("%d %q", got.status, got.body)
	}
	samples, frames := 0, e.storedMetrics(t)
	for _, m := range frames {
		for _, s := range m.Series {
			samples += len(s.Values)
		}
	}
	if samples != n || len(frames) < 2 {
		t.Errorf("%d samples in %d frames", samples, len(frames))
	}
}

// TestARepetitionThatIsCutElsewhereLosesNothing repeats a request, of which a part was stored, when
// its oldest records are accepted no more.
func TestARepetitionThatIsCutElsewhereLosesNothing(t *testing.T) {
	t.Parallel()
	e := newEdge(t, edgeConfig{})
	group := &telemetrypb.LogGroup{}
	for i := range 900 {
		group.Records = append(group.Records, &telemetrypb.LogRecord{Time: uint64(i + 1), Body: fmt.Sprintf("record %d %s", i, strings.Repeat("x", 1000))})
	}
	id := uniqueID()
	// Of the first try the first frame was stored, and the next one was not.
	p := e.packer(bus.Logs, e.project.Number, e.project.Retention.Logs, cutOf(id, len(group.Records)))
	p.openGroup(func(b []byte) []byte { return appendLogGroup(b, group) })
	for _, r := range group.Records[:450] {
		p.item = appendLogRecord(p.item[:0], r)
		if err := p.add(t.Context(), fieldGroupRecords); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.flush(t.Context()); err != nil || p.sent != 1 {
		t.Fatal(p.sent, err)
	}
	group.Records = group.Records[100:]
	if err := e.publishLogs(t.Context(), e.project, id, []*telemetrypb.LogGroup{group}); err != nil {
		t.Fatal(err)
	}
	times := map[string]int{}
	for _, body := range e.bodies(t) {
		times[body]++
	}
	for _, r := range group.Records {
		if times[r.Body] == 0 {
			t.Fatalf("%.12s… was acknowledged and is lost", r.Body)
		}
	}
}

func TestARecordThatFitsNoMessageIsNotToBeSentAgain(t *testing.T) {
	t.Parallel()
	e := newEdge(t, edgeConfig{})
	groups := []*telemetrypb.LogGroup{{Records: []*telemetrypb.LogRecord{{Body: strings.Repeat("x", bus.MaxMessageBytes)}}}}
	if err := e.publishLogs(t.Context(), e.project, uniqueID(), groups); !errors.Is(err, errTooLarge) {
		t.Error(err)
	}
}

// invoke sends bytes as they are over gRPC.
func (e *edge) invoke(t *testing.T, key string, body []byte) error {
	t.Helper()
	// Bytes as a field that no request has go out as they are.
	req := new(collogspb.ExportLogsServiceRequest)
	req.ProtoReflect().SetUnknown(body)
	ctx := metadata.AppendToOutgoingContext(context.Background(), "authorization", "Bearer "+key)
	return e.conn.Invoke(ctx, collogspb.LogsService_Export_FullMethodName, req, new(collogspb.ExportLogsServiceResponse))
}

func TestAWrongKeyOverGRPCIsRefusedBeforeTheMessageIsDecoded(t *testing.T) {
	t.Parallel()
	e := newEdge(t, edgeConfig{})
	garbage := protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), []byte{0xff})
	if err := e.invoke(t, "unknown-key", garbage); status.Code(err) != codes.Unauthenticated {
		t.Error(err)
	}
	if err := e.invoke(t, edgeKey, garbage); status.Code(err) != codes.InvalidArgument {
		t.Error(err)
	}
}

func TestARequestOfTooManyPartsIsRefused(t *testing.T) {
	t.Parallel()
	e := newEdge(t, edgeConfig{})
	body := []byte(strings.Repeat("\x0a\x00", 2<<20))
	if got := e.post(t, "/v1/logs", body, "Content-Type", mimeProtobuf); got.status != 413 || !strings.Contains(got.body, "too many parts") {
		t.Errorf("%d %q", got.status, got.body)
	}
	if err := e.invoke(t, edgeKey, body); status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "too many parts") {
		t.Error(err)
	}
}

// TestSizeOfAFrameDoesNotDependOnTheRetention holds for the logs of a request that is repeated after
// its project has chosen again.
func TestSizeOfAFrameDoesNotDependOnTheRetention(t *testing.T) {
	t.Parallel()
	e := newEdge(t, edgeConfig{})
	if a, b := e.packer(bus.Logs, 1, 30, "id").size(), e.packer(bus.Logs, 1, 400, "id").size(); a != b {
		t.Errorf("a frame begins with %d bytes, and with %d if it is kept for longer", a, b)
	}
}
