package oncall

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

const (
	maxSteps     = 20
	maxLoops     = 10
	maxTargets   = 20
	maxExhausted = 20

	defaultAckTimeout = Duration(5 * time.Minute)
	minAckTimeout     = Duration(time.Minute)
	maxAckTimeout     = Duration(24 * time.Hour)

	defaultRepeat = Duration(30 * time.Minute)
	minRepeat     = Duration(5 * time.Minute)
	maxRepeat     = Duration(24 * time.Hour)
)

// The kinds of a target.
const (
	ToSchedule = "schedule" // whoever is on call in it
	ToPerson   = "person"
	ToReceiver = "receiver"
)

// Target is whom a step tells.
type Target struct {
	Kind string `json:"kind"` // ToSchedule, ToPerson or ToReceiver
	ID   string `json:"id"`
}

// Step is one round of telling.
type Step struct {
	Targets []Target `json:"targets"`
	// AckTimeout is how long somebody has to acknowledge before the next step; 5 minutes if it is 0.
	AckTimeout Duration `json:"ack_timeout"`
}

// Policy says who is told of an incident that nobody acknowledges, and when. Its steps are gone
// through Loops times; after that the receivers of ExhaustedReceivers are told, again and again.
type Policy struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	Steps []Step `json:"steps"`
	Loops int    `json:"loops"` // 1 if it is 0
	// ExhaustedReceivers are ids: the owners' mail, as a rule.
	ExhaustedReceivers []string `json:"exhausted_receivers"`
	RepeatExhausted    Duration `json:"repeat_exhausted"` // 30 minutes if it is 0
}

// WithDefaults returns the policy with what is left out as it counts.
func (p Policy) WithDefaults() Policy {
	p.Steps = slices.Clone(p.Steps)
	for i := range p.Steps {
		if p.Steps[i].AckTimeout == 0 {
			p.Steps[i].AckTimeout = defaultAckTimeout
		}
	}
	if p.Loops == 0 {
		p.Loops = 1
	}
	if p.RepeatExhausted == 0 {
		p.RepeatExhausted = defaultRepeat
	}
	return p
}

// Validate reports the first thing that is wrong; the message names the field.
func (p Policy) Validate() error {
	p = p.WithDefaults()
	if err := validHead(p.ID, p.Name); err != nil {
		return err
	}
	if len(p.Steps) == 0 {
		return errors.New("steps: are missing")
	}
	if len(p.Steps) > maxSteps {
		return fmt.Errorf("steps: more than %d", maxSteps)
	}
	for i, s := range p.Steps {
		if err := s.validate(); err != nil {
			return fmt.Errorf("steps[%d].%w", i, err)
		}
	}
	if p.Loops < 1 || p.Loops > maxLoops {
		return fmt.Errorf("loops: %d is not between 1 and %d", p.Loops, maxLoops)
	}
	if p.RepeatExhausted < minRepeat || p.RepeatExhausted > maxRepeat {
		return fmt.Errorf("repeat_exhausted: %s is not between %s and %s", p.RepeatExhausted, minRepeat, maxRepeat)
	}
	return validIDs("exhausted_receivers", p.ExhaustedReceivers, maxExhausted)
}

func (s Step) validate() error {
	if len(s.Targets) == 0 {
		return errors.New("targets: are missing")
	}
	if len(s.Targets) > maxTargets {
		return fmt.Errorf("targets: more than %d", maxTargets)
	}
	for i, t := range s.Targets {
		switch t.Kind {
		case ToSchedule, ToPerson, ToReceiver:
		default:
			return fmt.Errorf("targets[%d].kind: is %q, %q or %q, not %.20q", i, ToSchedule, ToPerson, ToReceiver, t.Kind)
		}
		if err := validID(t.ID); err != nil {
			return fmt.Errorf("targets[%d].id: %w", i, err)
		}
	}
	if s.AckTimeout < minAckTimeout || s.AckTimeout > maxAckTimeout {
		return fmt.Errorf("ack_timeout: %s is not between %s and %s", s.AckTimeout, minAckTimeout, maxAckTimeout)
	}
	return nil
}

// Stage is how far an escalation has come: the number of the step and of the loop, from 0. The zero
// Stage is where each begins.
type Stage struct {
	Step int `json:"step"`
	Loop int `json:"loop"`
	// Exhausted is set when all loops are over; Step and Loop then mean nothing.
	Exhausted bool `json:"exhausted,omitempty"`
}

// Next returns the stage after the given one, and how long the given one waits for somebody to
// acknowledge. The exhausted stage is followed by itself. A stage that is not there, since the policy
// has become shorter, is followed by the next that is.
func (p Policy) Next(s Stage) (Stage, time.Duration) {
	p = p.WithDefaults()
	s = p.within(s)
	if s.Exhausted {
		return s, time.Duration(p.RepeatExhausted)
	}
	wait := time.Duration(p.Steps[s.Step].AckTimeout)
	return p.within(Stage{Step: s.Step + 1, Loop: s.Loop}), wait
}

// within carries a step behind the last one over to the next loop.
func (p Policy) within(s Stage) Stage {
	if s.Step >= len(p.Steps) || s.Step < 0 {
		s.Step, s.Loop = 0, s.Loop+1
	}
	if s.Exhausted || s.Loop >= p.Loops || len(p.Steps) == 0 {
		return Stage{Exhausted: true}
	}
	return s
}

// Directory looks up what targets name. Each returns false for an id that is not known.
type Directory struct {
	Schedule func(id string) (Schedule, bool)
	Person   func(id string) (Person, bool)
	Receiver func(id string) bool
}

// Recipient is one receiver to be told, and why.
type Recipient struct {
	Receiver string `json:"receiver"`
	// Fallbacks are the person's further receivers, in order, for when the first does not deliver.
	Fallbacks []string `json:"fallbacks,omitempty"`
	Person    string   `json:"person,omitempty"`   // whose receiver it is; empty if it is nobody's
	Schedule  string   `json:"schedule,omitempty"` // in which the person is on call; empty if the step names them
}

// The kinds of a warning.
const (
	NobodyOnCall = "nobody_on_call" // the schedule has a gap
	NoContact    = "no_contact"     // the person has no way to be reached
	Unknown      = "unknown"        // what is named is not there
)

// Warning is a target that could not be told as it was meant.
type Warning struct {
	Kind   string `json:"kind"`
	Stage  Stage  `json:"stage"`
	Target Target `json:"target"`
	Person string `json:"person,omitempty"` // who is meant, if the target is a schedule
}

// Plan is what is to be done at a stage of an escalation.
type Plan struct {
	// Stage is the one that tells somebody: the one asked for, or a later one if nobody can be told
	// there.
	Stage      Stage       `json:"stage"`
	Recipients []Recipient `json:"recipients"` // each receiver once; none only if nobody at all can be told
	Warnings   []Warning   `json:"warnings,omitempty"`
	// Next is the stage that follows at Due unless somebody acknowledges.
	Next Stage     `json:"next"`
	Due  time.Time `json:"due"`
}

// Plan returns who is told at the stage, which is executed now, and what follows. A step in which
// nobody can be told is skipped without waiting, with a warning.
func (p Policy) Plan(at Stage, now time.Time, d Directory) Plan {
	p = p.WithDefaults()
	var plan Plan
	for stage := p.within(at); ; {
		next, wait := p.Next(stage)
		recipients, warnings := d.resolve(p.targets(stage), now)
		for _, w := range warnings {
			w.Stage = stage
			plan.Warnings = append(plan.Warnings, w)
		}
		if len(recipients) > 0 || stage.Exhausted {
			plan.Stage, plan.Recipients = stage, recipients
			plan.Next, plan.Due = next, now.Add(wait)
			return plan
		}
		stage = next
	}
}

func (p Policy) targets(s Stage) []Target {
	if !s.Exhausted {
		return p.Steps[s.Step].Targets
	}
	targets := make([]Target, len(p.ExhaustedReceivers))
	for i, id := range p.ExhaustedReceivers {
		targets[i] = Target{Kind: ToReceiver, ID: id}
	}
	return targets
}

func (d Directory) resolve(targets []Target, now time.Time) (recipients []Recipient, warnings []Warning) {
	for _, t := range targets {
		r, w, ok := d.one(t, now)
		switch {
		case !ok:
			w.Target = t
			warnings = append(warnings, w)
		case !slices.ContainsFunc(recipients, func(o Recipient) bool { return o.Receiver == r.Receiver }):
			recipients = append(recipients, r)
		}
	}
	return recipients, warnings
}

func (d Directory) one(t Target, now time.Time) (Recipient, Warning, bool) {
	switch t.Kind {
	case ToReceiver:
		if !d.Receiver(t.ID) {
			return Recipient{}, Warning{Kind: Unknown}, false
		}
		return Recipient{Receiver: t.ID}, Warning{}, true
	case ToPerson:
		return d.person(t.ID)
	case ToSchedule:
		s, ok := d.Schedule(t.ID)
		if !ok {
			return Recipient{}, Warning{Kind: Unknown}, false
		}
		shift, ok := s.OnCall(now)
		if !ok {
			return Recipient{}, Warning{Kind: NobodyOnCall}, false
		}
		r, w, ok := d.person(shift.Person)
		r.Schedule, w.Person = t.ID, shift.Person
		return r, w, ok
	default:
		return Recipient{}, Warning{Kind: Unknown}, false
	}
}

// person returns the first of a person's receivers that is there; the others that are become its
// fallbacks.
func (d Directory) person(id string) (Recipient, Warning, bool) {
	person, ok := d.Person(id)
	if !ok {
		return Recipient{}, Warning{Kind: Unknown}, false
	}
	var receivers []string
	for _, c := range person.Contacts {
		if d.Receiver(c.Receiver) && !slices.Contains(receivers, c.Receiver) {
			receivers = append(receivers, c.Receiver)
		}
	}
	if len(receivers) == 0 {
		return Recipient{}, Warning{Kind: NoContact}, false
	}
	r := Recipient{Receiver: receivers[0], Person: id}
	if len(receivers) > 1 {
		r.Fallbacks = receivers[1:]
	}
	return r, Warning{}, true
}
