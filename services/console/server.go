// Package console is the control plane's side of Midwatch's API: signing in, projects, keys,
// the life of issues, monitors and where they are shown, probes, and what alerting is configured with
// and does.
package console

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"

	"github.com/labstack/echo/v4"

	"github.com/midwatch/midwatch/alerts/desk"
	"github.com/midwatch/midwatch/alerts/notify/receivers"
	"github.com/midwatch/midwatch/alerts/oncall"
	"github.com/midwatch/midwatch/alerts/probe"
	"github.com/midwatch/midwatch/alerts/rule"
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
	// Desk is where incidents are changed.
	Desk *desk.Desk
	// LinkSecret signs the links in messages.
	LinkSecret string
}

// Server answers the operations of the API that are tagged console.
type Server struct {
	urls       access.URLs
	desk       *desk.Desk
	linkSecret string
	db         *catalog.DB
	guard      *access.Guard
	cache      *cache.Cache
	log        *slog.Logger

	prober *probe.Prober
	trying chan struct{} // a place for each probe that is being tried
}

var _ StrictServerInterface = (*Server)(nil)

// New returns a Server over db, which limits sign-ins by cache.
func New(cfg Config, db *catalog.DB, guard *access.Guard, c *cache.Cache, log *slog.Logger) *Server {
	return &Server{
		urls: cfg.URLs, desk: cfg.Desk, linkSecret: cfg.LinkSecret, db: db, guard: guard, cache: c, log: log,
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
			"dismissNotice": guarded(body[NoticeDismissal]),
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

			"resolveIssues": guarded(body[IssuesResolution]),
			"reopenIssues":  guarded(body[IssueChoice]),
			"resolveIssue":  guarded(body[IssueResolution]),
			"reopenIssue":   guarded(),

			"listRules":       guarded(),
			"validateRule":    guarded(body[rule.Rule]),
			"getRule":         guarded(),
			"putRule":         guarded(body[rule.Rule]),
			"deleteRule":      guarded(),
			"listTransitions": guarded(),

			"listReceivers":  guarded(),
			"putReceiver":    guarded(body[receivers.Receiver]),
			"deleteReceiver": guarded(),
			"testReceiver":   guarded(),
			"listDeliveries": guarded(),
			"getDelivery":    guarded(),

			"listTeams":      guarded(),
			"putTeam":        guarded(body[oncall.Team]),
			"deleteTeam":     guarded(),
			"listPeople":     guarded(),
			"putPerson":      guarded(body[oncall.Person]),
			"deletePerson":   guarded(),
			"listSchedules":  guarded(),
			"putSchedule":    guarded(body[oncall.Schedule]),
			"deleteSchedule": guarded(),
			"listShifts":     guarded(),
			"listPolicies":   guarded(),
			"putPolicy":      guarded(body[oncall.Policy]),
			"deletePolicy":   guarded(),
			"listWindows":    guarded(),
			"putWindow":      guarded(body[oncall.Window]),
			"deleteWindow":   guarded(),
			"getRoutes":      guarded(),
			"putRoutes":      guarded(body[oncall.Routes]),
			"listSilences":   guarded(),
			"createSilence":  guarded(body[NewSilence]),
			"previewSilence": guarded(body[NewSilence]),
			"endSilence":     guarded(),

			"listDeploys":  guarded(),
			"createDeploy": guarded(body[NewDeploy]),
			"markDeploy":   {private, s.withKey, body[NewDeploy]},

			"createEndedEntity": guarded(body[NewEndedEntity]),
			"markEndedEntity":   {private, s.withKey, body[NewEndedEntity]},

			"getDigest":           guarded(),
			"listIncidents":       guarded(),
			"getIncident":         guarded(),
			"acknowledgeIncident": guarded(),
			"escalateIncident":    guarded(),
			"noteIncident":        guarded(body[IncidentNote]),
			"resolveIncident":     guarded(body[IncidentReason]),
			"markFalseAlarm":      guarded(),
			"getAlerting":         guarded(),
		},
	})
	s.mountLinks(e)
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
