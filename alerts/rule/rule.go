// Package rule is what an alert rule is and how its instances live: the typed rule with its defaults
// and validation, verdicts from numbers, and Step, the machine that turns verdicts into events. It
// is pure: no clock, no storage. Live evaluation, catch-up and rehearsal call the same functions, so
// they cannot disagree. Slots and other instants are Unix seconds.
package rule

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/midwatch/midwatch/alerts/match"
)

// Kind is what a rule looks at.
type Kind string

// The kinds of rules.
const (
	Threshold       Kind = "threshold"
	LogMatch        Kind = "log_match"
	LogRatio        Kind = "log_ratio"
	ErrorRate       Kind = "error_rate"
	IssueNew        Kind = "issue_new"
	IssueRegression Kind = "issue_regression"
	IssueSpike      Kind = "issue_spike"
	Cron            Kind = "cron"
	Uptime          Kind = "uptime"
	TLSExpiry       Kind = "tls_expiry"
	SLOBurn         Kind = "slo_burn"
	Forecasted      Kind = "forecast"
	Absence         Kind = "absence"
	Anomaly         Kind = "anomaly"
	External        Kind = "external"
)

// Class says whether a rule watches what users feel.
type Class string

// The classes, from the one that may always page to the one that never may.
const (
	Symptom Class = "symptom"
	Leading Class = "leading"
	Cause   Class = "cause"
)

// Severity is who is told, and when.
type Severity string

// The severities: now, in working hours, in the morning.
const (
	Page   Severity = "page"
	Ticket Severity = "ticket"
	Mail   Severity = "mail"
)

// Lifecycle is how far a rule has come from an idea to something that may wake a person.
type Lifecycle string

// The lifecycle of a rule. In shadow it is evaluated and tells nobody.
const (
	Draft     Lifecycle = "draft"
	Rehearsed Lifecycle = "rehearsed"
	Shadow    Lifecycle = "shadow"
	Live      Lifecycle = "live"
	Paused    Lifecycle = "paused"
)

// Source is what a query reads.
type Source string

// The sources of queries.
const (
	Metrics   Source = "metrics"
	Logs      Source = "logs"
	Errors    Source = "errors"
	Monitors  Source = "monitors" // cron monitors and probes
	Externals Source = "external" // alerts that another system evaluates
)

// NoDataPolicy is what an empty answer means.
type NoDataPolicy string

// The policies for an empty answer: freeze, zero, bad.
const (
	NoDataKeep   NoDataPolicy = "keep"
	NoDataOK     NoDataPolicy = "ok"
	NoDataBreach NoDataPolicy = "breach"
)

// The modes of debounce: all verdicts since the first bad one are bad, or a share of them.
const (
	Consecutive = "consecutive"
	RatioMode   = "ratio"
)

// The four boxes in which a user's trouble falls.
const (
	Availability = "availability"
	Latency      = "latency"
	Correctness  = "correctness"
	Feature      = "feature"
)

// QuietHold is the value of Rule.Quiet that holds even pages until quiet hours end.
const QuietHold = "hold"

// Rule is what a person writes. The zero value of a field means its default by kind, which
// WithDefaults fills in; pointers are used where zero itself is a meaningful choice.
type Rule struct {
	// ID is unique in its project: lower case letters, digits, "-" and "_", 100 at most.
	ID   string `json:"id"`
	Name string `json:"name"`
	Kind Kind   `json:"kind"`
	// Class is computed by Classify; stating a lower one lowers it.
	Class       Class  `json:"class,omitempty"`
	Area        string `json:"area,omitempty"`
	Service     string `json:"service,omitempty"`
	Environment string `json:"environment,omitempty"`
	Team        string `json:"team,omitempty"`
	Query       Query  `json:"query"`
	// A slot s is computed from the data of [s-Delay-Window, s-Delay). Delay 0 is automatic: by the
	// measured lag of ingestion.
	Window   Duration `json:"window,omitempty"`
	Interval Duration `json:"interval,omitempty"`
	Delay    Duration `json:"delay,omitempty"`
	// Levels stand in order, the worst first. Each is a machine of its own; one that is open mutes
	// those after it.
	Levels     []Level      `json:"levels"`
	Debounce   Debounce     `json:"debounce,omitzero"`
	RecoverFor *Duration    `json:"recover_for,omitempty"`
	MinSamples int          `json:"min_samples,omitempty"`
	MinBad     int          `json:"min_bad,omitempty"`
	NoData     NoDataPolicy `json:"no_data,omitempty"`
	NoDataFor  Duration     `json:"no_data_for,omitempty"`
	// StaleClose closes what is open and without data for so long; MissingGroupClose does it for one
	// group that is absent while others answer.
	StaleClose        Duration  `json:"stale_close,omitempty"`
	MissingGroupClose Duration  `json:"missing_group_close,omitempty"`
	Reopen            *Duration `json:"reopen,omitempty"`
	Flap              Flap      `json:"flap,omitzero"`
	Recur             Recur     `json:"recur,omitzero"`
	Limits            Limits    `json:"limits,omitzero"`
	// DependsOn names rules whose firing inhibits this one.
	DependsOn []string `json:"depends_on,omitempty"`
	// Active is when the rule may page, "Mon-Fri 08:00-20:00 Europe/Berlin"; outside, a page falls to
	// a ticket. Empty is always.
	Active string `json:"active,omitempty"`
	// Quiet is "hold" if even pages wait for the end of quiet hours.
	Quiet    string        `json:"quiet,omitempty"`
	SLO      *SLO          `json:"slo,omitempty"`
	Forecast *ForecastSpec `json:"forecast,omitempty"`
	// UserVisible declares that users notice when this job, heartbeat or external alert is bad.
	UserVisible bool `json:"user_visible,omitempty"`
	// Consequence, TimeToSymptom, Wall and ApprovedBy make a cause a leading rule: what users will
	// see, when, which finite resource ends, and the second person who agrees.
	Consequence   string   `json:"consequence,omitempty"`
	TimeToSymptom Duration `json:"time_to_symptom,omitempty"`
	Wall          string   `json:"wall,omitempty"`
	ApprovedBy    string   `json:"approved_by,omitempty"`
	// Summary may name {{value}}, {{limit}}, {{service}}, {{environment}}, {{rule}} and group labels.
	Summary     string            `json:"summary,omitempty"`
	RunbookURL  string            `json:"runbook_url,omitempty"`
	FirstAction string            `json:"first_action,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Owner       string            `json:"owner,omitempty"`
	State       Lifecycle         `json:"state,omitempty"`
}

// Level is one limit of a rule.
type Level struct {
	Name string `json:"name,omitempty"`
	// Fire and Recover are bounds such as ">= 0.05" and "< 0.03". What lies between is grey. Without
	// Recover whatever does not fire is good.
	Fire     string   `json:"fire,omitempty"`
	Recover  string   `json:"recover,omitempty"`
	Severity Severity `json:"severity"`
	// For is how long evidence must last before anybody is told.
	For *Duration `json:"for,omitempty"`
}

// Debounce says how verdicts become evidence.
type Debounce struct {
	Mode string `json:"mode,omitempty"`
	// Ratio is the share of bad verdicts in the last For that is enough in ratio mode.
	Ratio float64 `json:"ratio,omitempty"`
}

// Flap says that N onsets within Window are flapping, and how long it must be good to end.
type Flap struct {
	N      int      `json:"n,omitempty"`
	Window Duration `json:"window,omitempty"`
	Exit   Duration `json:"exit,omitempty"`
}

// Recur says that N transients within Window are worth a ticket.
type Recur struct {
	N      int      `json:"n,omitempty"`
	Window Duration `json:"window,omitempty"`
}

// Limits bound how many groups of a rule are open and how many are followed.
type Limits struct {
	Open    int `json:"open,omitempty"`
	Tracked int `json:"tracked,omitempty"`
}

// SLO is an objective: the share of good events in a period.
type SLO struct {
	// Target is above 0 and below 1, such as 0.999.
	Target float64 `json:"target"`
	// Period is 30 days if 0.
	Period Duration `json:"period,omitempty"`
}

// ForecastSpec says what a forecast runs towards. The rule's query gives what is used.
type ForecastSpec struct {
	// Capacity is a constant, CapacityMetric a metric of the same groups; one of them is set.
	Capacity       float64 `json:"capacity,omitempty"`
	CapacityMetric string  `json:"capacity_metric,omitempty"`
}

// Query is what a rule reads: a typed value that storage compiles.
type Query struct {
	Source Source `json:"source,omitempty"`
	Metric string `json:"metric,omitempty"`
	// Aggregate is avg, sum, min, max, last, count, rate, increase or a quantile p50 … p99.9.
	Aggregate string `json:"aggregate,omitempty"`
	// Where selects what is looked at. Bad is the numerator of ratios among it.
	Where []Match `json:"where,omitempty"`
	Bad   []Match `json:"bad,omitempty"`
	// Text and Levels select logs: words of the body, and severities. In a ratio they select the
	// numerator.
	Text   string   `json:"text,omitempty"`
	Levels []string `json:"levels,omitempty"`
	// Unit is the unit of the values: s, ms, By, % or 1 for a share; empty is guessed from the name.
	Unit string `json:"unit,omitempty"`
	// Per is the unit of time of a rate; 0 is a second.
	Per Duration `json:"per,omitempty"`
	// By are the labels that make groups; each group is an instance.
	By []string `json:"by,omitempty"`
	// Monitor is the cron monitor or probe, by id or slug; empty is all that Where selects.
	Monitor string `json:"monitor,omitempty"`
	// Regions is how many regions must see a probe fail; 0 is 2, or 1 where only one looks.
	Regions int `json:"regions,omitempty"`
	// Issue narrows the kinds issue_….
	Issue *IssueQuery `json:"issue,omitempty"`
	// MinAbs is the least distance from the usual that an anomaly may have.
	MinAbs float64 `json:"min_abs,omitempty"`
}

// IssueQuery says how much of an issue is worth telling.
type IssueQuery struct {
	Events int      `json:"events,omitempty"`
	Users  int      `json:"users,omitempty"`
	Levels []string `json:"levels,omitempty"`
}

// Match is a condition on a label, in the language of routes and silences.
type Match = match.Matcher

// Duration is a length of time in whole seconds. As text it reads "5m", "1h30m", "3d".
type Duration int64

// Lengths of time.
const (
	Second Duration = 1
	Minute          = 60 * Second
	Hour            = 60 * Minute
	Day             = 24 * Hour
	maxDur          = 3660 * Day
)

var units = [...]struct {
	name byte
	size Duration
}{{'w', 7 * Day}, {'d', Day}, {'h', Hour}, {'m', Minute}, {'s', Second}}

// ParseDuration reads numbers with the units w, d, h, m and s, the larger first; "0" needs no unit.
func ParseDuration(text string) (Duration, error) {
	bad := func() (Duration, error) {
		return 0, fmt.Errorf("%.40q is no duration: write it like 30s, 5m, 1h30m or 3d", text)
	}
	if text == "0" {
		return 0, nil
	}
	var sum Duration
	next := 0
	for rest := text; rest != ""; {
		digits := 0
		for digits < len(rest) && rest[digits] >= '0' && rest[digits] <= '9' {
			digits++
		}
		n, err := strconv.ParseInt(rest[:digits], 10, 32)
		if err != nil || digits == len(rest) {
			return bad()
		}
		for next < len(units) && units[next].name != rest[digits] {
			next++
		}
		if next == len(units) {
			return bad()
		}
		if sum += Duration(n) * units[next].size; sum > maxDur {
			return 0, fmt.Errorf("%.40q is longer than ten years", text)
		}
		next++
		rest = rest[digits+1:]
	}
	if text == "" {
		return bad()
	}
	return sum, nil
}

// String is the shortest text that ParseDuration reads as d; weeks are written as days.
func (d Duration) String() string {
	if d <= 0 {
		return strconv.FormatInt(int64(d), 10) + "s"
	}
	var b strings.Builder
	for _, u := range units[1:] {
		if n := d / u.size; n > 0 {
			fmt.Fprintf(&b, "%d%c", n, u.name)
			d -= n * u.size
		}
	}
	return b.String()
}

// Std is d as the standard library has it.
func (d Duration) Std() time.Duration { return time.Duration(d) * time.Second }

// MarshalText writes d as String does.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what ParseDuration reads.
func (d *Duration) UnmarshalText(text []byte) (err error) {
	*d, err = ParseDuration(string(text))
	return err
}

// maxRuleBytes bounds a rule's text.
const maxRuleBytes = 64 << 10

// Parse reads a rule from JSON. Unknown keys are errors, so that a misspelt one is not ignored.
func Parse(text []byte) (Rule, error) {
	if len(text) > maxRuleBytes {
		return Rule{}, fmt.Errorf("the rule is larger than %d bytes", maxRuleBytes)
	}
	var r Rule
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		return Rule{}, fmt.Errorf("read rule: %w", err)
	}
	if d.More() {
		return Rule{}, errors.New("read rule: there is something after the rule")
	}
	return r, nil
}

// Op is the comparison of a Bound.
type Op uint8

// The comparisons.
const (
	GreaterEqual Op = iota + 1
	Greater
	LessEqual
	Less
)

var ops = [...]string{GreaterEqual: ">=", Greater: ">", LessEqual: "<=", Less: "<"}

// String is the comparison's sign.
func (o Op) String() string { return ops[o] }

// Up says whether larger values fulfil the comparison.
func (o Op) Up() bool { return o == GreaterEqual || o == Greater }

// Bound is a limit such as ">= 0.05". The zero Bound holds for nothing.
type Bound struct {
	Op    Op
	Value float64
}

// ParseBound reads ">= 0.05", "<5%" and the like; a percentage is a hundredth.
func ParseBound(text string) (Bound, error) {
	t := strings.TrimSpace(text)
	for o := GreaterEqual; o <= Less; o++ {
		number, ok := strings.CutPrefix(t, ops[o])
		if !ok {
			continue
		}
		number, percent := strings.CutSuffix(strings.TrimSpace(number), "%")
		v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
			break
		}
		if percent {
			v /= 100
		}
		return Bound{o, v}, nil
	}
	return Bound{}, fmt.Errorf("%.40q is no limit: write it like >= 0.05 or < 3%%", text)
}

// Holds says whether v fulfils the bound.
func (b Bound) Holds(v float64) bool {
	switch b.Op {
	case GreaterEqual:
		return v >= b.Value
	case Greater:
		return v > b.Value
	case LessEqual:
		return v <= b.Value
	case Less:
		return v < b.Value
	}
	return false
}

// String is the text that ParseBound reads.
func (b Bound) String() string {
	if b.Op == 0 {
		return ""
	}
	return b.Op.String() + " " + strconv.FormatFloat(b.Value, 'g', -1, 64)
}

// defaults is a row of the table of kinds.
type defaults struct {
	window, interval, hold, recover Duration
	samples, bad                    int
	noData                          NoDataPolicy
	severity                        Severity
	area                            string
	source                          Source
}

var kinds = map[Kind]defaults{
	Threshold:       {5 * Minute, Minute, 5 * Minute, 5 * Minute, 3, 0, NoDataKeep, Ticket, Feature, Metrics},
	LogMatch:        {5 * Minute, Minute, 0, 10 * Minute, 0, 0, NoDataOK, Ticket, Feature, Logs},
	LogRatio:        {5 * Minute, Minute, 5 * Minute, 5 * Minute, 50, 0, NoDataOK, Ticket, Availability, Logs},
	ErrorRate:       {5 * Minute, 30 * Second, 3 * Minute, 5 * Minute, 20, 5, NoDataOK, Page, Availability, Metrics},
	IssueNew:        {5 * Minute, 30 * Second, 0, 0, 0, 0, NoDataOK, Mail, Feature, Errors},
	IssueRegression: {5 * Minute, 30 * Second, 0, 0, 0, 0, NoDataOK, Mail, Feature, Errors},
	IssueSpike:      {5 * Minute, Minute, Minute, 15 * Minute, 20, 0, NoDataOK, Ticket, Feature, Errors},
	Cron:            {5 * Minute, Minute, 0, 0, 0, 0, NoDataBreach, Ticket, Correctness, Monitors},
	Uptime:          {Minute, 30 * Second, 90 * Second, Minute, 2, 0, NoDataKeep, Page, Availability, Monitors},
	TLSExpiry:       {Hour, Hour, 0, 0, 0, 0, NoDataKeep, Ticket, Availability, Monitors},
	SLOBurn:         {Hour, Minute, 3 * Minute, 5 * Minute, 50, 10, NoDataOK, Page, Availability, Metrics},
	Forecasted:      {3 * Day, 5 * Minute, 30 * Minute, Hour, 36, 0, NoDataKeep, Ticket, Availability, Metrics},
	Absence:         {5 * Minute, Minute, 5 * Minute, Minute, 0, 0, NoDataBreach, Ticket, Correctness, Metrics},
	Anomaly:         {5 * Minute, 5 * Minute, 15 * Minute, 15 * Minute, 3, 0, NoDataKeep, Mail, Feature, Metrics},
	External:        {5 * Minute, Minute, 0, 0, 0, 0, NoDataKeep, Ticket, Feature, Externals},
}

// requests is the metric that counts and times what users ask for (OpenTelemetry's name).
const requests = "http.server.request.duration"

// WithDefaults is r with every unset field at the default of its kind. r is not changed.
func (r Rule) WithDefaults() Rule {
	d, ok := kinds[r.Kind]
	if !ok {
		return r
	}
	r.Query.Source = or(r.Query.Source, d.source)
	if (r.Kind == ErrorRate || r.Kind == SLOBurn) && r.Query.Source == Metrics {
		r.Query.Metric = or(r.Query.Metric, requests)
		if len(r.Query.Bad) == 0 && r.Query.Metric == requests {
			r.Query.Bad = []Match{{Label: "http.response.status_code", Op: "=~", Value: "5.."}}
		}
	}
	if r.Kind == Threshold && r.Query.Aggregate == "" {
		r.Query.Aggregate = "avg"
	}
	if r.Kind == Uptime && r.Query.Regions == 0 {
		r.Query.Regions = 2
	}
	r.Window = or(r.Window, d.window)
	r.Interval = or(r.Interval, d.interval)
	r.Area = or(r.Area, d.area)
	r.Debounce.Mode = or(r.Debounce.Mode, Consecutive)
	if r.Debounce.Mode == RatioMode {
		r.Debounce.Ratio = or(r.Debounce.Ratio, 0.6)
	}
	if r.RecoverFor == nil {
		r.RecoverFor = new(d.recover)
	}
	if r.Reopen == nil {
		r.Reopen = new(10 * Minute)
	}
	r.MinSamples = or(r.MinSamples, d.samples)
	r.MinBad = or(r.MinBad, d.bad)
	r.NoData = or(r.NoData, d.noData)
	r.NoDataFor = or(r.NoDataFor, max(3*r.Interval, 5*Minute))
	r.StaleClose = or(r.StaleClose, Day)
	r.MissingGroupClose = or(r.MissingGroupClose, 15*Minute)
	r.Flap.N = or(r.Flap.N, 3)
	r.Flap.Window = or(r.Flap.Window, max(Hour, 10*r.Interval))
	r.Flap.Exit = or(r.Flap.Exit, max(30*Minute, 2*r.Interval))
	r.Recur.N = or(r.Recur.N, 4)
	r.Recur.Window = or(r.Recur.Window, max(Hour, 10*r.Interval))
	r.Limits.Open = or(r.Limits.Open, 200)
	r.Limits.Tracked = or(r.Limits.Tracked, 2000)
	r.State = or(r.State, Draft)
	if r.SLO != nil {
		r.SLO = &SLO{Target: r.SLO.Target, Period: or(r.SLO.Period, 30*Day)}
	}
	if len(r.Levels) == 0 {
		r.Levels = defaultLevels(r.Kind)
	}
	levels := make([]Level, len(r.Levels))
	for i, l := range r.Levels {
		l.Severity = or(l.Severity, d.severity)
		l.Name = or(l.Name, string(l.Severity))
		if l.For == nil {
			l.For = new(d.hold)
		}
		levels[i] = l
	}
	r.Levels = levels
	if class, err := r.Classify(); err == nil {
		r.Class = class
	}
	return r
}

// Pages reports whether a rule may wake a person. It wants the defaults filled in.
func (r Rule) Pages() bool {
	return slices.ContainsFunc(r.Levels, func(l Level) bool { return l.Severity == Page })
}

// defaultLevels are the levels of the kinds that bring their own limits.
func defaultLevels(k Kind) []Level {
	switch k {
	case Threshold, LogMatch, LogRatio, ErrorRate:
		return nil
	case SLOBurn, TLSExpiry:
		return []Level{{Severity: Page}, {Severity: Ticket}}
	case Forecasted:
		return []Level{{Severity: Page}, {Severity: Ticket}, {Severity: Mail}}
	}
	return []Level{{}}
}

func or[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}

// Identity is a hash of the fields whose change means that what is known about the rule's groups is
// about something else: kind and query. State survives every other edit.
func Identity(r Rule) string {
	q := r.WithDefaults().Query
	q.Unit, q.Regions, q.MinAbs, q.Issue = "", 0, 0, nil // how it is told, and limits
	text, err := json.Marshal(struct {
		Kind  Kind
		Query Query
	}{r.Kind, q})
	if err != nil { // only a NaN can do that
		text = []byte(r.ID)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:12])
}

func hash(parts ...string) uint64 {
	h := fnv.New64a()
	for _, p := range parts {
		_, _ = h.Write([]byte(p))
		_, _ = h.Write([]byte{0})
	}
	// FNV's low bits barely differ for names that differ in their last letter.
	v := h.Sum64()
	v ^= v >> 32
	v *= 0x9e3779b97f4a7c15
	return v ^ v>>29
}

// Shard is the shard of n that evaluates the rule.
func Shard(project, id string, n int) int {
	return int(hash(project, id) % uint64(max(n, 1)))
}

// Offset is where in its interval the rule's slots lie, so that not all rules are due at once.
func Offset(project, id string, interval Duration) int64 {
	return int64(hash(id, project) % uint64(max(interval, 1)))
}

// Slot is the newest slot at or before now: k*interval + offset, in Unix seconds.
func Slot(now int64, interval Duration, offset int64) int64 {
	i := int64(max(interval, 1))
	rest := (now - offset) % i
	if rest < 0 {
		rest += i
	}
	return now - rest
}
