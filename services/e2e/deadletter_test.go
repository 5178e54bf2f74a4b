package e2e

import (
	"os/exec"
	"strings"
	"testing"
)

func TestOperatorListsWhatCouldNotBeStored(t *testing.T) {
	s := up(t)
	out := command(t, s.dir, s.env, binary(t), "deadletter", "list")
	if !strings.Contains(out, "There are no messages that could not be stored.") {
		t.Errorf("a new server lists: %s", out)
	}
}

func TestOperatorIsToldThatNothingAnswers(t *testing.T) {
	s := newServer(t, "deadletter", "list")
	cmd := exec.Command(binary(t), s.args...)
	cmd.Env = s.env
	out, err := cmd.CombinedOutput()
	if err == nil || cmd.ProcessState.ExitCode() != 1 || !strings.Contains(string(out), s.internal) {
		t.Errorf("%v: %s", err, out)
	}
	cmd = exec.Command(binary(t), "deadletter", "nonsense")
	cmd.Env = s.env
	out, err = cmd.CombinedOutput()
	if err == nil || cmd.ProcessState.ExitCode() != 2 || !strings.Contains(string(out), "nonsense") {
		t.Errorf("%v: %s", err, out)
	}
}
