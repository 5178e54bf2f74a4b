package bus_test

import (
	"bytes"
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/midwatch/midwatch/storage/bus"
)

var acceptedAt = time.Date(2026, time.November, 21, 10, 0, 0, 123, time.UTC)

func putAside(t *testing.T, b *bus.Bus, s bus.Signal, seq uint64, data string) {
	t.Helper()
	if err := b.Dead(deadline(t), s, bus.Message{Seq: seq, Time: acceptedAt}, bus.Frame{Offset: 11, Data: []byte(data)}, "refused "+strconv.FormatUint(seq, 10)); err != nil {
		t.Fatal(err)
	}
}

func list(t *testing.T, b *bus.Bus, after uint64, limit int) []bus.DeadLetter {
	t.Helper()
	letters, err := b.DeadLetters(deadline(t), after, limit)
	if err != nil {
		t.Fatal(err)
	}
	return letters
}

// seenByReaders returns everything that the readers of a stream see now: what comes before a last frame.
func seenByReaders(t *testing.T, b *bus.Bus, s bus.Signal) string {
	t.Helper()
	ctx := deadline(t)
	const last = "last frame"
	if err := b.Publish(ctx, s, 1, "", []byte(last)); err != nil {
		t.Fatal(err)
	}
	r, err := b.Read(ctx, s, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Stop()
	var all []byte
	for {
		m, err := r.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, joined(m)...)
		if before, found := bytes.CutSuffix(all, []byte(last)); found {
			return string(before)
		}
	}
}

func TestDeadLettersAreListedOldestFirstWithoutData(t *testing.T) {
	b := open(t, bus.Config{})
	if letters := list(t, b, 0, 10); len(letters) != 0 {
		t.Fatalf("a new bus has dead letters: %v", letters)
	}
	putAside(t, b, bus.Logs, 40, "first")
	putAside(t, b, bus.Metrics, 7, "the second")
	putAside(t, b, bus.Logs, 41, "third")
	want := []bus.DeadLetter{
		{Seq: 1, Signal: bus.Logs, Reason: "refused 40", AcceptedAt: acceptedAt, OriginalSeq: 40, Offset: 11, Bytes: 5},
		{Seq: 2, Signal: bus.Metrics, Reason: "refused 7", AcceptedAt: acceptedAt, OriginalSeq: 7, Offset: 11, Bytes: 10},
		{Seq: 3, Signal: bus.Logs, Reason: "refused 41", AcceptedAt: acceptedAt, OriginalSeq: 41, Offset: 11, Bytes: 5},
	}
	withoutTime := cmpopts.IgnoreFields(bus.DeadLetter{}, "At")
	if diff := cmp.Diff(want, list(t, b, 0, 10), withoutTime); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(want[:2], list(t, b, 0, 2), withoutTime); diff != "" {
		t.Errorf("limit of 2: %s", diff)
	}
	if diff := cmp.Diff(want[2:], list(t, b, 2, 2), withoutTime); diff != "" {
		t.Errorf("after 2: %s", diff)
	}
	for _, after := range []uint64{3, 1000, 1<<64 - 1} {
		if letters := list(t, b, after, 10); len(letters) != 0 {
			t.Errorf("after %d: %v", after, letters)
		}
	}
}

func TestListOfDeadLettersIsBounded(t *testing.T) {
	b := open(t, bus.Config{})
	for i := range uint64(5) {
		putAside(t, b, bus.Logs, i+1, "x")
	}
	if n := len(list(t, b, 0, 0)); n != 1 {
		t.Errorf("a limit of 0 gives %d", n)
	}
	if n := len(list(t, b, 0, bus.MaxDeadLetters+1)); n != 5 {
		t.Errorf("a limit above the highest gives %d", n)
	}
}

func TestDeadLetterHasItsData(t *testing.T) {
	b := open(t, bus.Config{})
	putAside(t, b, bus.Errors, 9, "\x00the frame")
	letter, err := b.DeadLetter(deadline(t), 1)
	if err != nil {
		t.Fatal(err)
	}
	want := bus.DeadLetter{Seq: 1, Signal: bus.Errors, Reason: "refused 9", AcceptedAt: acceptedAt, OriginalSeq: 9, Offset: 11, Bytes: 10, Data: []byte("\x00the frame")}
	if diff := cmp.Diff(want, letter, cmpopts.IgnoreFields(bus.DeadLetter{}, "At")); diff != "" {
		t.Error(diff)
	}
	if letter.At.IsZero() {
		t.Error("it does not say when it was put aside")
	}
}

func TestReplayedMessageIsReadAgainAndNoDeadLetterAnyMore(t *testing.T) {
	b := open(t, bus.Config{Prefix: "T_"})
	putAside(t, b, bus.Logs, 1, "one,")
	putAside(t, b, bus.Logs, 2, "two,")
	if err := b.Replay(deadline(t), 2); err != nil {
		t.Fatal(err)
	}
	if got := seenByReaders(t, b, bus.Logs); got != "two," {
		t.Errorf("the readers see %q", got)
	}
	if letters := list(t, b, 0, 10); len(letters) != 1 || letters[0].Seq != 1 {
		t.Errorf("dead letters afterwards: %v", letters)
	}
}

func TestReplaysOfOneMessageAreStoredOnce(t *testing.T) {
	b := open(t, bus.Config{})
	putAside(t, b, bus.Logs, 1, "once,")
	ctx := deadline(t)
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		wg.Go(func() { errs[i] = b.Replay(ctx, 1) })
	}
	wg.Wait()
	replayed := 0
	for _, err := range errs {
		switch {
		case err == nil:
			replayed++
		case !errors.Is(err, bus.ErrNoDeadLetter):
			t.Error(err)
		}
	}
	if replayed == 0 {
		t.Error("nobody replayed it")
	}
	if got := seenByReaders(t, b, bus.Logs); got != "once," {
		t.Errorf("after %d replays at the same time the readers see %q", replayed, got)
	}
}

func TestReplayedFrameSharesItsMessageWithNoOther(t *testing.T) {
	b := open(t, bus.Config{})
	ctx := deadline(t)
	const letters = 20
	for i := range uint64(letters) {
		putAside(t, b, bus.Logs, i+1, "poison")
	}
	// Many publish all the while, so that frames wait for each other and are grouped.
	replaying, replayed := context.WithCancel(ctx)
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			for replaying.Err() == nil {
				if err := b.Publish(ctx, bus.Logs, 1, "", []byte("x")); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for seq := range uint64(letters) {
		if err := b.Replay(ctx, seq+1); err != nil {
			t.Error(err)
		}
	}
	replayed()
	wg.Wait()
	r, err := b.Read(ctx, bus.Logs, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Stop()
	for alone := 0; alone < letters; {
		m, err := r.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(joined(m), "poison") {
			continue
		}
		if alone++; joined(m) != "poison" {
			t.Fatalf("a replayed frame is in a message with others: %q", joined(m))
		}
	}
}

func TestReplayIntoAFullStreamKeepsTheDeadLetter(t *testing.T) {
	b := open(t, bus.Config{MaxBytes: 8 << 20})
	ctx := deadline(t)
	frame := bytes.Repeat([]byte("x"), 512<<10)
	putAside(t, b, bus.Logs, 1, string(frame))
	for {
		if err := b.Publish(ctx, bus.Logs, 1, "", frame); errors.Is(err, bus.ErrFull) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Replay(ctx, 1); !errors.Is(err, bus.ErrFull) {
		t.Errorf("replay = %v, want ErrFull", err)
	}
	if _, err := b.DeadLetter(ctx, 1); err != nil {
		t.Errorf("the dead letter is lost: %v", err)
	}
}

func TestDroppedDeadLetterIsGone(t *testing.T) {
	b := open(t, bus.Config{})
	putAside(t, b, bus.Logs, 1, "one")
	putAside(t, b, bus.Logs, 2, "two")
	putAside(t, b, bus.Logs, 3, "three")
	if err := b.Drop(deadline(t), 2); err != nil {
		t.Fatal(err)
	}
	letters := list(t, b, 0, 10)
	if len(letters) != 2 || letters[0].Seq != 1 || letters[1].Seq != 3 {
		t.Errorf("dead letters afterwards: %v", letters)
	}
}

func TestUnknownDeadLetterIsSaidToBeNone(t *testing.T) {
	b := open(t, bus.Config{})
	putAside(t, b, bus.Logs, 1, "one")
	if err := b.Drop(deadline(t), 1); err != nil {
		t.Fatal(err)
	}
	for name, try := range map[string]func(context.Context, uint64) error{
		"DeadLetter": func(ctx context.Context, seq uint64) error { _, err := b.DeadLetter(ctx, seq); return err },
		"Replay":     b.Replay,
		"Drop":       b.Drop,
	} {
		for _, seq := range []uint64{0, 1, 77, 1<<64 - 1} {
			if err := try(deadline(t), seq); !errors.Is(err, bus.ErrNoDeadLetter) {
				t.Errorf("%s of %d = %v, want ErrNoDeadLetter", name, seq, err)
			}
		}
	}
}
