package engine_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/midwatch/midwatch/storage/engine"
	"github.com/midwatch/midwatch/storage/storagetest"
)

// parentVariable makes the test binary a process that runs an engine in the folder it names, and
// can be killed.
const parentVariable = "ENGINE_TEST_PARENT"

func TestMain(m *testing.M) {
	dir := os.Getenv(parentVariable)
	if dir != "" && (len(os.Args) < 2 || os.Args[1] != "engine") {
		os.Exit(parent(dir))
	}
	code := storagetest.Main(m)
	if len(os.Args) < 2 || os.Args[1] != "engine" {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
	}
	os.Exit(code)
}

func parent(dir string) int {
	library, server, err := engine.Find(os.Getenv)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	e := engine.New(engine.Config{Library: library, Server: server, Dir: dir}, slog.New(slog.DiscardHandler))
	go func() { fmt.Println(e.Run(context.Background())) }()
	if err := e.Ready(context.Background()); err != nil {
		return 1
	}
	fmt.Println(e.PID())
	select {}
}

// config finds the engine of this machine.
func config(t testing.TB) engine.Config {
	t.Helper()
	library, server, err := engine.Find(os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	return engine.Config{Library: library, Server: server, Dir: t.TempDir()}
}

// run runs an engine until the test ends or stop is called, which may be done twice.
func run(t testing.TB, cfg engine.Config, log *slog.Logger) (e *engine.Engine, stop func() error) {
	t.Helper()
	e = engine.New(cfg, log)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	stop = sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	t.Cleanup(func() { _ = stop() }) // its error is for the tests that ask
	return e, stop
}

// start runs an engine and waits until it is ready.
func start(t testing.TB, cfg engine.Config) (e *engine.Engine, stop func() error) {
	t.Helper()
	e, stop = run(t, cfg, slog.New(slog.DiscardHandler))
	if err := e.Ready(deadline(t)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("stop the engine: %v", err)
		}
	})
	return e, stop
}

func deadline(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, errors.New("a minute is over"))
	t.Cleanup(cancel)
	return ctx
}

func mustAsk(t testing.TB, e *engine.Engine, statement string) string {
	t.Helper()
	answer, err := engine.Ask(deadline(t), e.HTTPURL(), statement)
	if err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
	return strings.TrimSuffix(answer, "\n")
}

// awaitGone waits until there is no process pid, or only what is left of it until its parent asks.
func awaitGone(t testing.TB, pid int) {
	t.Helper()
	ctx := deadline(t)
	for {
		state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			return
		}
		if _, after, ok := strings.Cut(string(state), ") "); ok && strings.HasPrefix(after, "Z") {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("process %d is still there", pid)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func script(t testing.TB, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "clickhouse")
	if err := os.WriteFile(name, []byte("#!/bin/sh\n"+text), 0o700); err != nil {
		t.Fatal(err)
	}
	return name
}
