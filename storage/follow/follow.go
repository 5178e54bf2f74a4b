// Package follow reads a stream of the bus in batches and has each carried out exactly once,
// whoever is killed and whenever.
//
// How: a batch is a range of sequences of one stream. Before anything is done with it the range is
// written down in SQL (a plan); after it the plan is marked as done, in one transaction with what
// the batch changes in SQL. Whoever finds an unfinished plan reads the same range again, which
// brings the same messages, and carries it out again; what is stored outside of SQL is stored under
// a token made from the range, by which a repetition is recognised. Plans are moved by compare and
// set, so that of two followers one loses and starts over.
//
// A batch that is refused is planned anew with half of its messages, in SQL before anything of it
// is tried. Hence a token is never tried again once a smaller one may have been stored, whatever
// the verdict on the larger one would be by then.
package follow

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/midwatch/midwatch/storage/bus"
	"github.com/midwatch/midwatch/storage/catalog"
)

// ErrRefused is returned by Handler.Store for a batch of several messages of which nothing was
// stored and nothing ever will be as a whole. A smaller one is tried in its place.
var ErrRefused = errors.New("the batch is refused")

// Config says what is followed and bounds a batch.
type Config struct {
	Signal bus.Signal
	// Reader is the name under which the place in the stream is kept.
	Reader string
	// MaxMessages and MaxBytes, of their messages on the bus, end a batch; a single message may be
	// larger. The handler may end it earlier.
	MaxMessages int
	MaxBytes    int
	// MaxAge is how long the first message of a batch waits for others, counted from when it was
	// put on the bus, but a fifth of it at least.
	MaxAge time.Duration
	// Outside says that Handler.Store keeps something outside of SQL. An unfinished batch may then
	// have been stored, and waits for a stream that does not reach its end (which has lost what it
	// had). Without, an unfinished batch has had no effect, and what there is of it will do.
	Outside bool
}

// Batch is what a handler carries out.
type Batch struct {
	Signal bus.Signal
	// Origin is the life of the stream that the sequences belong to, First and Last the range, both
	// included. A batch that is taken up again has the same ones.
	Origin      int64
	First, Last uint64
	// Messages are what the stream has of the range. They may be used until Done or Begin.
	Messages []bus.Message
}

// Token names the batch; no other of its signal and reader has the same.
func (b Batch) Token() string {
	return fmt.Sprintf("%s-%d-%d-%d", b.Signal, b.Origin, b.First, b.Last)
}

// Lost is how many messages of the range the stream had no more when it was read.
func (b Batch) Lost() uint64 { return b.Last - b.First + 1 - uint64(len(b.Messages)) }

// Handler carries batches out. Its methods are called one at a time, in the order Begin, Add …,
// Store, Commit, Done, where every step may be followed by Begin.
type Handler interface {
	// Begin forgets what was added: another batch begins, or the same one again.
	Begin()
	// Add takes a message into the batch and reports whether the batch is large enough with it.
	Add(m bus.Message) (full bool)
	// Store keeps the batch outside of SQL. The same batch comes again where it was not finished.
	// ErrRefused has a smaller one come instead; after any other error the place is read again.
	Store(ctx context.Context, b Batch) error
	// Commit makes the batch's changes in SQL, in the transaction that marks it as done. It may run
	// more than once, see catalog.InTx.
	Commit(ctx context.Context, tx *catalog.Tx) error
	// Done hears that the batch is finished: for what is counted once.
	Done(ctx context.Context, b Batch)
}

// Follower reads one stream under one name.
type Follower struct {
	cfg Config
	bus *bus.Bus
	db  *catalog.DB
	log *slog.Logger
}

// New makes a follower; Run starts it.
func New(cfg Config, b *bus.Bus, db *catalog.DB, log *slog.Logger) *Follower {
	return &Follower{cfg: cfg, bus: b, db: db, log: log.With("signal", cfg.Signal, "reader", cfg.Reader)}
}

// Run hands what comes to h until ctx ends, which is its only reason to return. Faults are waited
// out.
func (f *Follower) Run(ctx context.Context, h Handler) error {
	return Keep(ctx, f.log, func(ctx context.Context) error { return f.pass(ctx, h) })
}

// pass takes up the stream where its cursor stands and goes on until something fails.
func (f *Follower) pass(ctx context.Context, h Handler) error {
	origin, err := f.bus.Origin(ctx, f.cfg.Signal)
	if err != nil {
		return err
	}
	cursor, err := f.db.ReadCursor(ctx, string(f.cfg.Signal), f.cfg.Reader)
	if err != nil {
		return fmt.Errorf("read the cursor of %s: %w", f.cfg.Reader, err)
	}
	p := attempt{Follower: f, handler: h, origin: origin, cursor: cursor, limit: f.cfg.MaxMessages}
	if cursor.Origin != origin {
		// A new stream, or a new reader: the sequences start anew. The version stays, it guards the
		// row.
		p.cursor.First, p.cursor.Last, p.cursor.Done = 0, 0, true
	}
	backlog, err := f.bus.Backlog(ctx, f.cfg.Signal)
	if err != nil {
		return err
	}
	if backlog.LastSeq < p.cursor.Last && (p.cursor.Done || f.cfg.Outside) {
		return fmt.Errorf("the stream of %s ends at %d, and was read up to %d already: it has lost messages", f.cfg.Signal, backlog.LastSeq, p.cursor.Last)
	}
	after := p.cursor.Last
	if !p.cursor.Done {
		after = p.cursor.First - 1
	}
	if p.reader, err = f.bus.Read(ctx, f.cfg.Signal, after); err != nil {
		return err
	}
	defer p.reader.Stop()
	if !p.cursor.Done {
		if err := p.replay(ctx, backlog); err != nil {
			return err
		}
	}
	for {
		if err := p.collect(ctx); err != nil {
			return err
		}
		if err := p.plan(ctx); err != nil {
			return err
		}
		if err := p.carryOut(ctx); err != nil {
			return err
		}
	}
}

// attempt is one life of a pass, which ends with its first failure.
type attempt struct {
	*Follower
	handler Handler
	reader  *bus.Reader
	origin  int64
	cursor  catalog.Cursor

	messages []bus.Message // of the batch
	held     []bus.Message // read and not yet in a batch
	limit    int           // of the messages in a batch; less than cfg.MaxMessages after a refusal
}

func (p *attempt) next(ctx context.Context) (bus.Message, error) {
	if len(p.held) == 0 {
		return p.reader.Next(ctx)
	}
	m := p.held[0]
	p.held = p.held[1:]
	return m, nil
}

func (p *attempt) begin() {
	p.handler.Begin()
	clear(p.messages) // lets go of their frames
	p.messages = p.messages[:0]
}

func (p *attempt) add(m bus.Message) (full bool) {
	p.messages = append(p.messages, m)
	return p.handler.Add(m)
}

// collect waits for messages until they make a batch.
func (p *attempt) collect(ctx context.Context) error {
	p.begin()
	m, err := p.next(ctx)
	if err != nil {
		return err
	}
	full, size := p.add(m), m.Size
	// What waited for the batch before this one has waited enough. The clock of the bus may be
	// another one.
	wait := min(p.cfg.MaxAge, max(p.cfg.MaxAge-time.Since(m.Time), p.cfg.MaxAge/5))
	waiting, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for !full && len(p.messages) < p.limit && size < p.cfg.MaxBytes {
		m, err := p.next(waiting)
		if err != nil {
			if ctx.Err() == nil && waiting.Err() != nil {
				return nil
			}
			return err
		}
		full = p.add(m)
		size += m.Size
	}
	return nil
}

// plan writes down what was collected. The batch begins right behind the one before it: what the
// stream has no more of that is lost in this batch. A reader that has not been anywhere in this
// stream misses nothing that was there before it.
func (p *attempt) plan(ctx context.Context) (err error) {
	first := p.messages[0].Seq
	if p.cursor.Last > 0 {
		first = p.cursor.Last + 1
	}
	last := p.messages[len(p.messages)-1].Seq
	if p.cursor, err = p.db.PlanBatch(ctx, p.cursor, p.origin, first, last); err != nil {
		return fmt.Errorf("plan a batch: %w", err)
	}
	return nil
}

// replay carries out the plan that the cursor holds, from what the stream still has of it.
func (p *attempt) replay(ctx context.Context, backlog bus.Backlog) error {
	p.begin()
	end := min(p.cursor.Last, backlog.LastSeq)
	for seq := max(p.cursor.First, backlog.FirstSeq); seq <= end; {
		m, err := p.next(ctx)
		if err != nil {
			return err
		}
		if m.Seq > p.cursor.Last {
			p.held = append(p.held, m)
			break
		}
		p.add(m)
		seq = m.Seq + 1
	}
	p.log.Info("unfinished batch taken up", "first", p.cursor.First, "last", p.cursor.Last, "messages", len(p.messages))
	return p.carryOut(ctx)
}

// carryOut has the handler store the batch, or as much of it as is not refused, and marks the plan
// as done.
func (p *attempt) carryOut(ctx context.Context) error {
	for {
		err := p.handler.Store(ctx, p.batch())
		if err == nil {
			break
		}
		if !errors.Is(err, ErrRefused) || len(p.messages) < 2 {
			return fmt.Errorf("store the batch %s: %w", p.batch().Token(), err)
		}
		p.log.Warn("batch refused, a smaller one is tried", "batch_id", p.batch().Token(), "messages", len(p.messages), "err", err)
		if err := p.halve(ctx); err != nil {
			return err
		}
	}
	batch := p.batch()
	next, err := p.db.FinishBatch(ctx, p.cursor, func(tx *catalog.Tx) error { return p.handler.Commit(ctx, tx) })
	if err != nil {
		return fmt.Errorf("finish the batch %s: %w", batch.Token(), err)
	}
	p.cursor = next
	// Where one message is refused others are not far: batches become large again by and by.
	p.limit = min(2*p.limit, p.cfg.MaxMessages)
	if n := batch.Lost(); n > 0 {
		p.log.Error("messages were gone before they were read", "first", batch.First, "last", batch.Last, "messages", n)
	}
	p.handler.Done(ctx, batch)
	return nil
}

func (p *attempt) batch() Batch {
	return Batch{Signal: p.cfg.Signal, Origin: p.cursor.Origin, First: p.cursor.First, Last: p.cursor.Last, Messages: p.messages}
}

// halve makes the batch its own first half; the rest is for those that follow.
func (p *attempt) halve(ctx context.Context) (err error) {
	half := len(p.messages) / 2
	p.held = slices.Concat(p.messages[half:], p.held)
	kept := slices.Clone(p.messages[:half])
	if p.cursor, err = p.db.ShortenBatch(ctx, p.cursor, kept[half-1].Seq); err != nil {
		return err
	}
	p.limit = half
	p.begin()
	for _, m := range kept {
		p.add(m)
	}
	return nil
}
