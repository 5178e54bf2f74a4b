package dossier_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image/png"
	"log/slog"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/metric/noop"
	"google.golang.org/protobuf/proto"

	"github.com/midwatch/midwatch/alerts/deliver"
	"github.com/midwatch/midwatch/alerts/desk"
	"github.com/midwatch/midwatch/alerts/dossier"
	"github.com/midwatch/midwatch/alerts/incident"
	"github.com/midwatch/midwatch/alerts/notify"
	"github.com/midwatch/midwatch/alerts/oncall"
	"github.com/midwatch/midwatch/alerts/rule"
	"github.com/midwatch/midwatch/proto/telemetrypb"
	"github.com/midwatch/midwatch/storage/catalog"
	"github.com/midwatch/midwatch/storage/storagetest"
	"github.com/midwatch/midwatch/storage/telemetry"
)

// begin is when checkout starts to answer 500: today, so that nothing of its telemetry has expired.
var begin = time.Now().UTC().Truncate(24 * time.Hour).Add(2 * time.Hour)

func at(minutes float64) time.Time { return begin.Add(time.Duration(minutes * float64(time.Minute))) }

// shop is a project whose service checkout starts to answer 500 three minutes after a deploy.
type shop struct {
	t       *testing.T
	db      *catalog.DB
	store   *telemetry.Store
	org     string
	project uint32
	now     time.Time
}

func newShop(t *testing.T) *shop {
	t.Helper()
	s := &shop{t: t, db: storagetest.Catalog(t), store: storagetest.Telemetry(t), now: at(6)}
	in, err := s.db.Initialise(t.Context(), catalog.Initial{Email: "a@example.org"})
	if err != nil {
		t.Fatal(err)
	}
	s.org, s.project = in.Project.OrganisationID, in.Project.Number
	return s
}

func (s *shop) check(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func labels(kv ...string) (out []*telemetrypb.KeyValue) {
	for i := 0; i+1 < len(kv); i += 2 {
		out = append(out, &telemetrypb.KeyValue{Key: kv[i], Value: kv[i+1]})
	}
	return out
}

// fill stores the telemetry of two hours before the trouble until six minutes after.
func (s *shop) fill() {
	s.t.Helper()
	counter := func(fp uint64, code string, perStep func(minute float64) float64) *telemetrypb.Metric {
		series := &telemetrypb.Series{Fingerprint: fp, Labels: labels("service", "checkout", "http_response_status_code", code)}
		v := 1000.0
		for m := -120.0; m <= 6; m += 0.25 {
			v += perStep(m)
			series.TimesMs, series.Values = append(series.TimesMs, at(m).UnixMilli()), append(series.Values, v)
		}
		return &telemetrypb.Metric{Name: "http_server_request_duration_seconds_count", Kind: telemetrypb.MetricKind_METRIC_KIND_COUNTER, Series: []*telemetrypb.Series{series}}
	}
	gauge := func(fp uint64, name string, v float64, kv ...string) *telemetrypb.Metric {
		return &telemetrypb.Metric{Name: name, Kind: telemetrypb.MetricKind_METRIC_KIND_GAUGE, Series: []*telemetrypb.Series{{
			Fingerprint: fp, Labels: labels(kv...), TimesMs: []int64{at(4).UnixMilli(), at(5).UnixMilli()}, Values: []float64{v, v},
		}}}
	}
	frame, err := proto.Marshal(&telemetrypb.MetricFrame{Batches: []*telemetrypb.MetricBatch{{
		ProjectId: s.project, ReceivedAt: uint64(begin.UnixNano()), Metrics: []*telemetrypb.Metric{
			counter(1, "200", func(float64) float64 { return 100 }),
			counter(2, "500", func(m float64) float64 {
				if m > 0 {
					return 25
				}
				return 0.4
			}),
			gauge(3, "process_memory_usage_bytes", 5e8, "service", "checkout", "host_name", "h1"),
			gauge(4, "system_filesystem_utilization_ratio", 0.91, "host_name", "h1", "mountpoint", "/"),
			gauge(5, "midwatch_probe_up", 0, "probe", "p1", "probe_name", "Shop", "region", "eu"),
			gauge(6, "midwatch_probe_up", 1, "probe", "p2", "probe_name", "Blog", "region", "eu"),
		},
	}}})
	s.check(err)
	metrics := telemetry.NewMetricBlock()
	s.check(metrics.Add(frame))
	s.check(s.store.InsertMetrics(s.t.Context(), "metrics", metrics))

	var records []*telemetrypb.LogRecord
	for m := -119; m < 6; m++ {
		records = append(records, &telemetrypb.LogRecord{Time: uint64(at(float64(m)).UnixNano()), Severity: 13, Body: fmt.Sprintf("cache is %d %% full", m+200)})
		if m >= 0 {
			for n := range 10 {
				records = append(records, &telemetrypb.LogRecord{Time: uint64(at(float64(m)).UnixNano()), Severity: 17, Body: fmt.Sprintf("payment %d declined by gateway: code %d", n, m)})
			}
		}
	}
	frame, err = proto.Marshal(&telemetrypb.LogFrame{Batches: []*telemetrypb.LogBatch{{
		ProjectId: s.project, ReceivedAt: uint64(begin.UnixNano()), Groups: []*telemetrypb.LogGroup{{Service: "checkout", Records: records}},
	}}})
	s.check(err)
	logs := telemetry.NewLogBlock()
	s.check(logs.Add(1, 0, frame))
	s.check(s.store.InsertLogs(s.t.Context(), "logs", logs))

	var events []*telemetrypb.ErrorEvent
	event := func(issue uint64, m float64, title, release string) {
		id := make([]byte, 16)
		id[0], id[1] = byte(len(events)), byte(len(events)>>8)
		events = append(events, &telemetrypb.ErrorEvent{
			ProjectId: s.project, Time: uint64(at(m).UnixNano()), ReceivedAt: uint64(at(m).UnixNano()), EventId: id, IssueId: issue,
			GroupingVersion: 1, Level: "error", Title: title, Release: release, Environment: "production", UserId: fmt.Sprint("u", len(events)%17),
		})
	}
	event(1, -300, "SlowQuery: it takes long", "1.41.0")
	for m := -119.0; m < 6; m += 10 {
		event(1, m, "SlowQuery: it takes long", "1.41.0")
	}
	for m := 0.2; m < 6; m += 0.1 {
		event(2, m, "TypeError: amount is undefined", "1.42.0")
	}
	errors := telemetry.NewErrorBlock()
	errors.Add(1, &telemetrypb.ErrorFrame{Events: events})
	s.check(s.store.InsertErrors(s.t.Context(), "errors", errors))
	s.check(s.db.InTx(s.t.Context(), func(tx *catalog.Tx) error {
		return tx.AddIssueEvents(s.t.Context(), []catalog.IssueEvents{
			{Project: s.project, ID: 1, Title: "SlowQuery", FirstSeen: at(-119), LastSeen: at(6), Count: 12},
			{Project: s.project, ID: 2, Title: "TypeError", FirstSeen: at(0.2), LastSeen: at(6), Count: 58},
		})
	}))
}

func (s *shop) put(kind, id string, project uint32, body any) {
	s.t.Helper()
	text, err := json.Marshal(body)
	s.check(err)
	_, err = s.db.PutDocument(s.t.Context(), catalog.Document{Organisation: s.org, Kind: kind, Project: project, ID: id, Name: id, Body: text}, catalog.AnyVersion)
	s.check(err)
}

var checkoutErrors = rule.Rule{
	ID: "checkout-errors", Name: "Checkout errors", Kind: rule.ErrorRate, Service: "checkout",
	Levels: []rule.Level{{Fire: ">= 5%", Recover: "< 3%", Severity: rule.Page}},
}

// trouble is what the evaluator says of checkout.
func (s *shop) trouble(since time.Time) incident.Instance {
	level := checkoutErrors.WithDefaults().Levels[0].Name
	return incident.Instance{
		Key: "checkout-errors/" + level + "/", Level: level, Project: s.project, Rule: "checkout-errors", Name: "Checkout errors", Version: 1,
		Labels: map[string]string{"service": "checkout", "severity": "page"}, Severity: rule.Page, Class: rule.Symptom, Kind: rule.ErrorRate,
		Headline: "checkout: 20 % errors for 5 min (limit 5 %)", Since: since, FiredAt: since.Add(5 * time.Minute), Value: 0.2, Worst: 0.2, Limit: ">= 5 %", Unit: "1",
	}
}

type mailbox struct{ got []notify.Message }

func (m *mailbox) Notify(_ context.Context, one notify.Message) (notify.Receipt, error) {
	m.got = append(m.got, one)
	return notify.Receipt{}, nil
}

func TestAPageOfAServiceThatBreaksAfterADeployNamesTheDeployTheErrorAndTheLogMessage(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	ctx := t.Context()
	s.fill()
	s.put(incident.DocRule, "checkout-errors", s.project, checkoutErrors)
	s.put(incident.DocTeam, "shop", 0, oncall.Team{ID: "shop", Name: "Shop", Zone: "Asia/Tokyo"})
	s.put(incident.DocReceiver, "mail", 0, map[string]any{"kind": "email", "name": "mail"})
	s.put(incident.DocPerson, "p1", 0, oncall.Person{ID: "p1", Name: "Ann"})
	s.check(s.db.AddDeploy(ctx, catalog.Deploy{Project: s.project, ID: "d", At: at(-3), Service: "checkout", Release: "1.42.0", Person: "ann", Source: "api"}))

	clock := func(context.Context) (time.Time, error) { return s.now, nil }
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	d := desk.New(desk.Config{URL: "https://mw.example"}, s.db, log)
	apply := func(kind incident.Kind, in incident.Instance) {
		t.Helper()
		s.check(s.db.InTx(ctx, func(tx *catalog.Tx) error {
			return d.Apply(ctx, tx, s.org, []incident.Signal{{Kind: kind, Instance: in, At: s.now}}, s.now)
		}))
	}
	one := func() catalog.Incident {
		t.Helper()
		open, err := s.db.Incidents(ctx, catalog.IncidentFilter{Organisation: s.org, Limit: 1})
		s.check(err)
		return open[0]
	}
	// The same a day before, when Ann knew what to do.
	s.now = at(-24 * 60)
	apply(incident.Fire, s.trouble(s.now))
	s.check(d.Comment(ctx, one().ID, "p1", "Rolled back, that helped", s.now))
	s.now = s.now.Add(9 * time.Minute)
	apply(incident.Resolve, s.trouble(s.now))

	s.now = at(6)
	apply(incident.Fire, s.trouble(at(1)))
	builder := dossier.New(dossier.Config{URL: "https://mw.example", Now: clock}, s.db, s.store)
	box := &mailbox{}
	sender, err := deliver.New(deliver.Config{
		Open: func(context.Context, string, string) (notify.Notifier, error) { return box, nil },
		Now:  clock,
		Dossier: func(ctx context.Context, i catalog.Incident) ([]byte, error) {
			built, err := builder.Build(ctx, i)
			if err != nil {
				return nil, err
			}
			return json.Marshal(built)
		},
		Add: dossier.Add,
	}, s.db, d, noop.NewMeterProvider().Meter(""), log)
	s.check(err)
	for range 10 {
		rows, err := s.db.Claim(ctx, "test", s.now, time.Minute, 10, nil)
		s.check(err)
		for _, row := range rows {
			s.check(sender.Send(ctx, row))
		}
	}
	var page *notify.Message
	for i := range box.got {
		if box.got[i].Action == notify.Trigger && box.got[i].At.Equal(s.now) {
			page = &box.got[i]
		}
	}
	if page == nil {
		t.Fatalf("nobody was paged: %d messages", len(box.got))
	}
	text := notify.Text(*page)
	first := begin.In(tokyo(t)).Add(-3 * time.Minute).Format("15:04 MST")
	for _, want := range []string{
		"About 1 in 5 requests of checkout have failed",
		"17 users met errors in this project",
		"1.42.0 of checkout deployed " + first + ", 4 min before (by ann)",
		"TypeError: amount is undefined: 59 events, 17 users, new in 1.42.0",
		"/errors/0000000000000002?from=",
		"payment <n> declined by gateway: code <n>: 60 times, none in the hour before",
		"Shop fails from eu",
		"disk / of h1 91 % full",
		"lasted 9 min: checkout: 20 % errors",
		"Ann: Rolled back, that helped",
		"Share of failed requests: 0.398 % in the hour before, 20 % at",
		"; limit >= 5 %",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	for _, not := range []string{"SlowQuery", "cache is", "Blog", "not known", "first seen"} {
		if strings.Contains(text, not) {
			t.Errorf("the page says %q", not)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
	if page.Chart == nil {
		t.Fatal("there is no chart")
	}
	if _, err := png.Decode(bytes.NewReader(page.Chart.PNG)); err != nil {
		t.Error(err)
	}
}

func tokyo(t *testing.T) *time.Location {
	t.Helper()
	zone, err := time.LoadLocation("Asia/Tokyo")
	if err != nil {
		t.Fatal(err)
	}
	return zone
}

func TestADossierIsMadeWithoutTelemetry(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	store, err := telemetry.Open(t.Context(), storagetest.EngineURL(t), slog.New(slog.DiscardHandler))
	s.check(err)
	s.check(store.Close())
	body, err := json.Marshal(incident.Incident{Instances: []incident.Instance{s.trouble(at(1))}})
	s.check(err)
	builder := dossier.New(dossier.Config{Now: func(context.Context) (time.Time, error) { return s.now, nil }}, s.db, store)
	for _, project := range []uint32{s.project, 0} {
		built, err := builder.Build(t.Context(), catalog.Incident{ID: "i", Organisation: s.org, Project: project, Since: at(1), OpenedAt: at(6), Body: body})
		s.check(err)
		encoded, err := json.Marshal(built.Sections)
		s.check(err)
		if got, want := strings.Contains(string(encoded), "not known: users, deploys, errors, log messages, probes"), project != 0; got != want {
			t.Errorf("project %d: %s", project, encoded)
		}
	}
}

func TestTheLastTimeIsTheNewestOfTheSameRule(t *testing.T) {
	storagetest.Catalogs(t, func(t *testing.T, cfg catalog.Config) {
		db := storagetest.OpenCatalog(t, cfg)
		ctx := t.Context()
		put := func(id, rule, route, state string, opened time.Time) catalog.Incident {
			t.Helper()
			body, err := json.Marshal(incident.Incident{Instances: []incident.Instance{{Rule: rule}}})
			if err != nil {
				t.Fatal(err)
			}
			i := catalog.Incident{
				ID: id, Number: 1, Organisation: "org", Team: "team", RouteKey: route, State: state, Severity: "page", Title: "trouble " + id,
				OpenedAt: opened, Since: opened, ResolvedAt: opened.Add(time.Hour), Version: 1, Body: body,
			}
			if err := db.InTx(ctx, func(tx *catalog.Tx) error { return tx.PutIncident(ctx, i) }); err != nil {
				t.Fatal(err)
			}
			return i
		}
		put("oldest", "r", "k", catalog.IncidentResolved, at(-4000))
		put("wanted", "r", "k", catalog.IncidentResolved, at(-3000))
		put("of another rule", "q", "k", catalog.IncidentResolved, at(-2000))
		put("elsewhere", "r", "l", catalog.IncidentResolved, at(-1000))
		put("merged", "r", "k", catalog.IncidentMerged, at(-900))
		now := put("now", "r", "k", catalog.IncidentOpen, at(0))
		put("later", "r", "k", catalog.IncidentResolved, at(10))

		builder := dossier.New(dossier.Config{Now: func(context.Context) (time.Time, error) { return at(6), nil }}, db, nil) // none is read without a project
		for rule, want := range map[string]string{"r": "trouble wanted", "new": "trouble of another rule"} {
			body, err := json.Marshal(incident.Incident{Instances: []incident.Instance{{Rule: rule}}})
			if err != nil {
				t.Fatal(err)
			}
			now.Body = body
			built, err := builder.Build(ctx, now)
			if err != nil {
				t.Fatal(err)
			}
			if len(built.Sections) != 1 || !strings.HasSuffix(built.Sections[0].Lines[0].Text, "lasted 1 h: "+want) {
				t.Errorf("%s: %+v", rule, built.Sections)
			}
		}
	})
}

func TestAReleaseWithErrorsIsNotedOnce(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	ctx := t.Context()
	s.fill()
	builder := dossier.New(dossier.Config{Now: func(context.Context) (time.Time, error) { return s.now, nil }}, s.db, s.store)
	for range 2 {
		s.check(builder.NoteReleases(ctx, s.project))
	}
	got, err := s.db.Deploys(ctx, s.project, at(-1000), at(1000))
	s.check(err)
	if len(got) != 1 || got[0].Release != "1.42.0" || got[0].Source != catalog.DeployFromErrors || got[0].Environment != "production" || got[0].At.Sub(at(0.2)).Abs() > time.Second {
		t.Errorf("deploys %+v", got)
	}
}

func TestAReleaseThatSomebodyToldOfIsNotNoted(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	ctx := t.Context()
	s.fill()
	s.check(s.db.AddDeploy(ctx, catalog.Deploy{Project: s.project, ID: "d", At: at(-3), Service: "checkout", Release: "1.42.0", Source: "api"}))
	builder := dossier.New(dossier.Config{Now: func(context.Context) (time.Time, error) { return s.now, nil }}, s.db, s.store)
	s.check(builder.NoteReleases(ctx, s.project))
	got, err := s.db.Deploys(ctx, s.project, at(-1000), at(1000))
	s.check(err)
	if len(got) != 1 || got[0].ID != "d" {
		t.Errorf("deploys %+v", got)
	}
}
