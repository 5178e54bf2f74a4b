package digest

import (
	"cmp"
	"encoding/json"
	"fmt"
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
	// ackWithin is how soon whoever is paged should say so, healWithin how soon a page is over that
	// nobody needed.
	ackWithin  = 15 * time.Minute
	healWithin = 10 * time.Minute
	// A rule with so many pages in this time, of which less than half were acted on, pages too often.
	noisyPages = 3
	noisyShare = 0.5
	noisyTime  = 30 * 24 * time.Hour
)

// paged is one page as hygiene sees it.
type paged struct {
	catalog.Incident
	rule, name string
	falseAlarm bool
}

func (p paged) acted() bool { return !p.AckedAt.IsZero() && !p.falseAlarm }

func (p paged) healed() bool {
	return p.AckedAt.IsZero() && !p.ResolvedAt.IsZero() && p.ResolvedAt.Sub(p.OpenedAt) <= healWithin
}

// Hygiene tells a team how its pages of the week before to went: how many there were, how many were
// acted on, and which rules had better be tickets. incidents are those of 30 days, of all teams; false
// says that there was no page.
func Hygiene(in Input, incidents []catalog.Incident) (notify.Message, bool) {
	in.Team = in.Team.WithDefaults()
	zone := notify.Message{Zone: in.Team.Zone}.Location()
	var month, last []paged
	for _, i := range incidents {
		if i.Team != in.Team.ID || i.Severity != string(rule.Page) || !i.OpenedAt.Before(in.To) || in.To.Sub(i.OpenedAt) > noisyTime || i.State == catalog.IncidentMerged {
			continue
		}
		p := paged{Incident: i}
		var body incident.Incident
		if json.Unmarshal(i.Body, &body) == nil {
			worst, _ := body.Worst()
			p.rule, p.name, p.falseAlarm = worst.Rule, worst.Name, body.FalseAlarm
		}
		month = append(month, p)
		if in.To.Sub(i.OpenedAt) <= week {
			last = append(last, p)
		}
	}
	if len(last) == 0 {
		return notify.Message{}, false
	}
	soon, healed, acted := 0, 0, 0
	for _, p := range last {
		if !p.AckedAt.IsZero() && p.AckedAt.Sub(p.OpenedAt) <= ackWithin {
			soon++
		}
		if p.healed() {
			healed++
		}
		if p.acted() {
			acted++
		}
	}
	m := notify.Message{
		Action: notify.Digest, Severity: notify.SeverityMail, Organisation: in.Organisation, Team: in.Team.Name, At: in.To, Zone: in.Team.Zone,
		Title: fmt.Sprintf("Week to %s: %s, %.0f %% acted on", in.To.In(zone).Format("2 January"), pages(len(last)), share(acted, len(last))*100),
		Facts: []notify.Fact{
			{Name: "Pages", Value: fmt.Sprint(len(last))},
			{Name: "Acknowledged within 15 min", Value: fmt.Sprint(soon)},
			{Name: "Over by themselves within 10 min", Value: fmt.Sprint(healed)},
			{Name: "Acted on", Value: fmt.Sprintf("%.0f %%", share(acted, len(last))*100)},
		},
	}
	if noisy := in.noisy(month); len(noisy) > 0 {
		m.Sections = append(m.Sections, notify.Section{Title: "Rules that page for nothing most of the time", Lines: noisy})
	}
	slices.SortFunc(last, func(a, b paged) int { return cmp.Or(a.OpenedAt.Compare(b.OpenedAt), cmp.Compare(a.Number, b.Number)) })
	list := notify.Section{Title: "The pages of the week"}
	for _, p := range last[:min(len(last), maxGroups)] {
		list.Lines = append(list.Lines, notify.Line{
			Text: notify.Clip(p.OpenedAt.In(zone).Format("Mon 15:04 MST")+" "+p.Title, 200) + p.ending(), Link: in.page(p.Project, "incidents/"+p.ID),
		})
	}
	if more := len(last) - maxGroups; more > 0 {
		list.Lines = append(list.Lines, notify.Line{Text: fmt.Sprintf("and %d more", more), Link: in.page(last[0].Project, "incidents")})
	}
	m.Sections = append(m.Sections, list)
	return m, true
}

// ending says what became of a page.
func (p paged) ending() string {
	var parts []string
	switch {
	case p.falseAlarm:
		parts = append(parts, "a false alarm")
	case !p.AckedAt.IsZero():
		parts = append(parts, "acknowledged after "+minutes(p.AckedAt.Sub(p.OpenedAt)))
	default:
		parts = append(parts, "not acknowledged")
	}
	if p.ResolvedAt.IsZero() {
		parts = append(parts, "still open")
	} else {
		parts = append(parts, "over after "+minutes(p.ResolvedAt.Sub(p.OpenedAt)))
	}
	return ": " + strings.Join(parts, ", ")
}

func minutes(d time.Duration) string {
	if d < time.Minute {
		return fmt.Sprintf("%d s", max(d, 0)/time.Second)
	}
	return fmt.Sprintf("%d min", d/time.Minute)
}

func pages(n int) string {
	if n == 1 {
		return "1 page"
	}
	return fmt.Sprintf("%d pages", n)
}

func share(part, all int) float64 { return float64(part) / float64(max(all, 1)) }

// noisy tells the rules whose pages are mostly for nothing, the worst first.
func (in Input) noisy(month []paged) []notify.Line {
	type record struct {
		name          string
		project       uint32
		rule          string
		pages, worthy int
	}
	var all []record
	for _, p := range month {
		if p.rule == "" {
			continue
		}
		n := slices.IndexFunc(all, func(r record) bool { return r.rule == p.rule && r.project == p.Project })
		if n < 0 {
			n = len(all)
			all = append(all, record{name: p.name, project: p.Project, rule: p.rule})
		}
		all[n].pages++
		if p.acted() {
			all[n].worthy++
		}
	}
	all = slices.DeleteFunc(all, func(r record) bool { return r.pages < noisyPages || share(r.worthy, r.pages) >= noisyShare })
	slices.SortFunc(all, func(a, b record) int {
		return cmp.Or(cmp.Compare(b.pages-b.worthy, a.pages-a.worthy), strings.Compare(a.name, b.name), strings.Compare(a.rule, b.rule))
	})
	var lines []notify.Line
	for _, r := range all[:min(len(all), maxGroups)] {
		l := notify.Line{
			Text: notify.Clip(r.name, 120) + fmt.Sprintf(": %s in 30 days, %d acted on", pages(r.pages), r.worthy), Link: in.page(r.project, "rules/"+r.rule),
		}
		if l.Link != "" {
			l.Links = []notify.Link{{Text: "make it a ticket", URL: l.Link + "#" + AnchorTicket}, {Text: "try a longer hold", URL: l.Link + "#" + AnchorRehearse}}
		}
		lines = append(lines, l)
	}
	return lines
}

// weekly is a team whose mail comes on Mondays, at the time of its digest.
func weekly(t oncall.Team) oncall.Team {
	t = t.WithDefaults()
	if t.Digest.Days != oncall.Off {
		t.Digest.Days = oncall.Weekly
	}
	return t
}
