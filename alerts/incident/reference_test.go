package incident_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/midwatch/midwatch/alerts/incident"
)

func TestReferencesNameTheirFields(t *testing.T) {
	t.Parallel()
	f := func(kind, body string, want ...incident.Reference) {
		t.Helper()
		if diff := cmp.Diff(want, incident.References(kind, []byte(body))); diff != "" {
			t.Errorf("References of %s %s (-want +got)\n%s", kind, body, diff)
		}
	}
	type r = incident.Reference
	f(incident.DocRule, `{"team": "a", "depends_on": ["x", "y"]}`, r{"team", "team", "a"}, r{"depends_on[0]", "rule", "x"}, r{"depends_on[1]", "rule", "y"})
	f(incident.DocReceiver, `{"fallback": "mail"}`, r{"fallback", "receiver", "mail"})
	f(incident.DocTeam, `{"policy": "p", "members": ["ann"], "tickets": ["t"], "mails": ["m"]}`,
		r{"policy", "policy", "p"}, r{"members[0]", "person", "ann"}, r{"tickets[0]", "receiver", "t"}, r{"mails[0]", "receiver", "m"})
	f(incident.DocPerson, `{"contacts": [{"receiver": "mail"}]}`, r{"contacts[0].receiver", "receiver", "mail"})
	f(incident.DocSchedule, `{"layers": [{"people": ["ann"]}], "overrides": [{"person": "bob"}]}`,
		r{"layers[0].people[0]", "person", "ann"}, r{"overrides[0].person", "person", "bob"})
	f(incident.DocPolicy, `{"steps": [{"targets": [{"kind": "schedule", "id": "s"}, {"kind": "receiver", "id": "r"}]}], "exhausted_receivers": ["m"]}`,
		r{"steps[0].targets[0].id", "schedule", "s"}, r{"steps[0].targets[1].id", "receiver", "r"}, r{"exhausted_receivers[0]", "receiver", "m"})
	f(incident.DocRoutes, `{"routes": [{"team": "a", "routes": [{"policy": "p"}]}]}`,
		r{"routes[0].team", "team", "a"}, r{"routes[0].routes[0].policy", "policy", "p"})
	f(incident.DocTeam, `{"policy": ""}`)
	f(incident.DocTeam, `not JSON`)
	f(incident.DocWindow, `{"id": "x"}`)
}
