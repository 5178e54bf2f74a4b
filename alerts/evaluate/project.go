package evaluate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/midwatch/midwatch/alerts/incident"
	"github.com/midwatch/midwatch/alerts/rule"
	"github.com/midwatch/midwatch/storage/catalog"
	"github.com/midwatch/midwatch/storage/telemetry"
)

const (
	// readTimeout bounds all reads of a project's slots together.
	readTimeout = time.Minute
	// patience is how long a slot waits for data that are still arriving.
	patience = 60
	// catchUpReach is how far back missed slots are evaluated, in seconds; older ones are held.
	catchUpReach = 3600
	// checkpointEvery bounds what is evaluated again after a crash, in seconds.
	checkpointEvery = 300
	// softFor is how long after a deploy evidence has to last longer, in seconds.
	softFor = 600
)

// The causes why a rule cannot be evaluated.
const (
	faultStore = "store"
	faultRule  = "rule"
)

// project is what a replica knows of the rules of one project. One goroutine at a time advances it.
type project struct {
	number       uint32
	organisation string
	shard        catalog.Shard
	loaded       bool
	reader       *Reader
	rules        map[string]*tracked
}

// tracked is a rule that is evaluated.
type tracked struct {
	// plan is nil if the rule was gone when its state was loaded.
	plan     *Plan
	identity string
	names    names
	memory   *Memory
	saved    int64 // cursor as it is kept
	since    int64 // when it was first evaluated here: what was new before is not
	// due and settled are up to which slots the accounts have counted, tried the slot that was last
	// looked at too early.
	due, settled, tried int64
}

// names are what an instance's key is made of, kept for a rule whose document is gone.
type names struct {
	Name   string   `json:"name"`
	Levels []string `json:"levels"`
}

// stateJSON is the state of a rule as it is kept.
type stateJSON struct {
	names
	Since  int64           `json:"since,omitempty"`
	Shadow bool            `json:"shadow,omitempty"`
	Groups json.RawMessage `json:"groups"`
}

func namesOf(p *Plan) names {
	n := names{Name: p.Rule.Name}
	for _, l := range p.Rule.Levels {
		n.Levels = append(n.Levels, l.Name)
	}
	return n
}

// load reads what is remembered of a project's rules.
func (p *project) load(ctx context.Context, db *catalog.DB) error {
	states, err := db.RuleStatesOf(ctx, p.number)
	if err != nil {
		return err
	}
	p.rules = map[string]*tracked{}
	for _, s := range states {
		var j stateJSON
		if err := json.Unmarshal(s.State, &j); err != nil {
			return fmt.Errorf("read the state of rule %s of project %d: %w", s.Rule, p.number, err)
		}
		cursor := s.Cursor.Unix()
		if len(j.Levels) == 0 {
			return fmt.Errorf("the state of rule %s of project %d has no levels", s.Rule, p.number)
		}
		m, err := ReadMemory(j.Groups, cursor, len(j.Levels))
		if err != nil {
			return fmt.Errorf("rule %s of project %d: %w", s.Rule, p.number, err)
		}
		t := &tracked{identity: s.Identity, names: j.names, memory: m, saved: cursor, since: j.Since, due: cursor, settled: cursor}
		// What it was is enough to take back what was told of it.
		t.plan = &Plan{Organisation: p.organisation, Project: p.number, Identity: s.Identity, Rule: rule.Rule{ID: s.Rule, Name: j.Name, State: rule.Live}, labels: map[string]string{}}
		if j.Shadow {
			t.plan.Rule.State = rule.Shadow
		}
		for _, name := range j.Levels {
			t.plan.Rule.Levels = append(t.plan.Rule.Levels, rule.Level{Name: name, Severity: rule.Ticket})
		}
		p.rules[s.Rule] = t
	}
	p.loaded = true
	return nil
}

// outcome is what advancing a rule comes to.
type outcome struct {
	plan     *Plan
	rule     *tracked // as it will be; nil to forget it
	id       string
	happened []Happened
	signals  []incident.Signal
	write    bool
}

// step is one advance of a project: what is known at its begin, and what it comes to. Nothing of the
// project changes until it is committed.
type step struct {
	*Evaluator
	project  *project
	chapter  *chapter // nil: the project has no rules any more
	book     *book
	now      int64
	outcomes []*outcome
	account  catalog.Account
}

// advance evaluates the slots of a project that are due, and commits.
func (s *step) advance(ctx context.Context) error {
	p := s.project
	if !p.loaded {
		if err := p.load(ctx, s.db); err != nil {
			return err
		}
	}
	s.retire()
	if err := s.evaluate(ctx); err != nil {
		return err
	}
	for id, next := range s.plans() {
		if t := p.rules[id]; t != nil && next.Identity == t.identity {
			t.plan = next // an edit that leaves what is known as it is
		}
	}
	if err := s.commit(ctx); err != nil {
		p.loaded = false // what is kept is what counts, whether or not this was
		return err
	}
	for _, o := range s.outcomes {
		if o.rule == nil {
			delete(p.rules, o.id)
			continue
		}
		if o.write {
			o.rule.saved = o.rule.memory.Cursor
		}
		p.rules[o.id] = o.rule
	}
	return nil
}

// plans are the rules that are to be evaluated.
func (s *step) plans() map[string]*Plan {
	if s.chapter == nil {
		return nil
	}
	return s.chapter.plans
}

// retire ends what is not evaluated any more, or not as it was.
func (s *step) retire() {
	plans := s.plans()
	for _, id := range slices.Sorted(maps.Keys(s.project.rules)) {
		t := s.project.rules[id]
		next := plans[id]
		if next != nil && next.Identity == t.identity && slices.Equal(namesOf(next).Levels, t.names.Levels) && next.shadow() == t.plan.shadow() {
			continue
		}
		reason := rule.RuleChanged
		switch {
		case next != nil && next.shadow() != t.plan.shadow(), next == nil && s.chapter != nil && s.chapter.states[id] != "":
			reason = rule.RulePaused
		case next == nil:
			reason = rule.RuleRemoved
		}
		m := t.memory.Clone()
		o := &outcome{plan: t.plan, id: id, write: true, happened: t.plan.Remove(m, reason, s.now, nil)}
		o.signals = append(t.plan.signals(o.happened, "", nil), t.plan.health(t.memory, m, s.now, faultStore)...)
		if next != nil { // it begins anew where it was
			m.Cursor = t.memory.Cursor
			o.rule = &tracked{plan: next, identity: next.Identity, names: namesOf(next), memory: m, since: t.since, due: t.due, settled: t.settled}
		}
		s.outcomes = append(s.outcomes, o)
	}
}

// shadow reports whether nobody is told what the rule finds.
func (p *Plan) shadow() bool { return p.Rule.State == rule.Shadow }

// entry is what is known of a rule at this point of the step.
func (s *step) entry(p *Plan) *tracked {
	for _, o := range s.outcomes {
		if o.id == p.Rule.ID && o.rule != nil {
			return o.rule
		}
	}
	if t := s.project.rules[p.Rule.ID]; t != nil {
		return t
	}
	slot := p.Slot(s.now) - p.interval
	t := &tracked{plan: p, identity: p.Identity, names: namesOf(p), memory: NewMemory(slot), saved: slot, since: slot, due: slot, settled: slot}
	s.project.rules[p.Rule.ID] = t
	return t
}

// ready is a rule with slots that can be evaluated now.
type ready struct {
	plan *Plan
	rule *tracked
	late bool // data are still arriving
	slot int64
}

// due are the rules with slots to evaluate, and what they ask for.
func (s *step) due() (all, issues []ready, asks []Ask) {
	for _, p := range inOrder(s.plans()) {
		t := s.entry(p)
		latest := p.Slot(s.now)
		if latest <= t.memory.Cursor {
			continue
		}
		if latest > t.due {
			s.account.Due += (latest - t.due) / p.interval
			t.due = latest
		}
		r := ready{plan: p, rule: t}
		last := min(latest, p.Slot(s.watermark(p.Rule.Query.Source, s.now)+p.delay))
		if last <= t.memory.Cursor {
			last = p.Slot(s.now - patience)
			if last <= t.memory.Cursor || t.tried == last {
				continue
			}
			// A breach by presence is one, whatever is still to come. The rest waits for the data, and
			// is caught up with.
			r.late, t.tried = true, last
		}
		if p.Rule.Kind == rule.IssueNew || p.Rule.Kind == rule.IssueRegression {
			r.slot = last
			issues = append(issues, r)
			continue
		}
		first := max(t.memory.Cursor+p.interval, p.Slot(last-catchUpReach))
		asks = append(asks, Ask{Plan: p, First: first, Slots: int((last-first)/p.interval) + 1})
		all = append(all, r)
	}
	return all, issues, asks
}

func (s *step) evaluate(ctx context.Context) error {
	all, issues, asks := s.due()
	for _, r := range issues {
		if err := s.tellIssues(ctx, r, r.slot); err != nil {
			return err
		}
	}
	if len(asks) == 0 {
		return nil
	}
	from := asks[0].First
	for _, a := range asks {
		from = min(from, a.First)
	}
	deploys, err := s.db.Deploys(ctx, s.project.number, unix(from-softFor), unix(s.now+1))
	if err != nil {
		return err
	}
	plans := make([]*Plan, len(asks))
	for i, a := range asks {
		plans[i] = a.Plan
	}
	ended, err := readEndings(ctx, s.db, s.project.number, plans, from, s.now)
	if err != nil {
		return err
	}
	reading, cancel := context.WithTimeoutCause(ctx, readTimeout, errSlow)
	defer cancel()
	tables, err := s.project.reader.Read(reading, asks)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		tables = make([]Table, len(asks))
		for i, a := range asks {
			tables[i] = Table{First: a.First, Slots: a.Slots, Err: err}
		}
	}
	next := make(map[string]*Memory, len(all))
	for i, r := range all {
		s.judge(r, &tables[i], Surroundings{
			Held: s.book.held(r.plan.Organisation, r.plan.Project), Soft: r.plan.softAt(deploys), Late: r.late, ended: ended,
		}, next)
	}
	return nil
}

// judge steps a rule through a table.
func (s *step) judge(r ready, t *Table, around Surroundings, next map[string]*Memory) {
	p, was := r.plan, r.rule.memory
	if t.Pending || t.Err != nil && (r.late || t.Slots > 1 && s.now-was.Cursor < 2*patience) {
		return // tried again; what was missed is not given up at the first failure
	}
	o := &outcome{plan: p, id: p.Rule.ID}
	m := was.Clone()
	why := ""
	if t.Slots == 1 && t.First == was.Cursor+p.interval {
		o.happened = p.Step(m, t, 0, around, nil)
	} else {
		o.happened = p.CatchUp(m, t, around, nil)
		why = "the data came late"
		if r.rule.tried <= was.Cursor {
			why = "alerting was down for " + rule.Spell(rule.Duration(m.Cursor-was.Cursor))
		}
	}
	if r.late && !slices.ContainsFunc(o.happened, func(h Happened) bool { return h.Event.Kind.Trigger() }) {
		s.settle(r.rule, m.Cursor, &s.account.Held, p)
		return // the slots are evaluated when their data are there
	}
	fault := faultStore
	if _, invalid := errors.AsType[*telemetry.InvalidError](t.Err); invalid {
		fault = faultRule
	}
	counted := &s.account.Done
	if t.Err != nil {
		counted = &s.account.Failed
		s.log.Warn("a rule could not be evaluated", "project_id", p.Project, "rule_id", p.Rule.ID, "err", t.Err)
	}
	moved := *r.rule
	moved.plan, moved.memory, moved.names, moved.identity = p, m, namesOf(p), p.Identity
	s.settle(&moved, m.Cursor, counted, p)
	o.rule = &moved
	next[p.Rule.ID] = m
	if !p.shadow() {
		o.signals = append(p.signals(o.happened, why, s.parents(p, next)), p.health(was, m, m.Cursor, fault)...)
	}
	o.write = len(o.happened) > 0 || m.Cursor-r.rule.saved >= checkpointEvery
	s.outcomes = append(s.outcomes, o)
}

// settle counts the slots up to one whose fate is not counted yet.
func (s *step) settle(t *tracked, slot int64, as *int64, p *Plan) {
	if slot > t.settled {
		*as += (slot - t.settled) / p.interval
		t.settled = slot
	}
}

// softAt reports whether a deploy of the rule's service has just been made whose restart is expected to be
// felt. Who deploys says so; by itself a deploy is no reason to wait, since what breaks breaks by one.
func (p *Plan) softAt(deploys []catalog.Deploy) func(slot int64) bool {
	if len(deploys) == 0 {
		return nil
	}
	return func(slot int64) bool {
		return slices.ContainsFunc(deploys, func(d catalog.Deploy) bool {
			at := d.At.Unix()
			return d.Soft && at <= slot && slot < at+softFor && d.In(p.Rule.Service, p.Rule.Environment)
		})
	}
}

// parents says which of the rules that p depends on are bad now, for a group: in a group that has the
// same values where both have a label.
func (s *step) parents(p *Plan, next map[string]*Memory) func(values []string) []incident.Parent {
	if len(p.Rule.DependsOn) == 0 {
		return nil
	}
	return func(values []string) []incident.Parent {
		own := p.groupLabels(values)
		var out []incident.Parent
		for _, id := range p.Rule.DependsOn {
			parent := s.plans()[id]
			if parent == nil {
				continue
			}
			m := next[id]
			if m == nil {
				m = s.entry(parent).memory
			}
			found := incident.Parent{Rule: id}
			for _, g := range m.Groups {
				if !sameScope(own, g.Values, parent.Rule.Query.By) {
					continue
				}
				switch status := worst(g.States); {
				case status.Open():
					found.Firing = true
				case status == rule.Pending:
					found.Pending = true
				}
			}
			if found.Firing || found.Pending {
				out = append(out, found)
			}
		}
		return out
	}
}

func sameScope(own map[string]string, values, by []string) bool {
	for i, label := range by {
		if v, ok := own[label]; ok && i < len(values) && v != values[i] {
			return false
		}
	}
	return true
}

// commit keeps what has changed, with what people are to be told, in one transaction.
func (s *step) commit(ctx context.Context) error {
	c := commit{project: s.project.number, organisation: s.project.organisation, shards: []catalog.Shard{s.project.shard}}
	for _, o := range s.outcomes {
		c.transitions = append(c.transitions, o.plan.transitions(o.happened)...)
		if !o.plan.shadow() {
			c.signals = append(c.signals, o.signals...)
		}
		switch {
		case !o.write && len(o.signals) == 0:
		case o.rule == nil:
			c.gone = append(c.gone, o.id)
		default:
			o.write = true
			state, err := o.rule.state(o.id, s.project.number)
			if err != nil {
				return err
			}
			c.states = append(c.states, state)
		}
	}
	return s.keep(ctx, c, s.now)
}

// commit is what one transaction keeps: how far rules are, what happened to them, and what people are
// to be told of that.
type commit struct {
	project      uint32
	organisation string
	shards       []catalog.Shard // by which it may be kept
	states       []catalog.RuleState
	gone         []string
	transitions  []catalog.Transition
	signals      []incident.Signal
}

func (e *Evaluator) keep(ctx context.Context, c commit, now int64) error {
	if len(c.states)+len(c.gone)+len(c.transitions)+len(c.signals) == 0 {
		return nil
	}
	err := e.db.InTx(ctx, func(tx *catalog.Tx) error {
		if err := tx.Fence(ctx, c.shards...); err != nil {
			return err
		}
		for _, id := range c.gone {
			if err := tx.DropRuleState(ctx, c.project, id); err != nil {
				return err
			}
		}
		for _, state := range c.states {
			if err := tx.PutRuleState(ctx, state); err != nil {
				return err
			}
		}
		for _, t := range c.transitions {
			if err := tx.AddTransition(ctx, t); err != nil {
				return err
			}
		}
		if len(c.signals) == 0 {
			return nil
		}
		return e.desk.Apply(ctx, tx, c.organisation, c.signals, unix(now))
	})
	if err == nil && len(c.signals) > 0 {
		e.desk.Woke()
	}
	return err
}

// state is a rule's state as it is kept.
func (t *tracked) state(id string, number uint32) (catalog.RuleState, error) {
	groups, err := json.Marshal(t.memory)
	if err != nil {
		return catalog.RuleState{}, fmt.Errorf("write the state of rule %s: %w", id, err)
	}
	text, err := json.Marshal(stateJSON{names: t.names, Since: t.since, Shadow: t.plan.shadow(), Groups: groups})
	if err != nil {
		return catalog.RuleState{}, fmt.Errorf("write the state of rule %s: %w", id, err)
	}
	return catalog.RuleState{Project: number, Rule: id, Identity: t.identity, Cursor: unix(t.memory.Cursor), State: text}, nil
}
