package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	collogspb "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/midwatch/midwatch/storage/engine"
)

// maxProcessBytes bounds the memory of the midwatch process at its highest, with all of its roles
// and the bus. It is reached when four full streams are drained at once, and does not grow with what
// they hold.
const maxProcessBytes = 2 << 30

// detachable is a way to the engine that can be cut: a link in a folder of the test's own.
type detachable struct {
	t            *testing.T
	link, target string
}

// detachEngine has a server take its engine by a link.
func detachEngine(t *testing.T, s *server) *detachable {
	t.Helper()
	library, program, err := engine.Find(os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	d := &detachable{t: t, target: library}
	dir := t.TempDir()
	if library != "" {
		d.link = filepath.Join(dir, "libchdb.so")
		s.env = append(s.env, "MIDWATCH_ENGINE_LIB="+d.link)
	} else {
		d.link, d.target = filepath.Join(dir, "clickhouse"), program
		s.env = append(s.env, "PATH="+dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	}
	d.attach()
	return d
}

func (d *detachable) attach() {
	d.t.Helper()
	if err := os.Symlink(d.target, d.link); err != nil {
		d.t.Fatal(err)
	}
}

// detach kills ClickHouse; it cannot start again before attach.
func (d *detachable) detach(s *server) {
	d.t.Helper()
	if err := os.Remove(d.link); err != nil {
		d.t.Fatal(err)
	}
	pid := s.enginePID()
	if pid == 0 {
		d.t.Fatal("there is no ClickHouse to kill")
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		d.t.Fatal(err)
	}
	await(d.t, "the end of ClickHouse", func() error {
		if s.get(s.internal+"/readyz") == nil {
			return errors.New("it answers")
		}
		return nil
	})
}

// last waits until the outage has lasted long enough, with a line now and then.
func last(t *testing.T, l *load, outage time.Duration) {
	t.Helper()
	began := time.Now()
	for line := min(outage, time.Minute); time.Since(began) < outage; {
		time.Sleep(min(outage-time.Since(began), line))
		t.Logf("ClickHouse is away for %s; %s", time.Since(began).Round(time.Second), l.acknowledged())
		if l.failed.Load() {
			t.FailNow()
		}
	}
	if l.s.get(l.s.internal+"/readyz") == nil {
		t.Error("the server says that it is ready while ClickHouse is away")
	}
}

// checkMemory asserts the bound on the highest memory that the process has ever used.
func checkMemory(t *testing.T, s *server) {
	t.Helper()
	path := fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) == 3 && fields[0] == "VmHWM:" {
			kilobytes, err := strconv.ParseInt(fields[1], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("the process had %d MiB at most", kilobytes>>10)
			if kilobytes<<10 > maxProcessBytes {
				t.Errorf("the process had %d MiB, the bound is %d MiB", kilobytes>>10, maxProcessBytes>>20)
			}
			return
		}
	}
	t.Fatalf("%s has no VmHWM", path)
}

func TestOutageOfClickHouseWithinTheBufferIsNotNoticedByClients(t *testing.T) {
	p := readPlan(t)
	if p.outage >= time.Minute {
		t.Parallel() // both at once, or they take too long
	}
	s := newServer(t, "up")
	s.patience = 5 * patience // a backlog is stored before what comes after it
	way := detachEngine(t, s)
	s.start()
	s.awaitReady()
	l := newLoad(t, s, p.seed)
	l.pause = 80 * time.Millisecond // ten minutes of it fit into the buffer of the test environment
	l.start()
	await(t, "something that is stored", func() error {
		n, err := s.countLogs("record")
		if err == nil && n == 0 {
			err = errors.New("nothing")
		}
		return err
	})
	way.detach(s)
	before := l.total()
	last(t, l, p.outage)
	if n := l.total() - before; n == 0 {
		t.Error("nothing was acknowledged without ClickHouse")
	}
	if n := l.refused.Load() + l.cut.Load(); n > 0 {
		t.Errorf("%d requests were not taken", n)
	}
	way.attach()
	s.awaitReady()
	l.verify(checkMemory)
}

func TestOutageOfClickHouseBeyondTheBufferIsSaidToClients(t *testing.T) {
	p := readPlan(t)
	if p.outage >= time.Minute {
		t.Parallel() // both at once, or they take too long
	}
	s := newServer(t, "up")
	s.patience = 5 * patience // a backlog is stored before what comes after it
	way := detachEngine(t, s)
	s.start()
	s.awaitReady()
	l := newLoad(t, s, p.seed)
	l.start()
	way.detach(s)
	// Large requests fill the streams. Each is several messages, so that some are cut in the middle.
	for range 2 {
		l.run(l.otlpLogs(40, 50<<10))
		l.run(l.otlpMetrics(1000, 2<<10))
		l.run(l.sentryEvents(400 << 10))
	}
	refusedEverywhere(t, l)
	// Streams fill and fail apart: that of the check-ins has room.
	if status, _, answer := s.post(s.http+"/ping/"+key+"/apart?create=1", "", nil, "Authorization", ""); status/100 != 2 {
		t.Errorf("a ping is answered %d %s while only other streams are full", status, answer)
	}
	if p.outage >= time.Minute {
		// They are limited to a number a minute, which comes before their stream is full.
		refusedCheckins(t, l)
	}
	t.Logf("the buffer is full; %s", l.acknowledged())
	last(t, l, p.outage)
	refusedEverywhere(t, l)
	way.attach()
	s.awaitReady()
	l.verify(checkMemory)
}

// refusedEverywhere waits until the intake of each protocol refuses a small request, and checks that
// it does so in the protocol's own way.
func refusedEverywhere(t *testing.T, l *load) {
	t.Helper()
	s := l.s
	now := func() int64 { return time.Now().UnixNano() }
	retryLater := func(status int, header http.Header) error {
		if status != http.StatusServiceUnavailable {
			return fmt.Errorf("it is answered %d", status)
		}
		if seconds, err := strconv.Atoi(header.Get("Retry-After")); err != nil || seconds < 1 {
			t.Fatalf("Retry-After is %q", header.Get("Retry-After"))
		}
		return nil
	}
	s.await("a refusal of JSON logs", func() error {
		status, header, answer := s.post(s.http+"/v1/ingest/logs", "", fmt.Appendf(nil, `{"time":%q,"service":"probe","message":"x"}`, time.Now().Format(time.RFC3339Nano)))
		if err := retryLater(status, header); err != nil {
			return err
		}
		var fault struct{ Error string }
		if err := json.Unmarshal([]byte(answer), &fault); err != nil || fault.Error == "" {
			t.Fatalf("the answer is %q", answer)
		}
		return nil
	})
	logs := func() *collogspb.ExportLogsServiceRequest {
		return &collogspb.ExportLogsServiceRequest{ResourceLogs: []*logspb.ResourceLogs{{ScopeLogs: []*logspb.ScopeLogs{{
			LogRecords: []*logspb.LogRecord{{TimeUnixNano: uint64(now())}},
		}}}}}
	}
	s.await("a refusal of OTLP logs", func() error {
		status, header, answer := s.post(s.otlp+"/v1/logs", "application/x-protobuf", l.encode(logs()))
		if err := retryLater(status, header); err != nil {
			return err
		}
		var fault statuspb.Status
		if err := proto.Unmarshal([]byte(answer), &fault); err != nil || codes.Code(fault.GetCode()) != codes.Unavailable || fault.GetMessage() == "" {
			t.Fatalf("the answer is %v, %v", &fault, err)
		}
		return nil
	})
	conn, err := grpc.NewClient("127.0.0.1:"+strconv.Itoa(s.grpcPort), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	s.await("a refusal of OTLP logs by gRPC", func() error {
		ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+key), 15*time.Second)
		defer cancel()
		_, err := collogspb.NewLogsServiceClient(conn).Export(ctx, logs())
		fault := status.Convert(err)
		if fault.Code() != codes.Unavailable {
			return fmt.Errorf("it is answered %v", fault)
		}
		for _, detail := range fault.Details() {
			if info, ok := detail.(*errdetails.RetryInfo); ok && info.GetRetryDelay().AsDuration() >= time.Second {
				return nil
			}
		}
		t.Fatalf("there is no RetryInfo in %v", fault.Details())
		return nil
	})
	s.await("a refusal of OTLP metrics", func() error {
		status, header, answer := s.post(s.otlp+"/v1/metrics", "application/json", fmt.Appendf(nil,
			`{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"probe","gauge":{"dataPoints":[{"asDouble":1,"timeUnixNano":"%d"}]}}]}]}]}`, now()))
		if err := retryLater(status, header); err != nil {
			return err
		}
		var fault struct{ Code int }
		if err := json.Unmarshal([]byte(answer), &fault); err != nil || codes.Code(fault.Code) != codes.Unavailable {
			t.Fatalf("the answer is %q", answer)
		}
		return nil
	})
	written := l.remoteWriteOf("probe", new(ledger))
	s.await("a refusal of remote write", func() error {
		r := written(nil).request
		status, header, _ := s.post(r.url, "", r.body, r.header...)
		return retryLater(status, header)
	})
	s.await("a refusal of Sentry's events", func() error {
		r := l.envelope("event", `{"message":"probe","level":"error"}`)
		status, header, _ := s.post(r.url, "", r.body, r.header...)
		if err := retryLater(status, header); err != nil {
			return err
		}
		if limits := header.Get("X-Sentry-Rate-Limits"); !strings.Contains(limits, "error") {
			t.Fatalf("X-Sentry-Rate-Limits is %q", limits)
		}
		return nil
	})
}

// refusedCheckins sends check-ins until they are refused, by both protocols.
func refusedCheckins(t *testing.T, l *load) {
	t.Helper()
	const most = 100_000
	run := func(what string, send func() (int, http.Header, string)) http.Header {
		for range most {
			status, header, answer := send()
			switch {
			case status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable:
				if seconds, err := strconv.Atoi(header.Get("Retry-After")); err != nil || seconds < 1 {
					t.Fatalf("%s: Retry-After is %q", what, header.Get("Retry-After"))
				}
				return header
			case status/100 != 2:
				t.Fatalf("%s is answered %d %s", what, status, answer)
			}
		}
		t.Fatalf("%d of %s were taken", most, what)
		return nil
	}
	body := []byte(strings.Repeat("said by the job ", 600))
	run("pings", func() (int, http.Header, string) {
		return l.s.post(l.s.http+"/ping/"+key+"/flood?create=1", "", body, "Authorization", "")
	})
	header := run("Sentry's check-ins", func() (int, http.Header, string) {
		r := l.envelope("check_in", `{"check_in_id":"`+digits(uuid.New())+`","monitor_slug":"flood","status":"ok"}`)
		return l.s.post(r.url, "", r.body, r.header...)
	})
	if limits := header.Get("X-Sentry-Rate-Limits"); !strings.Contains(limits, "monitor") {
		t.Fatalf("X-Sentry-Rate-Limits is %q", limits)
	}
}
