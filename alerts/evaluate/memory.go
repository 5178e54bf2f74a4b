package evaluate

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/midwatch/midwatch/alerts/rule"
)

// Group is what is remembered of one group of a rule.
type Group struct {
	Values []string // of the rule's By
	// Seen is the newest slot with data, 0 if there was none.
	Seen int64
	// States are those of the levels.
	States []rule.State
	// Open says that what was told of an issue may still be open. Other rules have states for that.
	Open bool
}

// Memory is how far the evaluation of a rule is, and what it remembers of the rule's groups.
type Memory struct {
	// Cursor is the newest slot that has been evaluated, in Unix seconds.
	Cursor int64
	Groups map[string]*Group
	// lacking are the groups in whose states data are missing, failing those whose query fails.
	lacking, failing int
}

// NewMemory begins at a slot.
func NewMemory(cursor int64) *Memory { return &Memory{Cursor: cursor, Groups: map[string]*Group{}} }

// Clone returns a copy that can be stepped without changing m.
func (m *Memory) Clone() *Memory {
	c := &Memory{Cursor: m.Cursor, Groups: make(map[string]*Group, len(m.Groups)), lacking: m.lacking, failing: m.failing}
	for key, g := range m.Groups {
		c.Groups[key] = &Group{Values: g.Values, Seen: g.Seen, States: slices.Clone(g.States), Open: g.Open}
	}
	return c
}

// groupJSON is a Group as it is kept. One of which there is nothing to remember but that it exists
// has no states.
type groupJSON struct {
	Values []string     `json:"values,omitempty"`
	Seen   int64        `json:"seen,omitempty"`
	States []rule.State `json:"states,omitempty"`
	Open   bool         `json:"open,omitempty"`
}

// MarshalJSON writes the groups.
func (m *Memory) MarshalJSON() ([]byte, error) {
	kept := make(map[string]groupJSON, len(m.Groups))
	for key, g := range m.Groups {
		j := groupJSON{Values: g.Values, Seen: g.Seen, Open: g.Open}
		if slices.ContainsFunc(g.States, func(s rule.State) bool { return !plain(s) }) {
			j.States = g.States
		}
		kept[key] = j
	}
	return json.Marshal(kept)
}

// plain says that a state is that of a group which has always been well.
func plain(s rule.State) bool {
	s.LastSlot, s.Last, s.Value, s.Worst = 0, 0, 0, 0
	s.History = rule.History{} // good slots only
	return s == rule.State{}
}

// ReadMemory reads what MarshalJSON has written, for a rule with so many levels.
func ReadMemory(text []byte, cursor int64, levels int) (*Memory, error) {
	var kept map[string]groupJSON
	if err := json.Unmarshal(text, &kept); err != nil {
		return nil, fmt.Errorf("read the state of a rule: %w", err)
	}
	m := NewMemory(cursor)
	for key, j := range kept {
		g := &Group{Values: j.Values, Seen: j.Seen, States: j.States, Open: j.Open}
		if len(g.States) != levels { // none was kept, or the rule has got other levels
			states := make([]rule.State, levels)
			copy(states, g.States)
			g.States = states
		}
		for i := range g.States {
			if g.States[i].LastSlot == 0 {
				g.States[i].LastSlot = cursor
			}
		}
		m.Groups[key] = g
	}
	m.count()
	return m, nil
}

func (m *Memory) count() {
	m.lacking, m.failing = 0, 0
	for _, g := range m.Groups {
		for _, s := range g.States {
			if s.NoData {
				m.lacking++
			}
			if s.Error {
				m.failing++
			}
		}
	}
}

// Happened is an event of one group.
type Happened struct {
	Key    string
	Values []string
	Event  rule.Event
	// Count and Examples say what the group rule.Overflow stands for.
	Count    int
	Examples []string
}

// Surroundings are what beside the numbers of a slot decides how it is judged. The zero value is
// nothing.
type Surroundings struct {
	// Held reports whether what has these labels is under maintenance at a slot.
	Held func(labels map[string]string, slot int64) bool
	// Soft reports whether a deploy has just been made.
	Soft func(slot int64) bool
	// Late says that data are still arriving.
	Late bool

	ended *endings // nil: nothing is known to have
}

// observed is what a slot says of one group.
type observed struct {
	key    string
	values []string
	levels []rule.Observation
	// present says that there are data of the group, absent that there are none, missing that there are of
	// others only.
	present, absent, missing bool
}

// sight is what a slot says of every group, and the room that this takes.
type sight struct {
	groups []observed
	levels []rule.Observation
}

// take makes room for the observations of a group.
func (s *sight) take(n int) []rule.Observation {
	if cap(s.levels)-len(s.levels) < n {
		s.levels = make([]rule.Observation, 0, max(64*n, 2*cap(s.levels)))
	}
	from := len(s.levels)
	return s.levels[from:from:cap(s.levels)]
}

// observe fills s with what a slot of a table says of every group that is known or in the table, by
// key.
func (p *Plan) observe(m *Memory, t *Table, slot int, around Surroundings, s *sight) {
	at := t.First + int64(slot)*p.interval
	s.groups, s.levels = s.groups[:0], s.levels[:0]
	known := 0
	for i := range t.Rows {
		row := &t.Rows[i]
		levels := p.Verdicts(row, slot, s.take(len(p.machines)))
		if nothing(levels) {
			continue // as if it were not there
		}
		s.levels = s.levels[:len(s.levels)+len(levels)]
		s.groups = append(s.groups, observed{key: row.Key, values: row.Values, levels: levels, present: true})
		if m.Groups[row.Key] != nil {
			known++
		}
	}
	if known < len(m.Groups) || len(s.groups) == 0 {
		p.observeAbsent(m, t, at, s)
	}
	for i := range s.groups {
		p.surround(&s.groups[i], at, around)
	}
}

// observeAbsent adds the groups that are known and not in the slot.
func (p *Plan) observeAbsent(m *Memory, t *Table, at int64, s *sight) {
	present := make(map[string]bool, len(s.groups))
	for _, o := range s.groups {
		present[o.key] = true
	}
	alone := len(s.groups) == 0
	absent := func(key string, g *Group) {
		verdict := rule.None
		if t.Err != nil {
			verdict = rule.Failed
		}
		o := observed{key: key, levels: make([]rule.Observation, len(p.machines)), missing: !alone && t.Err == nil}
		if g != nil {
			o.values, o.absent = g.Values, t.Err == nil
		}
		for i := range o.levels {
			o.levels[i].Verdict = verdict
			switch {
			case p.Rule.Kind == rule.Absence && verdict == rule.None && (g == nil || g.Seen == 0):
				o.levels[i].Verdict = rule.Insufficient // what was never there is not absent
			case p.Rule.Kind == rule.Absence && verdict == rule.None:
				o.levels[i].Value = float64(at - g.Seen)
			case g != nil:
				o.levels[i].Value = g.States[i].Value
			}
		}
		s.groups = append(s.groups, o)
	}
	for key, g := range m.Groups {
		if !present[key] && key != rule.Overflow {
			absent(key, g)
		}
	}
	if len(s.groups) == 0 && (len(p.Rule.Query.By) == 0 || t.Err != nil) {
		absent("", nil) // a rule without groups is one itself
	}
	slices.SortFunc(s.groups, func(a, b observed) int { return cmp.Compare(a.key, b.key) })
}

// surround replaces verdicts that do not count as they are.
func (p *Plan) surround(o *observed, at int64, around Surroundings) {
	held := around.Held != nil && around.Held(p.groupLabels(o.values), at)
	for i := range o.levels {
		switch l := &o.levels[i]; {
		case held:
			l.Verdict = rule.Held
			o.absent, o.missing = false, false
		case around.Late:
			l.Verdict = p.Rule.Late(i, l.Verdict)
			o.absent, o.missing = false, false
		}
	}
}

func nothing(levels []rule.Observation) bool {
	return !slices.ContainsFunc(levels, func(o rule.Observation) bool { return o.Verdict != rule.None })
}

// Verdicts appends those of all levels on one group in one slot.
func (p *Plan) Verdicts(row *Row, slot int, out []rule.Observation) []rule.Observation {
	if row.Judged != nil {
		return append(out, row.Judged[slot]...)
	}
	n := row.Numbers[slot]
	from := len(out)
	out = p.judgeNumber(n.Number, out)
	if n.End == nil {
		return out
	}
	for i := range out[from:] {
		if o := &out[from+i]; o.Verdict == rule.Breach && p.over(i, *n.End) {
			o.Verdict = rule.Grey // neither evidence nor recovery
		}
	}
	return out
}

func (p *Plan) judgeNumber(n Number, out []rule.Observation) []rule.Observation {
	switch p.Rule.Kind {
	case rule.ErrorRate, rule.LogRatio:
		return p.judge.Ratio(n.Bad, n.Total, out)
	case rule.LogMatch:
		if n.Samples > 0 {
			return p.judge.Count(n.Value, out)
		}
	case rule.Absence:
		verdict := rule.None
		if n.Samples > 0 {
			verdict = rule.OK
		}
		for range p.machines {
			out = append(out, rule.Observation{Verdict: verdict})
		}
		return out
	}
	return p.judge.Number(n.Value, n.Samples, out)
}

// over reports whether a trouble of the window is over at its end, for a level. Where too little came
// in two minutes nobody knows, and the window has the last word.
func (p *Plan) over(level int, end Number) bool {
	value := end.Value
	if p.ratio() {
		value = end.Bad / end.Total
	}
	return p.tells(end) && p.judge.Limits[level].Verdict(value) != rule.Breach
}

// tells reports whether the end of a window has enough to say that a trouble is over.
func (p *Plan) tells(end Number) bool {
	if p.ratio() {
		return end.Total > 0 && end.Total >= p.telling
	}
	return end.Samples > 0
}

func (p *Plan) ratio() bool { return p.Rule.Kind == rule.ErrorRate || p.Rule.Kind == rule.LogRatio }

// Step moves m on by one slot of a table and appends what happened to out.
func (p *Plan) Step(m *Memory, t *Table, slot int, around Surroundings, out []Happened) []Happened {
	at := t.First + int64(slot)*p.interval
	machines := p.machines
	if around.Soft != nil && around.Soft(at) {
		machines = p.soft
	}
	p.observe(m, t, slot, around, &p.sight)
	keep, overflow := p.admit(m, p.sight.groups)
	events := p.events
	for i := range keep {
		o := &keep[i]
		g := m.group(o, len(machines))
		if o.present {
			g.Seen = at
		}
		ended := p.ended(around.ended, t, slot, o, g.Seen, p.sight.groups)
		events = events[:0]
		switch {
		case ended && over(g.States): // nothing to resolve
		case ended || o.missing:
			events = rule.Missing(machines, g.States, ended, p.Rule.MissingGroupClose, at, events)
		default:
			events = rule.StepLevels(machines, g.States, o.levels, at, events)
		}
		out = appendEvents(out, o, events)
		if ended && over(g.States) {
			delete(m.Groups, o.key) // what comes back begins anew
			continue
		}
		if o.missing || p.stale(g, at) {
			out = p.forget(m, o, g, at, out)
		}
	}
	p.events = events
	out = p.overflow(m, overflow, at, out)
	m.Cursor = at
	m.count()
	return out
}

// over reports whether nothing is open in any level of a group, and there is no evidence.
func over(states []rule.State) bool {
	return !slices.ContainsFunc(states, func(s rule.State) bool {
		return s.Status.Open() || s.Status == rule.Pending || s.NoData || s.Error
	})
}

// group is the group of an observation, which is made if it is new.
func (m *Memory) group(o *observed, levels int) *Group {
	g := m.Groups[o.key]
	if g == nil {
		g = &Group{Values: o.values, States: make([]rule.State, levels)}
		m.Groups[o.key] = g
	}
	return g
}

func appendEvents(out []Happened, o *observed, events []rule.Event) []Happened {
	for _, e := range events {
		out = append(out, Happened{Key: o.key, Values: o.values, Event: e})
	}
	return out
}

// stale reports whether a group has been silent for so long that it is taken for gone.
func (p *Plan) stale(g *Group, at int64) bool {
	return len(p.Rule.Query.By) > 0 && g.Seen > 0 && at-g.Seen >= int64(p.Rule.StaleClose)
}

// forget drops a group that is absent, if there is nothing to remember of it. What is still open then
// has been missing for days and closes unconfirmed.
func (p *Plan) forget(m *Memory, o *observed, g *Group, at int64, out []Happened) []Happened {
	stale := p.stale(g, at)
	for i := range g.States {
		if !stale && (p.Rule.NoData == rule.NoDataBreach || !rule.Forgettable(&p.machines[i], &g.States[i], at)) {
			return out
		}
	}
	out = appendEvents(out, o, rule.Remove(g.States, rule.DataGone, at, nil))
	delete(m.Groups, o.key)
	return out
}

// admit leaves out the groups for which there is no room.
func (p *Plan) admit(m *Memory, seen []observed) ([]observed, rule.Admission) {
	limits := p.Rule.Limits
	if len(seen) <= min(limits.Tracked, limits.Open) {
		return seen, rule.Admission{}
	}
	candidates := make([]rule.Candidate, len(seen))
	for i, o := range seen {
		c := rule.Candidate{Key: o.key, Value: o.levels[0].Value}
		for _, l := range o.levels {
			c.Breach = c.Breach || l.Verdict == rule.Breach
		}
		if g := m.Groups[o.key]; g != nil {
			c.Status = worst(g.States)
		}
		candidates[i] = c
	}
	a := rule.Admit(candidates, limits, p.machines[0].LowIsBad)
	slices.Sort(a.Keep)
	keep := make([]observed, len(a.Keep))
	kept := make(map[string]bool, len(a.Keep))
	for i, k := range a.Keep {
		keep[i] = seen[k]
		kept[seen[k].key] = true
	}
	for _, o := range seen {
		if !kept[o.key] {
			delete(m.Groups, o.key) // neither open nor pending
		}
	}
	return keep, a
}

func worst(states []rule.State) rule.Status {
	status := rule.StatusOK
	for _, s := range states {
		switch {
		case s.Status.Open():
			return s.Status
		case s.Status == rule.Pending:
			status = rule.Pending
		}
	}
	return status
}

// overflow steps the group that stands for those without room.
func (p *Plan) overflow(m *Memory, a rule.Admission, at int64, out []Happened) []Happened {
	g := m.Groups[rule.Overflow]
	if g == nil && a.Overflowing == 0 {
		return out
	}
	o := &observed{key: rule.Overflow, levels: make([]rule.Observation, len(p.machines))}
	for i := range o.levels {
		o.levels[i] = a.Observation()
	}
	g = m.group(o, len(p.machines))
	from := len(out)
	out = appendEvents(out, o, rule.StepLevels(p.machines, g.States, o.levels, at, nil))
	for i := from; i < len(out); i++ {
		out[i].Count, out[i].Examples = a.Overflowing, a.Examples
	}
	if a.Overflowing == 0 && rule.Forgettable(&p.machines[0], &g.States[0], at) {
		delete(m.Groups, rule.Overflow)
	}
	return out
}

// CatchUp moves m on by all slots of a table, which were missed but for the last, and appends only
// their net effect to out.
func (p *Plan) CatchUp(m *Memory, t *Table, around Surroundings, out []Happened) []Happened {
	now := t.First + int64(t.Slots-1)*p.interval
	missed := map[string][]rule.Missed{}
	groups := map[string]observed{}
	newest := map[string]int64{}
	for i := range t.Slots {
		at := t.First + int64(i)*p.interval
		var seen sight // its room is kept
		p.observe(m, t, i, around, &seen)
		for _, o := range seen.groups {
			if g := m.Groups[o.key]; g != nil && p.ended(around.ended, t, i, &o, max(g.Seen, newest[o.key]), seen.groups) {
				for k := range o.levels { // the slot after these says what becomes of it
					o.levels[k].Verdict = rule.Held
				}
			}
			missed[o.key] = append(missed[o.key], rule.Missed{Slot: at, Levels: o.levels})
			groups[o.key] = o
			if o.present {
				newest[o.key] = at
			}
		}
	}
	var seen []observed
	for _, key := range slices.Sorted(maps.Keys(groups)) {
		seen = append(seen, groups[key])
	}
	keep, overflow := p.admit(m, seen)
	for i := range keep {
		o := &keep[i]
		g := m.group(o, len(p.machines))
		g.Seen = max(g.Seen, newest[o.key])
		out = appendEvents(out, o, rule.CatchUp(p.machines, g.States, missed[o.key], nil))
		if o.missing || p.stale(g, now) {
			out = p.forget(m, o, g, now, out)
		}
	}
	out = p.overflow(m, overflow, now, out)
	m.Cursor = now
	m.count()
	return out
}

// Remove ends all groups of a rule that is not evaluated any more.
func (p *Plan) Remove(m *Memory, reason rule.Reason, at int64, out []Happened) []Happened {
	for _, key := range slices.Sorted(maps.Keys(m.Groups)) {
		g := m.Groups[key]
		out = appendEvents(out, &observed{key: key, values: g.Values}, rule.Remove(g.States, reason, at, nil))
	}
	m.Groups = map[string]*Group{}
	m.count()
	return out
}
