package evaluate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/midwatch/midwatch/alerts/incident"
	"github.com/midwatch/midwatch/alerts/rule"
	"github.com/midwatch/midwatch/storage/bus"
	"github.com/midwatch/midwatch/storage/catalog"
	"github.com/midwatch/midwatch/storage/telemetry"
)

const (
	// Shards is how many shards projects are spread over.
	Shards = 64
	// parallel is how many projects are evaluated at once.
	parallel     = 8
	tickInterval = time.Second
	// leaveTimeout bounds the last words of a replica that stops.
	leaveTimeout = 3 * time.Second
)

// Desk takes what is to be told to people. It does so within the transaction that keeps why.
type Desk interface {
	Apply(ctx context.Context, tx *catalog.Tx, organisation string, signals []incident.Signal, now time.Time) error
	// Woke says that a transaction of Apply has been committed.
	Woke()
}

// Config of an Evaluator.
type Config struct {
	// Replica names this process among all that evaluate, at any time.
	Replica string
	// Watermark says up to when data can be read; without one whatever was sent is taken to be there.
	Watermark *Watermark
	// Canary names the organisation and the rule of the canaries that fly for each shard; empty is none.
	Canary string
	// Clock replaces that of the database, in tests.
	Clock func(context.Context) (time.Time, error)
}

// Evaluator evaluates the rules of the shards that it holds, beside any number of others.
type Evaluator struct {
	cfg   Config
	db    *catalog.DB
	store *telemetry.Store
	desk  Desk
	log   *slog.Logger

	slots  metric.Int64Counter
	events metric.Int64Counter
	took   metric.Float64Histogram
	owned  metric.Int64Gauge

	replica  *replica
	canaries *canaries // nil: none fly
	book     *book
	readAt   int64     // when the book was last what people have configured
	minute   time.Time // of the accounts that were last kept

	running sync.WaitGroup
	places  chan struct{} // of projects that are evaluated

	mu       sync.Mutex
	projects map[uint32]*project // those that nobody advances
	busy     map[uint32]bool
	progress map[uint32]progress
	accounts catalog.Account
}

// progress is how far a project was after its last step: the rules that a version of the book has are
// evaluated for all slots before next. It counts while the shard is held by the same epoch.
type progress struct {
	shard   catalog.Shard
	version int64
	next    int64
}

// New makes an evaluator; Run starts it.
func New(cfg Config, db *catalog.DB, store *telemetry.Store, desk Desk, meter metric.Meter, log *slog.Logger) (*Evaluator, error) {
	if cfg.Replica == "" {
		return nil, errors.New("make the evaluator: a replica needs a name")
	}
	e := &Evaluator{
		cfg: cfg, db: db, store: store, desk: desk, log: log, replica: newReplica(cfg.Replica, Shards, db),
		projects: map[uint32]*project{}, busy: map[uint32]bool{}, progress: map[uint32]progress{},
		places: make(chan struct{}, parallel),
	}
	var errs [4]error
	e.slots, errs[0] = meter.Int64Counter("midwatch.alerting.slots", metric.WithDescription("Slots of rules, by what became of them"))
	e.events, errs[1] = meter.Int64Counter("midwatch.alerting.signals", metric.WithDescription("What evaluation had to tell people, by kind"))
	e.took, errs[2] = meter.Float64Histogram("midwatch.alerting.evaluation.duration", metric.WithUnit("s"), metric.WithDescription("Time that the slots of a project took"))
	e.owned, errs[3] = meter.Int64Gauge("midwatch.alerting.shards", metric.WithDescription("Shards that this replica holds"))
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("make the evaluator's metrics: %w", err)
	}
	if cfg.Canary != "" {
		var err error
		if e.canaries, err = newCanaries(e); err != nil {
			return nil, fmt.Errorf("make the canaries: %w", err)
		}
	}
	return e, nil
}

// Run evaluates until ctx ends, which is its only reason to return. Faults of SQL and of the store
// are waited out.
func (e *Evaluator) Run(ctx context.Context) error {
	ticker := time.NewTicker(tickInterval)
	defer ticker.Stop()
	for {
		if err := e.tick(ctx); err != nil && ctx.Err() == nil {
			e.log.Warn("evaluation waits", "err", err)
		}
		select {
		case <-ctx.Done():
			e.running.Wait()
			return e.leave(context.WithoutCancel(ctx))
		case <-ticker.C:
		}
	}
}

// leave lets others take over at once.
func (e *Evaluator) leave(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, leaveTimeout)
	defer cancel()
	if err := e.replica.resign(ctx); err != nil {
		e.log.Warn("leases run out by themselves", "err", err)
	}
	return nil
}

// now is the database's time. The error says that this process's clock cannot be relied upon.
func (e *Evaluator) now(ctx context.Context) (time.Time, error) {
	if e.cfg.Clock != nil {
		return e.cfg.Clock(ctx)
	}
	before := time.Now()
	now, err := e.db.Clock(ctx)
	if err != nil {
		return time.Time{}, err
	}
	if skew := now.Sub(before).Abs(); skew > maxSkew && skew > time.Since(before)+maxSkew {
		return time.Time{}, fmt.Errorf("%w: by %s", errSkew, skew)
	}
	return now, nil
}

var errSkew = errors.New("the clocks of this process and of the database differ")

// tick begins what is due. It does not wait for it.
func (e *Evaluator) tick(ctx context.Context) error {
	now, err := e.now(ctx)
	if errors.Is(err, errSkew) {
		return errors.Join(err, e.replica.resign(ctx))
	}
	if err != nil {
		return err
	}
	had := len(e.replica.held)
	if err := e.replica.tick(ctx, now, e.evaluated); err != nil {
		return err
	}
	e.owned.Record(ctx, int64(len(e.replica.held)))
	if err := e.read(ctx); err != nil {
		return err
	}
	e.readAt = now.Unix()
	if len(e.replica.held) > had {
		if err := e.adopt(ctx); err != nil {
			return err
		}
	}
	looked := e.look(ctx, now)
	e.begin(ctx, now)
	e.fly(ctx, now.Unix())
	return errors.Join(looked, e.keepAccounts(ctx, now))
}

// look moves the watermarks on. Where that fails they stand still, and slots wait for them for as long
// as they wait for any data.
func (e *Evaluator) look(ctx context.Context, now time.Time) error {
	if e.cfg.Watermark == nil {
		return nil
	}
	var errs []error
	for _, s := range []bus.Signal{bus.Metrics, bus.Logs, bus.Errors} {
		errs = append(errs, e.cfg.Watermark.Look(ctx, s, now))
	}
	return errors.Join(errs...)
}

// read reads what people have configured, if that has changed.
func (e *Evaluator) read(ctx context.Context) error {
	version, err := e.db.DocumentsVersion(ctx)
	if err != nil {
		return err
	}
	if e.book != nil && e.book.version == version {
		return nil
	}
	b, err := readBook(ctx, e.db, version, e.book, e.log)
	if err != nil {
		return err
	}
	e.book = b
	return nil
}

// adopt finds projects in the shards that are new here which have states but no rules: these end.
func (e *Evaluator) adopt(ctx context.Context) error {
	states, err := e.db.RuleStates(ctx)
	if err != nil {
		return err
	}
	for _, s := range states {
		if _, mine := e.replica.held[ShardOf(s.Project)]; !mine || s.Project == 0 || e.book.projects[s.Project] != nil {
			continue // project 0 are the canaries
		}
		owner, err := e.db.Project(ctx, s.Project)
		if errors.Is(err, catalog.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		e.mu.Lock()
		if e.projects[s.Project] == nil && !e.busy[s.Project] {
			e.projects[s.Project] = e.newProject(s.Project, owner.OrganisationID)
		}
		e.mu.Unlock()
	}
	return nil
}

func (e *Evaluator) newProject(number uint32, organisation string) *project {
	return &project{number: number, organisation: organisation, reader: NewReader(e.store, number), rules: map[string]*tracked{}}
}

// begin advances the projects of the shards that are held, as many as there is room for.
func (e *Evaluator) begin(ctx context.Context, now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for number, c := range e.book.projects {
		if e.projects[number] == nil && !e.busy[number] {
			e.projects[number] = e.newProject(number, c.organisation)
		}
	}
	for number, p := range e.projects {
		shard, mine := e.replica.held[ShardOf(number)]
		if !mine || e.book.projects[number] == nil && p.loaded && len(p.rules) == 0 {
			delete(e.projects, number)
			delete(e.progress, number)
			continue
		}
		if p.shard != shard {
			p.shard, p.loaded = shard, false
		}
		s := &step{Evaluator: e, project: p, chapter: e.book.projects[number], book: e.book, now: now.Unix()}
		if !s.needed() {
			e.progress[number] = s.reached()
			continue
		}
		select {
		case e.places <- struct{}{}:
		default:
			return // the next tick has room
		}
		delete(e.projects, number)
		e.busy[number] = true
		e.running.Go(func() { e.run(ctx, s) })
	}
}

// needed reports whether there is anything to do for a project, so far as it is known without a read.
func (s *step) needed() bool {
	p := s.project
	if !p.loaded || len(p.rules) != len(s.plans()) {
		return true
	}
	for id, plan := range s.plans() {
		t := p.rules[id]
		if t == nil || t.plan != plan || plan.Slot(s.now) > t.memory.Cursor {
			return true
		}
	}
	return false
}

func (e *Evaluator) run(ctx context.Context, s *step) {
	defer func() { <-e.places }()
	began := time.Now()
	err := s.advance(ctx)
	e.took.Record(ctx, time.Since(began).Seconds())
	if err != nil && ctx.Err() == nil {
		e.log.Warn("the slots of a project wait", "project_id", s.project.number, "err", err)
	}
	if err == nil {
		e.count(s.account)
		for _, o := range s.outcomes {
			for _, signal := range o.signals {
				e.events.Add(ctx, 1, metric.WithAttributes(attribute.String("kind", string(signal.Kind))))
			}
		}
		for fate, n := range map[string]int64{"done": s.account.Done, "held": s.account.Held, "failed": s.account.Failed} {
			e.slots.Add(ctx, n, metric.WithAttributes(attribute.String("fate", fate)))
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.busy, s.project.number)
	e.projects[s.project.number] = s.project
	e.progress[s.project.number] = s.reached()
}

// reached is how far a project is, whose step is over.
func (s *step) reached() progress {
	p := s.project
	r := progress{shard: p.shard, version: s.book.version, next: math.MaxInt64}
	if !p.loaded {
		r.next = 0
	}
	for id, plan := range s.plans() {
		if t := p.rules[id]; t == nil || t.plan != plan {
			r.next = 0
		} else {
			r.next = min(r.next, t.memory.Cursor+plan.interval)
		}
	}
	return r
}

// evaluated is up to when all rules of each shard are evaluated, which is told with each renewal of the
// leases: what is kept of a rule itself is minutes behind, so that a slot costs no write.
func (e *Evaluator) evaluated() map[int]time.Time {
	if e.book == nil {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	until := map[int]int64{}
	for number := range e.book.projects {
		shard, mine := e.replica.held[ShardOf(number)]
		if !mine {
			continue
		}
		if _, seen := until[shard.ID]; !seen {
			until[shard.ID] = e.readAt // a rule may have come since
		}
		last := int64(0)
		if r := e.progress[number]; r.shard == shard && r.version == e.book.version {
			last = r.next - 1
		}
		until[shard.ID] = min(until[shard.ID], last)
	}
	out := make(map[int]time.Time, len(until))
	for shard, at := range until {
		if at > 0 {
			out[shard] = unix(at)
		}
	}
	return out
}

// watermark is up to when the data of a source can be read, in Unix seconds.
func (e *Evaluator) watermark(s rule.Source, now int64) int64 {
	if e.cfg.Watermark == nil {
		return now
	}
	at := e.cfg.Watermark.At(s)
	if at.IsZero() {
		return 0
	}
	return at.Unix()
}

// keepAccounts keeps, once a minute, how many slots were due and what became of them.
func (e *Evaluator) keepAccounts(ctx context.Context, now time.Time) error {
	minute := now.Truncate(time.Minute)
	if minute.Equal(e.minute) {
		return nil
	}
	e.mu.Lock()
	a := e.accounts
	e.mu.Unlock()
	a.Minute, a.Replica = minute.Add(-time.Minute), e.cfg.Replica
	if a.Due+a.Done+a.Held+a.Failed > 0 {
		if err := e.db.InTx(ctx, func(tx *catalog.Tx) error { return tx.AddAccount(ctx, a) }); err != nil {
			return err
		}
	}
	e.minute = minute
	e.count(catalog.Account{Due: -a.Due, Done: -a.Done, Held: -a.Held, Failed: -a.Failed})
	return nil
}

// count adds to the accounts.
func (e *Evaluator) count(a catalog.Account) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.accounts.Due += a.Due
	e.accounts.Done += a.Done
	e.accounts.Held += a.Held
	e.accounts.Failed += a.Failed
}
