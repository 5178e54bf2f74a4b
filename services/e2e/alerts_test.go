package e2e

import (
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	colmetricspb "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	"google.golang.org/protobuf/proto"

	"github.com/midwatch/midwatch/alerts/desk"
	"github.com/midwatch/midwatch/alerts/evaluate"
	"github.com/midwatch/midwatch/alerts/incident"
	"github.com/midwatch/midwatch/storage/catalog"
	"github.com/midwatch/midwatch/storage/storagetest"
)

const (
	routingKey = "0123456789abcdef0123456789abcdef"

	// The receivers of the test, each of another kind.
	pager, hook, chat, post = "pager", "hook", "chat", "post"

	// longAlerts is from how many alerts on a run is a long one: metrics take part, and it is timed.
	longAlerts = 1000
	// jobWorkers are the jobs that fail at the same time, pingsPerSecond how fast at most: what is over a
	// project's limit of 6,000 a minute is not counted, as the answer to a ping cannot say.
	jobWorkers     = 40
	pingsPerSecond = 80
	// boxes are the groups of the metric rule.
	boxes = 100
)

// alertsPlan is how many alerts there are to be (MIDWATCH_CHAOS_ALERTS).
func alertsPlan(t *testing.T) int {
	t.Helper()
	text := os.Getenv("MIDWATCH_CHAOS_ALERTS")
	if text == "" {
		return 300
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("MIDWATCH_CHAOS_ALERTS is %q; it is a number of alerts", text)
	}
	return n
}

// alarm makes troubles and holds what receivers were told against them.
type alarm struct {
	t        *testing.T
	r        *receivers
	cfg      catalog.Config
	sql      *sql.DB
	pings    string // base URL
	metrics  string
	client   *http.Client
	began    time.Time
	kills    int
	limiter  *time.Ticker
	mu       sync.Mutex
	episodes map[string]int // of each job, that were acknowledged
	bad      int            // how often boxes were bad
	done     atomic.Int64   // alerts that are over
	value    atomic.Int64   // of the boxes
	troubles sync.WaitGroup // those that end by themselves
	workers  sync.WaitGroup // those that go on until the end
	ctx      context.Context
	cancel   context.CancelFunc
	org      string
}

// newAlarm configures receivers and rules in a catalog that is there already.
func newAlarm(t *testing.T, r *receivers, cfg catalog.Config, pings, metrics string) *alarm {
	t.Helper()
	a := &alarm{
		t: t, r: r, cfg: cfg, pings: pings, metrics: metrics, began: time.Now(),
		client:  &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: jobWorkers}},
		limiter: time.NewTicker(time.Second / pingsPerSecond), episodes: map[string]int{}, sql: storagetest.RawCatalog(t, cfg),
	}
	a.ctx, a.cancel = context.WithCancel(t.Context())
	t.Cleanup(func() {
		a.cancel()
		a.troubles.Wait()
		a.workers.Wait()
		a.limiter.Stop()
		a.client.CloseIdleConnections()
	})
	await(t, "the organisation", func() error {
		return a.sql.QueryRowContext(t.Context(), `SELECT id FROM organisations`).Scan(&a.org)
	})
	plenty := map[string]any{"count": 1000, "per": "1s"}
	for id, settings := range map[string]any{
		pager: map[string]any{"routing_key": routingKey, "endpoint": r.http.URL + "/pagerduty"},
		hook:  map[string]any{"url": r.http.URL + "/webhook", "secrets": []string{"whsec_" + base64.StdEncoding.EncodeToString(r.secret)}},
		chat:  map[string]any{"webhook_url": r.http.URL + "/slack"},
		post:  map[string]any{"to": []string{"ann@example.org"}},
	} {
		kind := map[string]string{pager: "pagerduty", hook: "webhook", chat: "slack", post: "email"}[id]
		a.put(incident.DocReceiver, 0, id, map[string]any{"name": id, "kind": kind, "settings": settings, "limit": plenty})
	}
	a.put(incident.DocRoutes, 0, incident.RoutesID, map[string]any{
		"routes": []any{map[string]any{"id": "all", "team": "default", "group_by": []string{"service", "box"}}},
	})
	a.put(incident.DocRule, 1, "jobs", map[string]any{
		"id": "jobs", "name": "Jobs", "kind": "cron", "state": "live", "user_visible": true, "levels": []any{map[string]any{"severity": "page"}},
	})
	return a
}

// boxRule adds the rule about the boxes to a project.
func (a *alarm) boxRule(project uint32, interval string) {
	a.t.Helper()
	a.put(incident.DocRule, project, "boxes", map[string]any{
		"id": "boxes", "name": "Boxes", "kind": "threshold", "state": "live", "class": "symptom", "service": "boxes", "area": "availability",
		"query":    map[string]any{"source": "metrics", "metric": "box_load", "aggregate": "max", "by": []string{"box"}},
		"interval": interval, "window": "30s", "levels": []any{map[string]any{"severity": "page", "fire": ">= 10", "for": "0s"}},
		"recover_for": "0s", "flap": map[string]any{"n": 1000},
	})
}

func (a *alarm) put(kind string, project uint32, id string, body any) {
	a.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		a.t.Fatal(err)
	}
	db, err := catalog.Open(a.t.Context(), a.cfg)
	if err != nil {
		a.t.Fatal(err)
	}
	_, err = db.PutDocument(a.t.Context(), catalog.Document{
		Organisation: a.org, Kind: kind, Project: project, ID: id, Name: id, Body: text, UpdatedBy: "test",
	}, catalog.AnyVersion)
	if err := errors.Join(err, db.Close()); err != nil {
		a.t.Fatal(err)
	}
}

// jobs lets n jobs fail and recover, each so many times.
func (a *alarm) jobs(name string, n, times int, seed uint64) {
	for i := range n {
		rng := rand.New(rand.NewPCG(seed, uint64(i)+100))
		slug := fmt.Sprintf("%s-%03d", name, i)
		a.troubles.Go(func() {
			for range times {
				shown := a.r.showings(slug)
				if !a.ping(slug + "/fail?create=1") {
					return
				}
				a.mu.Lock()
				a.episodes[slug]++
				a.mu.Unlock()
				// Most are told before they are over, some are over at once.
				if rng.IntN(5) > 0 {
					a.wait(20*time.Second, func() bool { return a.r.showings(slug) > shown })
				}
				if !a.ping(slug) {
					return
				}
				a.done.Add(1)
			}
		})
	}
}

// wait waits for a condition, for so long at most; it need not come true.
func (a *alarm) wait(limit time.Duration, ok func() bool) {
	for end := time.Now().Add(limit); time.Now().Before(end) && !ok(); {
		select {
		case <-a.ctx.Done():
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// ping sends one check-in until it is acknowledged.
func (a *alarm) ping(path string) bool {
	return a.send(http.MethodGet, a.pings+"/ping/"+key+"/"+path, "", nil) // the key is in the path
}

func (a *alarm) send(method, url, key string, body []byte) bool {
	for {
		select {
		case <-a.ctx.Done():
			return false
		case <-a.limiter.C:
		}
		req, err := http.NewRequestWithContext(a.ctx, method, url, strings.NewReader(string(body)))
		if err != nil {
			a.t.Error(err)
			return false
		}
		if key != "" {
			req.Header.Set("Content-Type", "application/x-protobuf")
			req.Header.Set("Authorization", "Bearer "+key)
		}
		resp, err := a.client.Do(req)
		if err == nil {
			resp.Body.Close()
			switch resp.StatusCode {
			case http.StatusOK, http.StatusCreated:
				return true
			case http.StatusServiceUnavailable, http.StatusTooManyRequests:
			default:
				a.t.Errorf("%s: %s", url, resp.Status)
				return false
			}
		}
		select {
		case <-a.ctx.Done():
			return false
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// pushBoxes sends the value of every box again and again, by a project's ingest key.
func (a *alarm) pushBoxes(n int, key string) {
	a.workers.Go(func() {
		for {
			var points []*metricspb.NumberDataPoint
			for i := range n {
				points = append(points, &metricspb.NumberDataPoint{
					TimeUnixNano: uint64(time.Now().UnixNano()), Attributes: []*commonpb.KeyValue{text("box", fmt.Sprintf("box-%03d", i))},
					Value: &metricspb.NumberDataPoint_AsDouble{AsDouble: float64(a.value.Load())},
				})
			}
			body, err := proto.Marshal(&colmetricspb.ExportMetricsServiceRequest{ResourceMetrics: []*metricspb.ResourceMetrics{{
				ScopeMetrics: []*metricspb.ScopeMetrics{{Metrics: []*metricspb.Metric{{
					Name: "box.load", Data: &metricspb.Metric_Gauge{Gauge: &metricspb.Gauge{DataPoints: points}},
				}}}},
			}}})
			if err != nil {
				a.t.Error(err)
				return
			}
			a.send(http.MethodPost, a.metrics+"/v1/metrics", key, body)
			select {
			case <-a.ctx.Done():
				return
			case <-time.After(2 * time.Second):
			}
		}
	})
}

// boxRounds lets all boxes be bad and good again, so many times.
func (a *alarm) boxRounds(rounds int) {
	a.troubles.Go(func() {
		for range rounds {
			shown := a.r.showings("boxes")
			a.value.Store(100)
			a.wait(4*time.Minute, func() bool { return a.r.showings("boxes") >= shown+boxes })
			a.value.Store(0)
			a.wait(4*time.Minute, a.boxesAreGood)
			if a.ctx.Err() != nil {
				return
			}
			a.bad += boxes
			a.done.Add(boxes)
		}
	})
}

func (a *alarm) boxesAreGood() bool {
	n, err := a.count(`SELECT count(*) FROM incidents WHERE service = 'boxes' AND state = 'open'`)
	return err == nil && n == 0
}

func (a *alarm) count(query string, args ...any) (n int, err error) {
	ctx, cancel := context.WithTimeout(a.t.Context(), 5*time.Second)
	defer cancel()
	return n, a.sql.QueryRowContext(ctx, query, args...).Scan(&n)
}

// settle waits until everything is over and told, but for the canaries: they fly for ever.
func (a *alarm) settle() {
	a.t.Helper()
	// A message whose sender was killed waits for its lease, one that was refused for its next attempt.
	awaitFor(a.t, 4*time.Minute, "everything to be told", func() error {
		left, err := a.count(`SELECT count(*) FROM outbox WHERE state IN ('due', 'sending') AND organisation_id <> $1`, desk.DrillID)
		if err != nil {
			return err
		}
		open, err := a.count(`SELECT count(*) FROM incidents WHERE state = 'open' AND organisation_id <> $1`, desk.DrillID)
		if err != nil {
			return err
		}
		if left+open > 0 {
			var one string
			err := a.sql.QueryRowContext(a.t.Context(), `SELECT key || ' is ' || state || ' with the error ' || last_error FROM outbox
				WHERE state IN ('due', 'sending') AND organisation_id <> $1 ORDER BY due_at LIMIT 1`, desk.DrillID).Scan(&one)
			return errors.Join(fmt.Errorf("%d messages are left, %d incidents are open; %s", left, open, one), err)
		}
		return nil
	})
}

// told is a message as the outbox has it.
type told struct {
	key, incident, receiver, action, state string
	seq                                    int
	uncertain                              bool
	created, due, done                     time.Time
	attempts                               int
	lastError                              string
}

func (m told) String() string {
	return fmt.Sprintf("%d %s to %s: %s after %d attempts, uncertain: %t, from %s to %s %s", m.seq, m.action, m.receiver, m.state, m.attempts, m.uncertain,
		m.created.Format("15:04:05.000"), m.done.Format("15:04:05.000"), m.lastError)
}

// trouble is an incident as the catalog has it.
type trouble struct {
	id, service, route string
	episodes           int
	messages           []told
}

// ledger reads what was decided.
func (a *alarm) ledger() map[string]*trouble {
	a.t.Helper()
	all := map[string]*trouble{}
	rows, err := a.sql.QueryContext(a.t.Context(), `SELECT id, service, route_key, body FROM incidents WHERE organisation_id <> $1`, desk.DrillID)
	if err != nil {
		a.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		tr := &trouble{}
		var body string
		if err := rows.Scan(&tr.id, &tr.service, &tr.route, &body); err != nil {
			a.t.Fatal(err)
		}
		var i incident.Incident
		if err := json.Unmarshal([]byte(body), &i); err != nil {
			a.t.Fatal(err)
		}
		tr.episodes = i.Episode
		all[tr.id] = tr
	}
	if err := rows.Err(); err != nil {
		a.t.Fatal(err)
	}
	sent, err := a.sql.QueryContext(a.t.Context(), `SELECT key, incident, receiver, action, state, seq, uncertain, created_at, due_at, done_at, attempts, last_error
		FROM outbox ORDER BY seq`)
	if err != nil {
		a.t.Fatal(err)
	}
	defer sent.Close()
	for sent.Next() {
		var m told
		var uncertain, created, due, done int64
		if err := sent.Scan(&m.key, &m.incident, &m.receiver, &m.action, &m.state, &m.seq, &uncertain, &created, &due, &done, &m.attempts, &m.lastError); err != nil {
			a.t.Fatal(err)
		}
		m.uncertain, m.created, m.due, m.done = uncertain != 0, time.Unix(0, created), time.Unix(0, due), time.Unix(0, done)
		if tr := all[m.incident]; tr != nil {
			tr.messages = append(tr.messages, m)
		}
	}
	if err := sent.Err(); err != nil {
		a.t.Fatal(err)
	}
	return all
}

// verify holds the receivers' records against the catalog, and that against what was done.
func (a *alarm) verify() {
	t, r := a.t, a.r
	t.Helper()
	all := a.ledger()
	digested := a.digested()
	r.mu.Lock()
	defer r.mu.Unlock()

	byService := map[string]int{}
	lost, doubled, alerts := 0, 0, 0
	complain := func(n *int, format string, args ...any) {
		if *n++; *n <= 20 {
			t.Errorf(format, args...)
		}
	}
	for _, tr := range all {
		before := lost + doubled
		if tr.service != "boxes" {
			byService[tr.service]++
		}
		alerts += tr.episodes
		for _, receiver := range []string{pager, hook, chat, post} {
			heard := a.heard(tr, receiver)
			begins, ends, withdrawn := 0, 0, 0
			for _, m := range tr.messages {
				if m.receiver != receiver {
					continue
				}
				if m.state != catalog.OutboxDone && m.state != catalog.OutboxWithdrawn {
					complain(&lost, "%s is %s", m.key, m.state)
				}
				if m.state == catalog.OutboxDone && !a.accepted(m) {
					complain(&lost, "%s is done and was never accepted", m.key)
				}
				switch {
				case m.action == "trigger":
					begins++
					if m.state == catalog.OutboxWithdrawn {
						withdrawn++
					}
				case m.action == "resolve" && m.state == catalog.OutboxDone:
					ends++
				}
			}
			switch {
			case begins != tr.episodes:
				complain(&lost, "incident %s of %s: %s was to be told %d times of %d episodes", tr.id, tr.service, receiver, begins, tr.episodes)
			case withdrawn > 0 && !digested[tr.id]:
				complain(&lost, "incident %s of %s: what was withdrawn of %s is not in the digest", tr.id, tr.service, receiver)
			case begins-withdrawn > ends:
				complain(&lost, "incident %s of %s: %s was told %d times of its beginning and %d times of its end", tr.id, tr.service, receiver, begins-withdrawn, ends)
			case heard && ends == 0:
				complain(&lost, "incident %s of %s: %s heard of its beginning and was never told of its end", tr.id, tr.service, receiver)
			}
		}
		if p := r.pages["mw-"+tr.id]; p != nil {
			if p.open {
				complain(&lost, "incident %s of %s is still open at PagerDuty", tr.id, tr.service)
			}
			if p.opened > tr.episodes {
				complain(&doubled, "incident %s of %s with %d episodes was opened %d times at PagerDuty", tr.id, tr.service, tr.episodes, p.opened)
			}
		}
		if lost+doubled > before {
			for _, m := range tr.messages {
				t.Log(m)
			}
		}
	}
	for slug, n := range a.episodes {
		if byService[slug] != n {
			complain(map[bool]*int{true: &lost, false: &doubled}[byService[slug] < n], "%s failed %d times and has %d incidents", slug, n, byService[slug])
		}
	}
	ofBoxes := 0
	for _, tr := range all {
		if tr.service == "boxes" {
			ofBoxes += tr.episodes
		}
	}
	if ofBoxes != a.bad {
		complain(map[bool]*int{true: &lost, false: &doubled}[ofBoxes < a.bad], "boxes were bad %d times and have %d episodes", a.bad, ofBoxes)
	}
	for name := range r.pages {
		if all[strings.TrimPrefix(name, "mw-")] == nil {
			complain(&doubled, "PagerDuty knows %s, which is no incident", name)
		}
	}
	copies := 0
	for _, list := range []map[string]*taken{r.hooks, r.mails} {
		for id, m := range list {
			copies += m.copies - 1
			if m.copies-1-m.unsaid > a.kills {
				complain(&doubled, "%s was taken %d times, %d of them without a word of it, after %d kills", id, m.copies, m.unsaid, a.kills)
			}
		}
	}
	a.inOrder(all, &doubled)
	t.Logf("%d alerts in %d incidents, %d kills, %s; %d lost, %d doubled; %d copies of messages with the same key; %s",
		alerts, len(all), a.kills, time.Since(a.began).Round(time.Second), lost, doubled, copies, rSummary(r))
}

// rSummary is the summary of receivers whose lock is held.
func rSummary(r *receivers) string {
	r.mu.Unlock()
	defer r.mu.Lock()
	return r.summary()
}

// heard reports whether a receiver has taken a first message of an incident, whatever is known of it here.
func (a *alarm) heard(tr *trouble, receiver string) bool {
	switch receiver {
	case pager:
		p := a.r.pages["mw-"+tr.id]
		return p != nil && p.opened > 0
	case hook:
		return slices.ContainsFunc(tr.messages, func(m told) bool {
			return m.receiver == hook && m.action == "trigger" && a.r.hooks[m.key] != nil
		})
	}
	return false
}

// accepted reports whether the receiver of a message has taken it.
func (a *alarm) accepted(m told) bool {
	switch m.receiver {
	case pager:
		p := a.r.pages["mw-"+m.incident]
		return p != nil && (m.action != "trigger" || p.opened > 0)
	case hook:
		return a.r.hooks[m.key] != nil
	case chat:
		return a.r.chats[m.incident] > 0
	}
	return a.r.mails[m.incident+"."+strconv.Itoa(m.seq)] != nil
}

// inOrder checks that what was first taken about an incident came in the order in which it was decided.
func (a *alarm) inOrder(all map[string]*trouble, wrong *int) {
	last := map[string]*taken{}
	var hooks []*taken
	for _, m := range a.r.hooks {
		hooks = append(hooks, m)
	}
	slices.SortFunc(hooks, func(a, b *taken) int { return a.order - b.order })
	for _, m := range hooks {
		if before := last[m.incident]; before != nil && before.sequence > m.sequence {
			if *wrong++; *wrong <= 20 {
				a.t.Errorf("incident %s: message %d came after message %d", m.incident, m.sequence, before.sequence)
			}
		}
		last[m.incident] = m
		if all[m.incident] == nil {
			a.t.Errorf("the webhook was told of %q, which is no incident", m.incident)
		}
	}
}

// digested are the incidents that have a line in the digest.
func (a *alarm) digested() map[string]bool {
	a.t.Helper()
	rows, err := a.sql.QueryContext(a.t.Context(), `SELECT body FROM digest_lines WHERE organisation_id <> $1`, desk.DrillID)
	if err != nil {
		a.t.Fatal(err)
	}
	defer rows.Close()
	all := map[string]bool{}
	for rows.Next() {
		var body string
		var line incident.Line
		if err := rows.Scan(&body); err != nil {
			a.t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(body), &line); err != nil {
			a.t.Fatal(err)
		}
		all[line.Incident] = true
	}
	if err := rows.Err(); err != nil {
		a.t.Fatal(err)
	}
	return all
}

// delays are how long pages took from their commit until PagerDuty and the webhook had them.
func (a *alarm) delays() string {
	var all []time.Duration
	for _, tr := range a.ledger() {
		for _, m := range tr.messages {
			if m.receiver == hook && m.action == "trigger" {
				a.r.mu.Lock()
				if got := a.r.hooks[m.key]; got != nil {
					all = append(all, got.at.Sub(m.created))
				}
				a.r.mu.Unlock()
			}
		}
	}
	if len(all) == 0 {
		return "nothing was told"
	}
	slices.Sort(all)
	at := func(share float64) time.Duration { return all[int(share*float64(len(all)-1))].Round(time.Millisecond) }
	return fmt.Sprintf("from commit to acceptance of %d pages: p50 %s, p99 %s, most %s", len(all), at(0.5), at(0.99), at(1))
}

// TestAlertsSurviveKills lets jobs and boxes be bad while receivers misbehave and processes are killed.
func TestAlertsSurviveKills(t *testing.T) {
	p, alerts := readPlan(t), alertsPlan(t)
	t.Run("everything embedded", func(t *testing.T) { embeddedAlerts(t, p.seed, (alerts+1)/2, alerts >= longAlerts) })
	t.Run("roles apart", func(t *testing.T) { apartAlerts(t, p.seed+1, alerts/2, alerts >= longAlerts) })
}

func embeddedAlerts(t *testing.T, seed uint64, alerts int, long bool) {
	r := newReceivers(t, seed)
	s := newServer(t, "up")
	s.env = append(s.env, r.environment()...)
	s.start()
	s.awaitReady()
	a := newAlarm(t, r, catalog.Config{Path: filepath.Join(s.dir, "catalog.sqlite")}, s.http, s.otlp)
	a.torment(seed, alerts, long, []victim{{"midwatch", func() { s.kill(); s.start() }}}, s.awaitReady)
}

func apartAlerts(t *testing.T, seed uint64, alerts int, long bool) {
	d := newDistributed(t, newReceivers(t, seed))
	victims := []victim{
		{"the first replica", func() { d.alerting[0].kill(); d.alerting[0].start() }},
		{"the second replica", func() { d.alerting[1].kill(); d.alerting[1].start() }},
		{"PostgreSQL", func() { d.postgres.kill(); d.postgres.start(); d.postgres.await() }},
	}
	d.torment(seed, alerts, long, victims, d.awaitReady)
}

// distributed is roles in processes of their own, as many as alerting needs, and servers for them.
type distributed struct {
	*alarm
	alerting []*server
	others   []*server
	postgres *postgresProcess
}

func newDistributed(t *testing.T, r *receivers) *distributed {
	t.Helper()
	bin := postgresPrograms()
	if bin == "" {
		t.Skip("NOT TESTED ON POSTGRESQL: there is no initdb, on PATH or where Debian has it")
	}
	d := &distributed{postgres: startPostgres(t, bin)}
	servers := slices.Concat([]string{"MIDWATCH_DATABASE_URL=" + d.postgres.url, "MIDWATCH_CLICKHOUSE_URL=" + storagetest.EngineURL(t)},
		natsServer(t), redisServer(t), r.environment())
	role, _ := apart(t, servers)
	pings, metrics := role("ingest-checkins"), role("ingest-metrics")
	d.others = []*server{pings, metrics, role("writer")}
	d.alerting = []*server{role("alerting"), role("alerting")}
	d.awaitReady()
	d.alarm = newAlarm(t, r, catalog.Config{URL: d.postgres.url}, pings.http, metrics.otlp)
	return d
}

func (d *distributed) awaitReady() {
	for _, s := range slices.Concat(d.alerting, d.others) {
		s.awaitReady()
	}
}

// owners are how many replicas hold shards by leases that last, and how many shards that is.
func (d *distributed) owners() (owners, shards int) {
	ctx, cancel := context.WithTimeout(d.t.Context(), 5*time.Second)
	defer cancel()
	err := d.sql.QueryRowContext(ctx, `SELECT count(DISTINCT owner), count(*) FROM alert_shards WHERE lease_until > $1`, time.Now().UnixNano()).Scan(&owners, &shards)
	if err != nil {
		return 0, 0
	}
	return owners, shards
}

// awaitOwners waits until so many replicas hold all shards.
func (d *distributed) awaitOwners(n int) {
	d.t.Helper()
	awaitFor(d.t, 2*time.Minute, fmt.Sprintf("%d owners of all shards", n), func() error {
		if owners, shards := d.owners(); owners != n || shards != evaluate.Shards {
			return fmt.Errorf("%d owners of %d shards", owners, shards)
		}
		return nil
	})
}

// awaitBoxes waits until PagerDuty has opened the incidents of the boxes so many times.
func (d *distributed) awaitBoxes(n int) {
	d.t.Helper()
	awaitFor(d.t, 3*time.Minute, "the pages of all boxes", func() error {
		if shown := d.r.showings("boxes"); shown < n {
			return fmt.Errorf("%d of %d", shown, n)
		}
		return nil
	})
}

func (d *distributed) awaitGoodBoxes() {
	d.t.Helper()
	awaitFor(d.t, 3*time.Minute, "the end of all troubles", func() error {
		if !d.boxesAreGood() {
			return errors.New("boxes are bad")
		}
		return nil
	})
}

// TestShardsChangeTheirOwner kills a replica while what it evaluates becomes bad, and freezes one.
func TestShardsChangeTheirOwner(t *testing.T) {
	const projects, each, all = 6, 5, 30
	if alertsPlan(t) < longAlerts {
		t.Skip("leases take their time: `make chaos` runs it")
	}
	d := newDistributed(t, newReceivers(t, 1))
	keys := []string{key}
	db, err := catalog.Open(t.Context(), d.cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	d.boxRule(1, "10s")
	for i := 1; i < projects; i++ {
		p, err := db.CreateProject(t.Context(), d.org, fmt.Sprint("p", i), fmt.Sprint("P", i))
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, p.IngestKey)
		d.boxRule(p.Number, "10s")
	}
	for _, k := range keys {
		d.pushBoxes(each, k)
	}
	d.awaitOwners(2)

	// kill -9, while all is getting bad.
	d.value.Store(100)
	d.alerting[0].kill()
	d.kills++
	killed := time.Now()
	d.awaitOwners(1)
	t.Logf("the shards of the killed replica have a new owner after %s", time.Since(killed).Round(100*time.Millisecond))
	d.awaitBoxes(all)
	t.Logf("all of %d boxes were paged %s after they became bad", all, time.Since(killed).Round(time.Second))
	d.alerting[0].start()
	d.awaitOwners(2)
	d.value.Store(0)
	d.awaitGoodBoxes()

	// R17: an owner that stands still while another one does its work.
	frozen := d.alerting[1].cmd.Process
	if err := frozen.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	stopped := time.Now()
	d.value.Store(100)
	d.awaitOwners(1)
	t.Logf("the shards of the frozen replica have a new owner after %s", time.Since(stopped).Round(100*time.Millisecond))
	d.awaitBoxes(2 * all)
	d.wait(time.Until(stopped.Add(40*time.Second)), func() bool { return false })
	if err := frozen.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	d.awaitOwners(2)
	d.value.Store(0)
	d.awaitGoodBoxes()
	d.bad = 2 * all
	d.settle()
	d.verify()
	accounts, err := db.Accounts(t.Context(), d.began.Add(-time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	var sum catalog.Account
	for _, a := range accounts {
		sum.Due, sum.Done, sum.Held, sum.Failed = sum.Due+a.Due, sum.Done+a.Done, sum.Held+a.Held, sum.Failed+a.Failed
	}
	t.Logf("slots in the accounts: %d due, %d done, %d held, %d failed", sum.Due, sum.Done, sum.Held, sum.Failed)
	if sum.Done == 0 || sum.Failed > 0 {
		t.Errorf("%d slots are done, %d failed", sum.Done, sum.Failed)
	}
}

// TestStormIsFoldedAcrossAKill has many pages at once for a receiver that takes few.
func TestStormIsFoldedAcrossAKill(t *testing.T) {
	const storm, limit = 60, 10
	r := newReceivers(t, 2)
	s := newServer(t, "up")
	s.env = append(s.env, r.environment()...)
	s.start()
	s.awaitReady()
	a := newAlarm(t, r, catalog.Config{Path: filepath.Join(s.dir, "catalog.sqlite")}, s.http, s.otlp)
	a.put(incident.DocReceiver, 0, pager, map[string]any{
		"name": "pager", "kind": "pagerduty", "limit": map[string]any{"count": limit, "per": "5m"},
		"settings": map[string]any{"routing_key": routingKey, "endpoint": r.http.URL + "/pagerduty"},
	})
	for i := range storm {
		a.ping(fmt.Sprintf("storm-%02d/fail?create=1", i))
		if i == storm/2 {
			s.kill()
			s.start()
		}
	}
	s.awaitReady()
	await(t, "the webhook to hear of all", func() error {
		r.mu.Lock()
		defer r.mu.Unlock()
		if len(r.hooks) < storm {
			return fmt.Errorf("%d of %d", len(r.hooks), storm)
		}
		return nil
	})
	for i := range storm {
		a.ping(fmt.Sprintf("storm-%02d", i))
	}
	a.settle()
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.pages); n < 2 || n > limit+1 {
		t.Errorf("PagerDuty was told of %d incidents, want up to %d and the fold", n, limit)
	}
	for id, p := range r.pages {
		if p.open {
			t.Errorf("%s is still open", id)
		}
	}
}

// victim is something that is killed and comes back.
type victim struct {
	name string
	kill func()
}

// torment makes troubles, kills at random until they are over, and verifies.
func (a *alarm) torment(seed uint64, alerts int, long bool, victims []victim, back func()) {
	a.t.Helper()
	rng := rand.New(rand.NewPCG(seed, 5))
	times, pause, most := max(alerts/jobWorkers, 1), 4*time.Second, 3
	if long {
		pause, most = 3*pause, 1000
		// First without faults, to take the time.
		a.jobs("calm", 10, max(times/4, 3), seed+7)
		a.troubles.Wait()
		a.t.Log(a.delays())
		a.boxRule(1, "30s")
		a.pushBoxes(boxes, key)
		a.boxRounds(max(min(alerts/1000, 3), 1))
	}
	a.r.behave(false)
	a.jobs("job", jobWorkers, times, seed)
	over := make(chan struct{})
	go func() { defer close(over); a.troubles.Wait() }()
	for going := true; going; {
		select {
		case <-over:
			going = false
			continue
		case <-time.After(pause/2 + time.Duration(rng.Int64N(int64(pause)))):
		}
		if a.kills < most {
			v := victims[rng.IntN(len(victims))]
			a.kills++
			v.kill()
			a.t.Logf("after %s: killed %s; %d alerts are over", time.Since(a.began).Round(time.Second), v.name, a.done.Load())
		}
	}
	a.r.behave(true)
	back()
	a.settle()
	a.verify()
}
