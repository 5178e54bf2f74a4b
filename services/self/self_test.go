package self

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"
)

func open(t *testing.T, out *bytes.Buffer) *Self {
	t.Helper()
	s, err := Open(t.Context(), Config{Service: "midwatch-test", Version: "1", Environment: "test", LogFormat: "json", LogLevel: "info"}, out)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s
}

func get(e *echo.Echo, path string) (int, string) {
	rec := httptest.NewRecorder()
	e.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, path, nil))
	return rec.Code, rec.Body.String()
}

func TestReadinessNamesThePartThatDoesNotAnswer(t *testing.T) {
	s := open(t, &bytes.Buffer{})
	e := echo.New()
	s.MountInternal(e)
	var broken error
	s.Needs("bus", func(context.Context) error { return nil })
	s.Needs("clickhouse", func(context.Context) error { return broken })
	if code, body := get(e, "/readyz"); code != 200 {
		t.Fatalf("%d %s", code, body)
	}
	broken = errors.New("connection refused")
	if code, body := get(e, "/readyz"); code != 503 || !strings.Contains(body, "clickhouse: connection refused") || strings.Contains(body, "bus") {
		t.Fatalf("%d %s", code, body)
	}
	if code, _ := get(e, "/healthz"); code != 200 {
		t.Fatalf("a process with a broken part is still alive, but answers %d", code)
	}
	broken = nil
	s.Stopping()
	if code, body := get(e, "/readyz"); code != 503 || !strings.Contains(body, "stopping") {
		t.Fatalf("%d %s", code, body)
	}
}

func TestMetricsCarryOwnInstruments(t *testing.T) {
	s := open(t, &bytes.Buffer{})
	counter, err := s.Meter("x").Int64Counter("midwatch.test.things")
	if err != nil {
		t.Fatal(err)
	}
	counter.Add(t.Context(), 3)
	e := echo.New()
	s.MountInternal(e)
	if _, body := get(e, "/metrics"); !strings.Contains(body, "midwatch_test_things_total 3") || !strings.Contains(body, "go_goroutines") {
		t.Fatalf("metrics are\n%s", body)
	}
}

func TestPanicBecomesAnErrorAndALogLine(t *testing.T) {
	var out bytes.Buffer
	s := open(t, &out)
	e := echo.New()
	e.Use(s.Watch())
	e.GET("/", func(echo.Context) error { panic("overboard") })
	if code, _ := get(e, "/"); code != 500 {
		t.Fatalf("status %d", code)
	}
	var line map[string]any
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		t.Fatal(err)
	}
	if line["msg"] != "handler panicked" || !strings.Contains(line["err"].(string), "overboard") || !strings.Contains(line["stack"].(string), "self_test.go") {
		t.Fatalf("log line is %v", line)
	}
}

func TestWrongLogSettingsAreNamed(t *testing.T) {
	for _, c := range []Config{{LogFormat: "xml", LogLevel: "info"}, {LogFormat: "json", LogLevel: "loud"}} {
		if _, err := Open(t.Context(), c, &bytes.Buffer{}); err == nil {
			t.Errorf("%+v was taken", c)
		}
	}
}
