package evaluate

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/midwatch/midwatch/alerts/incident"
	"github.com/midwatch/midwatch/alerts/rule"
	"github.com/midwatch/midwatch/storage/catalog"
)

// recurringOpen is how long the ticket about something that heals again and again stays open.
const recurringOpen = 24 * time.Hour

// Instance is what people are told of an event.
func (p *Plan) Instance(h Happened) incident.Instance {
	e := h.Event
	labels := p.groupLabels(h.Values)
	severity := p.severity(e.Level, e.Slot)
	labels["severity"] = string(severity)
	level := p.Rule.Levels[e.Level]
	in := incident.Instance{
		Key: p.Rule.ID + "/" + level.Name + "/" + h.Key, Project: p.Project, Rule: p.Rule.ID, Name: p.Rule.Name, Version: p.Version,
		Level: level.Name, Labels: labels, Severity: severity, Class: p.Rule.Class, Kind: p.Rule.Kind,
		Headline: p.headline(h), Since: unix(e.Since), FiredAt: unix(e.Slot), Reason: e.Reason,
		Value: e.Value, Worst: e.Worst, Unit: p.Rule.Unit(), Quiet: p.Rule.Quiet == rule.QuietHold,
		Summary: p.Rule.Expand(p.Rule.Summary, e.Level, e.Value, labels), FirstAction: p.Rule.FirstAction, Runbook: p.Rule.RunbookURL,
		Team: p.Rule.Team,
	}
	if b, err := rule.ParseBound(level.Fire); err == nil {
		in.Limit = b.Op.String() + " " + rule.Quantity(b.Value, in.Unit)
	}
	return in
}

// headline is the first line of a message, without its severity and with its group.
func (p *Plan) headline(h Happened) string {
	if h.Key == rule.Overflow {
		return fmt.Sprintf("%s: %d more groups are bad, such as %s", p.Rule.Name, h.Count, strings.Join(h.Examples, ", "))
	}
	text := p.Rule.Headline(h.Event.Level, h.Event.Value, h.Event.Since, h.Event.Slot)
	if _, rest, ok := strings.Cut(text, "] "); ok && strings.HasPrefix(text, "[") {
		text = rest
	}
	if h.Key != "" {
		text += " (" + strings.Join(h.Values, ", ") + ")"
	}
	return text
}

// signals are what people are to know of what happened to a rule. late says why they come late, if they
// do.
func (p *Plan) signals(happened []Happened, late string, parents func(values []string) []incident.Parent) []incident.Signal {
	var out []incident.Signal
	for _, h := range happened {
		e := h.Event
		if e.Muted {
			continue
		}
		s := incident.Signal{Instance: p.Instance(h), At: unix(e.Slot), Worst: e.Worst, Reason: e.Reason}
		if e.Late {
			s.Late = late
		}
		switch e.Kind {
		case rule.EventFire, rule.EventReopened, rule.EventFlapping:
			s.Kind, s.Again, s.Flapping = incident.Fire, e.Episode > 1, e.Kind == rule.EventFlapping
			if parents != nil {
				s.Parents = parents(h.Values)
			}
		case rule.EventResolved:
			s.Kind, s.Instance.ResolvedAt = incident.Resolve, unix(e.Slot)
		case rule.EventTransient:
			note(&s, incident.SectionHealed, p.worstText(h)+" from "+clock(e.Since)+" to "+clock(e.Slot))
		case rule.EventCameAndWent:
			note(&s, incident.SectionUnseen, p.worstText(h)+" from "+clock(e.Since)+" to "+clock(e.Slot)+", while alerting was down")
		case rule.EventInconclusive:
			note(&s, incident.SectionInconclusive, p.worstText(h)+" from "+clock(e.Since)+", then there were no data")
		case rule.EventRecurring:
			text := p.worstText(h) + ": healed by itself again and again, last at " + clock(e.Slot)
			ticket := s
			ticket.Kind = incident.Fire
			ticket.Instance.Key += "/recurring"
			asTicket(&ticket.Instance, text)
			ticket.Instance.ExpiresAt = ticket.At.Add(recurringOpen)
			note(&s, incident.SectionRecurring, text)
			out = append(out, s)
			s = ticket
		default: // for the timeline, or of the rule as a whole
			continue
		}
		out = append(out, s)
	}
	return out
}

// note makes s a line of the digest.
func note(s *incident.Signal, section, text string) {
	s.Kind, s.Section, s.Text = incident.Note, section, text
}

func asTicket(in *incident.Instance, headline string) {
	in.Severity, in.Headline = rule.Ticket, headline
	in.Labels["severity"] = string(rule.Ticket)
}

// worstText says what a group's trouble was, at its worst: "checkout: 12 % errors (eu)".
func (p *Plan) worstText(h Happened) string {
	h.Event.Value, h.Event.Since = h.Event.Worst, h.Event.Slot
	return p.headline(h)
}

func clock(slot int64) string { return unix(slot).Format("15:04") }

// health says that a rule lacks data or cannot be evaluated, or no longer so, by how many of its
// groups did before and do now. Tickets about rules of one source, or with one fault, are grouped.
func (p *Plan) health(before, after *Memory, slot int64, fault string) []incident.Signal {
	var out []incident.Signal
	add := func(was, is int, key, group, text string) {
		if (was > 0) == (is > 0) {
			return
		}
		h := Happened{Event: rule.Event{Level: len(p.Rule.Levels) - 1, Slot: slot, Since: slot}}
		s := incident.Signal{Kind: incident.Fire, Instance: p.Instance(h), At: unix(slot)}
		s.Instance.Key, s.Instance.Group = p.Rule.ID+"/"+key, group
		s.Instance.Level, s.Instance.Limit, s.Instance.Summary = "", "", ""
		asTicket(&s.Instance, p.Rule.Name+": "+text)
		if is == 0 {
			s.Kind, s.Instance.ResolvedAt = incident.Resolve, s.At
		}
		out = append(out, s)
	}
	add(before.lacking, after.lacking, "nodata", "nodata:"+string(p.Rule.Query.Source), "there are no data")
	text := "the rule cannot be evaluated"
	if fault == faultStore {
		text = "the data cannot be read"
	}
	add(before.failing, after.failing, "health", "health:"+fault, text)
	return out
}

// transitions are what happened, for people to read. Their ids say what they are about, so that a
// slot that is evaluated again leaves no second ones.
func (p *Plan) transitions(happened []Happened) []catalog.Transition {
	out := make([]catalog.Transition, 0, len(happened))
	for _, h := range happened {
		e := h.Event
		body, err := json.Marshal(transitionBody{Event: e, Level: p.Rule.Levels[e.Level].Name, Labels: p.groupLabels(h.Values), Count: h.Count})
		if err != nil {
			continue // of numbers and text
		}
		group := p.Rule.Levels[e.Level].Name + "/" + h.Key
		at := strconv.FormatInt(e.Slot, 10)
		out = append(out, catalog.Transition{
			ID:      strings.Join([]string{strconv.FormatUint(uint64(p.Project), 10), p.Rule.ID, p.Identity, group, at, string(e.Kind)}, "/"),
			Project: p.Project, Rule: p.Rule.ID, Group: group, At: unix(e.Slot), Kind: string(e.Kind), Body: body,
		})
	}
	return out
}

// transitionBody is the body of a transition.
type transitionBody struct {
	rule.Event
	Level  string            `json:"level_name"`
	Labels map[string]string `json:"labels,omitempty"`
	Count  int               `json:"count,omitempty"`
}
