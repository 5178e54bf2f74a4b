package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// cronJob prepares `midwatch cron` in a session of its own: cron has no terminal.
func cronJob(t *testing.T, address string, args ...string) (*exec.Cmd, *bytes.Buffer, *bytes.Buffer) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary(t), append([]string{"cron"}, args...)...)
	cmd.Env = append(os.Environ(), "MIDWATCH_URL="+address, "MIDWATCH_INGEST_KEY="+key, "TZ=Europe/Berlin")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	return cmd, &out, &errs
}

// runJob runs it to its end and returns its exit status.
func runJob(t *testing.T, cmd *exec.Cmd) int {
	t.Helper()
	err := cmd.Run()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode()
}

func TestJobsRunUnderCron(t *testing.T) {
	s := up(t)

	t.Run("a job that does its work", func(t *testing.T) {
		cmd, out, errs := cronJob(t, s.http, "copy", "--", "sh", "-c", "cat; echo done >&2")
		cmd.Stdin = strings.NewReader("three files\n")
		if status := runJob(t, cmd); status != 0 || out.String() != "three files\n" || errs.String() != "done\n" {
			t.Errorf("%d: %q, %q", status, out, errs)
		}
		m := s.awaitMonitor("copy", over("ok"))
		if text := m.Recent[0].Message; !strings.Contains(text, "three files\n") || !strings.Contains(text, "done\n") {
			t.Errorf("run is %+v", m.Recent[0])
		}
	})

	t.Run("a job that fails, with a schedule", func(t *testing.T) {
		cmd, _, errs := cronJob(t, s.http, "nightly", "--schedule", "30 2 * * *", "--margin", "10m", "--max-runtime", "2h", "--", "sh", "-c", "sleep 0.01; echo no tape; exit 3")
		if status := runJob(t, cmd); status != 3 || errs.Len() > 0 {
			t.Errorf("%d: %s", status, errs)
		}
		m := s.awaitMonitor("nightly", over("failed"))
		if r := m.Recent[0]; r.Message != "no tape\n" || r.DurationMS == 0 {
			t.Errorf("run is %+v", r)
		}
		var list struct {
			Monitors []struct {
				Slug     string
				Schedule json.RawMessage
			}
		}
		if err := s.api("/projects/1/monitors", around(), &list); err != nil {
			t.Fatal(err)
		}
		for _, m := range list.Monitors {
			if text := string(m.Schedule); m.Slug == "nightly" && (!strings.Contains(text, `"30 2 * * *"`) || !strings.Contains(text, `"Europe/Berlin"`)) {
				t.Errorf("schedule is %s", m.Schedule)
			}
		}
	})

	t.Run("a job that is killed", func(t *testing.T) {
		cmd, _, errs := cronJob(t, s.http, "killed", "--", "sh", "-c", "echo begun; kill -KILL $$")
		if status := runJob(t, cmd); status != 137 || errs.Len() > 0 {
			t.Errorf("%d: %s", status, errs)
		}
		m := s.awaitMonitor("killed", over("failed"))
		if m.Recent[0].Message != "begun\n" {
			t.Errorf("run is %+v", m.Recent[0])
		}
	})

	t.Run("a signal reaches all of the job", func(t *testing.T) {
		// The inner shell is what has to hear of it: the outer one waits for it.
		cmd, _, errs := cronJob(t, s.http, "stopped", "--", "sh", "-c", `trap : TERM; sh -c 'trap "echo inner; exit" TERM; echo ready; while :; do sleep 0.05; done'; exit 7`)
		ready := make(chan struct{})
		out := &lineWaiter{line: "ready", seen: ready}
		cmd.Stdout = out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		select {
		case <-ready:
		case err := <-ended:
			t.Fatalf("ended before: %v, %s", err, errs)
		}
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; err == nil {
			t.Error("the job ended well")
		}
		if status := cmd.ProcessState.ExitCode(); status != 7 || !strings.Contains(out.text.String(), "inner") {
			t.Errorf("%d: %s%s", status, &out.text, errs)
		}
		s.awaitMonitor("stopped", over("failed"))
	})

	t.Run("a long output is passed whole, and its end is kept", func(t *testing.T) {
		cmd, out, errs := cronJob(t, s.http, "wordy", "--", "seq", "200000")
		if status := runJob(t, cmd); status != 0 || !strings.HasSuffix(out.String(), "\n200000\n") || strings.Count(out.String(), "\n") != 200_000 {
			t.Errorf("%d: %d bytes, %s", status, out.Len(), errs)
		}
		s.awaitMonitor("wordy", over("ok"))
		var page struct{ Checkins []struct{ Message string } }
		if err := s.api("/projects/1/monitors/wordy/checkins", around(), &page); err != nil {
			t.Fatal(err)
		}
		if len(page.Checkins) != 1 {
			t.Fatalf("check-ins %+v", page)
		}
		if text := page.Checkins[0].Message; len(text) < 9_000 || !strings.HasPrefix(text, "…") || !strings.HasSuffix(text, "\n200000\n") {
			t.Errorf("%d bytes are kept: %.20q … %q", len(text), text, tail(text, 20))
		}
	})

	t.Run("a job that is not there", func(t *testing.T) {
		cmd, _, errs := cronJob(t, s.http, "missing", "--", "/nowhere/job")
		if status := runJob(t, cmd); status != 127 || !strings.Contains(errs.String(), "/nowhere/job") {
			t.Errorf("%d: %s", status, errs)
		}
		cmd, _, errs = cronJob(t, s.http, "forbidden", "--", "/etc/passwd")
		if status := runJob(t, cmd); status != 126 || !strings.Contains(errs.String(), "/etc/passwd") {
			t.Errorf("%d: %s", status, errs)
		}
		s.awaitMonitor("missing", over("failed"))
		s.awaitMonitor("forbidden", over("failed"))
	})

	t.Run("a job that leaves something behind", func(t *testing.T) {
		pipe := filepath.Join(t.TempDir(), "pipe")
		if err := syscall.Mkfifo(pipe, 0o600); err != nil {
			t.Fatal(err)
		}
		cmd, out, errs := cronJob(t, s.http, "behind", "--", "sh", "-c", `cat "$0" & echo now`, pipe)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// The run is told while the output is still held; what comes later is passed on all the same.
		m := s.awaitMonitor("behind", over("ok"))
		if m.Recent[0].Message != "now\n" {
			t.Errorf("run is %+v", m.Recent[0])
		}
		if err := os.WriteFile(pipe, []byte("later\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil || out.String() != "now\nlater\n" {
			t.Errorf("%v: %q, %s", err, out, errs)
		}
	})

	t.Run("two runs at once are two", func(t *testing.T) {
		first, _, _ := cronJob(t, s.http, "twice", "--", "sh", "-c", "sleep 0.3; echo first")
		if err := first.Start(); err != nil {
			t.Fatal(err)
		}
		second, _, _ := cronJob(t, s.http, "twice", "--", "echo", "second")
		if status := runJob(t, second); status != 0 {
			t.Errorf("second: %d", status)
		}
		if err := first.Wait(); err != nil {
			t.Error(err)
		}
		s.awaitMonitor("twice", func(m monitor) bool { return m.Status == "ok" && len(m.Recent) == 2 })
	})
}

// over is a monitor whose only run has ended, in what alerting noted as well as in what is stored.
func over(status string) func(monitor) bool {
	return func(m monitor) bool {
		return m.Status == status && len(m.Recent) == 1 && m.Recent[0].Status != "in_progress"
	}
}

// lineWaiter keeps what is written and says when a line came.
type lineWaiter struct {
	text bytes.Buffer
	line string
	seen chan struct{}
}

func (w *lineWaiter) Write(p []byte) (int, error) {
	n, err := w.text.Write(p)
	if w.seen != nil && strings.Contains(w.text.String(), w.line) {
		close(w.seen)
		w.seen = nil
	}
	return n, err
}

func TestJobsRunWithoutMidwatch(t *testing.T) {
	nobody := newServer(t, "up") // it is not started: nobody listens at its address
	t.Run("nothing answers", func(t *testing.T) {
		cmd, out, errs := cronJob(t, nobody.http, "alone", "--schedule", "@daily", "--", "sh", "-c", "echo works; exit 5")
		if status := runJob(t, cmd); status != 5 || out.String() != "works\n" {
			t.Errorf("%d: %q", status, out)
		}
		if text := errs.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, nobody.http) || strings.Contains(text, key) {
			t.Errorf("said %q", text)
		}
	})
	t.Run("nothing is set right", func(t *testing.T) {
		cmd, out, errs := cronJob(t, "nonsense", "alone", "--schedule", "nonsense", "--", "echo", "works")
		if status := runJob(t, cmd); status != 0 || out.String() != "works\n" || !strings.Contains(errs.String(), "MIDWATCH_URL") {
			t.Errorf("%d: %q, %q", status, out, errs)
		}
	})
}

func TestCrontabIsDiscovered(t *testing.T) {
	var found struct {
		Jobs    []struct{ Slug string }
		Skipped []struct{ Reason string }
	}
	out := command(t, t.TempDir(), nil, binary(t), "discover", "crontab", "--output", "json")
	if err := json.Unmarshal([]byte(out), &found); err != nil || found.Jobs == nil || found.Skipped == nil {
		t.Errorf("%v: %s", err, out)
	}
}
