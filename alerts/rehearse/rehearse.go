// Package rehearse says what a rule would have done: it puts the past of a project through the code
// that evaluates rules live.
package rehearse

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/midwatch/midwatch/alerts/evaluate"
	"github.com/midwatch/midwatch/alerts/incident"
	"github.com/midwatch/midwatch/alerts/oncall"
	"github.com/midwatch/midwatch/alerts/rule"
	"github.com/midwatch/midwatch/alerts/schedule"
	"github.com/midwatch/midwatch/storage/catalog"
	"github.com/midwatch/midwatch/storage/telemetry"
)

const (
	// MaxDays is how far back a rehearsal looks.
	MaxDays = 30

	// A chunk is what is read at once: as many slots as make about maxCells numbers, an hour at least
	// and a day at most.
	shortChunk, longChunk = 3600, 86_400
	maxCells              = 300_000

	maxFirings   = 500
	maxIncidents = 200
	maxPoints    = 500
	maxSeries    = 8

	// groupWait is how long a ticket waits: one that has healed by then is none.
	groupWait = 5 * time.Minute
	// A rule that fires this much before people opened an incident has caught it, too.
	catchEarly = 15 * time.Minute
	nightFrom  = 22
	nightTo    = 7
)

// Result is what a rule would have done.
type Result struct {
	TookMS int64     `json:"took_ms"`
	From   time.Time `json:"from"`
	To     time.Time `json:"to"`
	// Pages, Tickets and Mails are what people would have been sent, by incident: what fires together
	// is told together. Night is from 22 to 7 by the clock of the team.
	Pages        int `json:"pages"`
	PagesAtNight int `json:"pages_at_night"`
	Tickets      int `json:"tickets"`
	Mails        int `json:"mails"`
	// SelfResolved healed before anybody would have been told. Held waited for the end of quiet hours.
	SelfResolved int        `json:"self_resolved"`
	Held         int        `json:"held"`
	Days         []Day      `json:"days"`
	Incidents    []Incident `json:"incidents"`
	Firings      []Firing   `json:"firings"` // newest first
	Series       []Series   `json:"series"`
	// Threshold is that of the worst level, nil where the kind has limits of its own.
	Threshold *float64 `json:"threshold"`
	Heat      Heat     `json:"heat"`
	// Problems are the caller's to fill in.
	Problems []rule.Problem `json:"problems"`
}

// Day counts what people would have been sent on a day of the team's zone.
type Day struct {
	Date    string `json:"date"`
	Pages   int    `json:"pages"`
	Tickets int    `json:"tickets"`
	Mails   int    `json:"mails"`
}

// Incident is one that there was, and whether the rule would have told of it.
type Incident struct {
	ID     string    `json:"id"`
	Title  string    `json:"title"`
	From   time.Time `json:"from"`
	To     time.Time `json:"to"`
	Caught bool      `json:"caught"`
	// After is how long after its begin, negative for before.
	After int64 `json:"after_seconds"`
}

// Firing is an instance.
type Firing struct {
	Group  string    `json:"group"`
	Level  string    `json:"level"`
	From   time.Time `json:"from"` // when it fires
	To     time.Time `json:"to"`
	Worst  float64   `json:"worst"`
	Reason string    `json:"reason"`
}

// Series is the value of a group, for a chart: milliseconds and the worst value of a stretch.
type Series struct {
	Group  string       `json:"group"`
	Points [][2]float64 `json:"points"`
}

// Heat says how many pages other limits would have made: for each threshold (rows) and hold in
// seconds (columns).
type Heat struct {
	Thresholds []float64 `json:"thresholds"`
	Holds      []int64   `json:"holds"`
	Pages      [][]int   `json:"pages"`
}

// Rehearse puts a rule through the days before now. Beyond what is read it changes nothing. The
// errors of what cannot be evaluated are those of telemetry.
func Rehearse(ctx context.Context, store *telemetry.Store, db *catalog.DB, project catalog.Project, r rule.Rule, days int, book *incident.Book, now time.Time) (Result, error) {
	began := time.Now()
	p, err := evaluate.NewPlan(project.OrganisationID, project.Number, 0, r)
	if err != nil {
		return Result{}, &telemetry.InvalidError{Message: "the rule cannot be rehearsed: " + err.Error()}
	}
	switch r.Kind {
	case rule.IssueNew:
		return Result{}, &telemetry.InvalidError{Message: "a rule on new issues is one mail for each of them: there is nothing to rehearse"}
	case rule.IssueRegression:
		return Result{}, &telemetry.InvalidError{Message: "a rule on issues that are back is one mail for each of them, and of an issue only its newest return is kept: there is nothing to rehearse"}
	}
	days = min(max(days, 1), MaxDays)
	to := now.Unix()
	s := &show{
		plan: p, book: book, from: to - int64(days)*longChunk, to: to, zone: time.UTC,
		counted: map[string]int{}, open: map[string]*Firing{}, days: map[string]*Day{},
		result: Result{Days: []Day{}, Incidents: []Incident{}, Firings: []Firing{}, Series: []Series{}, Problems: []rule.Problem{}},
	}
	s.result.From, s.result.To = time.Unix(s.from, 0).UTC(), now.UTC()
	s.team = book.Teams[s.place(nil).Team].WithDefaults()
	if zone, err := schedule.Zone(s.team.Zone); err == nil {
		s.zone = zone
	}
	s.heat = newHeat(p)
	s.chart = newChart(p, s.from, s.to)
	around, err := p.Around(ctx, db, s.result.From, now)
	if err != nil {
		return Result{}, err
	}
	if err := s.play(ctx, evaluate.NewReader(store, project.Number), around); err != nil {
		return Result{}, err
	}
	if err := s.compare(ctx, db, project); err != nil {
		return Result{}, err
	}
	s.finish()
	s.result.TookMS = time.Since(began).Milliseconds()
	return s.result, nil
}

// show is a rehearsal that is going on.
type show struct {
	plan     *evaluate.Plan
	book     *incident.Book
	team     oncall.Team
	zone     *time.Location
	from, to int64

	result Result
	heat   *heatMap
	chart  *chart
	// counted is how many instances of an incident are open, by what groups them.
	counted map[string]int
	open    map[string]*Firing
	days    map[string]*Day
	fired   []Firing
}

// play steps the rule through its slots, a chunk at a time. The next chunk is read meanwhile.
func (s *show) play(ctx context.Context, reader *evaluate.Reader, around evaluate.Surroundings) error {
	reader.Patient = true
	ctx, cancel := context.WithCancel(ctx)
	chunks := make(chan *evaluate.Table)
	var failed error
	var reading sync.WaitGroup
	reading.Go(func() {
		defer close(chunks)
		failed = s.read(ctx, reader, chunks)
	})
	defer reading.Wait()
	defer cancel()
	m := evaluate.NewMemory(s.plan.Slot(s.from))
	var happened []evaluate.Happened
	for t := range chunks {
		for i := range t.Slots {
			happened = s.plan.Step(m, t, i, around, happened[:0])
			for _, h := range happened {
				s.note(h)
			}
		}
		s.heat.add(t)
		s.chart.add(t)
	}
	return failed
}

// read reads the slots, as many at once as their groups allow.
func (s *show) read(ctx context.Context, reader *evaluate.Reader, chunks chan<- *evaluate.Table) error {
	p := s.plan
	interval := int64(p.Rule.Interval)
	length := int64(longChunk)
	if len(p.Rule.Query.By) > 0 {
		length = shortChunk // until it is known how many groups there are
	}
	for first := p.Slot(s.from) + interval; first <= s.to; {
		slots := min(max(length/interval, 1), (p.Slot(s.to)-first)/interval+1)
		tables, err := reader.Read(ctx, []evaluate.Ask{{Plan: p, First: first, Slots: int(slots)}})
		if err != nil {
			return err
		}
		t := &tables[0]
		if t.Err != nil {
			return t.Err
		}
		select {
		case chunks <- t:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		first += slots * interval
		length = min(max(maxCells*interval/int64(max(t.Width(), 1)), shortChunk), longChunk)
	}
	return nil
}

func (s *show) place(labels map[string]string) incident.Place {
	return s.book.Places(incident.Instance{Team: s.plan.Rule.Team, Labels: labels})[0]
}

// note takes in what happened to a group.
func (s *show) note(h evaluate.Happened) {
	e := h.Event
	if e.Muted {
		return
	}
	key := fmt.Sprint(e.Level, "/", h.Key)
	switch {
	case e.Kind.Trigger():
		in := s.plan.Instance(h)
		f := &Firing{Group: strings.Join(h.Values, ", "), Level: s.plan.Rule.Levels[e.Level].Name, From: in.FiredAt, Worst: e.Worst}
		s.open[key] = f
		route := s.route(in)
		if s.counted[route]++; s.counted[route] == 1 {
			s.tell(in)
		}
	case e.Kind == rule.EventResolved:
		f := s.open[key]
		if f == nil {
			return
		}
		delete(s.open, key)
		in := s.plan.Instance(h)
		f.To, f.Worst, f.Reason = time.Unix(e.Slot, 0).UTC(), e.Worst, string(e.Reason)
		s.keep(*f)
		route := s.route(in)
		s.counted[route] = max(s.counted[route]-1, 0)
		if in.Severity != rule.Page && f.To.Sub(f.From) < groupWait {
			s.result.SelfResolved++
		}
	case e.Kind == rule.EventTransient:
		s.result.SelfResolved++
	}
}

// route names the incident that an instance belongs to.
func (s *show) route(in incident.Instance) string {
	var values []string
	for _, label := range s.place(in.Labels).GroupBy {
		values = append(values, in.Labels[label])
	}
	return strings.Join(values, "\x00")
}

// tell counts a message.
func (s *show) tell(in incident.Instance) {
	local := in.FiredAt.In(s.zone)
	day := s.days[local.Format(time.DateOnly)]
	if day == nil {
		day = &Day{Date: local.Format(time.DateOnly)}
		s.days[day.Date] = day
	}
	_, quiet := s.team.Quiet(in.FiredAt)
	switch in.Severity {
	case rule.Page:
		s.result.Pages++
		day.Pages++
		if h := local.Hour(); h >= nightFrom || h < nightTo {
			s.result.PagesAtNight++
		}
		quiet = quiet && in.Quiet
	case rule.Ticket:
		s.result.Tickets++
		day.Tickets++
	default:
		s.result.Mails++
		day.Mails++
	}
	if quiet {
		s.result.Held++
	}
}

// keep remembers an instance; beyond a bound the worst are kept, of equals the newest.
func (s *show) keep(f Firing) {
	s.fired = append(s.fired, f)
}

// compare looks which of the incidents that there were the rule would have told of.
func (s *show) compare(ctx context.Context, db *catalog.DB, project catalog.Project) error {
	for _, f := range s.open {
		s.keep(*f)
	}
	slices.SortFunc(s.fired, func(a, b Firing) int { return cmp.Or(a.From.Compare(b.From), cmp.Compare(a.Group, b.Group)) })
	all, err := db.Incidents(ctx, catalog.IncidentFilter{
		Organisation: project.OrganisationID, Project: project.Number, From: s.result.From, To: s.result.To, Limit: 2000,
	})
	if err != nil {
		return err
	}
	for _, one := range all {
		var body incident.Incident
		if err := json.Unmarshal(one.Body, &body); err != nil || body.FalseAlarm || one.Severity != string(rule.Page) ||
			s.plan.Rule.Service != "" && body.Labels["service"] != "" && body.Labels["service"] != s.plan.Rule.Service {
			continue
		}
		i := Incident{ID: one.ID, Title: one.Title, From: one.Since, To: one.ResolvedAt}
		end := i.To
		if end.IsZero() {
			end, i.To = s.result.To, s.result.To
		}
		for _, f := range s.fired {
			if f.From.Before(end) && f.From.After(i.From.Add(-catchEarly)) || f.From.Before(i.From) && f.To.After(i.From) {
				i.Caught, i.After = true, int64(f.From.Sub(i.From)/time.Second)
				break
			}
		}
		if s.result.Incidents = append(s.result.Incidents, i); len(s.result.Incidents) == maxIncidents {
			break
		}
	}
	return nil
}

func (s *show) finish() {
	slices.Reverse(s.fired)
	s.result.Firings = append(s.result.Firings, s.fired[:min(len(s.fired), maxFirings)]...)
	for i := range s.result.Firings {
		if f := &s.result.Firings[i]; f.To.IsZero() {
			f.To = s.result.To
		}
		if math.IsNaN(s.result.Firings[i].Worst) || math.IsInf(s.result.Firings[i].Worst, 0) {
			s.result.Firings[i].Worst = 0
		}
	}
	for _, day := range s.days {
		s.result.Days = append(s.result.Days, *day)
	}
	slices.SortFunc(s.result.Days, func(a, b Day) int { return cmp.Compare(a.Date, b.Date) })
	s.result.Series = s.chart.series()
	s.result.Heat = s.heat.result()
	if b, err := rule.ParseBound(s.plan.Rule.Levels[0].Fire); err == nil {
		s.result.Threshold = &b.Value
	}
}
