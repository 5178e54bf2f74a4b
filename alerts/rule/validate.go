package rule

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// Env is what validation knows of the rule's surroundings. What is zero is not known and not judged.
type Env struct {
	// Rules are the project's rules; one with the rule's own id is ignored.
	Rules []Rule
	// Cardinality is how many values a label had in the last seven days.
	Cardinality map[string]int
	// Collection is the interval at which the metric is collected.
	Collection Duration
	// Lag is the 99th percentile of the time from an event to its being queryable.
	Lag Duration
	// Active judges the text of Rule.Active.
	Active func(text string) error
}

// Problem is one thing that is wrong with a rule, or worth knowing.
type Problem struct {
	// Field is the path in the rule's JSON, such as "levels[0].fire".
	Field   string `json:"field"`
	Message string `json:"message"`
}

// Invalid is the error of Validate: everything that is wrong with a rule.
type Invalid struct{ Problems []Problem }

// Error lists the problems.
func (e *Invalid) Error() string {
	var b strings.Builder
	for i, p := range e.Problems {
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(p.Field + ": " + p.Message)
	}
	return b.String()
}

// Bounds of what a rule may hold.
const (
	maxName    = 200
	maxText    = 1000
	maxLevels  = 5
	maxMatches = 32
	maxBy      = 8
	maxLabels  = 32
	maxDepends = 20
	maxTracked = 20_000
)

var (
	slug       = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,99}$`)
	severities = []Severity{Page, Ticket, Mail}
	intervals  = []Duration{10 * Second, 30 * Second, Minute, 5 * Minute, Hour}
	// reads says which sources a kind can read, the default first.
	reads = map[Kind][]Source{
		Threshold: {Metrics}, LogMatch: {Logs}, LogRatio: {Logs}, ErrorRate: {Metrics, Logs},
		IssueNew: {Errors}, IssueRegression: {Errors}, IssueSpike: {Errors},
		Cron: {Monitors}, Uptime: {Monitors}, TLSExpiry: {Monitors}, SLOBurn: {Metrics, Logs},
		Forecasted: {Metrics}, Absence: {Metrics, Logs, Monitors}, Anomaly: {Metrics, Logs}, External: {Externals},
	}
	// bounded are the kinds whose levels have limits; the others bring their own.
	bounded = []Kind{Threshold, LogMatch, LogRatio, ErrorRate}
	// neverPage are the kinds of symptoms that are details or guesses.
	neverPage = []Kind{IssueNew, IssueRegression, Anomaly}
	// debounced are the kinds that page on evidence of their own making, so that For may be short.
	debounced = []Kind{Uptime, SLOBurn, TLSExpiry, Cron, External}
)

// checker collects problems.
type checker struct {
	r        Rule
	env      Env
	problems []Problem
}

func (c *checker) add(field, format string, args ...any) {
	c.problems = append(c.problems, Problem{field, fmt.Sprintf(format, args...)})
}

// need adds a problem unless ok.
func (c *checker) need(ok bool, field, format string, args ...any) {
	if !ok {
		c.add(field, format, args...)
	}
}

func (c *checker) within(d, low, high Duration, field string) {
	c.need(d >= low && d <= high, field, "%s is not between %s and %s", d, low, high)
}

// Validate judges a rule, with its defaults filled in, and says everything that is wrong with it in
// one *Invalid.
func Validate(r Rule, env Env) error {
	c := &checker{r: r.WithDefaults(), env: env}
	c.identity(r)
	if _, known := kinds[r.Kind]; !known {
		c.add("kind", "%.40q is no kind of rule", string(r.Kind))
		return &Invalid{c.problems}
	}
	c.query()
	c.times()
	c.levels()
	c.class(r)
	c.extras()
	c.depends()
	if len(c.problems) > 0 {
		return &Invalid{c.problems}
	}
	return nil
}

// Warnings are what does not forbid a rule and whoever saves it should know.
func Warnings(r Rule, env Env) []Problem {
	c := &checker{r: r.WithDefaults(), env: env}
	if c.r.Delay > 0 && env.Lag > c.r.Delay {
		c.add("delay", "one of a hundred events takes %s to arrive, longer than the delay of %s: slots will wait or be held",
			env.Lag, c.r.Delay)
	}
	return c.problems
}

func (c *checker) identity(r Rule) {
	c.need(slug.MatchString(r.ID), "id", "use up to 100 lower case letters, digits, - and _")
	c.need(strings.TrimSpace(r.Name) != "" && utf8.RuneCountInString(r.Name) <= maxName, "name",
		"a rule needs a name of at most %d characters", maxName)
	for _, f := range []struct{ field, text string }{
		{"service", r.Service},
		{"environment", r.Environment},
		{"team", r.Team},
		{"owner", r.Owner},
		{"consequence", r.Consequence},
		{"summary", r.Summary},
		{"active", r.Active},
		{"approved_by", r.ApprovedBy},
	} {
		c.need(utf8.RuneCountInString(f.text) <= maxText, f.field, "is longer than %d characters", maxText)
	}
	c.need(len(r.Labels) <= maxLabels, "labels", "%d are too many, %d is the limit", len(r.Labels), maxLabels)
	for k, v := range r.Labels {
		c.need(k != "" && len(k) <= maxName && len(v) <= maxText, "labels", "%.40q is empty or too long", k)
	}
	c.need(slices.Contains([]Lifecycle{"", Draft, Rehearsed, Shadow, Live, Paused}, r.State), "state",
		"is one of draft, rehearsed, shadow, live, paused")
	c.need(slices.Contains([]string{"", Availability, Latency, Correctness, Feature}, r.Area), "area",
		"is one of availability, latency, correctness, feature")
	c.need(r.Quiet == "" || r.Quiet == QuietHold, "quiet", `is empty or "hold"`)
	if r.Active != "" && c.env.Active != nil {
		if err := c.env.Active(r.Active); err != nil {
			c.add("active", "%v", err)
		}
	}
}

func (c *checker) query() {
	q := c.r.Query
	c.need(slices.Contains(reads[c.r.Kind], q.Source), "query.source", "%s rules read %v", c.r.Kind, reads[c.r.Kind])
	if q.Source == Metrics {
		c.need(q.Metric != "" && len(q.Metric) <= maxText, "query.metric", "name the metric")
	}
	if _, quantile := Quantile(q.Aggregate); q.Aggregate != "" && !quantile {
		c.need(slices.Contains(aggregates, q.Aggregate), "query.aggregate",
			"is one of %s, or a quantile p50 … p99.9", strings.Join(aggregates, ", "))
	}
	c.matches("query.where", q.Where)
	c.matches("query.bad", q.Bad)
	c.need(len(q.Text) <= maxText && len(q.Levels) <= maxMatches, "query.text", "is too long")
	filter := q.Text != "" || len(q.Levels) > 0
	switch c.r.Kind {
	case LogMatch:
		c.need(filter || len(q.Where) > 0, "query", "say which log records match: text, levels or where")
	case LogRatio:
		c.need(filter || len(q.Bad) > 0, "query", "say which log records are the bad ones: text, levels or bad")
	case ErrorRate, SLOBurn:
		c.need(filter || len(q.Bad) > 0, "query.bad", "say which of %s are the bad ones", or(q.Metric, "the records"))
	}
	c.need(len(q.By) <= maxBy, "query.by", "%d labels are too many, %d is the limit", len(q.By), maxBy)
	for i, label := range q.By {
		field := fmt.Sprintf("query.by[%d]", i)
		c.need(label != "" && !slices.Contains(q.By[:i], label), field, "is empty or named twice")
		if n := c.env.Cardinality[label]; n > c.r.Limits.Tracked {
			c.add(field, "%s had %d values in the last seven days, more than the %d groups a rule follows",
				label, n, c.r.Limits.Tracked)
		}
	}
	c.need(q.Regions >= 0 && q.Regions <= 20, "query.regions", "is between 1 and 20")
	if q.Issue != nil {
		c.need(q.Issue.Events >= 0 && q.Issue.Users >= 0, "query.issue", "cannot be negative")
	}
}

func (c *checker) matches(field string, list []Match) {
	c.need(len(list) <= maxMatches, field, "%d are too many, %d is the limit", len(list), maxMatches)
	for i, m := range list[:min(len(list), maxMatches)] {
		if err := m.Validate(); err != nil {
			c.add(fmt.Sprintf("%s[%d]", field, i), "%v", err)
		}
	}
}

func (c *checker) times() {
	r := c.r
	c.need(slices.Contains(intervals, r.Interval), "interval", "is one of 10s, 30s, 1m, 5m, 1h")
	c.within(r.Window, 10*Second, 31*Day, "window")
	if n := r.Window; c.env.Collection > 0 && r.Query.Source == Metrics && n < 2*c.env.Collection {
		c.add("window", "%s holds fewer than two points of a metric that is collected each %s", n, c.env.Collection)
	}
	c.within(r.Delay, 0, Hour, "delay")
	c.within(*r.RecoverFor, 0, 7*Day, "recover_for")
	c.within(*r.Reopen, 0, Day, "reopen")
	c.within(r.NoDataFor, 0, 7*Day, "no_data_for")
	c.within(r.StaleClose, r.Interval, 31*Day, "stale_close")
	c.within(r.MissingGroupClose, 0, 31*Day, "missing_group_close")
	c.within(r.Flap.Window, r.Interval, Day, "flap.window")
	c.within(r.Flap.Exit, r.Interval, Day, "flap.exit")
	c.within(r.Recur.Window, r.Interval, Day, "recur.window")
	c.need(r.Flap.N >= 2 && r.Flap.N <= maxMemory, "flap.n", "is between 2 and %d", maxMemory)
	c.need(r.Recur.N >= 2 && r.Recur.N <= maxMemory, "recur.n", "is between 2 and %d", maxMemory)
	c.need(slices.Contains([]NoDataPolicy{NoDataKeep, NoDataOK, NoDataBreach}, r.NoData), "no_data", "is keep, ok or breach")
	c.need(r.MinSamples >= 0, "min_samples", "cannot be negative")
	c.need(r.MinBad >= 0, "min_bad", "cannot be negative")
	c.need(r.Limits.Tracked > 0 && r.Limits.Tracked <= maxTracked, "limits.tracked", "is between 1 and %d", maxTracked)
	c.need(r.Limits.Open > 0 && r.Limits.Open <= r.Limits.Tracked, "limits.open", "is between 1 and limits.tracked")
}

func (c *checker) levels() {
	r := c.r
	c.need(len(r.Levels) > 0 && len(r.Levels) <= maxLevels, "levels", "a rule has between 1 and %d levels", maxLevels)
	for i, l := range r.Levels[:min(len(r.Levels), maxLevels)] {
		at := fmt.Sprintf("levels[%d]", i)
		rank := slices.Index(severities, l.Severity)
		c.need(rank >= 0, at+".severity", "is page, ticket or mail")
		if i > 0 && rank >= 0 {
			c.need(slices.Index(severities, r.Levels[i-1].Severity) <= rank, at, "the worst level stands first")
			c.need(!slices.ContainsFunc(r.Levels[:i], func(o Level) bool { return o.Name == l.Name }), at+".name", "is used twice")
		}
		c.bounds(at, l)
		c.within(*l.For, 0, 31*Day, at+".for")
		if r.Debounce.Mode == RatioMode {
			slots := int64(*l.For) / int64(max(r.Interval, 1))
			c.need(slots >= 2 && slots <= maxSlots, at+".for", "a ratio looks at 2 to %d slots, not %d", maxSlots, slots)
		}
		if l.Severity == Page {
			c.page(at, l)
		}
	}
	switch r.Debounce.Mode {
	case Consecutive:
	case RatioMode:
		c.need(r.Debounce.Ratio > 0 && r.Debounce.Ratio <= 1, "debounce.ratio", "is above 0 and at most 1")
	default:
		c.add("debounce.mode", "is consecutive or ratio")
	}
}

func (c *checker) bounds(at string, l Level) {
	if !slices.Contains(bounded, c.r.Kind) {
		c.need(l.Fire == "" && l.Recover == "", at+".fire", "%s rules have limits of their own", c.r.Kind)
		return
	}
	fire, err := ParseBound(l.Fire)
	if err != nil {
		c.add(at+".fire", "%v", err)
	}
	if l.Recover == "" {
		return
	}
	back, failed := ParseBound(l.Recover)
	if failed != nil {
		c.add(at+".recover", "%v", failed)
	}
	if err != nil || failed != nil {
		return
	}
	c.need(opposite(fire, back), at+".recover", "%q does not lie on the good side of %q", l.Recover, l.Fire)
}

// opposite says whether no value can both fire and recover, and recovery lies where it is good.
func opposite(fire, back Bound) bool {
	if fire.Op.Up() == back.Op.Up() {
		return false
	}
	if fire.Value == back.Value {
		inclusive := func(o Op) bool { return o == GreaterEqual || o == LessEqual }
		return !inclusive(fire.Op) || !inclusive(back.Op)
	}
	return fire.Op.Up() == (back.Value < fire.Value)
}

// page judges a level that wakes a person.
func (c *checker) page(at string, l Level) {
	r := c.r
	action := utf8.RuneCountInString(strings.TrimSpace(r.FirstAction))
	if r.RunbookURL == "" {
		c.need(action > 0, "runbook_url", "who is woken needs a runbook_url or a first_action")
	}
	if slices.Contains(neverPage, r.Kind) {
		c.add(at+".severity", "%s rules cannot page", r.Kind)
	}
	if !slices.Contains(debounced, r.Kind) {
		c.need(*l.For >= r.Interval, at+".for", "a page needs evidence of at least one interval (%s)", r.Interval)
	}
}

func (c *checker) class(r Rule) {
	stated := c.r
	stated.Class = r.Class
	class, err := stated.Classify()
	if err != nil {
		c.add("class", "%v", err)
	}
	c.need(c.r.Interval >= 30*Second || class == Symptom, "interval", "slots of %s are for what users feel", c.r.Interval)
	for i, l := range c.r.Levels {
		at := fmt.Sprintf("levels[%d].severity", i)
		if class == Cause && l.Severity == Page {
			c.add(at, "%s", c.covered())
		}
		if class != Leading || r.Kind == TLSExpiry || r.Kind == Forecasted {
			continue // these two judge each slot by the time that is left
		}
		most := Urgency(r.TimeToSymptom)
		working := most == Ticket && r.Active != ""
		c.need(working || slices.Index(severities, l.Severity) >= slices.Index(severities, most), at,
			"users feel this after %s, so at most a %s is due (page: below 4h, or below a day with active hours)", r.TimeToSymptom, most)
	}
	if r.RunbookURL != "" {
		u, err := url.Parse(r.RunbookURL)
		c.need(err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && len(r.RunbookURL) <= maxText,
			"runbook_url", "is no address of a page")
	}
	if n := utf8.RuneCountInString(strings.TrimSpace(r.FirstAction)); r.FirstAction != "" {
		c.need(n >= 5 && n <= 300, "first_action", "has 5 to 300 characters")
	}
}

// covered says why a cause cannot page, and what pages instead.
func (c *checker) covered() string {
	const why = "a cause cannot page, only open a ticket or a mail: "
	names := Covering(c.r, c.env.Rules)
	switch {
	case len(names) == 1:
		return why + names[0] + " pages for this"
	case len(names) > 1:
		return why + strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1] + " page for this"
	case c.r.Service != "":
		return why + "no symptom rule of " + c.r.Service + " pages yet; make one of its error rate or latency"
	}
	return why + "name the service, and page for what its users feel"
}

// Covering are the ids of the symptom rules of r's service that page: what would have told a person
// of the trouble that r, a cause, makes.
func Covering(r Rule, others []Rule) []string {
	var names []string
	for _, o := range others {
		if o.ID == r.ID || r.Service == "" || o.Service != r.Service ||
			r.Environment != "" && o.Environment != "" && o.Environment != r.Environment ||
			o.State == Draft || o.State == Paused {
			continue
		}
		o = o.WithDefaults()
		if o.Class == Symptom && slices.ContainsFunc(o.Levels, func(l Level) bool { return l.Severity == Page }) {
			names = append(names, o.ID)
		}
	}
	slices.Sort(names)
	return names[:min(len(names), 5)]
}

func (c *checker) extras() {
	r := c.r
	switch {
	case r.Kind == SLOBurn && r.SLO == nil:
		c.add("slo", "name the objective: target and period")
	case r.Kind != SLOBurn && r.SLO != nil:
		c.add("slo", "only slo_burn rules have one")
	case r.SLO != nil:
		c.need(r.SLO.Target > 0 && r.SLO.Target <= 0.99999, "slo.target", "is a share such as 0.999, at most 0.99999")
		c.within(r.SLO.Period, 7*Day, 92*Day, "slo.period")
		for i, l := range r.Levels {
			c.need(l.Severity != Mail, fmt.Sprintf("levels[%d].severity", i), "a burning budget is a page or a ticket")
		}
	}
	switch {
	case r.Kind == Forecasted && (r.Forecast == nil || (r.Forecast.Capacity > 0) == (r.Forecast.CapacityMetric != "")):
		c.add("forecast", "name what is full: either capacity or capacity_metric")
	case r.Kind != Forecasted && r.Forecast != nil:
		c.add("forecast", "only forecast rules have one")
	}
	known := r.placeholders()
	for _, name := range placeholders(r.Summary) {
		c.need(slices.Contains(known, name), "summary", "{{%s}} is not known: use %s", name, strings.Join(known, ", "))
	}
}

// depends judges DependsOn: the rules exist and none of them waits for this one.
func (c *checker) depends() {
	r := c.r
	c.need(len(r.DependsOn) <= maxDepends, "depends_on", "%d are too many, %d is the limit", len(r.DependsOn), maxDepends)
	if len(r.DependsOn) == 0 || len(r.DependsOn) > maxDepends {
		return
	}
	by := make(map[string][]string, len(c.env.Rules))
	for _, o := range c.env.Rules {
		by[o.ID] = o.DependsOn
	}
	by[r.ID] = r.DependsOn
	for i, id := range r.DependsOn {
		field := fmt.Sprintf("depends_on[%d]", i)
		if _, ok := by[id]; !ok {
			c.add(field, "there is no rule %.100q", id)
			continue
		}
		if path := pathTo(by, id, r.ID, map[string]bool{}); path != nil {
			c.add(field, "goes in a circle: %s → %s", r.ID, strings.Join(path, " → "))
		}
	}
}

// pathTo is a way from one rule to another along their dependencies; nil if there is none. Each rule
// is looked at once.
func pathTo(by map[string][]string, from, to string, done map[string]bool) []string {
	if from == to {
		return []string{to}
	}
	if done[from] {
		return nil
	}
	done[from] = true
	for _, next := range by[from] {
		if path := pathTo(by, next, to, done); path != nil {
			return append([]string{from}, path...)
		}
	}
	return nil
}
