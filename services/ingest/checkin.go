package ingest

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/midwatch/midwatch/proto/telemetrypb"
	"github.com/midwatch/midwatch/services/ingest/checkin"
	"github.com/midwatch/midwatch/services/ingest/sentry"
	"github.com/midwatch/midwatch/storage/bus"
	"github.com/midwatch/midwatch/storage/catalog"
)

const (
	monitorFresh     = 5 * time.Second // how long a monitor is believed to exist
	monitorAnnounced = time.Minute     // how long one is that is about to be made
	monitorTimeout   = 3 * time.Second // how long one look-up may take
	monitorsKnown    = 8 << 10         // how many are remembered
	monitorLookups   = 8               // how many look-ups run at once

	// pingDrained is how much of a body is read beyond what is kept, so that its sender is not cut
	// off before it has the answer.
	pingDrained = 4 << 20
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
	e.Any("/ping/*", s.intake(bus.Checkins, "ping", h.ping))
	for _, path := range []string{"/api/:project/cron/:slug/:key", "/api/:project/cron/:slug", "/api/cron/:slug"} {
		s.sentryRoute(e, path, []string{http.MethodGet, http.MethodPost}, bus.Checkins, sentryCron, h.cron)
	}
}

// ping takes one sign of life of a job.
func (h *checkinHandlers) ping(c echo.Context) error {
	header := c.Response().Header()
	header.Set("Access-Control-Allow-Origin", "*")
	header.Set("Access-Control-Expose-Headers", "ping-body-limit, retry-after")
	header.Set("Ping-Body-Limit", strconv.Itoa(checkin.MaxBodyBytes))
	header.Set("Cache-Control", "no-store")
	switch c.Request().Method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut:
	case http.MethodOptions:
		header.Set("Access-Control-Allow-Methods", "GET, HEAD, POST, OPTIONS")
		header.Set("Access-Control-Allow-Headers", "content-type")
		return c.NoContent(http.StatusNoContent)
	default:
		header.Set("Allow", "GET, HEAD, POST, OPTIONS")
		return c.String(http.StatusMethodNotAllowed, "method not allowed")
	}
	status, project, err := h.takePing(c)
	switch {
	case err == nil && status == http.StatusCreated:
		return c.String(status, "Created")
	case err == nil:
		return c.String(status, "OK")
	case errors.Is(err, catalog.ErrNotFound), errors.Is(err, checkin.ErrNotFound), errors.Is(err, errWrongKey):
		return c.String(http.StatusNotFound, "not found")
	case errors.Is(err, checkin.ErrInvalid):
		return c.String(http.StatusBadRequest, err.Error())
	}
	r := h.retryable(err)
	h.warn(c.Request().Context(), project, "ping", r)
	header.Set(echo.HeaderRetryAfter, r.seconds())
	return c.String(r.status, r.message)
}

// takePing stores a ping. The status says whether its monitor is new.
func (h *checkinHandlers) takePing(c echo.Context) (status int, project uint32, err error) {
	readings, err := checkin.ParsePath(c.Param("*"))
	if err != nil {
		return 0, 0, err
	}
	run, err := checkin.ParseRunID(c.QueryParam("rid"))
	if err != nil {
		return 0, 0, err
	}
	ctx := c.Request().Context()
	create := c.QueryParam("create") == "1"
	target, err := h.find(ctx, readings, create)
	if err != nil {
		return 0, 0, err
	}
	project = target.project.Number
	now := uint64(time.Now().UnixNano())
	ping := &telemetrypb.Checkin{
		ProjectId: project, ReceivedAt: now, Time: now,
		Slug: target.slug, Status: target.ping.Status, RunId: run,
		ExitCode: target.ping.ExitCode, HasExitCode: target.ping.HasExitCode,
		DurationMs: checkin.DurationMs(c.QueryParam("duration")), Environment: checkin.Environment(c.QueryParam("environment")),
		Source: "ping", Create: create && target.ping.Slug != "",
	}
	if method := c.Request().Method; method == http.MethodPost || method == http.MethodPut {
		ping.Body = h.pingBody(c)
	}
	// Each ping counts, so two of the same words are two; only a named run begins and ends once.
	id := uniqueID()
	if run != nil && ping.Status != telemetrypb.CheckinStatus_CHECKIN_STATUS_LOG {
		id = requestID(project, "ping", fmt.Appendf(nil, "%s/%x/%d/%d", ping.Slug, run, ping.Status, ping.ExitCode))
	}
	checkinID := sentry.FallbackID(id)
	ping.CheckinId = checkinID[:]
	if err := h.spend(project, bus.Checkins, 1); err != nil {
		return 0, project, err
	}
	if err := h.publishCheckins(ctx, target.project, id, []*telemetrypb.Checkin{ping}); err != nil {
		return 0, project, err
	}
	h.meter.accepted(ctx, bus.Checkins, "ping", 1)
	if target.exists {
		return http.StatusOK, project, nil
	}
	h.monitors.announce(project, target.slug)
	return http.StatusCreated, project, nil
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

// pingBody reads what a job says. A body that breaks off is kept as far as it came: the ping is
// what counts.
func (h *checkinHandlers) pingBody(c echo.Context) string {
	deadline := time.Now().Add(h.cfg.ReadTimeout)
	if err := http.NewResponseController(c.Response()).SetReadDeadline(deadline); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return ""
	}
	body, err := io.ReadAll(io.LimitReader(c.Request().Body, checkin.MaxBodyBytes))
	if err == nil {
		_, _ = io.CopyN(io.Discard, c.Request().Body, pingDrained) // as far as it goes
	}
	return checkin.Body(body)
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

// monitors remembers which monitors exist, so that a ping mostly needs no SQL. Unknown ones are
// not remembered: they are made at any moment. It is safe for concurrent use.
type monitors struct {
	db      *catalog.DB
	now     func() time.Time
	lookups chan struct{}

	mu      sync.Mutex
	entries map[string]monitorEntry
}

type monitorEntry struct {
	project uint32
	slug    string
	// keptDays is for how long its check-ins are kept; only known of those that were found by UUID.
	keptDays int
	until    time.Time // it is believed until then; beyond, only where SQL does not answer
}

func newMonitors(db *catalog.DB) *monitors {
	return &monitors{db: db, now: time.Now, lookups: make(chan struct{}, monitorLookups), entries: map[string]monitorEntry{}}
}

func monitorKey(project uint32, slug string) string {
	return strconv.FormatUint(uint64(project), 10) + "/" + slug
}

// exists reports whether a project has a monitor. An error means that it cannot be told now.
func (m *monitors) exists(ctx context.Context, project uint32, slug string) (bool, error) {
	_, err := m.find(ctx, monitorKey(project, slug), func(ctx context.Context) (monitorEntry, error) {
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
	return m.find(ctx, uuid, func(ctx context.Context) (monitorEntry, error) {
		monitor, err := m.db.MonitorByUUID(ctx, uuid)
		if err != nil {
			return monitorEntry{}, err
		}
		project, err := m.db.Project(ctx, monitor.Project)
		return monitorEntry{project: monitor.Project, slug: monitor.Slug, keptDays: project.Retention.Checkins}, err
	})
}

func (m *monitors) find(ctx context.Context, key string, ask func(context.Context) (monitorEntry, error)) (monitorEntry, error) {
	m.mu.Lock()
	entry, known := m.entries[key]
	m.mu.Unlock()
	if known && m.now().Before(entry.until) {
		return entry, nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, monitorTimeout, errors.New("the monitor was not found in time"))
	defer cancel()
	select {
	case m.lookups <- struct{}{}:
		defer func() { <-m.lookups }()
	case <-ctx.Done():
		if known {
			return entry, nil
		}
		return monitorEntry{}, context.Cause(ctx)
	}
	found, err := ask(ctx)
	switch {
	case errors.Is(err, catalog.ErrNotFound):
		m.mu.Lock()
		delete(m.entries, key)
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
}

// announce notes a monitor that a stored check-in is about to make, so that the next ping of the
// same job finds it.
func (m *monitors) announce(project uint32, slug string) {
	m.remember(monitorKey(project, slug), monitorEntry{project: project, slug: slug, until: m.now().Add(monitorAnnounced)})
}

func (m *monitors) remember(key string, entry monitorEntry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, known := m.entries[key]; !known && len(m.entries) >= monitorsKnown {
		for k := range m.entries { // any one: what is asked for again comes back
			delete(m.entries, k)
			break
		}
	}
	m.entries[key] = entry
}
