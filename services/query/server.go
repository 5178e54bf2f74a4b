package query

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/midwatch/midwatch/alerts/desk"
	"github.com/midwatch/midwatch/services/access"
	"github.com/midwatch/midwatch/storage/catalog"
	"github.com/midwatch/midwatch/storage/telemetry"
)

// basePath is where the API lives.
const basePath = "/api/v1/midwatch"

// maxRange is the longest range that one read may have.
const maxRange = 400 * 24 * time.Hour

// retryAfter is how long a database that does not answer is given.
const retryAfter = 5 * time.Second

// statusGone is written for a client that left before its answer; nobody reads it but the request log.
const statusGone = 499

// Config says how reads are served. A zero field takes its default.
type Config struct {
	// URLs are the addresses that senders use.
	URLs access.URLs
	// Timeout is how long one read may take: 30 s.
	Timeout time.Duration
	// Reads is how many reads run at once in the process: 16.
	Reads int
	// ReadsPerProject is how many of them one project may have: 8. Four times as many may wait for a place.
	ReadsPerProject int
	// Wait is how long a read waits for a place before it is told to come back: 5 s.
	Wait time.Duration
}

// Server answers the operations of the API that read telemetry.
type Server struct {
	urls    access.URLs
	timeout time.Duration
	store   *telemetry.Store
	db      *catalog.DB
	guard   *access.Guard
	gate    *gate
	spec    specJSON
	pages   madePages
	desk    *desk.Desk // of which the book of the organisation is wanted
	log     *slog.Logger
}

// New returns a Server over store and db that shows a caller what guard lets it see.
func New(cfg Config, store *telemetry.Store, db *catalog.DB, guard *access.Guard, log *slog.Logger) *Server {
	perProject := orDefault(cfg.ReadsPerProject, 8)
	return &Server{
		urls:    cfg.URLs,
		timeout: orDefault(cfg.Timeout, 30*time.Second),
		store:   store,
		db:      db,
		guard:   guard,
		gate:    newGate(orDefault(cfg.Reads, 16), perProject, 4*perProject, orDefault(cfg.Wait, 5*time.Second)),
		desk:    desk.New(desk.Config{}, db, log),
		log:     log,
	}
}

func orDefault[T int | time.Duration](v, fallback T) T {
	if v > 0 {
		return v
	}
	return fallback
}

// Mount adds the routes to e: those of the API, below /api/v1/midwatch, and /badge/ and /status/,
// which need no authentication but a key that cannot be guessed.
func (s *Server) Mount(e *echo.Echo) {
	e.GET(basePath+"/openapi.json", s.spec.serve)
	anyone := func(path string, h echo.HandlerFunc) {
		e.Match([]string{http.MethodGet, http.MethodHead}, path, h, open)
	}
	anyone("/badge/:key", s.badge)
	anyone("/badge/:key/:slug", s.badge)
	anyone("/status/:key", s.status)
	routes := guarded{Echo: e, chain: []echo.MiddlewareFunc{private, s.guard.Middleware(), plain}}
	RegisterHandlersWithBaseURL(routes, NewStrictHandler(s, []StrictMiddlewareFunc{s.answer}), basePath)
}

// guarded puts a chain before each route that is added. A group's middleware would also take over the answers to
// unknown paths below the prefix, which others share.
type guarded struct {
	*echo.Echo
	chain []echo.MiddlewareFunc
}

// POST adds a route of a read whose question is a body.
func (g guarded) POST(path string, h echo.HandlerFunc, m ...echo.MiddlewareFunc) *echo.Route {
	return g.Echo.POST(path, h, append(slices.Clip(g.chain), m...)...)
}

// GET adds a route; all operations of this package are reads.
func (g guarded) GET(path string, h echo.HandlerFunc, m ...echo.MiddlewareFunc) *echo.Route {
	return g.Echo.GET(path, h, append(slices.Clip(g.chain), m...)...)
}

// private keeps telemetry, and refusals of it, out of caches.
func private(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		c.Response().Header().Set("Cache-Control", "no-store")
		return next(c)
	}
}

// plain turns the generated code's errors about parameters into words.
func plain(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		err := next(c)
		refused, ok := errors.AsType[*echo.HTTPError](err)
		if !ok || refused.Code != http.StatusBadRequest {
			return err
		}
		about := fmt.Sprint(refused.Message)
		name, _, found := strings.Cut(strings.TrimPrefix(about, "Invalid format for parameter "), ":")
		switch {
		case !found:
			return invalid("%s", about)
		case name == "from" || name == "to":
			if c.QueryParam(name) == "" {
				return invalid("%s: a time is needed, as in 2026-03-01T02:41:00Z", name)
			}
			return invalid("%s: %q is not a time, as in 2026-03-01T02:41:00Z", name, c.QueryParam(name))
		case name == "project":
			return invalid("project: %q is not a project's number", c.Param(name))
		case name == "limit" || name == "step":
			return invalid("%s: %q is not a whole number", name, c.QueryParam(name))
		}
		return invalid("%s: the value cannot be read", name)
	}
}

// subject is what a read is about.
type subject struct {
	project catalog.Project
	scope   telemetry.Scope
}

// read runs one read of the telemetry of the project with this number in [from, to): for a caller who may see the
// project, over a sensible range, in its turn, and for a bounded time.
func read[T any](ctx context.Context, s *Server, number uint32, from, to time.Time, f func(context.Context, subject) (T, error)) (T, error) {
	var none T
	project, err := s.guard.Project(ctx, number)
	if err != nil {
		return none, err
	}
	scope, err := telemetry.NewScope(project.Number, from, to)
	if err != nil {
		return none, err
	}
	if scope.To().Sub(scope.From()) > maxRange {
		return none, invalid("the range is longer than %d days: narrow it", maxRange/(24*time.Hour))
	}
	leave, err := s.gate.enter(ctx, project.Number)
	if err != nil {
		return none, err
	}
	defer leave()
	ctx, cancel := context.WithTimeoutCause(ctx, s.timeout, errSlow)
	defer cancel()
	out, err := f(ctx, subject{project: project, scope: scope})
	if err != nil && errors.Is(context.Cause(ctx), errSlow) {
		// The driver reports a broken connection or a cancelled context; what happened is that the time was up.
		return none, errors.Join(errSlow, err)
	}
	return out, err
}

// errSlow says that a read took longer than it may.
var errSlow = errors.New("the read took too long")

// answer gives the errors of reads their meaning for the client.
func (s *Server) answer(next StrictHandlerFunc, operation string) StrictHandlerFunc {
	return func(c echo.Context, request any) (any, error) {
		response, err := next(c, request)
		if err == nil {
			return response, nil
		}
		ctx := c.Request().Context()
		if ctx.Err() != nil {
			return nil, c.NoContent(statusGone)
		}
		return nil, s.explain(ctx, operation, err)
	}
}

// explain turns what went wrong in a read into what the client is told. What is left as it is, is a fault of ours.
func (s *Server) explain(ctx context.Context, operation string, err error) error {
	if told, ok := errors.AsType[*access.Error](err); ok {
		return told
	}
	if limit, ok := errors.AsType[*telemetry.LimitError](err); ok {
		return invalid("%s", limit)
	}
	if wrong, ok := errors.AsType[*telemetry.InvalidError](err); ok {
		return invalid("%s", wrong)
	}
	switch {
	case errors.Is(err, errSlow):
		return invalid("this took longer than %v: narrow the time range or the filter", s.timeout)
	case errors.Is(err, errBusy):
		return access.RateLimited(time.Second, "too many reads run at once: try again in a moment")
	case errors.Is(err, telemetry.ErrNotFound), errors.Is(err, catalog.ErrNotFound):
		return notFound("there is no such thing in this project and range")
	case errors.Is(err, telemetry.ErrUnavailable):
		s.log.LogAttrs(ctx, slog.LevelWarn, "telemetry cannot be read", slog.String("operation", operation),
			slog.String("request_id", access.RequestIDFrom(ctx)), slog.Any("err", err))
		return &access.Error{Code: access.CodeUnavailable, Message: "the telemetry store does not answer: try again in a few seconds", RetryAfter: retryAfter}
	}
	return fmt.Errorf("%s: %w", operation, err)
}
