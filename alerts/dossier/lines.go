package dossier

import (
	"cmp"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/midwatch/midwatch/alerts/incident"
	"github.com/midwatch/midwatch/alerts/notify"
	"github.com/midwatch/midwatch/alerts/probe"
	"github.com/midwatch/midwatch/alerts/rule"
	"github.com/midwatch/midwatch/storage/catalog"
	"github.com/midwatch/midwatch/storage/telemetry"
)

// clock says a time in a zone; the day, too, where it is not that of now.
func clock(t, now time.Time, zone *time.Location) string {
	t, now = t.In(zone), now.In(zone)
	if t.YearDay() != now.YearDay() || t.Year() != now.Year() {
		return t.Format("2 Jan 15:04 MST")
	}
	return t.Format("15:04 MST")
}

func (a about) clock(t time.Time) string { return clock(t, a.at, a.zone) }

// distance says how long before or after the first bad slot something was.
func (a about) distance(t time.Time) string {
	switch d := a.Since.Sub(t); {
	case d >= time.Second:
		return notify.Span(d) + " before"
	case d <= -time.Second:
		return notify.Span(-d) + " after it began"
	}
	return "as it began"
}

// sentence is head and tail in at most 140 characters: the head is cut, for the tail has the numbers.
func sentence(head, tail string) string {
	head = strings.Join(strings.Fields(head), " ")
	return notify.Clip(head, max(maxCharacter-utf8.RuneCountInString(tail), 20)) + tail
}

func plural(n int64, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return count(n) + " " + one + "s"
}

// count writes a number with a comma after each thousand.
func count(n int64) string {
	text := strconv.FormatInt(n, 10)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// atMost keeps the first lines of a section and says how many more there are, and where.
func atMost(lines []notify.Line, where string) []notify.Line {
	if len(lines) <= maxLines {
		return lines
	}
	more := len(lines) - (maxLines - 1)
	return append(slices.Clip(lines[:maxLines-1]), notify.Line{Text: "and " + count(int64(more)) + " more", Link: where})
}

// feel says what users notice, as far as numbers tell it.
func feel(a about, events, users int64) part {
	var p part
	p.section = notify.Section{Title: "What users feel", Lead: true}
	if share := a.worst.Value; a.worst.Kind == rule.ErrorRate && share > 0 && share <= 1 {
		subject := a.Service
		if subject == "" {
			subject = a.worst.Name
		}
		if group := a.worst.Line().Group; group != "" && group != subject {
			subject += " (" + group + ")"
		}
		p.section.Lines = append(p.section.Lines, notify.Line{Text: sentence(oneIn(share)+" of "+subject, " have failed since "+a.clock(a.Since)+".")})
	}
	from, to := a.window()
	if users > 0 {
		where := "in this project"
		if a.environment != "" {
			where = "in " + a.environment
		}
		p.section.Lines = append(p.section.Lines, notify.Line{
			Text: sentence(fmt.Sprintf("%s met errors %s since %s", plural(users, "user"), where, a.clock(a.onset)), ": "+plural(events, "event")+"."),
			Link: a.link("errors", from, to),
		})
		p.facts = append(p.facts, notify.Fact{Name: "Users with errors", Value: count(users)})
	}
	return p
}

// oneIn says a share as people do: all requests, 4 in 10 requests, 1 in 8 requests.
func oneIn(share float64) string {
	switch tenths := math.Round(share * 10); {
	case share > 0.95:
		return "Nearly all requests"
	case tenths == 5:
		return "About half of the requests"
	case share > 0.35:
		return fmt.Sprintf("About %.0f in 10 requests", tenths)
	}
	return fmt.Sprintf("About 1 in %s requests", count(int64(math.Round(1/share))))
}

// deployLines tells deploys, those of the service first, the nearest to the trouble first.
func deployLines(a about, noted []catalog.Deploy, seen []telemetry.ReleaseSeen) []notify.Line {
	all := slices.DeleteFunc(slices.Clone(noted), func(d catalog.Deploy) bool {
		// Noted by its first error, and told by who deployed it afterwards.
		return d.Source == catalog.DeployFromErrors && slices.ContainsFunc(noted, func(o catalog.Deploy) bool {
			return o.Source != catalog.DeployFromErrors && o.Of(d.Release) && o.In("", d.Environment)
		})
	})
	for _, s := range seen {
		known := slices.IndexFunc(all, func(d catalog.Deploy) bool { return d.Of(s.Release) && d.In("", s.Environment) })
		if known >= 0 {
			all[known].Service = cmp.Or(all[known].Service, s.Service) // errors do not say it
			continue
		}
		source := catalog.DeployFromErrors
		if s.Service != "" {
			source = "logs"
		}
		all = append(all, catalog.Deploy{At: s.FirstAt, Service: s.Service, Environment: s.Environment, Release: s.Release, Source: source})
	}
	all = slices.DeleteFunc(all, func(d catalog.Deploy) bool { return !d.In("", a.environment) })
	if len(all) == 0 {
		return []notify.Line{{Text: "none in the " + notify.Span(deployReach) + " before"}}
	}
	rank := func(d catalog.Deploy) int {
		if d.In(a.Service, "") {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(all, func(x, y catalog.Deploy) int {
		return cmp.Or(cmp.Compare(rank(x), rank(y)), cmp.Compare(a.Since.Sub(x.At).Abs(), a.Since.Sub(y.At).Abs()))
	})
	var lines []notify.Line
	for _, d := range all {
		what := d.Release
		if d.Service != "" {
			what += " of " + d.Service
		}
		how := " deployed "
		if d.Source == catalog.DeployFromErrors || d.Source == "logs" {
			how = " first seen in " + d.Source + " "
		}
		tail := how + a.clock(d.At) + ", " + a.distance(d.At)
		if d.Person != "" {
			tail += " (by " + notify.Clip(d.Person, 40) + ")"
		}
		lines = append(lines, notify.Line{Text: sentence(what, tail), Link: d.URL})
	}
	return atMost(lines, "")
}

// issueLines tells errors, those with most events first.
func issueLines(a about, moves []telemetry.IssueMove, known map[uint64]catalog.Issue) []notify.Line {
	from, to := a.window()
	var lines []notify.Line
	for _, m := range moves {
		tail := ": " + plural(m.Now, "event")
		if m.Users > 0 {
			tail += ", " + plural(m.Users, "user")
		}
		first, life := known[m.ID].FirstSeen, known[m.ID].IssueLife
		switch {
		case life.Status() == catalog.IssueRegressed && !life.RegressedAt.Before(a.onset):
			tail += ", back after it was resolved " + a.clock(life.ResolvedAt)
		case m.Before > 0:
			tail += ", " + count(m.Before) + " in the hour before"
		case first.IsZero() || first.Before(a.onset):
			tail += ", none in the hour before"
		case m.Release != "":
			tail += ", new in " + notify.Clip(m.Release, 40)
		default:
			tail += ", new since " + a.clock(first)
		}
		lines = append(lines, notify.Line{Text: sentence(m.Title, tail), Link: a.link(issueAddress(m.ID), from, to)})
	}
	return atMost(lines, a.link("errors", from, to))
}

// logLines tells log messages, most frequent first.
func logLines(a about, patterns []telemetry.LogPattern) []notify.Line {
	from, to := a.window()
	var lines []notify.Line
	for _, p := range patterns {
		tail := ": " + plural(p.Now, "time")
		if p.Before == 0 {
			tail += ", none in the hour before"
		} else {
			tail += ", " + count(p.Before) + " in the hour before"
		}
		text := p.Example
		if p.Now > 1 {
			text = p.Template
		}
		lines = append(lines, notify.Line{
			Text: sentence(text, tail), Link: a.link("logs", from, to, "service", a.Service, "q", phrase(p.Template)),
		})
	}
	return atMost(lines, a.link("logs", from, to, "service", a.Service))
}

// placeholder is what a template has in the place of what differs.
var placeholder = regexp.MustCompile(`<(?:n|id|text)>`)

// phrase is a search for the messages of a template: its longest literal part.
func phrase(template string) string {
	longest := ""
	for _, literal := range placeholder.Split(template, -1) {
		literal = strings.TrimSpace(literal)
		if len(literal) > len(longest) {
			longest = literal
		}
	}
	if len(longest) < 4 {
		return ""
	}
	longest = notify.Clip(longest, 120)
	longest = strings.TrimSpace(strings.TrimSuffix(longest, "…"))
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(longest) + `"`
}

// jobLines tells the jobs that are not well, the newest trouble first.
func jobLines(a about, monitors []catalog.Monitor) []notify.Line {
	monitors = slices.DeleteFunc(slices.Clone(monitors), func(m catalog.Monitor) bool {
		return m.State.Status != catalog.MonitorLate && m.State.Status != catalog.MonitorMissed && m.State.Status != catalog.MonitorFailed
	})
	slices.SortStableFunc(monitors, func(x, y catalog.Monitor) int { return y.State.Since.Compare(x.State.Since) })
	var lines []notify.Line
	for _, m := range monitors {
		tail := ": " + m.State.Status
		if !m.State.Since.IsZero() {
			tail += " since " + a.clock(m.State.Since)
		}
		lines = append(lines, notify.Line{Text: sentence(cmp.Or(m.Name, m.Slug), tail), Link: a.link("monitors/"+m.Slug, time.Time{}, time.Time{})})
	}
	return atMost(lines, a.link("monitors", time.Time{}, time.Time{}))
}

// probeLines tells the probes whose newest result is a failure, each with the regions that say so.
func probeLines(a about, series []telemetry.MetricSeries) []notify.Line {
	type failing struct {
		id, name string
		regions  []string
	}
	var all []failing
	for _, s := range series {
		if len(s.Points) == 0 || s.Points[len(s.Points)-1].Value >= 1 {
			continue
		}
		id := s.Labels[probe.LabelProbe]
		n := slices.IndexFunc(all, func(f failing) bool { return f.id == id })
		if n < 0 {
			n = len(all)
			all = append(all, failing{id: id, name: cmp.Or(s.Labels[probe.LabelName], id)})
		}
		if region := s.Labels[probe.LabelRegion]; region != "" {
			all[n].regions = append(all[n].regions, region)
		}
	}
	var lines []notify.Line
	for _, f := range all {
		tail := " fails"
		if len(f.regions) > 0 {
			tail += " from " + notify.Clip(strings.Join(f.regions, ", "), 80)
		}
		lines = append(lines, notify.Line{Text: sentence(f.name, tail), Link: a.link("probes/"+f.id, time.Time{}, time.Time{})})
	}
	return atMost(lines, a.link("probes", time.Time{}, time.Time{}))
}

// otherLines tells other incidents: those of the service, and whatever else is a page.
func otherLines(a about, open []catalog.Incident) []notify.Line {
	open = slices.DeleteFunc(slices.Clone(open), func(i catalog.Incident) bool {
		mine := a.Service != "" && i.Service == a.Service
		return i.ID == a.ID || i.Project != a.Project || !mine && i.Severity != string(rule.Page)
	})
	rank := func(i catalog.Incident) int {
		if i.Service == a.Service {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(open, func(x, y catalog.Incident) int {
		return cmp.Or(cmp.Compare(rank(x), rank(y)),
			cmp.Compare(incident.Rank(rule.Severity(x.Severity)), incident.Rank(rule.Severity(y.Severity))), y.Since.Compare(x.Since))
	})
	var lines []notify.Line
	for _, i := range open {
		lines = append(lines, notify.Line{
			Text: sentence(i.Title, fmt.Sprintf(" (%s %d, since %s)", i.Severity, i.Number, a.clock(i.Since))),
			Link: a.link("incidents/"+i.ID, time.Time{}, time.Time{}),
		})
	}
	return atMost(lines, a.link("incidents", time.Time{}, time.Time{}))
}

// lastLines tells how the same went before and what people noted then.
func lastLines(a about, last catalog.Incident, entries []catalog.IncidentEntry, names map[string]string) []notify.Line {
	head := last.Since.In(a.zone).Format("2 Jan 2006 15:04 MST") + ", lasted " + notify.Span(last.ResolvedAt.Sub(last.Since))
	if slices.ContainsFunc(entries, func(e catalog.IncidentEntry) bool { return e.Kind == "false_alarm" }) {
		head += ", called a false alarm"
	}
	lines := []notify.Line{{Text: sentence(head+": "+last.Title, ""), Link: a.link("incidents/"+last.ID, time.Time{}, time.Time{})}}
	var said []notify.Line
	for _, e := range entries {
		if e.Kind != "note" && e.Kind != "closed" || e.Text == "" || e.Person == "" {
			continue
		}
		said = append(said, notify.Line{Text: sentence(notify.Clip(cmp.Or(names[e.Person], e.Person), 40)+": "+e.Text, "")})
	}
	// What was noted last is nearest to the cure.
	if most := maxLines - 1; len(said) > most {
		said = said[len(said)-most:]
	}
	return append(lines, said...)
}
