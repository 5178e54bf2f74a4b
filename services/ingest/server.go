// Package ingest is the edge that telemetry comes in by: it finds the project by its key, limits,
// unpacks and decodes what was sent, and answers only after the bus has it on disk.
//
// The protocols themselves are pure packages below this one; what is here speaks HTTP and gRPC.
package ingest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/midwatch/midwatch/storage/bus"
	"github.com/midwatch/midwatch/storage/cache"
)

// Config bounds what intake takes. The zero value means the defaults.
type Config struct {
	// MaxBodyBytes is the limit of one request's body after decompression; 16 MiB by default. It
	// is the limit of a gRPC message as well.
	MaxBodyBytes int64
	// MaxHeldBytes is the limit of all bodies that are held at one time; 256 MiB by default.
	// Requests beyond it are told to come back.
	MaxHeldBytes int64
	// ReadTimeout is how long a body may take to arrive; 30 s by default.
	ReadTimeout time.Duration
	// PublishTimeout is how long the bus may take to store a request; 10 s by default.
	PublishTimeout time.Duration
	// RetryAfter is what clients are told to wait while the bus is full or away; 5 s by default.
	RetryAfter time.Duration
	// Meter takes intake's own metrics; none are taken without it.
	Meter metric.Meter
}

func (c Config) withDefaults() Config {
	if c.MaxBodyBytes <= 0 {
		c.MaxBodyBytes = 16 << 20
	}
	if c.MaxHeldBytes <= 0 {
		c.MaxHeldBytes = 256 << 20
	}
	c.MaxHeldBytes = max(c.MaxHeldBytes, 2*c.MaxBodyBytes)
	if c.ReadTimeout <= 0 {
		c.ReadTimeout = 30 * time.Second
	}
	if c.PublishTimeout <= 0 {
		c.PublishTimeout = 10 * time.Second
	}
	if c.RetryAfter <= 0 {
		c.RetryAfter = 5 * time.Second
	}
	if c.Meter == nil {
		c.Meter = noop.Meter{}
	}
	return c
}

// Signals says which kinds of telemetry a server takes: a role of the cluster takes one, the
// all-in-one takes all.
type Signals struct {
	Metrics, Logs, Errors, Checkins bool
}

// traces are taken in only to be refused with words; they have no stream.
const traces bus.Signal = "traces"

// Server serves the intake protocols. It is safe for concurrent use.
type Server struct {
	cfg   Config
	serve Signals
	keys  *Keys
	bus   *bus.Bus
	usage *cache.Usage // nil: no limits
	log   *slog.Logger

	held  gauge
	meter instruments
}

// New makes a server. It does no I/O. A nil usage means that no project is limited.
func New(cfg Config, serve Signals, keys *Keys, b *bus.Bus, usage *cache.Usage, log *slog.Logger) (*Server, error) {
	cfg = cfg.withDefaults()
	meter, err := newInstruments(cfg.Meter)
	if err != nil {
		return nil, err
	}
	return &Server{
		cfg: cfg, serve: serve, keys: keys, bus: b, usage: usage, log: log,
		held: gauge{limit: cfg.MaxHeldBytes}, meter: meter,
	}, nil
}

// Mount adds the routes of every protocol of the served signals.
func (s *Server) Mount(e *echo.Echo) {
	s.MountOTLP(e)
	if s.serve.Metrics {
		s.post(e, "/api/v1/write", s.intake(bus.Metrics, remoteWriteProtocol, s.remoteWrite))
	}
	if s.serve.Logs {
		s.post(e, "/v1/ingest/logs", s.intake(bus.Logs, "json", s.jsonLogs))
	}
	if s.serve.Errors {
		s.mountSentry(e)
	}
	if s.serve.Checkins {
		s.mountCheckins(e)
	}
}

// MountOTLP adds only the routes of OTLP/HTTP, for the port that is its own.
func (s *Server) MountOTLP(e *echo.Echo) {
	if s.serve.Metrics {
		s.post(e, "/v1/metrics", s.intake(bus.Metrics, otlpHTTP, s.otlpMetrics))
	}
	if s.serve.Logs {
		s.post(e, "/v1/logs", s.intake(bus.Logs, otlpHTTP, s.otlpLogs))
	}
	if s.serve.Metrics || s.serve.Logs {
		s.post(e, "/v1/traces", s.intake(traces, otlpHTTP, s.otlpTraces))
	}
}

// post adds a route with and without a trailing slash: clients use both and do not follow a
// redirect of a POST.
func (s *Server) post(e *echo.Echo, path string, h echo.HandlerFunc) {
	e.POST(path, h)
	e.POST(path+"/", h)
}

// intake is what every intake handler runs within: it counts and times the request, and lets go
// of what body took once the handler has returned. Bytes from body are not valid after that.
func (s *Server) intake(signal bus.Signal, protocol string, h echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		start := time.Now()
		var l lease
		c.Set(leaseKey, &l)
		defer func() {
			c.Set(leaseKey, nil)
			s.release(&l)
		}()
		err := h(c)
		s.meter.request(c.Request().Context(), signal, protocol, strconv.Itoa(c.Response().Status), l.bytes, time.Since(start))
		return err
	}
}

// retryError is a passing fault that is not the client's: it is asked to send the same again.
type retryError struct {
	// status is 429 where the project has used up what it may send, else 503.
	status int
	after  time.Duration
	// message is fit for the client; err is for the log and may be nil.
	message string
	err     error
}

func (e *retryError) Error() string {
	if e.err == nil {
		return e.message
	}
	return e.message + ": " + e.err.Error()
}

func (e *retryError) Unwrap() error { return e.err }

// seconds is after as Retry-After has it: whole seconds, at least one.
func (e *retryError) seconds() string {
	return strconv.FormatInt(max(1, int64(math.Ceil(e.after.Seconds()))), 10)
}

// retryable makes of any error that is not the client's fault what the client is to be told. An
// unknown error is a passing fault as well: clients throw away what was answered with 500.
func (s *Server) retryable(err error) *retryError {
	var r *retryError
	switch {
	case errors.As(err, &r):
		return r
	case errors.Is(err, bus.ErrFull):
		return &retryError{http.StatusServiceUnavailable, s.cfg.RetryAfter, "the buffer is full, send this again later", err}
	case errors.Is(err, bus.ErrUnavailable):
		return &retryError{http.StatusServiceUnavailable, s.cfg.RetryAfter, "the buffer does not answer, send this again later", err}
	case errors.Is(err, context.Canceled):
		return &retryError{http.StatusServiceUnavailable, s.cfg.RetryAfter, "the request was given up, send it again", err}
	default:
		return &retryError{http.StatusServiceUnavailable, s.cfg.RetryAfter, "this cannot be taken right now, send it again later", err}
	}
}

// busy is the error of a server that holds as much as it may.
func (s *Server) busy() *retryError {
	return &retryError{http.StatusServiceUnavailable, s.cfg.RetryAfter, "too many requests are being taken in at this moment, send this again later", nil}
}

// spend takes n records from what a project may send; the error is a *retryError with status 429.
func (s *Server) spend(project uint32, signal bus.Signal, n int) error {
	if s.usage == nil {
		return nil
	}
	after, ok := s.usage.Spend(project, string(signal), int64(n))
	if ok {
		return nil
	}
	return &retryError{
		status: http.StatusTooManyRequests, after: after,
		message: fmt.Sprintf("this project has reached its limit of %s a minute, send this again later", signal),
	}
}

// warn notes a fault of the server that a client was told to retry. Limits are not faults.
func (s *Server) warn(ctx context.Context, project uint32, protocol string, err error) {
	if ctx.Err() != nil {
		return // the client went away; nobody waits for what failed
	}
	var r *retryError
	if errors.As(err, &r) && r.err == nil {
		return
	}
	s.log.WarnContext(ctx, "request not stored", "project_id", project, "protocol", protocol, "err", err)
}

// writeJSON answers with JSON. An error of writing means that the client is gone.
func writeJSON(c echo.Context, status int, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	return c.Blob(status, echo.MIMEApplicationJSON, b)
}
