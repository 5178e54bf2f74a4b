package ingest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/midwatch/midwatch/storage/bus"
)

// instruments are intake's own metrics. Their attributes have few values; none names a project.
type instruments struct {
	requestTotal  metric.Int64Counter
	bytesTotal    metric.Int64Counter
	acceptedTotal metric.Int64Counter
	rejectedTotal metric.Int64Counter
	duration      metric.Float64Histogram
}

func newInstruments(m metric.Meter) (instruments, error) {
	var i instruments
	var errs [5]error
	i.requestTotal, errs[0] = m.Int64Counter("midwatch.ingest.requests", metric.WithUnit("{request}"), metric.WithDescription("Requests by signal, protocol and answer"))
	i.bytesTotal, errs[1] = m.Int64Counter("midwatch.ingest.io", metric.WithUnit("By"), metric.WithDescription("Bytes of request bodies after decompression"))
	i.acceptedTotal, errs[2] = m.Int64Counter("midwatch.ingest.accepted", metric.WithUnit("{record}"), metric.WithDescription("Records that are kept"))
	i.rejectedTotal, errs[3] = m.Int64Counter("midwatch.ingest.rejected", metric.WithUnit("{record}"), metric.WithDescription("Records that are not kept, by reason"))
	i.duration, errs[4] = m.Float64Histogram("midwatch.ingest.duration", metric.WithUnit("s"), metric.WithDescription("Time from a request's head to its answer"),
		metric.WithExplicitBucketBoundaries(.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10))
	if err := errors.Join(errs[:]...); err != nil {
		return instruments{}, fmt.Errorf("make ingest instruments: %w", err)
	}
	return i, nil
}

// request notes an answered request; code is the protocol's own.
func (i *instruments) request(ctx context.Context, signal bus.Signal, protocol, code string, bytes int64, took time.Duration) {
	by := metric.WithAttributeSet(attribute.NewSet(attribute.String("signal", string(signal)), attribute.String("protocol", protocol)))
	i.requestTotal.Add(ctx, 1, by, metric.WithAttributes(attribute.String("code", code)))
	i.bytesTotal.Add(ctx, bytes, by)
	i.duration.Record(ctx, took.Seconds(), by)
}

// accepted notes records that the bus has.
func (i *instruments) accepted(ctx context.Context, signal bus.Signal, protocol string, n int) {
	if n > 0 {
		i.acceptedTotal.Add(ctx, int64(n), metric.WithAttributes(attribute.String("signal", string(signal)), attribute.String("protocol", protocol)))
	}
}

// rejected notes records that are not kept. The reason is one of a few words of snake_case.
func (i *instruments) rejected(ctx context.Context, signal bus.Signal, protocol, reason string, n int) {
	if n > 0 {
		i.rejectedTotal.Add(ctx, int64(n), metric.WithAttributes(attribute.String("signal", string(signal)), attribute.String("protocol", protocol), attribute.String("reason", reason)))
	}
}
