package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"time"

	"github.com/klauspost/compress/snappy"
	collectorlogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	collectormetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

const (
	mimeProtobuf = "application/x-protobuf"

	linesPerBody   = 5000 // as VictoriaLogs was measured
	pointsPerBody  = 8192 // the collector's batch
	samplesPerBody = 2000 // what Prometheus puts into a request at most
)

// encoder makes requests; with gzip it compresses bodies that have no compression of their own.
type encoder struct{ gzip bool }

func (e encoder) request(path, contentType string, body []byte, records int) (request, error) {
	r := request{path: path, body: body, records: records, headers: map[string]string{
		"Content-Type": contentType, "Authorization": "Bearer " + ingestKey,
	}}
	if e.gzip {
		var err error
		if r.body, err = compress(body); err != nil {
			return r, err
		}
		r.headers["Content-Encoding"] = "gzip"
	}
	return r, nil
}

// jsonLogs cuts lines into bodies. They lie one behind the other in memory, so nothing is copied.
func (e encoder) jsonLogs(lines [][]byte, perBody int) ([]request, error) {
	var out []request
	for first := 0; first < len(lines); first += perBody {
		chunk := lines[first:min(first+perBody, len(lines))]
		r, err := e.request("/v1/ingest/logs", "application/x-ndjson", bytes.Join(chunk, nil), len(chunk))
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

// line is a line of the corpus of logs.
type line struct {
	Time     string `json:"_time"`
	Message  string `json:"_msg"`
	Level    string `json:"level"`
	Service  string `json:"service"`
	Host     string `json:"host"`
	Status   int64  `json:"status"`
	Duration int64  `json:"duration_ms"`
	Trace    string `json:"trace_id"`
	User     int64  `json:"user_id"`
	Region   string `json:"region"`
	Version  string `json:"version"`
}

var severities = map[string]logspb.SeverityNumber{
	"info": logspb.SeverityNumber_SEVERITY_NUMBER_INFO, "warn": logspb.SeverityNumber_SEVERITY_NUMBER_WARN,
	"error": logspb.SeverityNumber_SEVERITY_NUMBER_ERROR,
}

func text(key, value string) *commonpb.KeyValue {
	return &commonpb.KeyValue{Key: key, Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: value}}}
}

func number(key string, value int64) *commonpb.KeyValue {
	return &commonpb.KeyValue{Key: key, Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_IntValue{IntValue: value}}}
}

// otlpLogs says the same lines in OTLP, grouped by service and host as a collector's batch is.
func (e encoder) otlpLogs(lines [][]byte) ([]request, error) {
	var out []request
	for first := 0; first < len(lines); first += linesPerBody {
		chunk := lines[first:min(first+linesPerBody, len(lines))]
		message := &collectorlogs.ExportLogsServiceRequest{}
		scopes := map[[2]string]*logspb.ScopeLogs{}
		for _, raw := range chunk {
			var l line
			if err := json.Unmarshal(raw, &l); err != nil {
				return nil, fmt.Errorf("read a line of the logs: %w", err)
			}
			at, err := time.Parse(timeForm, l.Time)
			if err != nil {
				return nil, fmt.Errorf("read a line of the logs: %w", err)
			}
			trace, err := hex.DecodeString(l.Trace)
			if err != nil {
				return nil, fmt.Errorf("read a line of the logs: %w", err)
			}
			scope := scopes[[2]string{l.Service, l.Host}]
			if scope == nil {
				scope = &logspb.ScopeLogs{}
				scopes[[2]string{l.Service, l.Host}] = scope
				message.ResourceLogs = append(message.ResourceLogs, &logspb.ResourceLogs{
					Resource:  &resourcepb.Resource{Attributes: []*commonpb.KeyValue{text("service.name", l.Service), text("host.name", l.Host)}},
					ScopeLogs: []*logspb.ScopeLogs{scope},
				})
			}
			scope.LogRecords = append(scope.LogRecords, &logspb.LogRecord{
				TimeUnixNano: uint64(at.UnixNano()), ObservedTimeUnixNano: uint64(at.UnixNano()),
				SeverityNumber: severities[l.Level], SeverityText: l.Level, TraceId: trace,
				Body: &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: l.Message}},
				Attributes: []*commonpb.KeyValue{
					number("status", l.Status), number("duration_ms", l.Duration), number("user_id", l.User),
					text("region", l.Region), text("version", l.Version),
				},
			})
		}
		body, err := proto.Marshal(message)
		if err != nil {
			return nil, fmt.Errorf("encode OTLP: %w", err)
		}
		r, err := e.request("/v1/logs", mimeProtobuf, body, len(chunk))
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

// otlpMetrics makes requests as a collector's batch processor does: what several rounds of
// scraping brought, one resource after the other for each round.
func (e encoder) otlpMetrics(c *metricCorpus) ([]request, error) {
	rounds := 0
	for _, s := range c.series {
		rounds = max(rounds, len(s.samples))
	}
	perBody := max(1, pointsPerBody/len(c.series)) // rounds
	var out []request
	for first := 0; first < rounds; first += perBody {
		message := &collectormetrics.ExportMetricsServiceRequest{}
		points := 0
		for round := first; round < min(first+perBody, rounds); round++ {
			points += c.addRound(message, round)
		}
		body, err := proto.Marshal(message)
		if err != nil {
			return nil, fmt.Errorf("encode OTLP: %w", err)
		}
		r, err := e.request("/v1/metrics", mimeProtobuf, body, points)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

// addRound adds the sample of each series with an index. The labels service and host are of the
// resource, the rest of the point.
func (c *metricCorpus) addRound(message *collectormetrics.ExportMetricsServiceRequest, round int) (points int) {
	type place struct{ service, host string }
	type named struct {
		place
		name string
	}
	scopes := map[place]*metricspb.ScopeMetrics{}
	byName := map[named]*metricspb.Metric{}
	for _, s := range c.series {
		if round >= len(s.samples) {
			continue
		}
		var at place
		var rest []*commonpb.KeyValue
		for _, l := range s.labels {
			switch l.name {
			case "service":
				at.service = l.value
			case "host":
				at.host = l.value
			default:
				rest = append(rest, text(l.name, l.value))
			}
		}
		scope := scopes[at]
		if scope == nil {
			scope = &metricspb.ScopeMetrics{Scope: &commonpb.InstrumentationScope{Name: "bench"}}
			scopes[at] = scope
			message.ResourceMetrics = append(message.ResourceMetrics, &metricspb.ResourceMetrics{
				Resource:     &resourcepb.Resource{Attributes: []*commonpb.KeyValue{text("service.name", at.service), text("host.name", at.host)}},
				ScopeMetrics: []*metricspb.ScopeMetrics{scope},
			})
		}
		metric := byName[named{at, s.name}]
		if metric == nil {
			metric = &metricspb.Metric{Name: s.name}
			if s.counter {
				metric.Data = &metricspb.Metric_Sum{Sum: &metricspb.Sum{
					IsMonotonic: true, AggregationTemporality: metricspb.AggregationTemporality_AGGREGATION_TEMPORALITY_CUMULATIVE,
				}}
			} else {
				metric.Data = &metricspb.Metric_Gauge{Gauge: &metricspb.Gauge{}}
			}
			byName[named{at, s.name}] = metric
			scope.Metrics = append(scope.Metrics, metric)
		}
		one := s.samples[round]
		point := &metricspb.NumberDataPoint{Attributes: rest, TimeUnixNano: uint64(one.at) * 1e6, Value: &metricspb.NumberDataPoint_AsDouble{AsDouble: one.value}}
		if s.counter {
			point.StartTimeUnixNano = uint64(s.samples[0].at) * 1e6
			metric.GetSum().DataPoints = append(metric.GetSum().DataPoints, point)
		} else {
			metric.GetGauge().DataPoints = append(metric.GetGauge().DataPoints, point)
		}
		points++
	}
	return points
}

// remoteWrite makes requests of remote write 1.0 as Prometheus does: the series are dealt out to
// as many shards as there are connections, a request has some rounds of one shard, and each sample
// is a time series with all its labels. Sent in waves, the samples of a series stay in order.
func (c *metricCorpus) remoteWrite(shards int) []request {
	rounds := 0
	for _, s := range c.series {
		rounds = max(rounds, len(s.samples))
	}
	perShard := (len(c.series) + shards - 1) / shards
	perBody := max(1, samplesPerBody/perShard) // rounds
	labels := make([][]byte, len(c.series))
	for i, s := range c.series {
		labels[i] = appendLabel(nil, "__name__", s.name)
		for _, l := range s.labels {
			labels[i] = appendLabel(labels[i], l.name, l.value)
		}
	}
	var out []request
	for first := 0; first < rounds; first += perBody {
		for shard := 0; shard < len(c.series); shard += perShard {
			var body, one []byte
			samples := 0
			for round := first; round < min(first+perBody, rounds); round++ {
				for i := shard; i < min(shard+perShard, len(c.series)); i++ {
					if round >= len(c.series[i].samples) {
						continue
					}
					one = append(one[:0], labels[i]...)
					one = appendSample(one, c.series[i].samples[round])
					body = protowire.AppendTag(body, 1, protowire.BytesType)
					body = protowire.AppendBytes(body, one)
					samples++
				}
			}
			out = append(out, request{path: "/api/v1/write", body: snappy.Encode(nil, body), records: samples, headers: map[string]string{
				"Content-Type": mimeProtobuf, "Content-Encoding": "snappy", "X-Prometheus-Remote-Write-Version": "0.1.0",
				"Authorization": "Bearer " + ingestKey,
			}})
		}
	}
	return out
}

// appendLabel appends field 1 of a TimeSeries.
func appendLabel(b []byte, name, value string) []byte {
	var l []byte
	l = protowire.AppendTag(l, 1, protowire.BytesType)
	l = protowire.AppendString(l, name)
	l = protowire.AppendTag(l, 2, protowire.BytesType)
	l = protowire.AppendString(l, value)
	b = protowire.AppendTag(b, 1, protowire.BytesType)
	return protowire.AppendBytes(b, l)
}

// appendSample appends field 2 of a TimeSeries.
func appendSample(b []byte, one sample) []byte {
	var s []byte
	s = protowire.AppendTag(s, 1, protowire.Fixed64Type)
	s = protowire.AppendFixed64(s, math.Float64bits(one.value))
	s = protowire.AppendTag(s, 2, protowire.VarintType)
	s = protowire.AppendVarint(s, uint64(one.at))
	b = protowire.AppendTag(b, 2, protowire.BytesType)
	return protowire.AppendBytes(b, s)
}

func records(requests []request) (sum int) {
	for _, r := range requests {
		sum += r.records
	}
	return sum
}
