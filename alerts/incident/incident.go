// Package incident is what becomes of the troubles that rules, monitors and probes report: instances
// are grouped into incidents, and an incident decides who is told what, and when. It is pure. Fire,
// Resolve, Tick and what people do turn an incident into its next state and say what is to be sent;
// package desk keeps the states and the messages in one transaction.
//
// The first page costs no wait; what joins later is folded into updates. Tickets wait for five
// minutes, since most troubles heal within them: those are lines of the digest. That something has
// ended is told to everybody who was told that it began, whatever is silenced.
package incident

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/midwatch/midwatch/alerts/notify"
	"github.com/midwatch/midwatch/alerts/oncall"
	"github.com/midwatch/midwatch/alerts/rule"
)

const (
	// ticketWait is how long a ticket or mail waits for its trouble to heal by itself.
	ticketWait = 5 * time.Minute
	// updateEvery is the least time between two messages about further instances.
	updateEvery = 5 * time.Minute
	// remindAfter is when somebody who acknowledged is asked whether they are still at it, and
	// answerWithin how long they have before the escalation goes on.
	remindAfter  = 60 * time.Minute
	answerWithin = 15 * time.Minute
	// repeatTicket is how often an open ticket is told again.
	repeatTicket = 24 * time.Hour
	// parentPending is how long a page waits for a parent that may be about to fire, childAfter how
	// long after its parent has resolved a child may still be bad.
	parentPending = 60 * time.Second
	childAfter    = 2 * time.Minute
	// recheck is how soon somebody looks again at what a silence holds: silences are ended early.
	recheck = time.Minute
	// growth is how many times more instances are worth a sound.
	growth = 10
	// CauseWithin is how far apart a symptom and its cause may begin.
	CauseWithin = 15 * time.Minute
	// maxInstances bounds what an incident remembers; more are only counted.
	maxInstances = 1000
	maxCauses    = 50
)

// State is whether an incident is open.
type State string

// The states.
const (
	Open     State = "open"
	Resolved State = "resolved"
	// Merged is a cause that became part of its symptom's incident.
	Merged State = "merged"
)

// Incident is a group of instances that are bad for one reason. It is a value that Fire and the
// other methods change.
type Incident struct {
	ID           string `json:"id"` // a UUID; receivers know the incident by it
	Number       int64  `json:"number"`
	Organisation string `json:"organisation"`
	Project      uint32 `json:"project"`
	Team         string `json:"team"`
	// RouteKey tells the incidents of a team apart: at most one of a key is open.
	RouteKey string `json:"route_key"`
	Policy   string `json:"policy,omitempty"`
	// Receiver is the only one that is told, of a fold.
	Receiver string            `json:"receiver,omitempty"`
	Labels   map[string]string `json:"labels,omitempty"` // those by which it is grouped

	State    State         `json:"state"`
	Severity rule.Severity `json:"severity"`
	Title    string        `json:"title"`
	// OpenedAt is when the episode was opened, Since when its trouble began.
	OpenedAt   time.Time `json:"opened_at"`
	Since      time.Time `json:"since"`
	ResolvedAt time.Time `json:"resolved_at,omitzero"`
	Outcome    string    `json:"outcome,omitempty"` // how it ended
	Episode    int       `json:"episode"`
	Flapping   bool      `json:"flapping,omitempty"`
	FalseAlarm bool      `json:"false_alarm,omitempty"`
	// Late says why people are told late; empty is in time.
	Late string `json:"late,omitempty"`

	Instances []Instance `json:"instances"`
	Dropped   int        `json:"dropped,omitempty"` // instances beyond what is remembered
	// Causes are bad at the same time in the same service, and say why it may be so. Affected are the
	// incidents that wait for this one to end.
	Causes   []Instance `json:"causes,omitempty"`
	Affected []Affected `json:"affected,omitempty"`
	Parent   string     `json:"parent,omitempty"` // the incident that a merged one belongs to

	// Seq is the number of the newest message.
	Seq int64 `json:"seq"`
	// ToldAt is when people were last told; zero is never in this episode. Loud is how many instances
	// were open when it last made a sound. Fresh are those that have joined since.
	ToldAt time.Time `json:"told_at,omitzero"`
	Loud   int       `json:"loud,omitempty"`
	Fresh  []string  `json:"fresh,omitempty"`

	// The escalation: the stage that comes next and when. Zero is none.
	Stage   oncall.Stage `json:"stage,omitzero"`
	StageAt time.Time    `json:"stage_at,omitzero"`

	AckedAt  time.Time `json:"acked_at,omitzero"`
	AckedBy  string    `json:"acked_by,omitempty"`
	RemindAt time.Time `json:"remind_at,omitzero"`
	// AnswerBy is until when whoever was reminded has to answer.
	AnswerBy time.Time `json:"answer_by,omitzero"`

	TicketAt time.Time `json:"ticket_at,omitzero"` // when the ticket is told, or told again
	UpdateAt time.Time `json:"update_at,omitzero"` // when Fresh is told

	// HeldBy is the rule whose trouble explains this one; ReleaseAt is set once that has ended.
	HeldBy    string    `json:"held_by,omitempty"`
	ReleaseAt time.Time `json:"release_at,omitzero"`
	// WaitUntil holds the first page: for a parent, a silence, or the end of quiet hours.
	WaitUntil time.Time `json:"wait_until,omitzero"`
	WaitsFor  string    `json:"waits_for,omitempty"`
}

// Affected is an incident that another one explains.
type Affected struct {
	Incident string `json:"incident"`
	Name     string `json:"name"`
}

// Recipient is one receiver of a message.
type Recipient struct {
	Receiver string
	Person   string
	Due      time.Time
}

// Send is a message that is to be sent.
type Send struct {
	// To are the receivers; Everybody means all who were told of this incident so far.
	To        []Recipient
	Everybody bool
	Action    notify.Action
	Severity  rule.Severity
	Loud      bool
	// Text says what is new, where it is more than the incident itself.
	Text string
	// Next says what happens next, and when.
	Next   string
	NextAt time.Time
	Seq    int64
}

// Entry is a line of the timeline.
type Entry struct {
	At                 time.Time
	Kind, Person, Text string
}

// Line is a line of the digest.
type Line struct {
	Section string `json:"section"`
	Text    string `json:"text"`
	// Rule, Name and Group say whose line it is; Service, From, To and Worst what happened, in Unit
	// and against Limit.
	Rule     string    `json:"rule,omitempty"`
	Name     string    `json:"name,omitempty"`
	Group    string    `json:"group,omitempty"`
	Kind     string    `json:"kind,omitempty"`
	Service  string    `json:"service,omitempty"`
	Unit     string    `json:"unit,omitempty"`
	Limit    string    `json:"limit,omitempty"`
	From     time.Time `json:"from,omitzero"`
	To       time.Time `json:"to,omitzero"`
	Worst    float64   `json:"worst,omitempty"`
	Incident string    `json:"incident,omitempty"`
}

// Change is what a change of an incident asks for.
type Change struct {
	Sends   []Send
	Entries []Entry
	Lines   []Line
	// Ended says that the incident has just resolved: what was not delivered is withdrawn.
	Ended bool
	// Left are causes that are still bad now that their symptom has ended.
	Left []Instance
}

func (c *Change) note(at time.Time, kind, format string, args ...any) {
	c.Entries = append(c.Entries, Entry{At: at, Kind: kind, Text: fmt.Sprintf(format, args...)})
}

// Fire takes in an instance that is bad from now on.
func (i *Incident) Fire(b *Book, s Signal, now time.Time, c *Change) {
	in := s.Instance
	if i.State == Open && i.Bad(in.Key) {
		i.refresh(in)
		return
	}
	again := i.State == Resolved
	fresh := i.State == "" || again
	switch {
	case i.State == "":
		i.Episode, i.Since, i.OpenedAt = 1, in.Since, now
		i.Severity = in.Severity
	case again:
		i.Episode++
		i.Since, i.OpenedAt = in.Since, now
		i.ResolvedAt, i.Outcome = time.Time{}, ""
		i.Severity = in.Severity
		i.AckedAt, i.AckedBy, i.RemindAt, i.AnswerBy = time.Time{}, "", time.Time{}, time.Time{}
		i.ToldAt, i.Fresh, i.Loud = time.Time{}, nil, 0
		i.Stage, i.StageAt = oncall.Stage{}, time.Time{}
		// What resolved before is the story of another episode.
		i.Instances = slices.DeleteFunc(i.Instances, func(o Instance) bool { return !o.Open() })
	}
	i.State = Open
	i.Flapping = i.Flapping && again || s.Flapping
	if s.Late != "" && fresh {
		i.Late = s.Late
	}
	i.Since = earlier(i.Since, in.Since)
	known := slices.IndexFunc(i.Instances, func(o Instance) bool { return o.Key == in.Key })
	switch {
	case known >= 0:
		i.Instances[known] = in
	case len(i.Instances) < maxInstances:
		i.Instances = append(i.Instances, in)
	default:
		i.Dropped++
	}
	raised := !fresh && rank(in.Severity) < rank(i.Severity)
	if raised {
		i.Severity = in.Severity
		i.TicketAt, i.Stage, i.StageAt = time.Time{}, oncall.Stage{}, time.Time{}
	}
	if in.Class == rule.Symptom && i.Severity == rule.Page {
		i.demoteCauses(now, c)
	}
	i.Title = i.headline()
	what := "Opened"
	if again {
		what = "Bad again"
	}
	if s.Flapping {
		what = "Flapping, so it closes slowly from now on"
	}
	switch {
	case fresh:
		c.note(now, "opened", "%s: %s", what, in.Headline)
	case known < 0:
		c.note(now, "joined", "Also: %s", in.Headline)
	default:
		c.note(now, "joined", "%s: %s", what, in.Headline)
	}
	if fresh {
		i.hold(s.Parents, now, c)
	}
	switch {
	case fresh:
		i.announce(b, now, c)
	case raised:
		c.note(now, "raised", "The severity is %s now", i.Severity)
		i.announce(b, now, c)
	default:
		i.fresh(in, now)
	}
	i.Tick(b, now, c)
}

// refresh takes in what is said again of an instance that is bad already.
func (i *Incident) refresh(in Instance) {
	for _, list := range [][]Instance{i.Instances, i.Causes} {
		for n := range list {
			if list[n].Key == in.Key && list[n].Open() {
				in.Since, in.FiredAt = list[n].Since, list[n].FiredAt
				list[n] = in
			}
		}
	}
	i.Title = i.headline()
}

// demoteCauses makes those instances causes that users do not feel: a symptom explains why they matter.
func (i *Incident) demoteCauses(now time.Time, c *Change) {
	i.Instances = slices.DeleteFunc(i.Instances, func(in Instance) bool {
		if in.Class != rule.Cause || in.Severity == rule.Page || !in.Open() {
			return false
		}
		i.Explain(in, now, c)
		return true
	})
}

// Gather takes in an incident as an instance of a fold, of which Announce tells once all that come at
// once are in.
func (i *Incident) Gather(in Instance, now time.Time, c *Change) {
	if i.State != Open {
		again := i.State == Resolved
		i.State, i.Severity, i.OpenedAt, i.Since, i.ResolvedAt, i.Outcome = Open, in.Severity, now, in.Since, time.Time{}, ""
		i.Episode++
		if again {
			i.Instances, i.Dropped, i.ToldAt, i.Fresh = nil, 0, time.Time{}, nil
		}
		c.note(now, "opened", "Too many pages at once: the rest is one")
	}
	if len(i.Instances) < maxInstances {
		i.Instances = append(i.Instances, in)
	} else {
		i.Dropped++
	}
	i.fresh(in, now)
	i.Title = i.headline()
}

// Announce tells of a fold that is new, or of what has joined it as soon as an update is due.
func (i *Incident) Announce(b *Book, now time.Time, c *Change) {
	if i.ToldAt.IsZero() {
		i.escalate(b, now, c)
	}
	i.Tick(b, now, c)
}

// hold keeps the page back where a parent explains the trouble or is about to.
func (i *Incident) hold(parents []Parent, now time.Time, c *Change) {
	i.HeldBy, i.ReleaseAt, i.WaitUntil, i.WaitsFor = "", time.Time{}, time.Time{}, ""
	for _, p := range parents {
		switch {
		case p.Firing:
			i.HeldBy = p.Rule
			c.note(now, "held", "Held: %s is bad, which explains it", p.Rule)
			return
		case p.Pending:
			i.WaitUntil, i.WaitsFor = now.Add(parentPending), "parent"
		}
	}
	if i.WaitsFor != "" {
		c.note(now, "held", "Waits for a minute: what it depends on may be about to fire")
	}
}

// announce has people told for the first time in an episode, or at a higher severity.
func (i *Incident) announce(b *Book, now time.Time, c *Change) {
	if i.HeldBy != "" || !i.WaitUntil.IsZero() {
		return
	}
	if i.Severity != rule.Page {
		i.TicketAt = now.Add(ticketWait)
		return
	}
	if until, by, ok := b.muted(i, now); ok {
		i.wait(until, "silence", now)
		c.note(now, "silenced", "Nobody is told until %s: silence %s", until.Format(time.RFC3339), by)
		return
	}
	if until, held := i.quiet(b, now); held {
		i.wait(until, "quiet", now)
		c.note(now, "held", "Waits for the end of quiet hours at %s", until.Format(time.RFC3339))
		return
	}
	i.escalate(b, now, c)
}

func (i *Incident) wait(until time.Time, what string, now time.Time) {
	i.WaitsFor = what
	i.WaitUntil = until
	if what == "silence" {
		i.WaitUntil = earlier(until, now.Add(recheck))
	}
}

// quiet reports whether even a page waits for the end of quiet hours: only if all that is bad says so.
func (i *Incident) quiet(b *Book, now time.Time) (until time.Time, held bool) {
	for _, in := range i.Instances {
		if in.Open() && in.Severity == rule.Page && !in.Quiet {
			return time.Time{}, false
		}
	}
	return b.Teams[i.Team].Quiet(now)
}

// escalate executes the stage that is due.
func (i *Incident) escalate(b *Book, now time.Time, c *Change) {
	first := i.Stage == (oncall.Stage{})
	send := Send{Action: notify.Trigger, Severity: rule.Page, Loud: true}
	if i.Receiver != "" { // a fold
		if i.ToldAt.IsZero() {
			send.To = []Recipient{{Receiver: i.Receiver, Due: now}}
			i.send(send, now, c)
		}
		return
	}
	policy, ok := b.policy(i)
	if !ok {
		c.note(now, "untold", "There is nobody to tell: no receiver is set up")
		i.StageAt = time.Time{}
		return
	}
	plan := policy.Plan(i.Stage, now, b.directory())
	for _, r := range plan.Recipients {
		send.To = append(send.To, Recipient{Receiver: r.Receiver, Person: r.Person, Due: now})
	}
	i.warn(b, plan.Warnings, now, c)
	i.Stage, i.StageAt = plan.Next, plan.Due
	switch {
	case plan.Stage.Exhausted:
		if len(send.To) == 0 {
			send.To = b.owners(i, now)
		}
		send.Action, send.Text = notify.Reminder, "Nobody has acknowledged: everybody who could be told has been told."
		c.note(now, "exhausted", "Everybody has been told and nobody has acknowledged")
	case !first:
		send.Action = notify.Escalate
		send.Text = fmt.Sprintf("Nobody has acknowledged since %s.", i.ToldAt.UTC().Format("15:04"))
	}
	if len(send.To) == 0 {
		return
	}
	if !plan.Next.Exhausted || len(policy.ExhaustedReceivers) > 0 {
		send.Next, send.NextAt = b.nextWords(policy, plan.Next, plan.Due), plan.Due
	}
	i.send(send, now, c)
}

// nextWords says whom the next stage tells.
func (b *Book) nextWords(p oncall.Policy, s oncall.Stage, due time.Time) string {
	if s.Exhausted {
		return "the owners are mailed"
	}
	plan := p.Plan(s, due, b.directory())
	var names []string
	for _, r := range plan.Recipients {
		name := b.Receivers[r.Receiver].Name
		if person, ok := b.People[r.Person]; ok {
			name = person.Name
		}
		names = append(names, name)
	}
	if len(names) == 0 {
		return ""
	}
	return strings.Join(names, ", ") + " is told"
}

// warn tells the owners of a hole in their schedules.
func (i *Incident) warn(b *Book, warnings []oncall.Warning, now time.Time, c *Change) {
	if len(warnings) == 0 {
		return
	}
	var texts []string
	for _, w := range warnings {
		text := fmt.Sprintf("step %d: %s %s is not there", w.Stage.Step+1, w.Target.Kind, w.Target.ID)
		switch w.Kind {
		case oncall.NobodyOnCall:
			text = fmt.Sprintf("step %d: gap in schedule %s: nobody is on call", w.Stage.Step+1, b.Schedules[w.Target.ID].Name)
		case oncall.NoContact:
			person := w.Person
			if person == "" {
				person = w.Target.ID
			}
			text = fmt.Sprintf("step %d: %s has no way to be reached", w.Stage.Step+1, b.People[person].Name)
		}
		texts = append(texts, text)
		c.note(now, "gap", "%s", strings.ToUpper(text[:1])+text[1:])
	}
	i.Seq++
	c.Sends = append(c.Sends, Send{To: b.owners(i, now), Action: notify.Notice, Severity: rule.Mail, Seq: i.Seq, Text: strings.Join(texts, "; ")})
}

// send adds a message about the incident.
func (i *Incident) send(s Send, now time.Time, c *Change) {
	i.Seq++
	s.Seq = i.Seq
	c.Sends = append(c.Sends, s)
	i.ToldAt = now
	if s.Loud {
		i.Loud = i.openCount()
	}
	i.Fresh, i.UpdateAt = nil, time.Time{}
}

// fresh notes an instance that has joined an incident of which people know.
func (i *Incident) fresh(in Instance, now time.Time) {
	if i.ToldAt.IsZero() || slices.Contains(i.Fresh, in.Key) {
		return
	}
	if len(i.Fresh) < maxInstances {
		i.Fresh = append(i.Fresh, in.Key)
	}
	if i.UpdateAt.IsZero() {
		i.UpdateAt = later(now, i.ToldAt.Add(updateEvery))
	}
	if i.Loud > 0 && i.openCount() >= growth*i.Loud {
		i.UpdateAt = now
	}
}

// Resolve takes in that an instance is good again.
func (i *Incident) Resolve(b *Book, s Signal, now time.Time, c *Change) {
	i.close(s.Instance.Key, s.At, s.Reason, s.Worst)
	i.Tick(b, now, c)
}

func (i *Incident) close(key string, at time.Time, reason rule.Reason, worst float64) {
	for _, list := range [][]Instance{i.Instances, i.Causes} {
		for n := range list {
			if list[n].Key == key && list[n].Open() {
				list[n].ResolvedAt, list[n].Reason, list[n].Worst = at, reason, worst
			}
		}
	}
	i.Fresh = slices.DeleteFunc(i.Fresh, func(k string) bool { return k == key })
}

// Tick does what is due. Every change of an incident ends with it.
func (i *Incident) Tick(b *Book, now time.Time, c *Change) {
	if i.State != Open {
		return
	}
	for n := range i.Instances {
		if in := &i.Instances[n]; in.Open() && due(in.ExpiresAt, now) {
			in.ResolvedAt = in.ExpiresAt
		}
	}
	if i.openCount() == 0 {
		i.end(b, now, c)
		return
	}
	i.Title = i.headline()
	if i.HeldBy != "" {
		if !due(i.ReleaseAt, now) {
			return
		}
		c.note(now, "released", "Still bad after %s has ended", i.HeldBy)
		i.HeldBy, i.ReleaseAt = "", time.Time{}
		i.announce(b, now, c)
	}
	if due(i.WaitUntil, now) {
		i.WaitUntil, i.WaitsFor = time.Time{}, ""
		i.announce(b, now, c)
	}
	if due(i.TicketAt, now) {
		i.ticket(b, now, c)
	}
	if due(i.StageAt, now) {
		if until, _, ok := b.muted(i, now); ok {
			i.StageAt = until.Add(recheck)
		} else {
			i.escalate(b, now, c)
		}
	}
	if due(i.UpdateAt, now) {
		i.update(b, now, c)
	}
	if due(i.RemindAt, now) {
		i.remind(b, now, c)
	}
	if due(i.AnswerBy, now) {
		i.AnswerBy = time.Time{}
		c.note(now, "unanswered", "%s did not answer the reminder", i.AckedBy)
		i.AckedAt, i.AckedBy = time.Time{}, ""
		i.escalate(b, now, c)
	}
}

// NextAt is when Tick has something to do; zero is never.
func (i *Incident) NextAt() time.Time {
	if i.State != Open {
		return time.Time{}
	}
	var next time.Time
	for _, in := range i.Instances {
		if in.Open() {
			next = sooner(next, in.ExpiresAt)
		}
	}
	if i.HeldBy != "" {
		return sooner(next, i.ReleaseAt)
	}
	for _, t := range []time.Time{i.WaitUntil, i.TicketAt, i.StageAt, i.UpdateAt, i.RemindAt, i.AnswerBy} {
		next = sooner(next, t)
	}
	return next
}

// ticket tells those who work on tickets, and again each day.
func (i *Incident) ticket(b *Book, now time.Time, c *Change) {
	if until, _, ok := b.muted(i, now); ok {
		i.TicketAt = earlier(until, now.Add(recheck))
		return
	}
	team := b.Teams[i.Team]
	send := Send{Action: notify.Ticket, Severity: i.Severity}
	if i.Severity == rule.Mail {
		send.Action = notify.Mail
		i.TicketAt = time.Time{}
		if len(team.Mails) == 0 {
			// A mail is nothing to be told at once where nobody has asked for it.
			i.ToldAt = now
			c.Lines = append(c.Lines, i.line(SectionMail, i.Title, now))
			c.note(now, "digest", "In the next digest")
			return
		}
		send.To = b.quietly(i, team.Mails, now)
	} else {
		send.To = b.quietly(i, team.Tickets, now)
		i.TicketAt = now.Add(repeatTicket)
	}
	if !i.ToldAt.IsZero() {
		send.Action, send.Text, send.Everybody, send.To = notify.Comment, "Still open.", true, nil
	}
	i.send(send, now, c)
}

// update tells of what has joined, without a sound unless it has become much more.
func (i *Incident) update(b *Book, now time.Time, c *Change) {
	fresh := i.Fresh
	i.UpdateAt, i.Fresh = time.Time{}, nil
	if len(fresh) == 0 {
		return
	}
	if _, _, ok := b.muted(i, now); ok {
		return
	}
	var names []string
	for _, in := range i.Instances {
		if slices.Contains(fresh, in.Key) && in.Open() {
			names = append(names, in.Headline)
		}
	}
	if len(names) == 0 {
		return
	}
	send := Send{Everybody: true, Action: notify.Update, Severity: i.Severity, Loud: i.Loud > 0 && i.openCount() >= growth*i.Loud}
	if i.Severity != rule.Page {
		send.Action = notify.Comment
	}
	const shown = 10
	send.Text = fmt.Sprintf("+%d: %s", len(names), strings.Join(names[:min(len(names), shown)], "; "))
	if more := len(names) - shown; more > 0 {
		send.Text += fmt.Sprintf(" and %d more", more)
	}
	i.send(send, now, c)
}

// remind asks whoever acknowledged.
func (i *Incident) remind(b *Book, now time.Time, c *Change) {
	i.RemindAt = time.Time{}
	send := Send{Action: notify.Reminder, Severity: rule.Page, Loud: true, Text: "You acknowledged this an hour ago and it is still bad. Acknowledge again if you are at it; otherwise it is escalated in 15 minutes."}
	if p, ok := b.People[i.AckedBy]; ok {
		for _, contact := range p.Contacts {
			if _, ok := b.Receivers[contact.Receiver]; ok {
				send.To = []Recipient{{Receiver: contact.Receiver, Person: p.ID, Due: now}}
				break
			}
		}
	}
	send.Everybody = len(send.To) == 0
	i.AnswerBy = now.Add(answerWithin)
	c.note(now, "reminded", "Reminded %s", i.AckedBy)
	i.send(send, now, c)
}

// end resolves the incident.
func (i *Incident) end(b *Book, now time.Time, c *Change) {
	i.State = Resolved
	var last time.Time
	for _, in := range i.Instances {
		last = later(last, in.ResolvedAt)
	}
	i.ResolvedAt = now
	if !last.IsZero() {
		i.ResolvedAt = last
	}
	i.Outcome = i.outcome()
	c.Ended = true
	c.note(now, "resolved", "Resolved: %s, after %s", i.Outcome, notify.Span(i.ResolvedAt.Sub(i.Since)))
	told := !i.ToldAt.IsZero()
	if told {
		action := notify.Resolve
		if i.Severity != rule.Page {
			action = notify.Close
		}
		if i.Severity != rule.Mail {
			i.send(Send{Everybody: true, Action: action, Severity: i.Severity, Text: i.Outcome}, now, c)
		}
	} else {
		section := SectionHealed
		switch {
		case i.HeldBy != "" || i.WaitsFor != "":
			section = SectionWithdrawn
		case i.ended(rule.IssueResolved):
			section = SectionWithdrawn
		case i.expired():
			section = SectionRecurring
		}
		c.Lines = append(c.Lines, i.line(section, i.Title, now))
	}
	i.Stage, i.StageAt, i.TicketAt, i.UpdateAt, i.RemindAt, i.AnswerBy = oncall.Stage{}, time.Time{}, time.Time{}, time.Time{}, time.Time{}, time.Time{}
	i.HeldBy, i.ReleaseAt, i.WaitUntil, i.WaitsFor = "", time.Time{}, time.Time{}, ""
	for _, in := range i.Causes {
		if in.Open() {
			c.Left = append(c.Left, in)
		}
	}
	i.Causes = slices.DeleteFunc(i.Causes, Instance.Open)
	i.Affected = nil
}

func (i *Incident) ended(by rule.Reason) bool {
	return slices.ContainsFunc(i.Instances, func(in Instance) bool { return in.Reason == by })
}

func (i *Incident) expired() bool {
	return slices.ContainsFunc(i.Instances, func(in Instance) bool { return !in.ExpiresAt.IsZero() })
}

func (i *Incident) outcome() string {
	for _, in := range i.Instances {
		switch in.Reason {
		case rule.DataGone:
			return "data gone, not confirmed"
		case rule.RuleRemoved, rule.RulePaused, rule.RuleChanged:
			return "the rule was removed, paused or changed"
		case rule.EntityGone:
			return "what it was about is gone"
		case rule.IssueResolved:
			return "the issue was resolved"
		case byHand:
			return "closed by hand"
		}
	}
	if i.expired() {
		return "closed by itself after a day"
	}
	return "recovered"
}

// byHand is the reason of what a person has closed.
const byHand rule.Reason = "by_hand"

func (i *Incident) line(section, text string, now time.Time) Line {
	l := Line{}
	if len(i.Instances) > 0 {
		l = i.Instances[0].Line()
		l.Worst = i.Instances[0].Worst
	}
	l.Section, l.Text, l.Service, l.From, l.To, l.Incident = section, text, i.Labels["service"], i.Since, now, i.ID
	return l
}

// Explain makes an instance part of the incident as what may be its cause.
func (i *Incident) Explain(in Instance, now time.Time, c *Change) {
	known := slices.IndexFunc(i.Causes, func(o Instance) bool { return o.Key == in.Key })
	switch {
	case known >= 0:
		i.Causes[known] = in
		return
	case len(i.Causes) >= maxCauses:
		return
	}
	i.Causes = append(i.Causes, in)
	c.note(now, "cause", "Probably because: %s", in.Headline)
}

// MergeInto makes the incident part of another, whose causes its instances become. Nobody has been
// told of it.
func (i *Incident) MergeInto(parent *Incident, now time.Time, own, theirs *Change) {
	for _, in := range i.Instances {
		if in.Open() {
			parent.Explain(in, now, theirs)
		}
	}
	i.State, i.Parent, i.ResolvedAt = Merged, parent.ID, now
	i.TicketAt, i.StageAt = time.Time{}, time.Time{}
	own.note(now, "merged", "Became part of incident %d", parent.Number)
}

// Untold reports whether nobody has been told in this episode.
func (i *Incident) Untold() bool { return i.ToldAt.IsZero() }

// Release lets an incident go that waited for another rule, in a while: it may heal along with it.
func (i *Incident) Release(parent string, now time.Time) {
	if i.State == Open && i.HeldBy == parent && i.ReleaseAt.IsZero() {
		i.ReleaseAt = now.Add(childAfter)
	}
}

// Hold takes a release back: the other rule is bad again.
func (i *Incident) Hold(parent string) {
	if i.HeldBy == parent {
		i.ReleaseAt = time.Time{}
	}
}

// Affects notes an incident that this one explains.
func (i *Incident) Affects(child *Incident) {
	for _, a := range i.Affected {
		if a.Incident == child.ID {
			return
		}
	}
	if len(i.Affected) < maxCauses {
		i.Affected = append(i.Affected, Affected{Incident: child.ID, Name: child.Title})
	}
}

// Acknowledge says that somebody is at it: the escalation stops. via says by which way.
func (i *Incident) Acknowledge(person, via string, now time.Time, c *Change) {
	if i.State != Open {
		return
	}
	again := !i.AckedAt.IsZero()
	i.AckedAt, i.AckedBy = now, person
	i.StageAt, i.AnswerBy = time.Time{}, time.Time{}
	i.RemindAt = now.Add(remindAfter)
	c.Entries = append(c.Entries, Entry{At: now, Kind: "acknowledged", Person: person, Text: "Acknowledged" + by(via)})
	if !again && !i.ToldAt.IsZero() {
		told := i.ToldAt
		i.send(Send{Everybody: true, Action: notify.Acknowledge, Severity: i.Severity, Text: person + " is at it."}, now, c)
		i.ToldAt = told // further instances need not wait because of this
	}
}

func by(via string) string {
	if via == "" {
		return ""
	}
	return " by " + via
}

// Escalate goes on to the next step at once.
func (i *Incident) Escalate(b *Book, person string, now time.Time, c *Change) {
	if i.State != Open {
		return
	}
	c.Entries = append(c.Entries, Entry{At: now, Kind: "escalated", Person: person, Text: "Escalated"})
	i.AckedAt, i.AckedBy, i.RemindAt, i.AnswerBy = time.Time{}, "", time.Time{}, time.Time{}
	i.Severity = rule.Page
	i.HeldBy, i.ReleaseAt, i.WaitUntil, i.WaitsFor, i.TicketAt = "", time.Time{}, time.Time{}, "", time.Time{}
	i.escalate(b, now, c)
}

// Finish closes the incident by hand; what is still bad opens it again when it fires anew.
func (i *Incident) Finish(b *Book, person, text string, falseAlarm bool, now time.Time, c *Change) {
	if falseAlarm {
		i.FalseAlarm = true
		c.Entries = append(c.Entries, Entry{At: now, Kind: "false_alarm", Person: person, Text: "Called a false alarm"})
	}
	if i.State != Open {
		return
	}
	if text == "" {
		text = "Closed by hand"
	}
	c.Entries = append(c.Entries, Entry{At: now, Kind: "closed", Person: person, Text: text})
	for n := range i.Instances {
		if in := &i.Instances[n]; in.Open() {
			in.ResolvedAt, in.Reason = now, byHand
		}
	}
	i.Tick(b, now, c)
}

func (i *Incident) openCount() int {
	n := i.Dropped
	for _, in := range i.Instances {
		if in.Open() {
			n++
		}
	}
	return n
}

// OpenInstance reports whether an instance of a rule is open in it.
func (i *Incident) OpenInstance(rule string) bool {
	return i.State == Open && slices.ContainsFunc(i.Instances, func(in Instance) bool { return in.Rule == rule && in.Open() })
}

// Bad reports whether an instance is bad in it, as a trouble or as a cause.
func (i *Incident) Bad(key string) bool {
	is := func(in Instance) bool { return in.Key == key && in.Open() }
	return slices.ContainsFunc(i.Instances, is) || slices.ContainsFunc(i.Causes, is)
}

// Knows reports whether an instance has been part of it.
func (i *Incident) Knows(key string) bool {
	return slices.ContainsFunc(i.Instances, func(in Instance) bool { return in.Key == key })
}

// Symptom reports whether something that users feel is bad in it.
func (i *Incident) Symptom() bool {
	return slices.ContainsFunc(i.Instances, func(in Instance) bool { return in.Open() && in.Class == rule.Symptom })
}

// OnlyCauses reports whether all that is bad in it is a cause, and nobody is to be woken for it.
func (i *Incident) OnlyCauses() bool {
	return i.Severity != rule.Page && !slices.ContainsFunc(i.Instances, func(in Instance) bool { return in.Open() && in.Class != rule.Cause })
}

// Worst is the open instance that the incident is known by: the most severe, the first to fire.
func (i *Incident) Worst() (Instance, bool) {
	var worst *Instance
	for n := range i.Instances {
		in := &i.Instances[n]
		if in.Open() && (worst == nil || rank(in.Severity) < rank(worst.Severity)) {
			worst = in
		}
	}
	if worst == nil && len(i.Instances) > 0 {
		worst = &i.Instances[0]
	}
	if worst == nil {
		return Instance{}, false
	}
	return *worst, true
}

// headline is the first line of the incident.
func (i *Incident) headline() string {
	worst, ok := i.Worst()
	if !ok {
		return i.Title
	}
	title := worst.Headline
	if i.Receiver != "" {
		return fmt.Sprintf("%d more incidents at once: %s", i.openCount(), title)
	}
	if n := i.openCount() - 1; n > 0 {
		title += fmt.Sprintf(" (+%d more)", n)
	}
	return title
}

// rank orders severities, the worst first.
func rank(s rule.Severity) int {
	switch s {
	case rule.Page:
		return 0
	case rule.Ticket:
		return 1
	default:
		return 2
	}
}

// Rank orders severities, the worst first.
func Rank(s rule.Severity) int { return rank(s) }

func due(t, now time.Time) bool { return !t.IsZero() && !t.After(now) }

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// sooner is earlier where zero is never.
func sooner(a, b time.Time) time.Time {
	switch {
	case a.IsZero():
		return b
	case b.IsZero():
		return a
	}
	return earlier(a, b)
}
