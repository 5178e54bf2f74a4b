package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/midwatch/midwatch/alerts/schedule"
)

const cronUsage = `Runs a job and tells Midwatch when it began, how it ended, how long it took and what it wrote.

Usage: midwatch cron <slug> [flags] -- <command> [arguments]

  --schedule S      when the job is due: '30 2 * * *', @daily, or an interval such as 15m;
                    it creates the monitor <slug>, or changes it
  --timezone ZONE   of the schedule; by default the one of this machine
  --margin D        how late the job may be, in whole minutes: 10m
  --max-runtime D   how long it may take, in whole minutes: 2h
  --url URL         of Midwatch; by default MIDWATCH_URL or http://127.0.0.1:8080
  --key KEY         the project's ingest key; by default MIDWATCH_INGEST_KEY, or the file that
                    MIDWATCH_INGEST_KEY_FILE names (other users can read flags in the list of processes)

A slug is 1 to 100 lower-case letters, digits, - and _. Without a schedule a new monitor expects
nothing: it notes runs and failures.

In a crontab:

  MIDWATCH_URL=https://midwatch.example.org
  MIDWATCH_INGEST_KEY_FILE=/etc/midwatch/key
  30 2 * * * /usr/local/bin/midwatch cron backup --schedule '30 2 * * *' -- /usr/local/bin/backup.sh

The job's input and output are passed through, and the end of the output is kept with the run.
Signals are passed to the job. Where Midwatch cannot be reached, or a setting is wrong, the job runs
all the same: a line on standard error says so, at most 13 seconds after the job has ended.

Exit status: that of the job, 128+n where signal n ended it, 126 or 127 where it could not be
run or found; 2 wrong usage, and the job was not run.
`

const (
	defaultURL = "http://127.0.0.1:8080"

	// tailBytes is how much of the end of a job's output is kept until the job ends.
	tailBytes = 100 << 10
	// bodyBytes is how much of it is sent where the server does not say how much it keeps.
	bodyBytes = 10_000

	// environment is what Sentry's check-ins are in unless they say otherwise. It pairs start and end
	// of a run, which may come by different protocols.
	environment = "production"

	attemptTimeout = 5 * time.Second        // of one request
	firstBackoff   = 500 * time.Millisecond // doubled by each attempt
	startBound     = time.Minute            // how long all attempts at telling the start may take
	startGrace     = 2 * time.Second        // how long the start may still take once the job has ended
	endBound       = 10 * time.Second       // how long all attempts at telling the end may take
	outputGrace    = time.Second            // how long after the end its last output is waited for

	maxKeyFileBytes = 4 << 10
	maxAnswerLine   = 200
)

var (
	slugPattern = regexp.MustCompile(`^[a-z0-9_-]{1,100}$`)
	keyPattern  = regexp.MustCompile(`^[0-9A-Za-z_-]{1,100}$`)
)

// Job is what `midwatch cron` runs, and the streams of this process, which the job gets.
type Job struct {
	Args           []string
	Getenv         func(string) string
	Stdin          *os.File
	Stdout, Stderr io.Writer
}

// Cron carries out `midwatch cron` and returns the exit status of the process. Until it returns it
// takes the signals of the process: they are the job's.
func Cron(j Job) int {
	s, err := parseCronCall(j.Args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		io.WriteString(j.Stdout, cronUsage)
		return 0
	case err != nil:
		fmt.Fprintln(j.Stderr, "midwatch cron:", err)
		return 2
	}
	r := &run{job: j, call: s, id: uuid.Must(uuid.NewV7()).String()}
	r.limit.Store(bodyBytes)
	if r.reporter, err = newReporter(s, j.Getenv); err != nil {
		r.warn("%v; the job runs all the same, and Midwatch does not hear of it", err)
	} else if err := r.reporter.configure(s, j.Getenv); err != nil {
		r.warn("%v; the job runs all the same, and its monitor is left as it is", err)
	}
	return r.run()
}

// cronCall is what the command line says.
type cronCall struct {
	slug, schedule, timezone, url, key string
	margin, maxRuntime                 time.Duration
	command                            []string
}

func parseCronCall(args []string) (cronCall, error) {
	wrong := func(format string, args ...any) (cronCall, error) {
		return cronCall{}, fmt.Errorf("%w: %w (`midwatch cron --help` says more)", ErrUsage, fmt.Errorf(format, args...))
	}
	var c cronCall
	flags := flag.NewFlagSet("cron", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&c.schedule, "schedule", "", "")
	flags.StringVar(&c.timezone, "timezone", "", "")
	flags.DurationVar(&c.margin, "margin", 0, "")
	flags.DurationVar(&c.maxRuntime, "max-runtime", 0, "")
	flags.StringVar(&c.url, "url", "", "")
	flags.StringVar(&c.key, "key", "", "")
	before := args
	for i, a := range args {
		if a == "--" {
			before, c.command = args[:i], args[i+1:]
			break
		}
	}
	words, err := parse(flags, before)
	switch {
	case errors.Is(err, flag.ErrHelp) || len(words) == 1 && words[0] == "help" && len(c.command) == 0:
		return c, flag.ErrHelp
	case err != nil:
		return wrong("%w", err)
	case len(words) != 1:
		return wrong("one slug is expected before --, not %d words", len(words))
	case len(c.command) == 0:
		return wrong("the job's command is expected behind --")
	case c.schedule == "" && (c.timezone != "" || c.margin != 0 || c.maxRuntime != 0):
		return wrong("--timezone, --margin and --max-runtime go with --schedule")
	case c.margin < 0 || c.maxRuntime < 0:
		return wrong("--margin and --max-runtime are not negative")
	}
	c.slug = words[0]
	return c, nil
}

// run is one run of a job.
type run struct {
	job      Job
	call     cronCall
	id       string // names the run: it pairs start and end
	reporter *reporter
	limit    atomic.Int64 // how many bytes of output the server keeps
	out      tail
}

// warn writes one line for whoever reads the job's errors.
func (r *run) warn(format string, args ...any) {
	fmt.Fprintf(r.job.Stderr, "midwatch cron: %s\n", clean(fmt.Sprintf(format, args...)))
}

func (r *run) run() int {
	signals := make(chan os.Signal, 16)
	var taken []os.Signal
	for _, s := range []os.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGUSR2} {
		if !signal.Ignored(s) { // by nohup and its like: the job is to ignore it too
			taken = append(taken, s)
		}
	}
	signal.Notify(signals, taken...)
	defer signal.Stop(signals)
	// A reader that went away is the job's to notice, not a reason to end before it.
	pipes := make(chan os.Signal, 1)
	signal.Notify(pipes, syscall.SIGPIPE)
	defer signal.Stop(pipes)

	began := time.Now()
	cmd, copied, err := r.start()
	if err != nil {
		status := 126
		if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
			status = 127
		}
		text := fmt.Sprintf("cannot run the job: %v", err)
		r.warn("%s", text)
		fmt.Fprintln(&r.out, text)
		r.report(r.tellStart(), status, 0)
		return status
	}
	started := r.tellStart()
	ended := make(chan int, 1)
	go func() {
		_ = cmd.Wait() // the state says it all
		ended <- exitStatus(cmd.ProcessState)
	}()
	var status int
	for running := true; running; {
		select {
		case s := <-signals:
			forward(cmd, s)
		case status = <-ended:
			running = false
		}
	}
	took := time.Since(began)
	grace := time.NewTimer(outputGrace)
	defer grace.Stop()
	select {
	case <-copied:
	case <-grace.C: // something that the job left behind still holds its output
	}
	r.report(started, status, took)
	// What was left behind would be ended by its next word if the output were closed now.
	select {
	case <-copied:
	case s := <-signals:
		forward(cmd, s)
	}
	return status
}

// start starts the command. The channel is closed once all of its output is passed on.
func (r *run) start() (*exec.Cmd, <-chan struct{}, error) {
	// Nothing of ours may end the job.
	cmd := exec.CommandContext(context.Background(), r.call.command[0], r.call.command[1:]...)
	if r.job.Stdin != nil {
		cmd.Stdin = r.job.Stdin
	}
	// On a terminal the job stays in the group that the terminal knows, which may read from it and
	// gets its Ctrl-C. Elsewhere it has a group of its own, so that signals reach all of it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: !onTerminal()}
	outRead, outWrite, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	errRead, errWrite, err := os.Pipe()
	if err != nil {
		outRead.Close()
		outWrite.Close()
		return nil, nil, err
	}
	cmd.Stdout, cmd.Stderr = outWrite, errWrite
	err = cmd.Start()
	outWrite.Close()
	errWrite.Close()
	if err != nil {
		outRead.Close()
		errRead.Close()
		return nil, nil, err
	}
	var both sync.WaitGroup
	both.Go(func() { r.pass(outRead, r.job.Stdout) })
	both.Go(func() { r.pass(errRead, r.job.Stderr) })
	copied := make(chan struct{})
	go func() { both.Wait(); close(copied) }()
	return cmd, copied, nil
}

// pass hands on what the job writes and keeps its end. When nobody reads any more the job's own
// pipe is closed, which tells it.
func (r *run) pass(from *os.File, to io.Writer) {
	defer from.Close()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		_, _ = r.out.Write(buffer[:n])
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func onTerminal() bool {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		return false
	}
	tty.Close()
	return true
}

func forward(cmd *exec.Cmd, s os.Signal) {
	number, ok := s.(syscall.Signal)
	if !ok {
		return
	}
	switch {
	case cmd.SysProcAttr.Setpgid:
		_ = syscall.Kill(-cmd.Process.Pid, number) // it may be gone
	case number == syscall.SIGINT, number == syscall.SIGQUIT: // the terminal sent it to the job as well
	default:
		_ = cmd.Process.Signal(number)
	}
}

func exitStatus(s *os.ProcessState) int {
	if s == nil {
		return 126
	}
	if w, ok := s.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		return 128 + int(w.Signal())
	}
	return s.ExitCode()
}

// started is a start that is being told; done is closed when it is over.
type started struct {
	done   chan struct{}
	cancel context.CancelFunc
	err    error // to be read once done is closed
}

// tellStart tells that the job runs, beside it.
func (r *run) tellStart() *started {
	ctx, cancel := context.WithTimeout(context.Background(), startBound)
	s := &started{done: make(chan struct{}), cancel: cancel}
	if r.reporter == nil {
		close(s.done)
		return s
	}
	go func() {
		defer close(s.done)
		limit, err := r.reporter.begin(ctx, r.id)
		if limit > 0 {
			r.limit.Store(int64(min(limit, tailBytes)))
		}
		s.err = err
	}()
	return s
}

// report tells the end, after the start, and returns within startGrace and endBound.
func (r *run) report(s *started, status int, took time.Duration) {
	defer s.cancel()
	if r.reporter == nil {
		return
	}
	grace := time.AfterFunc(startGrace, s.cancel)
	defer grace.Stop()
	<-s.done
	ctx, cancel := context.WithTimeout(context.Background(), endBound)
	defer cancel()
	body := r.out.text(int(r.limit.Load()))
	if err := r.reporter.end(ctx, r.id, status, took, body); err != nil {
		r.warn("the end of the job was not told: %v", err)
		return
	}
	if s.err != nil {
		r.warn("the start of the job was not told: %v", s.err)
	}
}

// reporter tells Midwatch about a run.
type reporter struct {
	base, key, slug string
	config          map[string]any // the monitor's, as Sentry's clients say it; nil for none
	http            *http.Client
}

// newReporter finds out where to tell, and by which key.
func newReporter(c cronCall, getenv func(string) string) (*reporter, error) {
	if !slugPattern.MatchString(c.slug) {
		return nil, fmt.Errorf("the slug %q is not 1 to 100 lower-case letters, digits, - and _", c.slug)
	}
	base := c.url
	if base == "" {
		base = getenv("MIDWATCH_URL")
	}
	if base == "" {
		base = defaultURL
	}
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, errors.New("MIDWATCH_URL (or --url) is not an address such as https://midwatch.example.org")
	}
	key := c.key
	if key == "" {
		if key, err = secret(getenv, "MIDWATCH_INGEST_KEY"); err != nil {
			return nil, err
		}
	}
	switch {
	case key == "":
		return nil, errors.New("there is no ingest key: set MIDWATCH_INGEST_KEY or MIDWATCH_INGEST_KEY_FILE")
	case !keyPattern.MatchString(key):
		return nil, errors.New("the ingest key is malformed")
	}
	return &reporter{base: strings.TrimRight(base, "/"), key: key, slug: c.slug, http: &http.Client{
		// A redirected POST arrives as a GET without its body, or at a page for people.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// configure takes the schedule along, if there is one. An error leaves the reporter without.
func (r *reporter) configure(c cronCall, getenv func(string) string) (err error) {
	if c.schedule == "" {
		return nil
	}
	zone := c.timezone
	if zone == "" {
		zone = localZone(getenv)
	}
	r.config, err = monitorConfig(c, zone)
	return err
}

// secret reads a variable, or the file that the one with _FILE behind its name names.
func secret(getenv func(string) string, name string) (string, error) {
	path := getenv(name + "_FILE")
	if value := getenv(name); value != "" || path == "" {
		return value, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("%s_FILE: %w", name, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxKeyFileBytes))
	if err != nil {
		return "", fmt.Errorf("%s_FILE: %w", name, err)
	}
	return strings.TrimSpace(string(data)), nil
}

// monitorConfig is what Sentry's check-ins carry about their monitor.
func monitorConfig(c cronCall, zone string) (map[string]any, error) {
	config := map[string]any{}
	if every, err := time.ParseDuration(c.schedule); err == nil {
		seconds := strconv.FormatInt(int64(every/time.Second), 10)
		if _, err := schedule.Parse(schedule.Interval, seconds, ""); err != nil {
			return nil, fmt.Errorf("--schedule: %w", err)
		}
		config["schedule"] = map[string]any{"type": schedule.Interval, "value": seconds, "unit": "second"}
	} else {
		if _, err := schedule.Parse(schedule.Crontab, c.schedule, zone); err != nil {
			return nil, fmt.Errorf("--schedule: %w", err)
		}
		config["schedule"] = map[string]any{"type": schedule.Crontab, "value": c.schedule}
		config["timezone"] = zone
	}
	if c.margin > 0 {
		config["checkin_margin"] = c.margin.Minutes()
	}
	if c.maxRuntime > 0 {
		config["max_runtime"] = c.maxRuntime.Minutes()
	}
	return config, nil
}

// localZone names the zone of this machine, in which its cron runs; UTC where that has no name.
func localZone(getenv func(string) string) string {
	name := strings.TrimPrefix(getenv("TZ"), ":")
	if name == "" {
		if target, err := filepath.EvalSymlinks("/etc/localtime"); err == nil {
			_, name, _ = strings.Cut(target, "/zoneinfo/")
		}
	}
	if _, err := schedule.Parse(schedule.None, "", name); err != nil || name == "" {
		return "UTC"
	}
	return name
}

// begin tells that a run began. The limit is how much output the server keeps; 0 where it did not
// say.
func (r *reporter) begin(ctx context.Context, id string) (limit int, err error) {
	if r.config == nil {
		query := url.Values{"rid": {id}, "create": {"1"}, "environment": {environment}}
		return r.send(ctx, "/ping/"+r.key+"/"+r.slug+"/start?"+query.Encode(), nil)
	}
	body, err := json.Marshal(map[string]any{"status": "in_progress", "check_in_id": id, "environment": environment, "monitor_config": r.config})
	if err != nil {
		return 0, err
	}
	return r.send(ctx, "/api/cron/"+r.slug, body)
}

// end tells how a run ended. It is a ping with and without a schedule: Sentry's check-ins carry
// neither exit code nor output.
func (r *reporter) end(ctx context.Context, id string, status int, took time.Duration, output string) error {
	query := url.Values{"rid": {id}, "create": {"1"}, "environment": {environment}}
	if took > 0 {
		query.Set("duration", strconv.FormatFloat(took.Seconds(), 'f', 3, 64))
	}
	_, err := r.send(ctx, fmt.Sprintf("/ping/%s/%s/%d?%s", r.key, r.slug, status&0xff, query.Encode()), []byte(output))
	return err
}

// send posts until it is taken, it is refused, or ctx ends. Errors do not hold the key.
func (r *reporter) send(ctx context.Context, path string, body []byte) (limit int, err error) {
	for wait := firstBackoff; ; wait *= 2 {
		var retry time.Duration
		limit, retry, err = r.attempt(ctx, path, body)
		if err == nil || retry < 0 {
			return limit, err
		}
		pause := time.NewTimer(max(wait, retry))
		select {
		case <-ctx.Done():
			pause.Stop()
			return 0, err
		case <-pause.C:
		}
	}
}

// attempt posts once. Retry is negative where another attempt would fare no better, else how long
// the server asks to wait.
func (r *reporter) attempt(ctx context.Context, path string, body []byte) (limit int, retry time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.base+path, bytes.NewReader(body))
	if err != nil {
		return 0, -1, errors.New("the address is malformed")
	}
	if strings.HasPrefix(path, "/api/") {
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("X-Sentry-Auth", "Sentry sentry_key="+r.key)
	} else {
		req.Header.Set("Content-Type", "text/plain; charset=utf-8")
	}
	resp, err := r.http.Do(req)
	if err != nil {
		if cause, ok := errors.AsType[*url.Error](err); ok {
			err = cause.Err // the outer one shows the address, and the key in it
		}
		return 0, 0, fmt.Errorf("%s: %w", r.base, err)
	}
	defer resp.Body.Close()
	answer, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswerLine)) // only for the error
	if resp.StatusCode/100 == 2 {
		limit, _ = strconv.Atoi(resp.Header.Get("Ping-Body-Limit"))
		return limit, 0, nil
	}
	line, _, _ := strings.Cut(strings.TrimSpace(strings.ToValidUTF8(string(answer), "")), "\n")
	err = fmt.Errorf("%s answers %s: %s", r.base, resp.Status, line)
	switch {
	case resp.StatusCode == http.StatusRequestTimeout, resp.StatusCode == http.StatusTooManyRequests, resp.StatusCode >= 500:
		seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
		return 0, time.Duration(min(max(seconds, 0), 3600)) * time.Second, err
	case resp.StatusCode/100 == 3:
		return 0, -1, fmt.Errorf("%s sends elsewhere (%s): set MIDWATCH_URL to the address behind that", r.base, resp.Status)
	}
	return 0, -1, err
}

// tail keeps the last tailBytes that were written. It is safe for concurrent use.
type tail struct {
	mu     sync.Mutex
	kept   []byte // up to twice as much, so that little is moved
	passed bool   // something was cut off at the front
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, p...)
	if over := len(t.kept) - tailBytes; over > tailBytes {
		t.kept = append(t.kept[:0], t.kept[over:]...)
		t.passed = true
	}
	return len(p), nil
}

// text is the end of what was written, as valid UTF-8 of at most limit bytes. What was cut off at
// its front is shown by an ellipsis.
func (t *tail) text(limit int) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	const cut = "…"
	kept := t.kept[max(0, len(t.kept)-tailBytes):]
	// The last runes of a window that begins within one: its rest at the front is no text.
	if t.passed || len(kept) < len(t.kept) {
		for i := 0; i < utf8.UTFMax-1 && len(kept) > 0 && !utf8.RuneStart(kept[0]); i++ {
			kept = kept[1:]
		}
	}
	text := strings.ToValidUTF8(string(kept), "\uFFFD")
	if len(text) <= limit && !t.passed && len(t.kept) <= tailBytes {
		return text
	}
	text = text[max(0, len(text)-limit+len(cut)):]
	for len(text) > 0 && !utf8.RuneStart(text[0]) {
		text = text[1:]
	}
	return cut + text
}
