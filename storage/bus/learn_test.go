package bus

import (
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// TestWhatIsTrimmedWhileAReaderStartsTakesNothingWithIt trims a stream between the moments at which
// a reader finds out what is there and at which it reads that: the first message that it then
// meets is one that it has still to read.
func TestWhatIsTrimmedWhileAReaderStartsTakesNothingWithIt(t *testing.T) {
	t.Parallel()
	b, err := Open(t.Context(), Config{Dir: t.TempDir(), MaxBytes: 64 << 20, DuplicateWindow: time.Minute}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	for _, name := range []string{"one", "two", "three"} {
		if err := b.Publish(t.Context(), Logs, 1, name, []byte(name)); err != nil {
			t.Fatal(err)
		}
	}
	r := &Reader{signal: Logs, last: 2, seen: newMemory(time.Minute, longestRemembered, leastRemembered, maxRemembered)}
	stream, err := b.js.Stream(t.Context(), b.stream(Logs))
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Purge(t.Context(), jetstream.WithPurgeSequence(3)); err != nil { // up to 2
		t.Fatal(err)
	}
	if err := b.learn(t.Context(), r, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: 1, HeadersOnly: true}); err != nil {
		t.Fatal(err)
	}
	if r.seen.repeats(newID(1, "three"), time.Now()) {
		t.Error("a message that was not read yet is taken for a repetition: it would be lost")
	}
}
