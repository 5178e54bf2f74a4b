package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

const (
	day = 24 * time.Hour
	// corpusStart is where made corpora begin; readers move them to the present.
	corpusStart = 1_795_132_800_000 // ms since 1970
	sampleStep  = 15 * time.Second
	seriesCount = 1000
	timeForm    = "2006-01-02T15:04:05.000Z"
)

// made returns the path of a corpus in the cache, which write makes at first. The name has to
// change with what is written.
func (b *bench) made(name string, write func(*bufio.Writer) error) (string, error) {
	path := filepath.Join(b.cache, name)
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return path, err
	}
	f, err := os.CreateTemp(b.cache, name+".*")
	if err != nil {
		return "", fmt.Errorf("make a corpus: %w", err)
	}
	w := bufio.NewWriterSize(f, 1<<20)
	err = errors.Join(write(w), w.Flush(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return "", errors.Join(fmt.Errorf("make the corpus %s: %w", name, err), os.Remove(f.Name()))
	}
	return path, nil
}

func pick[T any](r *rand.Rand, of []T) T { return of[r.IntN(len(of))] }

// writeLogs makes JSON lines of a small web service over one day, about 251 bytes each. 16 bytes
// of each are a random trace id, which no codec can shrink.
func writeLogs(w *bufio.Writer, count int) error {
	r := rand.New(rand.NewPCG(7, 0))
	services := []string{"api", "web", "worker", "billing", "auth", "search", "mailer", "cron"}
	paths := []string{"/", "/login", "/api/v1/items", "/api/v1/items/%d", "/api/v1/users/%d", "/checkout", "/static/app.js", "/health", "/api/v1/search?q=%d", "/admin"}
	faults := []string{"connection refused to db-1:5432", "timeout after 3000ms calling billing", "KeyError: user_id", "deadlock detected retry %d", "permission denied for user %d"}
	methods := []string{"GET", "GET", "GET", "POST", "PUT"}
	regions := []string{"eu-west-1", "us-east-1"}
	fill := func(text string, limit int) string {
		if n := r.IntN(limit); bytes.IndexByte([]byte(text), '%') >= 0 {
			return fmt.Sprintf(text, n)
		}
		return text
	}
	var line []byte
	for i := range count {
		at := time.UnixMilli(corpusStart + int64(i)*day.Milliseconds()/int64(count)).UTC()
		service, host := pick(r, services), r.IntN(20)
		level := "info"
		switch n := r.IntN(100); {
		case n >= 97:
			level = "error"
		case n >= 90:
			level = "warn"
		}
		path := fill(pick(r, paths), 100_000)
		duration := int(math.Exp(3.5 + r.NormFloat64()))
		status := 200
		switch n := r.IntN(100); {
		case n >= 97:
			status = 500
		case n >= 95:
			status = 301
		case n >= 90:
			status = 404
		}
		high, low := r.Uint64(), r.Uint64()
		var message string
		if level == "error" {
			message = fill(pick(r, faults), 1_000_000)
		} else {
			message = fmt.Sprintf("%s %s %d in %dms", pick(r, methods), path, status, duration)
		}
		line = fmt.Appendf(line[:0], `{"_time":%q,"_msg":%q,"level":%q,"service":%q,"host":"h%02d","status":%d,"duration_ms":%d,"trace_id":"%016x%016x","user_id":%d,"region":%q,"version":"1.%d.0"}`+"\n",
			at.Format(timeForm), message, level, service, host, status, duration, high, low, r.IntN(50_000), pick(r, regions), i*5/count)
		if _, err := w.Write(line); err != nil {
			return err
		}
	}
	return nil
}

// logLines returns the lines of logs, each with its newline, the newest of which is of now.
func (b *bench) logLines() ([][]byte, error) {
	if b.logCorpus != nil {
		return b.logCorpus, nil
	}
	path := b.logsFile
	if path == "" {
		var err error
		path, err = b.made(fmt.Sprintf("logs-1-%d.jsonl", b.lines), func(w *bufio.Writer) error { return writeLogs(w, b.lines) })
		if err != nil {
			return nil, err
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the logs: %w", err)
	}
	lines := bytes.SplitAfter(text, []byte("\n"))
	if len(lines[len(lines)-1]) == 0 {
		lines = lines[:len(lines)-1]
	}
	if len(lines) == 0 {
		return nil, fmt.Errorf("%s has no lines", path)
	}
	moved, err := moveLogs(lines, time.Now())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if b.logsFile != "" {
		fmt.Printf("  %s: %d lines, their times moved by %s\n", path, len(lines), moved.Round(time.Second))
	}
	b.logCorpus = lines
	return lines, nil
}

const timePrefix = `{"_time":"`

// moveLogs rewrites the times at the beginning of lines, so that the newest is now, in place.
func moveLogs(lines [][]byte, now time.Time) (time.Duration, error) {
	const end = len(timePrefix) + len(timeForm)
	times := make([]time.Time, len(lines))
	var newest time.Time
	for i, line := range lines {
		if len(line) < end || string(line[:len(timePrefix)]) != timePrefix {
			return 0, fmt.Errorf("line %d does not begin with %s and a time of the form %s", i+1, timePrefix, timeForm)
		}
		at, err := time.Parse(timeForm, string(line[len(timePrefix):end]))
		if err != nil {
			return 0, fmt.Errorf("line %d: %w", i+1, err)
		}
		times[i] = at
		if at.After(newest) {
			newest = at
		}
	}
	by := now.Truncate(time.Millisecond).Sub(newest)
	for i, line := range lines {
		copy(line[len(timePrefix):], times[i].Add(by).UTC().Format(timeForm))
	}
	return by, nil
}

// writeMetrics makes samples in Prometheus text form: a quarter of the series are fast counters, a
// quarter random gauges with two decimals, a quarter slow counters, a quarter nearly constant.
func writeMetrics(w *bufio.Writer, series, steps int) error {
	r := rand.New(rand.NewPCG(3, 0))
	counts := make([]int, series)
	for i := range counts {
		counts[i] = r.IntN(100)
	}
	for k := range steps {
		at := corpusStart + int64(k)*sampleStep.Milliseconds()
		for i := range series {
			var value string
			switch i % 4 {
			case 0:
				counts[i] += r.IntN(50)
				value = strconv.Itoa(counts[i])
			case 1:
				value = strconv.FormatFloat(math.Round((20+10*r.Float64())*100)/100, 'g', -1, 64)
			case 2:
				if r.IntN(4) == 3 {
					counts[i]++
				}
				value = strconv.Itoa(counts[i])
			default:
				value = "0"
				if r.IntN(5) == 4 {
					value = "1"
				}
			}
			if _, err := fmt.Fprintf(w, "m%d{service=\"s%d\",host=\"h%d\"} %s %d\n", i%50, i%8, i/50, value, at); err != nil {
				return err
			}
		}
	}
	return nil
}

// metricCorpus is samples by series.
type metricCorpus struct {
	series []series
	count  int
}

type series struct {
	name   string
	labels []label // sorted by name
	// counter says that no sample is lower than the one before.
	counter bool
	samples []sample
}

type label struct{ name, value string }

type sample struct {
	at    int64 // ms since 1970
	value float64
}

// metricSamples returns the samples, the newest of which are of now.
func (b *bench) metricSamples() (*metricCorpus, error) {
	if b.metricCorpus != nil {
		return b.metricCorpus, nil
	}
	path := b.metricsFile
	if path == "" {
		var err error
		path, err = b.made(fmt.Sprintf("metrics-1-%d.txt", b.samples), func(w *bufio.Writer) error {
			return writeMetrics(w, seriesCount, b.samples/seriesCount)
		})
		if err != nil {
			return nil, err
		}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the metrics: %w", err)
	}
	defer f.Close()
	corpus, err := readMetrics(bufio.NewReaderSize(f, 1<<20))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	moved := corpus.move(time.Now())
	if b.metricsFile != "" {
		fmt.Printf("  %s: %d samples, their times moved by %s\n", path, corpus.count, moved.Round(time.Second))
	}
	b.metricCorpus = corpus
	return corpus, nil
}

// move shifts every sample by the same, so that the newest is of now.
func (c *metricCorpus) move(now time.Time) time.Duration {
	newest := int64(math.MinInt64)
	for _, s := range c.series {
		for _, one := range s.samples {
			newest = max(newest, one.at)
		}
	}
	by := now.UnixMilli() - newest
	for _, s := range c.series {
		for i := range s.samples {
			s.samples[i].at += by
		}
	}
	return time.Duration(by) * time.Millisecond
}
