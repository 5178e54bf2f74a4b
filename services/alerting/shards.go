package alerting

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/midwatch/midwatch/alerts/evaluate"
	"github.com/midwatch/midwatch/alerts/incident"
	"github.com/midwatch/midwatch/alerts/notify"
	"github.com/midwatch/midwatch/storage/catalog"
)

const (
	// canaryPatience is how long a shard's canary may be away: two flights of ten minutes and a half.
	canaryPatience = 25 * time.Minute
	// ownerless is for how long a shard may be nobody's, as a takeover has it, without its canary getting
	// all of its time once it is somebody's again.
	ownerless = time.Minute
	// keepCanaries is how long what canaries leave behind is kept.
	keepCanaries = time.Hour
)

// homing is the receiver of the canaries: it takes everything, and notes which of them have come home.
type homing struct{ db *catalog.DB }

// Notify takes a message.
func (h homing) Notify(ctx context.Context, m notify.Message) (notify.Receipt, error) {
	receipt := notify.Receipt{Excerpt: "canaries: nobody was told"}
	if !m.Action.Ends() {
		return receipt, nil
	}
	of, err := h.db.Incident(ctx, m.Incident) // a message names only the first instances
	if err != nil {
		return notify.Receipt{}, err
	}
	var body incident.Incident
	if err := json.Unmarshal(of.Body, &body); err != nil {
		return notify.Receipt{}, fmt.Errorf("read incident %s: %w", m.Incident, err)
	}
	var home []int
	for _, in := range body.Instances {
		if shard, err := strconv.Atoi(in.Labels[evaluate.CanaryLabel]); err == nil && !in.Open() {
			home = append(home, shard)
		}
	}
	slices.Sort(home) // others note theirs at the same time
	now, err := h.db.Clock(ctx)
	if err != nil {
		return notify.Receipt{}, err
	}
	return receipt, h.db.CanariesHome(ctx, home, now)
}

// Canary is that of a shard.
type Canary struct {
	Shard int
	// Owner holds the shard; empty is nobody.
	Owner string
	// Away is since when it has been expected, unless it has come home since.
	Away time.Duration
	// Projects are those that rely on the shard.
	Projects []uint32
}

// perch is what a watcher has seen of a shard: when somebody last held it, and since when somebody does.
type perch struct{ heldAt, since time.Time }

// canaries are those of all shards, whoever holds them, the one that has been away for longest first. One
// is not expected for the time in which this process did not look, be it that it had not begun, slept,
// or could not reach the database, nor for that in which its shard was nobody's.
func (w *watcher) canaries(ctx context.Context, now time.Time) ([]Canary, error) {
	rows, err := w.db.WatchShards(ctx)
	if err != nil {
		return nil, err
	}
	if now.Sub(w.sawAt) > ownerless {
		w.sawSince = now
	}
	w.sawAt = now
	all := make([]Canary, evaluate.Shards)
	for id := range all {
		all[id] = Canary{Shard: id, Away: now.Sub(w.sawSince)}
	}
	for _, s := range rows {
		if s.ID >= len(all) {
			continue
		}
		p := &w.perches[s.ID]
		c := &all[s.ID]
		if s.LeaseUntil.After(now) {
			c.Owner = s.Owner
			if now.Sub(p.heldAt) > ownerless {
				p.since = now
			}
			p.heldAt = now
		}
		for _, from := range []time.Time{s.CanaryAt, p.since} {
			c.Away = max(min(c.Away, now.Sub(from)), 0)
		}
	}
	for _, number := range w.roster.paging {
		c := &all[evaluate.ShardOf(number)]
		c.Projects = append(c.Projects, number)
	}
	slices.SortStableFunc(all, func(a, b Canary) int { return cmp.Compare(b.Away, a.Away) })
	return all, nil
}

// lost says which canaries have not come home.
func lost(canaries []Canary) (Problem, bool) {
	var p Problem
	n := 0
	for _, c := range canaries {
		if c.Away > canaryPatience {
			n++
			p.Projects = append(p.Projects, c.Projects...)
		}
	}
	if n == 0 {
		return p, false
	}
	slices.Sort(p.Projects)
	worst := canaries[0]
	holder := "which " + worst.Owner + " holds"
	if worst.Owner == "" {
		holder = "which nobody holds"
	}
	p.Text = fmt.Sprintf("the canary of shard %d, %s, has been away for %s", worst.Shard, holder, worst.Away.Round(time.Second))
	if n > 1 {
		p.Text = fmt.Sprintf("%d canaries have not come home: %s", n, p.Text)
	}
	return p, true
}
