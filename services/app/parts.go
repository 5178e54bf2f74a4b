package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/midwatch/midwatch/services/config"
	"github.com/midwatch/midwatch/services/self"
	"github.com/midwatch/midwatch/storage/bus"
	"github.com/midwatch/midwatch/storage/cache"
	"github.com/midwatch/midwatch/storage/catalog"
	"github.com/midwatch/midwatch/storage/engine"
	"github.com/midwatch/midwatch/storage/telemetry"
)

// parts are the backing services of a process: clients of real servers, or embedded ones.
type parts struct {
	cfg config.Config
	log *slog.Logger

	catalog *catalog.DB
	cache   *cache.Cache
	usage   *cache.Usage
	bus     *bus.Bus
	engine  *engine.Engine // nil when ClickHouse is elsewhere
	store   *telemetry.Store

	// linkSecret signs the links in messages about incidents.
	linkSecret string

	// first is what the first start made; its Created is false later.
	first catalog.Initialised
	// ready is closed once the store answers and has its tables.
	ready     chan struct{}
	readyOnce sync.Once
}

// lockDir keeps a second process from the data folder. The lock goes with the process, however
// it ends.
func lockDir(dir string) (unlock func(), err error) {
	file, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the data folder: %w", err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("another midwatch is running on %s; stop it or set MIDWATCH_DATA_DIR", dir), file.Close())
	}
	return func() { file.Close() }, nil
}

// open brings up what the roles use. ClickHouse may still be on its way afterwards: intake does
// not wait for it.
func (p *parts) open(ctx context.Context, own *self.Self, r roles) error {
	p.ready = make(chan struct{})
	if r.ingest() || r.has(Writer, Query, Alerting, Console) {
		if err := p.openCatalog(ctx); err != nil {
			return err
		}
		own.Needs("sql", p.catalog.Ping)
	}
	if p.embedded() {
		first, err := p.migrateCatalog(ctx)
		if err != nil {
			return err
		}
		p.first = first
	}
	if r.has(Alerting, Console) {
		// It is read here and not when a message is written: that happens within a transaction.
		var err error
		if p.linkSecret, err = p.catalog.Secret(ctx, "links", rand.Text); err != nil {
			return err
		}
	}
	if r.ingest() || r.has(Console) {
		var err error
		if p.cache, err = cache.Open(ctx, cache.Config{URL: string(p.cfg.RedisURL), Prefix: p.cfg.RedisPrefix}); err != nil {
			return err
		}
		p.usage = cache.NewUsage(p.cache, p.cfg.Limits, p.log)
	}
	if r.ingest() || r.has(Writer, Alerting) {
		var err error
		p.bus, err = bus.Open(ctx, bus.Config{
			URL: string(p.cfg.NATSURL), Dir: filepath.Join(p.cfg.DataDir, "bus"), Prefix: p.cfg.NATSPrefix,
			MaxBytes: p.cfg.Bus.MaxBytes, DuplicateWindow: p.cfg.Bus.DuplicateWindow.Duration, Replicas: p.cfg.Bus.Replicas,
			MinFree: p.cfg.Disk.Refuse,
		}, p.log)
		if err != nil {
			return err
		}
		own.Needs("bus", p.bus.Ping)
	}
	if !r.has(Writer, Query, Alerting) {
		p.readyOnce.Do(func() { close(p.ready) })
		return nil
	}
	url := string(p.cfg.ClickHouseURL)
	if url == "" {
		library, server, err := engine.Find(os.Getenv)
		if err != nil {
			return err
		}
		p.engine = engine.New(engine.Config{
			Library: library, Server: server, Dir: filepath.Join(p.cfg.DataDir, "clickhouse"), MemoryBytes: p.cfg.Engine.MemoryBytes,
		}, p.log)
		url = p.engine.URL()
	}
	if err := p.openStore(ctx, url); err != nil {
		return err
	}
	own.Needs("clickhouse", func(ctx context.Context) error {
		select {
		case <-p.ready:
			return p.store.Ping(ctx)
		default:
			return errors.New("starting")
		}
	})
	return nil
}

// embedded says whether this process is `midwatch up`, which makes its own schemas; with servers
// for everything `midwatch migrate` may have run already, which does no harm.
func (p *parts) embedded() bool { return p.cfg.RequireServers() != nil }

func (p *parts) openCatalog(ctx context.Context) (err error) {
	p.catalog, err = catalog.Open(ctx, catalog.Config{
		URL: string(p.cfg.DatabaseURL), Path: filepath.Join(p.cfg.DataDir, "catalog.sqlite"),
	})
	return err
}

func (p *parts) migrateCatalog(ctx context.Context) (catalog.Initialised, error) {
	if err := p.catalog.Migrate(ctx); err != nil {
		return catalog.Initialised{}, err
	}
	return p.catalog.Initialise(ctx, catalog.Initial{
		Email: p.cfg.InitEmail, Password: string(p.cfg.InitPassword),
		IngestKey: string(p.cfg.InitIngestKey), APIToken: string(p.cfg.InitAPIToken),
	})
}

func (p *parts) openStore(ctx context.Context, url string) (err error) {
	p.store, err = telemetry.Open(ctx, url, p.log)
	return err
}

// run keeps the embedded parts alive and makes the tables once ClickHouse answers.
func (p *parts) run(s *stage) {
	if p.cache != nil {
		s.Go(p.cache.Run)
		s.Go(p.usage.Run)
	}
	if p.engine != nil {
		s.Go(p.engine.Run)
	}
	if p.store != nil {
		s.Go(p.prepareStore)
	}
}

// prepareStore waits for ClickHouse and, when this process runs everything, makes the tables.
func (p *parts) prepareStore(ctx context.Context) error {
	const pauseBetweenTries = 250 * time.Millisecond
	for warned := false; ; {
		err := p.tryStore(ctx)
		if err == nil {
			p.readyOnce.Do(func() { close(p.ready) })
			return nil
		}
		if ctx.Err() != nil {
			return nil
		}
		if !warned && p.engine == nil {
			p.log.Warn("waiting for clickhouse", "err", err)
			warned = true
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pauseBetweenTries):
		}
	}
}

func (p *parts) tryStore(ctx context.Context) error {
	if p.engine != nil {
		if err := p.engine.Ready(ctx); err != nil {
			return err
		}
	}
	if p.embedded() {
		return p.store.Migrate(ctx)
	}
	return p.store.Ping(ctx)
}

// awaitStore returns when the store is ready, at once where no role needs it.
func (p *parts) awaitStore(ctx context.Context) error {
	select {
	case <-p.ready:
	case <-ctx.Done():
	}
	return nil
}

// close lets go of everything that was opened, last first.
func (p *parts) close() {
	var errs []error
	if p.store != nil {
		errs = append(errs, p.store.Close())
	}
	if p.bus != nil {
		p.bus.Close()
	}
	if p.cache != nil {
		errs = append(errs, p.cache.Close())
	}
	if p.catalog != nil {
		errs = append(errs, p.catalog.Close())
	}
	if err := errors.Join(errs...); err != nil {
		p.log.Warn("parts not closed cleanly", "err", err)
	}
}
