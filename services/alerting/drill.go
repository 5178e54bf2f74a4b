package alerting

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/metric"

	"github.com/midwatch/midwatch/alerts/desk"
	"github.com/midwatch/midwatch/alerts/incident"
	"github.com/midwatch/midwatch/alerts/notify"
	"github.com/midwatch/midwatch/alerts/rule"
	"github.com/midwatch/midwatch/storage/catalog"
)

const (
	drillMetric   = "midwatch_drill"
	drillLease    = "fire drill"
	drillInterval = time.Minute
	// drillPatience is how long the page of a drill may take.
	drillPatience = 5 * time.Minute
	// drillAgain is how soon one that failed is tried again.
	drillAgain = 15 * time.Minute
	// drillWithin is how late the first drill of an installation may begin: one that has just been set
	// up is not drilled before its first week is over.
	drillWithin = time.Hour
	drillPoll   = 250 * time.Millisecond
	// noticeDrill keeps the newest drill.
	noticeDrill = "fire_drill"
)

// The steps of a drill, in their order.
const (
	stepIngested  = "ingested"
	stepEvaluated = "evaluated"
	stepCommitted = "committed"
	stepDelivered = "delivered"
)

var drillSteps = []string{stepIngested, stepEvaluated, stepCommitted, stepDelivered}

var (
	errDrilling = errors.New("a fire drill is going on")
	errNoDrill  = errors.New("there is nothing to drill with")
)

// Drill is how a fire drill went: a metric that went in by the front door until its page came out.
type Drill struct {
	Run     string    `json:"run"`
	Project uint32    `json:"project"`
	At      time.Time `json:"at"` // when it began
	TookMs  int64     `json:"took_ms"`
	// Steps says when each step was passed, in milliseconds since the begin.
	Steps   map[string]int64 `json:"steps"`
	OK      bool             `json:"ok"`
	Message string           `json:"message"`
	// Paused says that its rule is paused, so that there are no drills.
	Paused bool `json:"paused,omitempty"`
}

func (d Drill) failed() bool { return !d.At.IsZero() && !d.OK && !d.Paused }

// LastDrill returns the newest drill; its zero value if there was none within 30 days.
func LastDrill(ctx context.Context, db *catalog.DB, now time.Time) (Drill, error) {
	notices, err := db.Notices(ctx, 0, now.AddDate(0, 0, -30))
	if err != nil {
		return Drill{}, err
	}
	for _, n := range notices {
		var d Drill
		if n.Kind == noticeDrill && json.Unmarshal([]byte(n.Details), &d) == nil {
			return d, nil
		}
	}
	return Drill{}, nil
}

// driller runs fire drills.
type driller struct {
	url    string // of the public intake
	holder string
	db     *catalog.DB
	http   *http.Client
	log    *slog.Logger
	took   metric.Float64Histogram
}

func newDriller(url, holder string, db *catalog.DB, meter metric.Meter, log *slog.Logger) (*driller, error) {
	took, err := meter.Float64Histogram("midwatch.alerting.drill.duration", metric.WithUnit("s"),
		metric.WithDescription("Time of a fire drill from the intake of its metric until its page was delivered"))
	if err != nil {
		return nil, fmt.Errorf("make the drill's metric: %w", err)
	}
	return &driller{url: url, holder: holder, db: db, log: log, took: took, http: &http.Client{Timeout: heartbeatTimeout}}, nil
}

// drillTime is the newest time at which a drill should have begun: Tuesdays at 10:00 UTC, when somebody
// is there to look after one that fails.
func drillTime(now time.Time) time.Time {
	at := time.Date(now.Year(), now.Month(), now.Day(), 10, 0, 0, 0, time.UTC).AddDate(0, 0, int(time.Tuesday-now.Weekday()))
	if at.After(now) {
		at = at.AddDate(0, 0, -7)
	}
	return at
}

// drillDue reports whether a drill is to begin, by the newest one.
func drillDue(last Drill, now time.Time) bool {
	at := drillTime(now)
	switch {
	case last.failed():
		return now.Sub(last.At) >= drillPatience+drillAgain
	case last.At.IsZero():
		return now.Sub(at) < drillWithin
	}
	return last.At.Before(at)
}

// weekly runs the drill when it is due.
func (d *driller) weekly(ctx context.Context, now time.Time) error {
	last, err := LastDrill(ctx, d.db, now)
	if err != nil || !drillDue(last, now) {
		return err
	}
	switch _, err = d.run(ctx); {
	case errors.Is(err, errDrilling), errors.Is(err, errNoDrill), ctx.Err() != nil:
		return nil
	default:
		return err
	}
}

// run makes one drill and keeps how it went. The error is for a drill that could not be made.
func (d *driller) run(ctx context.Context) (Drill, error) {
	began := time.Now().UTC()
	run := uuid.NewString()
	// The lease is the run's own: this process may be asked for two at once.
	mine, err := d.db.TakeLease(ctx, drillLease, run, began, drillPatience+time.Minute)
	if err != nil {
		return Drill{}, err
	}
	if !mine {
		return Drill{}, errDrilling
	}
	defer func() {
		if err := d.db.EndLease(context.WithoutCancel(ctx), drillLease, run); err != nil {
			d.log.Warn("the lease of the drill runs out by itself", "err", err)
		}
	}()
	result := Drill{Run: run, At: began, Steps: map[string]int64{}}
	project, state, err := d.prepare(ctx)
	if err != nil {
		return result, err
	}
	result.Project = project.Number
	if state != rule.Live {
		result.Paused, result.Message = true, "The rule "+desk.DrillID+" is "+string(state)+": no fire drill was made"
		return result, d.keep(ctx, result)
	}
	failure := d.walk(ctx, project, &result)
	if ctx.Err() != nil {
		return result, ctx.Err() // this process stops; it says nothing of the others
	}
	if failure != nil {
		step := drillSteps[min(len(result.Steps), len(drillSteps)-1)]
		result.TookMs = time.Since(began).Milliseconds()
		result.Message = fmt.Sprintf("The fire drill failed at step %s: %s", step, failure)
		d.log.Error("the fire drill failed", "step", step, "run", run, "err", failure)
	} else {
		result.OK, result.TookMs = true, result.Steps[stepDelivered]
		took := time.Duration(result.TookMs) * time.Millisecond
		result.Message = "The fire drill's page was delivered after " + took.Round(100*time.Millisecond).String()
		d.took.Record(ctx, took.Seconds())
		d.log.Info("the fire drill went well", "run", run, "took_ms", result.TookMs)
	}
	return result, d.keep(ctx, result)
}

func (d *driller) keep(ctx context.Context, result Drill) error {
	details, err := json.Marshal(result)
	if err != nil {
		return fmt.Errorf("write the drill: %w", err)
	}
	return d.db.AddNotice(ctx, catalog.Notice{Kind: noticeDrill, At: result.At, Message: result.Message, Details: string(details)}, nil)
}

// prepare chooses the project, the oldest in which a rule wakes people or else the oldest, and sees to
// its rule.
func (d *driller) prepare(ctx context.Context) (catalog.Project, rule.Lifecycle, error) {
	projects, err := d.db.AllProjects(ctx)
	if err != nil {
		return catalog.Project{}, "", err
	}
	if len(projects) == 0 {
		return catalog.Project{}, "", errNoDrill
	}
	documents, err := d.db.AllDocuments(ctx, incident.DocRule)
	if err != nil {
		return catalog.Project{}, "", err
	}
	chosen := projects[0]
	paging := map[uint32]bool{}
	for _, doc := range documents {
		if r, ok := live(doc); ok && r.Pages() && doc.ID != desk.DrillID {
			paging[doc.Project] = true
		}
	}
	for _, p := range projects {
		if paging[p.Number] {
			chosen = p
			break
		}
	}
	for _, doc := range documents {
		if doc.Project != chosen.Number || doc.ID != desk.DrillID {
			continue
		}
		r, err := rule.Parse(doc.Body)
		if err != nil {
			return chosen, "", fmt.Errorf("read the rule of the drill: %w", err)
		}
		return chosen, r.WithDefaults().State, nil
	}
	body, err := json.Marshal(drillRule())
	if err != nil {
		return chosen, "", fmt.Errorf("write the rule of the drill: %w", err)
	}
	_, err = d.db.PutDocument(ctx, catalog.Document{
		Organisation: chosen.OrganisationID, Kind: incident.DocRule, Project: chosen.Number, ID: desk.DrillID, Name: "Fire drill",
		Body: body, UpdatedBy: "Midwatch",
	}, catalog.NewDocument)
	return chosen, rule.Live, err
}

// drillRule is the rule of the drill as Midwatch makes it. People may change and pause it.
func drillRule() rule.Rule {
	return rule.Rule{
		ID: desk.DrillID, Name: "Fire drill", Kind: rule.Threshold, Area: rule.Availability, State: rule.Live,
		Query:    rule.Query{Source: rule.Metrics, Metric: drillMetric, Aggregate: "last", By: []string{"run"}},
		Interval: 30 * rule.Second, Window: 2 * rule.Minute, MinSamples: 1, NoData: rule.NoDataOK, RecoverFor: new(rule.Duration),
		MissingGroupClose: 5 * rule.Minute,
		Levels:            []rule.Level{{Fire: ">= 1", Recover: "< 1", Severity: rule.Page, For: new(30 * rule.Second)}},
		Summary:           "Nothing: this is the weekly fire drill of Midwatch itself.",
		FirstAction:       "Nothing is to be done: this is a drill, by which Midwatch makes sure that a page would come. It wakes nobody. Pause the rule to have no drills.",
		Owner:             "Midwatch",
	}
}

// walk sends the metric and follows it until its page is delivered. The error says why it did not get
// further than the steps that are noted.
func (d *driller) walk(ctx context.Context, project catalog.Project, result *Drill) error {
	ctx, cancel := context.WithTimeoutCause(ctx, drillPatience, fmt.Errorf("it took longer than %s", drillPatience))
	defer cancel()
	if err := d.send(ctx, project.IngestKey, result.Run, 1); err != nil {
		return err
	}
	passed := func(step string, at time.Time) {
		if _, known := result.Steps[step]; !known {
			result.Steps[step] = max(at.Sub(result.At).Milliseconds(), 0)
		}
	}
	passed(stepIngested, time.Now())
	// However it ends, it is not to stay bad for as long as the rule remembers.
	defer func() {
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), heartbeatTimeout)
		defer cancel()
		if err := d.send(ending, project.IngestKey, result.Run, 0); err != nil {
			d.log.Warn("the drill ends by itself", "err", err)
		}
	}()
	ticker := time.NewTicker(drillPoll)
	defer ticker.Stop()
	for {
		done, err := d.follow(ctx, project, result, passed)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			d.log.Warn("the drill cannot be followed", "err", err)
		}
		if done {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
		}
	}
}

// follow looks how far the drill is.
func (d *driller) follow(ctx context.Context, project catalog.Project, result *Drill, passed func(string, time.Time)) (done bool, err error) {
	const few = 50
	now := time.Now().UTC()
	if _, evaluated := result.Steps[stepEvaluated]; !evaluated {
		transitions, err := d.db.Transitions(ctx, project.Number, desk.DrillID, result.At.Add(-time.Minute), now.Add(time.Minute), few)
		if err != nil {
			return false, err
		}
		for _, t := range transitions {
			if rule.EventKind(t.Kind).Trigger() && strings.Contains(string(t.Body), result.Run) {
				passed(stepEvaluated, now)
			}
		}
		if _, evaluated = result.Steps[stepEvaluated]; !evaluated {
			return false, nil
		}
	}
	rows, err := d.db.Deliveries(ctx, catalog.OutboxFilter{Organisation: project.OrganisationID, Receiver: desk.DrillID, Limit: few})
	if err != nil {
		return false, err
	}
	for _, row := range rows {
		if row.Action != string(notify.Trigger) {
			continue
		}
		of, err := d.db.Incident(ctx, row.Incident)
		if err != nil {
			return false, err
		}
		if !strings.Contains(string(of.Body), result.Run) {
			continue
		}
		passed(stepCommitted, row.CreatedAt)
		// Both are one transaction, which is found later than it was.
		result.Steps[stepEvaluated] = min(result.Steps[stepEvaluated], result.Steps[stepCommitted])
		if row.State == catalog.OutboxDone {
			passed(stepDelivered, row.DoneAt)
			return true, nil
		}
	}
	return false, nil
}

// send sends the metric as anybody would.
func (d *driller) send(ctx context.Context, key, run string, value float64) error {
	type object = map[string]any
	body, err := json.Marshal(object{"resourceMetrics": []object{{"scopeMetrics": []object{{"metrics": []object{{
		"name": drillMetric, "gauge": object{"dataPoints": []object{{
			"asDouble": value, "timeUnixNano": strconv.FormatInt(time.Now().UnixNano(), 10),
			"attributes": []object{{"key": "run", "value": object{"stringValue": run}}},
		}}},
	}}}}}}})
	if err != nil {
		return fmt.Errorf("write the metric: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, d.url+"/v1/metrics", bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("send the metric: %w", err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", "Bearer "+key)
	answer, err := d.http.Do(request)
	if err != nil {
		return fmt.Errorf("nothing took the metric at %s: %w", d.url, unaddressed(err))
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 1000))
	if err != nil {
		return fmt.Errorf("send the metric: %w", err)
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s: %s", d.url, answer.Status, notify.Clip(strings.TrimSpace(string(text)), 200))
	}
	return nil
}

// unaddressed keeps addresses, which may hold secrets, out of an error.
func unaddressed(err error) error {
	if inner, ok := errors.AsType[*url.Error](err); ok {
		return inner.Err
	}
	return err
}

// ServeHTTP runs a drill and answers with how it went.
func (d *driller) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	type refusal struct {
		Message string `json:"message"`
	}
	result, err := d.run(r.Context())
	switch {
	case errors.Is(err, errDrilling):
		answer(out, http.StatusConflict, refusal{"a fire drill is going on; wait for it"})
	case errors.Is(err, errNoDrill):
		answer(out, http.StatusConflict, refusal{"there is no project to drill with"})
	case err != nil:
		if r.Context().Err() == nil {
			d.log.Error("no fire drill could be made", "err", err)
		}
		answer(out, http.StatusInternalServerError, refusal{"no fire drill could be made; the log says why"})
	default:
		answer(out, http.StatusOK, result)
	}
}

// drilled is the receiver of the drill: it takes everything.
type drilled struct{}

// Notify takes a message.
func (drilled) Notify(context.Context, notify.Message) (notify.Receipt, error) {
	return notify.Receipt{Excerpt: "a fire drill: nobody was told"}, nil
}
