package incident

import (
	"encoding/json"
	"fmt"

	"github.com/midwatch/midwatch/alerts/oncall"
)

// Reference says that a field of a document names another document.
type Reference struct {
	// Field is the path in the document's JSON, such as steps[0].targets[1].id.
	Field string
	// Kind and ID name the other document; ID is never empty.
	Kind, ID string
}

// References returns what a document names, in the order of its fields. One that cannot be read names
// nothing.
func References(kind string, body []byte) []Reference {
	var named references
	switch kind {
	case DocRule:
		if r, ok := read[struct {
			Team      string   `json:"team"`
			DependsOn []string `json:"depends_on"`
		}](body); ok {
			named.one("team", DocTeam, r.Team)
			named.each("depends_on", DocRule, r.DependsOn)
		}
	case DocReceiver:
		if r, ok := read[struct {
			Fallback string `json:"fallback"`
		}](body); ok {
			named.one("fallback", DocReceiver, r.Fallback)
		}
	case DocTeam:
		if t, ok := read[oncall.Team](body); ok {
			named.one("policy", DocPolicy, t.Policy)
			named.each("members", DocPerson, t.Members)
			named.each("tickets", DocReceiver, t.Tickets)
			named.each("mails", DocReceiver, t.Mails)
		}
	case DocPerson:
		if p, ok := read[oncall.Person](body); ok {
			for i, c := range p.Contacts {
				named.one(fmt.Sprintf("contacts[%d].receiver", i), DocReceiver, c.Receiver)
			}
		}
	case DocSchedule:
		if s, ok := read[oncall.Schedule](body); ok {
			for i, l := range s.Layers {
				named.each(fmt.Sprintf("layers[%d].people", i), DocPerson, l.People)
			}
			for i, o := range s.Overrides {
				named.one(fmt.Sprintf("overrides[%d].person", i), DocPerson, o.Person)
			}
		}
	case DocPolicy:
		if p, ok := read[oncall.Policy](body); ok {
			named.policy(p)
		}
	case DocRoutes:
		if r, ok := read[oncall.Routes](body); ok {
			named.routes("routes", r.Routes)
		}
	}
	return named
}

func read[T any](body []byte) (T, bool) {
	var v T
	return v, json.Unmarshal(body, &v) == nil
}

type references []Reference

func (r *references) one(field, kind, id string) {
	if id != "" {
		*r = append(*r, Reference{field, kind, id})
	}
}

func (r *references) each(field, kind string, ids []string) {
	for i, id := range ids {
		r.one(fmt.Sprintf("%s[%d]", field, i), kind, id)
	}
}

func (r *references) policy(p oncall.Policy) {
	kinds := map[string]string{oncall.ToSchedule: DocSchedule, oncall.ToPerson: DocPerson, oncall.ToReceiver: DocReceiver}
	for i, step := range p.Steps {
		for n, t := range step.Targets {
			r.one(fmt.Sprintf("steps[%d].targets[%d].id", i, n), kinds[t.Kind], t.ID)
		}
	}
	r.each("exhausted_receivers", DocReceiver, p.ExhaustedReceivers)
}

func (r *references) routes(field string, all []oncall.Route) {
	for i, route := range all {
		at := fmt.Sprintf("%s[%d]", field, i)
		r.one(at+".team", DocTeam, route.Team)
		r.one(at+".policy", DocPolicy, route.Policy)
		r.routes(at+".routes", route.Routes)
	}
}
