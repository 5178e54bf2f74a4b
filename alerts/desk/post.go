package desk

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/midwatch/midwatch/alerts/incident"
	"github.com/midwatch/midwatch/alerts/notify"
	"github.com/midwatch/midwatch/alerts/rule"
	"github.com/midwatch/midwatch/storage/catalog"
)

// ReceiverState is what is remembered of a receiver between transactions.
type ReceiverState struct {
	// Tokens is how many new pages it still took at TokensAt.
	Tokens   float64   `json:"tokens"`
	TokensAt time.Time `json:"tokens_at,omitzero"`
	// FoldedAt is when pages were last folded into one.
	FoldedAt time.Time `json:"folded_at,omitzero"`
	// BrokenAt is since when it refuses all there is, UnreachableAt since when it does not answer; Error
	// says why. Both are zero while it works.
	BrokenAt      time.Time `json:"broken_at,omitzero"`
	UnreachableAt time.Time `json:"unreachable_at,omitzero"`
	// BrokenIn is the project under which it was told that it is broken.
	BrokenIn uint32 `json:"broken_in,omitempty"`
	Error    string `json:"error,omitempty"`
	// DeliveredAt is when it last took something, CheckedAt when it was last tried for the sake of it.
	DeliveredAt time.Time `json:"delivered_at,omitzero"`
	CheckedAt   time.Time `json:"checked_at,omitzero"`
}

// posting is one message to one receiver.
type posting struct {
	w    *working
	send incident.Send
	to   incident.Recipient
}

// post writes the messages of the session. New pages go last, since there may be too many of them.
func (s *session) post(ctx context.Context) error {
	var pages []posting
	for _, w := range slices.Clone(s.order) {
		if w.change.Ended && w.Receiver == "" {
			over := incident.Instance{Key: "incident:" + w.ID, Project: w.Project}
			if err := s.resolve(ctx, incident.Signal{Kind: incident.Resolve, Instance: over, At: s.now}); err != nil {
				return err
			}
		}
	}
	for _, w := range slices.Clone(s.order) {
		if w.change.Ended {
			if err := s.withdraw(ctx, w); err != nil {
				return err
			}
		}
		for _, send := range w.change.Sends {
			to := send.To
			if send.Everybody {
				var err error
				if to, err = s.everybody(ctx, w); err != nil {
					return err
				}
			}
			for _, r := range to {
				p := posting{w, send, r}
				if w.State != incident.Open && first(string(send.Action)) {
					// It began and ended in one transaction. Who is told that it began and not that it is over,
					// since the end has no row to follow, would never hear of it.
					if err := s.write(ctx, p, catalog.OutboxWithdrawn); err != nil {
						return err
					}
					s.unsaid(w, []string{s.receiverName(r.Receiver)})
					continue
				}
				if send.Action == notify.Trigger && send.Severity == rule.Page && w.Receiver == "" {
					pages = append(pages, p)
					continue
				}
				if err := s.write(ctx, p, catalog.OutboxDue); err != nil {
					return err
				}
			}
		}
		w.change.Sends = nil
	}
	return s.postPages(ctx, pages)
}

// everybody are those who were told of an incident, or are about to be, and not yet of its end: those
// who only heard of another episode know that it is over.
func (s *session) everybody(ctx context.Context, w *working) ([]incident.Recipient, error) {
	rows, err := s.tx.OutboxOf(ctx, w.ID)
	if err != nil {
		return nil, err
	}
	var all []incident.Recipient
	for _, o := range rows {
		told := o.State == catalog.OutboxDone || o.State == catalog.OutboxSending || o.State == catalog.OutboxDue || o.Uncertain
		if !told || o.Action == string(notify.Notice) {
			continue
		}
		all = slices.DeleteFunc(all, func(r incident.Recipient) bool { return r.Receiver == o.Receiver })
		if !notify.Action(o.Action).Ends() {
			all = append(all, incident.Recipient{Receiver: o.Receiver, Due: s.now})
		}
	}
	return all, nil
}

// withdraw takes back what has not been delivered of an incident that has ended. Receivers that have
// surely heard nothing of it are not told of its end either.
func (s *session) withdraw(ctx context.Context, w *working) error {
	rows, err := s.tx.OutboxOf(ctx, w.ID)
	if err != nil {
		return err
	}
	var names []string
	for _, o := range rows {
		if o.State != catalog.OutboxDue {
			continue
		}
		o.State = catalog.OutboxWithdrawn
		if err := s.tx.PutOutbox(ctx, o); err != nil {
			return err
		}
		if first(o.Action) {
			name := s.receiverName(o.Receiver)
			switch {
			case o.Attempts > 0:
				s.line(w.Project, w.Team, o.Key, incident.Line{
					Section: incident.SectionDelivery, Incident: w.ID, From: o.CreatedAt, To: s.now,
					Text: fmt.Sprintf("%s could not be reached from %s to %s", name, o.CreatedAt.UTC().Format("15:04"), s.now.UTC().Format("15:04")),
				})
			case !slices.Contains(names, name):
				names = append(names, name)
			}
		}
	}
	if len(names) > 0 {
		s.unsaid(w, names)
	}
	return nil
}

// unsaid makes a line of what was over before receivers were told.
func (s *session) unsaid(w *working, names []string) {
	s.line(w.Project, w.Team, w.ID+"|"+strconv.FormatInt(w.Seq, 10), incident.Line{
		Section: incident.SectionWithdrawn, Incident: w.ID, Service: w.Labels["service"], From: w.Since, To: s.now,
		Text: fmt.Sprintf("%s: over before %s was told", w.Title, strings.Join(names, ", ")),
	})
}

// first reports whether an action is one by which a receiver first hears of an incident.
func first(action string) bool {
	switch notify.Action(action) {
	case notify.Trigger, notify.Ticket, notify.Escalate, notify.Mail:
		return true
	}
	return false
}

func (s *session) receiverName(id string) string {
	return cmp.Or(s.book.Receivers[id].Name, id)
}

// postPages writes new pages, as many for each receiver as it takes; the rest is folded into one. The
// worst stand first.
func (s *session) postPages(ctx context.Context, pages []posting) error {
	slices.SortStableFunc(pages, func(a, b posting) int {
		wa, _ := a.w.Worst()
		wb, _ := b.w.Worst()
		return cmp.Or(strings.Compare(a.to.Receiver, b.to.Receiver), cmp.Compare(wb.Value, wa.Value), cmp.Compare(a.w.Number, b.w.Number))
	})
	for len(pages) > 0 {
		n := 1
		for n < len(pages) && pages[n].to.Receiver == pages[0].to.Receiver {
			n++
		}
		if err := s.postPagesTo(ctx, s.book.Receivers[pages[0].to.Receiver], pages[:n]); err != nil {
			return err
		}
		pages = pages[n:]
	}
	return nil
}

func (s *session) postPagesTo(ctx context.Context, r incident.Receiver, pages []posting) error {
	alone := len(pages)
	if r.Limit > 0 && r.Per > 0 {
		state, err := ReadReceiverState(ctx, s.tx, s.book.Organisation, r.ID)
		if err != nil {
			return err
		}
		if state.TokensAt.IsZero() {
			state.Tokens = float64(r.Limit)
		} else if passed := s.now.Sub(state.TokensAt); passed > 0 {
			state.Tokens = math.Min(float64(r.Limit), state.Tokens+passed.Seconds()*float64(r.Limit)/r.Per.Seconds())
		}
		state.TokensAt = s.now
		storm := !state.FoldedAt.IsZero() && s.now.Sub(state.FoldedAt) < r.Per
		if tokens := int(state.Tokens + 1e-9); len(pages) > tokens || storm {
			alone = max(tokens-1, 0)
			if storm {
				alone = 0
			}
			state.FoldedAt = s.now
		}
		state.Tokens = math.Max(state.Tokens-float64(min(alone+1, len(pages))), 0)
		if err := WriteReceiverState(ctx, s.tx, s.book.Organisation, r.ID, state); err != nil {
			return err
		}
	}
	for _, p := range pages[:alone] {
		if err := s.write(ctx, p, catalog.OutboxDue); err != nil {
			return err
		}
	}
	return s.fold(ctx, r, pages[alone:])
}

// fold makes one page of many: an incident of its own, whose instances are theirs.
func (s *session) fold(ctx context.Context, r incident.Receiver, pages []posting) error {
	var into *working
	for _, p := range pages {
		if err := s.write(ctx, p, catalog.OutboxFolded); err != nil {
			return err
		}
		in := incident.Instance{
			Key: "incident:" + p.w.ID, Project: p.w.Project, Name: "Too many pages at once", Labels: p.w.Labels,
			Severity: rule.Page, Class: rule.Symptom, Headline: p.w.Title, Since: p.w.Since, FiredAt: s.now,
			Group: "fold:" + r.ID,
		}
		w, err := s.find(ctx, in, incident.Place{Team: p.w.Team}, true)
		if err != nil {
			return err
		}
		w.Receiver, w.Labels = r.ID, map[string]string{}
		if into != w && into != nil {
			if err := s.flush(ctx, into); err != nil {
				return err
			}
		}
		into = w
		w.Gather(in, s.now, &w.change)
	}
	if into == nil {
		return nil
	}
	return s.flush(ctx, into)
}

// flush writes what a fold has to say, now that all that joins it at once has joined.
func (s *session) flush(ctx context.Context, w *working) error {
	w.Announce(s.book, s.now, &w.change)
	for _, send := range w.change.Sends {
		to := send.To
		if send.Everybody {
			to = []incident.Recipient{{Receiver: w.Receiver, Due: s.now}}
		}
		for _, r := range to {
			if err := s.write(ctx, posting{w, send, r}, catalog.OutboxDue); err != nil {
				return err
			}
		}
	}
	w.change.Sends = nil
	return nil
}

// ReadReceiverState returns what is remembered of a receiver.
func ReadReceiverState(ctx context.Context, tx *catalog.Tx, organisation, id string) (ReceiverState, error) {
	var state ReceiverState
	body, err := tx.ReceiverState(ctx, organisation, id)
	if err != nil || len(body) == 0 {
		return state, err
	}
	if err := json.Unmarshal(body, &state); err != nil {
		return state, fmt.Errorf("read the state of receiver %s: %w", id, err)
	}
	return state, nil
}

// WriteReceiverState remembers something of a receiver.
func WriteReceiverState(ctx context.Context, tx *catalog.Tx, organisation, id string, state ReceiverState) error {
	body, err := json.Marshal(state)
	if err != nil {
		return fmt.Errorf("write the state of receiver %s: %w", id, err)
	}
	return tx.PutReceiverState(ctx, organisation, id, body)
}

// Fallback returns the receiver that is told what another one does not take; empty if there is none.
// It is the one that its owner names, or else the next contact of the person whose receiver it is.
func (d *Desk) Fallback(ctx context.Context, tx *catalog.Tx, organisation, id string) (string, error) {
	book, err := d.bookOf(ctx, tx, organisation)
	if err != nil {
		return "", err
	}
	return book.FallbackOf(id), nil
}

// write puts one message into the outbox.
func (s *session) write(ctx context.Context, p posting, state string) error {
	key := p.w.ID + ":" + strconv.FormatInt(p.send.Seq, 10) + ":" + p.to.Receiver + ":" + string(p.send.Action)
	message, err := s.message(ctx, p, key)
	if err != nil {
		return err
	}
	body, err := json.Marshal(message.Bounded())
	if err != nil {
		return fmt.Errorf("write message %s: %w", key, err)
	}
	due := p.to.Due
	if due.IsZero() {
		due = s.now
	}
	err = s.tx.Post(ctx, catalog.OutboxRow{
		Key: key, Organisation: p.w.Organisation, Project: p.w.Project, Incident: p.w.ID, Seq: p.send.Seq, Receiver: p.to.Receiver,
		Action: string(p.send.Action), Severity: string(p.send.Severity), Rank: incident.Rank(p.send.Severity), State: state,
		CreatedAt: s.now, DueAt: due, Message: body,
	})
	if err != nil {
		return err
	}
	kind, text := "told", doing(p.send.Action)+" "+s.receiverName(p.to.Receiver)
	if person, ok := s.book.People[p.to.Person]; ok {
		text += " (" + person.Name + ")"
	}
	switch {
	case state == catalog.OutboxWithdrawn:
		kind, text = "withdrawn", text+", which was over before"
	case state == catalog.OutboxFolded:
		kind, text = "folded", text+", folded into one with others: too many at once"
	case due.After(s.now):
		text += ", at " + due.UTC().Format(time.RFC3339)
	}
	p.w.change.Entries = append(p.w.change.Entries, incident.Entry{At: s.now, Kind: kind, Text: text})
	return nil
}

// doing is what a message does to its receiver, in the words of the timeline.
func doing(a notify.Action) string {
	switch a {
	case notify.Trigger:
		return "Paged"
	case notify.Escalate:
		return "Escalated to"
	case notify.Reminder:
		return "Reminded"
	case notify.Ticket:
		return "Ticket for"
	case notify.Mail:
		return "Mailed"
	case notify.Resolve, notify.Close:
		return "Said that it is over to"
	case notify.Acknowledge:
		return "Said that somebody is at it to"
	default:
		return "Told"
	}
}

// message says what an incident is, as one receiver is told it.
func (s *session) message(ctx context.Context, p posting, key string) (notify.Message, error) {
	w := p.w
	m := notify.Message{
		Key: key, Incident: w.ID, Seq: int(p.send.Seq), Action: p.send.Action, Severity: string(p.send.Severity), Loud: p.send.Loud,
		ProjectNumber: w.Project, Team: s.book.Teams[w.Team].Name,
		Title: w.Title, At: s.now, Since: w.Since, Late: w.Late, Labels: w.Labels,
		Zone: cmp.Or(s.book.People[p.to.Person].Zone, s.book.Teams[w.Team].Zone),
	}
	if m.ProjectNumber != 0 {
		project, err := s.project(ctx, w.Project)
		if err != nil {
			return m, err
		}
		m.Project = project.Name
	}
	worst, ok := w.Worst()
	if ok {
		m.Rule = notify.RuleRef{ID: worst.Rule, Name: worst.Name, Version: worst.Version}
		m.FirstAction, m.Runbook = worst.FirstAction, worst.Runbook
		m.Facts = facts(w.Incident, worst)
		if worst.Summary != "" && worst.Summary != worst.Headline {
			m.Sections = append(m.Sections, notify.Section{Title: "What users notice", Lead: true, Lines: []notify.Line{{Text: worst.Summary}}})
		}
	}
	if p.send.Text != "" {
		m.Sections = append([]notify.Section{{Title: "New", Lead: true, Lines: []notify.Line{{Text: p.send.Text}}}}, m.Sections...)
	}
	if lines := linesOf(w.Causes); len(lines) > 0 && !p.send.Action.Ends() {
		m.Sections = append(m.Sections, notify.Section{Title: "Probably because", Lines: lines})
	}
	if len(w.Affected) > 0 && !p.send.Action.Ends() {
		section := notify.Section{Title: "Also affected"}
		for _, a := range w.Affected {
			section.Lines = append(section.Lines, notify.Line{Text: a.Name, Link: s.page(w.Project, "incidents/"+a.Incident)})
		}
		m.Sections = append(m.Sections, section)
	}
	if p.send.Action.Ends() {
		m.Ended, m.Outcome = w.ResolvedAt, w.Outcome
		m.Sections = nil
	}
	if p.send.Severity == rule.Ticket {
		m.Due = w.OpenedAt.Add(24 * time.Hour)
	}
	if p.send.Next != "" {
		m.Next = fmt.Sprintf("at %s %s unless somebody acknowledges", p.send.NextAt.In(m.Location()).Format("15:04"), p.send.Next)
	}
	for _, in := range w.Instances {
		m.Instances = append(m.Instances, notify.Instance{
			Labels: in.Labels, Value: in.Value, StartsAt: in.Since, EndsAt: in.ResolvedAt, Summary: in.Headline,
		})
	}
	m.URL = s.page(w.Project, "incidents/"+w.ID)
	if p.send.Action.Ends() || w.Receiver != "" || w.Severity == rule.Mail {
		return m, nil
	}
	m.Buttons = s.buttons(w, p.to.Person)
	if s.cfg.Reply != nil {
		m.ReplyTo = s.cfg.Reply(w.ID, p.to.Person, s.now)
	}
	return m, nil
}

func (s *session) buttons(w *working, person string) []notify.Button {
	if s.cfg.Link == nil {
		return nil
	}
	var all []notify.Button
	for _, b := range []struct{ id, text string }{
		{notify.ButtonAcknowledge, "Acknowledge"},
		{notify.ButtonSilence, "Silence for 1 h"},
		{notify.ButtonEscalate, "Escalate"},
		{notify.ButtonFalseAlarm, "False alarm"},
	} {
		all = append(all, notify.Button{ID: b.id, Text: b.text, URL: s.cfg.Link(w.ID, b.id, person, s.now)})
	}
	return all
}

func facts(i *incident.Incident, worst incident.Instance) []notify.Fact {
	var all []notify.Fact
	add := func(name, value string) {
		if value != "" {
			all = append(all, notify.Fact{Name: name, Value: value})
		}
	}
	if worst.Limit != "" {
		add("Value", rule.Quantity(worst.Value, worst.Unit))
		if !i.ResolvedAt.IsZero() && worst.Worst != worst.Value {
			add("Peak", rule.Quantity(worst.Worst, worst.Unit))
		}
		add("Limit", worst.Limit)
	}
	all = append(all, worst.Facts...)
	if n := len(i.Instances) + i.Dropped; n > 1 {
		add("Groups", strconv.Itoa(n))
	}
	add("Service", i.Labels["service"])
	add("Environment", i.Labels["environment"])
	if i.Flapping {
		add("Flapping", "yes: it closes after 30 quiet minutes")
	}
	return all
}

func linesOf(instances []incident.Instance) []notify.Line {
	var lines []notify.Line
	for _, in := range instances {
		if in.Open() {
			lines = append(lines, notify.Line{Text: in.Headline})
		}
	}
	return lines
}

func (s *session) page(project uint32, path string) string {
	if s.cfg.URL == "" || project == 0 {
		return ""
	}
	return fmt.Sprintf("%s/p/%d/%s", s.cfg.URL, project, path)
}

// project returns what a project is called; one that is gone has no name.
func (s *session) project(ctx context.Context, number uint32) (catalog.Project, error) {
	if p, ok := s.projects[number]; ok {
		return p, nil
	}
	p, err := s.tx.Project(ctx, number)
	if err != nil && !errors.Is(err, catalog.ErrNotFound) {
		return p, err
	}
	if s.projects == nil {
		s.projects = map[uint32]catalog.Project{}
	}
	s.projects[number] = p
	return p, nil
}
