package evaluate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/midwatch/midwatch/alerts/match"
	"github.com/midwatch/midwatch/alerts/rule"
	"github.com/midwatch/midwatch/storage/telemetry"
)

const (
	// maxNames is how many metrics one read has, maxFilters how many filters of logs.
	maxNames   = 200
	maxFilters = 50
	// maxGroups is how many groups a query may have at all; Limits.Tracked of them are followed.
	maxGroups = 20_000

	// batchTimeout bounds one read of a Reader that is not patient.
	batchTimeout = 10 * time.Second

	// indexAge is how long the index of series is used. A series that it does not know has it read
	// anew at once.
	indexAge = 5 * time.Minute
	// indexAgeUnknown is how long while a rule asks for a metric of which there is no series: it may be
	// about to be sent for the first time.
	indexAgeUnknown = 20 * time.Second
	// indexReach is how much more than what is read the index covers.
	indexReach = time.Hour
)

// Reader reads what the rules of one project ask for. It remembers the project's series, and is used
// by one goroutine at a time.
type Reader struct {
	// Patient has everything read whole, however long that takes.
	Patient bool

	store   *telemetry.Store
	project uint32
	index   index
}

// NewReader returns the reader of a project.
func NewReader(store *telemetry.Store, project uint32) *Reader {
	return &Reader{store: store, project: project}
}

// index is what is known of the series of some metrics.
type index struct {
	generation *int      // new with each reading of the index, and no other reader's
	from       int64     // what ended before is not in it; Unix seconds
	readAt     time.Time // by the slots' clock
	asked      map[string]bool
	metrics    map[string]*metricSeries
}

type metricSeries struct {
	bornMS int64 // first sample of any series
	series map[uint64]*telemetry.Series
}

// Read answers asks with one table each, in their order. Asks that look at the same data are answered
// by one read; where that fails its tables have an error and the others do not. The error of Read
// itself is that of ctx.
func (r *Reader) Read(ctx context.Context, asks []Ask) ([]Table, error) {
	tables := make([]Table, len(asks))
	var single []Ask
	begins := make([]int, len(asks)) // of those in single
	for i, a := range asks {
		tables[i] = Table{First: a.First, Slots: a.Slots}
		begins[i] = len(single)
		p := a.Plan
		if p.pods != nil {
			single = append(single, Ask{Plan: p.pods, First: a.First, Slots: a.Slots})
		}
		switch {
		case len(p.histories) > 0:
		case len(p.parts) > 0:
			for _, part := range p.parts {
				single = append(single, Ask{Plan: part, First: a.First, Slots: a.Slots})
			}
		default:
			single = append(single, a)
		}
	}
	if err := r.fill(ctx, asks, tables); err != nil {
		return nil, err
	}
	found, err := r.read(ctx, single)
	if err != nil {
		return nil, err
	}
	for i, a := range asks {
		t := &tables[i]
		own := found[begins[i]:]
		if a.Plan.pods != nil {
			if own[0].Err == nil { // else no pod is known
				t.pods = podsOf(own[0].Rows, a.Slots)
			}
			own = own[1:]
		}
		switch {
		case len(a.Plan.histories) > 0:
			if t.Err == nil && !t.Pending {
				w := r.witnesses(ctx, a)
				t.Rows = a.Plan.remembered(a, w)
				t.Err = w.err
			}
		case len(a.Plan.parts) > 0:
			own = own[:len(a.Plan.parts)]
			for _, part := range own {
				t.Err = cmp.Or(t.Err, part.Err)
			}
			if t.Err == nil {
				t.Rows = a.Plan.probed(a, own)
			}
		default:
			t.Rows, t.Err = own[0].Rows, own[0].Err
		}
	}
	return tables, nil
}

// read answers asks of plans that are judged by their own numbers.
func (r *Reader) read(ctx context.Context, asks []Ask) ([]Table, error) {
	tables := make([]Table, len(asks))
	batches := map[batchKey][]int{}
	for i, a := range asks {
		tables[i] = Table{First: a.First, Slots: a.Slots}
		key := keyOf(a)
		batches[key] = append(batches[key], i)
	}
	keys := make([]batchKey, 0, len(batches))
	for key := range batches {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, batchKey.compare)
	for _, key := range keys {
		members := batches[key]
		part := make([]Ask, len(members))
		for i, member := range members {
			part[i] = asks[member]
		}
		for i, found := range r.answer(ctx, key, part) {
			t := &tables[members[i]]
			t.Rows, t.Err = found.rows, found.err
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
	}
	return tables, nil
}

// answer is what a rule gets of a read.
type answer struct {
	rows []Row
	err  error
}

// answer answers asks by one read, and once more at once where that fails. If what is asked for is
// refused, each half is asked for alone: the fault of one rule is not that of the others.
func (r *Reader) answer(ctx context.Context, key batchKey, asks []Ask) []answer {
	rows, err := r.batch(ctx, key, asks)
	_, invalid := errors.AsType[*telemetry.InvalidError](err)
	_, large := errors.AsType[*telemetry.LimitError](err)
	refused := invalid || large
	if err != nil && !refused && ctx.Err() == nil {
		rows, err = r.batch(ctx, key, asks)
	}
	if refused && len(asks) > 1 && ctx.Err() == nil {
		half := len(asks) / 2
		return append(r.answer(ctx, key, asks[:half]), r.answer(ctx, key, asks[half:])...)
	}
	answers := make([]answer, len(asks))
	for i := range answers {
		switch {
		case err != nil:
			answers[i].err = err
		case len(rows[i]) > maxGroups:
			answers[i].err = &telemetry.InvalidError{Message: fmt.Sprintf("the rule has more than %d groups", maxGroups)}
		default:
			answers[i].rows = rows[i]
		}
	}
	return answers
}

// batchKey is what rules have in common that are read together: the data, its grid, and about how far
// it goes back.
type batchKey struct {
	source rule.Source
	step   int64
	phase  int64
	reach  int    // power of four
	apart  string // the label that logs are grouped by, or a metric that is read by itself
}

func keyOf(a Ask) batchKey {
	from, to := a.span()
	k := batchKey{source: a.Plan.Rule.Query.Source, step: a.Plan.step, phase: to % a.Plan.step}
	for d := to - from; d > 60; d /= 4 {
		k.reach++
	}
	switch {
	case a.Plan.aside: // it goes further back than the rules do
		k.apart = a.Plan.Rule.Query.Metric
	case k.source == rule.Logs && len(a.Plan.Rule.Query.By) > 0:
		k.apart = a.Plan.Rule.Query.By[0]
	}
	return k
}

func (k batchKey) compare(o batchKey) int {
	return cmp.Or(cmp.Compare(k.source, o.source), cmp.Compare(k.step, o.step), cmp.Compare(k.phase, o.phase),
		cmp.Compare(k.reach, o.reach), cmp.Compare(k.apart, o.apart))
}

func (r *Reader) batch(ctx context.Context, key batchKey, asks []Ask) ([][]Row, error) {
	if !r.Patient {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, batchTimeout, errSlow)
		defer cancel()
	}
	switch key.source {
	case rule.Metrics:
		return r.metrics(ctx, key.step, asks)
	case rule.Logs:
		return r.logs(ctx, key, asks)
	case rule.Errors:
		rows := make([][]Row, len(asks))
		for i, a := range asks {
			var err error
			if rows[i], err = r.spikes(ctx, a); err != nil {
				return nil, err
			}
		}
		return rows, nil
	}
	return nil, &telemetry.InvalidError{Message: fmt.Sprintf("rules on %s are not evaluated here", key.source)}
}

// span is the time of whose data some asks are made.
func span(asks []Ask) (from, to int64) {
	from, to = asks[0].span()
	for _, a := range asks[1:] {
		f, t := a.span()
		from, to = min(from, f), max(to, t)
	}
	return from, to
}

func (r *Reader) scope(from, to int64) (telemetry.Scope, error) {
	return telemetry.NewScope(r.project, unix(from), unix(to))
}

var errSlow = errors.New("the data could not be read in time")

// errUnknown says that samples are of a series that the index does not know.
var errUnknown = errors.New("a series is not in the index")

func (r *Reader) metrics(ctx context.Context, step int64, asks []Ask) ([][]Row, error) {
	from, to := span(asks)
	var names []string
	for _, a := range asks {
		names = append(names, a.Plan.metrics.names()...)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if err := r.know(ctx, asks, names, from, to, false); err != nil {
		return nil, err
	}
	rows, err := r.fold(ctx, step, from, to, asks, true)
	if errors.Is(err, errUnknown) {
		if err := r.know(ctx, asks, names, from, to, true); err != nil {
			return nil, err
		}
		rows, err = r.fold(ctx, step, from, to, asks, false)
	}
	return rows, err
}

// know reads the index unless what it has will do.
func (r *Reader) know(ctx context.Context, asks []Ask, names []string, from, to int64, anew bool) error {
	x := &r.index
	missing := slices.ContainsFunc(names, func(name string) bool { return !x.asked[name] })
	now, age := unix(to), indexAge
	if slices.ContainsFunc(asks, func(a Ask) bool { return !a.Plan.aside && !a.Plan.metrics.known(x) }) {
		age = indexAgeUnknown
	}
	if !anew && !missing && from >= x.from && now.Sub(x.readAt) < age && !now.Before(x.readAt.Add(-indexAge)) {
		return nil
	}
	for name := range x.asked { // those of other batches stay in it
		names = append(names, name)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	next := index{generation: new(int), from: from - int64(indexReach/time.Second), readAt: now, asked: map[string]bool{}, metrics: map[string]*metricSeries{}}
	sc, err := r.scope(next.from, to)
	if err != nil {
		return err
	}
	for chunk := range slices.Chunk(names, maxNames) {
		series, err := r.store.SeriesOf(ctx, sc, chunk)
		if err != nil {
			return fmt.Errorf("read the series of project %d: %w", r.project, err)
		}
		for i := range series {
			s := &series[i]
			m := next.metrics[s.Metric]
			if m == nil {
				m = &metricSeries{bornMS: math.MaxInt64, series: map[uint64]*telemetry.Series{}}
				next.metrics[s.Metric] = m
			}
			m.bornMS = min(m.bornMS, s.FirstSeen.UnixMilli())
			m.series[s.FP] = s
		}
	}
	for _, name := range names {
		next.asked[name] = true
	}
	*x = next
	return nil
}

// born reports whether there is a series by now of metrics that had none when the index was read. Their
// user is a rule that reads a metric.
type user struct {
	fold *fold
	role role
}

// fold reads the samples of asks. strict has it end with errUnknown at a series that is not in the
// index.
func (r *Reader) fold(ctx context.Context, step, from, to int64, asks []Ask, strict bool) ([][]Row, error) {
	users := map[string][]user{}
	folds := make([]*fold, len(asks))
	var names []string
	for i, a := range asks {
		folds[i] = newFold(a, from)
		a.Plan.metrics.arrange(&r.index)
		for _, s := range a.Plan.metrics.chosen {
			if users[s.metric] == nil {
				names = append(names, s.metric)
			}
			users[s.metric] = append(users[s.metric], user{folds[i], s.role})
		}
	}
	slices.Sort(names)
	sc, err := r.scope(from, to)
	if err != nil {
		return nil, err
	}
	var (
		metric  string
		fp      uint64
		series  *telemetry.Series
		known   *metricSeries
		buckets []bucket
	)
	flush := func() {
		if series != nil {
			for _, u := range users[metric] {
				u.fold.add(u.fold.ask.Plan.place(series, u.role), buckets)
			}
		}
		buckets = buckets[:0]
	}
	for chunk := range slices.Chunk(names, maxNames) {
		ask := telemetry.PartialsAsk{Step: time.Duration(step) * time.Second, Metrics: chunk}
		err := r.store.MetricPartials(ctx, sc, ask, func(name string, id uint64, n int, p telemetry.Partial) error {
			if name != metric || id != fp || series == nil {
				flush()
				metric, fp = name, id
				known = r.index.metrics[name]
				if series = nil; known != nil {
					series = known.series[id]
				}
				if series == nil && strict {
					return errUnknown
				}
			}
			if series == nil {
				return nil
			}
			b := bucket{n: int64(n), p: p, growth: p.Increase}
			if start := (from + int64(n)*step) * 1000; p.HasFirst && known.bornMS < start && series.FirstSeen.UnixMilli() >= start {
				// The series began here, and its metric did not: what it counts has happened since.
				b.growth += p.First
			}
			buckets = append(buckets, b)
			return nil
		})
		flush()
		series = nil
		if err != nil {
			return nil, err
		}
	}
	rows := make([][]Row, len(folds))
	for i, f := range folds {
		rows[i] = f.rows()
	}
	return rows, nil
}

// logs counts records. What is bad among the records of a rule is what its filter selects.
func (r *Reader) logs(ctx context.Context, key batchKey, asks []Ask) ([][]Row, error) {
	rows := make([][]Row, 0, len(asks))
	for chunk := range slices.Chunk(asks, maxFilters/2) {
		part, err := r.logChunk(ctx, key, chunk)
		if err != nil {
			return nil, err
		}
		rows = append(rows, part...)
	}
	return rows, nil
}

func (r *Reader) logChunk(ctx context.Context, key batchKey, asks []Ask) ([][]Row, error) {
	from, to := span(asks)
	sc, err := r.scope(from, to)
	if err != nil {
		return nil, err
	}
	ask := telemetry.LogCountsAsk{Step: time.Duration(key.step) * time.Second, By: logLabel(key.apart)}
	for _, a := range asks {
		all, bad, err := a.Plan.logFilters()
		if err != nil {
			return nil, err
		}
		ask.Filters = append(ask.Filters, all, bad)
	}
	counts := make([]map[string][]count, len(asks))
	err = r.store.LogCounts(ctx, sc, ask, func(n int, group string, found []int64) error {
		for i := range asks {
			if found[2*i] == 0 && found[2*i+1] == 0 {
				continue
			}
			if counts[i] == nil {
				counts[i] = map[string][]count{}
			}
			if len(counts[i]) > maxGroups {
				return &telemetry.LimitError{Limit: "groups"}
			}
			counts[i][group] = append(counts[i][group], count{int64(n), float64(found[2*i]), float64(found[2*i+1])})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	rows := make([][]Row, len(asks))
	for i, a := range asks {
		rows[i] = countRows(a, from, counts[i])
	}
	return rows, nil
}

// count is what was counted of a group in one bucket.
type count struct {
	n          int64
	total, bad float64
}

// countRows are the rows of what was counted in the buckets from a time on.
func countRows(a Ask, from int64, groups map[string][]count) []Row {
	p := a.Plan
	rows := make([]Row, 0, len(groups))
	for key, counts := range groups {
		row := Row{Key: key, Numbers: make([]Numbers, a.Slots)}
		if len(p.Rule.Query.By) > 0 {
			row.Values = []string{key}
		}
		first, any := 0, false
		for i := range row.Numbers {
			to := (a.First + int64(i)*p.interval - p.delay - from) / p.step
			for first < len(counts) && counts[first].n < to-p.window/p.step {
				first++
			}
			n := &row.Numbers[i]
			n.Number = countIn(counts[first:], to-p.window/p.step, to)
			for _, length := range p.spans()[1:] {
				if n.End == nil || !p.tells(*n.End) {
					end := countIn(counts[first:], to-length/p.step, to)
					n.End = &end
				}
			}
			any = any || n.Samples > 0
		}
		if any {
			rows = append(rows, row)
		}
	}
	return byKey(rows)
}

// countIn is what was counted in the buckets [from, to).
func countIn(counts []count, from, to int64) (n Number) {
	for _, c := range counts {
		if c.n >= to {
			break
		}
		if c.n >= from {
			n.Total += c.total
			n.Bad += c.bad
		}
	}
	n.Samples, n.Value = n.Total, n.Bad
	return n
}

// services are the labels that name the service of a record.
var services = []string{"service", "service.name", "service_name"}

func logLabel(by string) string {
	if slices.Contains(services, by) {
		return telemetry.ByService
	}
	return by
}

// logFilters are what a rule on logs counts: all records that it looks at, and the bad ones among
// them.
func (p *Plan) logFilters() (all, bad telemetry.LogFilter, err error) {
	q := p.Rule.Query
	if len(q.By) > 1 {
		return all, bad, &telemetry.InvalidError{Message: "logs can be grouped by one label only"}
	}
	if all, err = withMatches(all, q.Where); err != nil {
		return all, bad, err
	}
	if p.Rule.Service != "" && !p.asks("service") {
		all.Services = []string{p.Rule.Service}
	}
	bad = all
	bad.Attributes = slices.Clone(all.Attributes)
	if bad, err = withMatches(bad, q.Bad); err != nil {
		return all, bad, err
	}
	bad.Text, bad.Levels = q.Text, q.Levels
	if p.Rule.Kind == rule.LogMatch {
		all = bad // nothing else is looked at
	}
	return all, bad, nil
}

func withMatches(f telemetry.LogFilter, list []rule.Match) (telemetry.LogFilter, error) {
	for _, m := range list {
		if !slices.Contains(services, m.Label) {
			f.Attributes = append(f.Attributes, telemetry.LabelMatch{Key: m.Label, Op: m.Op, Value: m.Value})
			continue
		}
		if m.Op != match.Equal || len(f.Services) > 0 {
			return f, &telemetry.InvalidError{Message: "the service of logs can only be compared with =, once"}
		}
		f.Services = []string{m.Value}
	}
	return f, nil
}
