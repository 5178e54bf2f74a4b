package rule

import (
	"fmt"
	"math"
	"slices"
)

// Point is a sample of what is used, at a time in Unix seconds.
type Point struct {
	Time  int64
	Value float64
}

// Outlook is what a forecast says.
type Outlook struct {
	// Left is the time until full, in seconds; ten years if it is not in sight.
	Left float64
	// Used is the share of the capacity that is used now.
	Used float64
	// Why says in words what the verdicts rest on.
	Why string

	strict, loose Severity // due now, and due with limits a little wider: what lies between is grey
	enough        bool
}

// Verdict is that of a level with the severity: the value is the time left.
func (o Outlook) Verdict(severity Severity) Observation {
	v := OK
	switch {
	case due(o.strict, severity):
		v = Breach
	case !o.enough:
		v = Insufficient
	case due(o.loose, severity):
		v = Grey
	}
	return Observation{v, o.Left}
}

// due says whether what is due is at least as urgent as the level.
func due(is, level Severity) bool {
	return is != "" && slices.Index(severities, is) <= slices.Index(severities, level)
}

const (
	shortFit = 6 * Hour
	longFit  = 3 * Day
	never    = float64(maxDur)
	// horizon is how far three days of history say anything.
	horizon = float64(7 * Day)
	gib     = 1 << 30
)

// trend is a straight line through points, at its end.
type trend struct{ slope, last float64 }

// fit is the line of least squares. at is in seconds; weights are positive.
func fit(at, values, weights []float64) trend {
	var w, x, y float64
	for i := range at {
		w += weights[i]
		x += weights[i] * at[i]
		y += weights[i] * values[i]
	}
	if w == 0 {
		return trend{}
	}
	x /= w
	y /= w
	var xx, xy float64
	for i := range at {
		xx += weights[i] * (at[i] - x) * (at[i] - x)
		xy += weights[i] * (at[i] - x) * (values[i] - y)
	}
	if xx == 0 {
		return trend{last: y}
	}
	slope := xy / xx
	return trend{slope, y + slope*(at[len(at)-1]-x)}
}

// Forecast says when a resource of the capacity is full, from what was used in the three days before
// now; points are in order of time, minPoints is how many it takes. bytes says that the quantity is
// bytes, so that less than 1 GiB is little.
//
// It believes in growth only if the use grows over 6 hours, over 3 days and in most single hours, so
// that one large write is no trend. A sawtooth (log rotation, compaction) is judged by its envelope.
func Forecast(points []Point, capacity float64, now int64, minPoints int, bytes bool) Outlook {
	first, _ := slices.BinarySearchFunc(points, now-int64(longFit), func(p Point, t int64) int { return int(p.Time - t) })
	points = points[first:]
	if len(points) == 0 || !(capacity > 0) || now-points[len(points)-1].Time > int64(Hour) {
		return Outlook{Left: never, Why: "there are no data"}
	}
	newest := points[len(points)-1].Value
	o := Outlook{Left: never, Used: newest / capacity}
	h := hours(points, now)
	falling := rising(points, now)
	if o.enough = len(points) >= minPoints && covered(points, h, now); o.enough {
		o.Left, o.Why = left(points, h, capacity, now)
	} else {
		o.Why = "there are too few data to see a trend"
	}
	o.strict = judge(o.Left, o.Used, 1, 0)
	o.loose = judge(o.Left, o.Used, 1.25, 0.02)
	// What pages has to fall; what has paged ends only when there is room again.
	wall := func(slack float64) Severity {
		free := capacity - newest
		switch little := bytes && free < gib*(1+slack) && o.Used >= 0.6; {
		case o.Used >= 1-slack, (falling || slack > 0) && (o.Used >= 0.95-slack || little):
			return Page
		case o.Used >= 0.80-slack:
			return Ticket
		}
		return ""
	}
	strict := wall(0)
	if strict != "" && !due(o.strict, strict) {
		o.strict = strict
		o.Why = fmt.Sprintf("%s is used; %s", Quantity(o.Used, "1"), o.Why)
	}
	if loose := wall(0.02); loose != "" && !due(o.loose, loose) {
		o.loose = loose
	}
	return o
}

// judge is what is due with so much time left and so much used: with 4 hours and 80 % a page, with a
// day and 60 % a ticket, with a week and 60 % a mail. slack widens the times, margin the shares.
func judge(left, used, slack, margin float64) Severity {
	switch {
	case used < 0.60-margin:
		return ""
	case left < float64(4*Hour)*slack && used >= 0.80-margin:
		return Page
	case left <= float64(Day)*slack:
		return Ticket
	case left <= horizon*slack:
		return Mail
	}
	return ""
}

// hour is the mean of an hour's points, and how many it has.
type hour struct{ at, mean, weight float64 }

// hours are the hours before now that have points, oldest first; at is in seconds before now, so
// negative.
func hours(points []Point, now int64) []hour {
	var out []hour
	current := int64(math.MinInt64)
	for _, p := range points {
		k := (p.Time - now) / int64(Hour)
		if k != current || len(out) == 0 {
			current = k
			out = append(out, hour{})
		}
		h := &out[len(out)-1]
		h.weight++
		h.at += (float64(p.Time-now) - h.at) / h.weight
		h.mean += (p.Value - h.mean) / h.weight
	}
	return out
}

// covered says whether at least four fifths of the three days and of the last six hours have points.
func covered(points []Point, h []hour, now int64) bool {
	if float64(len(h)) < 0.8*float64(longFit/Hour) {
		return false
	}
	const bin = 10 * Minute
	bins := map[int64]bool{}
	for _, p := range points {
		if p.Time > now-int64(shortFit) {
			bins[(now-p.Time)/int64(bin)] = true
		}
	}
	return float64(len(bins)) >= 0.8*float64(shortFit/bin)
}

// rising says whether more is used than an hour ago.
func rising(points []Point, now int64) bool {
	newest := points[len(points)-1]
	for _, p := range slices.Backward(points) {
		if p.Time <= now-int64(Hour) {
			return newest.Value > p.Value
		}
	}
	return newest.Value > points[0].Value
}

// left is the time until full by the trends, and why.
func left(points []Point, h []hour, capacity float64, now int64) (float64, string) {
	newest := points[len(points)-1].Value
	if drops(points, capacity) >= 2 {
		line, grows := envelope(points, now)
		if !grows {
			return never, "use rises and falls, and its peaks do not grow"
		}
		return until(max(line.last, newest), line.slope, capacity), "use rises and falls, and its peaks grow"
	}
	var at, values, weights []float64
	ups := 0
	for i, x := range h {
		at, values, weights = append(at, x.at), append(values, x.mean), append(weights, x.weight)
		if i > 0 && x.mean > h[i-1].mean {
			ups++
		}
	}
	long := fit(at, values, weights)
	at, values, weights = at[:0], values[:0], weights[:0]
	for _, p := range points {
		if p.Time > now-int64(shortFit) {
			at, values, weights = append(at, float64(p.Time-now)), append(values, p.Value), append(weights, 1)
		}
	}
	short := fit(at, values, weights)
	switch {
	case short.slope <= 0 || long.slope <= 0:
		return never, "use does not grow"
	case float64(ups) < 0.7*float64(len(h)-1):
		return never, "use grew at once and not steadily"
	}
	return min(until(newest, short.slope, capacity), until(newest, long.slope, capacity)), "use grows steadily"
}

// until is the time until full along a slope that is positive.
func until(used, slope, capacity float64) float64 {
	return min(max(capacity-used, 0)/slope, never)
}

// drops counts how often the use fell by a fifth of the capacity.
func drops(points []Point, capacity float64) int {
	n, peak := 0, points[0].Value
	for _, p := range points {
		peak = max(peak, p.Value)
		if peak-p.Value >= 0.2*capacity {
			n++
			peak = p.Value
		}
	}
	return n
}

// envelope is the trend of the 95th percentiles of each six hours, and whether it grows: two thirds
// of its steps do not fall.
func envelope(points []Point, now int64) (trend, bool) {
	var at, values, weights, bin []float64
	flush := func(k int64) {
		if len(bin) == 0 {
			return
		}
		slices.Sort(bin)
		at = append(at, float64(-k*int64(shortFit))-float64(shortFit)/2)
		values = append(values, bin[min(len(bin)*95/100, len(bin)-1)])
		weights = append(weights, float64(len(bin)))
		bin = bin[:0]
	}
	current := int64(0)
	for _, p := range points {
		k := (now - p.Time) / int64(shortFit)
		if k != current {
			flush(current)
			current = k
		}
		bin = append(bin, p.Value)
	}
	flush(current)
	ups := 0
	for i := 1; i < len(values); i++ {
		if values[i] >= values[i-1] {
			ups++
		}
	}
	line := fit(at, values, weights)
	return line, line.slope > 0 && len(values) >= 4 && float64(ups) >= 0.66*float64(len(values)-1)
}
