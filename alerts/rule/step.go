package rule

import (
	"encoding/json"
	"fmt"
	"math/bits"
	"strconv"
	"strings"
)

// Verdict is what one slot says about one group.
type Verdict byte

// The verdicts. The last four are none: they freeze.
const (
	Breach       Verdict = 'B'
	Grey         Verdict = 'G' // neither bad enough to fire nor good enough to recover
	OK           Verdict = 'O'
	None         Verdict = 'N' // no data
	Insufficient Verdict = 'I' // too few samples to say anything
	Failed       Verdict = 'E' // the query failed
	Held         Verdict = 'H' // data incomplete, or maintenance
)

// String is the verdict's letter.
func (v Verdict) String() string { return string(rune(v)) }

// MarshalText writes the verdict's letter.
func (v Verdict) MarshalText() ([]byte, error) { return []byte{byte(v)}, nil }

// UnmarshalText reads a verdict's letter.
func (v *Verdict) UnmarshalText(text []byte) error {
	if len(text) != 1 || !strings.ContainsRune("BGONIEH", rune(text[0])) {
		return fmt.Errorf("%.20q is no verdict", text)
	}
	*v = Verdict(text[0])
	return nil
}

// Status is the state of one instance.
type Status uint8

// The states. Resolved is ok with a memory: what fires again within Rule.Reopen is the same incident.
const (
	StatusOK Status = iota
	Pending
	Firing
	Recovering
	Resolved
)

var statuses = [...]string{"ok", "pending", "firing", "recovering", "resolved"}

// String is the state's name.
func (s Status) String() string { return statuses[s] }

// Open says whether somebody has been told, or would have been.
func (s Status) Open() bool { return s == Firing || s == Recovering }

// MarshalText writes the state's name.
func (s Status) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads a state's name.
func (s *Status) UnmarshalText(text []byte) error {
	for i, name := range statuses {
		if name == string(text) {
			*s = Status(i)
			return nil
		}
	}
	return fmt.Errorf("%.20q is no state", text)
}

// EventKind is what happened to an instance.
type EventKind string

// The kinds of events. Those of the first group are for the timeline only.
const (
	EventPending    EventKind = "pending"
	EventRecovering EventKind = "recovering"
	EventRebound    EventKind = "rebound" // bad again while recovering

	EventFire     EventKind = "fire"     // a new incident
	EventReopened EventKind = "reopened" // the same incident, its next episode
	EventFlapping EventKind = "flapping" // as fire or reopened, and from now on it closes slowly
	EventResolved EventKind = "resolved"

	EventTransient    EventKind = "transient"     // healed by itself before anybody was told
	EventRecurring    EventKind = "recurring"     // too many transients
	EventInconclusive EventKind = "inconclusive"  // evidence without verdicts for too long
	EventCameAndWent  EventKind = "came_and_went" // fired at Since and resolved at Slot while nobody evaluated

	EventNoDataOpen  EventKind = "nodata_open"
	EventNoDataClose EventKind = "nodata_close"
	EventErrorOpen   EventKind = "error_open"
	EventErrorClose  EventKind = "error_close"
)

// Trigger says whether the event opens an incident or an episode of one.
func (k EventKind) Trigger() bool {
	return k == EventFire || k == EventReopened || k == EventFlapping
}

// Reason is why something resolved other than by good verdicts.
type Reason string

// The reasons.
const (
	DataGone    Reason = "data_gone" // not confirmed
	RuleRemoved Reason = "rule_removed"
	RulePaused  Reason = "rule_paused"
	RuleChanged Reason = "rule_changed" // its identity; the old groups are no more
	EntityGone  Reason = "entity_gone"
	// IssueResolved says that somebody resolved the issue.
	IssueResolved Reason = "issue_resolved"
)

// Event is something that happened to an instance at a slot.
type Event struct {
	Kind   EventKind `json:"kind"`
	Reason Reason    `json:"reason,omitempty"`
	// Slot is when it happened, also in a catch-up; Since is the first bad slot. Unix seconds.
	Slot  int64 `json:"slot"`
	Since int64 `json:"since,omitempty"`
	// Incident counts the incidents of the instance from 1, Episode the onsets of the incident.
	Incident int     `json:"incident,omitempty"`
	Episode  int     `json:"episode,omitempty"`
	Value    float64 `json:"value"`
	// Worst is the worst value since Since.
	Worst float64 `json:"worst"`
	// Level is the index of the level, 0 the worst.
	Level int `json:"level,omitempty"`
	// Late says that it happened while nobody evaluated.
	Late bool `json:"late,omitempty"`
	// Muted says that a higher level is open: for the timeline, nobody is told.
	Muted bool `json:"muted,omitempty"`
}

// Machine is what Step needs of a rule and one of its levels. All times are in seconds.
type Machine struct {
	Interval, For, RecoverFor         int64
	Reopen                            int64
	FlapWindow, FlapExit, RecurWindow int64
	NoDataFor, StaleClose             int64
	ErrorFor, Abandon, CatchUpMax     int64
	FlapN, RecurN                     int
	// Share is the share of bad verdicts in the last For that is evidence; 0 is consecutive mode.
	Share  float64
	NoData NoDataPolicy
	// LowIsBad says that the lower of two values is the worse.
	LowIsBad bool
}

const (
	errorFor   = 5 * Minute
	abandon    = 10 * Minute
	catchUpMax = Hour
	recurEvery = Day
	// maxMemory is how many onsets and transients are remembered, so the most that Flap.N and Recur.N
	// can be; maxSlots is how many verdicts the ratio mode looks at.
	maxMemory = 8
	maxSlots  = 256
)

// Machine is the machine of the rule's level i. The rule has its defaults and is valid.
func (r Rule) Machine(i int) Machine {
	l := r.Levels[i]
	m := Machine{
		Interval: int64(r.Interval), For: int64(*l.For), RecoverFor: int64(*r.RecoverFor), Reopen: int64(*r.Reopen),
		FlapN: r.Flap.N, FlapWindow: int64(r.Flap.Window), FlapExit: int64(r.Flap.Exit),
		RecurN: r.Recur.N, RecurWindow: int64(r.Recur.Window),
		NoData: r.NoData, NoDataFor: int64(r.NoDataFor), StaleClose: int64(r.StaleClose),
		ErrorFor: int64(errorFor), Abandon: int64(abandon), CatchUpMax: int64(catchUpMax),
	}
	if r.Debounce.Mode == RatioMode {
		m.Share = r.Debounce.Ratio
	}
	if fire, err := ParseBound(l.Fire); err == nil {
		m.LowIsBad = !fire.Op.Up()
	} else {
		m.LowIsBad = r.Kind == TLSExpiry || r.Kind == Forecasted // their value is the time that is left
	}
	return m
}

// State is what is known about one instance: one group at one level. The zero State is that of a
// group never seen. It is a value; as JSON it is small.
type State struct {
	Status Status `json:"status"`
	// Since is the first bad slot of the evidence or episode. Pend is Since moved on by the slots
	// without a verdict, so that they do not count as evidence. Recovery is the same for good slots.
	Since      int64 `json:"since,omitzero"`
	Pend       int64 `json:"pend,omitzero"`
	LastBreach int64 `json:"last_breach,omitzero"`
	Recovery   int64 `json:"recovery,omitzero"`
	ResolvedAt int64 `json:"resolved_at,omitzero"`
	// Onsets and Transients are the newest of each; RecurredAt is when the last ticket for transients
	// was due.
	Onsets     Times `json:"onsets,omitzero"`
	Transients Times `json:"transients,omitzero"`
	RecurredAt int64 `json:"recurred_at,omitzero"`
	Flapping   bool  `json:"flapping,omitzero"`
	Incident   int   `json:"incident,omitzero"`
	Episode    int   `json:"episode,omitzero"`
	// SilentSince is the first slot without a verdict, NoDataSince and ErrorSince those of the
	// overlays; NoData and Error say that these have been told.
	SilentSince int64 `json:"silent_since,omitzero"`
	NoDataSince int64 `json:"nodata_since,omitzero"`
	ErrorSince  int64 `json:"error_since,omitzero"`
	NoData      bool  `json:"nodata,omitzero"`
	Error       bool  `json:"error,omitzero"`
	// Muted says that the trigger of this episode was muted by a higher level.
	Muted bool `json:"muted,omitzero"`
	// History is kept in ratio mode only.
	History History `json:"history,omitzero"`
	// LastSlot is the newest slot that was stepped; older ones are ignored.
	LastSlot int64   `json:"last_slot,omitzero"`
	Last     Verdict `json:"last,omitzero"`
	Value    float64 `json:"value,omitzero"`
	Worst    float64 `json:"worst,omitzero"`
}

// Observation is a verdict and the value that it was made from.
type Observation struct {
	Verdict Verdict
	Value   float64
}

// Step moves s on by the observation of one slot and appends what happened to out. It allocates
// only what append does. A slot that is not after s.LastSlot changes nothing, so that a repetition
// after a crash is harmless.
func Step(m *Machine, s *State, o Observation, slot int64, out []Event) []Event {
	if slot <= s.LastSlot {
		return out
	}
	if o.Value-o.Value != 0 { // NaN or infinite: no number that can be kept or said
		o.Value = 0
	}
	s.LastSlot, s.Last = slot, o.Verdict
	v := o.Verdict
	v, out = s.health(m, v, slot, out)
	switch v {
	case None, Insufficient, Failed, Held:
		return s.freeze(m, v, slot, out)
	}
	s.SilentSince = 0
	s.Value = o.Value
	bad := v == Breach
	if m.Share > 0 {
		s.History.add(slot/m.Interval, bad)
	}
	if s.Status == Resolved && slot-s.ResolvedAt >= m.Reopen {
		s.Status = StatusOK
	}
	if bad {
		s.LastBreach = slot
		if s.Status == StatusOK || s.Status == Resolved {
			s.Status, s.Pend, s.Since, s.Worst = Pending, slot, slot, o.Value
			out = append(out, s.event(EventPending, slot))
		} else if (o.Value > s.Worst) != m.LowIsBad {
			s.Worst = o.Value
		}
	}
	switch s.Status {
	case Pending:
		return s.debounce(m, v, slot, out)
	case Firing:
		if v == OK {
			s.Status, s.Recovery = Recovering, slot
			out = append(out, s.event(EventRecovering, slot))
			if m.RecoverFor == 0 && !s.Flapping {
				out = s.resolve("", slot, out)
			}
		}
	case Recovering:
		if v != OK {
			s.Status = Firing
			return append(out, s.event(EventRebound, slot))
		}
		hold := m.RecoverFor
		if s.Flapping {
			hold = m.FlapExit
		}
		if slot-s.Recovery >= hold {
			out = s.resolve("", slot, out)
		}
	}
	return out
}

// health keeps the overlays of missing data and of errors, and says what no data means.
func (s *State) health(m *Machine, v Verdict, slot int64, out []Event) (Verdict, []Event) {
	was := v
	switch v {
	case None:
		if s.NoDataSince == 0 {
			s.NoDataSince = slot
		}
		switch m.NoData {
		case NoDataOK:
			v = OK
		case NoDataBreach:
			v = Breach
		default:
			if !s.NoData && slot-s.NoDataSince >= m.NoDataFor {
				s.NoData = true
				out = append(out, s.overlay(EventNoDataOpen, s.NoDataSince, slot))
			}
		}
	case OK, Grey, Breach, Insufficient:
		if s.NoData {
			out = append(out, s.overlay(EventNoDataClose, s.NoDataSince, slot))
		}
		s.NoDataSince, s.NoData = 0, false
	}
	if was != Failed {
		if s.Error {
			out = append(out, s.overlay(EventErrorClose, s.ErrorSince, slot))
		}
		s.ErrorSince, s.Error = 0, false
		return v, out
	}
	if s.ErrorSince == 0 {
		s.ErrorSince = slot
	}
	if !s.Error && slot-s.ErrorSince >= m.ErrorFor {
		s.Error = true
		out = append(out, s.overlay(EventErrorOpen, s.ErrorSince, slot))
	}
	return v, out
}

// freeze is a slot without a verdict: time does not pass for the evidence.
func (s *State) freeze(m *Machine, v Verdict, slot int64, out []Event) []Event {
	if s.SilentSince == 0 {
		s.SilentSince = slot
	}
	switch s.Status {
	case Pending:
		s.Pend += m.Interval
		if slot-s.SilentSince >= m.Abandon {
			s.Status = StatusOK
			out = append(out, s.event(EventInconclusive, slot))
		}
	case Firing, Recovering:
		if s.Status == Recovering {
			s.Recovery += m.Interval
		}
		if (v == None || v == Insufficient) && slot-s.SilentSince >= m.StaleClose {
			out = s.resolve(DataGone, slot, out)
		}
	}
	return out
}

// debounce is a verdict while pending.
func (s *State) debounce(m *Machine, v Verdict, slot int64, out []Event) []Event {
	held := v == Breach && slot-s.Pend >= m.For
	if m.Share == 0 {
		if v == OK || v == Grey && slot-s.LastBreach >= max(m.For, m.Interval) {
			return s.transient(m, slot, out)
		}
		if held {
			out = s.fire(m, slot, out)
		}
		return out
	}
	bad, all := s.History.count((m.For + m.Interval - 1) / m.Interval)
	if bad == 0 {
		return s.transient(m, slot, out)
	}
	if held && float64(bad)/float64(all) >= m.Share {
		out = s.fire(m, slot, out)
	}
	return out
}

func (s *State) transient(m *Machine, slot int64, out []Event) []Event {
	s.Status = StatusOK
	if slot-s.ResolvedAt < m.Reopen {
		s.Status = Resolved
	}
	out = append(out, s.event(EventTransient, slot))
	s.Transients.add(slot, m.RecurWindow)
	if s.Transients.N >= m.RecurN && slot-s.RecurredAt >= int64(recurEvery) {
		s.RecurredAt = slot
		out = append(out, s.event(EventRecurring, slot))
	}
	return out
}

func (s *State) fire(m *Machine, slot int64, out []Event) []Event {
	s.Status, s.Muted = Firing, false
	s.Onsets.add(slot, m.FlapWindow)
	kind := EventFire
	if s.Incident > 0 && s.Pend-s.ResolvedAt < m.Reopen {
		s.Episode++
		kind = EventReopened
	} else {
		s.Incident++
		s.Episode = 1
	}
	if s.Onsets.N >= m.FlapN && !s.Flapping {
		s.Flapping = true
		kind = EventFlapping
	}
	return append(out, s.event(kind, slot))
}

func (s *State) resolve(reason Reason, slot int64, out []Event) []Event {
	s.Status, s.ResolvedAt, s.Flapping = Resolved, slot, false
	e := s.event(EventResolved, slot)
	e.Reason = reason
	return append(out, e)
}

func (s *State) event(kind EventKind, slot int64) Event {
	return Event{
		Kind: kind, Slot: slot, Since: s.Since, Incident: s.Incident, Episode: s.Episode,
		Value: s.Value, Worst: s.Worst, Muted: s.Muted,
	}
}

func (s *State) overlay(kind EventKind, since, slot int64) Event {
	return Event{Kind: kind, Slot: slot, Since: since, Incident: s.Incident, Episode: s.Episode, Value: s.Value}
}

// Remove ends an instance, all its levels, whose rule or entity is no more: what is open resolves
// with the reason, evidence is forgotten, overlays close. Stepping it again starts anew.
func Remove(s []State, reason Reason, slot int64, out []Event) []Event {
	for i := range s {
		from := len(out)
		out = s[i].remove(reason, slot, out)
		out = mute(&s[i], i, true, from, slot, out)
	}
	return out
}

func (s *State) remove(reason Reason, slot int64, out []Event) []Event {
	if s.NoData {
		out = append(out, s.overlay(EventNoDataClose, s.NoDataSince, slot))
	}
	if s.Error {
		out = append(out, s.overlay(EventErrorClose, s.ErrorSince, slot))
	}
	s.NoDataSince, s.NoData, s.ErrorSince, s.Error, s.SilentSince = 0, false, 0, false, 0
	s.History = History{}
	switch {
	case s.Status.Open():
		out = s.resolve(reason, slot, out)
	case s.Status == Pending:
		s.Status = StatusOK
	}
	return out
}

// StepLevels steps every level of an instance; machines, states and observations are parallel, the
// worst level first. While a higher level is open, a trigger of a lower one is muted, and so is the
// resolve of what was muted. A muted one that is still open when the higher ones have resolved is
// then announced, with the slot at which that happened and the start of its own evidence. The resolve
// of something announced is never muted.
func StepLevels(m []Machine, s []State, o []Observation, slot int64, out []Event) []Event {
	higher := false
	for i := range m {
		from := len(out)
		out = Step(&m[i], &s[i], o[i], slot, out)
		out = mute(&s[i], i, higher, from, slot, out)
		higher = higher || s[i].Status.Open()
	}
	return out
}

// mute sets level and muting on the events of one level from out[from] on.
func mute(s *State, level int, higher bool, from int, slot int64, out []Event) []Event {
	kept := out[:from]
	for _, e := range out[from:] {
		switch e.Kind {
		case EventNoDataOpen, EventNoDataClose, EventErrorOpen, EventErrorClose:
			if level > 0 { // the levels share their data: told once
				continue
			}
		case EventFire, EventReopened, EventFlapping:
			s.Muted = higher
			e.Muted = higher
		}
		e.Level = level
		kept = append(kept, e)
	}
	out = kept
	if s.Muted && !higher && s.Status.Open() {
		s.Muted = false
		kind := EventFire
		if s.Episode > 1 {
			kind = EventReopened
		}
		e := s.event(kind, slot)
		e.Level = level
		out = append(out, e)
	}
	if !s.Status.Open() {
		s.Muted = false
	}
	return out
}

// Times are the newest few instants of something, oldest first.
type Times struct {
	At [maxMemory]int64
	N  int
}

// add appends t and forgets what is window or more before it.
func (l *Times) add(t, window int64) {
	first := 0
	for first < l.N && l.At[first] <= t-window {
		first++
	}
	if l.N-first == maxMemory {
		first++
	}
	l.N = copy(l.At[:], l.At[first:l.N])
	l.At[l.N] = t
	l.N++
	clear(l.At[l.N:])
}

// MarshalJSON writes the instants as an array.
func (l Times) MarshalJSON() ([]byte, error) { return json.Marshal(l.At[:l.N]) }

// UnmarshalJSON reads an array; of more than it can remember it keeps the newest.
func (l *Times) UnmarshalJSON(text []byte) error {
	var at []int64
	if err := json.Unmarshal(text, &at); err != nil {
		return fmt.Errorf("read instants: %w", err)
	}
	*l = Times{}
	l.N = copy(l.At[:], at[max(0, len(at)-maxMemory):])
	return nil
}

// History is which of the last slots had a verdict, and which of these were bad. Slots are counted
// in intervals; bit 0 is slot Newest.
type History struct {
	Newest    int64
	Seen, Bad [maxSlots / 64]uint64
}

func (h *History) add(slot int64, bad bool) {
	by := slot - h.Newest
	if by < 0 { // the interval has become longer
		*h = History{}
		by = 0
	}
	shift(&h.Seen, by)
	shift(&h.Bad, by)
	h.Newest = slot
	h.Seen[0] |= 1
	if bad {
		h.Bad[0] |= 1
	}
}

// count is the bad and all verdicts of the newest n slots, at least one.
func (h *History) count(n int64) (bad, all int) {
	n = min(max(n, 1), maxSlots)
	for w := 0; n > 0; w, n = w+1, n-64 {
		mask := ^uint64(0)
		if n < 64 {
			mask = 1<<n - 1
		}
		bad += bits.OnesCount64(h.Bad[w] & mask)
		all += bits.OnesCount64(h.Seen[w] & mask)
	}
	return bad, all
}

func shift(w *[maxSlots / 64]uint64, by int64) {
	if by >= maxSlots {
		*w = [maxSlots / 64]uint64{}
		return
	}
	for ; by >= 64; by -= 64 {
		copy(w[1:], w[:len(w)-1])
		w[0] = 0
	}
	if by == 0 {
		return
	}
	for i := len(w) - 1; i > 0; i-- {
		w[i] = w[i]<<by | w[i-1]>>(64-by)
	}
	w[0] <<= by
}

// historyJSON is History as text: JSON's numbers lose the high bits in other languages.
type historyJSON struct {
	Newest int64    `json:"newest"`
	Seen   []string `json:"seen"`
	Bad    []string `json:"bad,omitempty"`
}

func words(w [maxSlots / 64]uint64) []string {
	n := len(w)
	for n > 0 && w[n-1] == 0 {
		n--
	}
	var out []string
	for _, v := range w[:n] {
		out = append(out, strconv.FormatUint(v, 16))
	}
	return out
}

func parseWords(text []string, w *[maxSlots / 64]uint64) error {
	if len(text) > len(w) {
		return fmt.Errorf("read history: %d words instead of %d", len(text), len(w))
	}
	for i, t := range text {
		v, err := strconv.ParseUint(t, 16, 64)
		if err != nil {
			return fmt.Errorf("read history: %w", err)
		}
		w[i] = v
	}
	return nil
}

// MarshalJSON writes the bits as hexadecimal words.
func (h History) MarshalJSON() ([]byte, error) {
	return json.Marshal(historyJSON{h.Newest, words(h.Seen), words(h.Bad)})
}

// UnmarshalJSON reads what MarshalJSON writes.
func (h *History) UnmarshalJSON(text []byte) error {
	var j historyJSON
	if err := json.Unmarshal(text, &j); err != nil {
		return fmt.Errorf("read history: %w", err)
	}
	*h = History{Newest: j.Newest}
	if err := parseWords(j.Seen, &h.Seen); err != nil {
		return err
	}
	return parseWords(j.Bad, &h.Bad)
}
