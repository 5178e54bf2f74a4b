// Package e2e drives the built binary as its users do: real clients, the public API, a browser,
// and kill -9.
package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

const (
	email    = "ada@example.org"
	password = "correct horse battery"
	key      = "0123456789abcdef0123456789abcdef"
	token    = "mwt_e2e_0123456789"

	// patience bounds every wait for a condition; nothing is asserted about how long it took.
	patience = 60 * time.Second
)

// root is the checkout.
func root(t testing.TB) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// binary is the built program; `make test` builds it before.
func binary(t testing.TB) string {
	t.Helper()
	path := os.Getenv("MIDWATCH_BINARY")
	if path == "" {
		path = filepath.Join(root(t), ".bin", "midwatch")
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%v: run `make build` first", err)
	}
	return path
}

// server is one `midwatch` process.
type server struct {
	t      testing.TB
	args   []string
	env    []string
	cmd    *exec.Cmd
	exited chan error

	dir                          string
	http, otlp, grpc, internal   string // base URLs
	httpPort, otlpPort, grpcPort int
	internalPort                 int
	// patience bounds the waits for what it is to show; a test that breaks much sets more.
	patience time.Duration
	mu       sync.Mutex
	output   bytes.Buffer
}

func (s *server) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.output.Write(p)
}

func (s *server) log() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.output.String()
}

// nextPort walks through ports below those that the system gives to outgoing connections, from a
// place of this process' own: a port that is free now must still be free when a server takes it.
var nextPort = func() *atomic.Int64 {
	var n atomic.Int64
	n.Store(int64(10_000 + os.Getpid()%200*100))
	return &n
}()

// freePort is a loopback port that nobody listens on and that is given out once.
func freePort(t testing.TB) int {
	t.Helper()
	for range 1000 {
		port := int(nextPort.Add(1))
		l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
		if err == nil {
			l.Close()
			return port
		}
	}
	t.Fatal("there is no free port")
	return 0
}

// newServer prepares a process with ports of its own; start runs it.
func newServer(t testing.TB, args ...string) *server {
	t.Helper()
	s := &server{t: t, args: args, dir: t.TempDir(), patience: patience}
	s.httpPort, s.otlpPort, s.grpcPort, s.internalPort = freePort(t), freePort(t), freePort(t), freePort(t)
	at := func(port int) string { return "http://127.0.0.1:" + strconv.Itoa(port) }
	s.http, s.otlp, s.grpc, s.internal = at(s.httpPort), at(s.otlpPort), at(s.grpcPort), at(s.internalPort)
	s.env = append(os.Environ(),
		"APP_ENV=test",
		"MIDWATCH_DATA_DIR="+s.dir,
		"MIDWATCH_LISTEN_HOST=127.0.0.1",
		fmt.Sprintf("MIDWATCH_HTTP_PORT=%d", s.httpPort),
		fmt.Sprintf("MIDWATCH_OTLP_HTTP_PORT=%d", s.otlpPort),
		fmt.Sprintf("MIDWATCH_OTLP_GRPC_PORT=%d", s.grpcPort),
		fmt.Sprintf("MIDWATCH_INTERNAL_PORT=%d", s.internalPort),
		"MIDWATCH_INIT_EMAIL="+email,
		"MIDWATCH_INIT_PASSWORD="+password,
		"MIDWATCH_INIT_INGEST_KEY="+key,
		"MIDWATCH_INIT_API_TOKEN="+token,
	)
	t.Cleanup(func() {
		if s.cmd != nil {
			s.kill()
		}
		if t.Failed() {
			t.Logf("output of midwatch %s:\n%s", strings.Join(args, " "), tail(s.log(), 8000))
		}
	})
	return s
}

func tail(text string, n int) string { return text[max(0, len(text)-n):] }

// up starts `midwatch up` and waits until it is ready.
func up(t testing.TB) *server {
	t.Helper()
	s := newServer(t, "up")
	s.start()
	s.awaitReady()
	return s
}

func (s *server) start() {
	s.t.Helper()
	cmd := exec.Command(binary(s.t), s.args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = s.env, s, s
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait(); close(exited) }()
	s.cmd, s.exited = cmd, exited
}

func (s *server) awaitReady() {
	s.t.Helper()
	s.await("readiness", func() error {
		select {
		case err := <-s.exited:
			s.t.Fatalf("midwatch ended: %v", err)
		default:
		}
		return s.get(s.internal + "/readyz")
	})
}

// kill is kill -9.
func (s *server) kill() {
	_ = s.cmd.Process.Signal(syscall.SIGKILL) // it may be dead already
	if err := <-s.exited; err == nil {
		s.t.Log("midwatch had ended before it was killed")
	}
	s.cmd = nil
}

// terminate is a polite stop; the exit status has to be 0.
func (s *server) terminate() {
	s.t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Fatal(err)
	}
	if err := <-s.exited; err != nil {
		s.t.Fatalf("stop: %v", err)
	}
	s.cmd = nil
}

func (s *server) get(url string) error {
	resp, err := http.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s: %s", url, resp.Status, body)
	}
	return err
}

// enginePID finds the ClickHouse child: the process whose parent is the server.
func (s *server) enginePID() int {
	s.t.Helper()
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", s.cmd.Process.Pid, s.cmd.Process.Pid))
	if err == nil && len(bytes.Fields(children)) == 1 {
		pid, err := strconv.Atoi(string(bytes.Fields(children)[0]))
		if err == nil {
			return pid
		}
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		s.t.Fatal(err)
	}
	for _, e := range entries {
		stat, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue
		}
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if len(fields) > 1 && fields[1] == strconv.Itoa(s.cmd.Process.Pid) {
			pid, err := strconv.Atoi(e.Name())
			if err == nil {
				return pid
			}
		}
	}
	return 0
}

// await repeats a check until it passes.
func await(t testing.TB, what string, check func() error) {
	t.Helper()
	awaitFor(t, patience, what, check)
}

func (s *server) await(what string, check func() error) {
	s.t.Helper()
	awaitFor(s.t, s.patience, what, check)
}

func awaitFor(t testing.TB, limit time.Duration, what string, check func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: %v", what, err)
		case <-tick.C:
		}
	}
}

// api reads from the API into out with the token.
func (s *server) api(path string, query url.Values, out any) error {
	req, err := http.NewRequest(http.MethodGet, s.http+"/api/v1/midwatch"+path+"?"+query.Encode(), nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %s", path, resp.Status, body)
	}
	return json.Unmarshal(body, out)
}

// around is a range of a day around now, with further parameters as pairs.
func around(more ...string) url.Values {
	v := url.Values{
		"from": {time.Now().Add(-12 * time.Hour).UTC().Format(time.RFC3339)},
		"to":   {time.Now().Add(12 * time.Hour).UTC().Format(time.RFC3339)},
	}
	for i := 0; i+1 < len(more); i += 2 {
		v.Add(more[i], more[i+1])
	}
	return v
}

type logRow struct {
	Time       string
	Level      string
	Service    string
	Body       string
	Attributes map[string]string
	Resource   map[string]string
}

// awaitLog waits for one log record with these words.
func (s *server) awaitLog(words string) logRow {
	s.t.Helper()
	var row logRow
	s.await("log "+words, func() error {
		var page struct{ Rows []logRow }
		if err := s.api("/projects/1/logs", around("q", words), &page); err != nil {
			return err
		}
		if len(page.Rows) == 0 {
			return errors.New("not there")
		}
		row = page.Rows[0]
		return nil
	})
	return row
}

// countLogs is the number of log records with these words.
func (s *server) countLogs(words string) (int, error) {
	var h struct{ Total int }
	err := s.api("/projects/1/logs/histogram", around("q", words), &h)
	return h.Total, err
}

// awaitMetric waits until a metric has a point.
func (s *server) awaitMetric(name string) {
	s.t.Helper()
	s.await("metric "+name, func() error {
		var r struct {
			Series []struct{ Points []struct{ Value float64 } }
		}
		if err := s.api("/projects/1/metrics/"+name+"/range", around("aggregate", "last"), &r); err != nil {
			return err
		}
		if len(r.Series) == 0 || len(r.Series[0].Points) == 0 {
			return errors.New("no points")
		}
		return nil
	})
}

type issue struct {
	ID, Title, Type, Value, Level, Platform string
	Events                                  int
}

// awaitIssue waits for an issue whose title has these words.
func (s *server) awaitIssue(words string) issue {
	s.t.Helper()
	var found issue
	s.await("issue "+words, func() error {
		var list struct{ Issues []issue }
		if err := s.api("/projects/1/issues", around(), &list); err != nil {
			return err
		}
		for _, i := range list.Issues {
			if strings.Contains(i.Title, words) {
				found = i
				return nil
			}
		}
		return fmt.Errorf("not among %d issues", len(list.Issues))
	})
	return found
}

type monitor struct {
	Slug, UUID, Status string
	Recent             []struct {
		Status, Message, Source string
		DurationMS              int `json:"duration_ms"`
	}
}

// awaitMonitor waits until a monitor satisfies a condition.
func (s *server) awaitMonitor(slug string, ok func(monitor) bool) monitor {
	s.t.Helper()
	var found monitor
	s.await("monitor "+slug, func() error {
		var list struct{ Monitors []monitor }
		if err := s.api("/projects/1/monitors", around(), &list); err != nil {
			return err
		}
		for _, m := range list.Monitors {
			if m.Slug == slug && ok(m) {
				found = m
				return nil
			}
		}
		return fmt.Errorf("not as expected: %+v", list.Monitors)
	})
	return found
}

// post sends a body with the ingest key and returns status, headers and answer.
func (s *server) post(url, contentType string, body []byte, headers ...string) (int, http.Header, string) {
	s.t.Helper()
	req, err := http.NewRequest(http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		if req.Header.Del(headers[i]); headers[i+1] != "" {
			req.Header.Set(headers[i], headers[i+1])
		}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(answer)
}

// command runs a program with extra environment and fails the test when it fails.
func command(t testing.TB, dir string, env []string, name string, args ...string) string {
	t.Helper()
	return commandWithin(t, 2*patience, dir, env, name, args...)
}

// commandWithin is command for what takes longer.
func commandWithin(t testing.TB, limit time.Duration, dir string, env []string, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}
