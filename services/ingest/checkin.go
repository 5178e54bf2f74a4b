package ingest

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
	"golang.org/x/sync/singleflight"

	"github.com/midwatch/midwatch/proto/telemetrypb"
	"github.com/midwatch/midwatch/services/ingest/checkin"
	"github.com/midwatch/midwatch/services/ingest/sentry"
	"github.com/midwatch/midwatch/storage/bus"
	"github.com/midwatch/midwatch/storage/catalog"
)

const (
	monitorFresh        = 5 * time.Second  // how long a monitor is believed to exist
	monitorAnnounced    = time.Minute      // how long one is that is about to be made
	monitorUnknownFresh = 10 * time.Second // how long an unknown UUID stays unknown
	monitorTimeout      = 3 * time.Second  // how long one look-up may take
	monitorsKnown       = 8 << 10          // how many are remembered
	monitorsUnknown     = 4 << 10          // how many unknown UUIDs are remembered
	monitorLookups      = 8                // how many look-ups of each kind run at once

	// pingDrained is how much of a body is read beyond what is kept, so that its sender is not cut
	// off before it has the answer.
	pingDrained = 4 << 20
)

// dialect is how one service's clients ping, and what they are answered.
type dialect struct {
	source string // as it is stored
	read   func(h *checkinHandlers, c echo.Context) (checkin.Report, error)
	status int
	answer string
	// body says that what is posted is what the job said; else it is a form.
	body bool
}

var (
	healthchecks = dialect{"ping", (*checkinHandlers).readHealthchecks, http.StatusOK, "OK", true}
	cronitor     = dialect{"cronitor", (*checkinHandlers).readCronitor, http.StatusOK, "OK", false}
	snitch       = dialect{"snitch", (*checkinHandlers).readSnitch, http.StatusAccepted, "Got it, thanks!", false}
	heartbeat    = dialect{"heartbeat", (*checkinHandlers).readHeartbeat, http.StatusOK, "OK", true}
)

// checkinHandlers serves pings and Sentry's cron URLs.
type checkinHandlers struct {
	*Server
	monitors *monitors
}

// mountCheckins serves pings and Sentry's cron URLs, with and without a slash at their end. The one
// without a project's number is ours: the key names the project.
func (s *Server) mountCheckins(e *echo.Echo) {
	h := &checkinHandlers{s, newMonitors(s.keys.db)}
	// Cronitor's and Dead Man's Snitch's own paths are at the root, where the pages are.
	for path, d := range map[string]*dialect{
		"/ping/*":             &healthchecks,
		"/cronitor/p/*":       &cronitor,
		"/cronitor/ping/*":    &cronitor, // of older clients
		"/snitch/*":           &snitch,
		"/api/v1/heartbeat/*": &heartbeat,
	} {
		e.Any(path, s.intake(bus.Checkins, d.source, func(c echo.Context) error { return h.ping(c, d) }))
	}
	for _, path := range []string{"/api/:project/cron/:slug/:key", "/api/:project/cron/:slug", "/api/cron/:slug"} {
		s.sentryRoute(e, path, []string{http.MethodGet, http.MethodPost}, bus.Checkins, sentryCron, h.cron)
	}
}

// ping takes one sign of life of a job.
func (h *checkinHandlers) ping(c echo.Context, d *dialect) error {
	const methods = "GET, HEAD, POST, OPTIONS"
	header := c.Response().Header()
	header.Set("Access-Control-Allow-Origin", "*")
	header.Set("Access-Control-Expose-Headers", "ping-body-limit, retry-after")
	header.Set("Ping-Body-Limit", strconv.Itoa(checkin.MaxBodyBytes))
	header.Set("Cache-Control", "no-store")
	switch c.Request().Method {
	case http.MethodGet, http.MethodHead, http.MethodPost:
	case http.MethodOptions:
		header.Set("Access-Control-Allow-Methods", methods)
		header.Set("Access-Control-Allow-Headers", "content-type")
		return c.NoContent(http.StatusNoContent)
	default:
		header.Set("Allow", methods)
		return c.String(http.StatusMethodNotAllowed, "method not allowed")
	}
	created, project, err := h.takePing(c, d)
	switch {
	case err == nil && created && d == &healthchecks:
		return c.String(http.StatusCreated, "Created")
	case err == nil:
		return c.String(d.status, d.answer)
	case errors.Is(err, catalog.ErrNotFound), errors.Is(err, checkin.ErrNotFound), errors.Is(err, errWrongKey):
		return c.String(http.StatusNotFound, "not found")
	case errors.Is(err, checkin.ErrInvalid), errors.Is(err, checkin.ErrInvalidUUID):
		return c.String(http.StatusBadRequest, err.Error())
	}
	r := h.retryable(err)
	h.warn(c.Request().Context(), project, d.source, r)
	header.Set(echo.HeaderRetryAfter, r.seconds())
	return c.String(r.status, r.message)
}

func (h *checkinHandlers) readHealthchecks(c echo.Context) (checkin.Report, error) {
	return checkin.Healthchecks(c.Param("*"), c.QueryParams())
}

func (h *checkinHandlers) readCronitor(c echo.Context) (checkin.Report, error) {
	key, name, _ := strings.Cut(strings.TrimSuffix(c.Param("*"), "/"), "/")
	if name == "" || strings.Contains(name, "/") {
		return checkin.Report{}, checkin.ErrNotFound
	}
	// Cronitor's keys of monitors are of any letters; they are taken over as Sentry's are.
	return checkin.Cronitor(key, sentry.Slug(name), h.form(c))
}

func (h *checkinHandlers) readSnitch(c echo.Context) (checkin.Report, error) {
	return checkin.Snitch(c.Param("*"), h.form(c))
}

func (h *checkinHandlers) readHeartbeat(c echo.Context) (checkin.Report, error) {
	return checkin.Heartbeat(c.Param("*"))
}

// form has what the query says, and before it what was posted. What cannot be read of it is left
// out: the ping is what counts.
func (h *checkinHandlers) form(c echo.Context) url.Values {
	if c.Request().Method != http.MethodPost {
		return c.QueryParams()
	}
	form, _ := url.ParseQuery(string(h.pingBody(c))) // good fields are there beside bad ones
	for name, values := range c.QueryParams() {
		form[name] = append(form[name], values...)
	}
	return form
}

// takePing stores a ping. It says whether its monitor is new.
func (h *checkinHandlers) takePing(c echo.Context, d *dialect) (created bool, project uint32, err error) {
	report, err := d.read(h, c)
	if err != nil {
		return false, 0, err
	}
	ctx := c.Request().Context()
	target, err := h.find(ctx, report.Readings, report.Create)
	if err != nil {
		return false, 0, err
	}
	project = target.project.Number
	now := uint64(time.Now().UnixNano())
	ping := &telemetrypb.Checkin{
		ProjectId: project, ReceivedAt: now, Time: now,
		Slug: target.slug, Status: target.ping.Status, RunId: report.Run,
		ExitCode: target.ping.ExitCode, HasExitCode: target.ping.HasExitCode,
		Environment: report.Environment, DurationMs: uint64(report.Duration.Milliseconds()),
		Body: checkin.Body([]byte(report.Message)), Source: d.source, Create: report.Create && target.ping.Slug != "",
	}
	if d.body && c.Request().Method == http.MethodPost {
		ping.Body = checkin.Body(h.pingBody(c))
	}
	// Each ping counts, so two of the same words are two; only a named run begins and ends once.
	id := uniqueID()
	if ping.RunId != nil && ping.Status != telemetrypb.CheckinStatus_CHECKIN_STATUS_LOG {
		id = requestID(project, d.source, fmt.Appendf(nil, "%s/%x/%d/%d", ping.Slug, ping.RunId, ping.Status, ping.ExitCode))
	}
	checkinID := sentry.FallbackID(id)
	ping.CheckinId = checkinID[:]
	if err := h.spend(project, bus.Checkins, 1); err != nil {
		return false, project, err
	}
	if err := h.publishCheckins(ctx, target.project, id, []*telemetrypb.Checkin{ping}); err != nil {
		return false, project, err
	}
	h.meter.accepted(ctx, bus.Checkins, d.source, 1)
	if !target.exists {
		h.monitors.announce(project, target.slug)
	}
	return !target.exists, project, nil
}

// pingTarget is the monitor of a ping.
type pingTarget struct {
	ping    checkin.Ping
	project catalog.Project
	slug    string
	exists  bool
}

// find returns the first reading of a ping that has a monitor, or that may make one.
func (h *checkinHandlers) find(ctx context.Context, readings []checkin.Ping, create bool) (pingTarget, error) {
	for _, p := range readings {
		if p.UUID != "" {
			m, err := h.monitors.byUUID(ctx, p.UUID)
			switch {
			case err == nil:
				project := catalog.Project{Number: m.project}
				project.Retention.Checkins = m.keptDays
				return pingTarget{p, project, m.slug, true}, nil
			case !errors.Is(err, catalog.ErrNotFound):
				return pingTarget{}, fmt.Errorf("find monitor: %w", err)
			}
			continue
		}
		project, err := h.projectOf(ctx, []string{p.Key})
		if errors.Is(err, errWrongKey) {
			continue
		}
		if err != nil {
			return pingTarget{}, err
		}
		exists, err := h.monitors.exists(ctx, project.Number, p.Slug)
		if err != nil {
			// SQL does not answer. The job did run; what cannot be told is only whether it has a
			// monitor, and it mostly has.
			h.warn(ctx, project.Number, "ping", fmt.Errorf("find monitor: %w", err))
			exists = true
		}
		if exists || create {
			return pingTarget{p, project, p.Slug, exists}, nil
		}
	}
	return pingTarget{}, catalog.ErrNotFound
}

// pingBody reads what is posted, as far as it is kept; the bytes are valid as long as those of body.
// A body that breaks off, or for which there is no room, is kept as far as it came: the ping is what
// counts.
func (h *checkinHandlers) pingBody(c echo.Context) []byte {
	r := c.Request()
	l, ok := c.Get(leaseKey).(*lease)
	if !ok || r.ContentLength == 0 || h.hold(l, checkin.MaxBodyBytes) != nil {
		return nil
	}
	deadline := time.Now().Add(h.cfg.ReadTimeout)
	if err := http.NewResponseController(c.Response()).SetReadDeadline(deadline); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return nil
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, checkin.MaxBodyBytes))
	if err == nil {
		_, _ = io.CopyN(io.Discard, r.Body, pingDrained) // as far as it goes
	}
	l.bytes += int64(len(body))
	return body
}

// cron takes a check-in by Sentry's URL for those who have no SDK.
func (h *checkinHandlers) cron(c echo.Context) error {
	access, err := readSentryAccess(c)
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	project, err := h.sentryProject(ctx, access)
	if err != nil {
		return err
	}
	c.Set(projectKey, project.Number)
	var body []byte
	if c.Request().Method == http.MethodPost {
		body, err = h.sentryBody(c, sentry.MaxCheckinBytes)
		var empty *sentryError
		if err != nil && !errors.As(err, &empty) { // an empty one is fine: the query says it all
			return err
		}
		if !strings.HasPrefix(strings.TrimSpace(string(body)), "{") {
			body = nil // curl -d and forms: not a check-in
		}
	}
	id := uniqueID()
	event, err := sentry.CheckinFor(c.Param("slug"), c.QueryParams(), body, sentry.Meta{
		Project: project.Number, ReceivedAt: time.Now(), FallbackID: sentry.FallbackID(id),
	})
	if err != nil {
		return err
	}
	if event.RunId != nil {
		id = requestID(project.Number, "cron", fmt.Appendf(nil, "%s/%x/%d", event.Slug, event.RunId, event.Status))
	}
	if err := h.spend(project.Number, bus.Checkins, 1); err != nil {
		// This URL is never answered with 429: its clients take that for a failure of the job.
		r := h.retryable(err)
		return &retryError{http.StatusServiceUnavailable, r.after, r.message, r.err}
	}
	if err := h.publishCheckins(ctx, project, id, []*telemetrypb.Checkin{event}); err != nil {
		return err
	}
	h.meter.accepted(ctx, bus.Checkins, sentryCron, 1)
	if event.Config != nil {
		h.monitors.announce(project.Number, event.Slug)
	}
	name := event.RunId
	if name == nil {
		name = event.CheckinId
	}
	return writeJSON(c, http.StatusAccepted, map[string]string{"id": hex.EncodeToString(name)})
}

// monitors remembers which monitors exist, so that a ping mostly needs no SQL. Unknown slugs are
// not remembered: their monitors are made at any moment. Unknown UUIDs are, for nobody can know one
// before its monitor is there. It is safe for concurrent use.
type monitors struct {
	db     *catalog.DB
	now    func() time.Time
	flight singleflight.Group
	// Look-ups by UUID need no key, so they have slots of their own: guessing must not keep those
	// waiting who have one.
	bySlug, byID chan struct{}

	mu      sync.Mutex
	known   lru[monitorEntry]
	unknown lru[time.Time] // UUIDs; until when they are
}

type monitorEntry struct {
	project uint32
	slug    string
	// keptDays is for how long its check-ins are kept; only known of those that were found by UUID.
	keptDays int
	until    time.Time // it is believed until then; beyond, only where SQL does not answer or is busy
}

func newMonitors(db *catalog.DB) *monitors {
	return &monitors{
		db: db, now: time.Now,
		bySlug: make(chan struct{}, monitorLookups), byID: make(chan struct{}, monitorLookups),
		known: newLRU[monitorEntry](monitorsKnown), unknown: newLRU[time.Time](monitorsUnknown),
	}
}

func monitorKey(project uint32, slug string) string {
	return strconv.FormatUint(uint64(project), 10) + "/" + slug
}

// exists reports whether a project has a monitor. An error means that it cannot be told now.
func (m *monitors) exists(ctx context.Context, project uint32, slug string) (bool, error) {
	_, err := m.find(ctx, monitorKey(project, slug), m.bySlug, func(ctx context.Context) (monitorEntry, error) {
		_, err := m.db.Monitor(ctx, project, slug)
		return monitorEntry{project: project, slug: slug}, err
	})
	if errors.Is(err, catalog.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// byUUID returns the monitor of a UUID, or catalog.ErrNotFound; other errors mean that it cannot
// be told now.
func (m *monitors) byUUID(ctx context.Context, uuid string) (monitorEntry, error) {
	m.mu.Lock()
	until, unknown := m.unknown.get(uuid)
	m.mu.Unlock()
	if unknown && m.now().Before(until) {
		return monitorEntry{}, catalog.ErrNotFound
	}
	found, err := m.find(ctx, uuid, m.byID, func(ctx context.Context) (monitorEntry, error) {
		monitor, err := m.db.MonitorByUUID(ctx, uuid)
		if err != nil {
			return monitorEntry{}, err
		}
		project, err := m.db.Project(ctx, monitor.Project)
		return monitorEntry{project: monitor.Project, slug: monitor.Slug, keptDays: project.Retention.Checkins}, err
	})
	if errors.Is(err, catalog.ErrNotFound) {
		m.mu.Lock()
		m.unknown.put(uuid, m.now().Add(monitorUnknownFresh))
		m.mu.Unlock()
	}
	return found, err
}

// find returns what is known under a key, asking within one of the slots if it is nothing or old.
func (m *monitors) find(ctx context.Context, key string, slots chan struct{}, ask func(context.Context) (monitorEntry, error)) (monitorEntry, error) {
	m.mu.Lock()
	entry, known := m.known.get(key)
	m.mu.Unlock()
	if known && m.now().Before(entry.until) {
		return entry, nil
	}
	v, err, _ := m.flight.Do(key, func() (any, error) {
		// Others wait for this look-up too: it outlives the request that began it.
		ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), monitorTimeout, errors.New("the monitor was not found in time"))
		defer cancel()
		select {
		case slots <- struct{}{}:
		default:
			if known {
				return entry, nil
			}
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				return monitorEntry{}, context.Cause(ctx)
			}
		}
		defer func() { <-slots }()
		found, err := ask(ctx)
		switch {
		case errors.Is(err, catalog.ErrNotFound):
			m.mu.Lock()
			m.known.remove(key)
			m.mu.Unlock()
			return monitorEntry{}, err
		case err != nil && known:
			return entry, nil
		case err != nil:
			return monitorEntry{}, err
		}
		found.until = m.now().Add(monitorFresh)
		m.remember(key, found)
		return found, nil
	})
	if err != nil {
		return monitorEntry{}, err
	}
	return v.(monitorEntry), nil
}

// announce notes a monitor that a stored check-in is about to make, so that the next ping of the
// same job finds it.
func (m *monitors) announce(project uint32, slug string) {
	m.remember(monitorKey(project, slug), monitorEntry{project: project, slug: slug, until: m.now().Add(monitorAnnounced)})
}

func (m *monitors) remember(key string, entry monitorEntry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.known.put(key, entry)
}
