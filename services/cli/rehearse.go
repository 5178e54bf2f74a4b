package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/midwatch/midwatch/alerts/incident"
	"github.com/midwatch/midwatch/alerts/rehearse"
	"github.com/midwatch/midwatch/alerts/rule"
)

const (
	// shownFirings is how many times of a rule a rehearsal lists.
	shownFirings = 10
	// foretellFor is how long apply rehearses, all rules together.
	foretellFor = 5 * time.Minute
)

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
		r, err := c.would(ctx, o, c.days)
		if err != nil {
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

// would asks what a rule would have done in so many days.
func (c rulesCall) would(ctx context.Context, o object, days int) (rehearse.Result, error) {
	var r rehearse.Result
	body, err := json.Marshal(map[string]any{"rule": json.RawMessage(o.body), "days": days})
	if err != nil {
		return r, err
	}
	err = c.ask(ctx, "POST", "/rules/rehearse", body, &r)
	return r, err
}

// foretell says of each rule that apply makes or changes, that is live and that may wake a person how
// often it would have. It only informs: a server that cannot tell does not keep rules from being applied.
func (c rulesCall) foretell(ctx context.Context, p plan) error {
	within, cancel := context.WithTimeout(ctx, foretellFor)
	defer cancel()
	for _, o := range p.files {
		if o.kind != incident.DocRule {
			continue
		}
		asked, err := strictly[rule.Rule](o.body)
		if err != nil {
			return o.wrong("", "%s", err)
		}
		if asked = asked.WithDefaults(); asked.State != rule.Live || !asked.Pages() {
			continue
		}
		switch lines, err := p.difference(o); {
		case err != nil:
			return err
		case lines == "":
			continue
		}
		if within.Err() != nil && ctx.Err() == nil {
			fmt.Fprintf(c.out, "%s: not rehearsed, for the rules before took %s\n", o, foretellFor)
			continue
		}
		r, err := c.would(within, o, rehearse.MaxDays)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			fmt.Fprintf(c.out, "%s: not rehearsed: %s\n", o, clean(err.Error()))
		default:
			fmt.Fprintf(c.out, "%s, last %d days: %s\n", o, rehearse.MaxDays, inShort(r))
		}
	}
	return nil
}

// inShort is a rehearsal in a line.
func inShort(r rehearse.Result) string {
	first := r.To
	for _, s := range r.Series {
		if len(s.Points) > 0 {
			if at := time.UnixMilli(int64(s.Points[0][0])); at.Before(first) {
				first = at
			}
		}
	}
	if !first.Before(r.To) {
		return "there is no history to rehearse it on"
	}
	pages := "1 page"
	if r.Pages != 1 {
		pages = strconv.Itoa(r.Pages) + " pages"
	}
	since := ""
	if first.Sub(r.From) > 24*time.Hour {
		since = "; its history begins on " + first.UTC().Format(time.DateOnly)
	}
	return fmt.Sprintf("%s, %d at night; %d held, %d healed by themselves%s", pages, r.PagesAtNight, r.Held, r.SelfResolved, since)
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
