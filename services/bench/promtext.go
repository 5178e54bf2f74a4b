package main

import (
	"bufio"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// readMetrics reads Prometheus text whose every sample has a timestamp. Comments are left out.
func readMetrics(r *bufio.Reader) (*metricCorpus, error) {
	c := &metricCorpus{}
	index := map[string]int{}
	scanner := bufio.NewScanner(r)
	for n := 1; scanner.Scan(); n++ {
		line := strings.TrimSpace(scanner.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		id, one, err := cutSample(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		i, known := index[id]
		if !known {
			s, err := parseSeries(id)
			if err != nil {
				return nil, fmt.Errorf("line %d: %w", n, err)
			}
			i = len(c.series)
			index[strings.Clone(id)] = i
			c.series = append(c.series, s)
		}
		s := &c.series[i]
		if last := len(s.samples) - 1; last >= 0 {
			if s.samples[last].at >= one.at {
				return nil, fmt.Errorf("line %d: the samples of a series are not in order of time", n)
			}
			s.counter = s.counter && s.samples[last].value <= one.value
		}
		s.samples = append(s.samples, one)
		c.count++
	}
	if err := scanner.Err(); err != nil {
		return nil, err
	}
	if c.count == 0 {
		return nil, errors.New("there is no sample")
	}
	c.agree()
	return c, nil
}

// agree makes all series of a name of one kind: a counter only if all of them could be one.
func (c *metricCorpus) agree() {
	gauges := map[string]bool{}
	for _, s := range c.series {
		if !s.counter {
			gauges[s.name] = true
		}
	}
	for i := range c.series {
		c.series[i].counter = !gauges[c.series[i].name]
	}
}

// cutSample cuts a line into what names the series, and the sample.
func cutSample(line string) (id string, s sample, err error) {
	end := strings.LastIndexByte(line, ' ')
	if end < 0 {
		return "", s, errors.New("there is no value")
	}
	if s.at, err = strconv.ParseInt(line[end+1:], 10, 64); err != nil {
		return "", s, fmt.Errorf("timestamp: %w", err)
	}
	rest := strings.TrimRight(line[:end], " ")
	middle := strings.LastIndexByte(rest, ' ')
	if middle < 0 {
		return "", s, errors.New("there is no timestamp")
	}
	if s.value, err = strconv.ParseFloat(rest[middle+1:], 64); err != nil {
		return "", s, fmt.Errorf("value: %w", err)
	}
	return strings.TrimSpace(rest[:middle]), s, nil
}

// parseSeries reads name{label="value",…}.
func parseSeries(id string) (series, error) {
	name, rest, braces := strings.Cut(id, "{")
	s := series{name: strings.TrimSpace(name), counter: true}
	if s.name == "" {
		return s, errors.New("there is no name")
	}
	if !braces {
		return s, nil
	}
	for rest = strings.TrimSpace(rest); rest != "}"; {
		key, after, ok := strings.Cut(rest, "=")
		if !ok {
			return s, fmt.Errorf("labels: %q is not closed", id)
		}
		quoted, err := strconv.QuotedPrefix(after)
		if err != nil {
			return s, fmt.Errorf("labels: %q: %w", id, err)
		}
		value, err := strconv.Unquote(quoted)
		if err != nil {
			return s, fmt.Errorf("labels: %q: %w", id, err)
		}
		s.labels = append(s.labels, label{strings.TrimSpace(key), value})
		rest = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(after[len(quoted):]), ","))
	}
	slices.SortFunc(s.labels, func(a, b label) int { return strings.Compare(a.name, b.name) })
	return s, nil
}
