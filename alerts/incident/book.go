package incident

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/midwatch/midwatch/alerts/oncall"
)

// Receiver is what the machine has to know of a way to tell people.
type Receiver struct {
	ID, Name, Kind string
	// Fallback is told instead where this one does not take a page.
	Fallback string
	// Limit is how many new pages it takes in Per; 0 is no limit.
	Limit int
	Per   time.Duration
}

// Book is what an organisation has configured about who is told. It is not changed once it is made.
type Book struct {
	Organisation string
	Routes       oncall.Routes
	Teams        map[string]oncall.Team
	People       map[string]oncall.Person
	Schedules    map[string]oncall.Schedule
	Policies     map[string]oncall.Policy
	Receivers    map[string]Receiver
	Silences     []oncall.Silence
}

// Place is where an instance belongs.
type Place struct {
	Team    string
	Policy  string // empty: the team's
	GroupBy []string
}

// Places returns where an instance belongs; one place, or several if routes continue.
func (b *Book) Places(in Instance) []Place {
	if _, ok := b.Teams[in.Team]; ok {
		return []Place{{Team: in.Team, GroupBy: oncall.DefaultGroupBy()}}
	}
	var all []Place
	for _, m := range b.Routes.Find(in.Labels) {
		all = append(all, Place{m.Team, m.Policy, m.GroupBy})
	}
	if len(all) == 0 {
		all = []Place{{Team: DefaultID, GroupBy: oncall.DefaultGroupBy()}}
	}
	return all
}

// policy is that of an incident, or of its team.
func (b *Book) policy(i *Incident) (oncall.Policy, bool) {
	id := i.Policy
	if id == "" {
		id = b.Teams[i.Team].Policy
	}
	p, ok := b.Policies[id]
	return p, ok
}

func (b *Book) directory() oncall.Directory {
	return oncall.Directory{
		Schedule: func(id string) (oncall.Schedule, bool) { s, ok := b.Schedules[id]; return s, ok },
		Person:   func(id string) (oncall.Person, bool) { p, ok := b.People[id]; return p, ok },
		Receiver: func(id string) bool { _, ok := b.Receivers[id]; return ok },
	}
}

// quietly returns the receivers of a ticket or mail, each with the time at which quiet hours let it
// through.
func (b *Book) quietly(i *Incident, named []string, now time.Time) []Recipient {
	team := b.Teams[i.Team]
	var all []Recipient
	for _, id := range named {
		if _, ok := b.Receivers[id]; ok {
			all = append(all, Recipient{Receiver: id, Due: now})
		}
	}
	if len(all) == 0 {
		if policy, ok := b.policy(i); ok {
			for _, r := range policy.Plan(oncall.Stage{}, now, b.directory()).Recipients {
				all = append(all, Recipient{Receiver: r.Receiver, Person: r.Person, Due: now})
			}
		}
	}
	for n := range all {
		if until, held := team.Quiet(now); held {
			all[n].Due = until
		}
		if p, ok := b.People[all[n].Person]; ok {
			if until, held := p.Quiet(now); held && until.After(all[n].Due) {
				all[n].Due = until
			}
		}
	}
	return all
}

// FallbackOf returns the receiver that is told what another one does not take; empty if there is none.
// It is the one that its owner names, or else the next contact of the person whose receiver it is.
func (b *Book) FallbackOf(id string) string {
	if to := b.Receivers[id].Fallback; to != id {
		if _, ok := b.Receivers[to]; ok {
			return to
		}
	}
	for _, person := range slices.Sorted(maps.Keys(b.People)) {
		contacts := b.People[person].Contacts
		n := slices.IndexFunc(contacts, func(c oncall.Contact) bool { return c.Receiver == id })
		if n < 0 {
			continue
		}
		for _, c := range contacts[n+1:] {
			if _, ok := b.Receivers[c.Receiver]; ok && c.Receiver != id {
				return c.Receiver
			}
		}
	}
	return ""
}

// PersonOf returns the id of the person with an e-mail address; empty if there is none.
func (b *Book) PersonOf(email string) string {
	for _, id := range slices.Sorted(maps.Keys(b.People)) {
		if own := strings.TrimSpace(b.People[id].Email); own != "" && strings.EqualFold(own, strings.TrimSpace(email)) {
			return id
		}
	}
	return ""
}

// owners are told when nobody else can be.
func (b *Book) owners(i *Incident, now time.Time) []Recipient {
	team := b.Teams[i.Team]
	named := team.Mails
	if policy, ok := b.policy(i); ok && len(named) == 0 {
		named = policy.ExhaustedReceivers
	}
	all := b.quietly(i, named, now)
	for n := range all {
		all[n].Due = now
	}
	return all
}

// muted reports whether a silence covers all that is bad, and until when it is sure to.
func (b *Book) muted(i *Incident, now time.Time) (until time.Time, by string, ok bool) {
	for _, in := range i.Instances {
		if !in.Open() {
			continue
		}
		end, id := b.silenced(in.Labels, now)
		if id == "" {
			return time.Time{}, "", false
		}
		if until.IsZero() || end.Before(until) {
			until, by = end, id
		}
	}
	return until, by, by != ""
}

func (b *Book) silenced(labels map[string]string, now time.Time) (until time.Time, id string) {
	for _, s := range b.Silences {
		if s.Covers(labels, now) && s.To.After(until) {
			until, id = s.To, s.ID
		}
	}
	return until, id
}

// NewBook completes what an organisation has configured so that there always is somebody to tell:
// without a route everything goes to the default team, without a policy to all receivers there are.
func NewBook(b Book) *Book {
	if len(b.Teams) == 0 {
		b.Teams = map[string]oncall.Team{DefaultID: oncall.Team{ID: DefaultID, Name: "Everybody"}.WithDefaults()}
	}
	if len(b.Policies) == 0 && len(b.Receivers) > 0 {
		var targets []oncall.Target
		for _, id := range slices.Sorted(maps.Keys(b.Receivers)) {
			targets = append(targets, oncall.Target{Kind: oncall.ToReceiver, ID: id})
		}
		b.Policies = map[string]oncall.Policy{DefaultID: {ID: DefaultID, Name: "Tell everybody", Steps: []oncall.Step{{Targets: targets}}}}
	}
	for id, p := range b.Policies {
		b.Policies[id] = p.WithDefaults()
	}
	for id, t := range b.Teams {
		if _, ok := b.Policies[t.Policy]; !ok {
			t.Policy = ""
			for _, candidate := range slices.Sorted(maps.Keys(b.Policies)) {
				if t.Policy == "" || candidate == DefaultID {
					t.Policy = candidate
				}
			}
			b.Teams[id] = t
		}
	}
	if len(b.Routes.Routes) == 0 {
		team := DefaultID
		if _, ok := b.Teams[team]; !ok {
			team = slices.Sorted(maps.Keys(b.Teams))[0]
		}
		b.Routes = oncall.Routes{Routes: []oncall.Route{{ID: DefaultID, Team: team}}}
	}
	return &b
}

// DefaultID names the team, policy and route of an organisation that has configured none.
const DefaultID = "default"
