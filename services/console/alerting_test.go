package console_test

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/midwatch/midwatch/alerts/desk"
	"github.com/midwatch/midwatch/alerts/evaluate"
	"github.com/midwatch/midwatch/alerts/incident"
	"github.com/midwatch/midwatch/alerts/rule"
	"github.com/midwatch/midwatch/services/console"
	"github.com/midwatch/midwatch/storage/catalog"
	"github.com/midwatch/midwatch/storage/storagetest"
)

const linkSecret = "of the links"

// newDesk is newWorld with a desk.
func newDesk(t *testing.T) (*world, *desk.Desk) {
	t.Helper()
	var d *desk.Desk
	w := newWorldFrom(t, storagetest.Cache(t), func(db *catalog.DB) console.Config {
		d = desk.New(desk.Config{
			URL:   urls.HTTP,
			Link:  func(string, string, string, time.Time) string { return urls.HTTP + "/a/token" },
			Reply: func(string, string, time.Time) string { return "token@reply.example" },
		}, db, slog.New(slog.DiscardHandler))
		return console.Config{URLs: urls, Desk: d, LinkSecret: linkSecret}
	})
	return w, d
}

// fire opens an incident in project 1 and returns its id.
func (w *world) fire(d *desk.Desk, labels map[string]string, severity rule.Severity) string {
	w.t.Helper()
	now := time.Now().UTC()
	organisation := firstOrganisation(w.t, w)
	signal := incident.Signal{Kind: incident.Fire, At: now, Instance: incident.Instance{
		Key: "checkout-errors/" + labels["service"], Project: 1, Rule: "checkout-errors", Name: "Checkout errors", Severity: severity, Class: rule.Symptom,
		Labels: labels, Headline: labels["service"] + ": 12 % errors", Since: now.Add(-time.Minute), FiredAt: now,
	}}
	err := w.db.InTx(w.t.Context(), func(tx *catalog.Tx) error {
		return d.Apply(w.t.Context(), tx, organisation, []incident.Signal{signal}, now)
	})
	if err != nil {
		w.t.Fatal(err)
	}
	rows, err := w.db.Incidents(w.t.Context(), catalog.IncidentFilter{Organisation: organisation, Limit: 10})
	if err != nil || len(rows) == 0 {
		w.t.Fatalf("incidents = %v, %v", rows, err)
	}
	return rows[0].ID
}

// wantProblem holds a reply to be a 422 with a problem of the field.
func (r reply) wantProblem(t *testing.T, field, words string) {
	t.Helper()
	var body struct {
		Code     string
		Problems []struct {
			Field, Message string
			Rules          []string
		}
	}
	if err := json.Unmarshal([]byte(r.body), &body); err != nil || r.status != 422 || body.Code != "unprocessable" {
		t.Fatalf("answer = %d %s, want 422", r.status, r.body)
	}
	for _, p := range body.Problems {
		if p.Field == field && strings.Contains(p.Message, words) {
			return
		}
	}
	t.Errorf("answer = %s, want a problem of %s with %q", r.body, field, words)
}

func (w *world) must(method, path, body string, status int) reply {
	w.t.Helper()
	r := w.call(method, path, body)
	if r.status != status {
		w.t.Fatalf("%s %s: %d %s, want %d", method, path, r.status, r.body, status)
	}
	return r
}

// configure makes one of each kind, those that are named first.
func (w *world) configure() {
	w.t.Helper()
	for _, one := range []struct{ path, body string }{
		{"receivers/mail", `{"name": "Mail", "kind": "email", "settings": {"to": ["ann@example.com"]}}`},
		{"receivers/hook", `{"name": "Hook", "kind": "webhook", "settings": {"url": "https://hook.example/x"}, "fallback": "mail"}`},
		{"people/ann", `{"name": "Ann", "email": "ANN@example.com", "zone": "Europe/Berlin", "contacts": [{"receiver": "mail"}, {"receiver": "hook"}]}`},
		{"schedules/first", `{"name": "First line", "layers": [{"name": "week", "zone": "Europe/Berlin", "start": "2026-01-05", "every": "weekly", "handover": "09:00", "people": ["ann"]}]}`},
		{"policies/platform", `{"name": "Platform", "steps": [{"targets": [{"kind": "schedule", "id": "first"}], "ack_timeout": "5m"}, {"targets": [{"kind": "person", "id": "ann"}], "ack_timeout": "10m"}], "exhausted_receivers": ["mail"]}`},
		{"teams/platform", `{"name": "Platform", "zone": "Europe/Berlin", "policy": "platform", "members": ["ann"], "tickets": ["mail"]}`},
		{"routes", `{"routes": [{"id": "pay", "matchers": ["service=~pay.*"], "team": "platform", "policy": "platform"}, {"id": "all", "matchers": [], "team": "platform"}]}`},
		{"windows/sunday", `{"name": "Sunday", "matchers": [{"label": "service", "op": "=", "value": "db"}], "from": "2026-01-04T02:00:00Z", "to": "2026-01-04T04:00:00Z", "repeat": "FREQ=WEEKLY"}`},
	} {
		w.must("PUT", "/projects/1/"+one.path, one.body, 200)
	}
}

func TestEachKindOfDocumentIsKeptAsItWasSent(t *testing.T) {
	t.Parallel()
	w, _ := newDesk(t)
	w.configure()
	f := func(path, list, own, id string, want map[string]any) {
		t.Helper()
		all := w.call("GET", "/projects/1/"+path, "").object(t, 200)[list].([]any)
		for _, one := range all {
			item := one.(map[string]any)
			meta := item["meta"].(map[string]any)
			if meta["id"] != id {
				continue
			}
			if meta["version"] != 1.0 || !strings.HasPrefix(meta["updated_by"].(string), "API token") {
				t.Errorf("meta of %s %s = %v", own, id, meta)
			}
			for field, value := range want {
				if diff := cmp.Diff(value, item[own].(map[string]any)[field]); diff != "" {
					t.Errorf("%s of %s %s (-want +got)\n%s", field, own, id, diff)
				}
			}
			return
		}
		t.Errorf("%s has no %s: %v", list, id, all)
	}
	f("receivers", "receivers", "receiver", "hook", map[string]any{"id": "hook", "kind": "webhook", "fallback": "mail"})
	f("people", "people", "person", "ann", map[string]any{"id": "ann", "zone": "Europe/Berlin"})
	f("schedules", "schedules", "schedule", "first", map[string]any{"id": "first", "name": "First line"})
	f("policies", "policies", "policy", "platform", map[string]any{"id": "platform", "loops": 0.0})
	f("teams", "teams", "team", "platform", map[string]any{"tickets": []any{"mail"}, "members": []any{"ann"}})
	f("windows", "windows", "window", "sunday", map[string]any{"repeat": "FREQ=WEEKLY"})

	routes := w.call("GET", "/projects/1/routes", "").object(t, 200)
	first := routes["routes"].(map[string]any)["routes"].([]any)[0].(map[string]any)
	want := []any{map[string]any{"label": "service", "op": "=~", "value": "pay.*"}}
	if diff := cmp.Diff(want, first["matchers"]); diff != "" {
		t.Errorf("matchers (-want +got)\n%s", diff)
	}
	schedule := w.call("GET", "/projects/1/schedules", "").object(t, 200)["schedules"].([]any)[0].(map[string]any)
	if now, _ := schedule["now"].(map[string]any); now["person"] != "ann" {
		t.Errorf("now on call = %v, want ann", schedule["now"])
	}
	if diff := cmp.Diff([]any{"escalation policy Platform"}, schedule["used_by"]); diff != "" {
		t.Errorf("used_by (-want +got)\n%s", diff)
	}
	window := w.call("GET", "/projects/1/windows", "").object(t, 200)["windows"].([]any)[0].(map[string]any)
	if window["next_from"] == nil {
		t.Errorf("window = %v, want when it holds next", window)
	}
}

func TestDocumentsAreRefused(t *testing.T) {
	t.Parallel()
	w, _ := newDesk(t)
	w.configure()
	problem := func(path, body, field, words string) {
		t.Helper()
		w.call("PUT", "/projects/1/"+path, body).wantProblem(t, field, words)
	}
	problem("teams/x", `{"name": ""}`, "name", "missing")
	problem("teams/x", `{"name": "X", "zone": "Nowhere/Now"}`, "zone", "Nowhere")
	problem("teams/x", `{"name": "X", "policy": "none"}`, "policy", `there is no escalation policy "none"`)
	problem("teams/x", `{"name": "X", "members": ["ann", "bob"]}`, "members[1]", `there is no person "bob"`)
	problem("people/x", `{"name": "X", "contacts": [{"receiver": "none"}]}`, "contacts[0].receiver", "there is no receiver")
	problem("schedules/x", `{"name": "X", "layers": [{"name": "a", "start": "2026-01-05", "every": "daily", "people": ["bob"]}]}`, "layers[0].people[0]", "there is no person")
	problem("policies/x", `{"name": "X", "steps": []}`, "steps", "missing")
	problem("policies/x", `{"name": "X", "steps": [{"targets": [{"kind": "schedule", "id": "ann"}]}]}`, "steps[0].targets[0].id", "there is no on-call schedule")
	problem("routes", `{"routes": [{"id": "a", "matchers": ["a=b"], "team": "platform"}]}`, "routes[0].matchers", "default")
	problem("routes", `{"routes": [{"id": "a", "team": "none"}]}`, "routes[0].team", "there is no team")
	problem("windows/x", `{"name": "X", "from": "2026-01-04T02:00:00Z", "to": "2026-01-04T01:00:00Z"}`, "to", "not after")
	problem("receivers/x", `{"name": "X", "kind": "pigeon", "settings": {}}`, "kind", "pigeon")
	problem("receivers/x", `{"name": "X", "kind": "webhook", "settings": {"url": "https://a.example"}, "fallback": "none"}`, "fallback", "there is no receiver")

	f := func(method, path, body string, status int, code, words string) {
		t.Helper()
		w.call(method, "/projects/1/"+path, body).wantError(t, status, code, words)
	}
	f("PUT", "teams/X", `{"name": "X"}`, 400, "invalid", "id: up to 100")
	f("PUT", "teams/x", `{"id": "y", "name": "X"}`, 400, "invalid", `"y" in the body`)
	f("PUT", "teams/x", `{"name": "X", "colour": "red"}`, 400, "invalid", "colour: there is no such field")
	f("PUT", "policies/x", `{"name": "X", "repeat_exhausted": "soon"}`, 400, "invalid", "repeat_exhausted: ")
	f("PUT", "routes", `{"routes": [{"id": "a", "matchers": ["a"], "team": "platform"}]}`, 400, "invalid", "routes: ")
	f("PUT", "teams/platform?version=7", `{"name": "X"}`, 409, "conflict", "somebody else was first")
	f("PUT", "teams/platform?version=0", `{"name": "X"}`, 409, "conflict", "somebody else was first")
	f("DELETE", "teams/platform", "", 409, "conflict", "named by the routes")
	f("DELETE", "people/ann", "", 409, "conflict", "escalation policy Platform")
	f("DELETE", "receivers/mail", "", 409, "conflict", "receiver Hook")
	f("DELETE", "policies/platform", "", 409, "conflict", "team Platform")
	f("DELETE", "windows/none", "", 404, "not_found", `"none"`)
	f("GET", "schedules/none/shifts?from=2026-01-01T00:00:00Z&to=2026-02-01T00:00:00Z", "", 404, "not_found", "none")
	f("GET", "schedules/first/shifts?from=2026-01-01T00:00:00Z&to=2025-02-01T00:00:00Z", "", 400, "invalid", "to: ")
	w.must("PUT", "/projects/1/teams/platform?version=1", `{"name": "Platform", "policy": "platform"}`, 200)
	w.must("DELETE", "/projects/1/windows/sunday", "", 204)
}

func TestShiftsOfASchedule(t *testing.T) {
	t.Parallel()
	w, _ := newDesk(t)
	w.configure()
	got := w.call("GET", "/projects/1/schedules/first/shifts?from=2026-01-01T00:00:00Z&to=2026-01-19T00:00:00Z", "").object(t, 200)
	if shifts := got["shifts"].([]any); len(shifts) == 0 || shifts[0].(map[string]any)["from"] != "2026-01-05T08:00:00Z" {
		t.Errorf("shifts = %v", shifts)
	}
	if gaps := got["gaps"].([]any); len(gaps) != 1 || gaps[0].(map[string]any)["to"] != "2026-01-05T08:00:00Z" {
		t.Errorf("gaps = %v, want the time before the start", gaps)
	}
}

func TestSecretsOfReceiversAreNotShown(t *testing.T) {
	t.Parallel()
	w, _ := newDesk(t)
	const secret = "0123456789abcdef0123456789abcdef"
	r := w.must("PUT", "/projects/1/receivers/pd", `{"name": "PD", "kind": "pagerduty", "settings": {"routing_key": "`+secret+`"}}`, 200)
	shown := r.object(t, 200)["receiver"].(map[string]any)
	if strings.Contains(r.body, secret) || !strings.Contains(r.body, "…") {
		t.Errorf("answer = %s, want the key masked", r.body)
	}
	shown["name"] = "PagerDuty"
	back, err := json.Marshal(shown)
	if err != nil {
		t.Fatal(err)
	}
	w.must("PUT", "/projects/1/receivers/pd?version=1", string(back), 200)
	d, err := w.db.Document(t.Context(), firstOrganisation(t, w), incident.DocReceiver, 0, "pd")
	if err != nil || !strings.Contains(string(d.Body), secret) || !strings.Contains(string(d.Body), `"PagerDuty"`) {
		t.Errorf("kept = %s, %v, want the new name and the old key", d.Body, err)
	}
}

func TestTestOfAReceiver(t *testing.T) {
	t.Parallel()
	w, d := newDesk(t)
	w.configure()
	key := w.call("POST", "/projects/1/receivers/hook/test", "").object(t, 202)["key"].(string)
	select {
	case <-d.Wake():
	default:
		t.Error("the sender was not woken")
	}
	got := w.call("GET", "/projects/1/deliveries/"+url.PathEscape(key), "").object(t, 200)
	delivery := got["delivery"].(map[string]any)
	if delivery["state"] != "due" || delivery["action"] != "test" || delivery["receiver"] != "hook" || !strings.Contains(delivery["title"].(string), "Hook") {
		t.Errorf("delivery = %v", delivery)
	}
	all := w.call("GET", "/projects/1/deliveries?receiver=hook&state=due&limit=5", "").object(t, 200)["deliveries"].([]any)
	if len(all) != 1 || all[0].(map[string]any)["key"] != key {
		t.Errorf("deliveries = %v", all)
	}
	w.call("POST", "/projects/1/receivers/none/test", "").wantError(t, 404, "not_found", "none")
	w.call("GET", "/projects/1/deliveries/none", "").wantError(t, 404, "not_found", "none")
	w.call("GET", "/projects/1/deliveries?state=gone", "").wantError(t, 400, "invalid", "state")
	w.call("GET", "/projects/1/deliveries?limit=0", "").wantError(t, 400, "invalid", "limit")
	for range 8 { // the one that is not there counts
		w.must("POST", "/projects/1/receivers/hook/test", "", 202)
	}
	w.call("POST", "/projects/1/receivers/hook/test", "").wantError(t, 429, "rate_limited", "too many tests")
}

const checkoutErrors = `{"name": "Checkout errors", "kind": "error_rate", "service": "checkout", "query": {},
	"levels": [{"fire": ">= 5%", "severity": "page"}], "first_action": "Roll back the newest release", "state": "live"}`

func TestRules(t *testing.T) {
	t.Parallel()
	w, d := newDesk(t)
	got := w.call("PUT", "/projects/1/rules/checkout-errors", checkoutErrors).object(t, 200)
	if got["class"] != "symptom" || !strings.Contains(got["sentence"].(string), "checkout errors are 5 % or more") {
		t.Errorf("rule = %v", got)
	}
	effective := got["effective"].(map[string]any)
	if effective["window"] != "5m" || effective["interval"] != "30s" || got["rule"].(map[string]any)["window"] != nil {
		t.Errorf("effective = %v, rule = %v", effective, got["rule"])
	}
	w.fire(d, map[string]string{"service": "checkout"}, rule.Page)
	all := w.call("GET", "/projects/1/rules", "").object(t, 200)["rules"].([]any)
	if len(all) != 1 || all[0].(map[string]any)["evaluation"].(map[string]any)["open"] != 1.0 {
		t.Errorf("rules = %v, want one with one open", all)
	}
	got = w.call("GET", "/projects/1/rules/checkout-errors", "").object(t, 200)
	if got["meta"].(map[string]any)["version"] != 1.0 {
		t.Errorf("getRule = %v", got)
	}
	paused := strings.Replace(checkoutErrors, `"live"`, `"paused"`, 1)
	got = w.call("PUT", "/projects/1/rules/checkout-errors?version=1&source=apply", paused).object(t, 200)
	if meta := got["meta"].(map[string]any); meta["version"] != 2.0 || meta["updated_by"] != "rules apply" {
		t.Errorf("meta = %v", meta)
	}
	w.call("PUT", "/projects/1/rules/checkout-errors?version=1", paused).wantError(t, 409, "conflict", "somebody else was first")
	w.must("DELETE", "/projects/1/rules/checkout-errors", "", 204)
	w.call("GET", "/projects/1/rules/checkout-errors", "").wantError(t, 404, "not_found", "checkout-errors")
}

func TestARuleSaysWhenItWasLastEvaluated(t *testing.T) {
	t.Parallel()
	w, _ := newDesk(t)
	w.call("PUT", "/projects/1/rules/checkout-errors", checkoutErrors).object(t, 200)
	saved, shard := time.Now().UTC(), evaluate.ShardOf(1)
	slot := func(until time.Time) any {
		t.Helper()
		for _, evaluated := range []map[int]time.Time{nil, {shard: until}} { // it is told with a renewal
			if _, err := w.db.HoldShards(t.Context(), "a", []int{shard}, saved, time.Hour, evaluated); err != nil {
				t.Fatal(err)
			}
		}
		got := w.call("GET", "/projects/1/rules/checkout-errors", "").object(t, 200)
		return got["evaluation"].(map[string]any)["last_slot"]
	}
	if got := slot(saved.Add(-time.Minute)); got != nil {
		t.Errorf("evaluated at %v, before it was saved", got)
	}
	until := saved.Add(10 * time.Minute)
	got, err := time.Parse(time.RFC3339, fmt.Sprint(slot(until)))
	if err != nil || got.After(until) || until.Sub(got) >= 30*time.Second {
		t.Errorf("evaluated at %s, %v; want the newest slot until %s", got, err, until)
	}
	// What is kept of the rule itself may be newer.
	kept := until.Add(time.Hour).Truncate(time.Second)
	err = w.db.InTx(t.Context(), func(tx *catalog.Tx) error {
		return tx.PutRuleState(t.Context(), catalog.RuleState{Project: 1, Rule: "checkout-errors", Identity: "i", Cursor: kept, State: []byte("{}")})
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := slot(until); got != kept.Format(time.RFC3339) {
		t.Errorf("evaluated at %v, want %s", got, kept)
	}
}

func TestARuleThatMustNotBe(t *testing.T) {
	t.Parallel()
	w, _ := newDesk(t)
	w.must("PUT", "/projects/1/rules/checkout-errors", checkoutErrors, 200)
	cpu := `{"name": "CPU", "kind": "threshold", "service": "checkout", "query": {"metric": "process.cpu.utilization"},
		"levels": [{"fire": "> 90%", "severity": "page"}], "first_action": "Look at it"}`
	r := w.call("PUT", "/projects/1/rules/cpu", cpu)
	r.wantProblem(t, "levels[0].severity", "checkout-errors pages for this")
	if !strings.Contains(r.body, `"rules":["checkout-errors"]`) {
		t.Errorf("answer = %s, want the rule that covers it", r.body)
	}
	verdict := w.call("POST", "/projects/1/rules/validate", strings.Replace(cpu, `"name"`, `"id": "cpu", "name"`, 1)).object(t, 200)
	if verdict["ok"] != false || verdict["class"] != "cause" || len(verdict["problems"].([]any)) != 1 {
		t.Errorf("validateRule = %v", verdict)
	}
	verdict = w.call("POST", "/projects/1/rules/validate", `{"id": "x", "name": "X", "kind": "magic"}`).object(t, 200)
	if verdict["ok"] != false {
		t.Errorf("validateRule = %v", verdict)
	}
	if all := w.call("GET", "/projects/1/rules", "").object(t, 200)["rules"].([]any); len(all) != 1 {
		t.Errorf("after refusals there are %d rules, want 1", len(all))
	}
	w.call("PUT", "/projects/1/rules/x", `{"name": "X", "kind": "error_rate", "window": "soon"}`).wantError(t, 400, "invalid", "window: ")
	w.call("PUT", "/projects/1/rules/x", `{"name": "X", "wndow": "5m"}`).wantError(t, 400, "invalid", "wndow: there is no such field")
	w.call("PUT", "/projects/1/rules/x", strings.Replace(checkoutErrors, `"service"`, `"team": "none", "service"`, 1)).wantProblem(t, "team", "there is no team")
	w.call("PUT", "/projects/1/rules/x", strings.Replace(checkoutErrors, `"service"`, `"active": "always", "service"`, 1)).wantProblem(t, "active", "active hours")

	w.must("PUT", "/projects/1/rules/child", strings.Replace(checkoutErrors, `"service"`, `"depends_on": ["checkout-errors"], "service"`, 1), 200)
	w.call("DELETE", "/projects/1/rules/checkout-errors", "").wantError(t, 409, "conflict", "depends_on of rule Checkout errors")
	w.call("DELETE", "/projects/1/rules/none", "").wantError(t, 404, "not_found", "none")
}

func TestHistoryOfARule(t *testing.T) {
	t.Parallel()
	w, _ := newDesk(t)
	at := time.Date(2026, time.November, 1, 3, 0, 0, 0, time.UTC)
	err := w.db.InTx(t.Context(), func(tx *catalog.Tx) error {
		return tx.AddTransition(t.Context(), catalog.Transition{ID: "1", Project: 1, Rule: "r", Group: "critical", At: at, Kind: "fire", Body: []byte(`{"value": 7}`)})
	})
	if err != nil {
		t.Fatal(err)
	}
	all := w.call("GET", "/projects/1/rules/r/history?from=2026-11-01T00:00:00Z&to=2026-11-02T00:00:00Z", "").object(t, 200)["transitions"].([]any)
	want := []any{map[string]any{"id": "1", "at": "2026-11-01T03:00:00Z", "rule": "r", "group": "critical", "kind": "fire", "details": map[string]any{"value": 7.0}}}
	if diff := cmp.Diff(want, all); diff != "" {
		t.Errorf("listTransitions (-want +got)\n%s", diff)
	}
	w.call("GET", "/projects/1/rules/r/history?from=2026-11-01T00:00:00Z&to=2027-11-02T00:00:00Z", "").wantError(t, 400, "invalid", "at most 92 days")
}

func TestIncidents(t *testing.T) {
	t.Parallel()
	w, d := newDesk(t)
	w.configure()
	id := w.fire(d, map[string]string{"service": "checkout"}, rule.Page)
	path := "/projects/1/incidents/" + id
	all := w.call("GET", "/projects/1/incidents?state=open", "").object(t, 200)["incidents"].([]any)
	if len(all) != 1 || all[0].(map[string]any)["title"] != "checkout: 12 % errors" {
		t.Fatalf("incidents = %v", all)
	}
	got := w.call("GET", path, "").object(t, 200)
	if len(got["instances"].([]any)) != 1 || len(got["entries"].([]any)) == 0 || len(got["deliveries"].([]any)) == 0 {
		t.Errorf("incident = %v", got)
	}
	cookie := h{"Cookie": w.signIn()}
	if r := w.do("POST", path+"/acknowledge", cookie, ""); r.status != 204 {
		t.Fatalf("acknowledge: %d %s", r.status, r.body)
	}
	if i := w.call("GET", path, "").object(t, 200)["incident"].(map[string]any); i["acknowledged_by"] != "ann" {
		t.Errorf("acknowledged_by = %v, want the person with the e-mail address", i["acknowledged_by"])
	}
	w.must("POST", path+"/note", `{"text": "Rolling back"}`, 204)
	w.must("POST", path+"/escalate", "", 204)
	w.must("POST", path+"/resolve", `{"reason": "Rolled back"}`, 204)
	w.must("POST", path+"/false_alarm", "", 204)
	got = w.call("GET", path, "").object(t, 200)
	var said []string
	for _, e := range got["entries"].([]any) {
		said = append(said, e.(map[string]any)["kind"].(string)+": "+e.(map[string]any)["text"].(string))
	}
	for _, want := range []string{"acknowledged: Acknowledged", "note: Rolling back", "escalated: Escalated", "closed: Rolled back", "false_alarm: Called a false alarm"} {
		if !slices.Contains(said, want) {
			t.Errorf("timeline = %q, want %q in it", said, want)
		}
	}
	if i := got["incident"].(map[string]any); i["state"] != "resolved" || i["false_alarm"] != true || i["open_instances"] != 0.0 {
		t.Errorf("incident = %v", i)
	}
	if all := w.call("GET", "/projects/1/incidents?state=open", "").object(t, 200)["incidents"].([]any); len(all) != 0 {
		t.Errorf("open incidents = %v", all)
	}
	for _, action := range []string{"acknowledge", "escalate"} {
		w.call("POST", path+"/"+action, "").wantError(t, 409, "conflict", "over")
	}
	w.call("POST", path+"/note", `{"text": " "}`).wantError(t, 400, "invalid", "text")
	w.call("GET", "/projects/1/incidents/none", "").wantError(t, 404, "not_found", "none")
	w.call("GET", "/projects/1/incidents?state=weird", "").wantError(t, 400, "invalid", "state")
}

func TestADeliveryDoesNotShowWhatActsWithoutSigningIn(t *testing.T) {
	t.Parallel()
	w, d := newDesk(t)
	w.configure()
	w.fire(d, map[string]string{"service": "checkout"}, rule.Page)
	all := w.call("GET", "/projects/1/deliveries", "").object(t, 200)["deliveries"].([]any)
	if len(all) == 0 {
		t.Fatal("nothing is sent")
	}
	key := all[0].(map[string]any)["key"].(string)
	row, err := w.db.Delivery(t.Context(), key)
	if err != nil || !strings.Contains(string(row.Message), "token@reply.example") || !strings.Contains(string(row.Message), "/a/token") {
		t.Fatalf("message = %s, %v", row.Message, err)
	}
	r := w.must("GET", "/projects/1/deliveries/"+url.PathEscape(key), "", 200)
	if strings.Contains(r.body, "token@") || strings.Contains(r.body, "/a/token") || !strings.Contains(r.body, "checkout: 12 % errors") {
		t.Errorf("delivery = %s", r.body)
	}
}

// page asks for a page outside the API.
func (w *world) page(method, path string) reply {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), method, w.url+path, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return reply{resp.StatusCode, resp.Header, string(body)}
}

func TestALinkDoesWhatItSaysWhenItsButtonIsPressed(t *testing.T) {
	t.Parallel()
	w, d := newDesk(t)
	w.configure()
	id := w.fire(d, map[string]string{"service": "<b>checkout</b>"}, rule.Page)
	link := func(action string) string {
		return "/a/" + incident.SignLink(linkSecret, incident.Link{Incident: id, Action: action, Person: "ann", Expires: time.Now().Add(time.Hour).Unix()})
	}
	ack := link(incident.LinkAcknowledge)
	for range 3 { // a scanner follows it
		r := w.page("GET", ack)
		if r.status != 200 || !strings.Contains(r.body, "<button>Acknowledge</button>") || !strings.Contains(r.body, "&lt;b&gt;checkout") {
			t.Fatalf("page = %d %s", r.status, r.body)
		}
		if r.header.Get("Referrer-Policy") != "no-referrer" || r.header.Get("Cache-Control") != "no-store" || !strings.Contains(r.header.Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("headers = %v", r.header)
		}
	}
	acked := func() any {
		return w.call("GET", "/projects/1/incidents/"+id, "").object(t, 200)["incident"].(map[string]any)["acknowledged_by"]
	}
	if by := acked(); by != nil {
		t.Fatalf("acknowledged by %v, although nobody has pressed the button", by)
	}
	if r := w.page("POST", ack); r.status != 200 || !strings.Contains(r.body, "Acknowledged") || acked() != "ann" {
		t.Errorf("page = %d %s, acknowledged by %v", r.status, r.body, acked())
	}
	silence := link(incident.LinkSilence)
	for range 2 {
		if r := w.page("POST", silence); r.status != 200 || !strings.Contains(r.body, "Silenced for 1 h") {
			t.Errorf("page = %d %s", r.status, r.body)
		}
	}
	silences := w.call("GET", "/projects/1/silences", "").object(t, 200)["silences"].([]any)
	if len(silences) != 1 || silences[0].(map[string]any)["state"] != "active" {
		t.Errorf("silences = %v, want one", silences)
	}
	if r := w.page("POST", link(incident.LinkEscalate)); r.status != 200 || !strings.Contains(r.body, "Escalated") {
		t.Errorf("page = %d %s", r.status, r.body)
	}
	if r := w.page("POST", link(incident.LinkFalseAlarm)); r.status != 200 || !strings.Contains(r.body, "false alarm") {
		t.Errorf("page = %d %s", r.status, r.body)
	}
	if r := w.page("GET", ack); r.status != 200 || !strings.Contains(r.body, "is over") || strings.Contains(r.body, "<button>") {
		t.Errorf("page = %d %s", r.status, r.body)
	}
}

func TestALinkThatIsNotOursDoesNothing(t *testing.T) {
	t.Parallel()
	w, d := newDesk(t)
	id := w.fire(d, map[string]string{"service": "checkout"}, rule.Page)
	l := incident.Link{Incident: id, Action: incident.LinkAcknowledge, Expires: time.Now().Add(time.Hour).Unix()}
	if r := w.page("POST", "/a/"+incident.SignLink("another", l)); r.status != 404 || strings.Contains(r.body, "checkout") {
		t.Errorf("page of a forged link = %d %s", r.status, r.body)
	}
	l.Expires = time.Now().Unix() - 1
	if r := w.page("POST", "/a/"+incident.SignLink(linkSecret, l)); r.status != 410 || !strings.Contains(r.body, "too old") {
		t.Errorf("page of an old link = %d %s", r.status, r.body)
	}
	l.Expires, l.Incident = time.Now().Add(time.Hour).Unix(), "none"
	if r := w.page("POST", "/a/"+incident.SignLink(linkSecret, l)); r.status != 404 {
		t.Errorf("page without an incident = %d %s", r.status, r.body)
	}
	if by := w.call("GET", "/projects/1/incidents/"+id, "").object(t, 200)["incident"].(map[string]any)["acknowledged_by"]; by != nil {
		t.Errorf("acknowledged by %v", by)
	}
}

func TestSilences(t *testing.T) {
	t.Parallel()
	w, d := newDesk(t)
	w.fire(d, map[string]string{"service": "checkout"}, rule.Page)
	to := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	body := fmt.Sprintf(`{"matchers": ["service=checkout"], "to": %q, "reason": "A planned test"}`, to)
	preview := w.call("POST", "/projects/1/silences/preview", body).object(t, 200)
	if now := preview["now"].([]any); len(now) != 1 || now[0].(map[string]any)["instances"] != 1.0 {
		t.Errorf("preview = %v", preview)
	}
	preview = w.call("POST", "/projects/1/silences/preview", strings.Replace(body, "checkout", "other", 1)).object(t, 200)
	if len(preview["now"].([]any)) != 0 || len(preview["past"].([]any)) != 0 {
		t.Errorf("preview = %v, want nothing", preview)
	}
	made := w.call("POST", "/projects/1/silences", body).object(t, 201)
	silence := made["silence"].(map[string]any)
	if made["state"] != "active" || !strings.HasPrefix(silence["author"].(string), "API token") {
		t.Errorf("silence = %v", made)
	}
	end := "/projects/1/silences/" + silence["id"].(string) + "/end"
	w.must("POST", end, "", 204)
	w.call("POST", end, "").wantError(t, 409, "conflict", "ended already")
	all := w.call("GET", "/projects/1/silences", "").object(t, 200)["silences"].([]any)
	if len(all) != 1 || all[0].(map[string]any)["state"] != "ended" {
		t.Errorf("silences = %v", all)
	}
	later := fmt.Sprintf(`{"matchers": ["service=checkout"], "from": %q, "to": %q, "reason": "Later"}`, to, time.Now().Add(2*time.Hour).UTC().Format(time.RFC3339))
	made = w.call("POST", "/projects/1/silences", later).object(t, 201)
	if made["state"] != "waiting" {
		t.Errorf("silence = %v", made)
	}
	w.must("POST", "/projects/1/silences/"+made["silence"].(map[string]any)["id"].(string)+"/end", "", 204)
	if all := w.call("GET", "/projects/1/silences", "").object(t, 200)["silences"].([]any); len(all) != 1 {
		t.Errorf("silences = %v, want the one that was never active gone", all)
	}
	w.call("POST", "/projects/1/silences", fmt.Sprintf(`{"matchers": [], "to": %q, "reason": "All"}`, to)).wantProblem(t, "matchers", "everything")
	w.call("POST", "/projects/1/silences", fmt.Sprintf(`{"matchers": ["a=b"], "to": %q, "reason": ""}`, to)).wantProblem(t, "reason", "missing")
	w.call("POST", "/projects/1/silences", `{"matchers": ["a=b"], "to": "2020-01-01T00:00:00Z", "reason": "x"}`).wantProblem(t, "to", "not after")
	w.call("POST", "/projects/1/silences/none/end", "").wantError(t, 404, "not_found", "none")
}

func TestDeploys(t *testing.T) {
	t.Parallel()
	w, _ := newDesk(t)
	// As curl -d sends it.
	r := w.do("POST", "/deploys", h{"Authorization": "Bearer " + key, "Content-Type": "application/x-www-form-urlencoded"},
		`{"service": "shop", "release": "1.42.0", "environment": "production", "url": "https://ci.example/7"}`)
	if got := r.object(t, 201); got["release"] != "1.42.0" || got["source"] != "api" {
		t.Errorf("markDeploy = %v", got)
	}
	at := time.Now().Add(-time.Hour).UTC().Truncate(time.Second).Format(time.RFC3339)
	w.must("POST", "/projects/1/deploys", fmt.Sprintf(`{"service": "shop", "release": "1.41.0", "at": %q}`, at), 201)
	from, to := time.Now().Add(-2*time.Hour).UTC().Format(time.RFC3339), time.Now().Add(time.Minute).UTC().Format(time.RFC3339)
	all := w.call("GET", "/projects/1/deploys?from="+from+"&to="+to, "").object(t, 200)["deploys"].([]any)
	if len(all) != 2 || all[0].(map[string]any)["release"] != "1.42.0" || all[1].(map[string]any)["at"] != at {
		t.Errorf("deploys = %v", all)
	}
	f := func(header h, body string, status int, code, words string) {
		t.Helper()
		w.do("POST", "/deploys", header, body).wantError(t, status, code, words)
	}
	good := `{"service": "shop", "release": "1"}`
	f(nil, good, 401, "unauthorized", "ingest key")
	f(h{"Authorization": "Bearer " + token}, good, 401, "unauthorized", "no project")
	bearer := h{"Authorization": "Bearer " + key}
	f(bearer, `{"release": "1"}`, 400, "invalid", "service")
	f(bearer, `{"service": "shop"}`, 400, "invalid", "release")
	f(bearer, `{"service": "shop", "release": "1", "url": "javascript:alert(1)"}`, 400, "invalid", "url")
	f(bearer, `{"service": "shop", "release": "1", "at": "2020-01-01T00:00:00Z"}`, 400, "invalid", "at")
	f(bearer, `service=shop`, 400, "invalid", "JSON object")
}

func TestWhatHasEnded(t *testing.T) {
	t.Parallel()
	w, _ := newDesk(t)
	bearer := h{"Authorization": "Bearer " + key, "Content-Type": "application/x-www-form-urlencoded"}
	got := w.do("POST", "/entities/ended", bearer, `{"labels": {"host.name": "web-3", "service": " shop "}}`).object(t, 201)
	at, err := time.Parse(time.RFC3339, got["at"].(string))
	if err != nil {
		t.Fatal(err)
	}
	until, err := time.Parse(time.RFC3339, got["until"].(string))
	if err != nil || until.Sub(at) != catalog.EndedFor || got["labels"].(map[string]any)["service"] != "shop" {
		t.Errorf("markEndedEntity = %v", got)
	}
	w.must("POST", "/projects/1/entities/ended", `{"labels": {"host.name": "web-4"}}`, 201)
	all, err := w.db.EndedEntities(t.Context(), 1, at, until)
	if err != nil || len(all) != 2 || all[1].Labels["host.name"] != "web-3" {
		t.Errorf("%+v, %v", all, err)
	}
	f := func(header h, body string, status int, code, words string) {
		t.Helper()
		w.do("POST", "/entities/ended", header, body).wantError(t, status, code, words)
	}
	good := `{"labels": {"a": "b"}}`
	f(nil, good, 401, "unauthorized", "ingest key")
	f(h{"Authorization": "Bearer " + token}, good, 401, "unauthorized", "no project")
	f(bearer, `{}`, 400, "invalid", "labels")
	f(bearer, `{"labels": {}}`, 400, "invalid", "labels")
	f(bearer, `{"labels": {"": "a"}}`, 400, "invalid", "labels")
	f(bearer, `{"labels": {"a": ""}}`, 400, "invalid", "a: a value is needed")
	f(bearer, `{"labels": {"a": "b\nc"}}`, 400, "invalid", "one line")
	f(bearer, `{"labels": {"a": 7}}`, 400, "invalid", "")
	many := make([]string, 11)
	for i := range many {
		many[i] = fmt.Sprintf(`"l%d": "a"`, i)
	}
	f(bearer, `{"labels": {`+strings.Join(many, ",")+`}}`, 400, "invalid", "10")
	for i := range catalog.MaxEnded - 2 {
		if err := w.db.AddEndedEntity(t.Context(), catalog.EndedEntity{Project: 1, ID: fmt.Sprint(i), At: at, Labels: map[string]string{"a": "b"}}); err != nil {
			t.Fatal(err)
		}
	}
	f(bearer, good, 429, "rate_limited", "2000")
}

func TestDigest(t *testing.T) {
	t.Parallel()
	w, _ := newDesk(t)
	w.configure()
	organisation := firstOrganisation(t, w)
	err := w.db.InTx(t.Context(), func(tx *catalog.Tx) error {
		for i, section := range []string{incident.SectionMail, incident.SectionHealed} {
			line := catalog.DigestLine{
				ID: fmt.Sprint(i), Organisation: organisation, Project: 1, Team: "platform", At: time.Now().Add(-time.Hour), Section: section,
				Body: []byte(`{"section": "` + section + `", "text": "checkout was bad for 1 min"}`),
			}
			if err := tx.AddDigestLine(t.Context(), line); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	got := w.call("GET", "/projects/1/digest?team=platform", "").object(t, 200)
	sections := got["sections"].([]any)
	if len(sections) != 2 || sections[0].(map[string]any)["section"] != "healed" || got["next_at"] == nil {
		t.Fatalf("digest = %v", got)
	}
	if line := sections[0].(map[string]any)["lines"].([]any)[0].(map[string]any); line["text"] != "checkout was bad for 1 min" {
		t.Errorf("line = %v", line)
	}
	w.call("GET", "/projects/1/digest?team=none", "").wantError(t, 404, "not_found", "none")
}

func TestAccountOfEvaluation(t *testing.T) {
	t.Parallel()
	w, _ := newDesk(t)
	minute := time.Now().UTC().Truncate(time.Minute)
	err := w.db.InTx(t.Context(), func(tx *catalog.Tx) error {
		for _, a := range []catalog.Account{
			{Minute: minute.Add(-2 * time.Hour), Replica: "a", Due: 10, Done: 8, Held: 1},
			{Minute: minute, Replica: "b", Due: 5, Done: 4, Failed: 1},
		} {
			if err := tx.AddAccount(t.Context(), a); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.db.AddNotice(t.Context(), catalog.Notice{
		Kind: "fire_drill", At: time.Now(), Message: "The page was delivered after 58s",
		Details: `{"run":"x","at":"2026-03-03T10:00:00Z","took_ms":58000,"ok":true,"message":"The page was delivered after 58s"}`,
	}, nil); err != nil {
		t.Fatal(err)
	}
	got := w.call("GET", "/alerting", "").object(t, 200)
	for field, want := range map[string]any{"due": 15.0, "done": 12.0, "held": 1.0, "failed": 1.0, "missing": 1.0} {
		if got[field] != want {
			t.Errorf("%s = %v, want %v", field, got[field], want)
		}
	}
	if diff := cmp.Diff([]any{"b"}, got["replicas"]); diff != "" || len(got["hours"].([]any)) != 2 {
		t.Errorf("account = %v", got)
	}
	if drill, ok := got["last_drill"].(map[string]any); !ok || drill["took_ms"] != 58000.0 || drill["ok"] != true {
		t.Errorf("last drill: %v", got["last_drill"])
	}
	w.do("GET", "/alerting", nil, "").wantError(t, 401, "unauthorized", "")
}

// TestAlertingOfOtherOrganisationsIsNotFound asks for each operation in a project of another
// organisation, and for another organisation's things in the own project.
func TestAlertingOfOtherOrganisationsIsNotFound(t *testing.T) {
	t.Parallel()
	w, d := newDesk(t)
	w.configure()
	id := w.fire(d, map[string]string{"service": "checkout"}, rule.Page)
	other := w.otherOrganisation()
	const times = "?from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z"
	silence := `{"matchers": ["a=b"], "to": "2099-01-01T00:00:00Z", "reason": "x"}`
	for _, one := range []struct{ method, path, body string }{
		{"GET", "rules", ""},
		{"POST", "rules/validate", checkoutErrors},
		{"GET", "rules/x", ""},
		{"PUT", "rules/x", checkoutErrors},
		{"DELETE", "rules/x", ""},
		{"GET", "rules/x/history" + times, ""},
		{"GET", "receivers", ""},
		{"PUT", "receivers/x", `{"name": "X"}`},
		{"DELETE", "receivers/x", ""},
		{"POST", "receivers/mail/test", ""},
		{"GET", "deliveries", ""},
		{"GET", "deliveries/x", ""},
		{"GET", "teams", ""},
		{"PUT", "teams/x", `{"name": "X"}`},
		{"DELETE", "teams/platform", ""},
		{"GET", "people", ""},
		{"PUT", "people/x", `{"name": "X"}`},
		{"DELETE", "people/ann", ""},
		{"GET", "schedules", ""},
		{"PUT", "schedules/x", `{"name": "X"}`},
		{"DELETE", "schedules/first", ""},
		{"GET", "schedules/first/shifts" + times, ""},
		{"GET", "policies", ""},
		{"PUT", "policies/x", `{"name": "X"}`},
		{"DELETE", "policies/platform", ""},
		{"GET", "windows", ""},
		{"PUT", "windows/x", `{"name": "X"}`},
		{"DELETE", "windows/sunday", ""},
		{"GET", "routes", ""},
		{"PUT", "routes", `{"routes": []}`},
		{"GET", "silences", ""},
		{"POST", "silences", silence},
		{"POST", "silences/preview", silence},
		{"POST", "silences/x/end", ""},
		{"GET", "deploys" + times, ""},
		{"POST", "deploys", `{"service": "a", "release": "b"}`},
		{"POST", "entities/ended", `{"labels": {"host.name": "web-3"}}`},
		{"GET", "digest", ""},
		{"GET", "incidents", ""},
		{"GET", "incidents/" + id, ""},
		{"POST", "incidents/" + id + "/acknowledge", ""},
		{"POST", "incidents/" + id + "/escalate", ""},
		{"POST", "incidents/" + id + "/note", `{"text": "x"}`},
		{"POST", "incidents/" + id + "/resolve", `{}`},
		{"POST", "incidents/" + id + "/false_alarm", ""},
	} {
		r := w.call(one.method, fmt.Sprintf("/projects/%d/%s", other, one.path), one.body)
		r.wantError(t, 404, "not_found", "there is no project")
		r = w.do(one.method, "/projects/1/"+one.path, h{}, one.body)
		r.wantError(t, 401, "unauthorized", "")
	}

	foreign := catalog.Incident{ID: "foreign", Number: 999, Organisation: "other", Project: 1, State: catalog.IncidentOpen, Severity: "page", Body: []byte(`{}`), OpenedAt: time.Now()}
	err := w.db.InTx(t.Context(), func(tx *catalog.Tx) error {
		if err := tx.PutIncident(t.Context(), foreign); err != nil {
			return err
		}
		return tx.Post(t.Context(), catalog.OutboxRow{Key: "foreign", Organisation: "other", Receiver: "mail", Action: "test", Severity: "mail", Message: []byte(`{}`)})
	})
	if err != nil {
		t.Fatal(err)
	}
	w.call("GET", "/projects/1/incidents/foreign", "").wantError(t, 404, "not_found", "there is no incident")
	w.call("POST", "/projects/1/incidents/foreign/acknowledge", "").wantError(t, 404, "not_found", "there is no incident")
	w.call("GET", "/projects/1/deliveries/foreign", "").wantError(t, 404, "not_found", "there is no delivery")
}
