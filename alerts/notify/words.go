package notify

import (
	"fmt"
	"time"
)

// Span says a duration as people do: 45 s, 6 min, 1 h 5 min, 2 d 3 h.
func Span(d time.Duration) string {
	switch d = d.Round(time.Second); {
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 24*time.Hour:
		return two(int(d.Hours()), "h", int(d.Minutes())%60, "min")
	}
	return two(int(d.Hours())/24, "d", int(d.Hours())%24, "h")
}

func two(a int, unitA string, b int, unitB string) string {
	if b == 0 {
		return fmt.Sprintf("%d %s", a, unitA)
	}
	return fmt.Sprintf("%d %s %d %s", a, unitA, b, unitB)
}

// clock says a time in the reader's zone.
func (m Message) clock(t time.Time) string {
	return t.In(m.Location()).Format("15:04 MST, Mon 2 Jan 2006")
}

// When is the sentence that says since when, or from when to when.
func (m Message) When() string {
	switch {
	case m.Since.IsZero():
		return ""
	case m.Action.Ends() && !m.Ended.IsZero():
		until := m.Ended.In(m.Location())
		layout := "15:04 MST"
		if since := m.Since.In(m.Location()); until.YearDay() != since.YearDay() || until.Year() != since.Year() {
			layout = "15:04 MST, Mon 2 Jan 2006"
		}
		return fmt.Sprintf("Lasted %s, from %s to %s.", Span(m.Ended.Sub(m.Since)), m.clock(m.Since), until.Format(layout))
	case m.At.Sub(m.Since) < time.Second:
		return fmt.Sprintf("Since %s.", m.clock(m.Since))
	}
	return fmt.Sprintf("Since %s (%s before this message).", m.clock(m.Since), Span(m.At.Sub(m.Since)))
}

// Sentences are what a message says about its time, in order: since when, how it ended, why it is late, when it is due.
func Sentences(m Message) []string {
	var out []string
	add := func(sentence string) {
		if sentence != "" {
			out = append(out, sentence)
		}
	}
	add(m.When())
	add(m.Outcome)
	if m.Late != "" {
		add("Late: " + m.Late)
	}
	if !m.Due.IsZero() {
		add("Due " + m.clock(m.Due) + ".")
	}
	return out
}
