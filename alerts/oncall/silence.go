package oncall

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/midwatch/midwatch/alerts/match"
	"github.com/midwatch/midwatch/alerts/schedule"
)

const (
	maxSilence = 30 * 24 * time.Hour
	maxWindow  = 7 * 24 * time.Hour
)

// Silence mutes new messages of what it matches; it never mutes that something has ended.
type Silence struct {
	ID       string    `json:"id"`
	Matchers match.Set `json:"matchers"`
	From     time.Time `json:"from"`
	To       time.Time `json:"to"`
	Author   string    `json:"author"`
	Reason   string    `json:"reason"`
	// UntilResolved ends it early, when the incident resolves.
	UntilResolved bool `json:"until_resolved,omitempty"`
}

// Covers reports whether it mutes what has these labels at the instant.
func (s Silence) Covers(labels map[string]string, at time.Time) bool {
	return (Span{s.From, s.To}).Contains(at) && s.Matchers.Match(labels)
}

// Validate reports the first thing that is wrong; the message names the field.
func (s Silence) Validate() error {
	if len(s.ID) > maxIDBytes {
		return errors.New("id: is not an id")
	}
	if err := s.Matchers.Validate(); err != nil {
		return err
	}
	// What matches no label at all matches all there is.
	if s.Matchers.Match(nil) {
		return errors.New("matchers: would mute everything; name a value that has to be there")
	}
	if !s.From.Before(s.To) {
		return errors.New("to: is not after from")
	}
	if s.To.Sub(s.From) > maxSilence {
		return errors.New("to: a silence lasts 30 days at most")
	}
	if err := validID(s.Author); err != nil {
		return fmt.Errorf("author: %w", err)
	}
	switch {
	case strings.TrimSpace(s.Reason) == "":
		return errors.New("reason: is missing")
	case len(s.Reason) > maxTextBytes || !utf8.ValidString(s.Reason):
		return fmt.Errorf("reason: has more than %d bytes or is no text", maxTextBytes)
	}
	return nil
}

// Window is a time of maintenance: what it matches is not judged.
type Window struct {
	ID       string    `json:"id"`
	Name     string    `json:"name"`
	Matchers match.Set `json:"matchers"` // none match everything
	From     time.Time `json:"from"`
	To       time.Time `json:"to"`
	// Zone is whose clock repetitions follow; UTC if it is empty.
	Zone string `json:"zone"`
	// Repeat is empty, or a rule of RFC 5545 of which these parts are known: FREQ=DAILY, WEEKLY or
	// MONTHLY, INTERVAL, BYDAY, and UNTIL or COUNT.
	Repeat string `json:"repeat,omitempty"`
}

// WithDefaults returns the window with what is left out as it counts.
func (w Window) WithDefaults() Window {
	if w.Zone == "" {
		w.Zone = "UTC"
	}
	return w
}

// Contains reports whether at lies in the window or one of its repetitions.
func (w Window) Contains(at time.Time) bool {
	s, ok := w.Next(at)
	return ok && s.Contains(at)
}

// Covers reports whether what has these labels is under maintenance at the instant.
func (w Window) Covers(labels map[string]string, at time.Time) bool {
	return w.Matchers.Match(labels) && w.Contains(at)
}

// Next returns the repetition in which at lies, or else the first that begins after it; false if
// there is none within the next 12 years. A window whose Repeat cannot be read happens once.
func (w Window) Next(at time.Time) (Span, bool) {
	once := Span{w.From, w.To}
	if at.Before(w.To) {
		return once, w.From.Before(w.To)
	}
	if w.Repeat == "" {
		return Span{}, false
	}
	location, err := schedule.Zone(w.Zone)
	if err != nil {
		return Span{}, false
	}
	start := schedule.Wall(w.From, location)
	r, err := parseRepeat(w.Repeat, location)
	if err != nil {
		return Span{}, false
	}
	length := w.length(location)
	// A zone that leaves out a day moves what is in it by as much.
	for begin := range r.readings(start, schedule.Wall(at, location).Add(-length-48*time.Hour)) {
		if !begin.After(start) {
			continue // that was the first, which is over
		}
		s := Span{schedule.Instant(begin, location), schedule.Instant(begin.Add(length), location)}
		if s.From.Before(s.To) && at.Before(s.To) {
			return s, true
		}
	}
	return Span{}, false
}

// length is how long the window lasts by the clock on the wall.
func (w Window) length(location *time.Location) time.Duration {
	length := schedule.Wall(w.To, location).Sub(schedule.Wall(w.From, location))
	if length <= 0 { // the clock was put back meanwhile
		return w.To.Sub(w.From)
	}
	return length
}

// Validate reports the first thing that is wrong; the message names the field. The first window has
// to be one that the rule of its repetitions names, and they may not touch: what is always under
// maintenance is not watched.
func (w Window) Validate() error {
	if err := validHead(w.ID, w.Name); err != nil {
		return err
	}
	if err := w.Matchers.Validate(); err != nil {
		return err
	}
	if !w.From.Before(w.To) {
		return errors.New("to: is not after from")
	}
	if w.To.Sub(w.From) > maxWindow {
		return errors.New("to: a maintenance window lasts 7 days at most")
	}
	location, err := schedule.Zone(w.Zone)
	if err != nil {
		return fmt.Errorf("zone: %w", err)
	}
	if w.Repeat == "" {
		return nil
	}
	r, err := parseRepeat(w.Repeat, location)
	if err != nil {
		return fmt.Errorf("repeat: %w", err)
	}
	start := schedule.Wall(w.From, location)
	if !r.names(start) {
		return fmt.Errorf("repeat: the window begins on a %s, which the rule does not name", start.Weekday())
	}
	length, seen := w.length(location), 0
	var before time.Time
	for begin := range r.readings(start, start) {
		// A few dozen show all distances there are but those between months of 28 to 31 days, which
		// are longer than a window.
		if seen++; seen > 50 {
			break
		}
		if seen > 1 && begin.Sub(before) <= length {
			return errors.New("repeat: the windows would touch one another")
		}
		before = begin
	}
	if seen == 0 {
		return errors.New("repeat: the rule ends before the window begins")
	}
	return nil
}
