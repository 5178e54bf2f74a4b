package alerting

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/midwatch/midwatch/alerts/evaluate"
	"github.com/midwatch/midwatch/alerts/incident"
	"github.com/midwatch/midwatch/alerts/rule"
	"github.com/midwatch/midwatch/storage/catalog"
)

const (
	lookInterval      = 15 * time.Second
	heartbeatInterval = time.Minute
	heartbeatTimeout  = 10 * time.Second
	// accountsFor is over how long slots are counted; those of the newest accounts may still wait for
	// their data, and so are not missed yet.
	accountsFor = 5 * time.Minute
	accountsNew = 2 * time.Minute
	// fewSlots is how many slots are too few to speak of shares.
	fewSlots = 10
	// maxBlind is the share of slots without a verdict from which alerting is blind, maxMissing that of
	// slots of which nothing is known: a replica that is killed loses the counts of a minute.
	maxBlind   = 0.2
	maxMissing = 0.1
	// cursorSaved is how far the kept cursor of a rule may be behind the one in memory, and
	// lagPatience how long a slot waits for late data.
	cursorSaved = 5 * time.Minute
	lagPatience = 2 * time.Minute
	// pagePatience is how soon a sender must have taken up a page.
	pagePatience = 2 * time.Minute
	// loopPatience is how long a loop of this process may be silent.
	loopPatience = time.Minute
	// tellAfter is how long it must be unhealthy for people to be told.
	tellAfter = 2 * time.Minute
	// staleAfter is for how long a judgement counts.
	staleAfter = time.Minute
	// maxProblems bounds what is said of one look.
	maxProblems = 20
)

// Lag is a rule that is not evaluated in time.
type Lag struct {
	Project uint32
	Rule    string
	Behind  time.Duration // beyond what is usual for it
}

// Facts are what the health of alerting is judged by.
type Facts struct {
	Now time.Time
	// Rules is how many are evaluated. Without any there is nothing to be late with.
	Rules int
	// Accounts are those of the last minutes, of all replicas.
	Accounts []catalog.Account
	// Lags are the rules that are late, the worst first.
	Lags []Lag
	// Canaries are those of all shards, the one that has been away for longest first.
	Canaries []Canary
	// Page is the oldest page that no sender has taken up.
	Page catalog.Overdue
	// Loops says when each loop of this process was last seen at work.
	Loops map[string]time.Time
	// Drill is the newest fire drill; its zero value is none.
	Drill Drill
}

// Problem is one reason why alerting cannot be relied upon.
type Problem struct {
	Text string
	// Everybody says that all rules are affected, Projects which are otherwise.
	Everybody bool
	Projects  []uint32
}

// Judge returns what is wrong, the same for the same facts.
func Judge(f Facts) []Problem {
	var problems []Problem
	everybody := func(format string, args ...any) {
		problems = append(problems, Problem{Text: fmt.Sprintf(format, args...), Everybody: true})
	}
	if f.Rules > 0 {
		var due, old, settled, blind int64
		for _, a := range f.Accounts {
			due += a.Due
			settled += a.Done + a.Held + a.Failed
			blind += a.Held + a.Failed
			if a.Minute.Before(f.Now.Add(-accountsNew - time.Minute)) {
				old += a.Due
			}
		}
		if missing := old - settled; missing > 1 && float64(missing) > maxMissing*float64(old) {
			everybody("%d of %d slots were not evaluated", missing, due)
		}
		if settled >= fewSlots && float64(blind) > maxBlind*float64(settled) {
			everybody("%d of %d slots could not be judged: their data is late or cannot be read", blind, settled)
		}
	}
	if len(f.Lags) > 0 {
		p := Problem{Text: fmt.Sprintf("%s of project %d is %s behind", f.Lags[0].Rule, f.Lags[0].Project, f.Lags[0].Behind.Round(time.Second))}
		if n := len(f.Lags); n > 1 {
			p.Text = fmt.Sprintf("%d rules are late, the worst: %s", n, p.Text)
		}
		for _, l := range f.Lags {
			if !slices.Contains(p.Projects, l.Project) {
				p.Projects = append(p.Projects, l.Project)
			}
		}
		problems = append(problems, p)
	}
	if p, ok := lost(f.Canaries); ok {
		problems = append(problems, p)
	}
	if wait := f.Now.Sub(f.Page.Since); !f.Page.Since.IsZero() && wait > pagePatience {
		everybody("a page has waited for %s, and nobody sends it", wait.Round(time.Second))
	}
	for _, name := range sortedLoops(f.Loops) {
		if silent := f.Now.Sub(f.Loops[name]); silent > loopPatience {
			problems = append(problems, Problem{Text: fmt.Sprintf("the loop %q of this process has not worked for %s", name, silent.Round(time.Second))})
		}
	}
	if f.Drill.failed() {
		problems = append(problems, Problem{Text: f.Drill.Message})
	}
	return problems[:min(len(problems), maxProblems)]
}

func sortedLoops(loops map[string]time.Time) []string {
	names := make([]string, 0, len(loops))
	for name := range loops {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Health is a judgement.
type Health struct {
	Healthy   bool      `json:"healthy"`
	Problems  []string  `json:"problems"`
	Since     time.Time `json:"since"` // of being so
	CheckedAt time.Time `json:"checked_at"`
	Rules     int       `json:"rules"`
	// LagSeconds is how far the worst rule is behind, PageSeconds how long a page has waited for a
	// sender.
	LagSeconds  float64 `json:"lag_seconds"`
	PageSeconds float64 `json:"oldest_undelivered_page_seconds"`
	// CanarySeconds is for how long the canary of a shard has been away, the longest of all.
	CanarySeconds float64 `json:"oldest_canary_seconds"`
	LastDrill     *Drill  `json:"last_drill,omitempty"`
}

// watcher judges the health of alerting, says so, and keeps the switch from falling.
type watcher struct {
	url     string // of the switch
	replica string
	db      *catalog.DB
	http    *http.Client
	log     *slog.Logger

	healthy metric.Int64Gauge
	lag     metric.Float64Gauge
	page    metric.Float64Gauge
	canary  metric.Float64Gauge

	mu    sync.Mutex
	loops map[string]time.Time
	last  Health

	// The rest belongs to the loop that looks.
	roster roster
	began  time.Time // of the first look
	told   bool      // people know that it is unhealthy
	looked bool      // at what was told before this process began
	// perches are those of the shards, which were last seen at sawAt and have been without a break since
	// sawSince.
	perches         [evaluate.Shards]perch
	sawAt, sawSince time.Time
}

func newWatcher(url, replica string, db *catalog.DB, meter metric.Meter, log *slog.Logger) (*watcher, error) {
	w := &watcher{url: url, replica: replica, db: db, log: log, loops: map[string]time.Time{}, http: &http.Client{Timeout: heartbeatTimeout}}
	var errs [4]error
	w.healthy, errs[0] = meter.Int64Gauge("midwatch.alerting.healthy", metric.WithDescription("1 while alerting can be relied upon, else 0"))
	w.lag, errs[1] = meter.Float64Gauge("midwatch.alerting.lag", metric.WithUnit("s"), metric.WithDescription("How far the worst rule is behind"))
	w.page, errs[2] = meter.Float64Gauge("midwatch.alerting.oldest_undelivered_page", metric.WithUnit("s"),
		metric.WithDescription("For how long a page has waited for a sender"))
	w.canary, errs[3] = meter.Float64Gauge("midwatch.alerting.oldest_canary", metric.WithUnit("s"),
		metric.WithDescription("For how long the canary of a shard has been away, the longest of all shards"))
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("make health metrics: %w", err)
	}
	return w, nil
}

// seen notes that a loop of this process is at work.
func (w *watcher) seen(loop string, at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.loops[loop] = at
}

// Health returns the newest judgement. One that is old is none: whoever judges stands still.
func (w *watcher) Health(now time.Time) Health {
	w.mu.Lock()
	defer w.mu.Unlock()
	h := w.last
	switch {
	case h.CheckedAt.IsZero():
		h.Healthy, h.Problems = false, []string{"alerting has not been looked at yet"}
	case now.Sub(h.CheckedAt) > staleAfter:
		h.Healthy = false
		h.Problems = append(slices.Clone(h.Problems), fmt.Sprintf("alerting was last looked at %s ago", now.Sub(h.CheckedAt).Round(time.Second)))
	}
	return h
}

// look judges, and tells people what has changed.
func (w *watcher) look(ctx context.Context, now time.Time) error {
	f, err := w.facts(ctx, now)
	var problems []Problem
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		w.log.Warn("alerting cannot be judged", "err", err)
		problems = []Problem{{Text: "the database does not say how alerting is", Everybody: true}}
	} else {
		problems = Judge(f)
	}
	h := w.keep(ctx, f, problems, now)
	if err != nil {
		return nil // nobody can be told either
	}
	return w.tell(ctx, h, problems, now)
}

// keep remembers a judgement.
func (w *watcher) keep(ctx context.Context, f Facts, problems []Problem, now time.Time) Health {
	h := Health{Healthy: len(problems) == 0, Problems: []string{}, Since: now, CheckedAt: now, Rules: f.Rules}
	for _, p := range problems {
		h.Problems = append(h.Problems, p.Text)
	}
	if len(f.Lags) > 0 {
		h.LagSeconds = f.Lags[0].Behind.Seconds()
	}
	if !f.Page.Since.IsZero() {
		h.PageSeconds = max(now.Sub(f.Page.Since).Seconds(), 0)
	}
	if len(f.Canaries) > 0 {
		h.CanarySeconds = f.Canaries[0].Away.Seconds()
	}
	if !f.Drill.At.IsZero() {
		h.LastDrill = &f.Drill
	}
	w.mu.Lock()
	if w.last.Healthy == h.Healthy && !w.last.Since.IsZero() {
		h.Since = w.last.Since
	}
	w.last = h
	w.mu.Unlock()
	value := int64(0)
	if h.Healthy {
		value = 1
	}
	w.healthy.Record(ctx, value)
	w.lag.Record(ctx, h.LagSeconds)
	w.page.Record(ctx, h.PageSeconds)
	w.canary.Record(ctx, h.CanarySeconds)
	return h
}

// facts reads what is to be judged.
func (w *watcher) facts(ctx context.Context, now time.Time) (Facts, error) {
	f := Facts{Now: now, Loops: map[string]time.Time{}}
	w.mu.Lock()
	maps.Copy(f.Loops, w.loops)
	w.mu.Unlock()
	if w.began.IsZero() {
		w.began = now
	}
	beat, err := w.db.ReplicaBeat(ctx, w.replica)
	if err != nil {
		return f, err
	}
	if beat.Before(w.began) {
		beat = w.began
	}
	f.Loops["evaluator"] = beat
	for _, name := range []string{"sender", "incidents"} {
		if f.Loops[name].IsZero() {
			f.Loops[name] = w.began // it may never have begun
		}
	}
	if err := w.roster.read(ctx, w.db); err != nil {
		return f, err
	}
	f.Rules = len(w.roster.rules)
	if f.Accounts, err = w.db.Accounts(ctx, now.Add(-accountsFor-time.Minute)); err != nil {
		return f, err
	}
	if f.Lags, err = w.lags(ctx, now); err != nil {
		return f, err
	}
	if f.Canaries, err = w.canaries(ctx, now); err != nil {
		return f, err
	}
	if f.Page, err = w.db.OldestUndeliveredPage(ctx, now); err != nil {
		return f, err
	}
	f.Drill, err = LastDrill(ctx, w.db, now)
	return f, err
}

// lags are the rules whose cursors are older than they should be.
func (w *watcher) lags(ctx context.Context, now time.Time) ([]Lag, error) {
	cursors, err := w.db.RuleCursors(ctx)
	if err != nil {
		return nil, err
	}
	at := make(map[ruleKey]time.Time, len(cursors))
	for _, c := range cursors {
		at[ruleKey{c.Project, c.Rule}] = c.Cursor
	}
	var late []Lag
	for key, one := range w.roster.rules {
		cursor := at[key]
		if cursor.Before(one.since) {
			cursor = one.since // it has only just been written
		}
		if behind := now.Sub(cursor) - one.usual; behind > 0 {
			late = append(late, Lag{key.project, key.rule, behind})
		}
	}
	slices.SortFunc(late, func(a, b Lag) int {
		return cmp.Or(cmp.Compare(b.Behind, a.Behind), cmp.Compare(a.Project, b.Project), strings.Compare(a.Rule, b.Rule))
	})
	return late, nil
}

type ruleKey struct {
	project uint32
	rule    string
}

// roster is the rules that are evaluated, as of a version of the documents.
type roster struct {
	version int64
	rules   map[ruleKey]watchedRule
	paging  []uint32 // projects with rules that wake people
}

type watchedRule struct {
	since time.Time     // when it was last changed
	usual time.Duration // how old its kept cursor may be
}

func (w *roster) read(ctx context.Context, db *catalog.DB) error {
	version, err := db.DocumentsVersion(ctx)
	if err != nil || w.rules != nil && version == w.version {
		return err
	}
	documents, err := db.AllDocuments(ctx, incident.DocRule)
	if err != nil {
		return err
	}
	w.version, w.rules, w.paging = version, map[ruleKey]watchedRule{}, nil
	for _, d := range documents {
		r, ok := live(d)
		if !ok {
			continue
		}
		if r.Pages() && !slices.Contains(w.paging, d.Project) {
			w.paging = append(w.paging, d.Project)
		}
		if _, err := evaluate.NewPlan(d.Organisation, d.Project, d.Version, r); err != nil {
			continue // it is judged elsewhere, or cannot be, which its owner is told
		}
		interval, delay := time.Duration(r.Interval)*time.Second, time.Duration(r.Delay)*time.Second
		w.rules[ruleKey{d.Project, d.ID}] = watchedRule{d.UpdatedAt, cursorSaved + lagPatience + 2*interval + delay}
	}
	slices.Sort(w.paging)
	return nil
}

// live reads a rule that is evaluated and tells people.
func live(d catalog.Document) (rule.Rule, bool) {
	r, err := rule.Parse(d.Body)
	if err != nil {
		return r, false
	}
	r.ID = d.ID
	r = r.WithDefaults()
	return r, r.State == rule.Live
}

// The notices about the health of alerting: one for the operator, one for those who rely on it.
const (
	noticeHealth = "alerting_health"
	noticeBlind  = "alerting_blind"
)

// told is what a notice about health keeps of it. Who else is affected is only the operator's to know.
type told struct {
	Open     bool      `json:"open"`
	Since    time.Time `json:"since"`
	Problems []string  `json:"problems,omitempty"`
	Projects []uint32  `json:"projects,omitempty"`
}

// tell writes notices once it has been unhealthy for a while, and replaces them once it is not.
func (w *watcher) tell(ctx context.Context, h Health, problems []Problem, now time.Time) error {
	switch {
	case !h.Healthy && !w.told && now.Sub(h.Since) >= tellAfter:
		projects := w.affected(problems)
		state := told{true, h.Since, h.Problems, projects}
		if err := w.notice(ctx, noticeHealth, "Alerting is unhealthy since "+clockText(h.Since)+": "+strings.Join(h.Problems, "; "), state, nil, now); err != nil {
			return err
		}
		if len(projects) > 0 {
			text := "Alerting is blind since " + clockText(h.Since) + ": pages may come late. Look at your services yourself until it works again."
			if err := w.notice(ctx, noticeBlind, text, told{Open: true, Since: h.Since}, projects, now); err != nil {
				return err
			}
		}
		w.told, w.looked = true, true
	case h.Healthy && (w.told || !w.looked):
		if err := w.close(ctx, now); err != nil {
			return err
		}
		w.told, w.looked = false, true
	}
	return nil
}

// affected are the projects that rely on what does not work.
func (w *watcher) affected(problems []Problem) []uint32 {
	var all []uint32
	for _, p := range problems {
		if p.Everybody {
			return w.roster.paging
		}
		for _, number := range p.Projects {
			if slices.Contains(w.roster.paging, number) && !slices.Contains(all, number) {
				all = append(all, number)
			}
		}
	}
	slices.Sort(all)
	return all
}

// close replaces what was told before, be it by another process.
func (w *watcher) close(ctx context.Context, now time.Time) error {
	notices, err := w.db.Notices(ctx, 0, now.AddDate(0, 0, -30))
	if err != nil {
		return err
	}
	for _, n := range notices {
		var state told
		if n.Kind != noticeHealth || json.Unmarshal([]byte(n.Details), &state) != nil || !state.Open {
			continue
		}
		state.Open = false
		while := " from " + clockText(state.Since) + " to " + clockText(now) + ". It works again."
		if len(state.Projects) > 0 {
			if err := w.notice(ctx, noticeBlind, "Alerting was blind"+while, told{Since: state.Since}, state.Projects, now); err != nil {
				return err
			}
		}
		if err := w.notice(ctx, noticeHealth, "Alerting was unhealthy"+while, state, nil, now); err != nil {
			return err
		}
	}
	return nil
}

func (w *watcher) notice(ctx context.Context, kind, text string, state told, projects []uint32, now time.Time) error {
	details, err := json.Marshal(state)
	if err != nil {
		return fmt.Errorf("write a notice: %w", err)
	}
	return w.db.AddNotice(ctx, catalog.Notice{Kind: kind, At: now, Message: text, Details: string(details)}, projects)
}

func clockText(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

// beat keeps the switch from falling, as long as alerting can be relied upon. A switch that does not
// answer is nobody's trouble here: whoever is behind it will ask why.
func (w *watcher) beat(ctx context.Context, now time.Time) error {
	if w.url == "" || !w.Health(now).Healthy {
		return nil
	}
	err := w.ping(ctx)
	if err != nil && ctx.Err() == nil {
		err = w.ping(ctx)
	}
	if err != nil && ctx.Err() == nil {
		w.log.Warn("the dead man's switch does not answer", "err", err)
	}
	return nil
}

func (w *watcher) ping(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url, nil)
	if err != nil {
		return errors.New("its address is none")
	}
	request.Header.Set("User-Agent", "midwatch")
	answer, err := w.http.Do(request)
	if err != nil {
		return unaddressed(err)
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, io.LimitReader(answer.Body, 64<<10)); err != nil {
		return fmt.Errorf("read its answer: %w", err)
	}
	if answer.StatusCode >= http.StatusMultipleChoices {
		return fmt.Errorf("it answers %s", answer.Status)
	}
	return nil
}

// ServeHTTP answers 200 while alerting can be relied upon and 503 otherwise, with the Health as JSON.
func (w *watcher) ServeHTTP(out http.ResponseWriter, _ *http.Request) {
	h := w.Health(time.Now().UTC())
	status := http.StatusOK
	if !h.Healthy {
		status = http.StatusServiceUnavailable
	}
	answer(out, status, h)
}

func answer(out http.ResponseWriter, status int, body any) {
	out.Header().Set("Content-Type", "application/json")
	out.Header().Set("Cache-Control", "no-store")
	out.Header().Set("X-Content-Type-Options", "nosniff")
	out.WriteHeader(status)
	_ = json.NewEncoder(out).Encode(body) // whoever asked may have gone
}
