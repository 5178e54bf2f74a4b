// Package engine runs the ClickHouse of a single node: the real engine in a child process of its
// own on loopback ports, supervised and restarted for as long as Run runs. It knows no table;
// clients talk to it by URL as they would to any server.
//
// The child is the same executable started again with a hidden subcommand, whose body is Child.
// It loads the engine's library, or starts a clickhouse binary. A crash of the engine is then not a
// crash of ours, and our death, however sudden, ends the engine too.
package engine

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
)

// Database is the database that exists once the engine is ready. It may be empty.
const Database = "midwatch"

// user is who clients log in as.
const user = "midwatch"

// Config says what to run and where.
type Config struct {
	// Library is the path of libchdb.so. It wins over Server.
	Library string
	// Server is the path of a clickhouse binary.
	Server string
	// Dir holds data, configuration and the engine's own log. It is created, and belongs to one
	// engine at a time.
	Dir string
	// MemoryBytes bounds the memory of the whole engine; 0 is 2 GB. It never gets more than half
	// of what the machine, or the container, has.
	MemoryBytes int64
}

// Engine is one supervised ClickHouse. Its methods may be called from many goroutines.
type Engine struct {
	cfg      Config
	log      *slog.Logger
	password string
	ports    func() (*ports, error) // once; the same for the life of the Engine

	mu      sync.Mutex
	running bool          // Run was called
	pid     int           // of the child, 0 while none runs
	up      chan struct{} // closed while the child answers; replaced when it dies
	failure error         // why the latest child died
	ended   chan struct{} // closed when Run has returned
	result  error         // what Run returned; set before ended is closed
}

// New returns an engine that is not running yet.
func New(cfg Config, log *slog.Logger) *Engine {
	var password [16]byte
	rand.Read(password[:]) // never fails
	return &Engine{
		cfg:      cfg,
		log:      log,
		password: hex.EncodeToString(password[:]),
		ports:    sync.OnceValues(reservePorts),
		up:       make(chan struct{}),
		ended:    make(chan struct{}),
	}
}

// URL is the address for the native protocol, with user and password:
// clickhouse://midwatch:<password>@127.0.0.1:<port>/midwatch. It stays the same for the life of the
// Engine, over restarts of the child, and may be asked for before Run. It is empty when no port can
// be had, which Run then returns as its error.
func (e *Engine) URL() string {
	p, err := e.ports()
	if err != nil {
		return ""
	}
	return e.address("clickhouse", p.tcp, "/"+Database)
}

// HTTPURL is the address for the HTTP protocol, with user and password. Otherwise it is like URL.
func (e *Engine) HTTPURL() string {
	p, err := e.ports()
	if err != nil {
		return ""
	}
	return e.address("http", p.http, "/")
}

func (e *Engine) address(scheme string, port int, path string) string {
	u := url.URL{
		Scheme: scheme,
		User:   url.UserPassword(user, e.password),
		Host:   loopback + ":" + strconv.Itoa(port),
		Path:   path,
	}
	return u.String()
}

// PID is the process id of the child, or 0 while none runs.
func (e *Engine) PID() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.pid
}

// Ready waits until the child answers queries on both ports and Database exists. It returns early,
// with the reason, when Run has ended; when ctx ends first, the error says why the latest child
// died, if one did.
func (e *Engine) Ready(ctx context.Context) error {
	e.mu.Lock()
	up := e.up
	e.mu.Unlock()
	select {
	case <-up:
		return nil
	case <-e.ended:
		if e.result != nil {
			return e.result
		}
		return errors.New("the engine was stopped")
	case <-ctx.Done():
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.failure != nil {
			return fmt.Errorf("wait for the engine: %w; the latest try: %w", context.Cause(ctx), e.failure)
		}
		return fmt.Errorf("wait for the engine: %w", context.Cause(ctx))
	}
}

// maxAnswerBytes bounds the answer of Ask.
const maxAnswerBytes = 256 << 20

// Ask runs one statement over HTTP at address, such as HTTPURL gives, and returns its answer: rows
// in the tab-separated format unless the statement names another, of 256 MiB at most. It is for what
// has no real client yet, or no need of one: creating the database that a client's URL names, and
// looking at what is stored. No connection is left behind.
func Ask(ctx context.Context, address, statement string) (string, error) {
	u, err := url.Parse(address)
	if err != nil {
		return "", errors.New("the address of ClickHouse is not a URL") // without the URL: it has a password
	}
	login := u.User
	u.User = nil
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), strings.NewReader(statement))
	if err != nil {
		return "", fmt.Errorf("ask ClickHouse: %w", err)
	}
	password, _ := login.Password()
	req.Header.Set("X-ClickHouse-User", login.Username())
	req.Header.Set("X-ClickHouse-Key", password)
	// A connection of its own, past any proxy: the engine waits for idle ones when it ends.
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return "", fmt.Errorf("ask ClickHouse: %w", err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswerBytes+1))
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("ClickHouse answers %s: %s", resp.Status, strings.TrimSpace(string(answer)))
	}
	if err == nil && len(answer) > maxAnswerBytes {
		err = fmt.Errorf("it has more than %d bytes", maxAnswerBytes)
	}
	if err != nil {
		return "", fmt.Errorf("read the answer of ClickHouse: %w", err)
	}
	return string(answer), nil
}
