package writer

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/midwatch/midwatch/proto/telemetrypb"
	"github.com/midwatch/midwatch/storage/bus"
	"github.com/midwatch/midwatch/storage/catalog"
	"github.com/midwatch/midwatch/storage/telemetry"
)

// sink is what differs between the signals: a block of rows that is filled from frames and
// inserted, and the changes in SQL that belong to it.
type sink struct {
	signal bus.Signal
	// otherReaders of the stream have to be done with a message before it is trimmed.
	otherReaders []string

	reset func()
	// add decodes a frame, which begins at offset in the message that the bus keeps under seq. A
	// frame that cannot be decoded adds nothing.
	add    func(seq uint64, offset int, frame []byte) error
	rows   func() int
	bytes  func() int
	insert func(ctx context.Context, token string) error
	apply  func(ctx context.Context, tx *catalog.Tx) error
}

// block is what all of telemetry's blocks are.
type block interface {
	Rows() int
	Bytes() int
	Reset()
}

// newSink makes the sink of a signal whose rows need nothing in SQL. add takes frames into b.
func newSink[B block](s bus.Signal, b B, add func(seq uint64, offset int, frame []byte) error, insert func(context.Context, string, B) error) *sink {
	return &sink{
		signal: s,
		reset:  b.Reset,
		add: func(seq uint64, offset int, frame []byte) error {
			if err := add(seq, offset, frame); err != nil {
				return fmt.Errorf("decode a frame of %s: %w", s, err)
			}
			return nil
		},
		rows:   b.Rows,
		bytes:  b.Bytes,
		insert: func(ctx context.Context, token string) error { return insert(ctx, token, b) },
		apply:  func(context.Context, *catalog.Tx) error { return nil },
	}
}

// decoded makes an add of one that takes frames decoded into f, which is used again and again.
func decoded[F proto.Message](f F, add func(seq uint64, offset int, f F)) func(uint64, int, []byte) error {
	return func(seq uint64, offset int, frame []byte) error {
		if err := proto.Unmarshal(frame, f); err != nil {
			return err
		}
		add(seq, offset, f)
		return nil
	}
}

func (w *Writer) logs() *sink {
	b := telemetry.NewLogBlock()
	return newSink(bus.Logs, b, b.Add, w.store.InsertLogs)
}

func (w *Writer) metrics() *sink {
	b := telemetry.NewMetricBlock()
	return newSink(bus.Metrics, b, func(_ uint64, _ int, frame []byte) error { return b.Add(frame) }, w.store.InsertMetrics)
}

func (w *Writer) checkins() *sink {
	b := telemetry.NewCheckinBlock()
	s := newSink(bus.Checkins, b, decoded(&telemetrypb.CheckinFrame{}, func(seq uint64, _ int, f *telemetrypb.CheckinFrame) {
		b.Add(seq, f)
	}), w.store.InsertCheckins)
	s.otherReaders = []string{"alerting"}
	return s
}

// errorBlock is a block of events with what it changes in the issues.
type errorBlock struct {
	*telemetry.ErrorBlock
	issues map[issueKey]*catalog.IssueEvents
}

type issueKey struct {
	project uint32
	id      uint64
	release string
}

func (b *errorBlock) Reset() {
	b.ErrorBlock.Reset()
	clear(b.issues)
}

func (b *errorBlock) Add(seq uint64, frame *telemetrypb.ErrorFrame) {
	b.ErrorBlock.Add(seq, frame)
	for _, e := range frame.GetEvents() {
		at := time.Unix(0, int64(e.GetTime()))
		key := issueKey{e.GetProjectId(), e.GetIssueId(), e.GetRelease()}
		issue := b.issues[key]
		if issue == nil {
			issue = &catalog.IssueEvents{Project: key.project, ID: key.id, Release: key.release, FirstSeen: at, LastSeen: at}
			b.issues[key] = issue
		}
		issue.Count++
		if at.Before(issue.FirstSeen) {
			issue.FirstSeen = at
		}
		if !at.Before(issue.LastSeen) {
			issue.LastSeen = at
			issue.GroupingVersion = e.GetGroupingVersion()
			issue.Title, issue.Type, issue.Value = e.GetTitle(), e.GetType(), e.GetValue()
			issue.Culprit, issue.Level, issue.Platform = e.GetCulprit(), e.GetLevel(), e.GetPlatform()
		}
	}
}

func (w *Writer) errors() *sink {
	b := &errorBlock{telemetry.NewErrorBlock(), map[issueKey]*catalog.IssueEvents{}}
	s := newSink(bus.Errors, b, decoded(&telemetrypb.ErrorFrame{}, func(seq uint64, _ int, f *telemetrypb.ErrorFrame) {
		b.Add(seq, f)
	}), func(ctx context.Context, token string, b *errorBlock) error {
		return w.store.InsertErrors(ctx, token, b.ErrorBlock)
	})
	s.apply = func(ctx context.Context, tx *catalog.Tx) error {
		issues := make([]catalog.IssueEvents, 0, len(b.issues))
		for _, issue := range b.issues {
			issues = append(issues, *issue)
		}
		return tx.AddIssueEvents(ctx, issues)
	}
	return s
}
