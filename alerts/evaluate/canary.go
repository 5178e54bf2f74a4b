package evaluate

import (
	"context"
	"maps"
	"slices"
	"strconv"

	"github.com/midwatch/midwatch/alerts/rule"
	"github.com/midwatch/midwatch/storage/catalog"
)

const (
	// canaryCycle is how often a canary flies, in seconds, and canaryAway for how long it is bad: less
	// than a policy waits for somebody to acknowledge, so that nothing is escalated.
	canaryCycle = 600
	canaryAway  = 240
)

// CanaryLabel is the label that tells of which shard a canary is.
const CanaryLabel = "shard"

// canaries are a rule of nobody's, stepped for each shard that is held. Its number comes from the clock,
// bad at the begin of each cycle and good afterwards; all else is as it is for any rule: the machine, the
// state with its cursor, the commit with its fence, the incident and its messages. Whoever takes the
// last of these knows that the shards get through.
//
// Each shard has a state of its own, but those of a replica change together in one transaction, and
// make one incident. An incident for each would be 128 messages a cycle, of two transactions and more
// each, which SQLite's only writer brings to the disk one by one, day and night, for the part of the way
// that all shards have in common.
type canaries struct {
	*Evaluator
	plan *Plan
	busy bool // guarded by the Evaluator's mu
	// The rest belongs to the flight that is going on.
	held map[int]catalog.Shard // as they were when their states were read
	of   map[int]*tracked      // by shard
}

func newCanaries(e *Evaluator) (*canaries, error) {
	never := rule.Flap{N: 1 << 20}
	p, err := NewPlan(e.cfg.Canary, 0, 1, rule.Rule{
		ID: e.cfg.Canary, Name: "Canary", Kind: rule.Threshold, Area: rule.Availability, State: rule.Live, Flap: never,
		Query:    rule.Query{Source: rule.Metrics, Metric: "canary", Aggregate: "last", By: []string{CanaryLabel}},
		Interval: rule.Minute, Window: rule.Minute, MinSamples: 1, RecoverFor: new(rule.Duration),
		// Each flight is an episode of the same incident: numbers of incidents are for people.
		Reopen:  new(rule.Hour),
		Levels:  []rule.Level{{Fire: ">= 1", Recover: "< 1", Severity: rule.Page, For: new(rule.Duration)}},
		Summary: "Nothing: by this Midwatch sees that a page would come.",
		Labels:  map[string]string{"run": e.cfg.Replica},
	})
	if err != nil {
		return nil, err
	}
	return &canaries{Evaluator: e, plan: p}, nil
}

// fly begins a flight if one is due. It does not wait for it.
func (e *Evaluator) fly(ctx context.Context, now int64) {
	c := e.canaries
	if c == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if c.busy || !c.due(e.replica.held, now) {
		return
	}
	c.busy = true
	held := maps.Clone(e.replica.held)
	e.running.Go(func() {
		if err := c.step(ctx, held, now); err != nil && ctx.Err() == nil {
			e.log.Warn("the canaries of the shards wait", "err", err)
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		c.busy = false
	})
}

// due reports whether a shard is new or has a slot to be stepped.
func (c *canaries) due(held map[int]catalog.Shard, now int64) bool {
	slot := c.plan.Slot(now)
	for id, s := range held {
		if c.held[id] != s || c.of[id].memory.Cursor < slot {
			return true
		}
	}
	return false
}

// step moves the canaries of all shards to the newest slot, and commits if anything has happened.
func (c *canaries) step(ctx context.Context, held map[int]catalog.Shard, now int64) error {
	slot := c.plan.Slot(now)
	if err := c.load(ctx, held, slot); err != nil {
		return err
	}
	kept := commit{organisation: c.cfg.Canary}
	next := map[int]*tracked{}
	for _, id := range slices.Sorted(maps.Keys(held)) {
		t := *c.of[id]
		if t.memory.Cursor >= slot {
			continue
		}
		t.memory = t.memory.Clone()
		happened := c.advance(t.memory, id, slot)
		next[id] = &t
		if len(happened) == 0 {
			continue
		}
		state, err := t.state(c.name(id), 0)
		if err != nil {
			return err
		}
		kept.shards = append(kept.shards, held[id])
		kept.states = append(kept.states, state)
		kept.transitions = append(kept.transitions, c.plan.transitions(happened)...)
		kept.signals = append(kept.signals, c.plan.signals(happened, "alerting was down", nil)...)
	}
	if err := c.keep(ctx, kept, now); err != nil {
		c.held = nil // what is kept is what counts, whether or not this was
		return err
	}
	maps.Copy(c.of, next)
	return nil
}

// advance moves one canary to a slot, over those that were missed.
func (c *canaries) advance(m *Memory, shard int, slot int64) []Happened {
	p, id := c.plan, strconv.Itoa(shard)
	first := max(m.Cursor+p.interval, p.Slot(slot-catchUpReach))
	t := &Table{First: first, Slots: int((slot-first)/p.interval) + 1}
	row := Row{Key: id, Values: []string{id}}
	for i := range t.Slots {
		n := Number{Samples: 1}
		if (first+int64(i)*p.interval)%canaryCycle < canaryAway {
			n.Value = 1
		}
		row.Numbers = append(row.Numbers, Numbers{Number: n})
	}
	t.Rows = []Row{row}
	if t.Slots == 1 {
		return p.Step(m, t, 0, Surroundings{}, nil)
	}
	return p.CatchUp(m, t, Surroundings{}, nil)
}

// load reads the states of shards that are new here.
func (c *canaries) load(ctx context.Context, held map[int]catalog.Shard, slot int64) error {
	if c.held != nil && maps.Equal(c.held, held) {
		return nil
	}
	stored := &project{organisation: c.cfg.Canary}
	if err := stored.load(ctx, c.db); err != nil {
		return err
	}
	of := make(map[int]*tracked, len(held))
	for id, s := range held {
		t := stored.rules[c.name(id)]
		switch {
		case c.held[id] == s:
			t = c.of[id]
		case t == nil || t.identity != c.plan.Identity:
			t = &tracked{identity: c.plan.Identity, names: namesOf(c.plan), memory: NewMemory(slot - c.plan.interval)}
		}
		t.plan = c.plan
		of[id] = t
	}
	c.held, c.of = held, of
	return nil
}

// name is that of the state of a shard's canary.
func (c *canaries) name(shard int) string { return c.cfg.Canary + "/" + strconv.Itoa(shard) }
