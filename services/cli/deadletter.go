// Package cli is the commands that talk to a running Midwatch: as its operator, and for the jobs of a
// machine.
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
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/midwatch/midwatch/services/deadletter"
	"github.com/midwatch/midwatch/storage/bus"
)

// ErrUsage says that the command was called in a wrong way; nothing was done.
var ErrUsage = errors.New("wrong usage")

const (
	requestTimeout = time.Minute
	// maxAnswerBytes is far beyond the JSON of the largest message.
	maxAnswerBytes = 256 << 20
	// pageSize is how many dead letters are asked for at once; the service gives no more.
	pageSize = bus.MaxDeadLetters
	// reasonWidth is how much of a reason a table shows, in characters.
	reasonWidth = 100
	// progressEvery is after how many messages progress is said.
	progressEvery = 500
)

const deadletterUsage = `Messages that were accepted and could not be stored. They are kept for 30 days.

Usage: midwatch deadletter <command> [flags]

  list            print them, oldest first
  show <seq>      print one with what it says
  replay <seq>    send one through the writer again
  replay all      send all of them that there are now
  drop <seq>      remove one for good
  drop all        remove all of them that there are now

Flags:

  -internal URL   the internal address of Midwatch, or of a writer where roles run alone;
                  by default http://127.0.0.1 with MIDWATCH_INTERNAL_PORT or 9464
  -signal NAME    of list and all: only metrics, logs, errors or checkins
  -after SEQ      of list: those behind this one
  -limit N        of list: this many at most (50)

Exit status: 0 done, 1 not or not all of it, 2 wrong usage.
`

// deadletterCall is what was asked for on the command line.
type deadletterCall struct {
	client
	out      io.Writer
	signal   string
	after    uint64
	limit    int
	internal string
}

// Deadletter carries out `midwatch deadletter`. Errors are ErrUsage or say what did not work.
func Deadletter(ctx context.Context, args []string, getenv func(string) string, out io.Writer) error {
	c := deadletterCall{out: out}
	flags := flag.NewFlagSet("deadletter", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // the error is printed by who called
	port := getenv("MIDWATCH_INTERNAL_PORT")
	if port == "" {
		port = "9464"
	}
	flags.StringVar(&c.internal, "internal", "http://127.0.0.1:"+port, "")
	flags.StringVar(&c.signal, "signal", "", "")
	flags.Uint64Var(&c.after, "after", 0, "")
	flags.IntVar(&c.limit, "limit", 50, "")
	words, err := parse(flags, args)
	switch {
	case errors.Is(err, flag.ErrHelp) || err == nil && slices.Equal(words, []string{"help"}):
		_, err := io.WriteString(out, deadletterUsage)
		return err
	case err != nil:
		return usageError("%w", err)
	case len(words) == 0:
		io.WriteString(out, deadletterUsage)
		return flag.ErrHelp
	}
	if c.signal != "" && !slices.Contains(bus.Signals(), bus.Signal(c.signal)) {
		return usageError("-signal is one of metrics, logs, errors, checkins, not %q", c.signal)
	}
	if c.limit < 1 {
		return usageError("-limit is 1 or more")
	}
	if c.client, err = newClient(c.internal); err != nil {
		return err
	}
	given := map[string]bool{}
	flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
	return c.run(ctx, words, given)
}

func (c *deadletterCall) run(ctx context.Context, words []string, given map[string]bool) error {
	command, words := words[0], words[1:]
	if command != "list" && (given["after"] || given["limit"]) {
		return usageError("-after and -limit are for list")
	}
	switch command {
	case "list":
		if len(words) > 0 {
			return usageError("list takes flags only, not %q", words[0])
		}
		return c.list(ctx)
	case "show", "replay", "drop":
	default:
		return usageError("there is no command %q; it is one of list, show, replay, drop", command)
	}
	if len(words) != 1 {
		return usageError("%s takes one message: its number in the first column of `midwatch deadletter list`", command)
	}
	if command != "show" && words[0] == "all" {
		return c.all(ctx, command)
	}
	if given["signal"] {
		return usageError("-signal is for list and all")
	}
	seq, err := strconv.ParseUint(words[0], 10, 64)
	if err != nil || seq == 0 {
		return usageError("a message is named by its number in the first column of `midwatch deadletter list`, not by %q", words[0])
	}
	if command == "show" {
		return c.show(ctx, seq)
	}
	if err := c.one(ctx, command, seq); err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.out, "Message %d is %s.\n", seq, done(command))
	return err
}

func usageError(format string, args ...any) error {
	return fmt.Errorf("%w: %w (`midwatch deadletter -help` says more)", ErrUsage, fmt.Errorf(format, args...))
}

// parse takes flags and words in any order.
func parse(flags *flag.FlagSet, args []string) (words []string, err error) {
	for {
		if err := flags.Parse(args); err != nil {
			return nil, err
		}
		if flags.NArg() == 0 {
			return words, nil
		}
		words = append(words, flags.Arg(0))
		args = flags.Args()[1:]
	}
}

func done(command string) string {
	if command == "replay" {
		return "replayed"
	}
	return "dropped"
}

// each calls f with the dead letters behind after, oldest first, until it says that it is enough.
func (c *deadletterCall) each(ctx context.Context, after uint64, size int, f func(deadletter.Letter) (more bool)) error {
	for {
		page, err := c.page(ctx, after, size)
		if err != nil {
			return err
		}
		for _, l := range page.DeadLetters {
			if (c.signal == "" || l.Signal == c.signal) && !f(l) {
				return nil
			}
		}
		if page.NextAfter <= after {
			return nil
		}
		after = page.NextAfter
	}
}

func (c *deadletterCall) list(ctx context.Context) error {
	var letters []deadletter.Letter
	more := false
	size := min(c.limit, pageSize-1) + 1 // one more tells whether there are more
	err := c.each(ctx, c.after, size, func(l deadletter.Letter) bool {
		if more = len(letters) == c.limit; more {
			return false
		}
		letters = append(letters, l)
		return true
	})
	if err != nil {
		return err
	}
	if len(letters) == 0 {
		_, err := fmt.Fprintln(c.out, c.nothing())
		return err
	}
	rows := [][]string{{"seq", "age", "signal", "bytes", "reason"}}
	for _, l := range letters {
		rows = append(rows, []string{
			strconv.FormatUint(l.Seq, 10), age(time.Since(l.At)), clean(l.Signal), strconv.Itoa(l.Bytes), shorten(clean(l.Reason)),
		})
	}
	writeTable(c.out, rows, []bool{true, true, false, true, false})
	if more {
		filter := ""
		if c.signal != "" {
			filter = " -signal " + c.signal
		}
		_, err = fmt.Fprintf(c.out, "\nThere are more: midwatch deadletter list -after %d%s\n", letters[len(letters)-1].Seq, filter)
	}
	return err
}

// nothing says that there are no dead letters of those that were asked for.
func (c *deadletterCall) nothing() string {
	kind := "messages"
	if c.signal != "" {
		kind = "messages of " + c.signal
	}
	if c.after > 0 {
		return fmt.Sprintf("There are no further %s behind %d.", kind, c.after)
	}
	return fmt.Sprintf("There are no %s that could not be stored.", kind)
}

func (c *deadletterCall) show(ctx context.Context, seq uint64) error {
	var l deadletter.Letter
	if err := c.about(ctx, http.MethodGet, seq, "", &l); err != nil {
		return err
	}
	accepted := "unknown"
	if l.AcceptedAt != nil {
		accepted = l.AcceptedAt.UTC().Format(time.RFC3339)
	}
	writeTable(c.out, [][]string{
		{"seq", strconv.FormatUint(l.Seq, 10)},
		{"signal", clean(l.Signal)},
		{"accepted", fmt.Sprintf("%s, in message %d of its stream, from byte %d", accepted, l.OriginalSeq, l.Offset)},
		{"put aside", l.At.UTC().Format(time.RFC3339) + ", " + age(time.Since(l.At)) + " ago"},
		{"bytes", strconv.Itoa(l.Bytes)},
		{"reason", strings.Join(strings.Fields(clean(l.Reason)), " ")},
	}, []bool{false, false})
	if l.DecodeError != "" {
		data, err := json.Marshal(l.Data) // as base64
		if err != nil {
			return fmt.Errorf("print message %d: %w", seq, err)
		}
		_, err = fmt.Fprintf(c.out, "\nIt cannot be decoded: %s. In base64:\n\n%s\n", clean(l.DecodeError), strings.Trim(string(data), `"`))
		return err
	}
	var frame bytes.Buffer
	if err := json.Indent(&frame, l.Frame, "", "  "); err != nil {
		return fmt.Errorf("print message %d: %w", seq, err)
	}
	_, err := fmt.Fprintf(c.out, "\n%s\n", clean(frame.String()))
	return err
}

// all replays or drops what there is when it begins: what cannot be stored after a replay either is
// put aside anew, and an end that moves would never be reached.
func (c *deadletterCall) all(ctx context.Context, command string) error {
	var seqs []uint64
	err := c.each(ctx, 0, pageSize, func(l deadletter.Letter) bool {
		seqs = append(seqs, l.Seq)
		return true
	})
	if err != nil {
		return err
	}
	if len(seqs) == 0 {
		_, err := fmt.Fprintln(c.out, c.nothing())
		return err
	}
	var acted, gone, failed int
	var last error
	for i, seq := range seqs {
		err := c.one(ctx, command, seq)
		refused, isRefusal := errors.AsType[*refusal](err)
		switch {
		case err == nil:
			acted++
		case isRefusal && refused.status == http.StatusNotFound:
			gone++ // somebody else was quicker
		case isRefusal && refused.status != http.StatusServiceUnavailable && refused.status != http.StatusForbidden:
			failed, last = failed+1, fmt.Errorf("message %d: %w", seq, err)
		default: // the next one would not fare better
			return fmt.Errorf("stopped after %s: %w", counts(command, acted, gone, failed, len(seqs)), err)
		}
		if (i+1)%progressEvery == 0 && i+1 < len(seqs) {
			fmt.Fprintf(c.out, "%d of %d …\n", i+1, len(seqs))
		}
	}
	text := counts(command, acted, gone, failed, len(seqs))
	if failed > 0 {
		return fmt.Errorf("%s; the last failure: %w", text, last)
	}
	if command == "replay" && acted > 0 {
		text += ". What cannot be stored now either comes back into the list"
	}
	_, err = fmt.Fprintf(c.out, "%s%s.\n", strings.ToUpper(text[:1]), text[1:])
	return err
}

func counts(command string, acted, gone, failed, of int) string {
	text := fmt.Sprintf("%s %d of %d", done(command), acted, of)
	if gone > 0 {
		text += fmt.Sprintf(", %d were gone already", gone)
	}
	if failed > 0 {
		text += fmt.Sprintf(", %d failed", failed)
	}
	return text
}

func (c *deadletterCall) one(ctx context.Context, command string, seq uint64) error {
	if command == "replay" {
		return c.about(ctx, http.MethodPost, seq, "/replay", nil)
	}
	return c.about(ctx, http.MethodDelete, seq, "", nil)
}

// client talks to one internal port.
type client struct {
	base string
	http *http.Client
}

func newClient(base string) (client, error) {
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return client{}, usageError("-internal is an address such as http://127.0.0.1:9464, not %q", base)
	}
	return client{strings.TrimRight(base, "/"), &http.Client{Timeout: requestTimeout}}, nil
}

// refusal is an answer that is none of success.
type refusal struct {
	status  int
	message string
}

func (r *refusal) Error() string { return r.message }

func (c client) page(ctx context.Context, after uint64, limit int) (deadletter.Page, error) {
	var page deadletter.Page
	err := c.do(ctx, http.MethodGet, fmt.Sprintf("/deadletters?after=%d&limit=%d", after, limit), &page)
	if refused, ok := errors.AsType[*refusal](err); ok && refused.status == http.StatusNotFound {
		return page, fmt.Errorf("the process at %s does not store telemetry; name the internal address of `midwatch up` or of a writer with -internal", c.base)
	}
	return page, err
}

// about does something with one dead letter.
func (c client) about(ctx context.Context, method string, seq uint64, action string, out any) error {
	err := c.do(ctx, method, "/deadletters/"+strconv.FormatUint(seq, 10)+action, out)
	if refused, ok := errors.AsType[*refusal](err); ok && refused.status == http.StatusNotFound {
		// Is it the message that is not there, or the whole service?
		if _, err := c.page(ctx, 0, 1); err != nil {
			return err
		}
	}
	return err
}

// do sends a request and decodes its answer into out where that is not nil.
func (c client) do(ctx context.Context, method, path string, out any) error {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, nil)
	if err != nil {
		return fmt.Errorf("ask %s: %w", c.base, err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return errors.New("interrupted")
		}
		if cause, ok := errors.AsType[*url.Error](err); ok {
			err = cause.Err
		}
		if os.IsTimeout(err) {
			return fmt.Errorf("midwatch at %s did not answer within %s; look at its /readyz", c.base, requestTimeout)
		}
		return fmt.Errorf("nothing answers at %s (%w); is `midwatch up` or a writer running? Where it is elsewhere, name its internal address with -internal", c.base, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswerBytes))
	if err != nil {
		return fmt.Errorf("read the answer of %s: %w", c.base, err)
	}
	if resp.StatusCode >= 300 {
		var answer struct {
			Message   string `json:"message"`
			RequestID string `json:"request_id"`
		}
		if json.Unmarshal(body, &answer) != nil || answer.Message == "" {
			answer.Message = fmt.Sprintf("%s answers %s to %s %s", c.base, resp.Status, method, path)
		}
		if resp.StatusCode == http.StatusInternalServerError && answer.RequestID != "" {
			answer.Message += " (request_id " + answer.RequestID + ")"
		}
		return &refusal{resp.StatusCode, clean(answer.Message)}
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(body, out); err != nil {
		return fmt.Errorf("%s is no internal address of Midwatch: its answer cannot be read: %w", c.base, err)
	}
	return nil
}

// writeTable aligns columns; right says which of them hold numbers.
func writeTable(out io.Writer, rows [][]string, right []bool) {
	widths := make([]int, len(right))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			if i > 0 {
				line.WriteString("  ")
			}
			padding := strings.Repeat(" ", widths[i]-len([]rune(cell)))
			if right[i] {
				line.WriteString(padding + cell)
			} else {
				line.WriteString(cell + padding)
			}
		}
		fmt.Fprintln(out, strings.TrimRight(line.String(), " "))
	}
}

// age is a duration in its largest unit.
func age(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", max(0, int(d.Seconds())))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// clean keeps what senders wrote from steering the terminal.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || unicode.IsPrint(r):
			return r
		case unicode.IsSpace(r): // protobuf's errors hold no-break spaces
			return ' '
		}
		return '\uFFFD'
	}, text)
}

// shorten makes a text one line of a table.
func shorten(text string) string {
	runes := []rune(strings.Join(strings.Fields(text), " "))
	if len(runes) > reasonWidth {
		runes = append(runes[:reasonWidth-1], '…')
	}
	return string(runes)
}
