// Package deliver brings the messages of the outbox to their receivers. A row is somebody's for half a
// minute at a time, is tried for a day, and carries the key by which a receiver recognises it when a
// crash has it sent twice: at least once for each row, at most once to be seen where the receiver
// knows keys. What a page's receiver does not take is told to its fallback.
package deliver

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/midwatch/midwatch/alerts/desk"
	"github.com/midwatch/midwatch/alerts/incident"
	"github.com/midwatch/midwatch/alerts/notify"
	"github.com/midwatch/midwatch/alerts/rule"
	"github.com/midwatch/midwatch/storage/catalog"
)

const (
	// lease is how long an attempt may take before another sender makes the next one.
	lease = 30 * time.Second
	// callTimeout bounds a receiver's answer, composeTimeout what is looked up for a message.
	callTimeout    = 8 * time.Second
	composeTimeout = 2 * time.Second
	// poll is how soon a message is found without a hint.
	poll = time.Second

	maxBackoff = time.Minute
	giveUp     = 24 * time.Hour
	// fallbackAfter is how long a page may be undelivered before its fallback is told; fallbackSoon where
	// the receiver is known not to answer.
	fallbackAfter = 2 * time.Minute
	fallbackSoon  = 30 * time.Second
	// downAfter is how long a receiver may fail before it is known not to answer.
	downAfter = time.Minute

	// maxCalls are going on at once, maxReceiverCalls of them to one receiver, so that one that hangs
	// does not hold up the others.
	maxCalls         = 64
	maxReceiverCalls = 8
	claimAtOnce      = 20
)

// Config says what a Sender works with.
type Config struct {
	// Open returns the receiver of an organisation that a message is for. catalog.ErrNotFound says that
	// there is none any more.
	Open func(ctx context.Context, organisation, receiver string) (notify.Notifier, error)
	// Dossier returns what was known when an incident began, as JSON of alerts/dossier; nil is none.
	Dossier func(ctx context.Context, i catalog.Incident) ([]byte, error)
	// Add puts a dossier into a message.
	Add func(m *notify.Message, dossier []byte) error
	// Now is the database's clock.
	Now func(ctx context.Context) (time.Time, error)
}

// Sender delivers. Any number of them may run beside each other.
type Sender struct {
	cfg  Config
	db   *catalog.DB
	desk *desk.Desk
	log  *slog.Logger

	delivered metric.Int64Counter
	failed    metric.Int64Counter
	delay     metric.Float64Histogram

	mu    sync.Mutex
	calls map[string]int // by organisation and receiver
	total int
	idle  chan struct{}
	tasks sync.WaitGroup
}

// New makes a Sender; Run starts it.
func New(cfg Config, db *catalog.DB, d *desk.Desk, meter metric.Meter, log *slog.Logger) (*Sender, error) {
	s := &Sender{cfg: cfg, db: db, desk: d, log: log, calls: map[string]int{}, idle: make(chan struct{}, 1)}
	var errs [3]error
	s.delivered, errs[0] = meter.Int64Counter("midwatch.alerting.delivered", metric.WithDescription("Messages that a receiver took"))
	s.failed, errs[1] = meter.Int64Counter("midwatch.alerting.delivery_failures", metric.WithDescription("Attempts that a receiver did not take"))
	s.delay, errs[2] = meter.Float64Histogram("midwatch.alerting.delivery_delay", metric.WithUnit("s"),
		metric.WithDescription("Time from the commit of a message until its receiver took it"))
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("make delivery metrics: %w", err)
	}
	return s, nil
}

// Run delivers until ctx ends or the database fails. Calls that are going on are waited for.
func (s *Sender) Run(ctx context.Context) error {
	defer s.tasks.Wait()
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	for {
		n, err := s.Claim(ctx)
		if err != nil {
			return err
		}
		if n == claimAtOnce {
			continue // there may be more
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		case <-s.desk.Wake():
		case <-s.idle:
		}
	}
}

// Claim takes what is due and has it sent beside the caller. It returns how many messages it took.
func (s *Sender) Claim(ctx context.Context) (int, error) {
	free, busy := s.room()
	if free == 0 {
		return 0, nil
	}
	now, err := s.cfg.Now(ctx)
	if err != nil {
		return 0, err
	}
	rows, err := s.db.Claim(ctx, uuid.NewString(), now, lease, min(free, claimAtOnce), busy)
	if err != nil {
		return 0, err
	}
	for _, row := range rows {
		s.enter(row)
		s.tasks.Go(func() {
			defer s.leave(row)
			ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), lease-5*time.Second, errors.New("the message took too long"))
			defer cancel()
			if err := s.Send(ctx, row); err != nil {
				s.log.Warn("message left to its lease", "receiver", row.Receiver, "incident", row.Incident, "err", err)
			}
		})
	}
	return len(rows), nil
}

func (s *Sender) room() (free int, busy []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, key := range sortedKeys(s.calls) {
		if s.calls[key] >= maxReceiverCalls {
			busy = append(busy, key)
		}
	}
	return maxCalls - s.total, busy
}

func (s *Sender) enter(row catalog.OutboxRow) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls[row.Receiver]++
	s.total++
}

func (s *Sender) leave(row catalog.OutboxRow) {
	s.mu.Lock()
	s.total--
	if s.calls[row.Receiver]--; s.calls[row.Receiver] <= 0 {
		delete(s.calls, row.Receiver)
	}
	s.mu.Unlock()
	select {
	case s.idle <- struct{}{}:
	default:
	}
}

func sortedKeys(m map[string]int) []string {
	all := make([]string, 0, len(m))
	for k := range m {
		all = append(all, k)
	}
	slices.Sort(all)
	return all
}

// Send makes one attempt at a row that was claimed, and writes down how it went.
func (s *Sender) Send(ctx context.Context, row catalog.OutboxRow) error {
	m, ready, err := s.compose(ctx, row)
	if err != nil {
		return err
	}
	if !ready {
		return nil // withdrawn
	}
	began := time.Now()
	receipt, err := s.call(ctx, row, m)
	return s.finish(ctx, row, m, receipt, time.Since(began), err)
}

// compose completes the message of a row: what was known when the incident began, and what the
// receiver calls it. It returns false for one that nobody needs any more, which it withdraws.
func (s *Sender) compose(ctx context.Context, row catalog.OutboxRow) (notify.Message, bool, error) {
	var m notify.Message
	if err := json.Unmarshal(row.Message, &m); err != nil {
		return m, false, fmt.Errorf("read message %s: %w", row.Key, err)
	}
	if row.Incident == "" {
		return m, true, nil
	}
	var of catalog.Incident
	withdrawn := false
	err := s.db.InTx(ctx, func(tx *catalog.Tx) (err error) {
		withdrawn = false
		if of, err = tx.Incident(ctx, row.Incident); err != nil {
			return err
		}
		rows, err := tx.OutboxOf(ctx, row.Incident)
		if err != nil {
			return err
		}
		heard := false
		m.Told = nil
		for _, o := range rows {
			if o.Receiver == row.Receiver && o.Seq < row.Seq && (o.State == catalog.OutboxDone || o.Uncertain) && o.Action != string(notify.Notice) {
				heard = true
				m.Reference = cmp.Or(m.Reference, o.Reference)
			}
		}
		opens := isFirst(m.Action)
		over := opens && of.State != catalog.IncidentOpen && !row.Uncertain
		if m.Action == notify.Notice || opens && !over || !opens && heard {
			return nil
		}
		withdrawn = true
		return s.withdraw(ctx, tx, row, of, over)
	})
	if err != nil || withdrawn {
		return m, false, err
	}
	if isFirst(m.Action) && s.cfg.Dossier != nil {
		s.attach(ctx, &m, of)
	}
	return m, true, nil
}

// isFirst reports whether a receiver may hear of an incident by this action for the first time.
func isFirst(a notify.Action) bool {
	switch a {
	case notify.Trigger, notify.Ticket, notify.Escalate, notify.Mail, notify.Reminder:
		return true
	}
	return false
}

// withdraw gives a row up before its call: its incident is over, or its receiver never heard of it.
func (s *Sender) withdraw(ctx context.Context, tx *catalog.Tx, row catalog.OutboxRow, of catalog.Incident, over bool) error {
	kept, mine, err := s.mine(ctx, tx, row)
	if err != nil || !mine {
		return err
	}
	kept.State, kept.LeaseUntil, kept.Claim = catalog.OutboxWithdrawn, time.Time{}, ""
	kept.LastError = "not sent: the receiver was not told that it began"
	if over {
		kept.LastError = "not sent: it was over before"
		line, err := json.Marshal(incident.Line{
			Section: incident.SectionWithdrawn, Text: of.Title + ": over before it was told", Service: of.Service, From: of.Since, To: of.ResolvedAt, Incident: of.ID,
		})
		if err != nil {
			return err
		}
		id := uuid.NewSHA1(uuid.NameSpaceOID, []byte("withdrawn|"+row.Key)).String()
		if err := tx.AddDigestLine(ctx, catalog.DigestLine{
			ID: id, Organisation: row.Organisation, Project: row.Project, Team: of.Team, At: of.ResolvedAt, Section: incident.SectionWithdrawn, Body: line,
		}); err != nil {
			return err
		}
	}
	return tx.PutOutbox(ctx, kept)
}

// attach adds the dossier. A message without one is better than none.
func (s *Sender) attach(ctx context.Context, m *notify.Message, of catalog.Incident) {
	if len(of.Dossier) == 0 {
		ctx, cancel := context.WithTimeoutCause(ctx, composeTimeout, errors.New("the dossier took too long"))
		defer cancel()
		dossier, err := s.cfg.Dossier(ctx, of)
		if err == nil {
			of.Dossier, err = s.db.FreezeDossier(ctx, of.ID, dossier)
		}
		if err != nil {
			s.log.Warn("message without a dossier", "incident", of.ID, "err", err)
			return
		}
	}
	if err := s.cfg.Add(m, of.Dossier); err != nil {
		s.log.Warn("message without a dossier", "incident", of.ID, "err", err)
		return
	}
	*m = m.Bounded()
}

// call makes the attempt.
func (s *Sender) call(ctx context.Context, row catalog.OutboxRow, m notify.Message) (notify.Receipt, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, callTimeout, errors.New("the receiver did not answer in time"))
	defer cancel()
	to, err := s.cfg.Open(ctx, row.Organisation, row.Receiver)
	switch {
	case errors.Is(err, catalog.ErrNotFound):
		return notify.Receipt{}, &notify.PermanentError{Reason: "the receiver was deleted"}
	case err != nil:
		return notify.Receipt{}, err
	}
	return to.Notify(ctx, m)
}

// mine returns a row as it is kept, and whether the attempt is still the caller's.
func (s *Sender) mine(ctx context.Context, tx *catalog.Tx, row catalog.OutboxRow) (catalog.OutboxRow, bool, error) {
	kept, err := tx.Outbox(ctx, row.Key)
	if err != nil {
		return kept, false, err
	}
	return kept, kept.State == catalog.OutboxSending && kept.Claim == row.Claim && kept.Attempts == row.Attempts, nil
}

// finish writes down how an attempt went.
func (s *Sender) finish(ctx context.Context, row catalog.OutboxRow, m notify.Message, receipt notify.Receipt, took time.Duration, failure error) error {
	now, err := s.cfg.Now(ctx)
	if err != nil {
		return err
	}
	sent, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("write message %s: %w", row.Key, err)
	}
	attempt := catalog.Attempt{
		ID: uuid.NewString(), Key: row.Key, At: now, Number: row.Attempts, Code: receipt.Code, Took: took, Excerpt: receipt.Excerpt,
	}
	if failure != nil {
		attempt.Error = failure.Error()
	}
	err = s.db.InTx(ctx, func(tx *catalog.Tx) error {
		kept, mine, err := s.mine(ctx, tx, row)
		if err != nil {
			return err
		}
		if err := tx.AddAttempt(ctx, attempt); err != nil {
			return err
		}
		if !mine {
			if failure == nil && kept.State == catalog.OutboxWithdrawn {
				kept.Uncertain = true // it was delivered after all: whoever took it back must say that it is over
				return tx.PutOutbox(ctx, kept)
			}
			return nil
		}
		kept.LeaseUntil, kept.Claim, kept.Message = time.Time{}, "", sent
		if failure == nil {
			return s.took(ctx, tx, kept, receipt, now)
		}
		return s.refused(ctx, tx, kept, failure, now)
	})
	if err != nil {
		return err
	}
	by := metric.WithAttributes(attribute.String("action", row.Action))
	if failure != nil {
		s.failed.Add(ctx, 1, by)
		s.desk.Woke() // its fallback may be due at once
		return nil
	}
	s.delivered.Add(ctx, 1, by)
	s.delay.Record(ctx, now.Sub(later(row.CreatedAt, row.DueAt)).Seconds(), by)
	return nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// took is for a row that its receiver took.
func (s *Sender) took(ctx context.Context, tx *catalog.Tx, row catalog.OutboxRow, receipt notify.Receipt, now time.Time) error {
	row.State, row.DoneAt, row.LastError, row.Reference, row.Uncertain = catalog.OutboxDone, now, "", receipt.Reference, false
	if err := tx.PutOutbox(ctx, row); err != nil {
		return err
	}
	state, err := desk.ReadReceiverState(ctx, tx, row.Organisation, row.Receiver)
	if err != nil {
		return err
	}
	down, was := state.UnreachableAt, !state.BrokenAt.IsZero()
	if now.Sub(state.DeliveredAt) < time.Minute && down.IsZero() && !was {
		return nil // said a moment ago
	}
	state.DeliveredAt, state.UnreachableAt = now, time.Time{}
	over := mended(&state, row.Receiver, row.Project, now)
	if err := desk.WriteReceiverState(ctx, tx, row.Organisation, row.Receiver, state); err != nil {
		return err
	}
	if !was && (down.IsZero() || now.Sub(down) < downAfter) {
		return nil
	}
	return s.desk.Apply(ctx, tx, row.Organisation, []incident.Signal{over}, now)
}

// Checked writes down how a receiver answered when it was tried for the sake of it: one that refuses
// for good is broken, which its owners are told; one that answers is not, or no longer. project is
// under which they are told.
func (s *Sender) Checked(ctx context.Context, organisation, receiver string, project uint32, failure error, now time.Time) error {
	permanent, refused := errors.AsType[*notify.PermanentError](failure)
	if failure != nil && !refused {
		return nil // it says nothing for good, so that it is tried again
	}
	err := s.db.InTx(ctx, func(tx *catalog.Tx) error {
		state, err := desk.ReadReceiverState(ctx, tx, organisation, receiver)
		if err != nil {
			return err
		}
		state.CheckedAt = now
		var signals []incident.Signal
		switch {
		case refused:
			state.Error = permanent.Error()
			signals = append(signals, broken(&state, receiver, project, now, now))
		case !state.BrokenAt.IsZero():
			signals = append(signals, mended(&state, receiver, project, now))
		}
		if err := desk.WriteReceiverState(ctx, tx, organisation, receiver, state); err != nil {
			return err
		}
		return s.desk.Apply(ctx, tx, organisation, signals, now)
	})
	if err != nil {
		return fmt.Errorf("check receiver %s: %w", receiver, err)
	}
	s.desk.Woke()
	return nil
}

// refused is for a row that its receiver did not take.
func (s *Sender) refused(ctx context.Context, tx *catalog.Tx, row catalog.OutboxRow, failure error, now time.Time) error {
	permanent, isPermanent := errors.AsType[*notify.PermanentError](failure)
	again, isAgain := errors.AsType[*notify.RetryError](failure)
	row.LastError = failure.Error()
	// An answer says that it was not taken; silence does not.
	row.Uncertain = row.Uncertain || !isPermanent && (!isAgain || again.Code == 0)
	state, err := desk.ReadReceiverState(ctx, tx, row.Organisation, row.Receiver)
	if err != nil {
		return err
	}
	known := !state.UnreachableAt.IsZero() && row.CreatedAt.Sub(state.UnreachableAt) >= downAfter || !state.BrokenAt.IsZero()
	if state.UnreachableAt.IsZero() {
		state.UnreachableAt = now
	}
	state.Error = row.LastError
	fallback := row.CreatedAt.Add(fallbackAfter)
	var signals []incident.Signal
	switch {
	case isPermanent:
		row.State, fallback = catalog.OutboxFailed, now
		if permanent.Broken {
			signals = append(signals, broken(&state, row.Receiver, row.Project, row.CreatedAt, now))
		}
	case now.Sub(row.CreatedAt) >= giveUp:
		row.State, fallback = catalog.OutboxFailed, now
		row.LastError = "given up after a day: " + row.LastError
	default:
		row.State = catalog.OutboxDue
		row.DueAt = now.Add(Backoff(row.Key, row.Attempts))
		if isAgain && again.After > 0 {
			row.DueAt = later(row.DueAt, now.Add(again.After))
		}
		if known {
			fallback = row.CreatedAt.Add(fallbackSoon)
		}
	}
	if err := tx.PutOutbox(ctx, row); err != nil {
		return err
	}
	if err := desk.WriteReceiverState(ctx, tx, row.Organisation, row.Receiver, state); err != nil {
		return err
	}
	if row.Severity == string(rule.Page) && (isFirst(notify.Action(row.Action)) || notify.Action(row.Action).Ends()) || row.State == catalog.OutboxFailed && row.Action != string(notify.Test) {
		if err := s.fallBack(ctx, tx, row, fallback, now); err != nil {
			return err
		}
	}
	return s.desk.Apply(ctx, tx, row.Organisation, signals, now)
}

// fallBack has the message told to another receiver, unless the first takes it until then.
func (s *Sender) fallBack(ctx context.Context, tx *catalog.Tx, row catalog.OutboxRow, at, now time.Time) error {
	if notify.Action(row.Action).Ends() {
		return nil // whoever took the page in its place hears of the end by a row of its own
	}
	to, err := s.desk.Fallback(ctx, tx, row.Organisation, row.Receiver)
	if err != nil || to == "" {
		return err
	}
	var m notify.Message
	if err := json.Unmarshal(row.Message, &m); err != nil {
		return fmt.Errorf("read message %s: %w", row.Key, err)
	}
	key := FallbackKey(row, to)
	m.Key, m.Reference = key, ""
	message, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("write message %s: %w", key, err)
	}
	known, err := tx.Outbox(ctx, key)
	if err == nil {
		if known.State == catalog.OutboxDue && known.Attempts == 0 && at.Before(known.DueAt) {
			known.DueAt = later(at, now)
			return tx.PutOutbox(ctx, known)
		}
		return nil
	}
	if !errors.Is(err, catalog.ErrNotFound) {
		return err
	}
	return tx.Post(ctx, catalog.OutboxRow{
		Key: key, Organisation: row.Organisation, Project: row.Project, Incident: row.Incident, Seq: row.Seq, Receiver: to,
		Action: row.Action, Severity: row.Severity, Rank: row.Rank, CreatedAt: row.CreatedAt, DueAt: later(at, now), Message: message,
	})
}

// FallbackKey is the key of a message that is told to another receiver in place of its own.
func FallbackKey(row catalog.OutboxRow, to string) string {
	if row.Incident == "" {
		return row.Key + ":" + to
	}
	return fmt.Sprintf("%s:%d:%s:%s", row.Incident, row.Seq, to, row.Action)
}

// broken notes that a receiver takes nothing, because of its Error, and says so under the project under
// which that was said first.
func broken(state *desk.ReceiverState, receiver string, project uint32, since, now time.Time) incident.Signal {
	if state.BrokenAt.IsZero() {
		state.BrokenAt, state.BrokenIn = now, project
	}
	return incident.Signal{Kind: incident.Fire, At: now, Instance: brokenInstance(receiver, state.BrokenIn, since, state.Error)}
}

// mended notes that a receiver works.
func mended(state *desk.ReceiverState, receiver string, project uint32, now time.Time) incident.Signal {
	if !state.BrokenAt.IsZero() {
		project = state.BrokenIn
	}
	state.BrokenAt, state.BrokenIn, state.Error = time.Time{}, 0, ""
	return incident.Signal{Kind: incident.Resolve, At: now, Instance: brokenInstance(receiver, project, now, "")}
}

// brokenInstance is the trouble that a receiver takes nothing.
func brokenInstance(receiver string, project uint32, since time.Time, why string) incident.Instance {
	return incident.Instance{
		Key: "receiver:" + receiver, Project: project, Name: "Receivers", Severity: rule.Ticket, Class: rule.Cause,
		Headline: notify.Clip(fmt.Sprintf("Receiver %s takes no messages: %s", receiver, why), 120),
		Since:    since, FiredAt: since, Group: "receiver:" + receiver,
		FirstAction: "Open the receiver's settings, correct its address or key, and send a test message.",
	}
}

// Backoff is how long to wait after the n-th attempt (from 1): a second, doubled each time up to a
// minute, up to a fifth more or less so that many do not come at once. It is the same for the same
// message.
func Backoff(key string, n int) time.Duration {
	wait := maxBackoff
	if n >= 1 && n <= 6 {
		wait = min(time.Second<<(n-1), maxBackoff)
	}
	h := fnv.New64a()
	fmt.Fprintf(h, "%s|%d", key, n)
	const spread = 401
	share := int64(h.Sum64()%spread) - spread/2 // -200 to 200 thousandths
	return wait + wait*time.Duration(share)/1000
}
