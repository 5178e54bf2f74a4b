package telemetry

import "time"

// Times outside these bounds cannot be stored in a DateTime64(9) column, whose nanoseconds are a
// signed 64-bit number, nor in the 32-bit seconds of the partition and expiry expressions.
var (
	minTime = time.Unix(0, 0).UTC()
	maxTime = time.Date(2106, 2, 6, 0, 0, 0, 0, time.UTC)
)

// Scope is the tenant and the half-open time range [From, To) of a read. The zero Scope reads
// nothing: every method refuses it. Make one with NewScope.
type Scope struct {
	project  uint32
	from, to time.Time
}

// NewScope returns the scope of one project and the range [from, to). Bounds outside what can be
// stored are moved to it. The error, an *InvalidError, is fit for a user.
func NewScope(project uint32, from, to time.Time) (Scope, error) {
	if project == 0 {
		return Scope{}, invalid("a project is needed")
	}
	from, to = clampTime(from), clampTime(to)
	if !from.Before(to) {
		return Scope{}, invalid("the range is empty: from must be before to")
	}
	return Scope{project: project, from: from, to: to}, nil
}

// Project is the number of the tenant.
func (s Scope) Project() uint32 { return s.project }

// From is the first instant of the range, in UTC.
func (s Scope) From() time.Time { return s.from }

// To is the instant at which the range has ended, in UTC.
func (s Scope) To() time.Time { return s.to }

func (s Scope) check() error {
	if s.project == 0 || !s.from.Before(s.to) {
		return invalid("a project and a time range are needed")
	}
	return nil
}

func clampTime(t time.Time) time.Time {
	switch {
	case t.Before(minTime):
		return minTime
	case t.After(maxTime):
		return maxTime
	}
	return t.UTC()
}

// targetBuckets is about how many points a trend has; see Step.
const targetBuckets = 100

// steps are the widths that a person reads without counting. Each divides a day or is whole days.
var steps = [...]time.Duration{
	time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 15 * time.Second, 30 * time.Second,
	time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 30 * time.Minute,
	time.Hour, 2 * time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour,
	24 * time.Hour, 2 * 24 * time.Hour, 7 * 24 * time.Hour, 14 * 24 * time.Hour, 30 * 24 * time.Hour,
	90 * 24 * time.Hour, 365 * 24 * time.Hour,
}

// Step is the width of the buckets of every trend and histogram over a scope: the narrowest round
// one that gives at most about a hundred of them. Buckets begin at whole multiples of the step
// since 1970, so the first and the last may reach beyond the range; only what lies in it counts.
func Step(s Scope) time.Duration {
	length := s.to.Sub(s.from)
	for _, step := range steps {
		if length <= targetBuckets*step {
			return step
		}
	}
	return steps[len(steps)-1]
}

// buckets are the starts of the steps that a scope touches.
type buckets struct {
	first time.Time // of the first bucket
	step  time.Duration
	n     int
}

func bucketsOf(s Scope, step time.Duration) buckets {
	width := int64(step)
	first := s.from.UnixNano() / width * width
	last := (s.to.UnixNano() - 1) / width * width
	return buckets{first: time.Unix(0, first).UTC(), step: step, n: int((last-first)/width) + 1}
}

func (b buckets) at(i int) time.Time { return b.first.Add(time.Duration(i) * b.step) }

// column is the SQL of the number of the bucket of ts in nanoseconds, as a UInt64.
func (b buckets) column(p params) string {
	p["bucket_first"], p["bucket_step"] = b.first.UnixNano(), int64(b.step)
	return "toUInt64(intDiv(toUnixTimestamp64Nano(ts) - {bucket_first:Int64}, {bucket_step:Int64}))"
}

// milliColumn is column for ts in milliseconds.
func (b buckets) milliColumn(p params) string {
	p["bucket_first"], p["bucket_step"] = b.first.UnixMilli(), b.step.Milliseconds()
	return "toUInt64(intDiv(toUnixTimestamp64Milli(ts) - {bucket_first:Int64}, {bucket_step:Int64}))"
}
