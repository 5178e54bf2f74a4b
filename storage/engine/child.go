package engine

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

// How the child ended, for the supervisor.
const (
	exitStopped  = 0  // asked to stop, and did
	exitDied     = 70 // the engine came back unasked, or did not stop when asked
	exitUnusable = 78 // it can never run here: no library, no pseudo terminal
)

// childStopLimit is how long a child whose parent is gone may take to stop. It is longer than
// stopLimit, because the parent, while it lives, decides.
const childStopLimit = 30 * time.Second

// errUnusable marks a failure that another try cannot cure.
var errUnusable = errors.New("the engine cannot run here")

// Child is the body of the hidden subcommand that Run starts: it is the engine's process. It stops
// when its standard input ends, which happens at the latest with its parent's death, and on
// SIGTERM and SIGINT. It returns the exit code, and says on standard error why it is not zero.
//
// The process must do nothing else, before or beside: the library takes over signal handlers and
// descriptors 0 and 1.
func Child(args []string) int {
	flags := flag.NewFlagSet("engine", flag.ContinueOnError)
	library := flags.String("library", "", "libchdb.so to load")
	server := flags.String("server", "", "clickhouse binary to run")
	config := flags.String("config", "", "configuration file")
	if err := flags.Parse(args); err != nil {
		return exitUnusable
	}

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	// Never given back to the system: a second signal must not cut an orderly stop short.
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-signals
		cancel()
	}()
	// What the library and a terminal may send, and what would end a Go program.
	signal.Ignore(syscall.SIGPIPE, syscall.SIGHUP)
	parent, err := syscall.Dup(0)
	if err != nil {
		fmt.Fprintln(os.Stderr, "engine: keep standard input:", err)
		return exitUnusable
	}
	syscall.CloseOnExec(parent)
	go func() {
		// Nothing is ever written: this returns at the end of input. An error is an end too.
		_, _ = io.Copy(io.Discard, os.NewFile(uintptr(parent), "parent"))
		cancel()
	}()
	go func() {
		<-ctx.Done()
		time.Sleep(childStopLimit)
		fmt.Fprintln(os.Stderr, "engine: did not stop when asked")
		os.Exit(exitDied)
	}()

	if *library != "" {
		err = runLibrary(ctx, *library, *config)
	} else {
		err = runServer(ctx, *server, *config)
	}
	switch {
	case errors.Is(err, errUnusable):
		fmt.Fprintln(os.Stderr, "engine:", err)
		return exitUnusable
	case ctx.Err() != nil:
		return exitStopped
	case err != nil:
		fmt.Fprintln(os.Stderr, "engine:", err)
		return exitDied
	default:
		fmt.Fprintln(os.Stderr, "engine: ended without being asked to")
		return exitDied
	}
}

// runServer runs a ClickHouse server. A process stands between it and the supervisor because a
// server does not watch its standard input: without one, it would outlive a parent that is killed.
func runServer(ctx context.Context, server, config string) error {
	// The death signal below is bound to the thread that starts the server, not to the process.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.CommandContext(ctx, server, "server", "--config-file", config)
	cmd.Dir = filepath.Dir(config)
	cmd.Stderr = os.Stderr
	// Otherwise the server forks once more and the signals reach only its watchdog.
	cmd.Env = append(os.Environ(), "CLICKHOUSE_WATCHDOG_ENABLE=0")
	cmd.SysProcAttr = diesWithParent()
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%w: %w", errUnusable, err)
	}
	return cmd.Wait()
}
