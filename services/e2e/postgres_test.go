package e2e

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
)

// nobody is who runs PostgreSQL where the tests are run by root, whom it refuses.
const nobody = 65534

// postgresProcess is a PostgreSQL server of the test's own, which may be killed.
type postgresProcess struct {
	t           *testing.T
	bin         string
	dir, url    string
	port        int
	credentials *syscall.SysProcAttr
	cmd         *exec.Cmd
	exited      chan struct{}
}

// postgresPrograms finds the folder of PostgreSQL's programs; empty where there is none.
func postgresPrograms() string {
	if path, err := exec.LookPath("initdb"); err == nil {
		if real, err := filepath.EvalSymlinks(path); err == nil && filepath.Base(filepath.Dir(real)) == "bin" {
			return filepath.Dir(real)
		}
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb") // Debian keeps them off PATH
	if err != nil || len(found) == 0 {
		return ""
	}
	return filepath.Dir(slices.Max(found))
}

func startPostgres(t *testing.T, bin string) *postgresProcess {
	t.Helper()
	// Not t.TempDir, which only its owner may look into.
	dir, err := os.MkdirTemp("", "midwatch-postgres-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	p := &postgresProcess{t: t, bin: bin, dir: filepath.Join(dir, "data"), port: freePort(t), credentials: &syscall.SysProcAttr{}}
	p.url = fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres?sslmode=disable", p.port)
	if os.Getuid() == 0 {
		if err := os.Chown(dir, nobody, nobody); err != nil {
			t.Fatal(err)
		}
		p.credentials.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
	initialise := exec.Command(filepath.Join(bin, "initdb"), "-D", p.dir, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")
	initialise.Dir, initialise.SysProcAttr = dir, p.credentials
	if out, err := initialise.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	p.start()
	t.Cleanup(p.kill)
	p.await()
	return p
}

func (p *postgresProcess) start() {
	p.t.Helper()
	p.cmd = exec.Command(filepath.Join(p.bin, "postgres"), "-D", p.dir, "-p", strconv.Itoa(p.port),
		"-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "max_connections=200",
		// What it has written outlives its own end, only not a power cut, which nobody plays here.
		"-c", "fsync=off")
	p.cmd.Dir, p.cmd.SysProcAttr = p.dir, p.credentials
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	exited, cmd := make(chan struct{}), p.cmd
	go func() { defer close(exited); _ = cmd.Wait() }() // how it ends is not asked
	p.exited = exited
}

// await waits until it answers, and starts it again when it has given up for remains of its last life.
func (p *postgresProcess) await() {
	p.t.Helper()
	db, err := sql.Open("pgx", p.url) // the driver comes with the catalog
	if err != nil {
		p.t.Fatal(err)
	}
	defer db.Close()
	await(p.t, "PostgreSQL", func() error {
		select {
		case <-p.exited:
			p.start()
		default:
		}
		return db.PingContext(p.t.Context())
	})
}

// children are the processes that it has forked.
func (p *postgresProcess) children() (pids []int) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", p.cmd.Process.Pid, p.cmd.Process.Pid))
	if err != nil {
		return nil
	}
	for field := range bytes.FieldsSeq(text) {
		if pid, err := strconv.Atoi(string(field)); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// kill is kill -9 of all of it.
func (p *postgresProcess) kill() {
	children := p.children()
	_ = p.cmd.Process.Kill() // it may be dead already
	for _, pid := range children {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			p.t.Error(err)
		}
	}
	<-p.exited
}
