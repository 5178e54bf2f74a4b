package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// settlePatience bounds the wait for it.
	settlePatience = 10 * time.Minute
	pollInterval   = 200 * time.Millisecond
)

// moment is what a look at the clock and at the CPU times said.
type moment struct {
	at  time.Time
	cpu time.Duration // of all processes
	own time.Duration // of the first one alone
}

// look takes the CPU times of processes with all below them.
func look(roots ...int) moment {
	return moment{time.Now(), cpuTime(roots...), processTime(roots[0])}
}

// settle looks until done is true and state has been the same for a while, and returns the first
// moment of that while: the wait itself is not part of what is measured.
func settle(ctx context.Context, quiet time.Duration, check func() (state string, done bool, err error), roots ...int) (moment, error) {
	ctx, cancel := context.WithTimeout(ctx, settlePatience)
	defer cancel()
	var since moment
	last := "\x00"
	for {
		state, done, err := check()
		if err != nil {
			return moment{}, err
		}
		if state != last || !done {
			last, since = state, look(roots...)
		}
		if done && time.Since(since.at) >= quiet {
			return since, nil
		}
		select {
		case <-ctx.Done():
			return moment{}, fmt.Errorf("wait until it is quiet: %w; the state is %s", context.Cause(ctx), state)
		case <-time.After(pollInterval):
		}
	}
}

// settleCPU looks until processes have done next to nothing for a while: less than 5 % of a core.
// It is for programs whose inner state cannot be asked for.
func settleCPU(ctx context.Context, quiet time.Duration, roots ...int) (moment, error) {
	ctx, cancel := context.WithTimeout(ctx, settlePatience)
	defer cancel()
	var past []moment
	for {
		now := look(roots...)
		past = append(past, now)
		for len(past) > 1 && now.at.Sub(past[1].at) >= quiet {
			past = past[1:]
		}
		if now.at.Sub(past[0].at) >= quiet && now.cpu-past[0].cpu < quiet/20 {
			return past[0], nil
		}
		select {
		case <-ctx.Done():
			return moment{}, fmt.Errorf("wait until it is quiet: %w", context.Cause(ctx))
		case <-time.After(pollInterval):
		}
	}
}

// engineParts describes the active parts of an engine's tables, and whether something is being
// written or merged, by what lies in its folder: the engine that Midwatch embeds lets nobody else
// log in.
func engineParts(dir string) (state string, busy bool, err error) {
	var active []string
	tables, err := filepath.Glob(filepath.Join(dir, "data", "store", "*", "*"))
	if err != nil {
		return "", false, err
	}
	for _, table := range tables {
		entries, err := os.ReadDir(table)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", false, fmt.Errorf("look at the engine's parts: %w", err)
		}
		var parts []part
		for _, e := range entries {
			if !e.IsDir() {
				continue
			}
			if strings.HasPrefix(e.Name(), "tmp_") {
				busy = true
			}
			if p, ok := parsePart(e.Name()); ok {
				parts = append(parts, p)
			}
		}
		for _, p := range parts {
			if !slices.ContainsFunc(parts, p.coveredBy) {
				active = append(active, filepath.Base(table)[:8]+"/"+p.name)
			}
		}
	}
	slices.Sort(active)
	return strings.Join(active, " "), busy, nil
}

// part is the name of a part of a table: partition_first_last_level, with a mutation maybe.
type part struct {
	name, partition    string
	first, last, level int
}

func parsePart(name string) (part, bool) {
	fields := strings.Split(name, "_")
	if len(fields) < 4 {
		return part{}, false
	}
	p := part{name: name, partition: fields[0]}
	for i, to := range []*int{&p.first, &p.last, &p.level} {
		n, err := strconv.Atoi(fields[i+1])
		if err != nil {
			return part{}, false
		}
		*to = n
	}
	return p, true
}

// coveredBy says whether a merge has made another part of this one.
func (p part) coveredBy(other part) bool {
	return other.partition == p.partition && other.first <= p.first && other.last >= p.last && other.level > p.level
}
