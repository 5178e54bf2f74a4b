// Package self is Midwatch's telemetry about itself: logs on standard output, metrics on the
// internal port, health for whoever supervises the process, and, only where their URLs are set,
// errors to a Sentry and traces and metrics to an OTLP endpoint.
package self

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/getsentry/sentry-go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.37.0"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// Config says what this process is and where its telemetry goes.
type Config struct {
	Service     string
	Version     string
	Environment string
	// LogFormat is text or json, LogLevel debug, info, warn or error.
	LogFormat, LogLevel string
	// SentryDSN and OTLPEndpoint are silent when empty. The exporters read the remaining OTEL_
	// variables by themselves.
	SentryDSN    string
	OTLPEndpoint string
}

// Self holds the process' telemetry. It is safe for concurrent use.
type Self struct {
	Log *slog.Logger

	registry *prometheus.Registry
	meters   *sdkmetric.MeterProvider
	traces   *sdktrace.TracerProvider // nil when silent
	sentry   *sentry.Hub              // nil when silent
	health   health
}

// Open prepares the telemetry; logs go to out.
func Open(ctx context.Context, cfg Config, out io.Writer) (*Self, error) {
	log, err := newLogger(cfg, out)
	if err != nil {
		return nil, err
	}
	s := &Self{Log: log, registry: prometheus.NewRegistry()}
	s.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	res := resource.NewSchemaless(
		semconv.ServiceName(cfg.Service),
		semconv.ServiceVersion(cfg.Version),
		semconv.DeploymentEnvironmentName(cfg.Environment),
	)
	exporter, err := otelprometheus.New(otelprometheus.WithRegisterer(s.registry), otelprometheus.WithoutScopeInfo())
	if err != nil {
		return nil, fmt.Errorf("open own metrics: %w", err)
	}
	options := []sdkmetric.Option{sdkmetric.WithReader(exporter), sdkmetric.WithResource(res)}
	if cfg.OTLPEndpoint != "" {
		push, err := otlpmetrichttp.New(ctx)
		if err != nil {
			return nil, fmt.Errorf("open the metric exporter to %s: %w", cfg.OTLPEndpoint, err)
		}
		options = append(options, sdkmetric.WithReader(sdkmetric.NewPeriodicReader(push)))
		spans, err := otlptracehttp.New(ctx)
		if err != nil {
			return nil, fmt.Errorf("open the trace exporter to %s: %w", cfg.OTLPEndpoint, err)
		}
		s.traces = sdktrace.NewTracerProvider(sdktrace.WithBatcher(spans), sdktrace.WithResource(res))
	}
	s.meters = sdkmetric.NewMeterProvider(options...)
	if cfg.SentryDSN != "" {
		client, err := sentry.NewClient(sentry.ClientOptions{
			Dsn: cfg.SentryDSN, Release: cfg.Version, Environment: cfg.Environment, ServerName: cfg.Service,
		})
		if err != nil {
			return nil, fmt.Errorf("open sentry: %w", err)
		}
		s.sentry = sentry.NewHub(client, sentry.NewScope())
	}
	return s, nil
}

func newLogger(cfg Config, out io.Writer) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.LogLevel)); err != nil {
		return nil, fmt.Errorf("log level %q: it is one of debug, info, warn, error", cfg.LogLevel)
	}
	options := &slog.HandlerOptions{Level: level}
	switch cfg.LogFormat {
	case "text":
		return slog.New(slog.NewTextHandler(out, options)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(out, options)), nil
	}
	return nil, fmt.Errorf("log format %q: it is text or json", cfg.LogFormat)
}

// Meter makes the instruments of a package.
func (s *Self) Meter(name string) metric.Meter { return s.meters.Meter(name) }

// Tracer makes the spans of a package; they go nowhere unless an OTLP endpoint is set.
func (s *Self) Tracer(name string) trace.Tracer {
	if s.traces == nil {
		return noop.NewTracerProvider().Tracer(name)
	}
	return s.traces.Tracer(name)
}

// Report sends an error that a person has to look at to Sentry, where one is set.
func (s *Self) Report(err error) {
	if s.sentry != nil {
		s.sentry.CaptureException(err)
	}
}

// Close sends what is still held; ctx bounds how long it may take.
func (s *Self) Close(ctx context.Context) error {
	errs := []error{s.meters.Shutdown(ctx)}
	if s.traces != nil {
		errs = append(errs, s.traces.Shutdown(ctx))
	}
	if s.sentry != nil {
		timeout := 2 * time.Second
		if at, ok := ctx.Deadline(); ok {
			timeout = min(timeout, time.Until(at))
		}
		s.sentry.Flush(timeout)
	}
	return errors.Join(errs...)
}
