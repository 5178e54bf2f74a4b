package cli

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

const testKey = "0123456789abcdef0123456789abcdef"

func TestCronCallIsReadInAnyOrder(t *testing.T) {
	t.Parallel()
	got, err := parseCronCall([]string{"--margin", "10m", "backup", "--schedule=@daily", "-url", "http://x", "--", "tar", "--", "-c"})
	want := cronCall{slug: "backup", schedule: "@daily", url: "http://x", margin: 10 * time.Minute, command: []string{"tar", "--", "-c"}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(cronCall{})); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	for _, help := range []string{"--help", "-h", "help", "x -help"} {
		if _, err := parseCronCall(strings.Fields(help)); !errors.Is(err, flag.ErrHelp) {
			t.Errorf("%s: %v", help, err)
		}
	}
}

func TestCronRefusesWrongUsage(t *testing.T) {
	t.Parallel()
	for _, args := range []string{
		"", "backup", "backup tar", "backup --", "-- tar", "a b -- tar", "backup --nonsense -- tar",
		"backup --margin 5 -- tar", "backup --margin 5m -- tar", "backup --schedule @daily --margin -5m -- tar",
	} {
		if c, err := parseCronCall(strings.Fields(args)); !errors.Is(err, ErrUsage) {
			t.Errorf("cron %s: %+v, %v", args, c, err)
		}
	}
}

func TestSchedulesBecomeMonitorConfigs(t *testing.T) {
	t.Parallel()
	got, err := monitorConfig(cronCall{schedule: "30 2 * * *", margin: 90 * time.Second, maxRuntime: time.Hour}, "Europe/Berlin")
	want := map[string]any{
		"schedule": map[string]any{"type": "crontab", "value": "30 2 * * *"}, "timezone": "Europe/Berlin",
		"checkin_margin": 1.5, "max_runtime": 60.0,
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	got, err = monitorConfig(cronCall{schedule: "15m"}, "Europe/Berlin")
	want = map[string]any{"schedule": map[string]any{"type": "interval", "value": "900", "unit": "second"}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	for _, wrong := range []string{"61 * * * *", "@reboot", "1s", "-5m", "soon"} {
		if _, err := monitorConfig(cronCall{schedule: wrong}, "UTC"); err == nil {
			t.Errorf("%q is taken", wrong)
		}
	}
	if _, err := monitorConfig(cronCall{schedule: "@daily"}, "Mars/Olympus"); err == nil {
		t.Error("Mars/Olympus is taken")
	}
}

func TestTailKeepsTheEnd(t *testing.T) {
	t.Parallel()
	var few tail
	fmt.Fprint(&few, "räum\xff auf")
	if got := few.text(bodyBytes); got != "räum\uFFFD auf" {
		t.Errorf("kept %q", got)
	}
	if got := few.text(10); !strings.HasPrefix(got, "…") || !strings.HasSuffix(got, " auf") || len(got) > 10 {
		t.Errorf("kept %q", got)
	}
	var much tail
	for i := range 100_000 {
		fmt.Fprintf(&much, "€ %d\n", i)
	}
	if cap(much.kept) > 4*tailBytes {
		t.Errorf("%d bytes of memory", cap(much.kept))
	}
	for _, limit := range []int{10, bodyBytes, bodyBytes + 1, bodyBytes + 2, tailBytes, tailBytes + 1} {
		got := much.text(limit)
		if len(got) > limit || len(got) < min(limit, tailBytes)-8 || !utf8.ValidString(got) || strings.Contains(got, "\uFFFD") ||
			!strings.HasPrefix(got, "…") || !strings.HasSuffix(got, "9999\n") {
			t.Errorf("limit %d: %d bytes, %.20q … %q", limit, len(got), got, got[max(0, len(got)-8):])
		}
	}
}

func TestSecretsComeFromFiles(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte(testKey+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := func(variables map[string]string) func(string) string {
		return func(name string) string { return variables[name] }
	}
	r, err := newReporter(cronCall{slug: "job"}, env(map[string]string{"MIDWATCH_INGEST_KEY_FILE": file, "MIDWATCH_URL": "https://example.org/"}))
	if err != nil || r.key != testKey || r.base != "https://example.org" {
		t.Errorf("%+v, %v", r, err)
	}
	for name, variables := range map[string]map[string]string{
		"no key": {}, "no file": {"MIDWATCH_INGEST_KEY_FILE": file + "x"}, "a key that is none": {"MIDWATCH_INGEST_KEY": "a/b"},
		"no address": {"MIDWATCH_INGEST_KEY": testKey, "MIDWATCH_URL": "example.org"},
	} {
		if r, err := newReporter(cronCall{slug: "job"}, env(variables)); err == nil || r != nil {
			t.Errorf("%s: %+v", name, r)
		}
	}
	if r, err := newReporter(cronCall{slug: "Job", key: testKey}, env(nil)); err == nil || r != nil {
		t.Errorf("a wrong slug: %+v", r)
	}
}

// answers serves one status after the other, the last one for good.
func answers(t *testing.T, statuses ...int) (reporter, *atomic.Int64) {
	t.Helper()
	var asked atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		n := asked.Add(1)
		w.Header().Set("Location", "http://127.0.0.1:1/")
		w.WriteHeader(statuses[min(int(n), len(statuses))-1])
		fmt.Fprintln(w, "because")
	}))
	t.Cleanup(s.Close)
	r, err := newReporter(cronCall{slug: "job", key: testKey, url: s.URL}, func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	return *r, &asked
}

func TestReporterTriesAgain(t *testing.T) {
	t.Parallel()
	r, asked := answers(t, 503, 429, 200)
	if err := r.end(t.Context(), "6c1f0e7a-2f3b-4c5d-8e9f-a0b1c2d3e4f5", 0, 0, ""); err != nil || asked.Load() != 3 {
		t.Errorf("%v after %d attempts", err, asked.Load())
	}
}

func TestReporterGivesUpWhatIsRefused(t *testing.T) {
	t.Parallel()
	for _, status := range []int{301, 400, 404, 413} {
		r, asked := answers(t, status)
		err := r.end(t.Context(), "6c1f0e7a-2f3b-4c5d-8e9f-a0b1c2d3e4f5", 0, 0, "")
		if err == nil || asked.Load() != 1 || strings.Contains(err.Error(), testKey) || !strings.Contains(err.Error(), fmt.Sprint(status)) {
			t.Errorf("%d: %v after %d attempts", status, err, asked.Load())
		}
	}
}

func TestReporterHidesTheKeyWhereNothingAnswers(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(nil)
	address := s.URL
	s.Close()
	r, err := newReporter(cronCall{slug: "job", key: testKey, url: address}, func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	_, retry, err := r.attempt(t.Context(), "/ping/"+testKey+"/job", nil)
	if err == nil || retry < 0 || strings.Contains(err.Error(), testKey) || !strings.Contains(err.Error(), address) {
		t.Errorf("%v, retry %s", err, retry)
	}
}

func TestCronHelpIsPrinted(t *testing.T) {
	t.Parallel()
	var out, errs bytes.Buffer
	if status := Cron(Job{Args: []string{"--help"}, Stdout: &out, Stderr: &errs}); status != 0 || out.String() != cronUsage || errs.Len() > 0 {
		t.Errorf("%d: %s%s", status, out.String(), errs.String())
	}
}
