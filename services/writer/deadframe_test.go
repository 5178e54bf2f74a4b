package writer_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/midwatch/midwatch/proto/telemetrypb"
	"github.com/midwatch/midwatch/services/writer"
	"github.com/midwatch/midwatch/storage/bus"
	"github.com/midwatch/midwatch/storage/catalog"
	"github.com/midwatch/midwatch/storage/storagetest"
	"github.com/midwatch/midwatch/storage/telemetry"
)

// refuse has ClickHouse take no block with a row that does not hold to a condition.
func (b *bench) refuse(table, condition string) {
	b.t.Helper()
	storagetest.EngineExec(b.t, b.url, "ALTER TABLE "+table+" ADD CONSTRAINT sound CHECK "+condition)
}

func marshal(t *testing.T, frame proto.Message) []byte {
	t.Helper()
	data, err := proto.Marshal(frame)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// logLine is a frame of one record.
func (b *bench) logLine(body string) []byte {
	b.t.Helper()
	at := uint64(b.at.UnixNano())
	return marshal(b.t, &telemetrypb.LogFrame{Batches: []*telemetrypb.LogBatch{{ProjectId: project, ReceivedAt: at, Groups: []*telemetrypb.LogGroup{{
		Service: "test", Records: []*telemetrypb.LogRecord{{Time: at, ObservedTime: at, Body: body}},
	}}}}})
}

// publishTogether publishes frames at the same time, so that they share messages.
func (b *bench) publishTogether(s bus.Signal, frames ...[]byte) {
	b.t.Helper()
	var wg sync.WaitGroup
	for _, f := range frames {
		wg.Go(func() {
			if err := b.bus.Publish(b.t.Context(), s, project, "", f); err != nil {
				b.t.Error(err)
			}
		})
	}
	wg.Wait()
}

// messages reads what a stream holds.
func (b *bench) messages(s bus.Signal) []bus.Message {
	b.t.Helper()
	backlog, err := b.bus.Backlog(b.t.Context(), s)
	if err != nil {
		b.t.Fatal(err)
	}
	r, err := b.bus.Read(b.t.Context(), s, 0)
	if err != nil {
		b.t.Fatal(err)
	}
	defer r.Stop()
	var out []bus.Message
	for uint64(len(out)) < backlog.LastSeq {
		m, err := r.Next(b.t.Context())
		if err != nil {
			b.t.Fatal(err)
		}
		out = append(out, m)
	}
	return out
}

// publishUntilShared publishes the frames until a message has both bad ones and others, and returns
// how often it published them.
func (b *bench) publishUntilShared(s bus.Signal, bad func([]byte) bool, frames ...[]byte) (times int) {
	b.t.Helper()
	isBad := func(f bus.Frame) bool { return bad(f.Data) }
	for times = 1; times <= 50; times++ {
		b.publishTogether(s, frames...)
		for _, m := range b.messages(s) {
			if slices.ContainsFunc(m.Frames, isBad) && slices.ContainsFunc(m.Frames, func(f bus.Frame) bool { return !isBad(f) }) {
				return times
			}
		}
	}
	b.t.Fatal("no message is shared")
	return 0
}

// bodies returns the bodies of all stored records, sorted, and their ids.
func (b *bench) bodies() (bodies, ids []string) {
	b.t.Helper()
	page, err := b.store.Logs(b.t.Context(), b.scope(), telemetry.LogFilter{}, 1000, "")
	if err != nil {
		b.t.Fatal(err)
	}
	for _, r := range page.Rows {
		bodies = append(bodies, r.Body)
		ids = append(ids, r.ID)
	}
	slices.Sort(bodies)
	slices.Sort(ids)
	return bodies, ids
}

// dead returns the dead letters with their data.
func (b *bench) dead() []bus.DeadLetter {
	b.t.Helper()
	letters, err := b.bus.DeadLetters(b.t.Context(), 0, bus.MaxDeadLetters)
	if err != nil {
		b.t.Fatal(err)
	}
	for i, l := range letters {
		if letters[i], err = b.bus.DeadLetter(b.t.Context(), l.Seq); err != nil {
			b.t.Fatal(err)
		}
	}
	return letters
}

// lines makes n frames, of which those with the given numbers are poison.
func (b *bench) lines(n int, poison ...int) (frames [][]byte) {
	b.t.Helper()
	for i := range n {
		kind := "good"
		if slices.Contains(poison, i) {
			kind = "poison"
		}
		frames = append(frames, b.logLine(fmt.Sprintf("%s %03d", kind, i)))
	}
	return frames
}

func isPoison(data []byte) bool { return strings.Contains(string(data), "poison") }

// check wants the frames to be stored, times each, with ids of their own, and the others to be dead
// letters that say where they were.
func (b *bench) check(times int, frames [][]byte, bad func([]byte) bool) {
	b.t.Helper()
	var wantBodies, wantDead []string
	for _, f := range frames {
		for range times {
			if bad(f) {
				wantDead = append(wantDead, string(f))
				continue
			}
			var frame telemetrypb.LogFrame
			if err := proto.Unmarshal(f, &frame); err != nil {
				b.t.Fatal(err)
			}
			wantBodies = append(wantBodies, frame.GetBatches()[0].GetGroups()[0].GetRecords()[0].GetBody())
		}
	}
	bodies, ids := b.bodies()
	if diff := cmp.Diff(slices.Sorted(slices.Values(wantBodies)), bodies); diff != "" {
		b.t.Errorf("stored (-want +got):\n%s", diff)
	}
	if n := len(slices.Compact(ids)); n != len(wantBodies) {
		b.t.Errorf("%d rows have %d ids", len(wantBodies), n)
	}
	var dead []string
	messages := b.messages(bus.Logs)
	for _, l := range b.dead() {
		dead = append(dead, string(l.Data))
		m := messages[l.OriginalSeq-1]
		same := func(f bus.Frame) bool { return f.Offset == l.Offset && string(f.Data) == string(l.Data) }
		if l.Signal != bus.Logs || l.Reason == "" || !l.AcceptedAt.Equal(m.Time) || !slices.ContainsFunc(m.Frames, same) {
			b.t.Errorf("dead letter %+v is not of message %d", l, m.Seq)
		}
	}
	if diff := cmp.Diff(slices.Sorted(slices.Values(wantDead)), slices.Sorted(slices.Values(dead))); diff != "" {
		b.t.Errorf("dead (-want +got):\n%s", diff)
	}
}

func TestFrameThatCannotBeDecodedIsPutAsideAlone(t *testing.T) {
	b := newBench(t)
	broken := []byte("\xff\xffno frame")
	bad := func(data []byte) bool { return string(data) == string(broken) }
	frames := append(b.lines(30), broken, nil) // an empty frame is one without records
	times := b.publishUntilShared(bus.Logs, bad, frames...)
	defer b.start()()
	b.awaitDone(bus.Logs)
	b.check(times, frames[:31], bad)
}

func TestFrameThatIsRefusedIsPutAsideAloneAndReplayed(t *testing.T) {
	b := newBench(t)
	b.refuse("logs", "body NOT LIKE 'poison%'")
	frames := b.lines(32, 3, 17, 18, 31)
	times := b.publishUntilShared(bus.Logs, isPoison, frames...)
	defer b.start()()
	b.awaitDone(bus.Logs)
	b.check(times, frames, isPoison)

	storagetest.EngineExec(t, b.url, "ALTER TABLE logs DROP CONSTRAINT sound")
	for _, l := range b.dead() {
		if err := b.bus.Replay(t.Context(), l.Seq); err != nil {
			t.Fatal(err)
		}
	}
	b.awaitDone(bus.Logs)
	b.check(times, frames, func([]byte) bool { return false })
}

// TestRefusedInsertStoresNothing is what narrowing rests on: a block is refused before any of the
// days that it touches is written.
func TestRefusedInsertStoresNothing(t *testing.T) {
	b := newBench(t)
	b.refuse("logs", "body NOT LIKE 'poison%'")
	group := &telemetrypb.LogGroup{}
	for days := range 20 {
		body := "good"
		if days == 13 {
			body = "poison"
		}
		at := b.at.Add(-time.Duration(days) * 24 * time.Hour)
		group.Records = append(group.Records, &telemetrypb.LogRecord{Time: uint64(at.UnixNano()), Body: body})
	}
	b.publish(bus.Logs, &telemetrypb.LogFrame{Batches: []*telemetrypb.LogBatch{{ProjectId: project, ReceivedAt: uint64(b.at.UnixNano()), Groups: []*telemetrypb.LogGroup{group}}}})
	defer b.start()()
	b.awaitDone(bus.Logs)
	storagetest.EngineExec(t, b.url, "SELECT throwIf(count() != 0) FROM logs")
	if n := len(b.dead()); n != 1 {
		t.Errorf("%d dead letters, want 1", n)
	}
}

// TestNarrowingThatIsCutOffNeitherLosesNorDoubles ends writers wherever they happen to be.
func TestNarrowingThatIsCutOffNeitherLosesNorDoubles(t *testing.T) {
	b := newBench(t)
	b.refuse("logs", "body NOT LIKE 'poison%'")
	frames := b.lines(40, 0, 7, 8, 9, 22, 35)
	times := b.publishUntilShared(bus.Logs, isPoison, frames...)
	for range 25 {
		stop := b.start()
		<-time.After(rand.N(60 * time.Millisecond)) // a life of any length
		stop()
	}
	defer b.start()()
	b.awaitDone(bus.Logs)
	b.check(times, frames, isPoison)
}

// TestPieceThatWasStoredBeforeACrashIsNotStoredAgain is a crash in the middle of a message: the plan
// and the rows of one of its halves are there.
func TestPieceThatWasStoredBeforeACrashIsNotStoredAgain(t *testing.T) {
	b := newBench(t)
	frames := b.lines(32, 5)
	times := b.publishUntilShared(bus.Logs, isPoison, frames...)
	messages := b.messages(bus.Logs)
	shared := slices.IndexFunc(messages, func(m bus.Message) bool {
		return len(m.Frames) > 1 && slices.ContainsFunc(m.Frames, func(f bus.Frame) bool { return isPoison(f.Data) })
	})
	m := messages[shared]
	origin, err := b.bus.Origin(t.Context(), bus.Logs)
	if err != nil {
		t.Fatal(err)
	}
	cursor := catalog.Cursor{Stream: string(bus.Logs), Reader: writer.Reader}
	insert := func(token string, of ...bus.Message) {
		t.Helper()
		block := telemetry.NewLogBlock()
		for _, m := range of {
			for _, f := range m.Frames {
				if err := block.Add(m.Seq, f.Offset, f.Data); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := b.store.InsertLogs(t.Context(), token, block); err != nil {
			t.Fatal(err)
		}
	}
	if m.Seq > 1 { // what is before it was stored in a batch of its own
		if cursor, err = b.db.PlanBatch(t.Context(), cursor, origin, 1, m.Seq-1); err != nil {
			t.Fatal(err)
		}
		insert(fmt.Sprintf("logs-%d-1-%d", origin, m.Seq-1), messages[:shared]...)
		if cursor, err = b.db.FinishBatch(t.Context(), cursor, nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.db.PlanBatch(t.Context(), cursor, origin, m.Seq, m.Seq); err != nil {
		t.Fatal(err)
	}
	half := m
	half.Frames = m.Frames[:len(m.Frames)/2]
	if slices.ContainsFunc(half.Frames, func(f bus.Frame) bool { return isPoison(f.Data) }) {
		half.Frames = m.Frames[len(m.Frames)/2:]
	}
	last := half.Frames[len(half.Frames)-1]
	insert(fmt.Sprintf("logs-%d-%d-%d-%d-%d", origin, m.Seq, m.Seq, half.Frames[0].Offset, last.Offset+len(last.Data)), half)
	b.refuse("logs", "body NOT LIKE 'poison%'")

	// Poison in the messages before was stored by hand.
	earlier := 0
	for _, m := range messages[:shared] {
		for _, f := range m.Frames {
			if isPoison(f.Data) {
				earlier++
			}
		}
	}
	defer b.start()()
	b.awaitDone(bus.Logs)
	bodies, _ := b.bodies()
	if want := 31*times + earlier; len(bodies) != want {
		t.Errorf("%d rows, want %d", len(bodies), want)
	}
	if n := len(b.dead()); n != times-earlier {
		t.Errorf("%d dead letters, want %d", n, times-earlier)
	}
}

// TestRefusedFramesOfOtherSignals has ClickHouse refuse one frame of each.
func TestRefusedFramesOfOtherSignals(t *testing.T) {
	b := newBench(t)
	const frames = 30
	now := uint64(b.at.UnixNano())
	for s, c := range map[bus.Signal]struct {
		table, condition string
		frame            func(i int, name string) proto.Message
	}{
		bus.Errors: {"error_events", "title != 'poison'", func(i int, name string) proto.Message {
			id := uint64(1)
			if name == "poison" {
				id = 2
			}
			return &telemetrypb.ErrorFrame{Events: []*telemetrypb.ErrorEvent{{
				ProjectId: project, ReceivedAt: now, Time: now, EventId: fmt.Appendf(nil, "event %010d", i), IssueId: id, Title: name,
			}}}
		}},
		bus.Metrics: {"metric_samples", "metric != 'poison'", func(i int, name string) proto.Message {
			return &telemetrypb.MetricFrame{Batches: []*telemetrypb.MetricBatch{{ProjectId: project, ReceivedAt: now, Metrics: []*telemetrypb.Metric{{
				Name: name, Series: []*telemetrypb.Series{{Fingerprint: uint64(i), TimesMs: []int64{b.at.UnixMilli()}, Values: []float64{0}}},
			}}}}}
		}},
		bus.Checkins: {"checkins", "slug != 'poison'", func(i int, name string) proto.Message {
			return &telemetrypb.CheckinFrame{Checkins: []*telemetrypb.Checkin{{
				ProjectId: project, ReceivedAt: now, Time: now + uint64(i), Slug: name, CheckinId: fmt.Appendf(nil, "check %010d", i),
			}}}
		}},
	} {
		b.refuse(c.table, c.condition)
		var all [][]byte
		for i := range frames {
			name := "good"
			if i == frames/2 {
				name = "poison"
			}
			all = append(all, marshal(t, c.frame(i, name)))
		}
		b.publishTogether(s, all...)
	}
	defer b.start()()
	for s, table := range map[bus.Signal]string{bus.Errors: "error_events", bus.Metrics: "metric_samples", bus.Checkins: "checkins"} {
		b.awaitDone(s)
		storagetest.EngineExec(t, b.url, fmt.Sprintf("SELECT throwIf(count() != %d) FROM %s", frames-1, table))
	}
	dead := map[bus.Signal]int{}
	for _, l := range b.dead() {
		if !isPoison(l.Data) {
			t.Errorf("%q is dead", l.Data)
		}
		dead[l.Signal]++
	}
	if diff := cmp.Diff(map[bus.Signal]int{bus.Errors: 1, bus.Metrics: 1, bus.Checkins: 1}, dead); diff != "" {
		t.Error(diff)
	}
	issues, err := b.db.Issues(t.Context(), project, []uint64{1, 2})
	if err != nil {
		t.Fatal(err)
	}
	if _, counted := issues[2]; counted || issues[1].Count != frames-1 {
		t.Errorf("the issues are %+v", issues)
	}
}

func TestMessageWithoutAnyFrameIsPassed(t *testing.T) {
	b := newBench(t)
	for range 3 { // the same frame again and again: the second and third message bring nothing
		if err := b.bus.Publish(t.Context(), bus.Logs, project, "same", b.logLine("once")); err != nil {
			t.Fatal(err)
		}
	}
	defer b.start()()
	b.awaitDone(bus.Logs)
	if bodies, _ := b.bodies(); !slices.Equal(bodies, []string{"once"}) {
		t.Errorf("stored: %v", bodies)
	}
}
