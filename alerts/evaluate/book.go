package evaluate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/midwatch/midwatch/alerts/oncall"
	"github.com/midwatch/midwatch/alerts/rule"
	"github.com/midwatch/midwatch/storage/catalog"
)

// The kinds of documents that are read here.
const (
	RuleKind   = "rule"
	WindowKind = "window"
)

// book is what people have configured, as of a version. It is not changed once it is made.
type book struct {
	version  int64
	projects map[uint32]*chapter
	windows  map[windowKey][]oncall.Window
}

// chapter are the rules of one project.
type chapter struct {
	organisation string
	plans        map[string]*Plan // those that are evaluated
	states       map[string]rule.Lifecycle
	// compiled are all, to be used again where a document has not changed.
	documents map[string]int64
}

type windowKey struct {
	organisation string
	project      uint32
}

// readBook reads the documents. What has not changed since old is taken from it.
func readBook(ctx context.Context, db *catalog.DB, version int64, old *book, log *slog.Logger) (*book, error) {
	documents, err := db.AllDocuments(ctx, RuleKind)
	if err != nil {
		return nil, err
	}
	windows, err := db.AllDocuments(ctx, WindowKind)
	if err != nil {
		return nil, err
	}
	b := &book{version: version, projects: map[uint32]*chapter{}, windows: map[windowKey][]oncall.Window{}}
	for _, d := range documents {
		c := b.projects[d.Project]
		if c == nil {
			c = &chapter{organisation: d.Organisation, plans: map[string]*Plan{}, states: map[string]rule.Lifecycle{}, documents: map[string]int64{}}
			b.projects[d.Project] = c
		}
		c.documents[d.ID] = d.Version
		if old != nil && old.projects[d.Project] != nil && old.projects[d.Project].documents[d.ID] == d.Version {
			c.states[d.ID] = old.projects[d.Project].states[d.ID]
			if p := old.projects[d.Project].plans[d.ID]; p != nil {
				c.plans[d.ID] = p
			}
			continue
		}
		r, err := rule.Parse(d.Body)
		if err == nil {
			r.ID = d.ID
			c.states[d.ID] = r.WithDefaults().State
			if s := c.states[d.ID]; s != rule.Live && s != rule.Shadow {
				continue
			}
			var p *Plan
			if p, err = NewPlan(d.Organisation, d.Project, d.Version, r); err == nil {
				c.plans[d.ID] = p
			}
		}
		if err != nil && !errors.Is(err, ErrElsewhere) {
			log.Error("a rule cannot be evaluated", "project_id", d.Project, "rule_id", d.ID, "version", d.Version, "err", err)
		}
	}
	for _, d := range windows {
		var w oncall.Window
		if err := json.Unmarshal(d.Body, &w); err != nil {
			log.Error("a maintenance window cannot be read", "organisation_id", d.Organisation, "window_id", d.ID, "err", err)
			continue
		}
		key := windowKey{d.Organisation, d.Project}
		b.windows[key] = append(b.windows[key], w.WithDefaults())
	}
	return b, nil
}

// held reports whether what has labels is under maintenance in a project.
func (b *book) held(organisation string, project uint32) func(labels map[string]string, slot int64) bool {
	own, all := b.windows[windowKey{organisation, project}], b.windows[windowKey{organisation, 0}]
	if len(own)+len(all) == 0 {
		return nil
	}
	return func(labels map[string]string, slot int64) bool {
		for _, list := range [][]oncall.Window{own, all} {
			for _, w := range list {
				if w.Covers(labels, unix(slot)) {
					return true
				}
			}
		}
		return false
	}
}

// Around is what beside the data decides how a rule is judged in slots from one time to another that
// nobody evaluates live: the maintenance windows as they are now, deploys, and what has ended.
func (p *Plan) Around(ctx context.Context, db *catalog.DB, from, to time.Time) (Surroundings, error) {
	deploys, err := db.Deploys(ctx, p.Project, from.Add(-softFor*time.Second), to)
	if err != nil {
		return Surroundings{}, err
	}
	ended, err := readEndings(ctx, db, p.Project, []*Plan{p}, from.Unix(), to.Unix())
	if err != nil {
		return Surroundings{}, err
	}
	b := &book{windows: map[windowKey][]oncall.Window{}}
	for _, project := range []uint32{0, p.Project} {
		documents, err := db.Documents(ctx, p.Organisation, WindowKind, project)
		if err != nil {
			return Surroundings{}, err
		}
		for _, d := range documents {
			var w oncall.Window
			if err := json.Unmarshal(d.Body, &w); err != nil {
				return Surroundings{}, fmt.Errorf("read maintenance window %s: %w", d.ID, err)
			}
			key := windowKey{p.Organisation, project}
			b.windows[key] = append(b.windows[key], w.WithDefaults())
		}
	}
	return Surroundings{Held: b.held(p.Organisation, p.Project), Soft: p.softAt(deploys), ended: ended}, nil
}

// ShardOf is the shard of a project. All rules of a project share one, so that one replica reads its
// data once and sees a rule beside those that it depends on.
func ShardOf(project uint32) int {
	return rule.Shard(strconv.FormatUint(uint64(project), 10), "", Shards)
}
