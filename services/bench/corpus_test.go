package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func madeLogs(t *testing.T, count int) []byte {
	t.Helper()
	var b bytes.Buffer
	w := bufio.NewWriter(&b)
	if err := writeLogs(w, count); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func madeMetrics(t *testing.T, series, steps int) []byte {
	t.Helper()
	var b bytes.Buffer
	w := bufio.NewWriter(&b)
	if err := writeMetrics(w, series, steps); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func readText(t *testing.T, text string) *metricCorpus {
	t.Helper()
	c, err := readMetrics(bufio.NewReader(strings.NewReader(text)))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestLogsAreTheSameEachTime(t *testing.T) {
	if !bytes.Equal(madeLogs(t, 1000), madeLogs(t, 1000)) {
		t.Fatal("two corpora of one size differ")
	}
}

func TestLogLinesAreLikeThoseThatPeersWereMeasuredOn(t *testing.T) {
	const count = 20_000
	text := madeLogs(t, count)
	if mean := float64(len(text)) / count; mean < 249 || mean > 254 {
		t.Errorf("a line has %.1f bytes, those of the measured corpus 251.5", mean)
	}
	levels, traces := map[string]int{}, map[string]bool{}
	for raw := range bytes.SplitSeq(bytes.TrimSpace(text), []byte("\n")) {
		var l line
		decoder := json.NewDecoder(bytes.NewReader(raw))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&l); err != nil {
			t.Fatalf("%s: %v", raw, err)
		}
		levels[l.Level]++
		traces[l.Trace] = true
	}
	for level, percent := range map[string]int{"info": 90, "warn": 7, "error": 3} {
		if got := float64(levels[level]) * 100 / count; got < float64(percent)-1 || got > float64(percent)+1 {
			t.Errorf("%.1f %% of the lines have level %s, want about %d", got, level, percent)
		}
	}
	if len(traces) != count {
		t.Errorf("%d lines have %d trace ids", count, len(traces))
	}
}

func TestLogsAreMovedToThePresent(t *testing.T) {
	text := madeLogs(t, 24)
	before := bytes.Clone(text)
	lines := bytes.SplitAfter(text, []byte("\n"))[:24]
	now := time.Date(2027, 3, 1, 12, 0, 0, 123_456_789, time.UTC)
	if _, err := moveLogs(lines, now); err != nil {
		t.Fatal(err)
	}
	for i, raw := range lines {
		var l line
		if err := json.Unmarshal(raw, &l); err != nil {
			t.Fatalf("%s: %v", raw, err)
		}
		if want := now.Add(-time.Duration(23-i) * time.Hour).Format(timeForm); l.Time != want {
			t.Errorf("line %d is of %s, want %s", i, l.Time, want)
		}
	}
	if end := len(timePrefix) + len(timeForm); !bytes.Equal(before[end:len(lines[0])], lines[0][end:]) {
		t.Errorf("more than the time has changed: %s", lines[0])
	}
}

func TestLogsOfAnotherFormAreRefused(t *testing.T) {
	for _, text := range []string{`{"time":1}`, `{"_time":"yesterday, at the break of day"}`} {
		if _, err := moveLogs([][]byte{[]byte(text)}, time.Now()); err == nil {
			t.Errorf("%s was taken", text)
		}
	}
}

func TestMetricsAreTheSameEachTimeAndReadBack(t *testing.T) {
	const series, steps = 100, 30
	text := madeMetrics(t, series, steps)
	if !bytes.Equal(text, madeMetrics(t, series, steps)) {
		t.Fatal("two corpora of one size differ")
	}
	c := readText(t, string(text))
	if c.count != series*steps || len(c.series) != series {
		t.Fatalf("%d samples of %d series are read, %d of %d are made", c.count, len(c.series), series*steps, series)
	}
	first := c.series[0]
	if first.name != "m0" || !cmp.Equal(first.labels, []label{{"host", "h0"}, {"service", "s0"}}, cmp.AllowUnexported(label{})) {
		t.Errorf("the first series is %s%v", first.name, first.labels)
	}
	for i, s := range c.series {
		// Even series count, odd ones go up and down, and a name has only one of the kinds.
		if s.counter != (i%2 == 0) {
			t.Errorf("series %d: counter is %v", i, s.counter)
		}
		for k, one := range s.samples {
			if want := int64(corpusStart + k*15_000); one.at != want {
				t.Fatalf("sample %d of series %d is of %d, want %d", k, i, one.at, want)
			}
		}
	}
}

func TestMetricsAreMovedToThePresent(t *testing.T) {
	c := readText(t, "a 1 1000\na 2 16000\nb 3 2000\n")
	now := time.UnixMilli(1_800_000_000_000)
	if by := c.move(now); by != time.Duration(1_800_000_000_000-16_000)*time.Millisecond {
		t.Errorf("moved by %s", by)
	}
	if got := []int64{c.series[0].samples[0].at, c.series[0].samples[1].at, c.series[1].samples[0].at}; !cmp.Equal(got, []int64{1_799_999_985_000, 1_800_000_000_000, 1_799_999_986_000}) {
		t.Errorf("the times are %v", got)
	}
}

func TestPrometheusTextIsRead(t *testing.T) {
	c := readText(t, `# HELP a nothing
a 1.5 1000
b{z="1", a="x \"y\", {z} = 2 \\"} -2e3 1000

a 1.25 2000
`)
	want := []series{
		{name: "a", samples: []sample{{1000, 1.5}, {2000, 1.25}}},
		{name: "b", labels: []label{{"a", `x "y", {z} = 2 \`}, {"z", "1"}}, counter: true, samples: []sample{{1000, -2000}}},
	}
	if diff := cmp.Diff(want, c.series, cmp.AllowUnexported(series{}, label{}, sample{})); diff != "" {
		t.Error(diff)
	}
}

func TestWrongPrometheusTextIsNamed(t *testing.T) {
	for _, text := range []string{"", "a", "a 1", "a b 1000", "a 1 now", `a{b=} 1 1000`, `a{b="c" 1 1000`, "{} 1 1000", "a 1 1000\na 2 1000"} {
		if _, err := readMetrics(bufio.NewReader(strings.NewReader(text))); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
}

func TestACorpusIsMadeOnce(t *testing.T) {
	b := &bench{cache: t.TempDir()}
	times := 0
	write := func(w *bufio.Writer) error {
		times++
		_, err := fmt.Fprint(w, "x")
		return err
	}
	for range 2 {
		if _, err := b.made("x", write); err != nil {
			t.Fatal(err)
		}
	}
	if times != 1 {
		t.Errorf("made %d times", times)
	}
}
