package engine

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"time"
	"unsafe"

	"github.com/ebitengine/purego"
	"golang.org/x/sys/unix"
)

// libraryRuns says whether libchdb.so exists for this platform.
const libraryRuns = true

// lull is the time between the wish to stop and the stop. A thread of the engine that is just done
// with a connection misses the wake-up for the stop and is waited for 10 s, so clients that hang up
// together with the stop, as ours do, get a moment to be forgotten.
const lull = 100 * time.Millisecond

// runLibrary loads the engine into this process and blocks until ctx ends or the engine does.
//
// The engine is made to believe that a person sits before it: descriptor 0 is a pseudo terminal
// and the session is interactive. Otherwise it installs an error handler that aborts the whole
// process when a client's socket breaks at the wrong moment. It starts its listeners by two
// statements, then waits at its prompt; hanging up the terminal ends the session and shuts it down
// in order.
func runLibrary(ctx context.Context, library, config string) error {
	// The process would be called "exe" in lists otherwise. Only a label: an error changes nothing.
	_ = os.WriteFile("/proc/self/comm", []byte("midwatch-engine"), 0)

	master, terminal, err := openTerminal()
	if err != nil {
		return fmt.Errorf("%w: it needs a pseudo terminal from /dev/ptmx and /dev/pts: %w", errUnusable, err)
	}
	if err := unix.Dup2(terminal, 0); err != nil {
		return fmt.Errorf("%w: put the terminal on standard input: %w", errUnusable, err)
	}
	unix.Close(terminal)
	// What the prompt prints is of no use.
	null, err := unix.Open(os.DevNull, unix.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("%w: %w", errUnusable, err)
	}
	if err := unix.Dup2(null, 1); err != nil {
		return fmt.Errorf("%w: put %s on standard output: %w", errUnusable, os.DevNull, err)
	}
	unix.Close(null)

	lib, err := purego.Dlopen(library, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return fmt.Errorf("%w: load the library: %w", errUnusable, err)
	}
	run, err := purego.Dlsym(lib, "chdb_query_cmdline")
	if err != nil {
		return fmt.Errorf("%w: %s is not the library of chdb: %w", errUnusable, library, err)
	}
	failure, err := purego.Dlsym(lib, "chdb_result_error")
	if err != nil {
		return fmt.Errorf("%w: %s is not the library of chdb: %w", errUnusable, library, err)
	}
	var chdbQueryCmdline func(count int32, args unsafe.Pointer) unsafe.Pointer
	var chdbResultError func(result unsafe.Pointer) string
	purego.RegisterFunc(&chdbQueryCmdline, run)
	purego.RegisterFunc(&chdbResultError, failure)

	stop := context.AfterFunc(ctx, func() {
		time.Sleep(lull)
		unix.Close(master)
	})
	defer stop()

	args := []string{
		"clickhouse", "--config-file", config, "--interactive",
		// The level of the configuration file does not count here.
		"--log-level", "error",
		"--history_file", os.DevNull, "--disable_suggestion", "--progress", "off",
		// TCP first, so that who reaches HTTP reaches both.
		"--query", "SYSTEM START LISTEN TCP; SYSTEM START LISTEN HTTP",
	}
	// The engine keeps pointers into its arguments for as long as it runs. Unpinning them at the end
	// also keeps the Pinner itself reachable until then: one that is collected before panics.
	var pinned runtime.Pinner
	defer pinned.Unpin()
	argv := make([]*byte, len(args)+1)
	for i, arg := range args {
		argv[i] = &append([]byte(arg), 0)[0]
		pinned.Pin(argv[i])
	}
	pinned.Pin(&argv[0])

	result := chdbQueryCmdline(int32(len(args)), unsafe.Pointer(&argv[0]))
	if result == nil {
		return fmt.Errorf("the engine gave no result")
	}
	if text := chdbResultError(result); text != "" {
		return fmt.Errorf("the engine says: %s", text)
	}
	return nil
}

// openTerminal returns both ends of a new pseudo terminal. Closing master hangs up.
func openTerminal() (master, terminal int, err error) {
	master, err = unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, 0, fmt.Errorf("open /dev/ptmx: %w", err)
	}
	if err := unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0); err != nil {
		return 0, 0, fmt.Errorf("unlock the terminal: %w", err)
	}
	number, err := unix.IoctlGetUint32(master, unix.TIOCGPTN)
	if err != nil {
		return 0, 0, fmt.Errorf("number of the terminal: %w", err)
	}
	name := "/dev/pts/" + strconv.FormatUint(uint64(number), 10)
	terminal, err = unix.Open(name, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, 0, fmt.Errorf("open %s: %w", name, err)
	}
	return master, terminal, nil
}
