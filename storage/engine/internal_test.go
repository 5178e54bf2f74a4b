package engine

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestVersionIsThatOfTheLockFile(t *testing.T) {
	t.Parallel()
	const name = "@chdb/lib-linux-x64-gnu"
	text, err := os.ReadFile("../../deployments/engine/package-lock.json")
	if err != nil {
		t.Fatal(err)
	}
	var lock struct {
		Packages map[string]struct {
			Version, Resolved, Integrity string
			Dependencies                 map[string]string
		}
	}
	if err := json.Unmarshal(text, &lock); err != nil {
		t.Fatal(err)
	}
	got := lock.Packages["node_modules/"+name]
	if got.Version != Version || lock.Packages[""].Dependencies[name] != Version {
		t.Errorf("the lock file has %s and %s, Version is %s", got.Version, lock.Packages[""].Dependencies[name], Version)
	}
	if !strings.HasPrefix(got.Integrity, "sha512-") || got.Resolved != "" {
		t.Errorf("integrity %q, resolved %q", got.Integrity, got.Resolved)
	}
}

func TestFind(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(mode os.FileMode, parts ...string) string {
		name := filepath.Join(append([]string{dir}, parts...)...)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, nil, mode); err != nil {
			t.Fatal(err)
		}
		return name
	}
	named := file(0o600, "named.so")
	inHome := file(0o600, "home", ".cache", "midwatch", "engine", Version, "libchdb.so")
	inCache := file(0o600, "cache", "midwatch", "engine", Version, "libchdb.so")
	binary := file(0o700, "bin", "clickhouse")
	file(0o600, "plain", "clickhouse")
	home, cache := filepath.Join(dir, "home"), filepath.Join(dir, "cache")
	path := strings.Join([]string{"", ".", filepath.Join(dir, "plain"), filepath.Join(dir, "bin")}, ":")

	find := func(env ...string) (string, string, error) {
		return Find(func(name string) string {
			for i := 0; i < len(env); i += 2 {
				if env[i] == name {
					return env[i+1]
				}
			}
			return ""
		})
	}
	f := func(library, server string, env ...string) {
		t.Helper()
		gotLibrary, gotServer, err := find(env...)
		if gotLibrary != library || gotServer != server || err != nil {
			t.Errorf("Find(%q) = %q, %q, %v; want %q, %q", env, gotLibrary, gotServer, err, library, server)
		}
	}
	f(named, "", "MIDWATCH_ENGINE_LIB", named, "HOME", home, "PATH", path)
	f("", binary, "HOME", dir, "PATH", path)
	if libraryRuns {
		f(inHome, "", "HOME", home, "PATH", path)
		f(inHome, "", "HOME", home, "XDG_CACHE_HOME", "relative")
		f(inCache, "", "HOME", home, "XDG_CACHE_HOME", cache)
	}

	fails := func(want string, env ...string) {
		t.Helper()
		if _, _, err := find(env...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Find(%q): %v, want %s", env, err, want)
		}
	}
	fails("MIDWATCH_ENGINE_LIB: there is no file /nowhere", "MIDWATCH_ENGINE_LIB", "/nowhere", "PATH", path)
	fails("put a `clickhouse` binary on PATH, or set MIDWATCH_CLICKHOUSE_URL", "HOME", dir, "PATH", filepath.Join(dir, "plain"))
	fails("put a `clickhouse` binary on PATH, or set MIDWATCH_CLICKHOUSE_URL")
}

func TestSettingsAreWellFormed(t *testing.T) {
	t.Parallel()
	for _, library := range []bool{true, false} {
		s := settings{
			Dir: filepath.Join(t.TempDir(), `a <b> & "c" 'd' ]]>`), TCPPort: 1, HTTPPort: 2,
			Password: "secret", Memory: 1 << 30, Library: library,
		}
		if _, err := s.write(); err != nil {
			t.Fatal(err)
		}
		if _, err := s.write(); err != nil {
			t.Fatalf("over the files that are there: %v", err)
		}
		config := parse(t, filepath.Join(s.Dir, "config.xml"))
		for path, want := range map[string]string{
			"clickhouse/path":                          s.Dir + "/data/",
			"clickhouse/users_config":                  s.Dir + "/users.xml",
			"clickhouse/tcp_port":                      "1",
			"clickhouse/http_port":                     "2",
			"clickhouse/max_server_memory_usage":       "1073741824",
			"clickhouse/mark_cache_size":               "33554432",
			"clickhouse/merge_tree/fsync_after_insert": "1",
		} {
			if config[path] != want {
				t.Errorf("%s = %q, want %q", path, config[path], want)
			}
		}
		users := parse(t, filepath.Join(s.Dir, "users.xml"))
		const hash = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"
		if got := users["clickhouse/users/midwatch/password_sha256_hex"]; got != hash {
			t.Errorf("password_sha256_hex = %s", got)
		}
		if _, ok := users["clickhouse/users/default/password"]; ok != library {
			t.Errorf("there is a user default: %t, the library needs it: %t", ok, library)
		}
	}
}

// parse returns the text of each element by its path.
func parse(t *testing.T, name string) map[string]string {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	elements := make(map[string]string)
	var path []string
	for d := xml.NewDecoder(f); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return elements
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			path = append(path, token.Name.Local)
			elements[strings.Join(path, "/")] = ""
		case xml.EndElement:
			path = path[:len(path)-1]
		case xml.CharData:
			elements[strings.Join(path, "/")] += strings.TrimSpace(string(token))
		}
	}
}

func TestMemoryLimit(t *testing.T) {
	t.Parallel()
	f := func(wanted, machine, want int64) {
		t.Helper()
		if got := memoryLimit(wanted, machine); got != want {
			t.Errorf("memoryLimit(%d, %d) = %d, want %d", wanted, machine, got, want)
		}
	}
	f(0, 0, defaultMemory)
	f(-1, 64_000_000_000, defaultMemory)
	f(0, 2_000_000_000, 1_000_000_000)
	f(8_000_000_000, 64_000_000_000, 8_000_000_000)
	f(8_000_000_000, 10_000_000_000, 5_000_000_000)
	f(8_000_000_000, 0, 8_000_000_000)
	f(1, 0, minMemory)
	f(0, 500_000_000, minMemory)
}

func TestOutputExplainsADeath(t *testing.T) {
	t.Parallel()
	died := func(code int) *os.ProcessState {
		cmd := exec.Command("/bin/sh", "-c", fmt.Sprintf("exit %d", code))
		_ = cmd.Run() // its end is what is wanted
		return cmd.ProcessState
	}
	explain := func(code int, said string) error {
		o := newOutput(slog.New(slog.DiscardHandler))
		// In pieces, as a pipe gives them.
		for i := 0; i < len(said); i += 7 {
			if n, err := o.Write([]byte(said[i:min(i+7, len(said))])); err != nil || n == 0 {
				t.Fatalf("Write = %d, %v", n, err)
			}
		}
		return o.explain(died(code))
	}
	f := func(code int, said, want string) {
		t.Helper()
		if err := explain(code, said); err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
	f(3, "", "the engine ended (exit status 3) and said nothing")
	f(3, "one\n\n  two", "the engine ended (exit status 3), saying: one | two")
	f(3, "Logging error to /x/engine.log\nwhy\n12. ? @ 0x000000001c8fa4b3\n", "the engine ended (exit status 3), saying: why")
	f(3, strings.Repeat("x\n", 20), "the engine ended (exit status 3), saying: "+strings.Repeat("x | ", keptLines-1)+"x")
	f(3, strings.Repeat("y", 5000)+"\nz", "the engine ended (exit status 3), saying: "+strings.Repeat("y", maxLineBytes)+" | z")
	const unusable = "engine: the engine cannot run here: no such thing\n"
	f(exitUnusable, unusable, "the engine cannot run here (no such thing)")
	if err := explain(exitUnusable, unusable); !errors.Is(err, errUnusable) {
		t.Errorf("%v is not errUnusable", err)
	}
	const held = "Code: 76. DB::Exception: Cannot lock file /x/status. Another server instance in same directory is already running. (CANNOT_OPEN_FILE)"
	f(exitDied, held, errLeftover.Error()+": "+held)
	if err := explain(exitDied, held); !errors.Is(err, errLeftover) {
		t.Errorf("%v is not errLeftover", err)
	}
}

func TestOutputNoticesDeafness(t *testing.T) {
	t.Parallel()
	o := newOutput(slog.New(slog.DiscardHandler))
	line := "Code: 210. DB::Exception: Listen [127.0.0.1]:19500 failed: Poco::Exception. Code: 1000\n"
	fmt.Fprint(o, "Listen to this\n")
	select {
	case <-o.deaf:
		t.Error("deaf too early")
	default:
	}
	fmt.Fprint(o, line, line)
	select {
	case <-o.deaf:
	default:
		t.Error("not deaf")
	}
}

func FuzzOutput(f *testing.F) {
	f.Add([]byte("one\ntwo"), []byte("\n"))
	f.Add([]byte("Listen [x] failed:\n\xff\xfe"), []byte("Listen [x] failed:\n"))
	cmd := exec.Command("/bin/sh", "-c", "exit 3")
	_ = cmd.Run() // its end is what is wanted
	f.Fuzz(func(t *testing.T, a, b []byte) {
		o := newOutput(slog.New(slog.DiscardHandler))
		for _, data := range [][]byte{a, b, a} {
			if n, err := o.Write(data); n != len(data) || err != nil {
				t.Fatalf("Write = %d, %v", n, err)
			}
		}
		if text := o.explain(cmd.ProcessState).Error(); len(text) > (keptLines+1)*(3*maxLineBytes) {
			t.Fatalf("%d bytes", len(text))
		}
	})
}
