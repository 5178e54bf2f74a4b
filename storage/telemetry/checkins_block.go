package telemetry

import (
	"context"
	"math"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/midwatch/midwatch/proto/telemetrypb"
	"github.com/midwatch/midwatch/storage/retention"
)

// CheckinBlock gathers check-ins for one insert. It is not safe for concurrent use.
type CheckinBlock struct {
	project     proto.ColUInt32
	day         uint16Column
	retention   uint16Column
	slug        dictColumn
	at          int64Column
	received    int64Column
	status      proto.ColUInt8
	checkin     bytesColumn
	run         bytesColumn
	environment dictColumn
	release     dictColumn
	duration    proto.ColUInt64
	exitCode    proto.ColInt64
	source      dictColumn
	body        textColumn
}

// NewCheckinBlock returns an empty block.
func NewCheckinBlock() *CheckinBlock {
	return &CheckinBlock{
		day:       uint16Column{typ: "Date"},
		retention: uint16Column{typ: "UInt16"},
		at:        int64Column{typ: "DateTime64(9, 'UTC')"},
		received:  int64Column{typ: "DateTime64(3, 'UTC')"},
		checkin:   newBytesColumn(16, "FixedString(16)"),
		run:       newBytesColumn(16, "FixedString(16)"),
	}
}

func (b *CheckinBlock) input() proto.Input {
	return proto.Input{
		{Name: "project_id", Data: &b.project},
		{Name: "day", Data: &b.day},
		{Name: "retention_days", Data: &b.retention},
		{Name: "slug", Data: &b.slug},
		{Name: "ts", Data: &b.at},
		{Name: "received_ts", Data: &b.received},
		{Name: "status", Data: &b.status},
		{Name: "checkin_id", Data: &b.checkin},
		{Name: "run_id", Data: &b.run},
		{Name: "environment", Data: &b.environment},
		{Name: "release", Data: &b.release},
		{Name: "duration_ms", Data: &b.duration},
		{Name: "exit_code", Data: &b.exitCode},
		{Name: "source", Data: &b.source},
		{Name: "body", Data: &b.body},
	}
}

// noExitCode stands for none; exit codes are not negative.
const noExitCode = -1

// Add appends the check-ins of a frame.
func (b *CheckinBlock) Add(_ uint64, f *telemetrypb.CheckinFrame) {
	for _, c := range f.GetCheckins() {
		at := storedTime(c.GetTime(), c.GetReceivedAt())
		keep := retention.Class(c.GetRetentionDays(), retention.Default.Checkins)
		exitCode := int64(noExitCode)
		if c.GetHasExitCode() {
			exitCode = int64(c.GetExitCode())
		}

		b.project = append(b.project, c.GetProjectId())
		b.day.ColUInt16 = append(b.day.ColUInt16, storageDay(at, c.GetReceivedAt(), keep))
		b.retention.ColUInt16 = append(b.retention.ColUInt16, uint16(keep))
		b.slug.append(c.GetSlug())
		b.at.ColInt64 = append(b.at.ColInt64, at)
		b.received.ColInt64 = append(b.received.ColInt64, storedTime(c.GetReceivedAt(), uint64(at))/1e6)
		b.status = append(b.status, uint8(c.GetStatus()))
		b.checkin.append(c.GetCheckinId())
		b.run.append(c.GetRunId())
		b.environment.append(c.GetEnvironment())
		b.release.append(c.GetRelease())
		b.duration = append(b.duration, min(c.GetDurationMs(), math.MaxInt64/1_000_000))
		b.exitCode = append(b.exitCode, exitCode)
		b.source.append(c.GetSource())
		b.body.append(c.GetBody())
	}
}

// Rows is how many check-ins have been added since the last Reset.
func (b *CheckinBlock) Rows() int { return len(b.project) }

// Bytes is about how much memory the rows take and how much will be sent, before compression.
func (b *CheckinBlock) Bytes() int {
	const fixed = 96
	return len(b.project)*fixed + len(b.body.buf)
}

// Reset empties the block and keeps its memory.
func (b *CheckinBlock) Reset() {
	b.project.Reset()
	b.day.Reset()
	b.retention.Reset()
	b.slug.Reset()
	b.at.Reset()
	b.received.Reset()
	b.status.Reset()
	b.checkin.Reset()
	b.run.Reset()
	b.environment.Reset()
	b.release.Reset()
	b.duration.Reset()
	b.exitCode.Reset()
	b.source.Reset()
	b.body.Reset()
}

// InsertCheckins stores the check-ins of a block; see InsertLogs.
func (s *Store) InsertCheckins(ctx context.Context, token string, b *CheckinBlock) error {
	if b.Rows() == 0 {
		return nil
	}
	return s.insert(ctx, "checkins", token, b.input())
}
