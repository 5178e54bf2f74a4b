package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/midwatch/midwatch/alerts/schedule"
)

const discoverUsage = `Finds the jobs of this machine and proposes, for each, a monitor and the changed line that tells it
how the job went. It changes nothing.

Usage: midwatch discover crontab [flags]

  --user             only the crontab of the user who asks
  --output FORMAT    text or json (text)

It reads /etc/crontab, /etc/cron.d, the users' crontabs in /var/spool/cron where they can be read (as
root), ` + "`crontab -l`" + ` and systemd's timers. What it cannot propose a line for is listed with the reason.
A slug is a monitor of the project: give the same job on two machines two slugs.

  sudo midwatch discover crontab

Exit status: 0 done, 1 not, 2 wrong usage.
`

const (
	maxCrontabBytes = 1 << 20
	maxCrontabs     = 2000
	maxTimers       = 500
	commandTimeout  = 10 * time.Second
	maxCommandBytes = 4 << 20
)

// Machine is where jobs are looked for.
type Machine struct {
	// Root is its file system.
	Root fs.FS
	// Run returns what a program prints; exec.ErrNotFound where there is none.
	Run func(ctx context.Context, name string, args ...string) ([]byte, error)
	// User is who asks, Binary where this program is: cron knows few folders.
	User, Binary string
}

// ThisMachine is the one that this process runs on.
func ThisMachine() Machine {
	m := Machine{Root: os.DirFS("/"), Run: runCommand, Binary: "midwatch"}
	if u, err := user.Current(); err == nil {
		m.User = u.Username
	}
	if p, err := os.Executable(); err == nil {
		m.Binary = p
	}
	return m
}

func runCommand(ctx context.Context, name string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	var errs tail
	cmd := exec.CommandContext(ctx, name, args...)
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(pipe, maxCommandBytes))
	if waited := cmd.Wait(); waited != nil {
		line, _, _ := strings.Cut(strings.TrimSpace(errs.text(maxAnswerLine)), "\n")
		return nil, fmt.Errorf("%w: %s", waited, line)
	}
	return data, err
}

// discovery is what was found.
type discovery struct {
	Jobs    []foundJob   `json:"jobs"`
	Skipped []skippedJob `json:"skipped"`
}

// foundJob is a job that a line can be proposed for.
type foundJob struct {
	File     string `json:"file"` // or the timer's unit
	Line     int    `json:"line,omitempty"`
	User     string `json:"user,omitempty"`
	Slug     string `json:"slug"`
	Schedule string `json:"schedule"`
	Timezone string `json:"timezone,omitempty"`
	Words    string `json:"words"` // the schedule as a person would say it
	Command  string `json:"command"`
	Stdin    string `json:"stdin,omitempty"`
	Now      string `json:"now"`
	Proposed string `json:"proposed"`
}

// skippedJob is what no line is proposed for.
type skippedJob struct {
	File   string `json:"file"`
	Line   int    `json:"line,omitempty"`
	Text   string `json:"text,omitempty"`
	Reason string `json:"reason"`
}

// Discover carries out `midwatch discover`. Errors are ErrUsage or say what did not work.
func Discover(ctx context.Context, m Machine, args []string, out io.Writer) error {
	wrong := func(format string, args ...any) error {
		return fmt.Errorf("%w: %w (`midwatch discover --help` says more)", ErrUsage, fmt.Errorf(format, args...))
	}
	flags := flag.NewFlagSet("discover", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	own := flags.Bool("user", false, "")
	format := flags.String("output", "text", "")
	words, err := parse(flags, args)
	switch {
	case errors.Is(err, flag.ErrHelp) || err == nil && slices.Equal(words, []string{"help"}):
		_, err := io.WriteString(out, discoverUsage)
		return err
	case err != nil:
		return wrong("%w", err)
	case len(words) == 0:
		io.WriteString(out, discoverUsage)
		return flag.ErrHelp
	case !slices.Equal(words, []string{"crontab"}):
		return wrong("what is discovered is crontab, not %q", strings.Join(words, " "))
	case *format != "text" && *format != "json":
		return wrong("--output is text or json, not %q", *format)
	}
	f := finder{machine: m, taken: slugs{}, found: discovery{Jobs: []foundJob{}, Skipped: []skippedJob{}}}
	f.find(ctx, *own)
	if *format == "json" {
		encoder := json.NewEncoder(out)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", "  ")
		return encoder.Encode(f.found)
	}
	return f.found.write(out)
}

// finder collects.
type finder struct {
	machine Machine
	taken   slugs
	found   discovery
	files   int
}

func (f *finder) find(ctx context.Context, own bool) {
	if own {
		f.ownCrontab(ctx)
		return
	}
	f.file("etc/crontab", true, "")
	for _, name := range f.folder("etc/cron.d") {
		f.file(path.Join("etc/cron.d", name), true, slugify(name))
	}
	// Debian has a folder of its own within the one of others.
	ownRead := false
	for _, folder := range []string{"var/spool/cron/crontabs", "var/spool/cron"} {
		for _, name := range f.folder(folder) {
			if f.file(path.Join(folder, name), false, "") && name == f.machine.User {
				ownRead = true
			}
		}
	}
	if !ownRead {
		f.ownCrontab(ctx)
	}
	f.timers(ctx)
}

func (f *finder) skip(file string, line int, text, reason string) {
	f.found.Skipped = append(f.found.Skipped, skippedJob{file, line, text, reason})
}

// folder lists the files that cron reads.
func (f *finder) folder(name string) []string {
	entries, err := fs.ReadDir(f.machine.Root, name)
	if err != nil {
		f.unreadable(name, err)
		return nil
	}
	var names []string
	for _, e := range entries {
		n := e.Name()
		left := n[0] == '.' || strings.HasSuffix(n, "~") || strings.Contains(n, ".rpm") || strings.Contains(n, ".dpkg-")
		if !e.IsDir() && !left {
			names = append(names, n)
		}
	}
	return names
}

func (f *finder) unreadable(name string, err error) {
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case errors.Is(err, fs.ErrPermission):
		f.skip("/"+name, 0, "", "it may not be read; ask as root")
	default:
		f.skip("/"+name, 0, "", err.Error())
	}
}

// file reads one crontab. The name, where there is one, is what its jobs are called by.
func (f *finder) file(name string, system bool, called string) (read bool) {
	if f.files++; f.files > maxCrontabs {
		if f.files == maxCrontabs+1 {
			f.skip("/"+name, 0, "", fmt.Sprintf("no more than %d crontabs are read", maxCrontabs))
		}
		return false
	}
	file, err := f.machine.Root.Open(name)
	if err != nil {
		f.unreadable(name, err)
		return false
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxCrontabBytes+1))
	if err != nil {
		f.unreadable(name, err)
		return false
	}
	owner := ""
	if !system {
		owner = path.Base(name)
	}
	f.crontab("/"+name, string(data), system, called, owner)
	return true
}

func (f *finder) ownCrontab(ctx context.Context) {
	out, err := f.machine.Run(ctx, "crontab", "-l")
	switch {
	case err == nil:
		f.crontab("crontab -l", string(out), false, "", f.machine.User)
	case errors.Is(err, exec.ErrNotFound), strings.Contains(err.Error(), "no crontab for"):
	default:
		f.skip("crontab -l", 0, "", err.Error())
	}
}

func (f *finder) crontab(file, text string, system bool, called, owner string) {
	if len(text) > maxCrontabBytes {
		f.skip(file, 0, "", fmt.Sprintf("it is larger than %d bytes", maxCrontabBytes))
		return
	}
	entries, faults := parseCrontab(text, system)
	for _, x := range faults {
		f.skip(file, x.line, x.text, x.reason)
	}
	for _, e := range entries {
		if slug := watchedBy(e.command); slug != "" {
			f.taken[slug] = true
			f.skip(file, e.line, e.text, "watched already, as "+slug)
			continue
		}
		by := slugOf(e.command)
		name := by
		if called != "" && by != called && by != "" && len(entries) > 1 {
			name = slugify(called + "-" + by)
		} else if called != "" {
			name = called
		}
		slug := f.taken.take(name, by)
		line, err := e.wrapped(f.machine.Binary, slug)
		if err != nil {
			f.skip(file, e.line, e.text, err.Error())
			continue
		}
		user := e.user
		if user == "" {
			user = owner
		}
		f.found.Jobs = append(f.found.Jobs, foundJob{
			File: file, Line: e.line, User: user, Slug: slug, Schedule: e.schedule, Timezone: e.timezone,
			Words: inZone(e.schedule, e.timezone), Command: e.command, Stdin: e.stdin, Now: e.text, Proposed: line,
		})
	}
}

// inZone says a schedule; what has no zone of its own is in the machine's, which goes without saying.
func inZone(expression, zone string) string {
	words := schedule.Words(schedule.Crontab, expression, zone)
	if zone == "" {
		words = strings.TrimSuffix(words, " (UTC)")
	}
	return words
}

func (d discovery) write(out io.Writer) error {
	var b bytes.Buffer
	if len(d.Jobs) == 0 {
		b.WriteString("No jobs were found to propose a line for.\n")
	} else {
		b.WriteString("Each crontab needs these lines at its top, with your address and a file that holds the project's ingest key:\n\n" +
			"  MIDWATCH_URL=https://midwatch.example.org\n  MIDWATCH_INGEST_KEY_FILE=/etc/midwatch/key\n")
	}
	for _, j := range d.Jobs {
		fmt.Fprintf(&b, "\n%s  %s", place(j.File, j.Line), j.Words)
		if j.User != "" {
			fmt.Fprintf(&b, ", as %s", j.User)
		}
		b.WriteByte('\n')
		for line := range strings.SplitSeq(j.Now, "\n") {
			b.WriteString("- " + line + "\n")
		}
		for line := range strings.SplitSeq(j.Proposed, "\n") {
			b.WriteString("+ " + line + "\n")
		}
	}
	if len(d.Skipped) > 0 {
		b.WriteString("\nLeft alone:\n\n")
	}
	for _, s := range d.Skipped {
		fmt.Fprintf(&b, "%s  %s\n", place(s.File, s.Line), s.Reason)
		if s.Text != "" {
			b.WriteString("  " + s.Text + "\n")
		}
	}
	_, err := io.WriteString(out, clean(b.String()))
	return err
}

func place(file string, line int) string {
	if line == 0 {
		return file
	}
	return fmt.Sprintf("%s:%d", file, line)
}
