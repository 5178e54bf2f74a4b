package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// tick is the unit of times in /proc: Linux shows them in hundredths on every machine.
const tick = 10 * time.Millisecond

// process is a program that is measured, with its children.
type process struct {
	name   string
	cmd    *exec.Cmd
	exited chan struct{} // closed once it has ended
	end    error         // how; set before exited is closed

	mu     sync.Mutex
	output bytes.Buffer
}

func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.output.Len() > 1<<20 {
		p.output.Reset()
	}
	return p.output.Write(b)
}

// fault is why a process is no use, with the end of what it said.
func (p *process) fault(err error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	text := p.output.String()
	return fmt.Errorf("%s: %w; it said:\n%s", p.name, err, text[max(0, len(text)-4000):])
}

func startProcess(name string, env []string, binary string, args ...string) (*process, error) {
	p := &process{name: name, cmd: exec.Command(binary, args...), exited: make(chan struct{})} //nolint:noctx // it is stopped in order
	p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = append(os.Environ(), env...), p, p
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt is for us, we stop it in order
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		p.end = p.cmd.Wait()
		close(p.exited)
	}()
	return p, nil
}

// stop asks for an orderly end and insists after a while.
func (p *process) stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	select {
	case <-p.exited:
		return nil
	case <-time.After(time.Minute):
		return errors.Join(p.fault(errors.New("did not stop")), p.kill())
	}
}

// kill ends a process and all below it at once, for data that nobody needs or that is durable.
func (p *process) kill() error {
	select {
	case <-p.exited: // its number may be another's by now
		return nil
	default:
	}
	for _, pid := range tree(p.cmd.Process.Pid) {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("kill %s: %w", p.name, err)
		}
	}
	<-p.exited
	return nil
}

// await repeats a check until it passes, the process ends or patience is over.
func (p *process) await(ctx context.Context, what string, patience time.Duration, check func() error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		err := check()
		if err == nil {
			return nil
		}
		select {
		case <-p.exited:
			return p.fault(fmt.Errorf("ended: %w", errors.Join(p.end, err)))
		case <-ctx.Done():
			return p.fault(fmt.Errorf("%s: %w", what, err))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// tree is a process and all below it.
func tree(root int) []int {
	children := map[int][]int{}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return []int{root}
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if fields := stat(pid); len(fields) > 1 {
			if parent, err := strconv.Atoi(fields[1]); err == nil {
				children[parent] = append(children[parent], pid)
			}
		}
	}
	all := []int{root}
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i]]...)
	}
	return all
}

// stat returns the fields of /proc/<pid>/stat behind the name; none for a process that is gone.
func stat(pid int) []string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	return strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
}

// cpuTime is the CPU time of processes and all below them, ended children included.
func cpuTime(roots ...int) time.Duration {
	var ticks int64
	for _, root := range roots {
		for _, pid := range tree(root) {
			fields := stat(pid)
			for _, i := range []int{11, 12, 13, 14} { // utime, stime, cutime, cstime
				if len(fields) > i {
					n, err := strconv.ParseInt(fields[i], 10, 64)
					if err == nil {
						ticks += n
					}
				}
			}
		}
	}
	return time.Duration(ticks) * tick
}

// processTime is the CPU time of one process alone.
func processTime(pid int) time.Duration {
	fields := stat(pid)
	if len(fields) < 13 {
		return 0
	}
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	if err1 != nil || err2 != nil {
		return 0
	}
	return time.Duration(user+system) * tick
}

// memory is a figure of /proc/<pid>/status, such as VmRSS or VmHWM, in MB (10^6 bytes).
func memory(pid int, field string) float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, field+":"); ok {
			kib, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			if err == nil {
				return kib * 1024 / 1e6
			}
		}
	}
	return 0
}

// memoryOfAll sums a figure of memory over trees.
func memoryOfAll(field string, roots ...int) (sum float64) {
	for _, root := range roots {
		for _, pid := range tree(root) {
			sum += memory(pid, field)
		}
	}
	return sum
}

// freePort is a loopback port that nobody listens on. It lies below those that the system gives to
// outgoing connections, so that it stays free.
func freePort() (int, error) {
	portMu.Lock()
	defer portMu.Unlock()
	for range 1000 {
		lastPort++
		l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(lastPort)) //nolint:noctx // closed at once
		if err == nil {
			return lastPort, l.Close()
		}
	}
	return 0, errors.New("there is no free port")
}

var (
	portMu   sync.Mutex
	lastPort = 10_000 + os.Getpid()%200*100
)

// folderBytes is the size of all files in a folder.
func folderBytes(dir string) (sum int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			sum += info.Size()
		}
		return err
	})
	return sum, err
}

// quantile of unsorted durations, in milliseconds.
func quantile(all []time.Duration, q float64) float64 {
	if len(all) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(all))
	return float64(sorted[min(len(sorted)-1, int(q*float64(len(sorted))))].Microseconds()) / 1000
}
