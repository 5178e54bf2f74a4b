package cli_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/labstack/echo/v4"
	"google.golang.org/protobuf/proto"

	"github.com/midwatch/midwatch/alerts/desk"
	"github.com/midwatch/midwatch/proto/telemetrypb"
	"github.com/midwatch/midwatch/services/access"
	"github.com/midwatch/midwatch/services/cli"
	"github.com/midwatch/midwatch/services/console"
	"github.com/midwatch/midwatch/services/demo"
	"github.com/midwatch/midwatch/services/query"
	"github.com/midwatch/midwatch/storage/catalog"
	"github.com/midwatch/midwatch/storage/storagetest"
	"github.com/midwatch/midwatch/storage/telemetry"
)

const rulesToken = "mwt_of-the-rules-test"

func TestMain(m *testing.M) { os.Exit(storagetest.Main(m)) }

// project is a console over a real catalog, and a folder with files.
type project struct {
	t   *testing.T
	db  *catalog.DB
	url string
	dir string
}

func newProject(t *testing.T) *project {
	t.Helper()
	return newProjectOver(t, nil)
}

// newProjectOver is newProject with what reads the telemetry of store, unless that is nil.
func newProjectOver(t *testing.T, store *telemetry.Store) *project {
	t.Helper()
	db := storagetest.Catalog(t)
	if _, err := db.Initialise(t.Context(), catalog.Initial{Email: "ann@example.com", Password: "correct horse", APIToken: rulesToken}); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	e := echo.New()
	e.HTTPErrorHandler = access.ErrorHandler(log)
	if store != nil {
		query.New(query.Config{}, store, db, access.New(db, access.URLs{}), log).Mount(e)
	}
	console.New(console.Config{Desk: desk.New(desk.Config{}, db, log)}, db, access.New(db, access.URLs{}), storagetest.Cache(t), log).Mount(e)
	server := httptest.NewServer(e)
	t.Cleanup(server.Close)
	return &project{t, db, server.URL, t.TempDir()}
}

// write puts a file into the folder and returns its name.
func (p *project) write(name, text string) string {
	p.t.Helper()
	path := filepath.Join(p.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
	return path
}

// rules runs `midwatch rules`.
func (p *project) rules(stdin string, args ...string) (out string, err error) {
	p.t.Helper()
	var b bytes.Buffer
	environ := map[string]string{"MIDWATCH_URL": p.url, "MIDWATCH_API_TOKEN": rulesToken}
	err = cli.Rules(p.t.Context(), args, func(name string) string { return environ[name] }, strings.NewReader(stdin), &b)
	return b.String(), err
}

// must is rules that succeeds.
func (p *project) must(stdin string, args ...string) string {
	p.t.Helper()
	out, err := p.rules(stdin, args...)
	if err != nil {
		p.t.Fatalf("rules %v: %v\n%s", args, err, out)
	}
	return out
}

const everything = `# who is told
kind: routes
routes:
  - id: pay
    matchers: ["service=~pay.*", 'tier=1']
    team: platform
  - id: all
    team: platform
---
kind: team
id: platform
name: Platform
zone: Europe/Berlin
policy: platform
members: [ann]
quiet_hours:
  - {days: Mon-Fri, from: "22:00", to: 07:00}
---
kind: policy
id: platform
name: Platform
steps:
  - targets: [{kind: schedule, id: first}]
    ack_timeout: 5m
exhausted_receivers: [mail]
---
kind: schedule
id: first
name: First line
layers:
  - {name: week, zone: Europe/Berlin, start: 2026-01-05, every: weekly, handover: 09:00, people: [ann]}
---
kind: person
id: ann
name: Ann
email: ann@example.com
contacts: [{receiver: mail}, {receiver: pd}]
---
kind: receiver
id: pd
name: PagerDuty
type: pagerduty
settings: {routing_key: 0123456789abcdef0123456789abcdef}
fallback: mail
---
kind: receiver
id: mail
name: Mail
type: email
settings: {to: [ann@example.com]}
---
kind: window
id: sunday
name: Sunday
matchers: [service=db]
from: 2026-01-04T02:00:00Z
to: 2026-01-04T04:00:00Z
repeat: FREQ=WEEKLY
---
id: child
name: Checkout is slow
kind: threshold
service: checkout
team: platform
query: {metric: http.server.request.duration, aggregate: p95}
levels: [{fire: "> 2", severity: ticket}]
depends_on: [checkout-errors]
state: live
---
id: checkout-errors
name: Checkout errors
kind: error_rate
service: checkout
team: platform
levels:
  - fire: ">= 5%"
    recover: "< 3%"
    severity: page
    for: 5m
first_action: |-
  Roll back the newest release,
  then look at the errors.
state: live
`

func TestWhatIsExportedAppliesBackToNoDifference(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	file := p.write("all.yaml", everything)
	out := p.must("", "apply", "-f", file)
	want := `rule checkout-errors: not rehearsed: there is no operation POST /api/v1/midwatch/projects/1/rules/rehearse
receiver mail created
receiver pd created
person ann created
schedule first created
policy platform created
team platform created
routes created
window sunday created
rule checkout-errors created
rule child created
`
	if diff := cmp.Diff(want, out); diff != "" {
		t.Errorf("apply (-want +got)\n%s", diff)
	}
	if out := p.must("", "diff", "-f", file); out != "No difference: 10 objects.\n" {
		t.Errorf("diff after apply = %s", out)
	}
	if out := p.must("", "apply", "-f", file); strings.Count(out, "unchanged") != 10 {
		t.Errorf("apply once more = %s", out)
	}
	exported := p.must("", "export", "--all")
	if strings.Contains(exported, "0123456789abcdef0123456789abcdef") {
		t.Errorf("export shows a secret:\n%s", exported)
	}
	if out := p.must(exported, "diff", "-f", "-"); out != "No difference: 10 objects.\n" {
		t.Errorf("diff of the export = %s\n%s", out, exported)
	}
	if out := p.must(exported, "apply", "-f", "-"); strings.Count(out, "unchanged") != 10 {
		t.Errorf("apply of the export = %s", out)
	}
	if out := p.must("", "export"); strings.Count(out, "---\n") != 1 || !strings.Contains(out, "fire: '>= 5%'") && !strings.Contains(out, `fire: ">= 5%"`) {
		t.Errorf("export of rules =\n%s", out)
	}
}

// requests has a service answer ten requests a second for the day before noon and for the six hours
// after it. Ten minutes from noon on half of them fail, and three hours later one minute.
func requests(t *testing.T, store *telemetry.Store, service string, noon time.Time) {
	t.Helper()
	const every = time.Minute
	series := func(status string, rate func(after time.Duration) float64) *telemetrypb.Series {
		s := &telemetrypb.Series{Labels: []*telemetrypb.KeyValue{{Key: "http_response_status_code", Value: status}, {Key: "service", Value: service}}}
		for _, c := range service + status {
			s.Fingerprint = s.Fingerprint*131 + uint64(c)
		}
		sum := 0.0
		for after := -24 * time.Hour; after < 6*time.Hour; after += every {
			sum += rate(after) * every.Seconds()
			s.TimesMs, s.Values = append(s.TimesMs, noon.Add(after).UnixMilli()), append(s.Values, sum)
		}
		return s
	}
	frame, err := proto.Marshal(&telemetrypb.MetricFrame{Batches: []*telemetrypb.MetricBatch{{ProjectId: 1, ReceivedAt: uint64(noon.UnixNano()), Metrics: []*telemetrypb.Metric{{
		Name: "http_server_request_duration_seconds_count", Kind: telemetrypb.MetricKind_METRIC_KIND_COUNTER,
		Series: []*telemetrypb.Series{
			series("200", func(time.Duration) float64 { return 10 }),
			series("500", func(after time.Duration) float64 {
				if after >= 0 && after < 10*time.Minute || after == 3*time.Hour {
					return 10
				}
				return 0
			}),
		},
	}}}}})
	if err != nil {
		t.Fatal(err)
	}
	block := telemetry.NewMetricBlock()
	if err := block.Add(frame); err != nil {
		t.Fatal(err)
	}
	if err := store.InsertMetrics(t.Context(), t.Name()+service, block); err != nil {
		t.Fatal(err)
	}
}

func TestApplySaysFirstHowOftenItWouldHavePaged(t *testing.T) {
	t.Parallel()
	store := storagetest.Telemetry(t)
	p := newProjectOver(t, store)
	noon := time.Now().UTC().Truncate(24 * time.Hour).Add(-12 * time.Hour)
	requests(t, store, "shop", noon)
	rule := func(id, service, state, severity string) string {
		return "id: " + id + "\nname: " + id + "\nkind: error_rate\nservice: " + service + "\nstate: " + state +
			"\nlevels: [{fire: \"> 5%\", severity: " + severity + ", for: 8m}]\nfirst_action: Look at it\n"
	}
	told := "rule shop, last 30 days: 1 page, 0 at night; 0 held, 1 healed by themselves; its history begins on " +
		noon.AddDate(0, 0, -1).Format(time.DateOnly) + "\n"
	text := rule("shop", "shop", "live", "page") + "---\n" + rule("blog", "blog", "live", "page") + "---\n" + rule("draft", "shop", "draft", "page") + "---\n" + rule("ticket", "shop", "live", "ticket")
	file := p.write("all.yaml", text)

	if out, err := p.rules("", "diff", "-f", file); err == nil || strings.Contains(out, "last 30 days") {
		t.Errorf("diff: %v\n%s", err, out)
	}
	want := told + "rule blog, last 30 days: there is no history to rehearse it on\n" +
		"rule shop created\nrule blog created\nrule draft created\nrule ticket created\n"
	if diff := cmp.Diff(want, p.must("", "apply", "-f", file)); diff != "" {
		t.Errorf("apply (-want +got)\n%s", diff)
	}
	// Only what changes, and what may page after it.
	p.write("all.yaml", strings.NewReplacer("state: draft", "state: live", "name: blog", "name: Blog", "severity: ticket", "severity: mail").Replace(text))
	want = "rule blog, last 30 days: there is no history to rehearse it on\n" + strings.Replace(told, "shop,", "draft,", 1) +
		"rule shop unchanged\nrule blog changed\nrule draft changed\nrule ticket changed\n"
	if diff := cmp.Diff(want, p.must("", "apply", "-f", file)); diff != "" {
		t.Errorf("apply of changes (-want +got)\n%s", diff)
	}
	p.write("all.yaml", text)
	want = "rule shop unchanged\nrule blog changed\nrule draft changed\nrule ticket changed\n"
	if diff := cmp.Diff(want, p.must("", "apply", "-f", file, "--no-rehearsal")); diff != "" {
		t.Errorf("apply --no-rehearsal (-want +got)\n%s", diff)
	}
}

func TestDiffShowsWhatWouldChange(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	file := p.write("all.yaml", everything)
	p.must("", "apply", "-f", file)
	p.write("all.yaml", strings.Replace(strings.Replace(everything, `">= 5%"`, `">= 7%"`, 1), "id: child", "id: other", 1))
	out, err := p.rules("", "diff", "-f", file, "--prune")
	if err == nil || err.Error() != "1 to create, 1 to change, 1 to remove" {
		t.Errorf("diff: %v", err)
	}
	for _, want := range []string{
		"--- rule checkout-errors (midwatch)\n+++ rule checkout-errors (" + file + ":", "-  - fire: '>= 5%'\n+  - fire: '>= 7%'\n", "--- (new)\n+++ rule other (", "--- rule child (midwatch)\n+++ (removed)\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("diff =\n%swant %q in it", out, want)
		}
	}
	if strings.Contains(out, "team platform") {
		t.Errorf("diff =\n%swants to change what is the same", out)
	}
}

func TestPruneRemovesOnlyWhatCameFromFiles(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	rule := func(id, more string) string {
		return "id: " + id + "\nname: " + id + "\nkind: error_rate\nservice: shop\nlevels: [{fire: \"> 5%\", severity: ticket}]\n" + more
	}
	if _, err := p.db.PutDocument(t.Context(), catalog.Document{
		Organisation: p.organisation(), Kind: "rule", Project: 1, ID: "by-hand", Name: "by-hand", UpdatedBy: "ann@example.com",
		Body: []byte(`{"id": "by-hand", "name": "by-hand", "kind": "error_rate", "service": "shop", "levels": [{"fire": "> 5%", "severity": "ticket"}]}`),
	}, catalog.NewDocument); err != nil {
		t.Fatal(err)
	}
	p.write("a.yaml", rule("a", "depends_on: [b]\n"))
	b := p.write("b.yml", rule("b", ""))
	p.must("", "apply", "-f", p.dir)
	c := p.write("c.yaml", rule("c", ""))
	if out := p.must("", "apply", "-f", c); out != "rule c created\n" {
		t.Errorf("apply = %s", out)
	}
	out := p.must("", "apply", "-f", c, "--prune")
	if diff := cmp.Diff("rule c unchanged\nrule a removed\nrule b removed\n", out); diff != "" {
		t.Errorf("apply --prune (-want +got)\n%s", diff)
	}
	if out := p.must("", "export"); !strings.Contains(out, "by-hand") || strings.Contains(out, "id: a\n") {
		t.Errorf("export =\n%s", out)
	}
	// What is in a file now belongs to it.
	p.write("b.yml", rule("by-hand", ""))
	if out := p.must("", "apply", "-f", b); out != "rule by-hand adopted\n" {
		t.Errorf("apply = %s", out)
	}
}

func (p *project) organisation() string {
	p.t.Helper()
	project, err := p.db.Project(p.t.Context(), 1)
	if err != nil {
		p.t.Fatal(err)
	}
	return project.OrganisationID
}

func TestNothingIsAppliedUnlessAllIsRight(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	good := "id: good\nname: Good\nkind: error_rate\nservice: shop\nlevels: [{fire: \"> 5%\", severity: ticket}]\n---\n"
	f := func(text string, wants ...string) {
		t.Helper()
		file := p.write("x.yaml", good+text)
		out, err := p.rules("", "apply", "-f", file)
		if err == nil {
			t.Errorf("apply of %q = %s, want an error", text, out)
			return
		}
		for _, want := range wants {
			if !strings.Contains(err.Error(), strings.ReplaceAll(want, "FILE", file)) {
				t.Errorf("apply of %q: %v, want %q", text, err, want)
			}
		}
	}
	f("id: x\nname: X\nkind: error_rate\nlevels:\n  - fire: \"> 5%\"\n    severity: loud\n", "FILE:12: rule x: levels[0].severity: is page, ticket or mail")
	f("id: x\nname: X\nkind: threshold\nservice: shop\nquery: {metric: cpu}\nlevels: [{fire: \"> 5\", severity: page}]\nfirst_action: Look at it\n", "FILE:12: rule x: levels[0].severity: a cause cannot page")
	f("id: x\nname: X\nwndow: 5m\n", "FILE:9: rule x: wndow: there is no such field")
	f("id: x\nname: X\nquery:\n  metrics: cpu\n", "FILE:10: rule x: query.metrics: there is no such field")
	f("id: x\nname: 7\n", "FILE:8: rule x: name: it cannot be a number; put it in quotes")
	f("id: x\nname: X\nwindow: soon\n", "FILE:9: rule x: window: ", `"soon"`)
	f("name: X\n", "FILE:7: it has no id")
	f("id: x\nid: y\n", "FILE:8: id is there twice")
	f("- a\n", "FILE:7: a rule is fields with values")
	f("id: [\n", "x.yaml: ")
	f("id: good\nname: Y\n", "rule good: id: it is in FILE:1 as well")
	f("id: x\nname: X\nkind: error_rate\nteam: none\nlevels: [{fire: \"> 5%\", severity: ticket}]\n", `FILE:10: rule x: team: there is no team "none"`)
	f("id: x\nname: X\nkind: error_rate\ndepends_on: [none]\nlevels: [{fire: \"> 5%\", severity: ticket}]\n", "FILE:10: rule x: depends_on[0]: there is no rule")
	f("kind: team\nid: x\nname: X\nzone: Nowhere\n", "FILE:10: team x: zone: ")
	f("kind: policy\nid: x\nname: X\nsteps:\n  - targets: [{kind: person, id: bob}]\n", `FILE:11: policy x: steps[0].targets[0].id: there is no person "bob"`)
	f("kind: receiver\nid: x\nname: X\ntype: pigeon\nsettings: {}\n", "FILE:10: receiver x: kind: ")
	f("kind: receiver\nid: x\nname: X\ntype: pagerduty\nsettings: {routing_key: …cdefcdefcdefcdefcdefcdefcdefcde}\n", "routing_key: it is masked")
	f("a: &a [x, x, x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a, *a]\nc: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b, *b]\n"+
		"d: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c, *c]\ne: &e [*d, *d, *d, *d, *d, *d, *d, *d, *d, *d]\nf: [*e, *e, *e, *e, *e, *e, *e, *e, *e, *e]\n", "x.yaml")
	if out := p.must("", "export", "--all"); out != "" {
		t.Errorf("after refusals there is\n%s", out)
	}
}

func TestRulesAreAskedForInAWrongWay(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	f := func(words string, args ...string) {
		t.Helper()
		if _, err := p.rules("", args...); !errors.Is(err, cli.ErrUsage) || !strings.Contains(err.Error(), words) {
			t.Errorf("rules %q: %v, want wrong usage with %q", args, err, words)
		}
	}
	f("no command", "burn")
	f("needs -f", "apply")
	f("takes no -f", "export", "-f", "x")
	f("--all is for export", "diff", "-f", "x", "--all")
	f("--no-rehearsal is for apply", "diff", "-f", "x", "--no-rehearsal")
	f("--project", "export", "--project", "x")
	f("--url", "export", "--url", "nowhere")
	if out := p.must("", "help"); !strings.Contains(out, "Usage: midwatch rules") {
		t.Errorf("help = %s", out)
	}
	if _, err := p.rules("", "export", "--token", "mwt_wrong-token"); err == nil || !strings.Contains(err.Error(), "not known") {
		t.Errorf("export with a wrong token: %v", err)
	}
	if _, err := p.rules("", "export", "--project", "2"); err == nil || !strings.Contains(err.Error(), "there is no project 2") {
		t.Errorf("export of another project: %v", err)
	}
	if _, err := p.rules("", "apply", "-f", filepath.Join(p.dir, "none.yaml")); err == nil {
		t.Error("apply of no file succeeds")
	}
	if _, err := p.rules("", "apply", "-f", p.dir); err == nil || !strings.Contains(err.Error(), "no .yaml files") {
		t.Errorf("apply of an empty folder: %v", err)
	}
}

func TestTheExamplesOfTheManualApply(t *testing.T) {
	t.Parallel()
	manual, err := os.ReadFile("../../deployments/rules.md")
	if err != nil {
		t.Fatal(err)
	}
	var examples []string
	for _, part := range strings.Split(string(manual), "```yaml\n")[1:] {
		if example, _, ok := strings.Cut(part, "```"); ok {
			examples = append(examples, example)
		}
	}
	p := newProject(t)
	text := strings.Join(examples, "---\n")
	objects := strings.Count(text, "\n---\n") + 1
	out := p.must(text, "apply", "-f", "-")
	if objects < 10 || strings.Count(out, " created\n") != objects {
		t.Errorf("apply of %d objects = %s", objects, out)
	}
	if out := p.must(text, "diff", "-f", "-"); out != fmt.Sprintf("No difference: %d objects.\n", objects) {
		t.Errorf("diff = %s", out)
	}
}

func TestTheRulesOfTheDemoApply(t *testing.T) {
	t.Parallel()
	store := storagetest.Telemetry(t)
	requests(t, store, "checkout", time.Now().UTC().Add(-12*time.Hour))
	p := newProjectOver(t, store)
	out := p.must(demo.Rules, "apply", "-f", "-")
	if strings.Count(out, " created\n") != strings.Count(demo.Rules, "\n---\n")+1 || strings.Contains(out, "not rehearsed") {
		t.Errorf("apply = %s", out)
	}
}
