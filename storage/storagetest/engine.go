package storagetest

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/midwatch/midwatch/storage/engine"
)

// clickHouseVariable names a ClickHouse server to use instead of the embedded engine, as a
// clickhouse:// URL, whose user may create databases.
const clickHouseVariable = "MIDWATCH_TEST_CLICKHOUSE_URL"

// Main runs the tests of a package and returns the exit code. In the process that the engine
// starts as its child, it is the engine instead. It stops the engine that EngineURL has started.
func Main(m *testing.M) int {
	if len(os.Args) > 1 && os.Args[1] == "engine" {
		return engine.Child(os.Args[2:])
	}
	code := m.Run()
	if err := shared.stop(); err != nil {
		fmt.Fprintln(os.Stderr, "stop the engine of the tests:", err)
		code = max(code, 1)
	}
	return code
}

// EngineURL returns the address of a new, empty database for the native protocol. The first call
// starts the engine, which all tests of the binary share; the database is dropped when the test
// ends.
func EngineURL(t testing.TB) string {
	t.Helper()
	address, err := shared.address()
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(clickHouseVariable + " is not a URL") // without the URL: it has a password
	}
	name := "test_" + strings.ToLower(rand.Text())
	u.Path = "/" + name
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := execute(ctx, address, "CREATE DATABASE "+name); err != nil {
		t.Fatalf("create a database for the test: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := execute(ctx, address, "DROP DATABASE "+name+" SYNC"); err != nil {
			t.Errorf("drop the database of the test: %v", err)
		}
	})
	return u.String()
}

// execute runs one statement over the native protocol.
func execute(ctx context.Context, address, statement string) error {
	db, err := sql.Open("clickhouse", address) // the driver comes with the telemetry store
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, statement)
	return errors.Join(err, db.Close())
}

// EngineExec runs a statement in the database whose address EngineURL returned, for what the test's
// subject cannot do.
func EngineExec(t testing.TB, address, statement string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := execute(ctx, address, statement); err != nil {
		t.Fatal(err)
	}
}

// shared is the one engine of a test binary. A process can hold only one cheaply, and no test can
// hand it to the next, so it is the one variable of this package.
var shared server

// server is a ClickHouse: an engine of ours once it was asked for, or somebody's server.
type server struct {
	mu      sync.Mutex
	asked   bool
	native  string
	failure error
	halt    func() error // nil when nothing runs
}

func (s *server) address() (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.asked {
		s.asked = true
		s.failure = s.start()
	}
	return s.native, s.failure
}

func (s *server) start() error {
	if s.native = os.Getenv(clickHouseVariable); s.native != "" {
		return nil
	}
	library, binary, err := engine.Find(os.Getenv)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "midwatch-engine-")
	if err != nil {
		return err
	}
	e := engine.New(engine.Config{Library: library, Server: binary, Dir: dir}, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	s.halt = func() error {
		cancel()
		return errors.Join(<-ended, os.RemoveAll(dir))
	}
	ready, cancelReady := context.WithTimeoutCause(ctx, time.Minute, errors.New("not within a minute"))
	defer cancelReady()
	s.native = e.URL()
	return e.Ready(ready)
}

func (s *server) stop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.halt == nil {
		return nil
	}
	return s.halt()
}
