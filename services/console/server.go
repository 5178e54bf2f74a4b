// Package console is the control plane's side of Midwatch's API: signing in, projects, keys,
// monitors and where they are shown, and probes.
package console

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"

	"github.com/labstack/echo/v4"

	"github.com/midwatch/midwatch/alerts/probe"
	"github.com/midwatch/midwatch/services/access"
	"github.com/midwatch/midwatch/storage/cache"
	"github.com/midwatch/midwatch/storage/catalog"
)

// basePath is where the API lives.
const basePath = "/api/v1/midwatch"

// Config says how the console is reached.
type Config struct {
	// URLs are the addresses that senders and browsers use.
	URLs access.URLs
	// ProbeAllow are networks that are not public and that a probe may be tried on all the same.
	ProbeAllow []netip.Prefix
}

// Server answers the operations of the API that are tagged console.
type Server struct {
	urls  access.URLs
	db    *catalog.DB
	guard *access.Guard
	cache *cache.Cache
	log   *slog.Logger

	prober *probe.Prober
	trying chan struct{} // a place for each probe that is being tried
}

var _ StrictServerInterface = (*Server)(nil)

// New returns a Server over db, which limits sign-ins by cache.
func New(cfg Config, db *catalog.DB, guard *access.Guard, c *cache.Cache, log *slog.Logger) *Server {
	return &Server{
		urls: cfg.URLs, db: db, guard: guard, cache: c, log: log,
		prober: probe.New(probe.Config{Region: probeTestRegion, Allow: cfg.ProbeAllow, AllowedBy: probe.AllowVariable}),
		trying: make(chan struct{}, probeTestsRunning),
	}
}

// Mount adds the routes to e, below /api/v1/midwatch, and answers there for paths that nobody
// serves: an API's client must get JSON, not a page.
func (s *Server) Mount(e *echo.Echo) {
	open := func(own ...echo.MiddlewareFunc) []echo.MiddlewareFunc {
		return append([]echo.MiddlewareFunc{private, s.guard.SameOrigin(), s.seen}, own...)
	}
	guarded := func(own ...echo.MiddlewareFunc) []echo.MiddlewareFunc {
		return append([]echo.MiddlewareFunc{private, s.guard.Middleware(), s.seen, plain}, own...)
	}
	RegisterHandlersWithOptions(e, NewStrictHandler(s, nil), RegisterHandlersOptions{
		BaseURL: basePath,
		OperationMiddlewares: map[string][]echo.MiddlewareFunc{
			"signIn":        open(body[Credentials]),
			"signOut":       guarded(),
			"getSession":    guarded(),
			"listProjects":  guarded(),
			"createProject": guarded(body[NewProject]),
			"getSetup":      guarded(),
			"getRetention":  guarded(),
			"setRetention":  guarded(body[RetentionDays]),
			"listNotices":   guarded(),
			"createMonitor": guarded(body[NewMonitor]),
			"updateMonitor": guarded(body[MonitorUpdate]),
			"deleteMonitor": guarded(),
			"pauseMonitor":  guarded(),
			"resumeMonitor": guarded(),

			"listProbes":  guarded(),
			"createProbe": guarded(body[ProbeSettings]),
			"testProbe":   guarded(body[ProbeSettings]),
			"getProbe":    guarded(),
			"setProbe":    guarded(body[ProbeSettings]),
			"deleteProbe": guarded(),

			"getBadges":       guarded(),
			"setBadges":       guarded(body[BadgeSettings]),
			"replaceBadgeKey": guarded(),
		},
	})
	e.Any(basePath, unknown)
	e.Any(basePath+"/*", unknown)
}

func unknown(c echo.Context) error {
	return access.NotFound("there is no operation %s %s", c.Request().Method, c.Request().URL.Path)
}

// private keeps answers out of caches.
func private(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		c.Response().Header().Set(echo.HeaderCacheControl, "no-store")
		return next(c)
	}
}

type contextKey struct{}

// caller is what an operation needs to know of the connection that its request came by.
type caller struct {
	ip     string
	secret string // of the session; empty if there is none
}

// seen puts the caller into the context.
func (s *Server) seen(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		who := caller{ip: c.RealIP(), secret: access.SessionSecret(c.Request())}
		c.SetRequest(c.Request().WithContext(context.WithValue(c.Request().Context(), contextKey{}, who)))
		return next(c)
	}
}

func callerOf(ctx context.Context) caller {
	who, _ := ctx.Value(contextKey{}).(caller)
	return who
}

// who returns the principal; every operation but signIn has one.
func who(ctx context.Context) (access.Principal, error) {
	p, ok := access.From(ctx)
	if !ok {
		return p, access.Unauthorized("sign in, or send an API token as Authorization: Bearer")
	}
	return p, nil
}

// setCookie is a cookie as the generated code wants it.
func setCookie(cookie *http.Cookie) *string {
	text := cookie.String()
	return &text
}
