package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// load is one kind of requests that one fresh Midwatch is given.
type load struct {
	name     string // of the printed line and of the profile
	signal   string // as the writer's counter has it
	tables   string // what the names of its tables begin with
	requests []request
	otlp     bool // to the port of OTLP/HTTP
	inOrder  bool
}

// outcome is what a load cost.
type outcome struct {
	records int
	cpu     time.Duration // of all processes, from before the first request until all is quiet
	ownCPU  time.Duration // the midwatch process' share of it
	drained time.Duration // from the first request until all is quiet
	sent    sent
	own     float64 // MB, the peak of the midwatch process
	all     float64 // MB, the sum of the peaks
	disk    usage
}

// usage is bytes on disk: as background merges left it, and merged into one part a partition.
type usage struct{ asLeft, merged int64 }

func (o outcome) perCPUSecond() float64 { return float64(o.records) / o.cpu.Seconds() }

func (o outcome) bytes() float64 { return float64(o.disk.asLeft) / float64(o.records) }

func (o outcome) bytesMerged() float64 { return float64(o.disk.merged) / float64(o.records) }

// measure gives a load to a fresh Midwatch.
func (b *bench) measure(ctx context.Context, l load) (o outcome, err error) {
	m, err := b.up(ctx)
	if err != nil {
		return o, err
	}
	defer func() { err = errors.Join(err, m.kill(), os.RemoveAll(m.dir)) }()
	if _, err := settleCPU(ctx, b.quiet, m.pid()); err != nil {
		return o, err
	}
	base := m.http
	if l.otlp {
		base = m.otlp
	}
	profiled := b.startProfile(ctx, m, l.name)
	before := look(m.pid())
	o.records = records(l.requests)
	if o.sent, err = send(ctx, base, l.requests, connections, l.inOrder); err != nil {
		return o, m.fault(err)
	}
	after, err := m.settle(ctx, l.signal, o.records)
	if err != nil {
		return o, err
	}
	o.cpu, o.ownCPU, o.drained = after.cpu-before.cpu, after.own-before.own, after.at.Sub(before.at)
	o.own, o.all = memory(m.pid(), "VmHWM"), memoryOfAll("VmHWM", m.pid())
	if err := <-profiled; err != nil {
		return o, err
	}
	if l.signal == "logs" {
		n, err := m.countLogs(ctx)
		if err != nil {
			return o, err
		}
		if n != o.records {
			return o, fmt.Errorf("%d records were sent and acknowledged, the API counts %d", o.records, n)
		}
	}
	fmt.Printf("  %s: %d records in %d requests, %.2f CPU s (midwatch %.2f), %.0f records per CPU s, acknowledged in p50 %.1f ms p99 %.1f ms, quiet after %.1f s, peak %.0f MB and engine %.0f MB, told to come back %d times\n",
		l.name, o.records, len(l.requests), o.cpu.Seconds(), o.ownCPU.Seconds(), o.perCPUSecond(), quantile(o.sent.acks, .5), quantile(o.sent.acks, .99),
		o.drained.Seconds(), o.own, o.all-o.own, o.sent.retried)
	// The engine shuts out strangers while it is Midwatch's: look at what it has left. What is
	// stored survives this, by Midwatch's promise.
	if err := m.kill(); err != nil {
		return o, err
	}
	o.disk, err = diskUsage(ctx, m.engine(), "midwatch", l.tables, o.records)
	return o, err
}

// diskUsage opens the folder of an engine that was stopped.
func diskUsage(ctx context.Context, dir, database, prefix string, records int) (u usage, err error) {
	s, err := startEngine(ctx, dir)
	if err != nil {
		return u, err
	}
	defer func() { err = errors.Join(err, s.halt()) }()
	return s.usage(ctx, database, prefix, records)
}

// usage sums the tables whose names begin with prefix, before and after merging them.
func (s *server) usage(ctx context.Context, database, prefix string, records int) (u usage, err error) {
	for _, step := range []struct {
		name string
		to   *int64
	}{{"as left", &u.asLeft}, {"merged", &u.merged}} {
		tables, err := s.tables(ctx, database)
		if err != nil {
			return u, err
		}
		if step.name == "merged" {
			if err := s.merge(ctx, database, tables); err != nil {
				return u, err
			}
			if tables, err = s.tables(ctx, database); err != nil {
				return u, err
			}
		}
		for _, t := range tables {
			if !strings.HasPrefix(t.name, prefix) {
				continue
			}
			*step.to += t.bytes
			columns, err := s.columns(ctx, database, t.name, records)
			if err != nil {
				return u, err
			}
			fmt.Printf("    %s, %s: %d rows in %d parts, %.2f bytes a record (%s)\n", t.name, step.name, t.rows, t.parts, float64(t.bytes)/float64(records), columns)
		}
	}
	return u, nil
}

// startProfile takes a CPU profile of the midwatch process while a load runs.
func (b *bench) startProfile(ctx context.Context, m *midwatch, name string) <-chan error {
	done := make(chan error, 1)
	if b.profile == "" {
		done <- nil
		return done
	}
	seconds := 30
	if b.small {
		seconds = 8
	}
	go func() {
		body, err := get(ctx, fmt.Sprintf("%s/debug/pprof/profile?seconds=%d", m.internal, seconds), "")
		if err == nil {
			err = os.WriteFile(filepath.Join(b.profile, strings.ReplaceAll(name, " ", "-")+".pprof"), body, 0o644)
		}
		done <- err
	}()
	return done
}

// setAcks sets how long answers took.
func (b *bench) setAcks(prefix string, s sent) {
	b.set(prefix+"ack_p50_ms", quantile(s.acks, .5))
	b.set(prefix+"ack_p99_ms", quantile(s.acks, .99))
	b.set(prefix+"requests_per_second", float64(len(s.acks))/s.took.Seconds())
}

func (b *bench) setPeaks(prefix string, o outcome) {
	b.set(prefix+"peak_rss_mb", o.all)
	b.set(prefix+"peak_own_rss_mb", o.own)
}

// logs measures JSON lines in large and small bodies, and the same lines as OTLP.
func logs(ctx context.Context, b *bench) error {
	lines, err := b.logLines()
	if err != nil {
		return err
	}
	e := encoder{b.gzip}
	requests, err := e.jsonLogs(lines, linesPerBody)
	if err != nil {
		return err
	}
	o, err := b.measure(ctx, load{name: "logs", signal: "logs", tables: "log", requests: requests})
	if err != nil {
		return err
	}
	b.set("logs_lines_per_cpu_second", o.perCPUSecond())
	b.set("logs_lines_per_second", float64(o.records)/o.drained.Seconds())
	b.set("logs_bytes_per_line", o.bytes())
	b.set("logs_bytes_per_line_merged", o.bytesMerged())
	b.setAcks("logs_", o.sent)
	b.setPeaks("logs_", o)

	if requests, err = e.jsonLogs(lines[:len(lines)/5], 100); err != nil {
		return err
	}
	if o, err = b.measure(ctx, load{name: "logs of 100 lines", signal: "logs", tables: "log", requests: requests}); err != nil {
		return err
	}
	b.set("small_logs_lines_per_cpu_second", o.perCPUSecond())
	b.setAcks("small_logs_", o.sent)

	if requests, err = e.otlpLogs(lines); err != nil {
		return err
	}
	if o, err = b.measure(ctx, load{name: "logs by OTLP", signal: "logs", tables: "log", requests: requests, otlp: true}); err != nil {
		return err
	}
	b.set("otlp_logs_lines_per_cpu_second", o.perCPUSecond())
	b.set("otlp_logs_bytes_per_line", o.bytes())
	b.set("otlp_logs_bytes_per_line_merged", o.bytesMerged())
	b.setAcks("otlp_logs_", o.sent)
	b.setPeaks("otlp_logs_", o)
	return nil
}

// metrics measures samples by OTLP and by remote write.
func metrics(ctx context.Context, b *bench) error {
	corpus, err := b.metricSamples()
	if err != nil {
		return err
	}
	requests, err := encoder{b.gzip}.otlpMetrics(corpus)
	if err != nil {
		return err
	}
	o, err := b.measure(ctx, load{name: "metrics by OTLP", signal: "metrics", tables: "metric", requests: requests, otlp: true})
	if err != nil {
		return err
	}
	b.set("samples_per_cpu_second", o.perCPUSecond())
	b.set("bytes_per_sample", o.bytes())
	b.set("bytes_per_sample_merged", o.bytesMerged())
	b.setAcks("otlp_metrics_", o.sent)
	b.setPeaks("otlp_metrics_", o)

	o, err = b.measure(ctx, load{name: "metrics by remote write", signal: "metrics", tables: "metric", requests: corpus.remoteWrite(connections), inOrder: true})
	if err != nil {
		return err
	}
	b.set("remote_write_samples_per_cpu_second", o.perCPUSecond())
	b.set("remote_write_bytes_per_sample", o.bytes())
	b.set("remote_write_bytes_per_sample_merged", o.bytesMerged())
	b.setAcks("remote_write_", o.sent)
	b.setPeaks("remote_write_", o)
	return nil
}

// errorEvents measures Sentry envelopes.
func errorEvents(ctx context.Context, b *bench) error {
	requests, err := envelopes(b.envelopes, time.Now())
	if err != nil {
		return err
	}
	o, err := b.measure(ctx, load{name: "errors", signal: "errors", tables: "error", requests: requests})
	if err != nil {
		return err
	}
	b.set("envelopes_per_second_per_core", o.perCPUSecond())
	b.set("errors_bytes_per_event", o.bytes())
	b.set("errors_bytes_per_event_merged", o.bytesMerged())
	b.setAcks("errors_", o.sent)
	b.setPeaks("errors_", o)
	return nil
}

// idle measures what a Midwatch takes that nobody has sent anything to.
func idle(ctx context.Context, b *bench) (err error) {
	m, err := b.up(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.kill(), os.RemoveAll(m.dir)) }()
	if _, err := settle(ctx, b.quiet, func() (string, bool, error) {
		return fmt.Sprintf("%.0f MB", memoryOfAll("VmRSS", m.pid())/4), true, nil // within 4 MB
	}, m.pid()); err != nil {
		return err
	}
	before := look(m.pid())
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(b.quiet):
	}
	after := look(m.pid())
	b.set("idle_rss_mb", memoryOfAll("VmRSS", m.pid()))
	b.set("idle_own_rss_mb", memory(m.pid(), "VmRSS"))
	b.set("idle_cpu_percent", 100*(after.cpu-before.cpu).Seconds()/after.at.Sub(before.at).Seconds())
	fmt.Printf("  all %.0f MB, midwatch %.0f MB, %.1f %% of a core\n", b.values["idle_rss_mb"], b.values["idle_own_rss_mb"], b.values["idle_cpu_percent"])
	return nil
}

// curve measures requests of one line from more and more clients.
func curve(ctx context.Context, b *bench) (err error) {
	lines, err := b.logLines()
	if err != nil {
		return err
	}
	lasting := 5 * time.Second
	if b.small {
		lasting = time.Second
	}
	m, err := b.up(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.kill(), os.RemoveAll(m.dir)) }()
	next := 0
	for _, clients := range []int{1, 8, 64, 512} {
		first := next
		s, err := swarm(ctx, m.http, func(n int) request {
			// Without a name of its own a line that comes again would be taken for a repetition.
			return request{path: "/v1/ingest/logs", body: lines[(first+n)%len(lines)], records: 1, headers: map[string]string{
				"Content-Type": "application/x-ndjson", "Authorization": "Bearer " + ingestKey, "Idempotency-Key": strconv.Itoa(first + n),
			}}
		}, clients, lasting)
		if err != nil {
			return m.fault(err)
		}
		next += len(s.acks)
		prefix := fmt.Sprintf("curve_%d_", clients)
		b.setAcks(prefix, s)
		fmt.Printf("  %d clients: %.0f requests/s, p50 %.2f ms, p99 %.2f ms, told to come back %d times\n",
			clients, b.values[prefix+"requests_per_second"], b.values[prefix+"ack_p50_ms"], b.values[prefix+"ack_p99_ms"], s.retried)
	}
	return b.busCurve(ctx)
}

// freshness measures how long a record takes until the API has it, at half of the load of logs
// that was taken just before.
func freshness(ctx context.Context, b *bench) (err error) {
	lines, err := b.logLines()
	if err != nil {
		return err
	}
	const perBody = 500
	marks := 60
	burst := lines[:len(lines)/5]
	if b.small {
		marks = 10
		burst = lines[:len(lines)/2]
	}
	m, err := b.up(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.kill(), os.RemoveAll(m.dir)) }()
	e := encoder{b.gzip}
	requests, err := e.jsonLogs(burst, perBody)
	if err != nil {
		return err
	}
	began := time.Now()
	if _, err := send(ctx, m.http, requests, connections, false); err != nil {
		return m.fault(err)
	}
	if err := m.await(ctx, "the burst", patience, func() error {
		n, err := m.stored(ctx, "logs")
		if err == nil && n < len(burst) {
			err = fmt.Errorf("%d of %d lines", n, len(burst))
		}
		return err
	}); err != nil {
		return err
	}
	most := float64(len(burst)) / time.Since(began).Seconds()

	// The load goes on until the last mark is seen.
	loading, stopLoad := context.WithCancel(ctx)
	loaded := make(chan error, 1)
	var sentLines int
	began = time.Now()
	go func() {
		loaded <- paced(loading, m.http, requests, time.Duration(perBody/(most/2)*float64(time.Second)), &sentLines)
	}()
	var took []time.Duration
	for n := range marks {
		one, err := m.seen(ctx, fmt.Sprintf("mark%dx%d", time.Now().UnixNano(), n))
		if err != nil {
			stopLoad()
			return errors.Join(err, <-loaded)
		}
		took = append(took, one)
	}
	stopLoad()
	if err := <-loaded; err != nil {
		return m.fault(err)
	}
	rate := float64(sentLines) / time.Since(began).Seconds()
	b.set("freshness_p50_ms", quantile(took, .5))
	b.set("freshness_p99_ms", quantile(took, .99))
	b.set("freshness_lines_per_second", rate)
	fmt.Printf("  %d marks at %.0f lines/s (the most was %.0f): p50 %.0f ms, p99 %.0f ms\n", marks, rate, most, b.values["freshness_p50_ms"], b.values["freshness_p99_ms"])
	return nil
}

// paced sends the requests over and over, one each interval, until ctx ends.
func paced(ctx context.Context, base string, requests []request, interval time.Duration, lines *int) (err error) {
	c := client(connections)
	defer c.CloseIdleConnections()
	results := make(chan error, connections)
	flying := 0
	defer func() {
		for ; flying > 0; flying-- {
			err = errors.Join(err, <-results)
		}
	}()
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		r := requests[n%len(requests)]
		named := map[string]string{"Idempotency-Key": "paced-" + strconv.Itoa(n)}
		maps.Copy(named, r.headers)
		r.headers = named
		if flying == connections {
			flying--
			if err := <-results; err != nil {
				return err
			}
		}
		flying++
		*lines += r.records
		go func() {
			_, err := deliver(context.WithoutCancel(ctx), c, base, r)
			results <- err
		}()
	}
}

// seen sends a record with a word of its own and asks the API until it has it.
func (m *midwatch) seen(ctx context.Context, word string) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	began := time.Now()
	r, err := encoder{}.request("/v1/ingest/logs", "application/json", []byte(`{"level":"info","service":"bench","message":"`+word+`"}`), 1)
	if err != nil {
		return 0, err
	}
	if _, err := deliver(ctx, http.DefaultClient, m.http, r); err != nil {
		return 0, err
	}
	for {
		query := around(-time.Minute, time.Minute)
		query.Set("q", word)
		query.Set("limit", "1")
		var page struct{ Rows []struct{ Body string } }
		if err := m.api(ctx, "/logs", query, &page); err != nil {
			return 0, err
		}
		if len(page.Rows) > 0 {
			return time.Since(began), nil
		}
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("%s does not appear: %w", word, io.ErrUnexpectedEOF)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
