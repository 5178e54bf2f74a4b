package engine_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/midwatch/midwatch/storage/engine"
	"github.com/midwatch/midwatch/storage/storagetest"
)

func TestEngineKeepsDataOverRestarts(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	cfg.Dir = filepath.Join(cfg.Dir, "a folder & <its> name")
	e, stop := start(t, cfg)
	if got := mustAsk(t, e, "SELECT timezone(), count() FROM system.databases WHERE name = 'midwatch' GROUP BY 1"); got != "UTC\t1" {
		t.Errorf("time zone and databases: %s", got)
	}
	mustAsk(t, e, "CREATE TABLE midwatch.t (n UInt64) ENGINE = MergeTree ORDER BY n")
	mustAsk(t, e, "INSERT INTO midwatch.t SELECT number FROM numbers(1000)")
	pid := e.PID()
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	awaitGone(t, pid)
	if got := e.PID(); got != 0 {
		t.Errorf("PID() = %d after the stop, want 0", got)
	}
	if err := e.Ready(t.Context()); err == nil {
		t.Error("Ready() = nil after the stop")
	}

	again, _ := start(t, cfg)
	if got := mustAsk(t, again, "SELECT count(), sum(n) FROM midwatch.t"); got != "1000\t499500" {
		t.Errorf("after the restart: %s", got)
	}
}

// TestEngineKeepsNoLogOfItsOwn: a log of queries or parts would grow on the disk for ever.
func TestEngineKeepsNoLogOfItsOwn(t *testing.T) {
	t.Parallel()
	e, _ := start(t, config(t))
	for _, statement := range []string{
		"CREATE TABLE midwatch.t (n UInt64) ENGINE = MergeTree ORDER BY n",
		"INSERT INTO midwatch.t VALUES (1)", "OPTIMIZE TABLE midwatch.t FINAL", "SYSTEM FLUSH LOGS", // makes those that are on
	} {
		mustAsk(t, e, statement)
	}
	const growing = "SELECT groupArray(name) FROM system.tables WHERE database = 'system' AND engine LIKE '%MergeTree' AND create_table_query NOT ILIKE '% TTL %'"
	if got := mustAsk(t, e, growing); got != "[]" {
		t.Errorf("these tables grow for ever: %s", got)
	}
}

func TestEngineHidesItsPassword(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	e, _ := start(t, cfg)
	u, err := url.Parse(e.URL())
	if err != nil {
		t.Fatal(err)
	}
	password, _ := u.User.Password()
	if len(password) < 32 || u.Path != "/midwatch" || u.Scheme != "clickhouse" {
		t.Fatalf("URL() = %s", e.URL())
	}
	commandLine, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", e.PID()))
	if err == nil && strings.Contains(string(commandLine), password) {
		t.Error("the command line has the password")
	}
	err = filepath.WalkDir(cfg.Dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return nil // the engine removes files as it goes
		}
		text, err := os.ReadFile(path)
		if err == nil && strings.Contains(string(text), password) {
			t.Errorf("%s has the password", path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"config.xml", "users.xml"} {
		info, err := os.Stat(filepath.Join(cfg.Dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %o", name, info.Mode().Perm())
		}
	}
}

// TestEngineIsShared uses the engine of storagetest, as the tests of other packages do.
func TestEngineIsShared(t *testing.T) {
	t.Parallel()
	first, second := storagetest.EngineURL(t), storagetest.EngineURL(t)
	a, err := url.Parse(first)
	if err != nil {
		t.Fatal(err)
	}
	b, err := url.Parse(second)
	if err != nil {
		t.Fatal(err)
	}
	if a.Host != b.Host || a.Path == b.Path {
		t.Errorf("addresses %s and %s", a.Redacted(), b.Redacted())
	}
}

func TestEngineLimitsItsUser(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	cfg.MemoryBytes = 500_000_000
	e, _ := start(t, cfg)
	ctx := deadline(t)
	f := func(statement, want string) {
		t.Helper()
		_, err := engine.Ask(ctx, e.HTTPURL(), statement)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", statement, err, want)
		}
	}
	f("SELECT groupArray(number) FROM numbers(1000000000)", "MEMORY_LIMIT_EXCEEDED")
	f("SELECT * FROM file('/etc/passwd', LineAsString)", "ACCESS_DENIED")
	f("SELECT * FROM url('http://127.0.0.1/', LineAsString)", "ACCESS_DENIED")
	f("SELECT * FROM remote('127.0.0.1', system.one)", "ACCESS_DENIED")
	if got := mustAsk(t, e, "SELECT 1"); got != "1" {
		t.Errorf("SELECT 1 = %s", got)
	}
}

func TestEngineRefusesOtherUsers(t *testing.T) {
	t.Parallel()
	e, _ := start(t, config(t))
	ctx := deadline(t)
	f := func(user, password string) {
		t.Helper()
		u, err := url.Parse(e.HTTPURL())
		if err != nil {
			t.Fatal(err)
		}
		u.User = url.UserPassword(user, password)
		if answer, err := engine.Ask(ctx, u.String(), "SELECT 1"); err == nil {
			t.Errorf("user %q: HTTP answers %s", user, answer)
		}
		if kind := hello(t, e.URL(), user, password); kind != 2 { // an exception
			t.Errorf("user %q: the native protocol answers with packet %d", user, kind)
		}
	}
	f("default", "")
	f("default", "default")
	f("midwatch", "")
	f("midwatch", "wrong")
	f("", "")

	u, err := url.Parse(e.URL())
	if err != nil {
		t.Fatal(err)
	}
	password, _ := u.User.Password()
	if kind := hello(t, e.URL(), "midwatch", password); kind != 0 {
		t.Errorf("the right user gets packet %d", kind)
	}
}

// hello introduces user to the native port and returns the kind of the answer: 0 is a welcome.
func hello(t testing.TB, address, user, password string) byte {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.DialTimeout("tcp", u.Host, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	packet := []byte{0} // hello
	text := func(s string) { packet = append(append(packet, byte(len(s))), s...) }
	text("test")
	packet = append(packet, 1, 1, 0xdd, 0xa7, 0x03) // version 1.1, revision 54237
	text("")
	text(user)
	text(password)
	if _, err := conn.Write(packet); err != nil {
		t.Fatal(err)
	}
	kind := make([]byte, 1)
	if _, err := io.ReadFull(conn, kind); err != nil {
		t.Fatal(err)
	}
	return kind[0]
}

func TestEngineComesBackAfterKill(t *testing.T) {
	t.Parallel()
	e, _ := start(t, config(t))
	address := e.URL()
	mustAsk(t, e, "CREATE TABLE midwatch.t (n UInt64, part UInt8) ENGINE = MergeTree ORDER BY n")
	const rowsEach = 100
	ctx := deadline(t)
	var acknowledged [3]atomic.Int64 // batches, by writer
	var writers sync.WaitGroup
	writing, stop := context.WithCancel(ctx)
	defer stop()
	for w := range acknowledged {
		writers.Go(func() {
			for batch := int64(0); writing.Err() == nil; {
				statement := fmt.Sprintf("INSERT INTO midwatch.t SELECT %d, number FROM numbers(%d)", int64(w)<<32|batch, rowsEach)
				if _, err := engine.Ask(writing, e.HTTPURL(), statement); err != nil {
					batch++ // it may be there or not: the next number counts
					if e.Ready(writing) != nil {
						return
					}
					continue
				}
				acknowledged[w].Store(acknowledged[w].Load() + 1)
				batch++
			}
		})
	}
	for range 2 {
		await(t, "writers to write", func() bool {
			return acknowledged[0].Load() > 5 && acknowledged[1].Load() > 5 && acknowledged[2].Load() > 5
		})
		pid := e.PID()
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		await(t, "another process", func() bool { now := e.PID(); return now != 0 && now != pid })
		if err := e.Ready(ctx); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	writers.Wait()
	if e.URL() != address {
		t.Errorf("URL() changed")
	}
	for w := range acknowledged {
		got, err := strconv.ParseInt(mustAsk(t, e, fmt.Sprintf(
			"SELECT count() FROM (SELECT n, count() AS c FROM midwatch.t WHERE bitShiftRight(n, 32) = %d GROUP BY n HAVING c = %d)", w, rowsEach)), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		if want := acknowledged[w].Load(); got < want {
			t.Errorf("writer %d: %d whole batches of %d acknowledged", w, got, want)
		}
	}
	if got := mustAsk(t, e, fmt.Sprintf("SELECT count() FROM (SELECT n, count() AS c FROM midwatch.t GROUP BY n HAVING c != %d)", rowsEach)); got != "0" {
		t.Errorf("%s batches are not whole", got)
	}
}

func await(t testing.TB, what string, done func() bool) {
	t.Helper()
	ctx := deadline(t)
	for !done() {
		select {
		case <-ctx.Done():
			t.Fatalf("waited in vain for %s", what)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// TestEngineSurvivesTheNetwork does to both ports what makes a session that is not interactive
// abort. A new version of the engine has to pass it.
func TestEngineSurvivesTheNetwork(t *testing.T) {
	t.Parallel()
	e, _ := start(t, config(t))
	pid := e.PID()
	var hosts []string
	for _, address := range []string{e.URL(), e.HTTPURL()} {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		hosts = append(hosts, u.Host)
	}
	// with opens a connection, of which the test wants no answer and ignores every error.
	with := func(host string, use func(*net.TCPConn)) {
		conn, err := net.DialTimeout("tcp", host, 10*time.Second)
		if err != nil {
			return
		}
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		use(conn.(*net.TCPConn))
		_ = conn.Close()
	}
	random := rand.New(rand.NewPCG(1, 2))
	junk := func() []byte {
		data := make([]byte, random.IntN(600))
		for i := range data {
			data[i] = byte(random.Uint32())
		}
		return data
	}
	welcome := append([]byte{0, 4}, "test\x01\x01\xdd\xa7\x03\x00\x08midwatch\x20"...)
	httpJunk := []string{
		"GET / HTTP/1.1\r\n", "GET /?query=SELECT%201 HTTP/1.1\r\nHost: x\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nSELECT",
		"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffff\r\nx",
		"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "GET /" + strings.Repeat("a", 100_000),
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "\r\n\r\n\r\n\x00", "GET /\x00 HTTP/9.9\r\nA:\r\n\r\n",
	}
	for round := range 250 {
		for _, host := range hosts {
			with(host, func(*net.TCPConn) {})
			with(host, func(c *net.TCPConn) { _ = c.SetLinger(0) })
			with(host, func(c *net.TCPConn) {
				_, _ = c.Write(junk())
				_ = c.SetLinger(round % 2 * -1) // every second one is reset
			})
			with(host, func(c *net.TCPConn) { _, _ = c.Write(welcome[:random.IntN(len(welcome))]) })
			with(host, func(c *net.TCPConn) {
				_, _ = io.WriteString(c, httpJunk[round%len(httpJunk)])
				_ = c.SetLinger(0)
			})
		}
	}
	// Answers that nobody reads, and clients that hang up on them.
	u, err := url.Parse(e.HTTPURL())
	if err != nil {
		t.Fatal(err)
	}
	password, _ := u.User.Password()
	for round := range 20 {
		with(hosts[1], func(c *net.TCPConn) {
			_, _ = fmt.Fprintf(c, "GET /?query=SELECT+number+FROM+numbers(100000000) HTTP/1.1\r\nHost: x\r\n"+
				"X-ClickHouse-User: midwatch\r\nX-ClickHouse-Key: %s\r\n\r\n", password)
			if round%2 == 0 {
				_, _ = io.ReadFull(c, make([]byte, 10_000))
			}
			_ = c.SetLinger(0)
		})
	}
	var idle []net.Conn
	for i := range 200 {
		conn, err := net.DialTimeout("tcp", hosts[i%2], 10*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		idle = append(idle, conn)
	}
	// One that comes while all this is sorted out may be turned away, as by any server; the next is not.
	answers := func(statement, want string) func() bool {
		return func() bool {
			got, err := engine.Ask(deadline(t), e.HTTPURL(), statement)
			return err == nil && strings.TrimSpace(got) == want
		}
	}
	await(t, "an answer beside idle connections", answers("SELECT sum(number) FROM numbers(10)", "45"))
	for _, conn := range idle {
		_ = conn.Close()
	}
	await(t, "no query to run", answers("SELECT count() FROM system.processes", "1"))
	if got := e.PID(); got != pid {
		t.Errorf("process %d died and is %d now", pid, got)
	}
	if err := syscall.Kill(pid, 0); err != nil {
		t.Errorf("process %d: %v", pid, err)
	}
}

func TestEngineEndsWithItsParent(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), parentVariable+"="+cfg.Dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatalf("the parent says %q", line)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	// The next process does not have to wait for the child's end by itself.
	e, _ := start(t, cfg)
	awaitGone(t, pid)
	if got := mustAsk(t, e, "SELECT 1"); got != "1" {
		t.Errorf("SELECT 1 = %s", got)
	}
}

func TestEngineFolderIsForOne(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	first, _ := start(t, cfg)
	second, stop := run(t, cfg, slog.New(slog.DiscardHandler))
	err := second.Ready(deadline(t))
	want := fmt.Sprintf("is used by another running process (pid %d)", os.Getpid())
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("Ready() = %v, want %s", err, want)
	}
	if ran := stop(); !errors.Is(ran, err) {
		t.Errorf("Run() = %v, Ready() = %v", ran, err)
	}
	if got := mustAsk(t, first, "SELECT 1"); got != "1" {
		t.Errorf("SELECT 1 = %s", got)
	}
}

func TestEngineSaysWhyItCannotStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	text := filepath.Join(dir, "text.so")
	if err := os.WriteFile(text, []byte("this is no library"), 0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	f := func(cfg engine.Config, want string) {
		t.Helper()
		if cfg.Dir == "" {
			cfg.Dir = t.TempDir()
		}
		e, stop := run(t, cfg, slog.New(slog.DiscardHandler))
		err := e.Ready(deadline(t))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Ready() = %v, want %s", err, want)
		}
		if got := stop(); !errors.Is(got, err) {
			t.Errorf("Run() = %v, Ready() = %v", got, err)
		}
	}
	f(engine.Config{}, "neither a library nor a server is given")
	f(engine.Config{Library: "/nowhere/libchdb.so"}, "there is no file /nowhere/libchdb.so")
	f(engine.Config{Library: dir}, dir+" is not a file")
	f(engine.Config{Library: text}, "the engine cannot run here (load the library: ")
	f(engine.Config{Library: "/lib/x86_64-linux-gnu/libm.so.6"}, "is not the library of chdb")
	f(engine.Config{Server: text}, "the engine cannot run here (")
	f(engine.Config{Server: script(t, "echo 'Code: 1. out of luck' >&2; exit 3")}, "tried 5 times: the engine ended (exit status 70), saying: Code: 1. out of luck")
	f(engine.Config{Server: script(t, ""), Dir: file}, "create the engine's folder")
}

func TestReadyGivesUpWithItsContext(t *testing.T) {
	t.Parallel()
	e := engine.New(engine.Config{Dir: t.TempDir()}, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("enough"))
	if err := e.Ready(ctx); err == nil || err.Error() != "wait for the engine: enough" {
		t.Errorf("Ready() = %v", err)
	}
	if e.PID() != 0 {
		t.Errorf("PID() = %d", e.PID())
	}
}

// TestServer puts the library behind the command line of a server: the way there is the same.
func TestServer(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	if cfg.Library != "" {
		cfg.Server = script(t, fmt.Sprintf(`
# The library cannot do without the user that a server's configuration leaves out.
grep -q '<default><password>' users.xml || sed -i 's|<users>|&<default><password></password></default>|' users.xml
test "$1 $2" = "server --config-file" || exit 9
# Nor does a server stop at the end of its input: this one has no end.
test -p endless || mkfifo endless
exec '%s' engine -library '%s' -config "$3" <>endless`, os.Args[0], cfg.Library))
		cfg.Library = ""
	}
	e, stop := start(t, cfg)
	if got := mustAsk(t, e, "SELECT 1"); got != "1" {
		t.Errorf("SELECT 1 = %s", got)
	}
	// Killing the process between must not leave the server behind.
	pid := e.PID()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	await(t, "another process", func() bool { now := e.PID(); return now != 0 && now != pid })
	if err := e.Ready(deadline(t)); err != nil {
		t.Fatal(err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}
