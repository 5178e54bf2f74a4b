package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/midwatch/midwatch/storage/engine"
)

// figures are what a run found out, in the order in which it did.
type figures struct {
	names  []string
	values map[string]float64
	notes  []string // what could not be measured, and what of a figure has to be known
}

// set keeps a figure with as many digits as mean something.
func (f *figures) set(name string, value float64) {
	if f.values == nil {
		f.values = map[string]float64{}
	}
	if _, known := f.values[name]; !known {
		f.names = append(f.names, name)
	}
	rounded, err := strconv.ParseFloat(strconv.FormatFloat(value, 'g', 4, 64), 64)
	if err != nil {
		rounded = value
	}
	f.values[name] = rounded
}

// note says what the figures do not; it is printed at once and recorded.
func (f *figures) note(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	f.notes = append(f.notes, text)
	fmt.Println("  NOTE: " + text)
}

// rivals pair a peer's figure with ours of the same requests.
var rivals = [][2]string{
	{"otel_collector_logs_lines_per_cpu_second", "otlp_logs_lines_per_cpu_second"},
	{"otel_collector_logs_bytes_per_line", "otlp_logs_bytes_per_line"},
	{"otel_collector_logs_bytes_per_line_merged", "otlp_logs_bytes_per_line_merged"},
	{"otel_collector_samples_per_cpu_second", "samples_per_cpu_second"},
	{"otel_collector_bytes_per_sample", "bytes_per_sample"},
	{"otel_collector_bytes_per_sample_merged", "bytes_per_sample_merged"},
	{"victoria_metrics_samples_per_cpu_second", "remote_write_samples_per_cpu_second"},
	{"victoria_metrics_bytes_per_sample", "remote_write_bytes_per_sample"},
	{"victoria_metrics_bytes_per_sample_merged", "remote_write_bytes_per_sample_merged"},
	{"prometheus_samples_per_cpu_second", "remote_write_samples_per_cpu_second"},
	{"prometheus_bytes_per_sample", "remote_write_bytes_per_sample"},
}

// addRatios adds ours divided by the peer's for each pair that was measured.
func (f *figures) addRatios() {
	for _, pair := range rivals {
		theirs, ours := f.values[pair[0]], f.values[pair[1]]
		if theirs > 0 && ours > 0 {
			f.set(pair[0]+"_ratio", ours/theirs)
		}
	}
}

func (f *figures) print(to io.Writer) {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	for _, name := range f.names {
		fmt.Fprintf(w, "%s\t%s\n", name, strconv.FormatFloat(f.values[name], 'f', -1, 64))
	}
	for _, text := range f.notes {
		fmt.Fprintf(w, "NOTE: %s\n", text)
	}
	_ = w.Flush() // standard output is gone, then nobody reads
}

// place is where and of what figures are.
type place struct {
	Date   string `json:"date"`
	Commit string `json:"commit"`
	Cores  int    `json:"cores"`
	Model  string `json:"model"`
	// Engine is the version of ClickHouse.
	Engine string `json:"engine"`
	// Lines, Samples and Envelopes are the sizes of the corpora.
	Lines     int `json:"lines"`
	Samples   int `json:"samples"`
	Envelopes int `json:"envelopes"`
}

func describe(ctx context.Context, b *bench) (place, error) {
	p := place{
		Date: time.Now().UTC().Format(time.RFC3339), Cores: runtime.NumCPU(), Engine: engine.Version,
		Lines: b.lines, Samples: b.samples, Envelopes: b.envelopes,
	}
	out, err := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty", "--abbrev=12").Output()
	if err != nil {
		return p, fmt.Errorf("ask git for the commit: %w", err)
	}
	p.Commit = strings.TrimSpace(string(out))
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return p, err
	}
	defer f.Close()
	for scanner := bufio.NewScanner(f); scanner.Scan(); {
		if key, value, ok := strings.Cut(scanner.Text(), ":"); ok && strings.TrimSpace(key) == "model name" {
			p.Model = strings.TrimSpace(value)
			break
		}
	}
	return p, nil
}

// record appends to history.jsonl and replaces latest.json.
func (f *figures) record(dir string, where place) (err error) {
	line, err := json.Marshal(struct {
		place
		Figures map[string]float64 `json:"figures"`
		Notes   []string           `json:"notes,omitempty"`
	}{where, f.values, f.notes})
	if err != nil {
		return fmt.Errorf("record: %w", err)
	}
	history, err := os.OpenFile(filepath.Join(dir, "history.jsonl"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("record: %w", err)
	}
	_, err = history.Write(append(line, '\n'))
	if err = errors.Join(err, history.Close()); err != nil {
		return fmt.Errorf("record: %w", err)
	}
	// Flat, in the order of measuring: encoding/json would sort the names.
	var latest strings.Builder
	latest.WriteString("{")
	for i, name := range f.names {
		if i > 0 {
			latest.WriteString(",")
		}
		fmt.Fprintf(&latest, "\n  %q: %s", name, strconv.FormatFloat(f.values[name], 'f', -1, 64))
	}
	latest.WriteString("\n}\n")
	if err := os.WriteFile(filepath.Join(dir, "latest.json"), []byte(latest.String()), 0o644); err != nil {
		return fmt.Errorf("record: %w", err)
	}
	return nil
}
