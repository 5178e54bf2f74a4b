package bus_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/exec"
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
	"github.com/midwatch/midwatch/storage/storagetest"
)

func TestMain(m *testing.M) {
	if cfg := os.Getenv("BUS_TEST_PUBLISHER"); cfg != "" {
		publishForEver(cfg)
	}
	if dir := os.Getenv("BUS_TEST_SMALL_DISK"); dir != "" {
		os.Exit(smallDisk(dir))
	}
	goleak.VerifyTestMain(m)
}

// open opens a bus of the test's own. Of cfg, MaxBytes and Prefix are heeded.
func open(t testing.TB, cfg bus.Config) *bus.Bus {
	t.Helper()
	own := storagetest.BusConfig(t)
	own.Prefix += cfg.Prefix
	if cfg.MaxBytes != 0 {
		own.MaxBytes = cfg.MaxBytes
	}
	return storagetest.OpenBus(t, own)
}

func deadline(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestReaderGetsMessagesInOrderFromItsSequence(t *testing.T) {
	b := open(t, bus.Config{})
	ctx := deadline(t)
	for i := range 10 {
		if err := b.Publish(ctx, bus.Logs, 7, "", []byte{byte(i)}); err != nil {
			t.Fatal(err)
		}
	}
	r, err := b.Read(ctx, bus.Logs, 4)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Stop()
	for want := uint64(5); want <= 10; want++ {
		m, err := r.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if m.Seq != want || joined(m) != string(rune(want-1)) {
			t.Fatalf("got message %d holding %q, want %d", m.Seq, joined(m), want)
		}
	}
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	if _, err := r.Next(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("Next on an empty stream = %v, want the deadline", err)
	}
	// The reader is still good after a deadline.
	if err := b.Publish(ctx, bus.Logs, 7, "", []byte("late")); err != nil {
		t.Fatal(err)
	}
	m, err := r.Next(ctx)
	if err != nil || m.Seq != 11 {
		t.Fatalf("Next = %d, %v, want message 11", m.Seq, err)
	}
}

// joined returns the frames of a message as one.
func joined(m bus.Message) string {
	var all []byte
	for _, f := range m.Frames {
		all = append(all, f.Data...)
	}
	return string(all)
}

// read returns the data of every message behind after, up to the newest.
func read(t testing.TB, b *bus.Bus, s bus.Signal, after uint64) map[uint64]string {
	t.Helper()
	ctx := deadline(t)
	backlog, err := b.Backlog(ctx, s)
	if err != nil {
		t.Fatal(err)
	}
	r, err := b.Read(ctx, s, after)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Stop()
	out := map[uint64]string{}
	for seq := after; seq < backlog.LastSeq; {
		m, err := r.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		seq = m.Seq
		out[seq] = joined(m)
	}
	return out
}

func TestRepeatedFrameIsReadOnceOverTrimAndRestart(t *testing.T) {
	ctx := deadline(t)
	cfg := storagetest.BusConfig(t)
	b, err := bus.Open(ctx, cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	publish := func(project uint32, name, frame string) {
		t.Helper()
		if err := b.Publish(ctx, bus.Metrics, project, name, []byte(frame)); err != nil {
			t.Fatal(err)
		}
	}
	publish(1, "same", "a")
	publish(1, "same", "a")
	publish(2, "same", "b") // another project's
	publish(1, "", "c")
	publish(1, "", "c") // without a name nothing is a repetition
	want := map[uint64]string{1: "a", 2: "", 3: "b", 4: "c", 5: "c"}
	if diff := cmp.Diff(want, read(t, b, bus.Metrics, 0)); diff != "" {
		t.Fatal(diff)
	}
	if err := b.Trim(ctx, bus.Metrics, 3); err != nil {
		t.Fatal(err)
	}
	origin, err := b.Origin(ctx, bus.Metrics)
	if err != nil {
		t.Fatal(err)
	}
	b.Close()
	b = storagetest.OpenBus(t, cfg)
	if again, err := b.Origin(ctx, bus.Metrics); err != nil || again != origin {
		t.Fatalf("origin after restart = %d, %v, want %d", again, err, origin)
	}
	publish(1, "same", "a")
	if diff := cmp.Diff(map[uint64]string{4: "c", 5: "c", 6: ""}, read(t, b, bus.Metrics, 3)); diff != "" {
		t.Fatal(diff)
	}
}

// TestFramesShareMessagesAndEachIsReadOnce publishes from many sides, each frame twice, and reads
// from every place: what a message holds does not depend on where its reader began.
func TestFramesShareMessagesAndEachIsReadOnce(t *testing.T) {
	b := open(t, bus.Config{})
	const publishers, each = 64, 20
	var wg sync.WaitGroup
	for p := range publishers {
		wg.Go(func() {
			for i := range each {
				frame := fmt.Sprintf("<%d.%d>", p, i)
				for range 2 {
					if err := b.Publish(deadline(t), bus.Logs, 1, frame, []byte(frame)); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	whole := read(t, b, bus.Logs, 0)
	seen := map[string]int{}
	for _, data := range whole {
		for frame := range strings.SplitAfterSeq(data, ">") {
			if frame != "" {
				seen[frame]++
			}
		}
	}
	if len(seen) != publishers*each {
		t.Errorf("%d frames, want %d", len(seen), publishers*each)
	}
	for frame, n := range seen {
		if n != 1 {
			t.Errorf("%s was read %d times", frame, n)
		}
	}
	if len(whole) >= 2*publishers*each {
		t.Errorf("%d frames took %d messages: none was shared", 2*publishers*each, len(whole))
	}
	for after := uint64(0); after < uint64(len(whole)); after += 7 {
		want := maps.Clone(whole)
		maps.DeleteFunc(want, func(seq uint64, _ string) bool { return seq <= after })
		if diff := cmp.Diff(want, read(t, b, bus.Logs, after)); diff != "" {
			t.Fatalf("read after %d:\n%s", after, diff)
		}
	}
}

func TestFullStreamSaysSoAndTakesAgainAfterTrim(t *testing.T) {
	b := open(t, bus.Config{MaxBytes: 8 << 20})
	ctx := deadline(t)
	frame := bytes.Repeat([]byte("x"), 512<<10)
	stored := 0
	var err error
	for err == nil && stored < 40 {
		if err = b.Publish(ctx, bus.Logs, 1, strconv.Itoa(stored), frame); err == nil {
			stored++
		}
	}
	if !errors.Is(err, bus.ErrFull) {
		t.Fatalf("publish over the limit = %v, want ErrFull", err)
	}
	if err := b.Publish(ctx, bus.Errors, 1, "", []byte("another signal")); err != nil {
		t.Fatalf("another signal suffers: %v", err)
	}
	if err := b.Trim(ctx, bus.Logs, uint64(stored)); err != nil {
		t.Fatal(err)
	}
	if err := b.Publish(ctx, bus.Logs, 1, "after", frame); err != nil {
		t.Fatalf("publish after trim: %v", err)
	}
}

func TestTooLargeMessageIsRefused(t *testing.T) {
	b := open(t, bus.Config{})
	err := b.Publish(deadline(t), bus.Logs, 1, "", make([]byte, bus.MaxMessageBytes+1))
	if err == nil || errors.Is(err, bus.ErrFull) || errors.Is(err, bus.ErrUnavailable) {
		t.Fatalf("publish of too large a message = %v, want a plain refusal", err)
	}
}

// publishForEver is the body of a child process: it prints the number of each message once it is
// acknowledged, until it is killed.
func publishForEver(config string) {
	ctx := context.Background()
	var cfg bus.Config
	err := json.Unmarshal([]byte(config), &cfg)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	b, err := bus.Open(ctx, cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	backlog, err := b.Backlog(ctx, bus.Logs)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for i := backlog.LastSeq + 1; ; i++ {
		if err := b.Publish(ctx, bus.Logs, 1, strconv.FormatUint(i, 10), []byte(strconv.FormatUint(i, 10))); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(i)
	}
}

func TestAcknowledgedMessagesSurviveKill(t *testing.T) {
	cfg := storagetest.BusConfig(t)
	config, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "BUS_TEST_PUBLISHER="+string(config))
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var acknowledged uint64
		for range 200 {
			if _, err := fmt.Fscanln(out, &acknowledged); err != nil {
				t.Fatal(err)
			}
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for {
			if _, err := fmt.Fscanln(out, &acknowledged); err != nil {
				break
			}
		}
		_ = cmd.Wait() // it was killed: the error is the point

		b, err := bus.Open(deadline(t), cfg, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		r, err := b.Read(deadline(t), bus.Logs, 0)
		if err != nil {
			t.Fatal(err)
		}
		for want := uint64(1); want <= acknowledged; want++ {
			m, err := r.Next(deadline(t))
			if err != nil {
				t.Fatal(err)
			}
			if joined(m) != strconv.FormatUint(want, 10) {
				t.Fatalf("message %d holds %q", want, joined(m))
			}
		}
		r.Stop()
		b.Close()
	}
}

func BenchmarkPublish(b *testing.B) {
	for _, size := range []int{1 << 10, 256 << 10} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			q := open(b, bus.Config{MaxBytes: 64 << 30})
			frame := make([]byte, size)
			b.SetBytes(int64(size))
			for b.Loop() {
				if err := q.Publish(b.Context(), bus.Logs, 1, "", frame); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkPublishers is the curve of clients that publish 1 KiB at the same time, each waiting
// for its own acknowledgement: grouped, as Publish does, and alone, with a message and its sync for
// each.
func BenchmarkPublishers(b *testing.B) {
	grouped := func(ctx context.Context, q *bus.Bus, frame []byte) error {
		return q.Publish(ctx, bus.Logs, 1, "", frame)
	}
	alone := func(_ context.Context, q *bus.Bus, frame []byte) error { return q.PublishAlone(bus.Logs, frame) }
	for _, way := range []struct {
		name    string
		publish func(context.Context, *bus.Bus, []byte) error
	}{{"grouped", grouped}, {"alone", alone}} {
		for _, clients := range []int{1, 8, 64, 512} {
			b.Run(way.name+"/"+strconv.Itoa(clients), func(b *testing.B) {
				q := open(b, bus.Config{MaxBytes: 64 << 30})
				frame := make([]byte, 1<<10)
				took := make([][]time.Duration, clients)
				var wg sync.WaitGroup
				b.ResetTimer()
				for c := range clients {
					wg.Go(func() {
						for range max(1, b.N/clients) {
							began := time.Now()
							if err := way.publish(b.Context(), q, frame); err != nil {
								b.Error(err)
								return
							}
							took[c] = append(took[c], time.Since(began))
						}
					})
				}
				wg.Wait()
				all := slices.Sorted(slices.Values(slices.Concat(took...)))
				b.ReportMetric(float64(len(all))/b.Elapsed().Seconds(), "requests/s")
				for _, p := range []int{50, 99} {
					b.ReportMetric(float64(all[len(all)*p/100].Microseconds())/1000, fmt.Sprintf("p%d-ms", p))
				}
			})
		}
	}
}

func TestReadersDoNotDisturbEachOther(t *testing.T) {
	b := open(t, bus.Config{})
	ctx := deadline(t)
	readers := make([]*bus.Reader, 3)
	for i := range readers {
		r, err := b.Read(ctx, bus.Logs, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Stop()
		readers[i] = r
	}
	for want := uint64(1); want <= 20; want++ {
		if err := b.Publish(ctx, bus.Logs, 1, "", []byte("x")); err != nil {
			t.Fatal(err)
		}
		for i, r := range readers {
			m, err := r.Next(ctx)
			if err != nil || m.Seq != want {
				t.Fatalf("reader %d: Next = %d, %v, want %d", i, m.Seq, err, want)
			}
		}
	}
}

// TestStreamOutlivesAKillWhileItWasMade stands where a kill at the first start can leave it: the
// server has written what a stream is, and not yet the checksum beside it.
func TestStreamOutlivesAKillWhileItWasMade(t *testing.T) {
	dir := t.TempDir()
	embedded(t, dir, nil).Close()
	sums, err := filepath.Glob(filepath.Join(dir, "jetstream", "*", "streams", "INGEST_logs", "meta.sum"))
	if err != nil || len(sums) != 1 {
		t.Fatalf("the stream's checksum is %v, %v", sums, err)
	}
	if err := os.Remove(sums[0]); err != nil {
		t.Fatal(err)
	}
	first := embedded(t, dir, nil)
	ctx := deadline(t)
	origin, err := first.Origin(ctx, bus.Logs)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Publish(ctx, bus.Logs, 7, "", []byte("kept")); err != nil {
		t.Fatal(err)
	}
	first.Close()
	second := embedded(t, dir, nil)
	again, err := second.Origin(ctx, bus.Logs)
	if err != nil {
		t.Fatal(err)
	}
	if again != origin {
		t.Errorf("the stream has another origin after a restart: what is stored would be stored again")
	}
	backlog, err := second.Backlog(ctx, bus.Logs)
	if err != nil || backlog.Messages != 1 {
		t.Errorf("after the restart there are %d messages, %v", backlog.Messages, err)
	}
}

// TestRepetitionAfterALongPauseIsRecognised is what clients do whose request was cut while the
// stream was full: they repeat it for as long as that lasts, and few others come in between.
func TestRepetitionAfterALongPauseIsRecognised(t *testing.T) {
	const window = 100 * time.Millisecond // the shortest that a stream takes
	b, err := bus.Open(t.Context(), bus.Config{Dir: t.TempDir(), MaxBytes: 64 << 20, DuplicateWindow: window}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	ctx := deadline(t)
	publish := func(id, frame string) {
		t.Helper()
		if err := b.Publish(ctx, bus.Logs, 7, id, []byte(frame)); err != nil {
			t.Fatal(err)
		}
	}
	publish("a", "once,")
	publish("b", "other,")
	time.Sleep(3 * window) // it is time itself that must not matter
	publish("a", "once,")
	if got := seenByReaders(t, b, bus.Logs); got != "once,other," {
		t.Errorf("a reader from the begin sees %q", got)
	}
	// One that takes up the stream in between knows it too.
	r, err := b.Read(ctx, bus.Logs, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Stop()
	m, err := r.Next(ctx)
	if err != nil || joined(m) != "" {
		t.Errorf("a reader after it was stored sees %q, %v", joined(m), err)
	}
}
