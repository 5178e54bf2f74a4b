package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// collectorConfig is the collector as its documentation shows it: OTLP in, batches, ClickHouse out
// with the exporter's own tables.
const collectorConfig = `
receivers:
  otlp: { protocols: { http: { endpoint: %q, max_request_body_size: 33554432 } } }
processors:
  batch: {}
exporters:
  clickhouse: { endpoint: %q, database: otel, create_schema: true, ttl: 720h }
service:
  telemetry: { metrics: { level: none }, logs: { level: warn } }
  pipelines:
    logs: { receivers: [otlp], processors: [batch], exporters: [clickhouse] }
    metrics: { receivers: [otlp], processors: [batch], exporters: [clickhouse] }
`

// otelCollector measures the collector with an engine of its own, the same that Midwatch embeds.
func (b *bench) otelCollector(ctx context.Context, binary string, corpus *metricCorpus) error {
	lines, err := b.logLines()
	if err != nil {
		return err
	}
	e := encoder{b.gzip}
	fmt.Printf("  OpenTelemetry Collector %s with clickhouseexporter\n", collectorVersion)
	requests, err := e.otlpLogs(lines)
	if err != nil {
		return err
	}
	if err := b.throughCollector(ctx, binary, requests, "otel_logs", "logs_lines", "logs_bytes_per_line"); err != nil {
		return fmt.Errorf("collector: %w", err)
	}
	if requests, err = e.otlpMetrics(corpus); err != nil {
		return err
	}
	if err := b.throughCollector(ctx, binary, requests, "otel_metrics", "samples", "bytes_per_sample"); err != nil {
		return fmt.Errorf("collector: %w", err)
	}
	return nil
}

func (b *bench) throughCollector(ctx context.Context, binary string, requests []request, prefix, unit, bytesName string) (err error) {
	dir, err := os.MkdirTemp(b.work, "collector-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	s, err := startEngine(ctx, filepath.Join(dir, "clickhouse"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.halt()) }()
	port, err := freePort()
	if err != nil {
		return err
	}
	address := "127.0.0.1:" + strconv.Itoa(port)
	config := filepath.Join(dir, "config.yaml")
	if err := os.WriteFile(config, fmt.Appendf(nil, collectorConfig, address, s.URL()), 0o600); err != nil {
		return err
	}
	p, err := startProcess("collector", nil, binary, "--config", config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.kill()) }()
	if err := p.await(ctx, "its tables", patience, func() error {
		_, err := s.ask(ctx, "SELECT count() FROM otel.otel_logs")
		return err
	}); err != nil {
		return err
	}
	roots := []int{p.cmd.Process.Pid, s.PID()}
	if _, err := settleCPU(ctx, b.quiet, roots...); err != nil {
		return err
	}
	before := look(roots...)
	out, err := send(ctx, "http://"+address, requests, connections, false)
	if err != nil {
		return p.fault(err)
	}
	n := records(requests)
	after, err := settle(ctx, b.quiet, func() (string, bool, error) {
		stored, err := s.stored(ctx, prefix)
		if err != nil {
			return "", false, err
		}
		parts, busy, err := engineParts(filepath.Join(dir, "clickhouse"))
		return fmt.Sprintf("%d of %d records; %s", stored, n, parts), stored >= int64(n) && !busy, err
	}, roots...)
	if err != nil {
		return p.fault(err)
	}
	b.report("otel_collector_", unit, n, after.cpu-before.cpu, out, memoryOfAll("VmHWM", roots...))
	fmt.Printf("    of it the collector %.2f CPU s and the engine %.2f, quiet after %s\n", (after.own - before.own).Seconds(),
		(after.cpu - before.cpu - after.own + before.own).Seconds(), after.at.Sub(before.at).Round(time.Second/10))
	b.set("otel_collector_"+unit+"_peak_rss_mb", memoryOfAll("VmHWM", roots...))
	stored, err := s.stored(ctx, prefix)
	if err != nil {
		return err
	}
	if stored != int64(n) {
		b.note("the OpenTelemetry Collector was sent %d %s and has stored %d: its exporter repeats what takes too long", n, unit, stored)
	}
	u, err := s.usage(ctx, "otel", prefix, n)
	if err != nil {
		return err
	}
	b.set("otel_collector_"+bytesName, float64(u.asLeft)/float64(n))
	b.set("otel_collector_"+bytesName+"_merged", float64(u.merged)/float64(n))
	return nil
}

// stored is the number of rows in the exporter's tables of a signal.
func (s *server) stored(ctx context.Context, prefix string) (sum int64, err error) {
	tables, err := s.tables(ctx, "otel")
	if err != nil {
		return 0, err
	}
	for _, t := range tables {
		if t.name == prefix || len(prefix) < len(t.name) && t.name[:len(prefix)+1] == prefix+"_" && t.name != prefix+"_trace_id_ts" {
			sum += t.rows
		}
	}
	return sum, nil
}
