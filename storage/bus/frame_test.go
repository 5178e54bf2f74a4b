package bus

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/nats-io/nats.go"
)

func openInside(t *testing.T) (*Bus, context.Context) {
	t.Helper()
	b, err := Open(t.Context(), Config{Dir: t.TempDir(), MaxBytes: 64 << 20, DuplicateWindow: time.Minute}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return b, ctx
}

// publishTogether puts frames, by turns a name and what it holds, into one message.
func publishTogether(t *testing.T, b *Bus, s Signal, namesAndFrames ...string) {
	t.Helper()
	var group []*part
	size := 0
	for i := 0; i < len(namesAndFrames); i += 2 {
		group = append(group, &part{id: newID(1, namesAndFrames[i]), frame: []byte(namesAndFrames[i+1])})
		size += len(namesAndFrames[i+1])
	}
	if err := b.publishGroup(s, group, size); err != nil {
		t.Fatal(err)
	}
}

// publishForeign writes what is none of ours into a stream.
func publishForeign(t *testing.T, b *Bus, s Signal, header string, data []byte) {
	t.Helper()
	msg := nats.NewMsg(b.subject(s))
	msg.Data = data
	if header != "" {
		msg.Header.Set(partsHeader, header)
	}
	if _, err := b.js.PublishMsg(t.Context(), msg); err != nil {
		t.Fatal(err)
	}
}

// readFrames reads n messages behind after.
func readFrames(ctx context.Context, t *testing.T, b *Bus, s Signal, after uint64, n int) []Message {
	t.Helper()
	r, err := b.Read(ctx, s, after)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Stop()
	var out []Message
	for range n {
		m, err := r.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		m.Time = time.Time{}
		out = append(out, m)
	}
	return out
}

func frame(offset int, data string) Frame { return Frame{Offset: offset, Data: []byte(data)} }

func TestFramesKeepTheirOffsetsWhateverIsLeftOut(t *testing.T) {
	b, ctx := openInside(t)
	publishTogether(t, b, Logs, "a", "first", "b", "second", "", "third")
	publishTogether(t, b, Logs, "c", "4th", "a", "first", "", "", "d", "last", "c", "4th")
	publishTogether(t, b, Logs, "a", "first", "b", "second")
	want := []Message{
		{Seq: 1, Size: 16, Frames: []Frame{frame(0, "first"), frame(5, "second"), frame(11, "third")}},
		{Seq: 2, Size: 15, Frames: []Frame{frame(0, "4th"), frame(8, ""), frame(8, "last")}},
		{Seq: 3, Size: 11},
	}
	for after := range want {
		if diff := cmp.Diff(want[after:], readFrames(ctx, t, b, Logs, uint64(after), len(want)-after)); diff != "" {
			t.Errorf("read after %d:\n%s", after, diff)
		}
	}
}

func TestWhoAppendsToAFrameDoesNotWriteIntoTheNext(t *testing.T) {
	b, ctx := openInside(t)
	publishTogether(t, b, Logs, "", "one", "", "two")
	frames := readFrames(ctx, t, b, Logs, 0, 1)[0].Frames
	_ = append(frames[0].Data, "xxx"...)
	if string(frames[1].Data) != "two" {
		t.Errorf("the second frame is %q", frames[1].Data)
	}
}

// TestForeignMessageIsOneFrame is what others write into a stream: without our header, with one that
// cannot be decoded, and with one that describes another message.
func TestForeignMessageIsOneFrame(t *testing.T) {
	b, ctx := openInside(t)
	tooLong := base64.RawStdEncoding.EncodeToString(append(make([]byte, len(id{})), 200))
	publishTogether(t, b, Logs, "ours", "ours")
	publishForeign(t, b, Logs, "", []byte("without"))
	publishForeign(t, b, Logs, "%%%", []byte("undecodable"))
	publishForeign(t, b, Logs, tooLong, []byte("too long"))
	publishForeign(t, b, Logs, base64.RawStdEncoding.EncodeToString([]byte("cut short")), []byte("cut"))
	publishForeign(t, b, Logs, "", nil)
	publishTogether(t, b, Logs, "ours", "ours", "also ours", "more")
	want := []Message{
		{Seq: 1, Size: 4, Frames: []Frame{frame(0, "ours")}},
		{Seq: 2, Size: 7, Frames: []Frame{frame(0, "without")}},
		{Seq: 3, Size: 11, Frames: []Frame{frame(0, "undecodable")}},
		{Seq: 4, Size: 8, Frames: []Frame{frame(0, "too long")}},
		{Seq: 5, Size: 3, Frames: []Frame{frame(0, "cut")}},
		{Seq: 6},
		{Seq: 7, Size: 8, Frames: []Frame{frame(4, "more")}},
	}
	for after := range want { // a reader that starts behind them reads their headers, too
		if diff := cmp.Diff(want[after:], readFrames(ctx, t, b, Logs, uint64(after), len(want)-after)); diff != "" {
			t.Errorf("read after %d:\n%s", after, diff)
		}
	}
}

func TestFramesOfAMessageAreDeadLettersOfTheirOwn(t *testing.T) {
	b, ctx := openInside(t)
	publishTogether(t, b, Logs, "", "one,", "", "two,", "", "one,")
	m := readFrames(ctx, t, b, Logs, 0, 1)[0]
	m.Time = time.Unix(1_700_000_000, 0)
	for range 2 { // the second time as after a crash
		for _, f := range m.Frames {
			if err := b.Dead(ctx, Logs, m, f, "refused"); err != nil {
				t.Fatal(err)
			}
		}
	}
	letters, err := b.DeadLetters(ctx, 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	want := []DeadLetter{
		{Seq: 1, Signal: Logs, Reason: "refused", AcceptedAt: m.Time.UTC(), OriginalSeq: 1, Offset: 0, Bytes: 4},
		{Seq: 2, Signal: Logs, Reason: "refused", AcceptedAt: m.Time.UTC(), OriginalSeq: 1, Offset: 4, Bytes: 4},
		{Seq: 3, Signal: Logs, Reason: "refused", AcceptedAt: m.Time.UTC(), OriginalSeq: 1, Offset: 8, Bytes: 4},
	}
	if diff := cmp.Diff(want, letters, cmpopts.IgnoreFields(DeadLetter{}, "At")); diff != "" {
		t.Fatal(diff)
	}
	for _, l := range letters {
		if err := b.Replay(ctx, l.Seq); err != nil {
			t.Fatal(err)
		}
	}
	var again []string
	for _, m := range readFrames(ctx, t, b, Logs, 1, 3) {
		for _, f := range m.Frames {
			again = append(again, string(f.Data))
		}
	}
	if diff := cmp.Diff([]string{"one,", "two,", "one,"}, again); diff != "" {
		t.Errorf("replayed: %s", diff)
	}
}

func TestLargestFrameIsPutAsideWithALongReasonAndReplayed(t *testing.T) {
	b, ctx := openInside(t)
	largest := bytes.Repeat([]byte("x"), MaxMessageBytes)
	reason := strings.Repeat("ü", maxReasonBytes)
	if err := b.Dead(ctx, Logs, Message{Seq: 1, Time: time.Unix(1, 0)}, Frame{Data: largest}, "a"+reason); err != nil {
		t.Fatal(err)
	}
	letter, err := b.DeadLetter(ctx, 1)
	if err != nil {
		t.Fatal(err)
	}
	if letter.Bytes != len(largest) || !bytes.Equal(letter.Data, largest) {
		t.Errorf("%d of %d bytes are kept", len(letter.Data), letter.Bytes)
	}
	if want := "a" + reason[:maxReasonBytes-2]; letter.Reason != want {
		t.Errorf("%d bytes of the reason are kept, want %d", len(letter.Reason), len(want))
	}
	if err := b.Replay(ctx, 1); err != nil {
		t.Error(err)
	}
}

func TestFrameThatDoesNotFitIsCutAndNotReplayed(t *testing.T) {
	b, ctx := openInside(t)
	foreign := bytes.Repeat([]byte("x"), MaxMessageBytes+maxHeaderBytes-100)
	publishForeign(t, b, Logs, "", foreign)
	m := readFrames(ctx, t, b, Logs, 0, 1)[0]
	if err := b.Dead(ctx, Logs, m, m.Frames[0], "refused"); err != nil {
		t.Fatal(err)
	}
	listed, err := b.DeadLetters(ctx, 0, 1)
	if err != nil || len(listed) != 1 || listed[0].Bytes != len(foreign) {
		t.Errorf("the list says %+v, %v", listed, err)
	}
	letter, err := b.DeadLetter(ctx, 1)
	if err != nil || letter.Bytes != len(foreign) || len(letter.Data) >= len(foreign) || len(letter.Data) < MaxMessageBytes {
		t.Errorf("%d of %d bytes are kept, %v", len(letter.Data), letter.Bytes, err)
	}
	if err := b.Replay(ctx, 1); !errors.Is(err, ErrNotReplayable) {
		t.Errorf("replay = %v, want ErrNotReplayable", err)
	}
	if err := b.Drop(ctx, 1); err != nil {
		t.Error(err)
	}
}
