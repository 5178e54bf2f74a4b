// Command bench measures the built binary as its clients meet it, and its peers with the same
// requests: records per CPU second, bytes per record on disk, memory, the time of acknowledgement,
// and how soon what was sent can be read. deployments/benchmarks/README.md says what each figure
// means.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/midwatch/midwatch/storage/engine"
)

// parts are what -only chooses from, in the order in which they run.
var parts = []struct {
	name string
	run  func(context.Context, *bench) error
}{
	{"idle", idle},
	{"logs", logs},
	{"metrics", metrics},
	{"errors", errorEvents},
	{"curve", curve},
	{"freshness", freshness},
	{"peers", peers},
}

// bench is what a run was asked for, what it has made and what it found out.
type bench struct {
	binary  string
	cache   string // corpora and peers, kept
	work    string // data folders, removed
	profile string
	small   bool // as -quick asks
	// quiet is how long nothing may change until a store counts as settled.
	quiet time.Duration
	gzip  bool

	logsFile, metricsFile     string
	lines, samples, envelopes int

	only []string
	figures
	logCorpus    [][]byte
	metricCorpus *metricCorpus
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "engine" { // the child of engine.Engine
		os.Exit(engine.Child(os.Args[2:]))
	}
	// SIGPIPE too: when nobody reads the output any more, what was started has to be stopped.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGPIPE)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) (err error) {
	b := &bench{}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.StringVar(&b.binary, "binary", filepath.Join(".bin", "midwatch"), "the built program")
	flags.StringVar(&b.logsFile, "logs", "", "JSON lines to send instead of made ones")
	flags.StringVar(&b.metricsFile, "metrics", "", "Prometheus text with timestamps to send instead of made samples")
	flags.StringVar(&b.profile, "profile", "", "folder for CPU profiles of each load; their cost is in the figures")
	flags.BoolVar(&b.small, "quick", false, "a tenth of the records, no peers, nothing recorded")
	flags.BoolVar(&b.gzip, "gzip", false, "compress OTLP and JSON bodies, as the exporters do by default")
	only := flags.String("only", "", "parts, separated by commas: idle,logs,metrics,errors,curve,freshness,peers")
	record := flags.String("record", "", "folder that gets latest.json and a line in history.jsonl")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if err := b.choose(*only); err != nil {
		return err
	}
	b.lines, b.samples, b.envelopes, b.quiet = 1_000_000, 2_000_000, 20_000, 5*time.Second
	if b.small {
		b.lines, b.samples, b.envelopes, b.quiet = 100_000, 200_000, 2_000, 1500*time.Millisecond
	}
	if err := b.folders(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.work)) }()
	if _, err := os.Stat(b.binary); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no %s: run `make build` first", b.binary)
	}
	where, err := describe(ctx, b)
	if err != nil {
		return err
	}
	fmt.Printf("Midwatch %s on %d cores, %s\n", where.Commit, where.Cores, where.Model)
	for _, p := range parts {
		if !slices.Contains(b.only, p.name) {
			continue
		}
		fmt.Printf("\n%s\n", p.name)
		if err := p.run(ctx, b); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	b.addRatios()
	fmt.Println()
	b.print(os.Stdout)
	if *record == "" {
		return nil
	}
	return b.record(*record, where)
}

func (b *bench) choose(only string) error {
	var known []string
	for _, p := range parts {
		known = append(known, p.name)
	}
	switch {
	case only != "":
		b.only = strings.Split(only, ",")
	case b.small:
		b.only = slices.DeleteFunc(known, func(name string) bool { return name == "peers" })
		return nil
	default:
		b.only = known
		return nil
	}
	for _, name := range b.only {
		if !slices.Contains(known, name) {
			return fmt.Errorf("-only: %q is none of %s", name, strings.Join(known, ", "))
		}
	}
	return nil
}

func (b *bench) folders() error {
	cache, err := os.UserCacheDir()
	if err != nil {
		return fmt.Errorf("find the cache folder: %w", err)
	}
	b.cache = filepath.Join(cache, "midwatch", "bench")
	if err := os.MkdirAll(b.cache, 0o755); err != nil {
		return fmt.Errorf("make the cache folder: %w", err)
	}
	if b.work, err = os.MkdirTemp("", "midwatch-bench-"); err != nil {
		return fmt.Errorf("make a folder for the data: %w", err)
	}
	if b.profile != "" {
		if err := os.MkdirAll(b.profile, 0o755); err != nil {
			return fmt.Errorf("make the folder of profiles: %w", err)
		}
	}
	b.binary, err = filepath.Abs(b.binary)
	return err
}
