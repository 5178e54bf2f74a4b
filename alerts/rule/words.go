package rule

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// maxHeadline is the length of a first line in characters, maxValue that of a label's value in it.
	maxHeadline = 120
	maxValue    = 200
)

// Sentence says in words whom the rule tells and when: "Page Platform when checkout errors are over
// 5 % for 5 minutes".
func (r Rule) Sentence() string {
	r = r.WithDefaults()
	var b strings.Builder
	for i, l := range r.Levels {
		text := r.whom(l.Severity) + " when " + r.what(l)
		if i > 0 {
			text = "; " + strings.ToLower(text[:1]) + text[1:]
		}
		b.WriteString(text)
	}
	if len(r.Query.By) > 0 {
		b.WriteString(", for each " + strings.Join(r.Query.By, " and "))
	}
	return b.String()
}

func (r Rule) whom(s Severity) string {
	switch {
	case s == Page && r.Team == "":
		return "Page whoever is on call"
	case s == Page:
		return "Page " + r.Team
	case s == Ticket && r.Team == "":
		return "Open a ticket"
	case s == Ticket:
		return "Open a ticket for " + r.Team
	}
	return "Mail " + or(r.Team, "the owner")
}

// what is the condition of one level.
func (r Rule) what(l Level) string {
	subject := or(r.Service, r.Query.Monitor)
	of, in := "", "" // a rule may be about everything
	if subject != "" {
		of, in = " of "+subject, " in "+subject
	}
	hold := ""
	if l.For != nil && *l.For > 0 {
		hold = " for " + Spell(*l.For)
	}
	limit := r.limit(l)
	switch r.Kind {
	case Threshold:
		return "the " + aggregateName(r.Query.Aggregate) + " of " + r.Query.Metric + of + " is " + limit + hold
	case LogMatch:
		words := "matching log records"
		if r.Query.Text != "" {
			words = "“" + cut(r.Query.Text, 40) + "”"
		}
		return or(subject, "any service") + " logs " + words + " " + limit + " times in " + Spell(r.Window) + hold
	case LogRatio:
		return "the share of bad log records" + of + " is " + limit + hold
	case ErrorRate:
		return strings.TrimSpace(subject+" errors") + " are " + limit + hold
	case IssueNew:
		return "a new issue appears" + in
	case IssueRegression:
		return "a resolved issue comes back" + in
	case IssueSpike:
		return "an issue" + of + " happens five times as often as usual"
	case Cron:
		job := "a job" + of
		if r.Query.Monitor != "" {
			job = "the job " + r.Query.Monitor
		}
		return job + " fails, or does not come"
	case Uptime:
		return fmt.Sprintf("%s cannot be reached from %s%s", or(subject, "what is probed"), plural(r.Query.Regions, "region"), hold)
	case TLSExpiry:
		certificate := "a certificate"
		if subject != "" {
			certificate = "the certificate" + of
		}
		return certificate + map[Severity]string{Page: " is not valid or expires within a day", Ticket: " has not been renewed in time"}[l.Severity]
	case SLOBurn:
		pace := "too fast to last"
		if l.Severity == Ticket {
			pace = "faster than it may, for days"
		}
		target := 0.0
		if r.SLO != nil {
			target = r.SLO.Target
		}
		return fmt.Sprintf("%s spends the error budget of its %s objective %s", or(subject, "the project"), Quantity(target, "1"), pace)
	case Forecasted:
		left := map[Severity]string{Page: "within 4 hours", Ticket: "within a day", Mail: "in the coming days"}[l.Severity]
		return r.Query.Metric + of + " will be full " + left
	case Absence:
		return or(subject, "the project") + " has sent " + r.nothing() + hold
	case Anomaly:
		return or(r.Query.Metric, "the number of log records") + of + " is far from what is usual at this hour" + hold
	case External:
		return "the system that watches " + or(subject, r.Name) + " says so"
	}
	return string(r.Kind)
}

// nothing is what is absent.
func (r Rule) nothing() string {
	switch r.Query.Source {
	case Logs:
		return "no logs"
	case Monitors:
		return "no word of " + clean(or(r.Query.Monitor, "its jobs"))
	}
	return "no " + clean(or(r.Query.Metric, "metrics"))
}

func aggregateName(a string) string {
	if name, ok := map[string]string{
		"avg": "average", "min": "minimum", "max": "maximum", "last": "last value", "": "average",
	}[a]; ok {
		return name
	}
	return a
}

// limit is a level's bound in words: "5 % or more".
func (r Rule) limit(l Level) string {
	b, err := ParseBound(l.Fire)
	if err != nil {
		return l.Fire
	}
	v := Quantity(b.Value, r.Unit())
	switch b.Op {
	case Greater:
		return "over " + v
	case GreaterEqual:
		return v + " or more"
	case Less:
		return "below " + v
	}
	return v + " or less"
}

// Unit is the unit of the rule's values: "1" is a share, "s" and "ms" times, "By" bytes, "x" a
// multiple, "" a plain number.
func (r Rule) Unit() string {
	q := r.Query
	switch r.Kind {
	case ErrorRate, LogRatio:
		return "1"
	case SLOBurn, Anomaly:
		return "x"
	case Forecasted, TLSExpiry, Absence:
		return "s"
	case Threshold:
	default:
		return ""
	}
	if q.Unit != "" {
		return q.Unit
	}
	if slices.Contains([]string{"count", "rate", "increase"}, q.Aggregate) {
		return ""
	}
	name := strings.ToLower(q.Metric)
	has := func(parts ...string) bool {
		return slices.ContainsFunc(parts, func(p string) bool { return strings.Contains(name, p) })
	}
	switch {
	case has("milliseconds", "_ms", ".ms"):
		return "ms"
	case has("duration", "seconds", "latency"):
		return "s"
	case has("bytes", "memory.usage", "filesystem.usage"):
		return "By"
	case has("utilization", "ratio"):
		return "1"
	}
	return ""
}

// Headline is the first line of a message about level i: at most 120 characters, such as
// "[PAGE] checkout: 12 % errors for 6 min (limit 5 %)". since is the first bad slot.
func (r Rule) Headline(i int, value float64, since, now int64) string {
	r = r.WithDefaults()
	l := Level{Severity: Ticket}
	if i >= 0 && i < len(r.Levels) {
		l = r.Levels[i]
	}
	tail := ": " + r.found(value)
	// What is forecast is not yet, and has not been for any time.
	if d := Duration(now - since); d > 0 && r.Kind != Forecasted && r.Kind != TLSExpiry {
		tail += " for " + short(d)
	}
	if b, err := ParseBound(l.Fire); err == nil {
		tail += " (limit " + Quantity(b.Value, r.Unit()) + ")"
	}
	head := "[" + strings.ToUpper(string(l.Severity)) + "] "
	room := maxHeadline - utf8.RuneCountInString(head)
	tail = cut(tail, room-20)
	return head + cut(clean(or(r.Service, r.Name)), room-utf8.RuneCountInString(tail)) + tail
}

// found is what was found, with its number.
func (r Rule) found(value float64) string {
	v := Quantity(value, r.Unit())
	switch r.Kind {
	case Threshold:
		return clean(r.Query.Metric) + " " + aggregateName(r.Query.Aggregate) + " " + v
	case LogMatch:
		return v + " log records " + cut(clean(or(r.Query.Text, r.Name)), 40)
	case LogRatio:
		return v + " bad log records"
	case ErrorRate:
		return v + " errors"
	case IssueNew:
		return "new issue, " + v + " events"
	case IssueRegression:
		return "a resolved issue is back, " + v + " events"
	case IssueSpike:
		return "an issue spikes, " + v + " events"
	case Cron:
		return "job " + clean(or(r.Query.Monitor, r.Name)) + " failed or missing"
	case Uptime:
		return "not reachable from " + plural(int(value), "region")
	case TLSExpiry:
		switch {
		case value < 0:
			return "certificate expired"
		case value == 0:
			return "certificate not valid"
		}
		return "certificate expires in " + v
	case SLOBurn:
		return "error budget burns at " + v
	case Forecasted:
		if value >= never { // it does not grow, and is told of because little is left
			return clean(r.Query.Metric) + " nearly full"
		}
		return clean(r.Query.Metric) + " full in " + v
	case Absence:
		return r.nothing()
	case Anomaly:
		return clean(or(r.Query.Metric, r.Name)) + " unusual (" + v + " the usual spread)"
	}
	return clean(r.Name)
}

// Quantity writes a number as a person reads it: three digits, with the unit that fits.
func Quantity(v float64, unit string) string {
	size := math.Abs(v)
	switch unit {
	case "1":
		return percent(v)
	case "%":
		return number(v) + " %"
	case "x":
		return number(v) + "×"
	case "ms":
		return Quantity(v/1000, "s")
	case "s":
		switch {
		case size == 0:
			return "0 s"
		case size < 0.001:
			return number(v*1e6) + " µs"
		case size < 1:
			return number(v*1e3) + " ms"
		case size < 120:
			return number(v) + " s"
		case math.IsInf(v, 0) || math.IsNaN(v):
			return "unknown"
		case v > float64(maxDur):
			return "years"
		case v < 0:
			return "-" + short(Duration(-v))
		}
		return short(Duration(v))
	case "By":
		names := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB"}
		i := 0
		for ; math.Abs(v) >= 1024 && i < len(names)-1; i++ {
			v /= 1024
		}
		return number(v) + " " + names[i]
	case "":
		return number(v)
	}
	return number(v) + " " + unit
}

// percent keeps the nines: 0.99995 is not 100 %.
func percent(v float64) string {
	if v > 0.99 && v < 1 {
		return strconv.FormatFloat(math.Floor(v*1e7)/1e5, 'f', -1, 64) + " %"
	}
	return number(v*100) + " %"
}

// number has three significant digits, and all of those before the point.
func number(v float64) string {
	size := math.Abs(v)
	if size >= 1e15 || size > 0 && size < 1e-6 || math.IsNaN(v) {
		return strconv.FormatFloat(v, 'g', 3, 64)
	}
	if size >= 100 {
		text := strconv.FormatFloat(math.Round(size), 'f', 0, 64)
		for i := len(text) - 3; i > 0; i -= 3 {
			text = text[:i] + "," + text[i:]
		}
		if v < 0 {
			text = "-" + text
		}
		return text
	}
	digits := 2
	for limit := 10.0; size < limit/10 && digits < 9; limit /= 10 {
		digits++
	}
	if size >= 10 {
		digits = 1
	}
	text := strconv.FormatFloat(v, 'f', digits, 64)
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return text
}

// Spell writes a length of time in words: "1 hour 30 minutes".
func Spell(d Duration) string {
	if d > 0 && d < 2*Minute && d%Minute != 0 {
		return plural(int(d), "second")
	}
	return compose(d, func(n int, unit string) string { return plural(n, unit) }, 2)
}

// short writes it for a headline: "1 h 30 min".
func short(d Duration) string {
	names := map[string]string{"day": "d", "hour": "h", "minute": "min", "second": "s"}
	return compose(d, func(n int, unit string) string { return strconv.Itoa(n) + " " + names[unit] }, 2)
}

// compose writes the first parts units of d, of which the rest would not matter.
func compose(d Duration, write func(int, string) string, parts int) string {
	var out []string
	for _, u := range []struct {
		name string
		size Duration
	}{{"day", Day}, {"hour", Hour}, {"minute", Minute}, {"second", Second}} {
		n := d / u.size
		d -= n * u.size
		if n > 0 && len(out) < parts {
			out = append(out, write(int(n), u.name))
		} else if len(out) > 0 {
			parts-- // no minutes after days
		}
	}
	if len(out) == 0 {
		return write(0, "second")
	}
	return strings.Join(out, " ")
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return strconv.Itoa(n) + " " + word + "s"
}

// cut shortens text to n characters.
func cut(text string, n int) string {
	if utf8.RuneCountInString(text) <= n {
		return text
	}
	if n < 1 {
		return ""
	}
	return strings.TrimRight(string([]rune(text)[:n-1]), " ") + "…"
}

// clean makes text one line of bounded length: control characters become spaces.
func clean(text string) string {
	text = strings.Map(func(c rune) rune {
		if unicode.IsControl(c) || c == utf8.RuneError {
			return ' '
		}
		return c
	}, text)
	return cut(text, maxValue)
}

// placeholders are the names between {{ and }} in a text.
func placeholders(text string) []string {
	var names []string
	for {
		_, rest, ok := strings.Cut(text, "{{")
		name, after, closed := strings.Cut(rest, "}}")
		if !ok || !closed {
			return names
		}
		names = append(names, strings.TrimSpace(name))
		text = after
	}
}

// placeholders are the names that the rule's summary may use.
func (r Rule) placeholders() []string {
	names := []string{"value", "limit", "severity", "service", "environment", "team", "rule"}
	names = append(names, r.Query.By...)
	return append(names, slices.Sorted(maps.Keys(r.Labels))...)
}

// Expand fills a text of the rule, such as its summary: {{value}}, {{limit}}, {{severity}},
// {{service}}, {{environment}}, {{team}}, {{rule}}, the labels of the group, those of the rule.
// Nothing else is done to it: what a label holds is not expanded again, is one line and at most 200
// characters; unknown names become empty. The caller escapes the result for its channel.
func (r Rule) Expand(text string, i int, value float64, group map[string]string) string {
	lookup := func(name string) string {
		switch name {
		case "value":
			return Quantity(value, r.Unit())
		case "limit":
			if i >= 0 && i < len(r.Levels) {
				if b, err := ParseBound(r.Levels[i].Fire); err == nil {
					return Quantity(b.Value, r.Unit())
				}
			}
			return ""
		case "severity":
			if i >= 0 && i < len(r.Levels) {
				return string(r.Levels[i].Severity)
			}
			return ""
		case "service":
			return or(r.Service, group["service"])
		case "environment":
			return or(r.Environment, group["environment"])
		case "team":
			return r.Team
		case "rule":
			return r.Name
		}
		return or(group[name], r.Labels[name])
	}
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(text, "{{")
		name, after, closed := strings.Cut(rest, "}}")
		if !ok || !closed {
			b.WriteString(text)
			return b.String()
		}
		b.WriteString(before)
		b.WriteString(clean(lookup(strings.TrimSpace(name))))
		text = after
	}
}
