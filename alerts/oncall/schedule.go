package oncall

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/midwatch/midwatch/alerts/schedule"
)

const (
	maxLayers    = 20
	maxPeople    = 100
	maxOverrides = 200
	maxInterval  = 52
	maxOverride  = 366 * 24 * time.Hour

	// MaxRange bounds the time of which shifts can be asked at once; what is behind it is left out.
	MaxRange = 2 * 366 * 24 * time.Hour
)

// Monthly is a rhythm of layers, besides Daily and Weekly.
const Monthly = "monthly"

// Schedule says who is on call. Later layers win over earlier ones, overrides over layers, and later
// overrides over earlier ones.
type Schedule struct {
	ID        string     `json:"id"`
	Name      string     `json:"name"`
	Layers    []Layer    `json:"layers"`
	Overrides []Override `json:"overrides"` // in the order in which they were made
}

// Layer is people who take turns. The first person's shift begins on Start at Handover and ends at
// the first hand-over after that, which may be sooner than a whole turn.
type Layer struct {
	Name  string `json:"name"`
	Zone  string `json:"zone"`  // a name of the IANA database; UTC if it is empty
	Start string `json:"start"` // a day in the zone, "2026-10-19"
	// Every is Daily, Weekly or Monthly; Interval is how many days, weeks or months a shift lasts, 1
	// if it is 0.
	Every    string `json:"every"`
	Interval int    `json:"interval"`
	Handover string `json:"handover"` // "09:00" if it is empty
	// Weekday ("Mon") is that of weekly hand-overs, Day (1 to 31) that of monthly ones, the month's
	// last where it has fewer. Left out, they are those of Start.
	Weekday string `json:"weekday,omitempty"`
	Day     int    `json:"day,omitempty"`
	// People are ids, in the order of their turns.
	People []string `json:"people"`
	// Restrictions are the only hours in which the layer has somebody on call; none is always.
	Restrictions []Hours `json:"restrictions,omitempty"`
}

// Override puts a person in the place of whoever else would be on call.
type Override struct {
	Person string    `json:"person"`
	From   time.Time `json:"from"`
	To     time.Time `json:"to"`
	By     string    `json:"by"` // who made it
}

// Shift is a time in which one person is on call.
type Shift struct {
	Person   string    `json:"person"`
	From     time.Time `json:"from"`
	To       time.Time `json:"to"`
	Layer    string    `json:"layer,omitempty"` // its name; empty for an override
	Override bool      `json:"override,omitempty"`
}

// WithDefaults returns the layer with what is left out as it counts.
func (l Layer) WithDefaults() Layer {
	if l.Zone == "" {
		l.Zone = "UTC"
	}
	if l.Interval == 0 {
		l.Interval = 1
	}
	if l.Handover == "" {
		l.Handover = "09:00"
	}
	start, err := time.Parse(time.DateOnly, l.Start)
	if err != nil {
		return l
	}
	if l.Every == Weekly && l.Weekday == "" {
		l.Weekday = start.Weekday().String()[:3]
	}
	if l.Every == Monthly && l.Day == 0 {
		l.Day = start.Day()
	}
	return l
}

// WithDefaults returns the schedule with what is left out as it counts.
func (s Schedule) WithDefaults() Schedule {
	s.Layers = slices.Clone(s.Layers)
	for i, l := range s.Layers {
		s.Layers[i] = l.WithDefaults()
	}
	return s
}

// Validate reports the first thing that is wrong; the message names the field.
func (s Schedule) Validate() error {
	if err := validHead(s.ID, s.Name); err != nil {
		return err
	}
	if len(s.Layers) > maxLayers {
		return fmt.Errorf("layers: more than %d", maxLayers)
	}
	names := map[string]bool{}
	for i, l := range s.Layers {
		if _, err := l.compile(); err != nil {
			return fmt.Errorf("layers[%d].%w", i, err)
		}
		if names[l.Name] {
			return fmt.Errorf("layers[%d].name: is that of another layer as well", i)
		}
		names[l.Name] = true
	}
	if len(s.Overrides) > maxOverrides {
		return fmt.Errorf("overrides: more than %d", maxOverrides)
	}
	for i, o := range s.Overrides {
		if err := o.validate(); err != nil {
			return fmt.Errorf("overrides[%d].%w", i, err)
		}
	}
	return nil
}

func (o Override) validate() error {
	if err := validID(o.Person); err != nil {
		return fmt.Errorf("person: %w", err)
	}
	if !o.From.Before(o.To) {
		return errors.New("to: is not after from")
	}
	if o.To.Sub(o.From) > maxOverride {
		return errors.New("to: is more than a year after from")
	}
	if len(o.By) > maxIDBytes {
		return errors.New("by: is not an id")
	}
	return nil
}

// OnCall returns the shift in which at lies, or false if nobody is on call. Layers that are not
// valid have nobody.
func (s Schedule) OnCall(at time.Time) (Shift, bool) {
	return s.compile().onCall(at)
}

// Shifts returns who is on call between from and to: in order, without overlaps, cut at both ends.
// Nobody is on call where a gap is left. It answers for MaxRange after from at the most.
func (s Schedule) Shifts(from, to time.Time) []Shift {
	if end := from.Add(MaxRange); to.After(end) {
		to = end
	}
	return s.compile().shifts(from, to)
}

// Gaps returns when nobody is on call between from and to, within MaxRange after from.
func (s Schedule) Gaps(from, to time.Time) []Span {
	if end := from.Add(MaxRange); to.After(end) {
		to = end
	}
	var gaps []Span
	for _, shift := range s.compile().shifts(from, to) {
		if from.Before(shift.From) {
			gaps = append(gaps, Span{from, shift.From})
		}
		from = shift.To
	}
	if from.Before(to) {
		gaps = append(gaps, Span{from, to})
	}
	return gaps
}

// timetable is a Schedule that has been read.
type timetable struct {
	layers    []layer
	overrides []Override
}

func (s Schedule) compile() timetable {
	t := timetable{overrides: s.Overrides}
	for _, l := range s.Layers {
		if compiled, err := l.compile(); err == nil {
			t.layers = append(t.layers, compiled)
		}
	}
	return t
}

func (t timetable) shifts(from, to time.Time) []Shift {
	var all []Shift
	for _, l := range t.layers {
		all = overlay(all, l.shifts(from, to))
	}
	for _, o := range t.overrides {
		if s, ok := (Span{o.From, o.To}).clip(from, to); ok {
			all = overlay(all, []Shift{{Person: o.Person, From: s.From, To: s.To, Override: true}})
		}
	}
	return all
}

func (t timetable) onCall(at time.Time) (Shift, bool) {
	whole, ok := t.span(at)
	if !ok {
		return Shift{}, false
	}
	// What wins over it may still cut it short.
	for _, s := range t.shifts(whole.From, whole.To) {
		if (Span{s.From, s.To}).Contains(at) {
			return s, true
		}
	}
	return Shift{}, false
}

// span returns from when to when the override or the layer that wins at the instant would have its
// person on call if nothing won over it.
func (t timetable) span(at time.Time) (Span, bool) {
	for _, o := range slices.Backward(t.overrides) {
		if s := (Span{o.From, o.To}); s.Contains(at) {
			return s, true
		}
	}
	for _, l := range slices.Backward(t.layers) {
		if s, ok := l.span(at); ok {
			return s, true
		}
	}
	return Span{}, false
}

// overlay returns the shifts of top and what they leave of those of base. Both are in order and
// without overlaps.
func overlay(base, top []Shift) []Shift {
	if len(base) == 0 {
		return top
	}
	all := make([]Shift, 0, len(base)+2*len(top))
	for _, b := range base {
		for len(top) > 0 && top[0].From.Before(b.To) {
			if b.From.Before(top[0].From) {
				left := b
				left.To = top[0].From
				all = append(all, left)
			}
			if b.From.Before(top[0].To) {
				b.From = top[0].To
			}
			if b.To.Before(top[0].To) {
				break // the next of base may be under it as well
			}
			all, top = append(all, top[0]), top[1:]
		}
		if b.From.Before(b.To) {
			all = append(all, b)
		}
	}
	return append(all, top...)
}

// layer is a Layer that has been read. Its hand-overs are readings of the clock on the wall, as times
// in UTC, which are counted from the anchor: the last hand-over that is not after the layer's
// beginning.
type layer struct {
	name         string
	every        string
	interval     int
	day          int
	begin        time.Time // the reading
	anchor       time.Time // the date
	handover     time.Duration
	people       []string
	restrictions week
}

func (l Layer) compile() (layer, error) {
	l = l.WithDefaults()
	if err := validName(l.Name); err != nil {
		return layer{}, err
	}
	location, err := schedule.Zone(l.Zone)
	if err != nil {
		return layer{}, fmt.Errorf("zone: %w", err)
	}
	start, err := time.Parse(time.DateOnly, l.Start)
	if err != nil || start.Year() < 1970 || start.Year() > 2200 {
		return layer{}, fmt.Errorf(`start: %.20q is not a day such as "2026-10-19"`, l.Start)
	}
	if l.Interval < 1 || l.Interval > maxInterval {
		return layer{}, fmt.Errorf("interval: %d is not between 1 and %d", l.Interval, maxInterval)
	}
	handover, err := parseClock(l.Handover)
	if err != nil {
		return layer{}, fmt.Errorf("handover: %w", err)
	}
	if handover == 24*time.Hour {
		return layer{}, errors.New("handover: the day begins at 00:00")
	}
	anchor := start
	switch l.Every {
	case Daily:
	case Weekly:
		weekday, err := parseWeekday(l.Weekday)
		if err != nil {
			return layer{}, fmt.Errorf("weekday: %w", err)
		}
		anchor = start.AddDate(0, 0, -int((start.Weekday()-weekday+7)%7))
	case Monthly:
		if l.Day < 1 || l.Day > 31 {
			return layer{}, fmt.Errorf("day: %d is not between 1 and 31", l.Day)
		}
		if anchor = monthDay(start, 0, l.Day); anchor.After(start) {
			anchor = monthDay(start, -1, l.Day)
		}
	default:
		return layer{}, fmt.Errorf("every: is %q, %q or %q, not %.20q", Daily, Weekly, Monthly, l.Every)
	}
	if len(l.People) == 0 {
		return layer{}, errors.New("people: are missing")
	}
	if err := validIDs("people", l.People, maxPeople); err != nil {
		return layer{}, err
	}
	if err := validHours("restrictions", l.Restrictions); err != nil {
		return layer{}, err
	}
	return layer{
		name: l.Name, every: l.Every, interval: l.Interval, day: l.Day,
		begin: start.Add(handover), anchor: anchor, handover: handover, people: l.People,
		restrictions: week{compileWeek(l.Restrictions, l.Zone).hours, location},
	}, nil
}

// monthDay returns the day of the month that lies months after that of the date, or the month's last
// if it has none such.
func monthDay(date time.Time, months, day int) time.Time {
	first := time.Date(date.Year(), date.Month()+time.Month(months), 1, 0, 0, 0, 0, time.UTC)
	last := first.AddDate(0, 1, -1).Day()
	return first.AddDate(0, 0, min(day, last)-1)
}

// handoverAt returns when turn k begins; turn 0 begins with the layer.
func (l layer) handoverAt(k int) time.Time {
	if k <= 0 {
		return schedule.Instant(l.begin, l.restrictions.location)
	}
	var day time.Time
	switch l.every {
	case Daily:
		day = l.anchor.AddDate(0, 0, k*l.interval)
	case Weekly:
		day = l.anchor.AddDate(0, 0, 7*k*l.interval)
	default:
		day = monthDay(l.anchor, k*l.interval, l.day)
	}
	return schedule.Instant(day.Add(l.handover), l.restrictions.location)
}

// turn returns the number of the turn in which at lies; 0 if that is before the layer's beginning.
// Where a clock change leaves nothing of a turn it is skipped.
func (l layer) turn(at time.Time) int {
	today := date(schedule.Wall(at, l.restrictions.location))
	var units int
	switch l.every {
	case Daily:
		units = int(today.Sub(l.anchor) / (24 * time.Hour)) // readings know no clock changes
	case Weekly:
		units = int(today.Sub(l.anchor) / (7 * 24 * time.Hour))
	default:
		units = 12*(today.Year()-l.anchor.Year()) + int(today.Month()-l.anchor.Month())
	}
	// The turn before that of today's date has begun for certain.
	k := max(units/l.interval-1, 0)
	for !l.handoverAt(k + 1).After(at) {
		k++
	}
	return k
}

// shifts returns who is on call in this layer between from and to.
func (l layer) shifts(from, to time.Time) []Shift {
	if begin := l.handoverAt(0); from.Before(begin) {
		from = begin
	}
	if !from.Before(to) {
		return nil
	}
	hours := []Span{{from, to}}
	if len(l.restrictions.hours) > 0 {
		hours = l.restrictions.spans(from, to)
	}
	var (
		all   []Shift
		k     = l.turn(from)
		begin = l.handoverAt(k)
	)
	for begin.Before(to) {
		end := l.handoverAt(k + 1)
		for len(hours) > 0 && hours[0].From.Before(end) {
			if s, ok := hours[0].clip(begin, end); ok {
				all = append(all, Shift{Person: l.people[k%len(l.people)], From: s.From, To: s.To, Layer: l.name})
			}
			if hours[0].To.After(end) {
				break // the next turn has the rest
			}
			hours = hours[1:]
		}
		k, begin = k+1, end
	}
	return all
}

// span returns the shift of this layer in which at lies.
func (l layer) span(at time.Time) (Span, bool) {
	k := l.turn(at)
	for _, s := range l.shifts(l.handoverAt(k), l.handoverAt(k+1)) {
		if span := (Span{s.From, s.To}); span.Contains(at) {
			return span, true
		}
	}
	return Span{}, false
}
