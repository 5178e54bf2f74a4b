package e2e

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// births is how often a server is killed before it was ever ready.
const births = 3

// chaos kills processes at random moments and starts them again.
type chaos struct {
	t    *testing.T
	s    *server
	nats *natsProcess // nil where it is embedded
	l    *load
	rng  *rand.Rand
}

func TestKillsAtRandomMomentsLoseAndDoubleNothing(t *testing.T) {
	p := readPlan(t)
	path := natsServerPath()
	rounds := p.rounds
	if path == "" {
		t.Log("LEFT OUT: an external NATS server as a victim; there is no nats-server on PATH nor in /usr/sbin")
	} else {
		rounds = (p.rounds + 1) / 2
	}
	t.Run("everything embedded", func(t *testing.T) { rampage(t, p.seed, rounds, nil) })
	if path != "" {
		t.Run("NATS elsewhere", func(t *testing.T) { rampage(t, p.seed+1, p.rounds-rounds, startNATS(t, path)) })
	}
}

func rampage(t *testing.T, seed uint64, rounds int, nats *natsProcess) {
	s := newServer(t, "up")
	if nats != nil {
		s.env = append(s.env, "MIDWATCH_NATS_URL="+nats.url)
	}
	c := &chaos{t: t, s: s, nats: nats, l: newLoad(t, s, seed), rng: rand.New(rand.NewPCG(seed, 0))}
	c.l.impatient = true
	// Of the first starts, none comes to its end: streams, tables and users are half made.
	for range births {
		s.start()
		time.Sleep(c.moment(700 * time.Millisecond))
		s.kill()
	}
	s.start()
	c.l.start()
	began := time.Now()
	for round := range rounds {
		c.sometimesAwait()
		c.pass(c.moment([]time.Duration{2 * time.Second, 300 * time.Millisecond}[c.rng.IntN(2)]))
		victim := c.kill()
		if c.rng.IntN(3) == 0 {
			c.pass(c.moment(400 * time.Millisecond))
			victim += ", then " + c.kill()
		}
		t.Logf("round %d of %d after %s: killed %s; %s", round+1, rounds, time.Since(began).Round(time.Second), victim, c.l.acknowledged())
	}
	c.await("readiness", func() error { return s.get(s.internal + "/readyz") })
	c.l.verify()
}

// sometimesAwait waits until the server is at work again: every second time that its roles are
// ready, every fourth time that anything is acknowledged, else not at all.
func (c *chaos) sometimesAwait() {
	switch c.rng.IntN(4) {
	case 0, 1:
		c.await("readiness", func() error { return c.s.get(c.s.internal + "/readyz") })
	case 2:
		before := c.l.total()
		c.await("a request that is acknowledged", func() error {
			if c.l.total() == before {
				return errors.New("there is none")
			}
			return nil
		})
	}
}

func (c *chaos) moment(most time.Duration) time.Duration {
	return time.Duration(c.rng.Int64N(int64(most)))
}

// pass lets time pass.
func (c *chaos) pass(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(min(time.Until(end), 50*time.Millisecond)) {
		c.tend()
	}
}

// await is like the function, for a server that may have to be started again meanwhile.
func (c *chaos) await(what string, check func() error) {
	c.t.Helper()
	await(c.t, what, func() error {
		c.tend()
		return check()
	})
}

// tend starts the server again when it has ended by itself, as its supervisor would. It may do so
// only where it cannot find its bus.
func (c *chaos) tend() {
	c.t.Helper()
	if c.l.failed.Load() {
		c.t.FailNow()
	}
	select {
	case err := <-c.s.exited:
		if c.nats == nil || c.nats.killed.IsZero() {
			c.t.Fatalf("midwatch ended by itself: %v", err)
		}
		c.s.start()
	default:
	}
}

// kill kills one process and starts it again where nobody else does. It returns whom.
func (c *chaos) kill() string {
	victims := 2
	if c.nats != nil {
		victims = 3
	}
	switch c.rng.IntN(victims) {
	case 0:
		c.s.kill()
		c.s.start()
		return "midwatch"
	case 1:
		var pid int
		c.await("a ClickHouse child", func() error {
			if pid = c.s.enginePID(); pid == 0 {
				return errors.New("there is none")
			}
			return nil
		})
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			c.t.Error(err)
		}
		return "ClickHouse"
	default:
		c.nats.kill()
		away := c.moment(time.Second)
		c.pass(away)
		c.nats.start()
		return fmt.Sprintf("NATS for %s", away.Round(time.Millisecond))
	}
}

// natsProcess is a NATS server of the test's own.
type natsProcess struct {
	t      *testing.T
	path   string
	config string
	url    string
	cmd    *exec.Cmd
	killed time.Time // the first time
}

// natsServerPath finds a NATS server to run; empty where there is none.
func natsServerPath() string {
	if path, err := exec.LookPath("nats-server"); err == nil {
		return path
	}
	const debian = "/usr/sbin/nats-server"
	if _, err := os.Stat(debian); err == nil {
		return debian
	}
	return ""
}

func startNATS(t *testing.T, path string) *natsProcess {
	t.Helper()
	dir := t.TempDir()
	port := freePort(t)
	n := &natsProcess{t: t, path: path, config: filepath.Join(dir, "nats.conf"), url: fmt.Sprintf("nats://127.0.0.1:%d", port)}
	write := func(sync string) {
		config := fmt.Sprintf("listen: \"127.0.0.1:%d\"\nmax_payload: 8MB\njetstream {\n  store_dir: %q\n  %s\n}\n", port, filepath.Join(dir, "store"), sync)
		if err := os.WriteFile(n.config, []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("sync_interval: always")
	if err := exec.Command(path, "-t", "-c", n.config).Run(); err != nil {
		// Servers before 2.10 know no such setting. What they have written outlives their own end
		// nevertheless, only not a power cut.
		t.Logf("%s does not know sync_interval: it acknowledges before it syncs", path)
		write("")
	}
	n.start()
	t.Cleanup(n.kill)
	return n
}

func (n *natsProcess) start() {
	n.t.Helper()
	n.cmd = exec.Command(n.path, "-c", n.config)
	if err := n.cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
}

// kill is kill -9.
func (n *natsProcess) kill() {
	if n.killed.IsZero() {
		n.killed = time.Now()
	}
	_ = n.cmd.Process.Kill() // it may be dead already
	_ = n.cmd.Wait()         // it was killed
}
