package storagetest

import (
	"context"
	"crypto/rand"
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

// serverVariable names a ClickHouse server to use instead of the embedded engine, as a
// clickhouse:// URL. Its HTTP interface is expected on port 8123 of the same host.
const serverVariable = "MIDWATCH_TEST_CLICKHOUSE_URL"

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
	native, http, err := shared.addresses()
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(native)
	if err != nil {
		t.Fatalf("%s is not a URL", serverVariable)
	}
	name := "test_" + strings.ToLower(rand.Text())
	u.Path = "/" + name
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := engine.Exec(ctx, http, "CREATE DATABASE "+name); err != nil {
		t.Fatalf("create a database for the test: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := engine.Exec(ctx, http, "DROP DATABASE "+name+" SYNC"); err != nil {
			t.Errorf("drop the database of the test: %v", err)
		}
	})
	return u.String()
}

// EngineExec runs a statement in the database whose address EngineURL returned, for what the test's
// subject cannot do.
func EngineExec(t testing.TB, address, statement string) {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal("the address of the engine is not a URL")
	}
	_, http, err := shared.addresses()
	if err != nil {
		t.Fatal(err)
	}
	at, err := url.Parse(http)
	if err != nil {
		t.Fatal("the HTTP address of the engine is not a URL")
	}
	query := at.Query()
	query.Set("database", strings.TrimPrefix(u.Path, "/"))
	at.RawQuery = query.Encode()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := engine.Exec(ctx, at.String(), statement); err != nil {
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
	http    string
	failure error
	halt    func() error // nil when nothing runs
}

func (s *server) addresses() (native, http string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.asked {
		s.asked = true
		s.failure = s.start()
	}
	return s.native, s.http, s.failure
}

func (s *server) start() error {
	if address := os.Getenv(serverVariable); address != "" {
		u, err := url.Parse(address)
		if err != nil {
			return errors.New(serverVariable + " is not a URL") // without the URL: it has a password
		}
		s.native = address
		over := url.URL{Scheme: "http", User: u.User, Host: u.Hostname() + ":8123", Path: "/"}
		s.http = over.String()
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
	s.native, s.http = e.URL(), e.HTTPURL()
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
