package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/midwatch/midwatch/storage/engine"
)

// server is a ClickHouse of this program's own.
type server struct {
	*engine.Engine
	halt func() error
}

// startEngine runs an engine on a folder: one that a stopped Midwatch has left, or a new one.
func startEngine(ctx context.Context, dir string) (*server, error) {
	library, binary, err := engine.Find(os.Getenv)
	if err != nil {
		return nil, err
	}
	e := engine.New(engine.Config{Library: library, Server: binary, Dir: dir}, slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})))
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	go func() { ended <- e.Run(running) }()
	s := &server{e, func() error {
		cancel()
		return <-ended
	}}
	ready, cancelReady := context.WithTimeout(ctx, patience)
	defer cancelReady()
	if err := e.Ready(ready); err != nil {
		return nil, errors.Join(err, s.halt())
	}
	return s, nil
}

// ask runs a statement and returns the rows of its answer, which is tab-separated.
func (s *server) ask(ctx context.Context, statement string) ([][]string, error) {
	body, err := engine.Ask(ctx, s.HTTPURL(), statement)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", statement, err)
	}
	var rows [][]string
	for row := range strings.Lines(body) {
		rows = append(rows, strings.Split(strings.TrimSuffix(row, "\n"), "\t"))
	}
	return rows, nil
}

// table is what one of the engine's tables takes on disk.
type table struct {
	name        string
	bytes, rows int64
	parts       int64
}

// tables lists a database's tables that have parts.
func (s *server) tables(ctx context.Context, database string) ([]table, error) {
	rows, err := s.ask(ctx, "SELECT table, sum(bytes_on_disk), sum(rows), count() FROM system.parts WHERE active AND database = '"+database+
		"' AND table != 'schema_migrations' GROUP BY table ORDER BY table")
	if err != nil {
		return nil, err
	}
	out := make([]table, len(rows))
	for i, row := range rows {
		out[i].name = row[0]
		for k, to := range []*int64{&out[i].bytes, &out[i].rows, &out[i].parts} {
			if *to, err = strconv.ParseInt(row[k+1], 10, 64); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// columns describes what the biggest columns and the indices of a table take, in bytes a record.
func (s *server) columns(ctx context.Context, database, name string, records int) (string, error) {
	per := func(n string) string {
		bytes, err := strconv.ParseFloat(n, 64)
		if err != nil {
			return n
		}
		return strconv.FormatFloat(bytes/float64(records), 'f', 2, 64)
	}
	// Compact parts, which are the small ones, do not know their columns.
	rows, err := s.ask(ctx, "SELECT column, sum(column_bytes_on_disk) AS b FROM system.parts_columns WHERE active AND database = '"+database+
		"' AND table = '"+name+"' GROUP BY column HAVING b > 0 ORDER BY b DESC LIMIT 8")
	if err != nil {
		return "", err
	}
	var words []string
	for _, row := range rows {
		words = append(words, row[0]+" "+per(row[1]))
	}
	rows, err = s.ask(ctx, "SELECT sum(secondary_indices_compressed_bytes) FROM system.parts WHERE active AND database = '"+database+"' AND table = '"+name+"'")
	if err != nil {
		return "", err
	}
	return strings.Join(append(words, "indices "+per(rows[0][0])), ", "), nil
}

// merge makes one part of each partition of the tables.
func (s *server) merge(ctx context.Context, database string, tables []table) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	for _, t := range tables {
		if _, err := s.ask(ctx, "OPTIMIZE TABLE `"+database+"`.`"+t.name+"` FINAL"); err != nil {
			return err
		}
	}
	return nil
}
