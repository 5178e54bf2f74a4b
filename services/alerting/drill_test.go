package alerting

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/labstack/echo/v4"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/midwatch/midwatch/alerts/desk"
	"github.com/midwatch/midwatch/alerts/incident"
	"github.com/midwatch/midwatch/alerts/notify/email"
	"github.com/midwatch/midwatch/alerts/rule"
	"github.com/midwatch/midwatch/services/access"
	"github.com/midwatch/midwatch/services/ingest"
	"github.com/midwatch/midwatch/services/writer"
	"github.com/midwatch/midwatch/storage/cache"
	"github.com/midwatch/midwatch/storage/catalog"
	"github.com/midwatch/midwatch/storage/storagetest"
)

func TestDrillsAreWeekly(t *testing.T) {
	t.Parallel()
	tuesday := time.Date(2026, time.March, 3, 10, 0, 0, 0, time.UTC)
	well := func(at time.Time) Drill { return Drill{At: at, OK: true} }
	for name, test := range map[string]struct {
		last Drill
		now  time.Time
		want bool
	}{
		"a new installation":                 {Drill{}, tuesday.Add(2 * time.Hour), false},
		"its first Tuesday":                  {Drill{}, tuesday.Add(time.Minute), true},
		"before the time":                    {well(tuesday.AddDate(0, 0, -7)), tuesday.Add(-time.Second), false},
		"at the time":                        {well(tuesday.AddDate(0, 0, -7)), tuesday, true},
		"just done":                          {well(tuesday), tuesday.Add(time.Minute), false},
		"on Monday":                          {well(tuesday), tuesday.AddDate(0, 0, 6), false},
		"on Sunday, it was missed":           {well(tuesday.AddDate(0, 0, -7)), tuesday.AddDate(0, 0, 5), true},
		"it has just failed":                 {Drill{At: tuesday}, tuesday.Add(10 * time.Minute), false},
		"it failed a while ago":              {Drill{At: tuesday}, tuesday.Add(20 * time.Minute), true},
		"drills are paused":                  {Drill{At: tuesday, Paused: true}, tuesday.Add(20 * time.Minute), false},
		"drills were paused the week before": {Drill{At: tuesday.AddDate(0, 0, -7), Paused: true}, tuesday, true},
	} {
		if got := drillDue(test.last, test.now); got != test.want {
			t.Errorf("%s: due %t", name, got)
		}
	}
}

func TestTheRuleOfTheDrillCanBeSavedByPeople(t *testing.T) {
	t.Parallel()
	if err := rule.Validate(drillRule(), rule.Env{}); err != nil {
		t.Error(err)
	}
}

// TestAFireDrillPassesThroughEverything has real parts, from the socket of the intake to the sender.
func TestAFireDrillPassesThroughEverything(t *testing.T) {
	t.Parallel()
	db, project := newCatalog(t)
	b, store, log, meter := storagetest.Bus(t), storagetest.Telemetry(t), slog.New(slog.DiscardHandler), noop.NewMeterProvider().Meter("")

	intake, err := ingest.New(ingest.Config{}, ingest.Signals{Metrics: true}, ingest.NewKeys(db), b, cache.NewUsage(storagetest.Cache(t), nil, log), log)
	if err != nil {
		t.Fatal(err)
	}
	e := echo.New()
	e.HTTPErrorHandler = access.ErrorHandler(log)
	intake.Mount(e)
	public := httptest.NewServer(e)
	t.Cleanup(public.Close)
	stores, err := writer.New(writer.Config{MaxRows: 100, MaxBytes: 1 << 20, MaxAge: 100 * time.Millisecond}, b, db, store, meter, log)
	if err != nil {
		t.Fatal(err)
	}
	transport, err := email.NewTransport("file:" + t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	role, err := NewRole(Config{
		Desk: desk.New(desk.Config{URL: public.URL}, db, log), URL: public.URL, Mail: transport, MailFrom: "midwatch@example.com",
	}, b, db, store, meter, log)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 2)
	go func() { done <- stores.Run(ctx) }()
	go func() { done <- role.Run(ctx) }()
	defer func() {
		stop()
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	}()

	// The same rule, but with the shortest slots.
	r := drillRule()
	r.Interval, r.Delay, r.Levels[0].For = 10*rule.Second, rule.Second, new(10*rule.Second)
	putRule(t, db, project, r)

	answer := httptest.NewRecorder()
	role.Drill().ServeHTTP(answer, httptest.NewRequest(http.MethodPost, "/drill", nil).WithContext(ctx))
	var drill Drill
	if err := json.Unmarshal(answer.Body.Bytes(), &drill); err != nil || !drill.OK {
		t.Fatalf("%d %s", answer.Code, answer.Body)
	}
	last := int64(0)
	for _, step := range drillSteps {
		at, known := drill.Steps[step]
		if !known || at < last {
			t.Errorf("step %s: %d after %d", step, at, last)
		}
		last = at
	}
	if last != drill.TookMs {
		t.Errorf("drill %+v", drill)
	}

	kept, err := LastDrill(t.Context(), db, time.Now().UTC())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(drill, kept); diff != "" {
		t.Errorf("kept (-answer +kept):\n%s", diff)
	}
	// Only the drill's receiver was told.
	rows, err := db.Deliveries(t.Context(), catalog.OutboxFilter{Organisation: project.OrganisationID, Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		if row.Receiver != desk.DrillID {
			t.Errorf("%s was told", row.Receiver)
		}
	}
	// It ends by itself.
	deadline := time.Now().Add(45 * time.Second)
	for {
		incidents, err := db.Incidents(t.Context(), catalog.IncidentFilter{Organisation: project.OrganisationID, Limit: 10})
		if err != nil {
			t.Fatal(err)
		}
		if len(incidents) != 1 || incidents[0].Team != desk.DrillID || !strings.HasPrefix(incidents[0].Title, "Fire drill") {
			t.Fatalf("incidents: %+v", incidents)
		}
		if incidents[0].State == catalog.IncidentResolved {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("still open: %s", incidents[0].Body)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func TestADrillThatFailsNamesItsStep(t *testing.T) {
	t.Parallel()
	db, project := newCatalog(t)
	var refuse bool
	public := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if refuse {
			http.Error(w, "the buffer is full", http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(public.Close)
	d, err := newDriller(public.URL, "test", db, noop.NewMeterProvider().Meter(""), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	refuse = true
	drill, err := d.run(t.Context())
	if err != nil || drill.OK || !strings.Contains(drill.Message, "failed at step ingested") || !strings.Contains(drill.Message, "the buffer is full") {
		t.Errorf("%+v, %v", drill, err)
	}
	if kept, err := LastDrill(t.Context(), db, time.Now().UTC()); err != nil || !kept.failed() {
		t.Errorf("kept %+v, %v", kept, err)
	}
	if f := Judge(Facts{Now: time.Now(), Drill: drill}); len(f) != 1 || f[0].Text != drill.Message {
		t.Errorf("judged %+v", f)
	}

	// What is stopped says nothing of the others.
	refuse = false
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	if drill, err := d.run(ctx); err == nil || drill.OK {
		t.Errorf("%+v", drill)
	}
	document, err := db.Document(t.Context(), project.OrganisationID, incident.DocRule, project.Number, desk.DrillID)
	if err != nil || document.UpdatedBy != "Midwatch" {
		t.Errorf("%+v, %v", document, err)
	}
	r := drillRule()
	r.State = rule.Paused
	putRule(t, db, project, r)
	if drill, err := d.run(t.Context()); err != nil || !drill.Paused || drill.failed() {
		t.Errorf("%+v, %v", drill, err)
	}
}

func TestTheProjectOfTheDrillIsOneThatPages(t *testing.T) {
	t.Parallel()
	db, first := newCatalog(t)
	second, err := db.CreateProject(t.Context(), first.OrganisationID, "shop", "Shop")
	if err != nil {
		t.Fatal(err)
	}
	d := &driller{db: db}
	chosen := func() uint32 {
		t.Helper()
		p, state, err := d.prepare(t.Context())
		if err != nil || state != rule.Live {
			t.Fatalf("%s, %v", state, err)
		}
		return p.Number
	}
	if got := chosen(); got != first.Number {
		t.Errorf("without rules: %d", got)
	}
	putRule(t, db, second, paging())
	if got := chosen(); got != second.Number {
		t.Errorf("with one that pages: %d", got)
	}
}
