// Package app wires roles into a process: it is the only place that constructs across packages.
//
// `midwatch up` runs every role on embedded parts; `midwatch <role>` runs one against real
// servers. The roles are the same code either way: they get the parts that they use and mount
// their routes on the listener that they are given.
package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"runtime/debug"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/midwatch/midwatch/services/access"
	"github.com/midwatch/midwatch/services/config"
	"github.com/midwatch/midwatch/services/self"
	"github.com/midwatch/midwatch/storage/catalog"
)

// Role is one job of a process.
type Role string

// The roles.
const (
	IngestMetrics  Role = "ingest-metrics"
	IngestLogs     Role = "ingest-logs"
	IngestErrors   Role = "ingest-errors"
	IngestCheckins Role = "ingest-checkins"
	Writer         Role = "writer"
	Query          Role = "query"
	Alerting       Role = "alerting"
	Console        Role = "console"
)

// Roles returns all that run until they are stopped; migrate is a task and no role.
func Roles() []Role {
	return []Role{IngestMetrics, IngestLogs, IngestErrors, IngestCheckins, Writer, Query, Alerting, Console}
}

// roles is a set of them.
type roles []Role

func (r roles) has(any ...Role) bool {
	return slices.ContainsFunc(r, func(role Role) bool { return slices.Contains(any, role) })
}

func (r roles) ingest() bool {
	return r.has(IngestMetrics, IngestLogs, IngestErrors, IngestCheckins)
}

// Options say what to run.
type Options struct {
	Config  config.Config
	Version string
	// Out gets the logs and the welcome of Up.
	Out io.Writer
	// Then, where set, runs beside the roles of Up once all are ready.
	Then func(context.Context, Address) error
}

// Address is where to send to a running process: its first project.
type Address struct {
	URLs    access.URLs
	Project catalog.Project
	// APIToken is that of the first start, where it is known: then, or where the configuration gives it.
	APIToken string
}

const (
	// stopTimeout is how long the listeners take to finish their requests at most; the process
	// as a whole stops within 25 s.
	stopTimeout = 10 * time.Second
	// closeTimeout bounds sending the last of the own telemetry.
	closeTimeout = 3 * time.Second
)

// Up runs every role in this process, on embedded parts wherever no URL is set, until ctx ends.
func Up(ctx context.Context, o Options) error {
	if err := os.MkdirAll(o.Config.DataDir, 0o700); err != nil {
		return fmt.Errorf("make the data folder: %w", err)
	}
	unlock, err := lockDir(o.Config.DataDir)
	if err != nil {
		return err
	}
	defer unlock()
	return run(ctx, o, "up", Roles())
}

// Run runs one role against real servers until ctx ends.
func Run(ctx context.Context, o Options, role Role) error {
	if err := o.Config.RequireServers(); err != nil {
		return err
	}
	return run(ctx, o, string(role), roles{role})
}

// Migrate brings the schemas up to date and makes the first user, organisation and project.
func Migrate(ctx context.Context, o Options) (err error) {
	if err := o.Config.RequireServers(); err != nil {
		return err
	}
	own, err := openSelf(ctx, o, "migrate")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeSelf(ctx, own)) }()
	p := &parts{cfg: o.Config, log: own.Log}
	defer p.close()
	if err := p.openCatalog(ctx); err != nil {
		return err
	}
	first, err := p.migrateCatalog(ctx)
	if err != nil {
		return err
	}
	if err := p.openStore(ctx, string(o.Config.ClickHouseURL)); err != nil {
		return err
	}
	if err := p.store.Migrate(ctx); err != nil {
		return err
	}
	own.Log.Info("schemas are up to date")
	printFirst(o.Out, first)
	return nil
}

func openSelf(ctx context.Context, o Options, name string) (*self.Self, error) {
	return self.Open(ctx, self.Config{
		Service: "midwatch-" + name, Version: o.Version, Environment: o.Config.Name,
		LogFormat: o.Config.Log.Format, LogLevel: o.Config.Log.Level,
		SentryDSN: string(o.Config.SentryDSN), OTLPEndpoint: o.Config.OTLPEndpoint,
	}, o.Out)
}

func closeSelf(ctx context.Context, own *self.Self) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	return own.Close(ctx)
}

// limitMemory has the runtime keep to a soft limit where GOMEMLIMIT has set none. Bursts leave garbage
// behind that is several times what lives.
func limitMemory(bytes int64) {
	const ask = -1
	if bytes > 0 && debug.SetMemoryLimit(ask) == math.MaxInt64 {
		debug.SetMemoryLimit(bytes)
	}
}

// run is the life of a process. What is started first stops last: parts, workers, listeners.
func run(ctx context.Context, o Options, name string, r roles) (err error) {
	began := time.Now()
	own, err := openSelf(ctx, o, name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeSelf(ctx, own)) }()
	own.Log.Info("starting", "role", name, "version", o.Version)
	limitMemory(o.Config.Process.MemoryBytes)

	// Ports first: that one is taken should be said before anything is started.
	l, err := listen(ctx, o.Config, r)
	if err != nil {
		return err
	}
	defer l.close()

	p := &parts{cfg: o.Config, log: own.Log}
	defer p.close()
	if err := p.open(ctx, own, r); err != nil {
		return err
	}
	w, err := wire(o.Config, own, p, l, r)
	if err != nil {
		return err
	}

	partStage := newStage(context.WithoutCancel(ctx))
	workerStage := newStage(partStage.ctx)
	listenStage := newStage(workerStage.ctx)
	p.run(partStage)
	w.run(workerStage)
	l.serve(listenStage, own.Log)
	workerStage.Go(func(ctx context.Context) error {
		if err := p.awaitStore(ctx); err != nil {
			return err
		}
		own.Log.Info("running", "role", name, "duration_ms", time.Since(began).Milliseconds())
		if name == "up" {
			welcome(o.Out, l.urls, p.first, time.Since(began))
		}
		if o.Then != nil && ctx.Err() == nil {
			return o.Then(ctx, Address{l.urls, p.first.Project, cmp.Or(p.first.APIToken, string(o.Config.InitAPIToken))})
		}
		return nil
	})

	select {
	case <-ctx.Done():
	case <-listenStage.ctx.Done():
	}
	own.Log.Info("stopping", "role", name)
	own.Stopping()
	l.stop(stopTimeout)
	return errors.Join(listenStage.stop(), workerStage.stop(), partStage.stop())
}

// stage is a set of loops that end together; the failure of one ends the others.
type stage struct {
	ctx    context.Context
	cancel context.CancelFunc
	group  *errgroup.Group
}

func newStage(parent context.Context) *stage {
	ctx, cancel := context.WithCancel(parent)
	group, ctx := errgroup.WithContext(ctx)
	return &stage{ctx, cancel, group}
}

func (s *stage) Go(f func(context.Context) error) {
	s.group.Go(func() error { return f(s.ctx) })
}

func (s *stage) stop() error {
	s.cancel()
	return s.group.Wait()
}
