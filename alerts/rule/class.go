package rule

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// felt are the beginnings of the metrics whose durations and errors users feel: requests served,
// messages processed for them, and what their browsers measured.
var felt = []string{
	requests, "http_server_request_duration", "http_request_duration",
	"rpc.server.call.duration", "rpc.server.duration", "rpc_server_duration",
	"messaging.process.duration", "messaging_process_duration",
	"browser.", "rum.", "web_vital", "webvitals", "browser_",
	"midwatch_drill", // which nobody feels: the fire drill takes the way of a symptom
}

// failures are the labels on which a filter counts errors.
var failures = []string{
	"http.response.status_code", "http.status_code", "http_response_status_code", "http_status_code",
	"status_code", "status", "code", "error.type", "error_type",
	"rpc.grpc.status_code", "rpc.response.status_code",
}

// access are the labels that only the log of requests has.
var access = []string{
	"http.response.status_code", "http.status_code", "http.request.method", "http.method", "http.route", "url.path",
	"http_response_status_code", "http_status_code", "http_request_method", "http_method", "http_route", "url_path",
}

// walls are the finite resources whose end is certain and felt. The list is closed: everything else
// that may lead to trouble stays a cause.
var walls = []string{
	"disk", "inode", "volume", "certificate", "domain", "quota", "credit", "transaction_id", "sequence",
	"stream_retention", "last_backup", "last_replica",
}

// Walls lists the finite resources that can make a rule leading.
func Walls() []string { return slices.Clone(walls) }

// ClassOf is the class of a kind and its query, from a table and not from a guess. userVisible is
// what the owner declares of a job, a heartbeat or an external alert.
func ClassOf(kind Kind, q Query, userVisible bool) Class {
	switch kind {
	case ErrorRate, SLOBurn, Uptime, IssueNew, IssueRegression, IssueSpike:
		return Symptom
	case TLSExpiry, Forecasted:
		return Leading
	case Cron, Absence, External:
		if userVisible {
			return Symptom
		}
	case Threshold:
		if isFelt(q) {
			return Symptom
		}
	case LogMatch, LogRatio:
		if filters(q.Where, access) || filters(q.Bad, access) {
			return Symptom
		}
	}
	return Cause
}

func isFelt(q Query) bool {
	if !slices.ContainsFunc(felt, func(p string) bool { return strings.HasPrefix(q.Metric, p) }) {
		return false
	}
	switch q.Aggregate {
	case "count", "rate", "increase", "sum": // how much is asked is no trouble, how much fails is
		return filters(q.Where, failures)
	case "min":
		return false
	}
	return true
}

func filters(matches []Match, labels []string) bool {
	return slices.ContainsFunc(matches, func(m Match) bool { return slices.Contains(labels, m.Label) })
}

// rank orders classes, the strongest first.
func rank(c Class) int { return slices.Index([]Class{Symptom, Leading, Cause}, c) }

// Classify is the class that holds for r: that of its kind and query, lower if r states a lower one,
// leading instead of cause if r has all that this takes. The error says what is missing for a class
// that r states and does not have.
func (r Rule) Classify() (Class, error) {
	class := ClassOf(r.Kind, r.Query, r.UserVisible)
	if r.Class == "" {
		return class, nil
	}
	if rank(r.Class) < 0 {
		return class, fmt.Errorf("%.40q is no class: symptom, leading or cause", r.Class)
	}
	if rank(r.Class) >= rank(class) {
		return r.Class, nil
	}
	if r.Class == Symptom {
		return class, fmt.Errorf("%s rules on this query watch a %s, not what users feel", r.Kind, class)
	}
	var missing []string
	if r.Consequence == "" {
		missing = append(missing, "consequence (what users will see)")
	}
	if r.TimeToSymptom <= 0 {
		missing = append(missing, "time_to_symptom")
	}
	if !slices.Contains(walls, r.Wall) {
		missing = append(missing, "wall (one of "+strings.Join(walls, ", ")+")")
	}
	if r.ApprovedBy == "" || r.ApprovedBy == r.Owner {
		missing = append(missing, "approved_by (a second person)")
	}
	if len(missing) > 0 {
		return class, fmt.Errorf("a cause becomes leading only with %s", strings.Join(missing, ", "))
	}
	return Leading, nil
}

// Urgency is how a leading rule is told by the time that is left until users feel it: below 4 hours a
// page, below a day a ticket with a due time (a page only in working hours), else a mail.
func Urgency(left Duration) Severity {
	switch {
	case left < 4*Hour:
		return Page
	case left <= Day:
		return Ticket
	}
	return Mail
}

// aggregates are those with a name; quantiles are p50 … p99.9.
var aggregates = []string{"avg", "sum", "min", "max", "last", "count", "rate", "increase"}

// Quantile is the share of an aggregate such as "p99.9", 0.999.
func Quantile(aggregate string) (float64, bool) {
	text, ok := strings.CutPrefix(aggregate, "p")
	if !ok || len(text) > 6 || strings.Trim(text, "0123456789.") != "" {
		return 0, false
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || v < 1 || v > 99.999 {
		return 0, false
	}
	return v / 100, true
}
