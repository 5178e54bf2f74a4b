package engine

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"sync"
)

const (
	keptLines    = 12  // of what a child said last
	maxLineBytes = 600 // of each of them
)

// errLeftover is what a child ends with while another holds its folder. Because Run holds the
// folder's lock, the other can only be the child of a process that is gone.
var errLeftover = errors.New("an earlier engine process still uses the folder")

// noise matches lines that explain nothing: stack frames without names, and where the log file is.
var noise = regexp.MustCompile(`^(\d+\. .*@ 0x[0-9a-f]+|Logging (error|errors|trace|debug|information|warning) to .*|warning: GOCOVERDIR .*)$`)

// output is the standard error of one child: it keeps the last lines, passes all of them on at
// debug level, and watches for the one failure that does not end the child.
type output struct {
	log *slog.Logger
	// deaf is closed when the child cannot listen on its ports.
	deaf chan struct{}

	mu      sync.Mutex
	partial []byte
	lines   []string
}

func newOutput(log *slog.Logger) *output {
	return &output{log: log, deaf: make(chan struct{})}
}

// Write takes what the child says. It never fails and keeps a bounded amount.
func (o *output) Write(data []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for rest := data; len(rest) > 0; {
		line, after, whole := bytes.Cut(rest, []byte("\n"))
		rest = after
		if room := maxLineBytes - len(o.partial); room > 0 {
			o.partial = append(o.partial, line[:min(len(line), room)]...)
		}
		if whole {
			o.add(string(o.partial))
			o.partial = o.partial[:0]
		}
	}
	return len(data), nil
}

func (o *output) add(line string) {
	line = strings.TrimSpace(strings.ToValidUTF8(line, "?"))
	if line == "" || noise.MatchString(line) {
		return
	}
	o.log.Debug("engine says", "line", line)
	if len(o.lines) == keptLines {
		o.lines = append(o.lines[:0], o.lines[1:]...)
	}
	o.lines = append(o.lines, line)
	if strings.Contains(line, "Listen [") && strings.Contains(line, "failed:") {
		select {
		case <-o.deaf:
		default:
			close(o.deaf)
		}
	}
}

// explain turns the end of the child, and what it said last, into an error.
func (o *output) explain(state *os.ProcessState) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.partial) > 0 {
		o.add(string(o.partial))
		o.partial = o.partial[:0]
	}
	said := strings.Join(o.lines, " | ")
	switch {
	case strings.Contains(said, "Another server instance in same directory is already running"):
		return fmt.Errorf("%w: %s", errLeftover, said)
	case state.ExitCode() == exitUnusable:
		return fmt.Errorf("%w (%s)", errUnusable, strings.TrimPrefix(said, "engine: "+errUnusable.Error()+": "))
	case said == "":
		return fmt.Errorf("the engine ended (%s) and said nothing", state)
	default:
		return fmt.Errorf("the engine ended (%s), saying: %s", state, said)
	}
}
