package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestFiguresAreRecordedFlatAndAsHistory(t *testing.T) {
	dir := t.TempDir()
	var f figures
	f.set("remote_write_samples_per_cpu_second", 3_000_000)
	f.set("prometheus_samples_per_cpu_second", 1_500_000)
	f.set("bytes_per_sample", 1.23456)
	f.addRatios()
	for range 2 {
		if err := f.record(dir, place{Commit: "abc", Cores: 2}); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]float64{
		"remote_write_samples_per_cpu_second": 3_000_000, "prometheus_samples_per_cpu_second": 1_500_000,
		"prometheus_samples_per_cpu_second_ratio": 2, "bytes_per_sample": 1.235,
	}
	var latest map[string]float64
	read(t, filepath.Join(dir, "latest.json"), &latest)
	if diff := cmp.Diff(want, latest); diff != "" {
		t.Error(diff)
	}
	text, err := os.ReadFile(filepath.Join(dir, "history.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	var entry struct {
		Commit  string
		Figures map[string]float64
	}
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &entry); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, entry.Figures); diff != "" || len(lines) != 2 || entry.Commit != "abc" {
		t.Errorf("%d lines, the last %+v %s", len(lines), entry, diff)
	}
}

func read(t *testing.T, path string, out any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, out)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestTheBenchmarkOfTheBusIsRead(t *testing.T) {
	got := parseBusCurve([]byte(`goos: linux
BenchmarkPublishers/grouped/64-2         	    1000	    123456 ns/op	         4.500 p50-ms	        55.05 p99-ms	      7946 requests/s
BenchmarkPublish/1KiB-2  100  5 ns/op
PASS
`))
	want := []named{{"bus_grouped_64_ack_p50_ms", 4.5}, {"bus_grouped_64_ack_p99_ms", 55.05}, {"bus_grouped_64_requests_per_second", 7946}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(named{})); diff != "" {
		t.Error(diff)
	}
}

func TestQuantiles(t *testing.T) {
	var all []time.Duration
	for n := 100; n > 0; n-- {
		all = append(all, time.Duration(n)*time.Millisecond)
	}
	for q, want := range map[float64]float64{0: 1, .5: 51, .99: 100, 1: 100} {
		if got := quantile(all, q); got != want {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
	if got := quantile(nil, .5); got != 0 {
		t.Errorf("of nothing it is %v", got)
	}
}

func TestPartsAreChosen(t *testing.T) {
	b := &bench{}
	if err := b.choose("logs,peers"); err != nil || !cmp.Equal(b.only, []string{"logs", "peers"}) {
		t.Errorf("%v %v", b.only, err)
	}
	if err := b.choose("traces"); err == nil {
		t.Error("an unknown part was taken")
	}
	b = &bench{small: true}
	if err := b.choose(""); err != nil || cmp.Equal(b.only, nil) {
		t.Errorf("%v %v", b.only, err)
	}
	for _, name := range b.only {
		if name == "peers" {
			t.Error("the quick run has peers")
		}
	}
}
