package alerting

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/midwatch/midwatch/alerts/deliver"
	"github.com/midwatch/midwatch/alerts/desk"
	"github.com/midwatch/midwatch/alerts/incident"
	"github.com/midwatch/midwatch/alerts/notify"
	"github.com/midwatch/midwatch/alerts/rule"
	"github.com/midwatch/midwatch/storage/catalog"
	"github.com/midwatch/midwatch/storage/storagetest"
	"github.com/midwatch/midwatch/storage/telemetry"
)

func TestHealthIsJudgedByFacts(t *testing.T) {
	t.Parallel()
	// minutes are accounts of as many minutes, the newest the one before noon.
	minutes := func(n int, a catalog.Account) (all []catalog.Account) {
		for i := n; i >= 1; i-- {
			a.Minute = noon.Add(-time.Duration(i) * time.Minute)
			all = append(all, a)
		}
		return all
	}
	for name, test := range map[string]struct {
		facts Facts
		want  []Problem
	}{
		"no rules":                       {Facts{Accounts: minutes(6, catalog.Account{Due: 100})}, nil},
		"all is done":                    {Facts{Rules: 1, Accounts: minutes(6, catalog.Account{Due: 20, Done: 18, Held: 1, Failed: 1})}, nil},
		"the newest slots wait for data": {Facts{Rules: 1, Accounts: append(minutes(6, catalog.Account{Due: 20, Done: 20})[:4], minutes(2, catalog.Account{Due: 20})...)}, nil},
		"nothing was due":                {Facts{Rules: 1}, nil},
		"slots are missing": {
			Facts{Rules: 1, Accounts: minutes(6, catalog.Account{Due: 20, Done: 5})},
			[]Problem{{Text: "30 of 120 slots were not evaluated", Everybody: true}},
		},
		"a fifth has no verdict": {Facts{Rules: 1, Accounts: minutes(5, catalog.Account{Due: 20, Done: 16, Held: 4})}, nil},
		"more than a fifth has no verdict": {
			Facts{Rules: 1, Accounts: minutes(5, catalog.Account{Due: 20, Done: 15, Held: 3, Failed: 2})},
			[]Problem{{Text: "25 of 100 slots could not be judged: their data is late or cannot be read", Everybody: true}},
		},
		"too few to speak of a share": {Facts{Rules: 1, Accounts: minutes(3, catalog.Account{Due: 2, Held: 2})}, nil},
		"rules are late": {
			Facts{Rules: 3, Lags: []Lag{{2, "errors", time.Minute}, {1, "disk", time.Second}, {2, "load", time.Second}}},
			[]Problem{{Text: "3 rules are late, the worst: errors of project 2 is 1m0s behind", Projects: []uint32{2, 1}}},
		},
		"a page is young": {Facts{Page: catalog.Overdue{Project: 1, Since: noon.Add(-pagePatience)}}, nil},
		"a page waits": {
			Facts{Page: catalog.Overdue{Project: 1, Since: noon.Add(-3 * time.Minute)}},
			[]Problem{{Text: "a page has waited for 3m0s, and nobody sends it", Everybody: true}},
		},
		"a loop stands still": {
			Facts{Loops: map[string]time.Time{"sender": noon.Add(-2 * time.Minute), "evaluator": noon}},
			[]Problem{{Text: `the loop "sender" of this process has not worked for 2m0s`}},
		},
		"a drill went well": {Facts{Drill: Drill{At: noon, OK: true}}, nil},
		"drills are paused": {Facts{Drill: Drill{At: noon, Paused: true}}, nil},
		"a drill failed":    {Facts{Drill: Drill{At: noon, Message: "it failed"}}, []Problem{{Text: "it failed"}}},
	} {
		t.Run(name, func(t *testing.T) {
			test.facts.Now = noon
			if diff := cmp.Diff(test.want, Judge(test.facts)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func newTestWatcher(t *testing.T, url string, db *catalog.DB) *watcher {
	t.Helper()
	w, err := newWatcher(url, "test", db, noop.NewMeterProvider().Meter(""), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// at lets a watcher look with its loops at work.
func (w *watcher) at(t *testing.T, now time.Time) {
	t.Helper()
	for _, loop := range []string{"sender", "incidents"} {
		w.seen(loop, now)
	}
	if _, err := w.db.Beat(t.Context(), w.replica, now, now); err != nil {
		t.Fatal(err)
	}
	if err := w.look(t.Context(), now); err != nil {
		t.Fatal(err)
	}
}

// putRule keeps a rule of a project and returns when that was.
func putRule(t *testing.T, db *catalog.DB, project catalog.Project, r rule.Rule) time.Time {
	t.Helper()
	body, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	kept, err := db.PutDocument(t.Context(), catalog.Document{
		Organisation: project.OrganisationID, Kind: incident.DocRule, Project: project.Number, ID: r.ID, Name: r.Name, Body: body,
	}, catalog.AnyVersion)
	if err != nil {
		t.Fatal(err)
	}
	return kept.UpdatedAt
}

func paging() rule.Rule {
	return rule.Rule{
		ID: "errors", Name: "Errors", Kind: rule.Threshold, Area: rule.Availability, State: rule.Live, FirstAction: "look",
		Query: rule.Query{Metric: "errors"}, Levels: []rule.Level{{Fire: "> 1", Severity: rule.Page}},
	}
}

func notice(t *testing.T, db *catalog.DB, project uint32, kind string, now time.Time) string {
	t.Helper()
	all, err := db.Notices(t.Context(), project, now.AddDate(0, 0, -30))
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range all {
		if n.Kind == kind {
			return n.Message
		}
	}
	return ""
}

func TestTheSwitchIsHeldOnlyWhileAlertingIsHealthy(t *testing.T) {
	t.Parallel()
	storagetest.Catalogs(t, func(t *testing.T, cfg catalog.Config) {
		db := storagetest.OpenCatalog(t, cfg)
		first, err := db.Initialise(t.Context(), catalog.Initial{Email: "ann@example.com", Password: "correct horse"})
		if err != nil {
			t.Fatal(err)
		}
		var asked atomic.Int64
		outside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if asked.Add(1) == 1 {
				w.WriteHeader(http.StatusServiceUnavailable) // once more, then
			}
		}))
		t.Cleanup(outside.Close)
		w := newTestWatcher(t, outside.URL, db)
		now := putRule(t, db, first.Project, paging())
		want := func(healthy bool, pings int64) {
			t.Helper()
			asked.Store(0)
			if h := w.Health(now); h.Healthy != healthy {
				t.Errorf("health is %+v", h)
			}
			if err := w.beat(t.Context(), now); err != nil {
				t.Fatal(err)
			}
			if got := asked.Load(); got != pings {
				t.Errorf("asked %d times, want %d", got, pings)
			}
		}
		want(false, 0) // nobody has looked
		w.at(t, now)
		want(true, 2)

		// The rule is never evaluated.
		now = now.Add(time.Hour)
		w.at(t, now)
		want(false, 0)
		if got := notice(t, db, 1, noticeBlind, now); got != "" {
			t.Errorf("told at once: %q", got)
		}
		now = now.Add(tellAfter)
		w.at(t, now)
		if got := notice(t, db, 1, noticeBlind, now); !strings.HasPrefix(got, "Alerting is blind since ") {
			t.Errorf("the project was told %q", got)
		}
		if got := notice(t, db, 0, noticeHealth, now); !strings.Contains(got, "errors of project 1 is ") {
			t.Errorf("the operator was told %q", got)
		}

		// Another process finds it healed.
		if err := db.InTx(t.Context(), func(tx *catalog.Tx) error {
			return tx.PutRuleState(t.Context(), catalog.RuleState{Project: 1, Rule: "errors", Identity: "i", Cursor: now, State: []byte("{}")})
		}); err != nil {
			t.Fatal(err)
		}
		w = newTestWatcher(t, outside.URL, db)
		w.at(t, now)
		want(true, 2)
		if got := notice(t, db, 1, noticeBlind, now); !strings.HasPrefix(got, "Alerting was blind from ") {
			t.Errorf("the project was told %q", got)
		}
		now = now.Add(2 * staleAfter)
		want(false, 0) // whoever looks stands still
		answer := httptest.NewRecorder()
		w.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/healthz/alerting", nil))
		if answer.Code != http.StatusOK && answer.Code != http.StatusServiceUnavailable || !strings.Contains(answer.Body.String(), `"rules":1`) {
			t.Errorf("answer %d %s", answer.Code, answer.Body)
		}
	})
}

func TestPagesThatNobodySendsAreFound(t *testing.T) {
	t.Parallel()
	storagetest.Catalogs(t, func(t *testing.T, cfg catalog.Config) {
		db := storagetest.OpenCatalog(t, cfg)
		post := func(key, severity string, due time.Time) {
			t.Helper()
			err := db.InTx(t.Context(), func(tx *catalog.Tx) error {
				return tx.Post(t.Context(), catalog.OutboxRow{
					Key: key, Organisation: "o", Project: 7, Receiver: "r", Action: "trigger", Severity: severity, CreatedAt: due, DueAt: due, Message: []byte("{}"),
				})
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		want := func(now, since time.Time) {
			t.Helper()
			got, err := db.OldestUndeliveredPage(t.Context(), now)
			if err != nil || !got.Since.Equal(since) {
				t.Errorf("%+v, %v; want since %s", got, err, since)
			}
		}
		post("ticket", "ticket", noon)
		post("later", "page", noon.Add(time.Hour))
		want(noon.Add(time.Minute), time.Time{})
		post("page", "page", noon)
		want(noon.Add(time.Minute), noon)
		if _, err := db.Claim(t.Context(), "c", noon.Add(time.Minute), time.Minute, 10, nil); err != nil {
			t.Fatal(err)
		}
		want(noon.Add(time.Minute), time.Time{})
		want(noon.Add(3*time.Minute), noon.Add(2*time.Minute)) // its sender has not come back
	})
}

// checker is a receiver that can be tried.
type checker struct{ url string }

func (checker) Notify(context.Context, notify.Message) (notify.Receipt, error) {
	return notify.Receipt{}, nil
}

func (c checker) Check(ctx context.Context) (notify.Receipt, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url, nil)
	if err != nil {
		return notify.Receipt{}, err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return notify.Receipt{}, &notify.RetryError{Err: err}
	}
	defer answer.Body.Close()
	switch answer.StatusCode {
	case http.StatusOK:
		return notify.Receipt{}, nil
	case http.StatusForbidden:
		return notify.Receipt{}, &notify.PermanentError{Code: answer.StatusCode, Broken: true, Reason: "the key was revoked"}
	}
	return notify.Receipt{}, &notify.RetryError{Code: answer.StatusCode, Reason: "busy"}
}

func TestReceiversAreTriedWeekly(t *testing.T) {
	t.Parallel()
	db, project := newCatalog(t)
	var status, asked atomic.Int64
	status.Store(http.StatusOK)
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.WriteHeader(int(status.Load()))
	}))
	t.Cleanup(provider.Close)
	log := slog.New(slog.DiscardHandler)
	d := desk.New(desk.Config{}, db, log)
	sender, err := deliver.New(deliver.Config{Now: db.Clock}, db, d, noop.NewMeterProvider().Meter(""), log)
	if err != nil {
		t.Fatal(err)
	}
	c := &canary{holder: "test", db: db, sender: sender, log: log, open: func(_ context.Context, _, id string) (notify.Notifier, error) {
		if id == "mute" {
			return drilled{}, nil // cannot be tried
		}
		return checker{provider.URL}, nil
	}}
	for _, id := range []string{"pager", "mute"} {
		if _, err := db.PutDocument(t.Context(), catalog.Document{
			Organisation: project.OrganisationID, Kind: incident.DocReceiver, ID: id, Name: id, Body: []byte(`{"kind":"webhook"}`),
		}, catalog.NewDocument); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Now().UTC()
	pass := func(after time.Duration, answers int, calls int64) desk.ReceiverState {
		t.Helper()
		now = now.Add(after)
		status.Store(int64(answers))
		asked.Store(0)
		if err := c.pass(t.Context(), now); err != nil {
			t.Fatal(err)
		}
		if got := asked.Load(); got != calls {
			t.Errorf("after %s asked %d times, want %d", after, got, calls)
		}
		states, err := db.ReceiverStates(t.Context(), project.OrganisationID)
		if err != nil {
			t.Fatal(err)
		}
		var state desk.ReceiverState
		if body := states["pager"]; len(body) > 0 {
			if err := json.Unmarshal(body, &state); err != nil {
				t.Fatal(err)
			}
		}
		return state
	}
	tickets := func() (open int) {
		t.Helper()
		rows, err := db.Incidents(t.Context(), catalog.IncidentFilter{Organisation: project.OrganisationID, Limit: 10})
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range rows {
			if row.State == catalog.IncidentOpen && strings.Contains(row.Title, "the key was revoked") {
				open++
			}
		}
		return open
	}
	pass(0, 200, 0) // it is new
	if state := pass(week, 200, 1); !state.CheckedAt.Equal(now.Truncate(time.Nanosecond)) || !state.BrokenAt.IsZero() {
		t.Errorf("state %+v", state)
	}
	pass(time.Minute, 200, 0)
	checked := pass(week, 500, 1).CheckedAt
	if state := pass(time.Minute, 403, 1); state.BrokenAt.IsZero() || !state.CheckedAt.After(checked) || tickets() != 1 {
		t.Errorf("state %+v, %d tickets", state, tickets())
	}
	if state := pass(week, 200, 1); !state.BrokenAt.IsZero() || tickets() != 0 {
		t.Errorf("state %+v, %d tickets", state, tickets())
	}
	c.holder = "another"
	pass(time.Minute, 200, 0)
}

func TestReceiversAreSpreadOverTheWeek(t *testing.T) {
	t.Parallel()
	days := map[time.Weekday]bool{}
	for i := range 100 {
		at := checkedAfter("o", fmt.Sprint(i), noon)
		if at.After(noon) || noon.Sub(at) >= week {
			t.Errorf("%s", at)
		}
		days[at.Weekday()] = true
	}
	if len(days) != 7 {
		t.Errorf("on %d days", len(days))
	}
}

func TestAProjectThatStopsIsTold(t *testing.T) {
	t.Parallel()
	of := func(number uint32, now, before float64) measured {
		return measured{catalog.Project{Number: number}, "logs", now, before}
	}
	for name, test := range map[string]struct {
		all    []measured
		global bool
	}{
		"one stops":          {[]measured{of(1, 0, 1000), of(2, 1000, 1000), of(3, 1000, 1000)}, false},
		"the largest stops":  {[]measured{of(1, 0, 9000), of(2, 1000, 1000), of(3, 1000, 1000)}, false},
		"the only one stops": {[]measured{of(1, 0, 1000)}, false},
		"all send less":      {[]measured{of(1, 600, 1000), of(2, 700, 1000), of(3, 500, 1000)}, true},
		"more than usual":    {[]measured{of(1, 0, 1000), of(2, 9000, 1000), of(3, 0, 50)}, false},
	} {
		if got := isGlobal(test.all); got != test.global {
			t.Errorf("%s: %t", name, got)
		}
	}
	for _, test := range []struct {
		earlier []float64
		want    float64
	}{{nil, 0}, {[]float64{7}, 0}, {[]float64{7, 0, 0}, 0}, {[]float64{4, 8}, 6}, {[]float64{9, 0, 1, 5}, 5}} {
		if got := median(test.earlier); got != test.want {
			t.Errorf("median of %v is %v", test.earlier, got)
		}
	}

	db, project := newCatalog(t)
	v := &volumes{holder: "test", db: db, desk: desk.New(desk.Config{}, db, slog.New(slog.DiscardHandler)), log: slog.New(slog.DiscardHandler)}
	open := func(now float64, want int) {
		t.Helper()
		if err := v.judge(t.Context(), []measured{{project, "logs", now, 1000}}, time.Now().UTC()); err != nil {
			t.Fatal(err)
		}
		rows, err := db.Incidents(t.Context(), catalog.IncidentFilter{Organisation: project.OrganisationID, Limit: 10})
		if err != nil {
			t.Fatal(err)
		}
		got := 0
		for _, row := range rows {
			if row.State == catalog.IncidentOpen && row.Severity == string(rule.Mail) && strings.Contains(row.Title, "stopped sending logs") {
				got++
			}
		}
		if got != want {
			t.Errorf("with %v: %d open, want %d: %+v", now, got, want, rows)
		}
	}
	open(1000, 0)
	open(150, 0)
	open(50, 1)
	open(40, 1)
	open(150, 1)
	open(400, 0)
}

func TestTheUsualIsThatOfTheSameMinutes(t *testing.T) {
	t.Parallel()
	from := noon.Add(-7 * 24 * time.Hour)
	p := past{from: from, minutes: []telemetry.Volume{
		{At: from.Add(9 * time.Minute), Logs: 1}, {At: from.Add(10 * time.Minute), Logs: 2, Samples: 5}, {At: from.Add(19 * time.Minute), Logs: 4}, {At: from.Add(20 * time.Minute), Logs: 8},
	}}
	got := sums([]past{p}, noon, noon.Add(10*time.Minute), func(a amount) float64 { return a.logs })
	if diff := cmp.Diff([]float64{6}, got); diff != "" {
		t.Error(diff)
	}
}

func TestAMonitorThatWasNeverSeenIsALineOnce(t *testing.T) {
	t.Parallel()
	db, project := newCatalog(t)
	r := &Role{db: db, desk: desk.New(desk.Config{}, db, slog.New(slog.DiscardHandler))}
	for _, m := range []catalog.Monitor{
		{Slug: "never", Name: "Nightly", Schedule: catalog.Schedule{Kind: "interval", Value: "3600", FailAfter: 1, RecoverAfter: 1}},
		{Slug: "rare", Schedule: catalog.Schedule{Kind: "interval", Value: "86400", FailAfter: 1, RecoverAfter: 1}},
		{Slug: "free", Schedule: catalog.Schedule{Kind: "none", FailAfter: 1, RecoverAfter: 1}},
	} {
		m.Project = project.Number
		if _, err := db.CreateMonitor(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Now().UTC()
	for _, after := range []time.Duration{0, time.Hour, 4 * time.Hour, 5 * time.Hour, 6 * time.Hour} {
		if err := r.unseen(t.Context(), now.Add(after)); err != nil {
			t.Fatal(err)
		}
	}
	lines, err := db.DigestLines(t.Context(), project.OrganisationID, "", now.Add(-time.Hour), now.Add(day))
	if err != nil {
		t.Fatal(err)
	}
	if len(lines) != 1 || lines[0].Section != incident.SectionMail || !strings.Contains(string(lines[0].Body), "Nightly: no check-in has come") {
		t.Errorf("lines: %+v", lines)
	}
}

const day = 24 * time.Hour
