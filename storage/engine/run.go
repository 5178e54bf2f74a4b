package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"
)

const (
	minDelay = 100 * time.Millisecond // before the first restart
	maxDelay = 10 * time.Second       // between restarts, in the end
	settled  = time.Minute            // a child that lived so long starts the delays anew

	// maxStarts is how many children may die before any was ready. More tries would only hide
	// from whoever waits that it does not work.
	maxStarts = 5
	// leftoverPatience and leftoverLimit bound the wait for the child of an earlier process that
	// was killed: such a child is stopping. It is said after the first and given up after the
	// second.
	leftoverPatience = 5 * time.Second
	leftoverLimit    = time.Minute

	stopLimit = 15 * time.Second // from asking a child to stop to killing it
	slowStart = 15 * time.Second // a start that takes longer is worth a word
)

// Run starts the engine and restarts it whenever it dies, until ctx ends. It returns nil when the
// child has then stopped in order, and an error when the child had to be killed, when it cannot
// run here at all, when it dies again and again before it was ever ready, or when another engine
// uses the folder. It may be called once.
func (e *Engine) Run(ctx context.Context) (err error) {
	e.mu.Lock()
	again := e.running
	e.running = true
	e.mu.Unlock()
	if again {
		return errors.New("this engine was run before")
	}
	defer func() {
		e.result = err
		close(e.ended)
	}()

	p, err := e.ports()
	if err != nil {
		return err
	}
	defer p.release()
	config, unlock, err := e.prepare(p)
	if err != nil {
		return err
	}
	defer unlock()
	return e.supervise(ctx, config)
}

// supervise runs one child after the other.
func (e *Engine) supervise(ctx context.Context, config string) error {
	begun := time.Now()
	everReady := false
	starts := 0
	delay := minDelay
	for {
		started := time.Now()
		ready, err := e.runChild(ctx, config)
		if ctx.Err() != nil {
			return err
		}
		everReady = everReady || ready
		e.mu.Lock()
		e.failure = err
		e.mu.Unlock()

		leftover := errors.Is(err, errLeftover)
		if !everReady {
			if !leftover {
				starts++
			}
			switch {
			case errors.Is(err, errUnusable):
				return err
			case starts == maxStarts:
				return fmt.Errorf("the engine does not start, tried %d times: %w", starts, err)
			case leftover && time.Since(begun) > leftoverLimit:
				return fmt.Errorf("start the engine in %s: %w", e.cfg.Dir, err)
			}
		}
		if time.Since(started) > settled {
			delay = minDelay
		}
		switch {
		case !leftover:
			e.log.Warn("engine died, restarting", "err", err, "delay_ms", delay.Milliseconds())
		case time.Since(begun) > leftoverPatience:
			e.log.Warn("waiting for an earlier engine process to leave the folder", "dir", e.cfg.Dir, "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(delay):
		}
		delay = min(2*delay, maxDelay)
	}
}

// prepare takes the folder and writes the configuration into it.
func (e *Engine) prepare(p *ports) (config string, unlock func(), err error) {
	switch {
	case e.cfg.Library != "":
		err = readable(e.cfg.Library)
	case e.cfg.Server != "":
		err = readable(e.cfg.Server)
	default:
		err = errors.New("neither a library nor a server is given")
	}
	if err != nil {
		return "", nil, fmt.Errorf("find the engine: %w", err)
	}
	dir, err := filepath.Abs(e.cfg.Dir)
	if err != nil {
		return "", nil, fmt.Errorf("find the engine's folder: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", nil, fmt.Errorf("create the engine's folder: %w", err)
	}
	unlock, err = lockDir(dir)
	if err != nil {
		return "", nil, err
	}
	s := settings{
		Dir:      dir,
		TCPPort:  p.tcp,
		HTTPPort: p.http,
		Password: e.password,
		Memory:   memoryLimit(e.cfg.MemoryBytes, machineMemory()),
		Library:  e.cfg.Library != "",
	}
	config, err = s.write()
	if err != nil {
		unlock()
		return "", nil, err
	}
	return config, unlock, nil
}

// readable says in plain words when path is not a file that can be read.
func readable(path string) error {
	f, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no file %s", path)
	case err != nil:
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a file", path)
	}
	return nil
}

// runChild runs one child to its end. The error is nil only when ctx ended and the child stopped
// in order; ready tells whether it ever answered.
func (e *Engine) runChild(ctx context.Context, config string) (ready bool, err error) {
	output := newOutput(e.log)
	cmd, err := e.command(config, output)
	if err != nil {
		return false, err
	}
	// The child lives no longer than the other end of this pipe, which the system closes when
	// this process dies, in whatever way.
	lifeline, err := cmd.StdinPipe()
	if err != nil {
		return false, fmt.Errorf("start the engine: %w", err)
	}
	started := time.Now()
	if err := cmd.Start(); err != nil {
		return false, fmt.Errorf("start the engine: %w", err)
	}
	pid := cmd.Process.Pid
	e.mu.Lock()
	e.pid = pid
	e.mu.Unlock()
	exited := make(chan struct{})
	go func() {
		// What it returns is read from ProcessState below.
		_ = cmd.Wait()
		close(exited)
	}()
	probing, cancel := context.WithCancel(ctx)
	answers := make(chan struct{})
	probed := make(chan struct{})
	go func() {
		defer close(probed)
		if e.probe(probing) {
			close(answers)
		}
	}()
	defer func() {
		cancel()
		<-probed
		e.mu.Lock()
		defer e.mu.Unlock()
		e.pid = 0
		if ready {
			e.up = make(chan struct{})
		}
	}()

	slow := time.NewTimer(slowStart)
	defer slow.Stop()
	for {
		select {
		case <-exited:
			return ready, output.explain(cmd.ProcessState)
		case <-answers:
			answers = nil
			slow.Stop()
			ready = true
			e.mu.Lock()
			close(e.up)
			e.mu.Unlock()
			e.log.Info("engine is ready", "pid", pid, "duration_ms", time.Since(started).Milliseconds())
		case <-slow.C:
			e.log.Warn("engine is slow to start", "pid", pid, "duration_ms", time.Since(started).Milliseconds())
		case <-output.deaf:
			// It sits at its prompt and would do so for ever.
			kill(cmd)
			<-exited
			return ready, output.explain(cmd.ProcessState)
		case <-ctx.Done():
			// Either would do. An error means that it is gone already.
			_ = lifeline.Close()
			_ = cmd.Process.Signal(syscall.SIGTERM)
			select {
			case <-exited:
			case <-time.After(stopLimit):
				kill(cmd)
				<-exited
				return ready, fmt.Errorf("the engine did not stop within %s and was killed", stopLimit)
			}
			if cmd.ProcessState.ExitCode() != exitStopped {
				return ready, fmt.Errorf("stop the engine: %w", output.explain(cmd.ProcessState))
			}
			return ready, nil
		}
	}
}

// command is this executable once more, as the engine's process.
func (e *Engine) command(config string, output *output) (*exec.Cmd, error) {
	self := "/proc/self/exe" // also when the file was replaced since
	if runtime.GOOS != "linux" {
		var err error
		if self, err = os.Executable(); err != nil {
			return nil, fmt.Errorf("find this executable: %w", err)
		}
	}
	args := []string{"midwatch", "engine", "-config", config}
	if e.cfg.Library != "" {
		args = append(args, "-library", e.cfg.Library)
	} else {
		args = append(args, "-server", e.cfg.Server)
	}
	dir := filepath.Dir(config)
	return &exec.Cmd{
		Path: self,
		Args: args,
		Dir:  dir,
		// Nothing of ours: our environment holds secrets, and a person's client settings in HOME
		// must not count.
		Env: []string{
			"HOME=" + dir, "PATH=" + os.Getenv("PATH"), "LANG=C.UTF-8", "TERM=dumb", "TZ=UTC",
		},
		Stderr: output,
		// A session of its own, so that ^C in a terminal reaches only us, and so that what the
		// child starts can be killed with it.
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
		WaitDelay:   time.Second,
	}, nil
}

// kill ends the child and what it started.
func kill(cmd *exec.Cmd) {
	// An error means that it is gone already.
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
}

// probe asks until the child answers, and reports whether it did before ctx ended.
func (e *Engine) probe(ctx context.Context) bool {
	p, err := e.ports()
	if err != nil {
		return false
	}
	wait := 5 * time.Millisecond
	for {
		err := e.probeOnce(ctx, p)
		if err == nil {
			return true
		}
		e.log.LogAttrs(ctx, slog.LevelDebug, "engine does not answer yet", slog.Any("err", err))
		select {
		case <-ctx.Done():
			return false
		case <-time.After(wait):
		}
		wait = min(2*wait, 100*time.Millisecond)
	}
}

// probeOnce creates Database over HTTP and knocks at the port of the native protocol.
func (e *Engine) probeOnce(ctx context.Context, p *ports) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 10*time.Second, errors.New("no answer within 10s"))
	defer cancel()
	if _, err := Ask(ctx, e.HTTPURL(), "CREATE DATABASE IF NOT EXISTS "+Database); err != nil {
		return err
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(loopback, strconv.Itoa(p.tcp)))
	if err != nil {
		return err
	}
	return conn.Close()
}
