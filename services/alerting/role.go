package alerting

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/metric"
	"golang.org/x/sync/errgroup"

	"github.com/midwatch/midwatch/alerts/deliver"
	"github.com/midwatch/midwatch/alerts/desk"
	"github.com/midwatch/midwatch/alerts/digest"
	"github.com/midwatch/midwatch/alerts/dossier"
	"github.com/midwatch/midwatch/alerts/evaluate"
	"github.com/midwatch/midwatch/alerts/incident"
	"github.com/midwatch/midwatch/alerts/notify"
	"github.com/midwatch/midwatch/alerts/notify/email"
	"github.com/midwatch/midwatch/alerts/notify/receivers"
	"github.com/midwatch/midwatch/alerts/probe"
	"github.com/midwatch/midwatch/storage/bus"
	"github.com/midwatch/midwatch/storage/catalog"
	"github.com/midwatch/midwatch/storage/follow"
	"github.com/midwatch/midwatch/storage/telemetry"
)

// AllowVariable names the networks that are not public and to which messages may be sent.
const AllowVariable = "MIDWATCH_RECEIVER_ALLOW"

// alone is the name of the only replica there is.
const alone = "the only replica"

// Writer is the name under which the writer keeps its places on the bus.
const Writer = "writer"

const (
	// dueAtOnce is how many incidents are looked at each second.
	dueAtOnce = 1000
	// keepHistory is for how long what happened is kept: transitions, deliveries, digest lines.
	keepHistory = 90 * 24 * time.Hour
	// keepIncidents is for how many months an incident that is over is kept: last year's season can be
	// looked up in this one's.
	keepIncidents = 13
)

// Config says how the role reaches people.
type Config struct {
	// Desk is where incidents are changed.
	Desk *desk.Desk
	// URL is that of the pages.
	URL string
	// Mail takes mails on, MailFrom is their sender.
	Mail     email.Transport
	MailFrom string
	// Allow are networks that are not public and to which messages may be sent all the same.
	Allow []netip.Prefix
	// HeartbeatURL is asked each minute while alerting works; empty is none.
	HeartbeatURL string
}

// Role is all of alerting: monitors, rules, incidents and their messages.
type Role struct {
	cfg       Config
	db        *catalog.DB
	desk      *desk.Desk
	monitors  *Alerter
	evaluator *evaluate.Evaluator
	sender    *deliver.Sender
	dossiers  *dossier.Builder
	watcher   *watcher
	canary    *canary
	drills    *driller
	volumes   *volumes
	log       *slog.Logger
}

// NewRole makes the role; Run starts it.
func NewRole(cfg Config, b *bus.Bus, db *catalog.DB, store *telemetry.Store, meter metric.Meter, log *slog.Logger) (*Role, error) {
	r := &Role{cfg: cfg, db: db, desk: cfg.Desk, log: log}
	var err error
	if r.monitors, err = New(b, db, r.desk, meter, log); err != nil {
		return nil, err
	}
	host, err := os.Hostname()
	if err != nil {
		host = "replica"
	}
	replica, watermark := host+"-"+uuid.NewString()[:8], evaluate.NewWatermark(b, db, Writer)
	if !db.Shared() {
		replica = alone // what was killed is not waited for: nobody else can be at work
	}
	r.evaluator, err = evaluate.New(evaluate.Config{Replica: replica, Watermark: watermark, Canary: desk.DrillID}, db, store, r.desk, meter, log)
	if err != nil {
		return nil, err
	}
	if r.watcher, err = newWatcher(cfg.HeartbeatURL, replica, db, meter, log); err != nil {
		return nil, err
	}
	if r.drills, err = newDriller(cfg.URL, replica, db, meter, log); err != nil {
		return nil, err
	}
	r.volumes = &volumes{holder: replica, db: db, store: store, desk: r.desk, watermark: watermark.At, log: log}
	out := &opener{db: db, deps: receivers.Deps{
		HTTP: probe.NewClient(cfg.Allow, AllowVariable), Mail: cfg.Mail, MailFrom: cfg.MailFrom, PublicURL: cfg.URL, Now: time.Now,
	}}
	r.dossiers = dossier.New(dossier.Config{URL: cfg.URL, Now: db.Clock}, db, store)
	clock := func(ctx context.Context) (time.Time, error) {
		r.watcher.seen("sender", time.Now())
		return db.Clock(ctx)
	}
	r.sender, err = deliver.New(deliver.Config{Open: out.open, Dossier: r.dossier, Add: dossier.Add, Now: clock}, db, r.desk, meter, log)
	if err != nil {
		return nil, err
	}
	r.canary = &canary{holder: replica, db: db, open: out.open, sender: r.sender, log: log}
	return r, nil
}

// Run watches until ctx ends, which is its only reason to return. Faults of its parts are waited out.
func (r *Role) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return r.monitors.Run(ctx) })
	group.Go(func() error { return r.evaluator.Run(ctx) })
	keep := func(name string, run func(context.Context) error) {
		group.Go(func() error { return follow.Keep(ctx, r.log.With("loop", name), run) })
	}
	keep("sender", r.sender.Run)
	keep("incidents", every(time.Second, r.incidents))
	keep("digests", every(time.Minute, digest.New(r.cfg.URL, r.db, r.desk).Run))
	keep("releases", every(time.Minute, r.releases))
	keep("housekeeping", every(time.Hour, r.housekeeping))
	keep("watch", every(lookInterval, r.watcher.look))
	keep("heartbeat", every(heartbeatInterval, r.watcher.beat))
	keep("canary", every(canaryInterval, r.canary.pass))
	keep("drill", every(drillInterval, r.drills.weekly))
	keep("volume", every(volumeInterval, r.volumes.pass))
	return group.Wait()
}

// Health answers GET with how alerting is, and 503 while it cannot be relied upon. It belongs on the
// internal port.
func (r *Role) Health() http.Handler { return r.watcher }

// Drill answers POST with how a fire drill went, which takes minutes. It belongs on the internal port.
func (r *Role) Drill() http.Handler { return http.NewCrossOriginProtection().Handler(r.drills) }

// every calls f now and then again, until it fails.
func every(interval time.Duration, f func(context.Context, time.Time) error) func(context.Context) error {
	return func(ctx context.Context) error {
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		for {
			if err := f(ctx, time.Now().UTC()); err != nil {
				return err
			}
			select {
			case <-ctx.Done():
				return nil
			case <-ticker.C:
			}
		}
	}
}

// incidents does what is due of incidents: escalations, tickets, updates, reminders. One that fails does
// not hold up the others.
func (r *Role) incidents(ctx context.Context, at time.Time) error {
	now, err := r.db.Clock(ctx)
	if err != nil {
		return err
	}
	r.watcher.seen("incidents", at)
	ids, err := r.desk.Due(ctx, now, dueAtOnce)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := r.desk.Tick(ctx, id, now); err != nil && ctx.Err() == nil {
			r.log.Warn("an incident waits", "incident", id, "err", err)
		}
	}
	return nil
}

// dossier puts together what was known when an incident began.
func (r *Role) dossier(ctx context.Context, of catalog.Incident) ([]byte, error) {
	d, err := r.dossiers.Build(ctx, of)
	if err != nil {
		return nil, err
	}
	return json.Marshal(d)
}

// releases notes releases that errors tell of as deploys, for projects that have rules.
func (r *Role) releases(ctx context.Context, _ time.Time) error {
	rules, err := r.db.AllDocuments(ctx, incident.DocRule)
	if err != nil {
		return err
	}
	var last uint32
	for _, d := range rules { // by organisation and project
		if d.Project == last || d.Project == 0 {
			continue
		}
		last = d.Project
		if err := r.dossiers.NoteReleases(ctx, last); err != nil {
			return err
		}
	}
	return nil
}

func (r *Role) housekeeping(ctx context.Context, now time.Time) error {
	if err := r.unseen(ctx, now); err != nil {
		return err
	}
	if err := r.db.DropCanaries(ctx, desk.DrillID, now.Add(-keepCanaries)); err != nil {
		return err
	}
	if err := r.db.DropOldAlerting(ctx, now.Add(-keepHistory)); err != nil {
		return err
	}
	return r.db.DropOldIncidents(ctx, now.AddDate(0, -keepIncidents, 0))
}

// opener makes notifiers of what organisations have set up.
type opener struct {
	db   *catalog.DB
	deps receivers.Deps
}

func (o *opener) open(ctx context.Context, organisation, id string) (notify.Notifier, error) {
	switch {
	case organisation == desk.DrillID:
		return homing{o.db}, nil
	case id == desk.DrillID:
		return drilled{}, nil
	}
	r, err := o.receiver(ctx, organisation, id)
	if err != nil {
		return nil, err
	}
	n, err := receivers.Open(r, o.deps)
	if err != nil {
		return nil, &notify.PermanentError{Broken: true, Reason: err.Error()}
	}
	return n, nil
}

func (o *opener) receiver(ctx context.Context, organisation, id string) (receivers.Receiver, error) {
	var r receivers.Receiver
	document, err := o.db.Document(ctx, organisation, incident.DocReceiver, 0, id)
	switch {
	case err == nil:
		if err := json.Unmarshal(document.Body, &r); err != nil {
			return r, &notify.PermanentError{Broken: true, Reason: "its settings cannot be read"}
		}
		r.ID, r.Name = id, cmp.Or(r.Name, document.Name)
		return r, nil
	case !errors.Is(err, catalog.ErrNotFound) || id != desk.Everybody:
		return r, err
	}
	emails, err := o.db.Emails(ctx, organisation)
	if err != nil {
		return r, err
	}
	settings, err := json.Marshal(email.Settings{To: emails})
	if err != nil {
		return r, fmt.Errorf("write settings: %w", err)
	}
	return receivers.Receiver{ID: id, Name: "E-mail to everybody", Kind: "email", Settings: settings}, nil
}
