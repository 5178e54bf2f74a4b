package evaluate

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/midwatch/midwatch/alerts/incident"
	"github.com/midwatch/midwatch/alerts/rule"
	"github.com/midwatch/midwatch/storage/catalog"
	"github.com/midwatch/midwatch/storage/telemetry"
)

const (
	// newFor is how long an issue may take to have as many events and users as are asked for.
	newFor = day
	// maxNew is how many issues a project is told of one by one in an hour; the rest are one.
	maxNew = 10
	// maxLooked is how many issues of a day that are new, or back, are looked at.
	maxLooked = 1000
	// newOpen is how long what is told of an issue stays open where nobody resolves it.
	newOpen = 24 * time.Hour
	// manyNew is the key of what is told of the rest.
	manyNew = "__more__"
)

// found is an issue that a rule on issues is about to tell of.
type found struct {
	catalog.Issue
	// key is unique among all that the rule ever tells of.
	key   string
	since time.Time
	text  string
	facts []incident.Fact
}

// tellIssues tells of the issues that are new, or back after they were resolved, at a slot. Of an issue
// there is no state but that it was told, so there is nothing to step: it is told once, and closes when
// somebody resolves the issue, or by itself.
func (s *step) tellIssues(ctx context.Context, r ready, slot int64) error {
	p, was := r.plan, r.rule.memory
	issues, err := s.find(ctx, p, unix(max(r.rule.since, slot-newFor)), unix(slot-p.delay))
	if err != nil {
		return err
	}
	m := was.Clone()
	m.Cursor = slot
	told, folded := 0, false
	for key, g := range m.Groups {
		switch {
		case g.Seen < slot-newFor-3600:
			delete(m.Groups, key)
		case key == manyNew:
			folded = folded || g.Seen > slot-3600
		case g.Seen > slot-3600:
			told++
		}
	}
	o := &outcome{plan: p, id: p.Rule.ID}
	if err := s.closeIssues(ctx, p, m, slot, o); err != nil {
		return err
	}
	more := 0
	for _, issue := range issues {
		if m.Groups[issue.key] != nil {
			continue
		}
		worth, err := s.worth(ctx, p, issue.Issue, slot)
		if err != nil {
			return err
		}
		if worth.Verdict != rule.Breach {
			continue
		}
		g := &Group{Values: []string{strconv.FormatUint(issue.ID, 10)}, Seen: slot, States: make([]rule.State, len(p.machines))}
		m.Groups[issue.key] = g
		if told++; told > maxNew {
			more++
			continue
		}
		g.Open = true
		p.tellIssue(o, issue, g.Values, slot, worth.Value)
	}
	if more > 0 && !folded {
		m.Groups[manyNew] = &Group{Seen: slot, States: make([]rule.State, len(p.machines))}
		text := fmt.Sprintf("more than %d new issues in an hour", maxNew)
		if p.Rule.Kind == rule.IssueRegression {
			text = fmt.Sprintf("more than %d resolved issues are back in an hour", maxNew)
		}
		p.tellIssue(o, found{key: manyNew, since: unix(slot), text: text}, []string{manyNew}, slot, float64(told))
	}
	moved := *r.rule
	moved.plan, moved.memory, moved.names, moved.identity = p, m, namesOf(p), p.Identity
	s.settle(&moved, slot, &s.account.Done, p)
	o.rule = &moved
	o.write = len(o.signals) > 0 || m.Cursor-r.rule.saved >= checkpointEvery
	s.outcomes = append(s.outcomes, o)
	return nil
}

// find returns the issues that a rule may tell of: those that are new or back by an event in a range.
func (s *step) find(ctx context.Context, p *Plan, from, to time.Time) ([]found, error) {
	var out []found
	if p.Rule.Kind == rule.IssueRegression {
		issues, err := s.db.Regressions(ctx, p.Project, from, to, maxLooked)
		for _, issue := range issues {
			out = append(out, found{
				Issue: issue, key: regressionKey(issue), since: issue.RegressedAt,
				text: "a resolved issue is back" + inRelease(issue.RegressedRelease) + ": " + titleOf(issue), facts: returned(issue),
			})
		}
		return out, err
	}
	issues, err := s.db.NewIssues(ctx, p.Project, from, to, maxLooked)
	for _, issue := range issues {
		if issue.Status() == catalog.IssueResolved {
			continue // somebody was faster
		}
		out = append(out, found{Issue: issue, key: strconv.FormatUint(issue.ID, 10), since: issue.FirstSeen, text: "new issue: " + titleOf(issue)})
	}
	return out, err
}

// regressionKey names a regression: an issue has one for each time that it was resolved.
func regressionKey(i catalog.Issue) string {
	return strconv.FormatUint(i.ID, 10) + "." + strconv.FormatInt(i.Resolution, 10)
}

func titleOf(i catalog.Issue) string { return fmt.Sprintf("%.80s", cmp.Or(i.Title, i.Type)) }

func inRelease(name string) string {
	if name == "" {
		return ""
	}
	return fmt.Sprintf(" in %.40s", name)
}

// returned says what a regression undoes.
func returned(i catalog.Issue) []incident.Fact {
	const layout = "2 Jan 2006 15:04 MST"
	said := i.ResolvedAt.UTC().Format(layout)
	if i.ResolvedBy != "" {
		said += " by " + i.ResolvedBy
	}
	switch i.FixedIn() {
	case catalog.FixedInRelease:
		said += ", fixed" + inRelease(i.ResolvedRelease)
	case catalog.FixedNext:
		said += ", fixed in the release after it"
	}
	return []incident.Fact{
		{Name: "Resolved", Value: said},
		{Name: "Back", Value: i.RegressedAt.UTC().Format(layout) + inRelease(i.RegressedRelease)},
	}
}

// closeIssues closes what was told of issues that somebody has resolved since.
func (s *step) closeIssues(ctx context.Context, p *Plan, m *Memory, slot int64, o *outcome) error {
	open := map[string]uint64{}
	for key, g := range m.Groups {
		if !g.Open {
			continue
		}
		id, err := strconv.ParseUint(g.Values[0], 10, 64)
		if err != nil || g.Seen < slot-int64(newOpen/time.Second) {
			g.Open = false // it has closed by itself
			continue
		}
		open[key] = id
	}
	if len(open) == 0 {
		return nil
	}
	issues, err := s.db.Issues(ctx, p.Project, slices.Compact(slices.Sorted(maps.Values(open))))
	if err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(open)) {
		issue := issues[open[key]]
		again := p.Rule.Kind == rule.IssueRegression && key != regressionKey(issue)
		if issue.Status() != catalog.IssueResolved && !again {
			continue
		}
		g := m.Groups[key]
		g.Open = false
		h := Happened{Key: key, Values: g.Values, Event: rule.Event{
			Kind: rule.EventResolved, Slot: slot, Since: g.Seen, Reason: rule.IssueResolved, Incident: 1, Episode: 1,
		}}
		in := p.Instance(h)
		in.ResolvedAt = unix(slot)
		o.happened = append(o.happened, h)
		o.signals = append(o.signals, incident.Signal{Kind: incident.Resolve, Instance: in, At: in.ResolvedAt, Reason: rule.IssueResolved})
	}
	return nil
}

// worth says whether an issue is worth telling by now.
func (s *step) worth(ctx context.Context, p *Plan, issue catalog.Issue, slot int64) (rule.Observation, error) {
	q := p.Rule.Query.Issue
	users := 0
	if q != nil && len(q.Levels) > 0 && !slices.Contains(q.Levels, issue.Level) {
		return rule.Observation{Verdict: rule.OK}, nil
	}
	if p.Rule.Kind == rule.IssueRegression { // by one event, whatever there was before
		return rule.Observation{Verdict: rule.Breach, Value: float64(issue.Count)}, nil
	}
	if q != nil && q.Users > 0 && issue.Count >= int64(q.Events) {
		sc, err := s.project.reader.scope(slot-newFor, slot)
		if err != nil {
			return rule.Observation{}, err
		}
		err = s.store.ErrorCounts(ctx, sc, telemetry.ErrorCountsAsk{Step: newFor * time.Second, Issue: issue.ID}, func(_ int, _ string, _, n int64) error {
			users += int(n)
			return nil
		})
		if err != nil {
			return rule.Observation{}, err
		}
	}
	return q.Verdict(int(issue.Count), users), nil
}

// tellIssue adds an issue to what there is to tell.
func (p *Plan) tellIssue(o *outcome, f found, values []string, slot int64, events float64) {
	h := Happened{Key: f.key, Values: values, Event: rule.Event{
		Kind: rule.EventFire, Slot: slot, Since: f.since.Unix(), Incident: 1, Episode: 1, Value: events, Worst: events,
	}}
	in := p.Instance(h)
	in.Headline = cmp.Or(p.Rule.Service, p.Rule.Name) + ": " + f.text
	in.Facts = f.facts
	in.ExpiresAt = unix(slot).Add(newOpen)
	o.happened = append(o.happened, h)
	o.signals = append(o.signals, incident.Signal{Kind: incident.Fire, Instance: in, At: unix(slot), Worst: events})
}
