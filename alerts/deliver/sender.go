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
	"net/http"
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
	callTimeout = 8 * time.Second
	// spare is what remains of a lease when an attempt has to be over: to write down how it went.
	spare          = 5 * time.Second
	composeTimeout = 2 * time.Second
	// poll is how soon a message is found without a hint.
	poll = time.Second

	maxBackoff = time.Minute
	// giveUp is for how long a message is tried, leastTries how often at least: it may be due long after
	// it was written.
	giveUp     = 24 * time.Hour
	leastTries = 10
	// again is how soon what the database did not take is tried once more.
	again = 500 * time.Millisecond
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
	claimAtOnce      = 10
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
	began := time.Now() // the lease is counted from before it is there
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
			ctx, cancel := context.WithDeadlineCause(context.WithoutCancel(ctx), began.Add(lease-spare), errSlow)
			defer cancel()
			if err := s.Send(ctx, row); err != nil {
				s.log.Warn("message left to its lease", "receiver", row.Receiver, "incident", row.Incident, "err", err)
			}
		})
	}
	return len(rows), nil
}

var errSlow = errors.New("the message took too long")

// place is a receiver among those of all organisations.
func place(row catalog.OutboxRow) string { return row.Organisation + "/" + row.Receiver }

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
	s.calls[place(row)]++
	s.total++
}

func (s *Sender) leave(row catalog.OutboxRow) {
	s.mu.Lock()
	s.total--
	if s.calls[place(row)]--; s.calls[place(row)] <= 0 {
		delete(s.calls, place(row))
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

// Send makes one attempt at a row that was claimed, and writes down how it went. While the database does
// not answer it is asked again, as long as the lease lasts: what was sent and is not written down is sent
// twice.
func (s *Sender) Send(ctx context.Context, row catalog.OutboxRow) error {
	var m notify.Message
	var ready bool
	err := insist(ctx, func() (err error) {
		m, ready, err = s.compose(ctx, row)
		return err
	})
	began := time.Now()
	var receipt notify.Receipt
	switch {
	case errors.Is(err, catalog.ErrNotFound) || errors.Is(err, errUnreadable):
		err = &notify.PermanentError{Reason: err.Error()}
	case err != nil:
		return err
	case !ready:
		return nil // withdrawn
	default:
		receipt, err = s.call(ctx, row, m)
	}
	if errors.Is(err, errSlow) {
		return err // nothing was sent
	}
	took := time.Since(began)
	attempt := uuid.NewString()
	return insist(ctx, func() error { return s.finish(ctx, row, attempt, m, receipt, took, err) })
}

// errUnreadable says that a message is none.
var errUnreadable = errors.New("the message cannot be read")

// insist calls f until it succeeds or ctx ends. What cannot be otherwise is not tried again.
func insist(ctx context.Context, f func() error) error {
	for {
		err := f()
		if err == nil || errors.Is(err, catalog.ErrNotFound) || errors.Is(err, errUnreadable) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(again):
		}
	}
}

// compose completes the message of a row: what was known when the incident began, and what the
// receiver calls it. It returns false for one that nobody needs any more, which it withdraws.
func (s *Sender) compose(ctx context.Context, row catalog.OutboxRow) (notify.Message, bool, error) {
	var m notify.Message
	if err := json.Unmarshal(row.Message, &m); err != nil {
		return m, false, fmt.Errorf("%w: %w", errUnreadable, err)
	}
	if row.Incident == "" {
		return m, true, nil
	}
	// Most messages are sent, and to find that out needs no place in the line of those who write.
	of, err := s.db.Incident(ctx, row.Incident)
	if err != nil {
		return m, false, err
	}
	rows, err := s.db.OutboxOf(ctx, row.Incident)
	if err != nil {
		return m, false, err
	}
	if fate := fateOf(row, &m, of, rows); !fate.send {
		send := false
		err := s.db.InTx(ctx, func(tx *catalog.Tx) (err error) {
			send = false
			if of, err = tx.Incident(ctx, row.Incident); err != nil {
				return err
			}
			if rows, err = tx.OutboxOf(ctx, row.Incident); err != nil {
				return err
			}
			fate := fateOf(row, &m, of, rows)
			if send = fate.send; send {
				return nil
			}
			if fate.end {
				if err := s.end(ctx, tx, row, m, of); err != nil {
					return err
				}
			}
			return s.withdraw(ctx, tx, row, of, fate.over, fate.stood)
		})
		if err != nil || !send {
			return m, false, err
		}
	}
	if isFirst(m.Action) && s.cfg.Dossier != nil {
		s.attach(ctx, &m, of)
	}
	return m, true, nil
}

// fate is what becomes of a row that is about to be sent.
type fate struct {
	// send says that it is sent; otherwise it is withdrawn: over because its incident is, stood because
	// the receiver in whose place it is was told after all. end has its receiver told of the end, since
	// it may know of the beginning.
	send, over, stood, end bool
}

// fateOf decides, and sets the message's Reference.
func fateOf(row catalog.OutboxRow, m *notify.Message, of catalog.Incident, rows []catalog.OutboxRow) fate {
	heard, stood := false, false
	m.Told, m.Reference = nil, ""
	for _, o := range rows {
		stood = stood || o.Key == m.InPlaceOf && o.State == catalog.OutboxDone
		if o.Receiver == row.Receiver && o.Seq < row.Seq && (o.State == catalog.OutboxDone || o.Uncertain) && o.Action != string(notify.Notice) {
			// What was told of the end of an episode counts until the next one.
			heard = !notify.Action(o.Action).Ends()
			m.Reference = cmp.Or(m.Reference, o.Reference)
		}
	}
	opens := isFirst(m.Action)
	gone := opens && of.State != catalog.IncidentOpen
	if gone && row.Uncertain && !ends(rows, row) {
		return fate{over: true, end: true}
	}
	over := gone && !row.Uncertain
	stood = stood && !row.Uncertain
	if m.Action == notify.Notice || opens && !over && !stood || !opens && heard {
		return fate{send: true}
	}
	return fate{over: over, stood: stood}
}

// isFirst reports whether a receiver may hear of an incident by this action for the first time.
func isFirst(a notify.Action) bool {
	switch a {
	case notify.Trigger, notify.Ticket, notify.Escalate, notify.Mail, notify.Reminder:
		return true
	}
	return false
}

// withdraw gives a row up before its call: its incident is over, the receiver in whose place it is told
// has taken it after all, or its own receiver never heard that anything began.
func (s *Sender) withdraw(ctx context.Context, tx *catalog.Tx, row catalog.OutboxRow, of catalog.Incident, over, stood bool) error {
	kept, mine, err := s.mine(ctx, tx, row)
	if err != nil || !mine {
		return err
	}
	kept.State, kept.LeaseUntil, kept.Claim = catalog.OutboxWithdrawn, time.Time{}, ""
	kept.LastError = "not sent: the receiver was not told that it began"
	switch {
	case stood:
		kept.LastError = "not needed: the receiver in whose place it is was told"
	case over:
		kept.LastError = "not sent: it was over before"
		line, err := json.Marshal(incident.Line{
			Section: incident.SectionWithdrawn, Text: of.Title + ": over before it was told", Service: of.Service, From: of.Since, To: of.ResolvedAt, Incident: of.ID,
		})
		if err != nil {
			return err
		}
		id := uuid.NewSHA1(uuid.NameSpaceOID, fmt.Appendf(nil, "withdrawn|%s|%d", of.ID, of.OpenedAt.UnixNano())).String() // one line for all receivers
		if err := tx.AddDigestLine(ctx, catalog.DigestLine{
			ID: id, Organisation: row.Organisation, Project: row.Project, Team: of.Team, At: of.ResolvedAt, Section: incident.SectionWithdrawn, Body: line,
		}); err != nil {
			return err
		}
	}
	return tx.PutOutbox(ctx, kept)
}

// ends reports whether a receiver will hear, or has heard, that what a row says is over.
func ends(rows []catalog.OutboxRow, row catalog.OutboxRow) bool {
	return slices.ContainsFunc(rows, func(o catalog.OutboxRow) bool {
		return o.Receiver == row.Receiver && o.Seq > row.Seq && notify.Action(o.Action).Ends() && o.State != catalog.OutboxWithdrawn
	})
}

// end has a receiver told that an incident is over, of whose beginning it may have heard and of whose end
// it would not hear otherwise, since nobody knew that it was told.
func (s *Sender) end(ctx context.Context, tx *catalog.Tx, row catalog.OutboxRow, m notify.Message, of catalog.Incident) error {
	m.Action, m.Loud = notify.Resolve, false
	if row.Severity != string(rule.Page) {
		m.Action = notify.Close
	}
	m.Seq, m.Ended, m.Sections, m.Buttons, m.ReplyTo, m.Next = int(row.Seq)+1, of.ResolvedAt, nil, nil, "", ""
	m.Key = fmt.Sprintf("%s:%d:%s:%s", row.Incident, m.Seq, row.Receiver, m.Action)
	message, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("write message %s: %w", m.Key, err)
	}
	return tx.Post(ctx, catalog.OutboxRow{
		Key: m.Key, Organisation: row.Organisation, Project: row.Project, Incident: row.Incident, Seq: int64(m.Seq), Receiver: row.Receiver,
		Action: string(m.Action), Severity: row.Severity, Rank: row.Rank, CreatedAt: of.ResolvedAt, DueAt: of.ResolvedAt, Message: message,
	})
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
	deadline, bounded := ctx.Deadline()
	ctx, cancel := context.WithTimeoutCause(ctx, callTimeout, errors.New("the receiver did not answer in time"))
	defer cancel()
	to, err := s.cfg.Open(ctx, row.Organisation, row.Receiver)
	switch {
	case errors.Is(err, catalog.ErrNotFound):
		return notify.Receipt{}, &notify.PermanentError{Reason: "the receiver was deleted"}
	case err != nil:
		return notify.Receipt{}, err
	}
	// The lease must last for the call: who was frozen meanwhile must not say what somebody else has said
	// and taken back by now.
	if bounded && time.Until(deadline) < callTimeout {
		return notify.Receipt{}, errSlow
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

// finish writes down how an attempt went. It may be called again for the same attempt.
func (s *Sender) finish(ctx context.Context, row catalog.OutboxRow, id string, m notify.Message, receipt notify.Receipt, took time.Duration, failure error) error {
	now, err := s.cfg.Now(ctx)
	if err != nil {
		return err
	}
	sent, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("write message %s: %w", row.Key, err)
	}
	attempt := catalog.Attempt{
		ID: id, Key: row.Key, At: now, Number: row.Attempts, Code: receipt.Code, Took: took, Excerpt: receipt.Excerpt,
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
			if failure == nil {
				return s.tookLate(ctx, tx, kept, receipt, now)
			}
			return nil
		}
		kept.LeaseUntil, kept.Claim = time.Time{}, ""
		if m.Key != "" {
			kept.Message = sent
		}
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

// tookLate is for a row that its receiver took when the attempt was not the caller's any more.
func (s *Sender) tookLate(ctx context.Context, tx *catalog.Tx, row catalog.OutboxRow, receipt notify.Receipt, now time.Time) error {
	switch row.State {
	case catalog.OutboxDone:
		return nil
	case catalog.OutboxWithdrawn:
		row.Uncertain = true // it was delivered after all: whoever took it back must say that it is over
	default:
		// Whoever tries it now, or is about to, need not any more.
		row.State, row.DoneAt, row.LastError, row.Reference = catalog.OutboxDone, now, "", receipt.Reference
		row.LeaseUntil, row.Claim = time.Time{}, ""
	}
	return tx.PutOutbox(ctx, row)
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
	row.Uncertain = row.Uncertain || !isPermanent && (!isAgain || uncertain(again.Code))
	state, err := desk.ReadReceiverState(ctx, tx, row.Organisation, row.Receiver)
	if err != nil {
		return err
	}
	known := !state.UnreachableAt.IsZero() && row.CreatedAt.Sub(state.UnreachableAt) >= downAfter || !state.BrokenAt.IsZero()
	was := state
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
	case now.Sub(row.CreatedAt) >= giveUp && row.Attempts >= leastTries:
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
	if state != was { // many attempts that fail alike must not wait for each other's words
		if err := desk.WriteReceiverState(ctx, tx, row.Organisation, row.Receiver, state); err != nil {
			return err
		}
	}
	if row.Severity == string(rule.Page) && (isFirst(notify.Action(row.Action)) || notify.Action(row.Action).Ends()) || row.State == catalog.OutboxFailed && row.Action != string(notify.Test) {
		if err := s.fallBack(ctx, tx, row, fallback, now); err != nil {
			return err
		}
	}
	return s.desk.Apply(ctx, tx, row.Organisation, signals, now)
}

// uncertain reports whether a receiver may have taken what it answered with this code. Silence does not
// say that it was not taken, nor does a server that failed half-way, or a gateway for what is behind it.
func uncertain(code int) bool {
	switch code {
	case 0, http.StatusInternalServerError, http.StatusBadGateway, http.StatusGatewayTimeout:
		return true
	}
	return false
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
	m.Key, m.Reference, m.InPlaceOf = key, "", row.Key
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
