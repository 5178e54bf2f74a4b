package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/midwatch/midwatch/alerts/incident"
	"github.com/midwatch/midwatch/alerts/rehearse"
)

// shownFirings is how many times of a rule a rehearsal lists.
const shownFirings = 10

// rehearse says of each rule of the files what it would have done.
func (c rulesCall) rehearse(ctx context.Context) error {
	if c.days < 1 || c.days > rehearse.MaxDays {
		return fmt.Errorf("%w: --days is from 1 to %d", ErrUsage, rehearse.MaxDays)
	}
	files, err := readFiles(c.files, c.stdin)
	if err != nil {
		return err
	}
	var errs []error
	rules := 0
	for _, o := range files {
		if o.kind != incident.DocRule {
			continue
		}
		rules++
		body, err := json.Marshal(map[string]any{"rule": json.RawMessage(o.body), "days": c.days})
		if err != nil {
			return fmt.Errorf("%s: %w", o, err)
		}
		var r rehearse.Result
		if err := c.ask(ctx, "POST", "/rules/rehearse", body, &r); err != nil {
			errs = append(errs, c.refused(o, err))
			continue
		}
		c.tell(o, r)
	}
	if rules == 0 {
		return errors.New("there is no rule in the files")
	}
	return errors.Join(errs...)
}

// tell prints what a rule would have done.
func (c rulesCall) tell(o object, r rehearse.Result) {
	fmt.Fprintf(c.out, "%s, %s to %s (%d ms):\n", o, r.From.Format("2006-01-02"), r.To.Format("2006-01-02"), r.TookMS)
	fmt.Fprintf(c.out, "  pages: %d (at night: %d), tickets: %d, mails: %d, healed by themselves: %d, held: %d\n",
		r.Pages, r.PagesAtNight, r.Tickets, r.Mails, r.SelfResolved, r.Held)
	for n, f := range r.Firings {
		if n == shownFirings {
			fmt.Fprintf(c.out, "  and %d more\n", len(r.Firings)-n)
			break
		}
		group := f.Group
		if group != "" {
			group = " " + group
		}
		fmt.Fprintf(c.out, "  %s for %s%s, worst %.4g\n", f.From.Format(time.RFC3339), f.To.Sub(f.From).Round(time.Second), group, f.Worst)
	}
	caught := 0
	for _, i := range r.Incidents {
		if i.Caught {
			caught++
			fmt.Fprintf(c.out, "  would have told of %q after %s\n", clean(i.Title), time.Duration(i.After)*time.Second)
			continue
		}
		fmt.Fprintf(c.out, "  would not have told of %q of %s\n", clean(i.Title), i.From.Format(time.RFC3339))
	}
	if len(r.Incidents) > 0 {
		fmt.Fprintf(c.out, "  %d of %d incidents caught\n", caught, len(r.Incidents))
	}
}
