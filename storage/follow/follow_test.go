package follow

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/midwatch/midwatch/storage/bus"
	"github.com/midwatch/midwatch/storage/catalog"
	"github.com/midwatch/midwatch/storage/storagetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// shelf is a store that recognises tokens: the first batch under one is kept.
type shelf struct {
	mu      sync.Mutex
	batches map[string][]string
}

func (s *shelf) put(token string, frames []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.batches[token]; !known && len(frames) > 0 {
		s.batches[token] = slices.Clone(frames)
	}
}

// frames returns what is kept, sorted.
func (s *shelf) frames() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(slices.Values(slices.Concat(slices.Collect(maps.Values(s.batches))...)))
}

// clerk puts frames on a shelf and counts them in SQL.
type clerk struct {
	shelf  *shelf
	frames []string
	full   int // frames that are enough for a batch, or 0

	before, after func(Batch) error // putting on the shelf
	commit        func() error
	done          func(Batch)
}

func (c *clerk) Begin() { c.frames = nil }

func (c *clerk) Add(m bus.Message) bool {
	for _, f := range m.Frames {
		c.frames = append(c.frames, string(f.Data))
	}
	return c.full > 0 && len(c.frames) >= c.full
}

func (c *clerk) Store(_ context.Context, b Batch) error {
	if c.before != nil {
		if err := c.before(b); err != nil {
			return err
		}
	}
	c.shelf.put(b.Token(), c.frames)
	if c.after != nil {
		return c.after(b)
	}
	return nil
}

func (c *clerk) Commit(ctx context.Context, tx *catalog.Tx) error {
	at := time.Unix(1, 0)
	if len(c.frames) > 0 {
		if err := tx.AddIssueEvents(ctx, []catalog.IssueEvents{{Project: 1, ID: 1, Count: int64(len(c.frames)), FirstSeen: at, LastSeen: at}}); err != nil {
			return err
		}
	}
	if c.commit != nil {
		return c.commit()
	}
	return nil
}

func (c *clerk) Done(_ context.Context, b Batch) {
	if c.done != nil {
		c.done(b)
	}
}

// logbook is a log whose entries can be awaited.
type logbook struct{ entries chan string }

func newLogbook() logbook { return logbook{make(chan string, 10_000)} }

func (l logbook) Enabled(context.Context, slog.Level) bool { return true }
func (l logbook) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l logbook) WithGroup(string) slog.Handler            { return l }
func (l logbook) Handle(_ context.Context, r slog.Record) error {
	text := r.Level.String() + " " + r.Message
	r.Attrs(func(a slog.Attr) bool { text += " " + a.String(); return true })
	l.entries <- text
	return nil
}

// await waits for an entry that begins so.
func (l logbook) await(t *testing.T, begin string) string {
	t.Helper()
	for {
		select {
		case entry := <-l.entries:
			if strings.HasPrefix(entry, begin) {
				return entry
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("nothing was logged about %q", begin)
		}
	}
}

// desk is a real bus and SQL with what the clerks keep.
type desk struct {
	t       *testing.T
	bus     *bus.Bus
	db      *catalog.DB
	shelf   *shelf
	log     logbook
	cfg     Config
	written int
}

func newDesk(t *testing.T) *desk {
	t.Parallel()
	return &desk{
		t: t, bus: storagetest.Bus(t), db: storagetest.Catalog(t), shelf: &shelf{batches: map[string][]string{}}, log: newLogbook(),
		cfg: Config{Signal: bus.Logs, Reader: "clerk", MaxMessages: 7, MaxBytes: 1 << 20, MaxAge: 5 * time.Millisecond, Outside: true},
	}
}

func (d *desk) clerk() *clerk { return &clerk{shelf: d.shelf} }

func (d *desk) follower() *Follower { return New(d.cfg, d.bus, d.db, slog.New(d.log)) }

// write publishes n frames, each in a message of its own.
func (d *desk) write(n int) {
	d.t.Helper()
	for range n {
		if err := d.bus.Publish(d.t.Context(), d.cfg.Signal, 1, "", fmt.Appendf(nil, "%06d", d.written)); err != nil {
			d.t.Fatal(err)
		}
		d.written++
	}
}

// start runs a follower until stop is called.
func (d *desk) start(c *clerk) (stop func()) {
	d.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.follower().Run(ctx, c) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			d.t.Errorf("Run = %v", err)
		}
	})
	d.t.Cleanup(stop)
	return stop
}

func (d *desk) cursor() catalog.Cursor {
	d.t.Helper()
	c, err := d.db.ReadCursor(d.t.Context(), string(d.cfg.Signal), d.cfg.Reader)
	if err != nil {
		d.t.Fatal(err)
	}
	return c
}

// await waits until everything up to seq of this stream is done.
func (d *desk) await(seq uint64) {
	d.t.Helper()
	origin, deadline := d.origin(), time.Now().Add(time.Minute)
	for c := d.cursor(); c.Origin != origin || !c.Done || c.Last < seq; c = d.cursor() {
		if time.Now().After(deadline) {
			d.t.Fatalf("the cursor stands at %+v, not at %d", c, seq)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// check wants the frames from first on to be kept once each, and counted once each.
func (d *desk) check(first int) {
	d.t.Helper()
	var want []string
	for i := first; i < d.written; i++ {
		want = append(want, fmt.Sprintf("%06d", i))
	}
	if diff := cmp.Diff(want, d.shelf.frames()); diff != "" {
		d.t.Errorf("kept (-want +got):\n%s", diff)
	}
	d.checkCount(len(want))
}

func (d *desk) checkCount(want int) {
	d.t.Helper()
	issues, err := d.db.Issues(d.t.Context(), 1, []uint64{1})
	if err != nil {
		d.t.Fatal(err)
	}
	if got := int(issues[1].Count); got != want {
		d.t.Errorf("%d frames are counted, want %d", got, want)
	}
}

// planned leaves an unfinished plan behind, or a finished one.
func (d *desk) planned(origin int64, first, last uint64, done bool) {
	d.t.Helper()
	c, err := d.db.PlanBatch(d.t.Context(), d.cursor(), origin, first, last)
	if err == nil && done {
		_, err = d.db.FinishBatch(d.t.Context(), c, nil)
	}
	if err != nil {
		d.t.Fatal(err)
	}
}

func (d *desk) origin() int64 {
	d.t.Helper()
	origin, err := d.bus.Origin(d.t.Context(), d.cfg.Signal)
	if err != nil {
		d.t.Fatal(err)
	}
	return origin
}

// TestEachMessageCountsOnceOverCrashes ends each life at another step of a batch.
func TestEachMessageCountsOnceOverCrashes(t *testing.T) {
	d := newDesk(t)
	for life := range 40 {
		d.write(10)
		ctx, crash := context.WithCancel(t.Context())
		c := d.clerk()
		in := rand.IntN(3) // the batch that is not finished
		step := func(which int) error {
			if life%4 != which {
				return nil
			}
			if in--; in > 0 {
				return nil
			}
			crash()
			return ctx.Err()
		}
		c.before = func(Batch) error { return step(0) }
		c.after = func(Batch) error { return step(1) }
		c.commit = func() error { return step(2) }
		c.done = func(Batch) { _ = step(3) }
		if err := d.follower().Run(ctx, c); err != nil {
			t.Fatal(err)
		}
	}
	d.start(d.clerk())
	d.await(400)
	d.check(0)
}

// TestCrashBetweenStoreAndFinishIsTakenUp looks at one such crash closely.
func TestCrashBetweenStoreAndFinishIsTakenUp(t *testing.T) {
	d := newDesk(t)
	d.write(5)
	ctx, crash := context.WithCancel(t.Context())
	c := d.clerk()
	var first Batch
	c.after = func(b Batch) error {
		first = b
		crash()
		return nil
	}
	if err := d.follower().Run(ctx, c); err != nil {
		t.Fatal(err)
	}
	if got := d.cursor(); got.Done || got.First != 1 || got.Last != first.Last {
		t.Fatalf("the cursor stands at %+v after the crash", got)
	}
	d.checkCount(0)
	d.write(5)
	again := make(chan Batch, 100)
	c = d.clerk()
	c.done = func(b Batch) { again <- b }
	d.start(c)
	d.await(10)
	if b := <-again; b.Token() != first.Token() {
		t.Errorf("taken up as %s, want %s", b.Token(), first.Token())
	}
	d.check(0)
}

func TestTwoFollowersCountOnce(t *testing.T) {
	d := newDesk(t)
	d.start(d.clerk())
	d.start(d.clerk())
	d.write(300)
	d.await(300)
	d.check(0)
}

// TestFollowerThatWasOvertakenStartsOver has a second follower finish the batch of the first.
func TestFollowerThatWasOvertakenStartsOver(t *testing.T) {
	d := newDesk(t)
	d.write(5)
	storing, overtaken := make(chan struct{}), make(chan struct{})
	slow := d.clerk()
	slow.after = func(Batch) error {
		slow.after = nil
		close(storing)
		<-overtaken
		return nil
	}
	var mu sync.Mutex
	var finished []uint64 // by the slow one
	slow.done = func(b Batch) {
		mu.Lock()
		defer mu.Unlock()
		finished = append(finished, b.First)
	}
	d.start(slow)
	<-storing
	stop := d.start(d.clerk())
	d.await(5)
	stop()
	close(overtaken)
	d.log.await(t, "DEBUG another replica is at work")
	d.write(5)
	d.await(10)
	mu.Lock()
	defer mu.Unlock()
	if len(finished) == 0 || finished[0] != 6 {
		t.Errorf("the one that was overtaken finished the batches that begin at %v, want 6 first", finished)
	}
	d.check(0)
}

func TestNewStreamIsReadFromItsBeginning(t *testing.T) {
	for name, done := range map[string]bool{"done": true, "unfinished": false} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			d.planned(42, 900, 1000, done)
			d.write(5)
			c := d.clerk()
			c.done = func(b Batch) {
				if b.Lost() != 0 || b.Origin == 42 {
					t.Errorf("batch %s has lost %d", b.Token(), b.Lost())
				}
			}
			d.start(c)
			d.await(5)
			d.check(0)
		})
	}
}

// TestWhatWasTrimmedBeforeItWasReadIsCounted has a stream of 1 MB messages trimmed past its reader.
func TestWhatWasTrimmedBeforeItWasReadIsCounted(t *testing.T) {
	for name, c := range map[string]struct {
		first, last uint64 // of the plan
		done        bool
		entry       string
		keeps       string
	}{
		"after a batch":       {1, 1, true, "first=2 last=6 messages=3", "5,6"},
		"behind a whole plan": {1, 3, false, "first=1 last=3 messages=3", "5,6"},
		"within a plan":       {2, 5, false, "first=2 last=5 messages=3", "5,6"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			var err error
			d.bus, err = bus.Open(t.Context(), bus.Config{Dir: t.TempDir(), MaxBytes: 8 << 20, DuplicateWindow: time.Minute}, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(d.bus.Close)
			d.cfg.MaxBytes, d.cfg.MaxAge = 64<<20, time.Second
			for range 6 {
				if err := d.bus.Publish(t.Context(), bus.Logs, 1, "", make([]byte, 1<<20)); err != nil {
					t.Fatal(err)
				}
			}
			d.planned(d.origin(), c.first, c.last, c.done)
			if err := d.bus.Trim(t.Context(), bus.Logs, 4); err != nil { // at once, since it is half full
				t.Fatal(err)
			}
			lost, kept := make(chan uint64, 10), make(chan uint64, 10)
			h := d.clerk()
			h.done = func(b Batch) {
				lost <- b.Lost()
				for _, m := range b.Messages {
					kept <- m.Seq
				}
			}
			stop := d.start(h)
			if entry := d.log.await(t, "ERROR messages were gone before they were read"); !strings.HasSuffix(entry, c.entry) {
				t.Errorf("logged: %s, want %s", entry, c.entry)
			}
			d.await(6)
			stop()
			close(lost)
			close(kept)
			sum := uint64(0)
			for n := range lost {
				sum += n
			}
			want := uint64(4) // messages of what is not done
			if c.first > 1 || c.done {
				want = 3
			}
			if sum != want {
				t.Errorf("%d messages are counted as lost, want %d", sum, want)
			}
			var seqs []string
			for seq := range kept {
				seqs = append(seqs, strconv.FormatUint(seq, 10))
			}
			if got := strings.Join(seqs, ","); got != c.keeps {
				t.Errorf("carried out: %s, want %s", got, c.keeps)
			}
		})
	}
}

// TestStreamThatLostItsEnd has a plan that reaches further than the stream does.
func TestStreamThatLostItsEnd(t *testing.T) {
	t.Run("is waited for by what is stored outside", func(t *testing.T) {
		d := newDesk(t)
		d.write(5)
		d.planned(d.origin(), 1, 8, false)
		d.start(d.clerk())
		d.log.await(t, "WARN interrupted, will be taken up again err=the stream of logs ends at 5")
		if kept := d.shelf.frames(); len(kept) > 0 {
			t.Errorf("stored meanwhile: %v", kept)
		}
		d.write(5)
		d.await(10)
		d.check(0)
	})
	t.Run("is left as it is by what is in SQL only", func(t *testing.T) {
		d := newDesk(t)
		d.cfg.Outside = false
		d.write(5)
		d.planned(d.origin(), 1, 8, false)
		d.start(d.clerk())
		d.log.await(t, "ERROR messages were gone before they were read first=1 last=8 messages=3")
		d.check(0)
	})
}

func TestFailingSQLIsWaitedOut(t *testing.T) {
	d := newDesk(t)
	path := filepath.Join(t.TempDir(), "catalog.db")
	d.db = storagetest.OpenCatalog(t, catalog.Config{Path: path})
	d.start(d.clerk())
	d.write(20)
	other, err := sql.Open("sqlite", path) // the driver comes with the catalog
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	for _, table := range []string{"cursors", "issues"} { // plans fail, or what is committed with the mark
		d.await(uint64(d.written))
		if _, err := other.ExecContext(t.Context(), "PRAGMA busy_timeout = 10000; ALTER TABLE "+table+" RENAME TO away"); err != nil {
			t.Fatal(err)
		}
		d.write(20)
		for range 2 {
			d.log.await(t, "WARN interrupted, will be taken up again")
		}
		if _, err := other.ExecContext(t.Context(), "ALTER TABLE away RENAME TO "+table); err != nil {
			t.Fatal(err)
		}
	}
	d.await(60)
	d.check(0)
}

// TestRefusedBatchIsNarrowedToItsMessages has a store that takes no batch with certain messages in
// it, and followers that are ended at any step of narrowing.
func TestRefusedBatchIsNarrowedToItsMessages(t *testing.T) {
	d := newDesk(t)
	d.cfg.MaxMessages = 64
	d.write(400)
	bad := func(m bus.Message) bool { return slices.Contains([]uint64{1, 30, 31, 200, 256}, m.Seq) }
	refusing := func(c *clerk) func(Batch) error {
		return func(b Batch) error {
			if !slices.ContainsFunc(b.Messages, bad) {
				return nil
			}
			if len(b.Messages) > 1 {
				return fmt.Errorf("%w: too bad", ErrRefused)
			}
			c.frames = nil // put aside
			return nil
		}
	}
	for lives := 0; lives < 60 && (d.cursor().Last < 400 || !d.cursor().Done); lives++ {
		ctx, crash := context.WithCancel(t.Context())
		c := d.clerk()
		refuse := refusing(c)
		steps := rand.IntN(8)
		count := func() error {
			if steps--; steps < 0 {
				crash()
			}
			return ctx.Err()
		}
		c.before = func(b Batch) error { return errors.Join(refuse(b), count()) }
		c.after = func(Batch) error { return count() }
		c.done = func(b Batch) {
			_ = count()
			if b.Last == 400 {
				crash() // nothing is left to do
			}
		}
		if err := d.follower().Run(ctx, c); err != nil {
			t.Fatal(err)
		}
		crash()
	}
	c := d.clerk()
	c.before = refusing(c)
	stop := d.start(c)
	d.await(400)
	stop()
	if n := len(d.shelf.frames()); n != 395 {
		t.Errorf("%d frames are kept, want 395", n)
	}
	if n := len(slices.Compact(d.shelf.frames())); n != 395 {
		t.Errorf("%d different frames are kept, want 395", n)
	}
	d.checkCount(395)
}

// TestVerdictMayChangeBetweenLives ends a life after half of a refused batch was stored; the next one
// meets a store that would take the whole.
func TestVerdictMayChangeBetweenLives(t *testing.T) {
	d := newDesk(t)
	d.cfg.MaxMessages, d.cfg.MaxAge = 8, time.Minute
	d.write(8)
	ctx, crash := context.WithCancel(t.Context())
	c := d.clerk()
	c.before = func(b Batch) error {
		if len(b.Messages) == 8 {
			return ErrRefused
		}
		return nil
	}
	c.after = func(Batch) error {
		crash()
		return ctx.Err()
	}
	if err := d.follower().Run(ctx, c); err != nil {
		t.Fatal(err)
	}
	if n := len(d.shelf.frames()); n != 4 {
		t.Fatalf("%d frames are kept by the first life, want 4", n)
	}
	d.cfg.MaxAge = time.Millisecond
	d.start(d.clerk())
	d.await(8)
	d.check(0)
}

func TestBatchesGrowAgainAfterARefusal(t *testing.T) {
	d := newDesk(t)
	d.cfg.MaxMessages, d.cfg.MaxAge = 32, time.Minute
	d.write(1 + 2 + 4 + 8 + 16 + 32 + 32)
	c := d.clerk()
	var sizes []int
	c.before = func(b Batch) error {
		sizes = append(sizes, len(b.Messages))
		if b.First == 1 && len(b.Messages) > 1 {
			return ErrRefused
		}
		return nil
	}
	stop := d.start(c)
	d.await(95)
	stop()
	if diff := cmp.Diff([]int{32, 16, 8, 4, 2, 1, 2, 4, 8, 16, 32, 32}, sizes); diff != "" {
		t.Errorf("messages of the batches: %s", diff)
	}
	d.check(0)
}

func TestBatchesAreBounded(t *testing.T) {
	for name, bound := range map[string]func(*Config, *clerk){
		"messages": func(cfg *Config, _ *clerk) { cfg.MaxMessages = 4 },
		"bytes":    func(cfg *Config, _ *clerk) { cfg.MaxBytes = 4*6 - 5 },
		"handler":  func(_ *Config, c *clerk) { c.full = 4 },
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			d.cfg.MaxMessages, d.cfg.MaxAge = 1000, time.Minute
			c := d.clerk()
			bound(&d.cfg, c)
			sizes := map[int]int{}
			c.done = func(b Batch) { sizes[len(b.Messages)]++ }
			d.write(40)
			stop := d.start(c)
			d.await(40)
			stop()
			if diff := cmp.Diff(map[int]int{4: 10}, sizes); diff != "" {
				t.Errorf("batches by their messages: %s", diff)
			}
			d.check(0)
		})
	}
}

func TestStreamIsTrimmedBehindItsSlowestReader(t *testing.T) {
	d := newDesk(t)
	var err error
	d.bus, err = bus.Open(t.Context(), bus.Config{Dir: t.TempDir(), MaxBytes: 8 << 20, DuplicateWindow: time.Minute}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.bus.Close)
	for range 6 { // more than half full, so that it is trimmed at once
		if err := d.bus.Publish(t.Context(), bus.Logs, 1, "", bytes.Repeat([]byte("x"), 1<<20)); err != nil {
			t.Fatal(err)
		}
	}
	origin := d.origin()
	place := func(reader string, origin int64, first, last uint64, done bool) {
		t.Helper()
		other := *d
		other.cfg.Reader = reader
		other.planned(origin, first, last, done)
	}
	trimmed := func(step string, want uint64) {
		t.Helper()
		if err := d.follower().trim(t.Context(), []string{"clerk", "other"}); err != nil {
			t.Fatal(err)
		}
		backlog, err := d.bus.Backlog(t.Context(), bus.Logs)
		if err != nil || backlog.FirstSeq != want {
			t.Errorf("%s: the stream begins at %d, want %d (%v)", step, backlog.FirstSeq, want, err)
		}
	}
	trimmed("nobody has read", 1)
	place("clerk", origin, 1, 2, true)
	trimmed("the other has not been anywhere", 1)
	place("other", 42, 1, 2, true)
	trimmed("the other was in another life of the stream", 1)
	place("other", origin, 1, 1, false)
	trimmed("the other has a plan", 1)
	place("other", origin, 1, 1, true)
	trimmed("the other has done one", 2)
}
