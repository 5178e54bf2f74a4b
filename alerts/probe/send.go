package probe

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// The metrics of probes as they are stored: by the names that the intake makes of those they are
// sent by.
const (
	MetricUp                   = "midwatch_probe_up"                            // 1 or 0
	MetricDuration             = "midwatch_probe_duration_seconds"              // of the whole run
	MetricStatusCode           = "midwatch_probe_status_code"                   // of http
	MetricCertificateRemaining = "midwatch_probe_certificate_remaining_seconds" // negative once it has expired
	MetricCertificateLifetime  = "midwatch_probe_certificate_lifetime_seconds"
	MetricCertificateValid     = "midwatch_probe_certificate_valid" // 1 or 0: trusted, in time, and for the name that was asked for
	MetricAlive                = "midwatch_probe_alive"             // 1 for each region that runs probes, by LabelRegion only
)

// The labels of these metrics, and the attributes of the logs.
const (
	LabelProbe   = "probe" // the id
	LabelName    = "probe_name"
	LabelRegion  = "region"
	LabelKind    = "kind"
	LabelService = "service" // of the probe; absent where it names none
	// AttributeReason holds Result.Error in logs.
	AttributeReason = "reason"
)

// LogService is the service of the logs that say why probes fail.
const LogService = "midwatch-probe"

const (
	sendInterval = 2 * time.Second
	sendTimeout  = 10 * time.Second
	lastTimeout  = 3 * time.Second
	maxBackoff   = 30 * time.Second
	// maxHeld bounds what waits of a project, maxTotalHeld all: beyond it the oldest is dropped.
	maxHeld      = 5_000
	maxTotalHeld = 50_000
	// maxHeldAge is for how long it waits: what is older tells nobody anything.
	maxHeldAge = time.Hour
	// maxSent is how many points or records one request has.
	maxSent         = 1000
	maxRefusalBytes = 4 << 10
)

// point is a sample of a gauge, or a log record.
type point struct {
	at     time.Time
	metric string // as it is sent; empty for a record
	unit   string
	value  float64

	body string
	bad  bool

	attributes []keyValue
}

// sender sends results to the intake, those of each project by its own key, and holds what it
// cannot get rid of within bounds.
type sender struct {
	base string
	http *http.Client
	log  *slog.Logger

	mu       sync.Mutex
	projects map[uint32]*outgoing
	held     int
	ending   bool // the intake may have gone first, which is nothing to warn of
}

// outgoing is what waits of a project.
type outgoing struct {
	key     string
	points  []point // oldest first
	after   time.Time
	backoff time.Duration
	dropped int
}

func newSender(base string, log *slog.Logger) *sender {
	return &sender{
		base: strings.TrimRight(base, "/"), log: log, projects: map[uint32]*outgoing{},
		http: &http.Client{Timeout: sendTimeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}
}

// key says by which key a project's results are sent.
func (s *sender) key(project uint32, key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.projects[project] == nil {
		s.projects[project] = &outgoing{}
	}
	s.projects[project].key = key
}

// forget drops a project.
func (s *sender) forget(project uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o := s.projects[project]; o != nil {
		s.held -= len(o.points)
		delete(s.projects, project)
	}
}

// add takes what is to be sent to a project that has a key.
func (s *sender) add(project uint32, points ...point) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.projects[project]
	if o == nil {
		return // its last probe has just gone
	}
	o.points = append(o.points, points...)
	s.held += len(points)
	over := max(len(o.points)-maxHeld, min(s.held-maxTotalHeld, len(o.points)), 0)
	o.points = o.points[over:]
	o.dropped += over
	s.held -= over
}

func (s *sender) alive(project uint32, region string, now time.Time) {
	s.add(project, point{at: now, metric: "midwatch.probe.alive", value: 1, attributes: []keyValue{text(LabelRegion, region)}})
}

// result adds what came of a run; inWords asks for a log record beside the samples.
func (s *sender) result(project uint32, p Probe, r Result, inWords bool) {
	labels := []keyValue{
		text(LabelProbe, p.ID), text(LabelName, p.Name), text(LabelRegion, r.Region), text(LabelKind, string(p.Kind)),
	}
	if p.Service != "" {
		labels = append(labels, text(LabelService, p.Service))
	}
	gauge := func(metric, unit string, value float64) point {
		return point{at: r.At, metric: metric, unit: unit, value: value, attributes: labels}
	}
	truth := func(metric string, holds bool) point {
		if holds {
			return gauge(metric, "", 1)
		}
		return gauge(metric, "", 0)
	}
	points := []point{truth("midwatch.probe.up", r.OK), gauge("midwatch.probe.duration", "s", r.Timings.Total/1000)}
	if r.StatusCode != 0 {
		points = append(points, gauge("midwatch.probe.status_code", "", float64(r.StatusCode)))
	}
	if c := r.Certificate; c != nil {
		points = append(points,
			gauge("midwatch.probe.certificate.remaining", "s", c.NotAfter.Sub(r.At).Seconds()),
			gauge("midwatch.probe.certificate.lifetime", "s", c.NotAfter.Sub(c.NotBefore).Seconds()),
			truth("midwatch.probe.certificate.valid", c.ChainValid && c.NameMatches))
	}
	if inWords {
		record := point{at: r.At, bad: !r.OK, attributes: labels, body: fmt.Sprintf("%s answers again from %s", p.Name, r.Region)}
		if !r.OK {
			record.body = fmt.Sprintf("%s failed from %s: %s", p.Name, r.Region, r.Error)
			record.attributes = append(append([]keyValue{}, labels...), text(AttributeReason, r.Error))
		}
		points = append(points, record)
	}
	s.add(project, points...)
}

// run sends until ctx ends.
func (s *sender) run(ctx context.Context) {
	ticker := time.NewTicker(sendInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			s.flush(ctx, now)
		}
	}
}

// last sends what is left once nothing more comes, as far as it can be sent soon.
func (s *sender) last(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lastTimeout)
	defer cancel()
	s.mu.Lock()
	s.ending = true
	s.mu.Unlock()
	s.flush(ctx, time.Now())
}

// flush sends what is due of every project.
func (s *sender) flush(ctx context.Context, now time.Time) {
	s.mu.Lock()
	var due []uint32
	for number, o := range s.projects {
		if len(o.points) > 0 && !now.Before(o.after) {
			due = append(due, number)
		}
	}
	s.mu.Unlock()
	for _, number := range due {
		for ctx.Err() == nil && s.send(ctx, number, now) {
		}
	}
}

// batch takes the oldest points of a project, and its key.
func (s *sender) batch(number uint32, now time.Time) (points []point, key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.projects[number]
	if o == nil {
		return nil, ""
	}
	if o.dropped > 0 {
		s.log.Warn("results of probes were dropped: the intake did not take them", "project_id", number, "points", o.dropped)
		o.dropped = 0
	}
	for len(o.points) > 0 && now.Sub(o.points[0].at) > maxHeldAge {
		o.points = o.points[1:]
		o.dropped++
		s.held--
	}
	n := min(len(o.points), maxSent)
	points, o.points = o.points[:n:n], o.points[n:]
	s.held -= n
	return points, o.key
}

// send sends one batch. It reports whether there may be more to send now.
func (s *sender) send(ctx context.Context, number uint32, now time.Time) bool {
	points, key := s.batch(number, now)
	if len(points) == 0 {
		return false
	}
	metrics, logs := encode(points)
	err := s.post(ctx, "/v1/metrics", key, metrics)
	if err == nil {
		points = slices.DeleteFunc(points, func(p point) bool { return p.metric != "" }) // these are stored
		err = s.post(ctx, "/v1/logs", key, logs)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.projects[number]
	if o == nil {
		return false // it is gone
	}
	if err == nil {
		o.backoff, o.after = 0, time.Time{}
		return len(o.points) > 0
	}
	if o.backoff == 0 && !s.ending && ctx.Err() == nil {
		s.log.Warn("the intake does not take the results of probes", "project_id", number, "err", err)
	}
	if refused, ok := errors.AsType[*refusedByIntake](err); !ok || refused.passing() {
		o.points = append(points, o.points...)
		s.held += len(points)
	}
	o.backoff = min(max(2*o.backoff, sendInterval), maxBackoff)
	o.after = now.Add(o.backoff)
	return false
}

// refusedByIntake is an answer that is none of success.
type refusedByIntake struct {
	status int
	text   string
}

func (e *refusedByIntake) Error() string {
	return fmt.Sprintf("answered %d: %s", e.status, e.text)
}

// passing reports whether the same may be taken later.
func (e *refusedByIntake) passing() bool {
	return e.status == http.StatusTooManyRequests || e.status >= 500
}

func (s *sender) post(ctx context.Context, path, key string, body []byte) error {
	if body == nil {
		return nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.base+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("send results of probes: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+key)
	resp, err := s.http.Do(req)
	if err != nil {
		return fmt.Errorf("send results of probes: %w", err)
	}
	defer resp.Body.Close()
	answer, _ := io.ReadAll(io.LimitReader(resp.Body, maxRefusalBytes)) // the status has said it
	if resp.StatusCode/100 == 2 {
		return nil
	}
	return &refusedByIntake{resp.StatusCode, clip(string(answer), maxErrorBytes)}
}

// What follows is OTLP's JSON, as far as it is needed.

type keyValue struct {
	Key   string `json:"key"`
	Value struct {
		String string `json:"stringValue"`
	} `json:"value"`
}

func text(key, value string) keyValue {
	kv := keyValue{Key: key}
	kv.Value.String = value
	return kv
}

type dataPoint struct {
	Attributes []keyValue `json:"attributes"`
	Time       string     `json:"timeUnixNano"`
	Value      float64    `json:"asDouble"`
}

type gauge struct {
	Name  string `json:"name"`
	Unit  string `json:"unit,omitempty"`
	Gauge struct {
		Points []dataPoint `json:"dataPoints"`
	} `json:"gauge"`
}

type logRecord struct {
	Time       string         `json:"timeUnixNano"`
	Severity   int            `json:"severityNumber"`
	Body       map[string]any `json:"body"`
	Attributes []keyValue     `json:"attributes"`
}

const (
	severityInfo  = 9
	severityError = 17
)

// encode makes the bodies of the two requests; nil where there is nothing for one.
func encode(points []point) (metrics, logs []byte) {
	var order []*gauge
	gauges := map[string]*gauge{}
	var records []logRecord
	for _, p := range points {
		at := strconv.FormatInt(p.at.UnixNano(), 10)
		if p.metric == "" {
			severity := severityInfo
			if p.bad {
				severity = severityError
			}
			records = append(records, logRecord{at, severity, map[string]any{"stringValue": p.body}, p.attributes})
			continue
		}
		g := gauges[p.metric]
		if g == nil {
			g = &gauge{Name: p.metric, Unit: p.unit}
			gauges[p.metric] = g
			order = append(order, g)
		}
		g.Gauge.Points = append(g.Gauge.Points, dataPoint{p.attributes, at, p.value})
	}
	type object = map[string]any
	resource := object{"attributes": []keyValue{text("service.name", LogService)}}
	if len(order) > 0 {
		metrics = mustJSON(object{"resourceMetrics": []any{object{"resource": resource, "scopeMetrics": []any{object{"metrics": order}}}}})
	}
	if len(records) > 0 {
		logs = mustJSON(object{"resourceLogs": []any{object{"resource": resource, "scopeLogs": []any{object{"logRecords": records}}}}})
	}
	return metrics, logs
}

// mustJSON encodes what always can be: text and finite numbers.
func mustJSON(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return data
}
