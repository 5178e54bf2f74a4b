package cli

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"time"
)

const drillUsage = `A fire drill: sends a metric like any other, which a rule makes a page of, and waits until that
page is delivered. It goes to a receiver that tells nobody.

Usage: midwatch drill [flags]

  -internal URL   the internal address of Midwatch, or of alerting where roles run alone;
                  by default http://127.0.0.1 with MIDWATCH_INTERNAL_PORT or 9464

It takes about a minute, and gives up after five. Midwatch makes one by itself each Tuesday at 10:00 UTC.

Exit status: 0 the page was delivered, 1 not, 2 wrong usage.
`

// drillTimeout is beyond the time after which a drill is given up.
const drillTimeout = 6 * time.Minute

// Drill carries out `midwatch drill`. Errors are ErrUsage or say what did not work.
func Drill(ctx context.Context, args []string, getenv func(string) string, out io.Writer) error {
	flags := flag.NewFlagSet("drill", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // the error is printed by who called
	internal := flags.String("internal", "http://127.0.0.1:"+cmp.Or(getenv("MIDWATCH_INTERNAL_PORT"), "9464"), "")
	words, err := parse(flags, args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		_, err := io.WriteString(out, drillUsage)
		return err
	case err != nil:
		return fmt.Errorf("%w: %w (`midwatch drill -help` says more)", ErrUsage, err)
	case len(words) > 0:
		return fmt.Errorf("%w: drill takes flags only, not %q (`midwatch drill -help` says more)", ErrUsage, words[0])
	}
	c, err := newClient(*internal)
	if err != nil {
		return err
	}
	c.http.Timeout = drillTimeout
	var result struct {
		TookMs  int64            `json:"took_ms"`
		Steps   map[string]int64 `json:"steps"`
		OK      bool             `json:"ok"`
		Message string           `json:"message"`
	}
	err = c.do(ctx, http.MethodPost, "/drill", &result)
	if refused, ok := errors.AsType[*refusal](err); ok && refused.status == http.StatusNotFound {
		return fmt.Errorf("the process at %s does no alerting; name the internal address of `midwatch up` or of alerting with -internal", c.base)
	}
	if err != nil {
		return err
	}
	for _, step := range []string{"ingested", "evaluated", "committed", "delivered"} {
		if ms, ok := result.Steps[step]; ok {
			fmt.Fprintf(out, "%-10s %8.1f s\n", step, float64(ms)/1000)
		}
	}
	if !result.OK {
		return errors.New(clean(result.Message))
	}
	_, err = fmt.Fprintln(out, clean(result.Message)+".")
	return err
}
