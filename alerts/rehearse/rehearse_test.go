package rehearse

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/midwatch/midwatch/alerts/incident"
	"github.com/midwatch/midwatch/alerts/oncall"
	"github.com/midwatch/midwatch/alerts/rule"
	"github.com/midwatch/midwatch/proto/telemetrypb"
	"github.com/midwatch/midwatch/storage/catalog"
	"github.com/midwatch/midwatch/storage/storagetest"
	"github.com/midwatch/midwatch/storage/telemetry"
)

func TestMain(m *testing.M) { os.Exit(storagetest.Main(m)) }

var today = time.Now().UTC().Truncate(24 * time.Hour)

// counters sends counters of a metric, each by its growth a second.
func counters(t testing.TB, store *telemetry.Store, project uint32, from, to time.Time, every time.Duration, series map[string]func(at time.Time) float64) {
	t.Helper()
	const batch = 24 * time.Hour
	values := map[string]float64{}
	for begin := from; begin.Before(to); begin = begin.Add(batch) {
		m := &telemetrypb.Metric{Name: "http_server_request_duration_seconds_count", Kind: telemetrypb.MetricKind_METRIC_KIND_COUNTER}
		for labels, growth := range series {
			s := &telemetrypb.Series{}
			for _, c := range labels {
				s.Fingerprint = s.Fingerprint*131 + uint64(c)
			}
			for pair := range strings.FieldsSeq(labels) {
				k, v, _ := strings.Cut(pair, "=")
				s.Labels = append(s.Labels, &telemetrypb.KeyValue{Key: k, Value: v})
			}
			for at := begin; at.Before(begin.Add(batch)) && at.Before(to); at = at.Add(every) {
				values[labels] += growth(at) * every.Seconds()
				s.TimesMs, s.Values = append(s.TimesMs, at.UnixMilli()), append(s.Values, values[labels])
			}
			m.Series = append(m.Series, s)
		}
		frame, err := proto.Marshal(&telemetrypb.MetricFrame{Batches: []*telemetrypb.MetricBatch{{ProjectId: project, ReceivedAt: uint64(today.UnixNano()), Metrics: []*telemetrypb.Metric{m}}}})
		if err != nil {
			t.Fatal(err)
		}
		b := telemetry.NewMetricBlock()
		if err := b.Add(frame); err != nil {
			t.Fatal(err)
		}
		if err := store.InsertMetrics(t.Context(), fmt.Sprint(t.Name(), begin), b); err != nil {
			t.Fatal(err)
		}
	}
}

func errorRate() rule.Rule {
	return rule.Rule{
		ID: "errors", Name: "errors", Kind: rule.ErrorRate, Team: "web", FirstAction: "look at it", Query: rule.Query{By: []string{"service"}},
		Levels: []rule.Level{{Fire: ">= 5%", Recover: "< 3%", Severity: rule.Page}},
	}
}

func book() *incident.Book {
	return incident.NewBook(incident.Book{Teams: map[string]oncall.Team{"web": {ID: "web", Name: "web", Zone: "UTC"}}})
}

func TestARehearsalSaysWhatWouldHaveHappened(t *testing.T) {
	t.Parallel()
	store, db := storagetest.Telemetry(t), storagetest.Catalog(t)
	in, err := db.Initialise(t.Context(), catalog.Initial{})
	if err != nil {
		t.Fatal(err)
	}
	from, to := today.Add(-72*time.Hour), today
	night, noon := from.Add(26*time.Hour), from.Add(36*time.Hour) // 02:00 and 12:00 of the second day
	within := func(at, begin time.Time, length time.Duration) bool {
		return !at.Before(begin) && at.Before(begin.Add(length))
	}
	counters(t, store, in.Project.Number, from, to, 15*time.Second, map[string]func(at time.Time) float64{
		"service=shop http_response_status_code=200": func(time.Time) float64 { return 10 },
		"service=shop http_response_status_code=500": func(at time.Time) float64 {
			if within(at, night, 20*time.Minute) || within(at, noon, time.Minute) {
				return 5
			}
			return 0
		},
		"service=blog http_response_status_code=200": func(time.Time) float64 { return 10 },
		"service=blog http_response_status_code=500": func(at time.Time) float64 {
			if within(at, noon.Add(time.Hour), 10*time.Minute) {
				return 0.6 // 5.66 %
			}
			return 0
		},
	})
	for i, at := range []time.Time{night.Add(-time.Minute), noon.Add(5 * time.Hour)} {
		body, err := json.Marshal(incident.Incident{Labels: map[string]string{}})
		if err != nil {
			t.Fatal(err)
		}
		err = db.InTx(t.Context(), func(tx *catalog.Tx) error {
			return tx.PutIncident(t.Context(), catalog.Incident{
				ID: fmt.Sprint("i", i), Number: int64(i), Organisation: in.Project.OrganisationID, Project: in.Project.Number, RouteKey: fmt.Sprint(i), State: catalog.IncidentResolved,
				Severity: "page", Title: fmt.Sprint("incident ", i), OpenedAt: at, Since: at, ResolvedAt: at.Add(30 * time.Minute), Body: body,
			})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	got, err := Rehearse(t.Context(), store, db, in.Project, errorRate(), 3, book(), to)
	if err != nil {
		t.Fatal(err)
	}
	if got.Pages != 2 || got.PagesAtNight != 1 || got.SelfResolved != 1 || got.Tickets+got.Mails+got.Held != 0 {
		t.Errorf("%d pages, %d at night, %d self-resolved, %d others", got.Pages, got.PagesAtNight, got.SelfResolved, got.Tickets+got.Mails+got.Held)
	}
	if diff := cmp.Diff([]Day{{Date: noon.Format(time.DateOnly), Pages: 2}}, got.Days); diff != "" {
		t.Errorf("days (-want +got):\n%s", diff)
	}
	if len(got.Incidents) != 2 || got.Incidents[0].Caught || !got.Incidents[1].Caught || got.Incidents[1].After < 180 || got.Incidents[1].After > 480 {
		t.Errorf("incidents %+v", got.Incidents)
	}
	if len(got.Firings) != 2 || got.Firings[0].Group != "blog" || got.Firings[1].Group != "shop" || got.Firings[1].Worst < 0.33 {
		t.Errorf("firings %+v", got.Firings)
	}
	if got.Threshold == nil || *got.Threshold != 0.05 || len(got.Series) != 2 || got.Series[0].Group != "shop" || len(got.Series[0].Points) < 400 {
		t.Errorf("threshold %v, %d series", got.Threshold, len(got.Series))
	}
	want := [][]int{{2, 2, 2, 2, 1}, {2, 2, 2, 1, 1}, {2, 2, 2, 1, 1}, {2, 2, 2, 1, 1}, {1, 1, 1, 1, 1}}
	if diff := cmp.Diff(want, got.Heat.Pages); diff != "" {
		t.Errorf("heat (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]int64{90, 180, 270, 360, 540}, got.Heat.Holds); diff != "" {
		t.Errorf("holds (-want +got):\n%s", diff)
	}
	if _, err := json.Marshal(got); err != nil {
		t.Error(err)
	}
}

func TestWhatCannotBeRehearsedIsSaid(t *testing.T) {
	t.Parallel()
	db := storagetest.Catalog(t)
	for _, r := range []rule.Rule{{ID: "a", Kind: rule.IssueNew}, {ID: "a", Kind: rule.IssueRegression}, {ID: "a", Kind: rule.Cron}, {ID: "a", Kind: "b"}, {Kind: rule.Absence}} {
		_, err := Rehearse(t.Context(), nil, db, catalog.Project{Number: 1}, r, 3, book(), today)
		if _, ok := errors.AsType[*telemetry.InvalidError](err); !ok {
			t.Errorf("%+v: %v, want an InvalidError", r.Kind, err)
		}
	}
}

// TestEveryKindIsRehearsedOverGaps is a past in which nothing came for an hour, and of some sources nothing ever.
func TestEveryKindIsRehearsedOverGaps(t *testing.T) {
	t.Parallel()
	store, db := storagetest.Telemetry(t), storagetest.Catalog(t)
	in, err := db.Initialise(t.Context(), catalog.Initial{})
	if err != nil {
		t.Fatal(err)
	}
	gap := today.Add(-20 * time.Hour)
	series := map[string]func(time.Time) float64{
		"service=shop http_response_status_code=200": func(time.Time) float64 { return 10 },
		"service=blog http_response_status_code=200": func(time.Time) float64 { return 10 },
	}
	counters(t, store, in.Project.Number, today.Add(-47*time.Hour), gap, time.Minute, series)
	counters(t, store, in.Project.Number, gap.Add(time.Hour), today, time.Minute, series)
	query := rule.Query{Metric: "http_server_request_duration_seconds_count", By: []string{"service"}}
	rate := query
	rate.Aggregate = "rate"
	for _, test := range []struct {
		rule    rule.Rule
		tickets int
	}{
		{rule: rule.Rule{Kind: rule.Threshold, Query: rate, Levels: []rule.Level{{Fire: "> 1000"}}}},
		{rule: rule.Rule{Kind: rule.ErrorRate, Query: rule.Query{By: query.By}, Levels: []rule.Level{{Fire: "> 0.5", Severity: rule.Ticket}}}},
		{rule: rule.Rule{Kind: rule.SLOBurn, SLO: &rule.SLO{Target: 0.99}, Levels: []rule.Level{{Severity: rule.Ticket}}}},
		{rule: rule.Rule{Kind: rule.Absence, Query: query}, tickets: 2},
		{rule: rule.Rule{Kind: rule.Absence, Query: rule.Query{Metric: query.Metric}}, tickets: 1},
		{rule: rule.Rule{Kind: rule.Forecasted, Query: query, Forecast: &rule.ForecastSpec{Capacity: 1e12}}},
		{rule: rule.Rule{Kind: rule.Anomaly, Query: rule.Query{Metric: query.Metric, Aggregate: "rate", MinAbs: 1}}},
		{rule: rule.Rule{Kind: rule.LogMatch, Query: rule.Query{Text: "fault"}, Levels: []rule.Level{{Fire: ">= 1"}}}},
		{rule: rule.Rule{Kind: rule.LogRatio, Query: rule.Query{Text: "fault"}, Levels: []rule.Level{{Fire: "> 0.5"}}}},
		{rule: rule.Rule{Kind: rule.Uptime, FirstAction: "look at it"}},
		{rule: rule.Rule{Kind: rule.TLSExpiry}},
		{rule: rule.Rule{Kind: rule.IssueSpike}},
	} {
		r := test.rule
		r.ID, r.Name, r.Team = "r", "r", "web"
		got, err := Rehearse(t.Context(), store, db, in.Project, r, 2, book(), today)
		if err != nil {
			t.Errorf("%s: %v", r.Kind, err)
			continue
		}
		if got.Pages != 0 || got.Tickets != test.tickets || got.Mails != 0 {
			t.Errorf("%s: %d pages, %d tickets, %d mails, want %d tickets; %+v", r.Kind, got.Pages, got.Tickets, got.Mails, test.tickets, got.Firings)
		}
		if _, err := json.Marshal(got); err != nil {
			t.Errorf("%s: %v", r.Kind, err)
		}
	}
}

// BenchmarkRehearse30Days is a rule with 50 groups whose metric has a sample each minute.
func BenchmarkRehearse30Days(b *testing.B) {
	store, db := storagetest.Telemetry(b), storagetest.Catalog(b)
	in, err := db.Initialise(b.Context(), catalog.Initial{})
	if err != nil {
		b.Fatal(err)
	}
	series := map[string]func(time.Time) float64{}
	for i := range 50 {
		series[fmt.Sprintf("service=%d http_response_status_code=200", i)] = func(time.Time) float64 { return 10 }
	}
	counters(b, store, in.Project.Number, today.Add(-29*24*time.Hour), today, time.Minute, series)
	for b.Loop() {
		r, err := Rehearse(b.Context(), store, db, in.Project, errorRate(), 30, book(), today)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(r.TookMS), "ms/rehearsal")
	}
}
