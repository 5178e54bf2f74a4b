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

// sink is what differs between the signals: a block of rows that is filled from messages and
// inserted, and the changes in SQL that belong to it.
type sink struct {
	signal bus.Signal
	// otherReaders of the stream have to be done with a message before it is trimmed.
	otherReaders []string

	reset  func()
	add    func(seq uint64, data []byte) error
	rows   func() int
	bytes  func() int
	insert func(ctx context.Context, token string) error
	apply  func(ctx context.Context, tx *catalog.Tx) error
}

// block is what telemetry's blocks are that take decoded frames.
type block[F proto.Message] interface {
	Add(seq uint64, frame F)
	Rows() int
	Bytes() int
	Reset()
}

// newSink makes the sink of a signal whose frames are decoded as a whole and whose rows need
// nothing in SQL.
func newSink[F proto.Message, B block[F]](s bus.Signal, b B, frame func() F, insert func(context.Context, string, B) error) *sink {
	return &sink{
		signal: s,
		reset:  b.Reset,
		add: func(seq uint64, data []byte) error {
			f := frame()
			if err := proto.Unmarshal(data, f); err != nil {
				return fmt.Errorf("decode a frame of %s: %w", s, err)
			}
			b.Add(seq, f)
			return nil
		},
		rows:   b.Rows,
		bytes:  b.Bytes,
		insert: func(ctx context.Context, token string) error { return insert(ctx, token, b) },
		apply:  func(context.Context, *catalog.Tx) error { return nil },
	}
}

func (w *Writer) logs() *sink {
	return newSink(bus.Logs, telemetry.NewLogBlock(), func() *telemetrypb.LogFrame { return &telemetrypb.LogFrame{} }, w.store.InsertLogs)
}

func (w *Writer) metrics() *sink {
	b := telemetry.NewMetricBlock()
	return &sink{
		signal: bus.Metrics,
		reset:  b.Reset,
		add:    b.Add,
		rows:   b.Rows,
		bytes:  b.Bytes,
		insert: func(ctx context.Context, token string) error { return w.store.InsertMetrics(ctx, token, b) },
		apply:  func(context.Context, *catalog.Tx) error { return nil },
	}
}

func (w *Writer) checkins() *sink {
	s := newSink(bus.Checkins, telemetry.NewCheckinBlock(), func() *telemetrypb.CheckinFrame { return &telemetrypb.CheckinFrame{} }, w.store.InsertCheckins)
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
}

func (b *errorBlock) Reset() {
	b.ErrorBlock.Reset()
	clear(b.issues)
}

func (b *errorBlock) Add(seq uint64, frame *telemetrypb.ErrorFrame) {
	b.ErrorBlock.Add(seq, frame)
	for _, e := range frame.GetEvents() {
		at := time.Unix(0, int64(e.GetTime()))
		key := issueKey{e.GetProjectId(), e.GetIssueId()}
		issue := b.issues[key]
		if issue == nil {
			issue = &catalog.IssueEvents{Project: key.project, ID: key.id, FirstSeen: at, LastSeen: at}
			b.issues[key] = issue
		}
		issue.Count++
		if !at.After(issue.FirstSeen) {
			issue.FirstSeen, issue.FirstRelease = at, e.GetRelease()
		}
		if !at.Before(issue.LastSeen) {
			issue.LastSeen, issue.LastRelease = at, e.GetRelease()
			issue.GroupingVersion = e.GetGroupingVersion()
			issue.Title, issue.Type, issue.Value = e.GetTitle(), e.GetType(), e.GetValue()
			issue.Culprit, issue.Level, issue.Platform = e.GetCulprit(), e.GetLevel(), e.GetPlatform()
		}
	}
}

func (w *Writer) errors() *sink {
	b := &errorBlock{telemetry.NewErrorBlock(), map[issueKey]*catalog.IssueEvents{}}
	s := newSink(bus.Errors, b, func() *telemetrypb.ErrorFrame { return &telemetrypb.ErrorFrame{} },
		func(ctx context.Context, token string, b *errorBlock) error {
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
