// Package digest tells a team in the morning what nobody was woken for, and once a week how well its
// pages were worth it. A line of a digest is in exactly one, whatever crashes and however many
// processes make digests.
package digest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/midwatch/midwatch/alerts/incident"
	"github.com/midwatch/midwatch/alerts/notify"
	"github.com/midwatch/midwatch/alerts/oncall"
	"github.com/midwatch/midwatch/alerts/rule"
	"github.com/midwatch/midwatch/storage/catalog"
)

const (
	maxGroups = 15 // of a section
	maxSpans  = 4  // of a group
	maxText   = 300
	maxCounts = 3 // in the first line
	week      = 7 * 24 * time.Hour
)

// Anchors of the page of a rule: where a reader of a digest says what would have been better.
const (
	AnchorSooner   = "sooner"
	AnchorNever    = "never"
	AnchorTicket   = "ticket"
	AnchorRehearse = "rehearse"
)

// sections are those of a digest in their order, each with its title and how the first line counts it.
var sections = []struct{ name, title, counted string }{
	{incident.SectionHealed, "Healed by itself", "healed by itself"},
	{incident.SectionUnseen, "Came and went while alerting was down", "while alerting was down"},
	{incident.SectionInconclusive, "Began, and then there was no data", "without data to tell"},
	{incident.SectionRecurring, "Keeps coming back", "recurring"},
	{incident.SectionWithdrawn, "Over before anybody was told", "over before it was told"},
	{incident.SectionHealth, "Rules that lack data or cannot be evaluated", "about rules"},
	{incident.SectionDelivery, "Receivers that could not be reached", "about receivers"},
	{incident.SectionMail, "For information", "for information"},
}

// Input is what a digest is made of.
type Input struct {
	Organisation string // its name
	Team         oncall.Team
	// Lines are those of the digest, Week those of the last seven days, sent or not.
	Lines, Week []catalog.DigestLine
	// From and To are when the last digest was due, and this one.
	From, To time.Time
	// Projects are the names of the organisation's projects, by number.
	Projects map[uint32]string
	// URL is that of the pages, without a slash at its end.
	URL string
}

// line is a line as it is kept, and as it reads.
type line struct {
	catalog.DigestLine
	incident.Line
}

// group is what lines that are alike come to.
type group struct {
	key   string
	lines []line
}

// Make makes the digest of a team; false says that there is nothing to tell.
func Make(in Input) (notify.Message, bool) {
	lines := read(in.Lines)
	if len(lines) == 0 {
		return notify.Message{}, false
	}
	in.Team = in.Team.WithDefaults()
	zone := notify.Message{Zone: in.Team.Zone}.Location()
	seen := map[string]int{}
	for _, l := range read(in.Week) {
		seen[l.key()]++
	}
	m := notify.Message{
		Action: notify.Digest, Severity: notify.SeverityMail, Organisation: in.Organisation, Team: in.Team.Name, At: in.To, Zone: in.Team.Zone,
		Facts: []notify.Fact{{Name: "Period", Value: in.From.In(zone).Format("Mon 2 Jan 15:04") + " – " + in.To.In(zone).Format("Mon 2 Jan 15:04 MST")}},
	}
	var counts []string
	rest := 0
	for _, s := range sections {
		var mine []line
		for _, l := range lines {
			if l.DigestLine.Section == s.name {
				mine = append(mine, l)
			}
		}
		if len(mine) == 0 {
			continue
		}
		if len(counts) < maxCounts {
			counts = append(counts, fmt.Sprintf("%d %s", len(mine), s.counted))
		} else {
			rest += len(mine)
		}
		m.Sections = append(m.Sections, notify.Section{Title: s.title, Lines: in.tell(mine, seen, zone)})
	}
	if rest > 0 {
		counts = append(counts, fmt.Sprintf("%d more", rest))
	}
	m.Title = notify.Clip(in.To.In(zone).Format("2 January")+": "+strings.Join(counts, ", "), 120)
	if page := in.page(lines[0].Project, "incidents"); page != "" {
		m.Links = []notify.Link{{Text: "All incidents", URL: page}}
	}
	return m, true
}

// read reads lines; one that cannot be read is told as such, for it was something. A section that is
// not known is information.
func read(kept []catalog.DigestLine) []line {
	lines := make([]line, 0, len(kept))
	for _, k := range kept {
		l := line{DigestLine: k}
		if err := json.Unmarshal(k.Body, &l.Line); err != nil {
			l.Line = incident.Line{Text: "something that cannot be read"}
		}
		if l.To.IsZero() {
			l.To = k.At
		}
		if l.From.IsZero() {
			l.From = l.To
		}
		if !slices.ContainsFunc(sections, func(s struct{ name, title, counted string }) bool { return s.name == k.Section }) {
			l.DigestLine.Section = incident.SectionMail
		}
		lines = append(lines, l)
	}
	return lines
}

// told reports whether a line is told in its own words, not by the name of its rule and its times.
func (l line) told() bool {
	switch l.DigestLine.Section {
	case incident.SectionHealth, incident.SectionDelivery, incident.SectionMail, incident.SectionWithdrawn:
		return true
	}
	return l.Name == ""
}

// key is what lines that are alike have in common.
func (l line) key() string {
	parts := []string{l.DigestLine.Section, fmt.Sprint(l.Project)}
	if l.told() {
		parts = append(parts, l.Text)
	} else {
		parts = append(parts, cmp.Or(l.Rule, l.Name), l.Group, l.Service)
	}
	return strings.Join(parts, "\x00")
}

// tell writes the lines of a section, those that happened most often first.
func (in Input) tell(lines []line, seen map[string]int, zone *time.Location) []notify.Line {
	var groups []group
	for _, l := range lines {
		key := l.key()
		n := slices.IndexFunc(groups, func(g group) bool { return g.key == key })
		if n < 0 {
			n = len(groups)
			groups = append(groups, group{key: key})
		}
		groups[n].lines = append(groups[n].lines, l)
	}
	slices.SortStableFunc(groups, func(a, b group) int {
		return cmp.Or(cmp.Compare(len(b.lines), len(a.lines)), a.lines[0].From.Compare(b.lines[0].From))
	})
	var out []notify.Line
	for _, g := range groups[:min(len(groups), maxGroups)] {
		out = append(out, in.line(g, seen[g.key], zone))
	}
	if more := len(groups) - maxGroups; more > 0 {
		out = append(out, notify.Line{Text: fmt.Sprintf("and %d more", more), Link: in.page(groups[0].lines[0].Project, "incidents")})
	}
	return out
}

// line tells a group: "Checkout errors: 3 times, 02:41–02:42, 03:10–03:11, 04:00; worst 12 %; 9 in 7 days".
func (in Input) line(g group, inWeek int, zone *time.Location) notify.Line {
	first, last := g.lines[0], g.lines[len(g.lines)-1]
	name := last.Name
	if last.Group != "" && !last.told() {
		name += " (" + notify.Clip(last.Group, 60) + ")"
	}
	if last.told() {
		name = last.Text
	}
	if len(in.Projects) > 1 && in.Projects[last.Project] != "" {
		name = in.Projects[last.Project] + " / " + name
	}
	var tail []string
	if n := len(g.lines); n > 1 {
		tail = append(tail, fmt.Sprintf("%d times", n))
	}
	if last.DigestLine.Section != incident.SectionDelivery { // whose words say when
		tail = append(tail, in.spans(g.lines, zone)...)
	}
	text := strings.Join(tail, ", ")
	if worst, ok := worstOf(g.lines); ok && !last.told() {
		text += "; worst " + worst
	}
	if inWeek > len(g.lines) {
		text += fmt.Sprintf("; %d times in 7 days", inWeek)
	}
	text = strings.TrimPrefix(text, "; ")
	head := notify.Clip(strings.Join(strings.Fields(name), " "), maxText-len(text))
	out := notify.Line{Text: head}
	switch {
	case text == "":
	case last.told():
		out.Text = head + ", " + text
	default:
		out.Text = head + ": " + text
	}
	switch {
	case last.Incident != "":
		out.Link = in.page(last.Project, "incidents/"+last.Incident)
	case last.Rule != "":
		out.Link = in.page(last.Project, "rules/"+last.Rule)
		if out.Link != "" {
			out.Link += "?from=" + first.From.Add(-time.Hour).UTC().Format(time.RFC3339) + "&to=" + last.To.Add(time.Hour).UTC().Format(time.RFC3339)
		}
	}
	if rulePage := in.page(last.Project, "rules/"+last.Rule); rulePage != "" && last.Rule != "" && last.DigestLine.Section != incident.SectionHealth {
		out.Links = []notify.Link{{Text: "page sooner", URL: rulePage + "#" + AnchorSooner}, {Text: "never tell", URL: rulePage + "#" + AnchorNever}}
	}
	return out
}

// spans say when each line was, the first few of them.
func (in Input) spans(lines []line, zone *time.Location) []string {
	today := in.To.In(zone)
	var out []string
	for _, l := range lines[:min(len(lines), maxSpans)] {
		from, to := l.From.In(zone), l.To.In(zone)
		layout := "15:04"
		if from.YearDay() != today.YearDay() || from.Year() != today.Year() {
			layout = "Mon 15:04"
		}
		text := from.Format(layout)
		switch until := to.Format("15:04"); {
		case to.Sub(from) >= 24*time.Hour:
			text += "–" + to.Format("Mon 15:04")
		case to.Sub(from) >= time.Minute && until != from.Format("15:04"):
			text += "–" + until
		}
		out = append(out, text)
	}
	if more := len(lines) - maxSpans; more > 0 {
		out = append(out, fmt.Sprintf("and %d more", more))
	}
	return out
}

// worstOf is the worst value of lines, where a limit says which way is worse.
func worstOf(lines []line) (string, bool) {
	worst, limit, unit := math.NaN(), "", ""
	for _, l := range lines {
		if l.Limit == "" {
			continue
		}
		low := strings.HasPrefix(l.Limit, "<")
		if math.IsNaN(worst) || low && l.Worst < worst || !low && l.Worst > worst {
			worst, limit, unit = l.Worst, l.Limit, l.Unit
		}
	}
	if limit == "" {
		return "", false
	}
	return rule.Quantity(worst, unit) + " (limit " + limit + ")", true
}

func (in Input) page(project uint32, path string) string {
	if in.URL == "" || project == 0 {
		return ""
	}
	return fmt.Sprintf("%s/p/%d/%s", in.URL, project, path)
}
