package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	ingestKey = "0123456789abcdef0123456789abcdef"
	apiToken  = "mwt_bench_0123456789"
	patience  = 2 * time.Minute
)

// midwatch is one `midwatch up` with a data folder of its own.
type midwatch struct {
	*process
	dir                  string
	http, otlp, internal string // base URLs
	quiet                time.Duration
}

// up starts the binary with an empty data folder and waits until it is ready.
func (b *bench) up(ctx context.Context) (*midwatch, error) {
	dir, err := os.MkdirTemp(b.work, "midwatch-")
	if err != nil {
		return nil, fmt.Errorf("make a data folder: %w", err)
	}
	m := &midwatch{dir: dir, quiet: b.quiet}
	env := []string{
		"APP_ENV=production", "MIDWATCH_DATA_DIR=" + dir, "MIDWATCH_LISTEN_HOST=127.0.0.1",
		"MIDWATCH_INIT_EMAIL=ada@example.org", "MIDWATCH_INIT_PASSWORD=correct horse battery",
		"MIDWATCH_INIT_INGEST_KEY=" + ingestKey, "MIDWATCH_INIT_API_TOKEN=" + apiToken,
		// The parts that are measured are the embedded ones.
		"MIDWATCH_CLICKHOUSE_URL=", "MIDWATCH_NATS_URL=", "MIDWATCH_REDIS_URL=", "MIDWATCH_DATABASE_URL=",
		"SENTRY_DSN=", "OTEL_EXPORTER_OTLP_ENDPOINT=",
	}
	var grpc string
	for name, to := range map[string]*string{
		"MIDWATCH_HTTP_PORT": &m.http, "MIDWATCH_OTLP_HTTP_PORT": &m.otlp,
		"MIDWATCH_OTLP_GRPC_PORT": &grpc, "MIDWATCH_INTERNAL_PORT": &m.internal,
	} {
		port, err := freePort()
		if err != nil {
			return nil, err
		}
		env = append(env, name+"="+strconv.Itoa(port))
		*to = "http://127.0.0.1:" + strconv.Itoa(port)
	}
	if m.process, err = startProcess("midwatch", env, b.binary, "up"); err != nil {
		return nil, err
	}
	err = m.await(ctx, "readiness", patience, func() error {
		_, err := get(ctx, m.internal+"/readyz", "")
		return err
	})
	if err != nil {
		return nil, errors.Join(err, m.kill())
	}
	return m, nil
}

// get reads a URL.
func get(ctx context.Context, address, bearer string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s: %s", req.URL.Path, resp.Status, body)
	}
	return body, err
}

// counter reads one series of a page of Prometheus text; 0 when it is not there.
func counter(ctx context.Context, address, series string) (float64, error) {
	body, err := get(ctx, address, "")
	if err != nil {
		return 0, err
	}
	scanner := bufio.NewScanner(strings.NewReader(string(body)))
	for scanner.Scan() {
		if rest, ok := strings.CutPrefix(scanner.Text(), series+" "); ok {
			return strconv.ParseFloat(strings.TrimSpace(rest), 64)
		}
	}
	return 0, scanner.Err()
}

func (m *midwatch) pid() int { return m.cmd.Process.Pid }

// engine is where the embedded engine keeps its files.
func (m *midwatch) engine() string { return filepath.Join(m.dir, "clickhouse") }

// stored is how many records of a signal the writer has stored.
func (m *midwatch) stored(ctx context.Context, signal string) (int, error) {
	n, err := counter(ctx, m.internal+"/metrics", `midwatch_writer_rows_total{signal="`+signal+`"}`)
	return int(n), err
}

// settle waits until the buffer is drained and merges are done.
func (m *midwatch) settle(ctx context.Context, signal string, records int) (moment, error) {
	return settle(ctx, m.quiet, func() (string, bool, error) {
		n, err := m.stored(ctx, signal)
		if err != nil {
			return "", false, m.fault(err)
		}
		parts, busy, err := engineParts(m.engine())
		return fmt.Sprintf("%d of %d records; %s", n, records, parts), n >= records && !busy, err
	}, m.pid())
}

// api reads from the public API.
func (m *midwatch) api(ctx context.Context, path string, query url.Values, out any) error {
	body, err := get(ctx, m.http+"/api/v1/midwatch/projects/1"+path+"?"+query.Encode(), apiToken)
	if err != nil {
		return err
	}
	return json.Unmarshal(body, out)
}

// around is a range of time that holds every record.
func around(from, to time.Duration) url.Values {
	now := time.Now().UTC()
	return url.Values{"from": {now.Add(from).Format(time.RFC3339)}, "to": {now.Add(to).Format(time.RFC3339)}}
}

// countLogs asks the API how many log records there are.
func (m *midwatch) countLogs(ctx context.Context) (int, error) {
	var h struct{ Total int }
	err := m.api(ctx, "/logs/histogram", around(-29*day, time.Hour), &h)
	return h.Total, err
}
