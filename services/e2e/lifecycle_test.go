package e2e

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
)

func TestStartStopAndStartAgain(t *testing.T) {
	s := up(t)
	s.post(s.http+"/v1/ingest/logs", "", []byte(`{"message":"before the stop"}`))
	s.awaitLog("before the stop")
	engine := s.enginePID()
	s.terminate()
	if _, err := os.Stat(fmt.Sprintf("/proc/%d", engine)); err == nil {
		t.Error("ClickHouse is still there after a clean stop")
	}
	first := s.log()
	for _, line := range []string{"Sign in as", email, "Sentry DSN", key, "OTLP/HTTP", "curl " + s.http + "/v1/ingest/logs"} {
		if !strings.Contains(first, line) {
			t.Errorf("the welcome does not say %q:\n%s", line, first)
		}
	}
	s.start()
	s.awaitReady()
	s.awaitLog("before the stop")
	if again := strings.TrimPrefix(s.log(), first); strings.Contains(again, token) {
		t.Error("a later start prints the API token")
	}
}

func TestTakenPortIsNamed(t *testing.T) {
	s := up(t)
	other := newServer(t, "up")
	other.env = append(other.env, fmt.Sprintf("MIDWATCH_OTLP_HTTP_PORT=%d", s.otlpPort))
	other.start()
	if err := <-other.exited; err == nil {
		t.Error("it started")
	}
	other.cmd = nil
	if !strings.Contains(other.log(), "MIDWATCH_OTLP_HTTP_PORT") {
		t.Errorf("the error does not name the variable:\n%s", other.log())
	}
	second := newServer(t, "up")
	second.env = append(second.env, "MIDWATCH_DATA_DIR="+s.dir)
	second.start()
	if err := <-second.exited; err == nil {
		t.Error("two processes share a data folder")
	}
	second.cmd = nil
	if !strings.Contains(second.log(), "MIDWATCH_DATA_DIR") {
		t.Errorf("the error does not say what to do:\n%s", second.log())
	}
}

func TestHealthAndOwnMetrics(t *testing.T) {
	s := up(t)
	s.post(s.http+"/v1/ingest/logs", "", []byte(`{"message":"counted"}`))
	s.awaitLog("counted")
	resp, err := http.Get(s.internal + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"midwatch_writer_rows_total", "midwatch_ingest_accepted_total", "go_goroutines", "process_resident_memory_bytes"} {
		if !strings.Contains(string(body), name) {
			t.Errorf("/metrics has no %s", name)
		}
	}
	if err := s.get(s.internal + "/healthz"); err != nil {
		t.Error(err)
	}
}

func TestUsageNamesTheCommands(t *testing.T) {
	out, err := exec.Command(binary(t), "help").CombinedOutput()
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"up", "demo", "migrate", "ingest-metrics", "console"} {
		if !strings.Contains(string(out), command) {
			t.Errorf("help does not name %s", command)
		}
	}
	out, err = exec.Command(binary(t), "nonsense").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "nonsense") {
		t.Errorf("an unknown command: %v %s", err, out)
	}
}
