package self

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/pprof"
	"runtime/debug"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
)

// checkTimeout bounds one readiness check.
const checkTimeout = 2 * time.Second

// health knows the parts that this process needs to do its job.
type health struct {
	mu       sync.Mutex
	checks   []check
	stopping bool
}

type check struct {
	name string
	ping func(context.Context) error
}

// Needs adds a part to readiness: the process is ready when every part answers.
func (s *Self) Needs(name string, ping func(context.Context) error) {
	s.health.mu.Lock()
	defer s.health.mu.Unlock()
	s.health.checks = append(s.health.checks, check{name, ping})
}

// Stopping makes the process not ready for good, so that no new work is sent to it.
func (s *Self) Stopping() {
	s.health.mu.Lock()
	defer s.health.mu.Unlock()
	s.health.stopping = true
}

// Ready asks every part, at the same time, and names those that do not answer.
func (s *Self) Ready(ctx context.Context) error {
	s.health.mu.Lock()
	checks, stopping := s.health.checks, s.health.stopping
	s.health.mu.Unlock()
	if stopping {
		return errors.New("stopping")
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	errs := make([]error, len(checks))
	var wg sync.WaitGroup
	for i, c := range checks {
		wg.Go(func() {
			if err := c.ping(ctx); err != nil {
				errs[i] = fmt.Errorf("%s: %w", c.name, err)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// MountInternal serves what only operators see: /healthz, /readyz, /metrics and /debug/pprof/.
func (s *Self) MountInternal(e *echo.Echo) {
	e.GET("/healthz", func(c echo.Context) error { return c.String(http.StatusOK, "alive\n") })
	e.GET("/readyz", func(c echo.Context) error {
		if err := s.Ready(c.Request().Context()); err != nil {
			return c.String(http.StatusServiceUnavailable, err.Error()+"\n")
		}
		return c.String(http.StatusOK, "ready\n")
	})
	e.GET("/metrics", echo.WrapHandler(promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{})))
	for path, handler := range map[string]http.HandlerFunc{
		"/debug/pprof/cmdline": pprof.Cmdline,
		"/debug/pprof/profile": pprof.Profile,
		"/debug/pprof/symbol":  pprof.Symbol,
		"/debug/pprof/trace":   pprof.Trace,
		"/debug/pprof/*":       pprof.Index,
	} {
		e.GET(path, echo.WrapHandler(handler))
	}
}

// Watch is the middleware of every public listener: it turns panics into errors, reports them,
// and makes a span of each request.
func (s *Self) Watch() echo.MiddlewareFunc {
	tracer := s.Tracer("http")
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) (err error) {
			ctx, span := tracer.Start(c.Request().Context(), c.Request().Method+" "+c.Path())
			defer span.End()
			if span.IsRecording() {
				c.SetRequest(c.Request().WithContext(ctx))
			}
			defer func() {
				r := recover()
				if r == nil {
					return
				}
				if cause, ok := r.(error); ok && errors.Is(cause, http.ErrAbortHandler) {
					panic(r)
				}
				err = fmt.Errorf("panic: %v", r)
				s.Report(err)
				s.Log.Error("handler panicked", "route", c.Path(), "err", err, "stack", string(debug.Stack()))
			}()
			err = next(c)
			if span.IsRecording() {
				span.SetAttributes(attribute.Int("http.response.status_code", c.Response().Status))
				if err != nil {
					span.SetStatus(codes.Error, err.Error())
				}
			}
			return err
		}
	}
}
