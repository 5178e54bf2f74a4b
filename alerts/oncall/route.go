package oncall

import (
	"errors"
	"fmt"
	"slices"

	"github.com/midwatch/midwatch/alerts/match"
)

const (
	maxRoutes     = 200 // in the whole tree
	maxRouteDepth = 5
	maxGroupBy    = 10
	maxLabelBytes = 128
)

// DefaultGroupBy returns the labels by which instances become one incident unless a route says
// otherwise.
func DefaultGroupBy() []string { return []string{"service", "environment", "area"} }

// Route says who gets what its matchers match. What it leaves empty is that of the route around it.
type Route struct {
	ID       string    `json:"id"`
	Matchers match.Set `json:"matchers"` // none match everything
	Team     string    `json:"team"`
	Policy   string    `json:"policy"` // the team's if it is empty
	GroupBy  []string  `json:"group_by,omitempty"`
	Continue bool      `json:"continue,omitempty"` // the routes behind it are asked as well
	Routes   []Route   `json:"routes,omitempty"`
}

// Routes is the tree of routes of an organisation. Of each list the first route that matches is
// taken; within it, the first of its own that matches, or else itself. The last route of the
// outermost list matches everything.
type Routes struct {
	Routes []Route `json:"routes"`
}

// Match is where an instance belongs.
type Match struct {
	Team    string   `json:"team"`
	Policy  string   `json:"policy"` // empty: the team's
	GroupBy []string `json:"group_by"`
	Path    []string `json:"path"` // the ids of the routes, from the outermost to the one that is taken
}

// Find returns where what has these labels belongs: one place, or several if routes continue.
func (r Routes) Find(labels map[string]string) []Match {
	return find(r.Routes, labels, Match{GroupBy: DefaultGroupBy()})
}

func find(routes []Route, labels map[string]string, around Match) []Match {
	if len(around.Path) >= maxRouteDepth {
		return nil
	}
	var found []Match
	for _, r := range routes {
		if !r.Matchers.Match(labels) {
			continue
		}
		m := around.inside(r)
		if inner := find(r.Routes, labels, m); len(inner) > 0 {
			found = append(found, inner...)
		} else {
			found = append(found, m)
		}
		if !r.Continue {
			break
		}
	}
	return found
}

func (m Match) inside(r Route) Match {
	m.Path = append(slices.Clone(m.Path), r.ID)
	if r.Team != "" && r.Team != m.Team {
		m.Team, m.Policy = r.Team, "" // the policy around it is that of another team
	}
	if r.Policy != "" {
		m.Policy = r.Policy
	}
	if len(r.GroupBy) > 0 {
		m.GroupBy = r.GroupBy
	}
	return m
}

// Validate reports the first thing that is wrong; the message names the field.
func (r Routes) Validate() error {
	if len(r.Routes) == 0 {
		return errors.New("routes: are missing")
	}
	if err := validRoutes("routes", r.Routes, "", 1, map[string]bool{}); err != nil {
		return err
	}
	last := len(r.Routes) - 1
	if len(r.Routes[last].Matchers) > 0 {
		return fmt.Errorf("routes[%d].matchers: the last route is the default and matches everything", last)
	}
	return nil
}

func validRoutes(field string, routes []Route, team string, depth int, ids map[string]bool) error {
	if depth > maxRouteDepth {
		return fmt.Errorf("%s: routes are more than %d deep", field, maxRouteDepth)
	}
	for i, r := range routes {
		at := fmt.Sprintf("%s[%d]", field, i)
		if err := validID(r.ID); err != nil {
			return fmt.Errorf("%s.id: %w", at, err)
		}
		if ids[r.ID] {
			return fmt.Errorf("%s.id: %q is that of another route as well", at, r.ID)
		}
		if ids[r.ID] = true; len(ids) > maxRoutes {
			return fmt.Errorf("%s: more than %d routes", at, maxRoutes)
		}
		if err := r.Matchers.Validate(); err != nil {
			return fmt.Errorf("%s.%w", at, err)
		}
		inner := team
		if r.Team != "" {
			inner = r.Team
		}
		if err := validID(inner); err != nil {
			return fmt.Errorf("%s.team: %w", at, err)
		}
		if len(r.Policy) > maxIDBytes {
			return fmt.Errorf("%s.policy: is not an id", at)
		}
		if len(r.GroupBy) > maxGroupBy {
			return fmt.Errorf("%s.group_by: more than %d", at, maxGroupBy)
		}
		for n, label := range r.GroupBy {
			if label == "" || len(label) > maxLabelBytes {
				return fmt.Errorf("%s.group_by[%d]: is not a label", at, n)
			}
		}
		// Behind a route that takes everything no other is ever asked.
		if len(r.Matchers) == 0 && !r.Continue && i < len(routes)-1 {
			return fmt.Errorf("%s.matchers: are missing, so that the routes behind it would never be asked", at)
		}
		if err := validRoutes(at+".routes", r.Routes, inner, depth+1, ids); err != nil {
			return err
		}
	}
	return nil
}
