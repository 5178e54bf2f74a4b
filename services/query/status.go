package query

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/midwatch/midwatch/services/access"
	"github.com/midwatch/midwatch/storage/catalog"
	"github.com/midwatch/midwatch/storage/telemetry"
)

const (
	// statusDays is how far back a status page looks for runs.
	statusDays = 30
	// statusFresh is for how long a page that was made is shown again. Anybody may ask for it, and
	// must not keep the project's own people from reading.
	statusFresh = 20 * time.Second
	// statusPages is how many made pages are kept.
	statusPages = 1000
	// statusName is how many characters of a name a page shows.
	statusName = 100
)

var (
	//go:embed status.html
	statusHTML string
	//go:embed status.css
	statusCSS string

	statusTemplate = template.Must(template.New("status").Parse(statusHTML))
	statusPolicy   = func() string {
		sum := sha256.Sum256([]byte(statusCSS))
		return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
	}()
)

// statusView is what the page of a project shows: no secrets, and nothing that a job wrote.
type statusView struct {
	Style    template.CSS
	Missing  bool
	Name     string
	Sentence string
	At       statusTime
	// Unread says that the runs could not be read.
	Unread bool
	Jobs   []statusJob
}

type statusJob struct {
	Name       string
	Stands     standing
	Last, Next *statusTime
	Overdue    bool
	Bars       []statusBar
	BarWords   string
}

// statusBar is one run in a field of 300 by 30. One that failed has its own shape, too: a gap above
// its foot.
type statusBar struct {
	Class string
	Shape string // of an SVG path
	Words string
}

// statusTime is a time as it is written.
type statusTime struct{ ISO, Text, Ago string }

func statusTimeOf(t, now time.Time) *statusTime {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	layout := "2 Jan 15:04 UTC"
	if t.Year() != now.UTC().Year() {
		layout = "2 Jan 2006 15:04 UTC"
	}
	return &statusTime{t.Format(time.RFC3339), t.Format(layout), distance(t, now)}
}

// distance says how far a time is from now: "12 min ago", "in 3 h".
func distance(t, now time.Time) string {
	d := now.Sub(t)
	var text string
	switch whole := d.Abs(); {
	case whole < time.Minute:
		return "just now"
	case whole < time.Hour:
		text = fmt.Sprintf("%d min", int(whole.Round(time.Minute)/time.Minute))
	case whole < 48*time.Hour:
		text = fmt.Sprintf("%d h", int(whole.Round(time.Hour)/time.Hour))
	default:
		text = fmt.Sprintf("%d d", int(whole.Round(24*time.Hour)/(24*time.Hour)))
	}
	if d < 0 {
		return "in " + text
	}
	return text + " ago"
}

// madePages keeps the pages of projects for a while.
type madePages struct {
	mu    sync.Mutex
	pages map[uint32]*madePage
}

type madePage struct {
	turn chan struct{} // held by whoever makes the page; the others wait for it
	at   time.Time
	html []byte
}

func (m *madePages) of(project uint32) *madePage {
	m.mu.Lock()
	defer m.mu.Unlock()
	if p := m.pages[project]; p != nil {
		return p
	}
	if m.pages == nil || len(m.pages) >= statusPages {
		m.pages = map[uint32]*madePage{}
	}
	p := &madePage{turn: make(chan struct{}, 1)}
	m.pages[project] = p
	return p
}

// status serves /status/<key> to anybody, for projects that want it.
func (s *Server) status(c echo.Context) error {
	ctx := c.Request().Context()
	page, err := s.statusPage(ctx, c.Param("key"))
	code := http.StatusOK
	switch {
	case missing(err):
		code = http.StatusNotFound
		if page, err = renderStatus(statusView{Missing: true}); err != nil {
			return err
		}
	case err != nil && ctx.Err() != nil:
		return c.NoContent(statusGone)
	case err != nil:
		return s.explain(ctx, "status page", err)
	}
	header := c.Response().Header()
	header.Set("Content-Security-Policy", statusPolicy)
	header.Set("Referrer-Policy", "no-referrer") // the address is the key
	if code == http.StatusOK {
		public(c)
	}
	return c.HTMLBlob(code, page)
}

// missing reports whether an error says that there is no such thing.
func missing(err error) bool {
	told, ok := errors.AsType[*access.Error](err)
	return ok && told.Code == access.CodeNotFound
}

// statusPage returns the page of the project with a badge key, made now or not long ago.
func (s *Server) statusPage(ctx context.Context, key string) ([]byte, error) {
	b, err := s.db.BadgesByKey(ctx, key)
	if errors.Is(err, catalog.ErrNotFound) || err == nil && !b.StatusPage {
		return nil, notFound("there is no such status page")
	}
	if err != nil {
		return nil, err
	}
	made := s.pages.of(b.Project)
	select {
	case made.turn <- struct{}{}:
		defer func() { <-made.turn }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	now := time.Now()
	if now.Sub(made.at) < statusFresh {
		return made.html, nil
	}
	view, err := s.statusOf(ctx, b.Project, now)
	if err != nil {
		return nil, err
	}
	page, err := renderStatus(view)
	if err != nil {
		return nil, err
	}
	made.at, made.html = now, page
	return page, nil
}

func renderStatus(view statusView) ([]byte, error) {
	view.Style = template.CSS(statusCSS)
	var page bytes.Buffer
	if err := statusTemplate.Execute(&page, view); err != nil {
		return nil, fmt.Errorf("render a status page: %w", err)
	}
	return page.Bytes(), nil
}

// statusOf reads what a page shows. Without the store it has the monitors but not their runs.
func (s *Server) statusOf(ctx context.Context, number uint32, now time.Time) (statusView, error) {
	project, err := s.db.Project(ctx, number)
	if err != nil {
		return statusView{}, err
	}
	monitors, err := s.monitors(ctx, number)
	if err != nil {
		return statusView{}, err
	}
	recent, err := s.recentRuns(ctx, number, now)
	if err != nil {
		s.log.LogAttrs(ctx, slog.LevelWarn, "status page without runs", slog.Uint64("project_id", uint64(number)),
			slog.String("request_id", access.RequestIDFrom(ctx)), slog.Any("err", err))
	}
	return viewOf(project, monitors, recent, err != nil, now), nil
}

// recentRuns reads the newest runs by slug, in the project's turn.
func (s *Server) recentRuns(ctx context.Context, project uint32, now time.Time) (map[string][]telemetry.Checkin, error) {
	scope, err := telemetry.NewScope(project, now.Add(-statusDays*24*time.Hour), now.Add(time.Second))
	if err != nil {
		return nil, err
	}
	leave, err := s.gate.enter(ctx, project)
	if err != nil {
		return nil, err
	}
	defer leave()
	ctx, cancel := context.WithTimeoutCause(ctx, s.timeout, errSlow)
	defer cancel()
	return s.store.RecentCheckins(ctx, scope, recentRuns)
}

func viewOf(project catalog.Project, monitors []catalog.Monitor, recent map[string][]telemetry.Checkin, unread bool, now time.Time) statusView {
	view := statusView{Name: briefLine(project.Name, statusName), Sentence: statusSentence(monitors), At: *statusTimeOf(now, now), Unread: unread}
	for _, m := range monitors {
		job := statusJob{
			Name: briefLine(m.Name, statusName), Stands: standingOf(m),
			Last: statusTimeOf(m.State.LastCheckinAt, now), Next: statusTimeOf(m.State.NextExpectedAt, now),
			Overdue: m.State.NextExpectedAt.Before(now),
		}
		job.Bars, job.BarWords = barsOf(recent[m.Slug])
		view.Jobs = append(view.Jobs, job)
	}
	// What is wrong stands first.
	slices.SortStableFunc(view.Jobs, func(a, b statusJob) int { return a.Stands.trouble() - b.Stands.trouble() })
	return view
}

// trouble orders standings, the worst first.
func (s standing) trouble() int {
	switch s {
	case standsDown:
		return 0
	case standsLate:
		return 1
	}
	return 2
}

// statusSentence is the answer to the question of the page.
func statusSentence(monitors []catalog.Monitor) string {
	count := map[standing]int{}
	for _, m := range monitors {
		count[standingOf(m)]++
	}
	watched := count[standsUp] + count[standsLate] + count[standsDown]
	switch {
	case watched == 0:
		return "No job is watched yet."
	case count[standsUp] < watched:
		parts := []string{fmt.Sprintf("%d of %d jobs up", count[standsUp], watched)}
		for _, s := range []standing{standsDown, standsLate} {
			if count[s] > 0 {
				parts = append(parts, fmt.Sprintf("%d %s", count[s], s))
			}
		}
		return strings.Join(parts, ", ") + "."
	case watched == 1:
		return "The job is up."
	}
	return fmt.Sprintf("All %d jobs are up.", watched)
}

// barsOf draws runs, oldest at the left, the newest at the right edge. The height is the duration,
// by its square root, so that a short run stays in sight beside a long one.
func barsOf(runs []telemetry.Checkin) (bars []statusBar, words string) {
	runs = slices.DeleteFunc(slices.Clone(runs), func(c telemetry.Checkin) bool { return c.Status == "log" })
	runs = runs[max(0, len(runs)-recentRuns):]
	var longest time.Duration
	for _, r := range runs {
		longest = max(longest, r.Duration)
	}
	failed := 0
	for i, r := range runs {
		height := 15.0
		if r.HasDuration && longest > 0 {
			height = 30 * max(0.18, math.Sqrt(float64(r.Duration)/float64(longest)))
		}
		x := (recentRuns - len(runs) + i) * 5
		class, outcome, shape := "running", "running", fmt.Sprintf("M%d 30v-%.1fh4V30z", x, height)
		switch r.Status {
		case "ok":
			class, outcome = "up", "ok"
		case "error":
			class, outcome, shape = "down", "failed", fmt.Sprintf("M%d 25v-%.1fh4V25zM%[1]d 27h4v3h-4z", x, max(height-5, 0.4))
			failed++
		}
		bars = append(bars, statusBar{
			Class: class, Shape: shape,
			Words: r.Time.UTC().Format("2 Jan 15:04 UTC") + " " + outcome,
		})
	}
	if len(runs) == 0 {
		return nil, ""
	}
	return bars, fmt.Sprintf("Last %d runs, %d failed", len(runs), failed)
}
