package evaluate

import (
	"cmp"
	"context"
	"fmt"
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
	// maxLooked is how many new issues of a day are looked at.
	maxLooked = 1000
	// newOpen is how long what is told of an issue stays open: nothing else closes it.
	newOpen = 24 * time.Hour
	// manyNew is the key of what is told of the rest.
	manyNew = "__more__"
)

// newIssues tells of the issues that are new at a slot. Of an issue there is no state but that it was
// told, so there is nothing to step: it is told once, and closes by itself.
func (s *step) newIssues(ctx context.Context, r ready, slot int64) error {
	p, was := r.plan, r.rule.memory
	from := max(r.rule.since, slot-newFor)
	issues, err := s.db.NewIssues(ctx, p.Project, unix(from), unix(slot-p.delay), maxLooked)
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
	more := 0
	for _, issue := range issues {
		key := strconv.FormatUint(issue.ID, 10)
		if m.Groups[key] != nil {
			continue
		}
		worth, err := s.worth(ctx, p, issue, slot)
		if err != nil {
			return err
		}
		if worth.Verdict != rule.Breach {
			continue
		}
		m.Groups[key] = &Group{Values: []string{key}, Seen: slot, States: make([]rule.State, len(p.machines))}
		if told++; told > maxNew {
			more++
			continue
		}
		title := cmp.Or(issue.Title, issue.Type)
		o.signals = append(o.signals, p.newSignal(key, fmt.Sprintf("new issue: %.80s", title), issue.FirstSeen, slot, worth.Value))
	}
	if more > 0 && !folded {
		m.Groups[manyNew] = &Group{Seen: slot, States: make([]rule.State, len(p.machines))}
		o.signals = append(o.signals, p.newSignal(manyNew, fmt.Sprintf("more than %d new issues in an hour", maxNew), unix(slot), slot, float64(told)))
	}
	for _, signal := range o.signals {
		o.happened = append(o.happened, Happened{Key: signal.Instance.Labels["issue"], Values: []string{signal.Instance.Labels["issue"]}, Event: rule.Event{
			Kind: rule.EventFire, Slot: slot, Since: signal.Instance.Since.Unix(), Incident: 1, Episode: 1, Value: signal.Instance.Value, Worst: signal.Instance.Value,
		}})
	}
	moved := *r.rule
	moved.plan, moved.memory, moved.names, moved.identity = p, m, namesOf(p), p.Identity
	s.settle(&moved, slot, &s.account.Done, p)
	o.rule = &moved
	o.write = len(o.signals) > 0 || m.Cursor-r.rule.saved >= checkpointEvery
	s.outcomes = append(s.outcomes, o)
	return nil
}

// worth says whether an issue is worth telling by now.
func (s *step) worth(ctx context.Context, p *Plan, issue catalog.Issue, slot int64) (rule.Observation, error) {
	q := p.Rule.Query.Issue
	users := 0
	if q != nil {
		if len(q.Levels) > 0 && !slices.Contains(q.Levels, issue.Level) {
			return rule.Observation{Verdict: rule.OK}, nil
		}
		if q.Users > 0 && issue.Count >= int64(q.Events) {
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
	}
	return q.Verdict(int(issue.Count), users), nil
}

func (p *Plan) newSignal(issue, text string, since time.Time, slot int64, events float64) incident.Signal {
	h := Happened{Key: issue, Values: []string{issue}, Event: rule.Event{Slot: slot, Since: since.Unix(), Value: events, Worst: events}}
	in := p.Instance(h)
	in.Headline = cmp.Or(p.Rule.Service, p.Rule.Name) + ": " + text
	in.ExpiresAt = unix(slot).Add(newOpen)
	return incident.Signal{Kind: incident.Fire, Instance: in, At: unix(slot), Worst: events}
}
