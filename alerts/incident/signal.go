package incident

import (
	"strings"
	"time"

	"github.com/midwatch/midwatch/alerts/notify"
	"github.com/midwatch/midwatch/alerts/rule"
)

// Kind is what a signal says.
type Kind string

// The kinds of signals.
const (
	// Fire opens an instance: it joins the incident of its group, or begins one.
	Fire Kind = "fire"
	// Resolve closes an instance.
	Resolve Kind = "resolve"
	// Note is a trouble that nobody has to be told about at once: it is a line of the digest.
	Note Kind = "note"
)

// The sections of the digest, in the order in which they stand.
const (
	SectionHealed       = "healed"       // by itself, before anybody was told
	SectionUnseen       = "unseen"       // came and went while nobody evaluated
	SectionRecurring    = "recurring"    // heals by itself again and again
	SectionWithdrawn    = "withdrawn"    // healed before the message was delivered
	SectionInconclusive = "inconclusive" // began, and then there was no data
	SectionHealth       = "health"       // rules without data or that cannot be evaluated
	SectionDelivery     = "delivery"     // receivers that could not be reached
	SectionMail         = "mail"         // what is only worth a mail
)

// Signal is what the evaluation of rules, the monitors, and others' rules have to say about one
// instance. It is the only way into incidents.
type Signal struct {
	Kind     Kind
	Instance Instance
	// At is the slot at which it happened, which may be before now.
	At time.Time
	// Again says that the instance fires again shortly after it had resolved, Flapping that it does so
	// again and again.
	Again, Flapping bool
	// Reason is why it resolved otherwise than by being good.
	Reason rule.Reason
	// Late says why it comes late; empty is in time.
	Late string
	// Worst is the worst value, of a Note and a Resolve.
	Worst float64
	// Section and Text are a Note's.
	Section, Text string
	// Parents are the rules that this one depends on, if they are bad now.
	Parents []Parent
}

// Parent is a rule on which another one depends.
type Parent struct {
	Rule string
	// Firing inhibits the child; Pending holds its page for a minute, since the parent may be about to
	// fire.
	Firing, Pending bool
}

// Instance is one group of one rule at one level, as far as people are told of it.
type Instance struct {
	// Key is unique in the project: rule, level and group.
	Key     string `json:"key"`
	Project uint32 `json:"project"`
	Rule    string `json:"rule"` // its id; empty for what is no rule, such as a fold
	Name    string `json:"name"` // of the rule, the monitor or the probe
	Version int64  `json:"version,omitempty"`
	Level   string `json:"level,omitempty"`
	// Labels are those of the group, with service, environment, area, severity and class; routes,
	// silences and windows match on them.
	Labels   map[string]string `json:"labels,omitempty"`
	Severity rule.Severity     `json:"severity"`
	Class    rule.Class        `json:"class,omitempty"`
	Kind     rule.Kind         `json:"kind,omitempty"`
	// Headline is the first line of a message about it, without severity.
	Headline string `json:"headline"`
	// Since is the first bad slot, FiredAt the slot at which it fired.
	Since      time.Time `json:"since"`
	FiredAt    time.Time `json:"fired_at"`
	ResolvedAt time.Time `json:"resolved_at,omitzero"`
	// ExpiresAt closes it by itself, where nothing else ever will.
	ExpiresAt   time.Time   `json:"expires_at,omitzero"`
	Reason      rule.Reason `json:"reason,omitempty"`
	Value       float64     `json:"value"`
	Worst       float64     `json:"worst"`
	Limit       string      `json:"limit,omitempty"` // in words: ">= 5 %"
	Unit        string      `json:"unit,omitempty"`
	Quiet       bool        `json:"quiet,omitempty"` // even a page waits for the end of quiet hours
	Summary     string      `json:"summary,omitempty"`
	FirstAction string      `json:"first_action,omitempty"`
	Runbook     string      `json:"runbook,omitempty"`
	// Team and Group name the route where the instance has its own: a ticket about the rules of a
	// source without data is one for all of them.
	Team  string `json:"team,omitempty"`
	Group string `json:"group,omitempty"`
	// Facts are told of it beside its value, in the order in which they stand.
	Facts []Fact `json:"facts,omitempty"`
}

// Fact is something that is told of an instance, with its name.
type Fact = notify.Fact

// Open reports whether it is still bad.
func (i Instance) Open() bool { return i.ResolvedAt.IsZero() }

// Line begins a line of the digest about it.
func (i Instance) Line() Line {
	group := ""
	if parts := strings.SplitN(i.Key, "/", 3); len(parts) == 3 {
		group = strings.TrimSuffix(parts[2], "/recurring")
	}
	return Line{
		Rule: i.Rule, Name: i.Name, Group: group, Kind: string(i.Kind), Service: i.Labels["service"], From: i.Since, Unit: i.Unit, Limit: i.Limit,
	}
}
