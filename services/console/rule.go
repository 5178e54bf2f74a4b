package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/midwatch/midwatch/alerts/evaluate"
	"github.com/midwatch/midwatch/alerts/incident"
	"github.com/midwatch/midwatch/alerts/oncall"
	"github.com/midwatch/midwatch/alerts/rule"
	"github.com/midwatch/midwatch/services/access"
	"github.com/midwatch/midwatch/storage/catalog"
)

const (
	// maxTransitions and maxHistory bound what is asked of a rule's history.
	maxTransitions = 1000
	maxHistory     = 92 * 24 * time.Hour
	// overdue is how many intervals may pass before a rule that is not evaluated is a problem; at least
	// overdueFloor.
	overdue      = 3
	overdueFloor = 5 * time.Minute
)

// evaluations are how the rules of a project do.
type evaluations struct {
	now    time.Time
	cursor map[string]time.Time // as it is kept, minutes behind
	until  time.Time            // when all rules of the project are evaluated, at the least
	open   map[string]int
}

func (s *Server) evaluations(ctx context.Context, project catalog.Project) (evaluations, error) {
	e := evaluations{now: time.Now(), cursor: map[string]time.Time{}, open: map[string]int{}}
	states, err := s.db.RuleStatesOf(ctx, project.Number)
	if err != nil {
		return e, err
	}
	for _, state := range states {
		e.cursor[state.Rule] = state.Cursor
	}
	if e.until, err = s.db.EvaluatedUntil(ctx, evaluate.ShardOf(project.Number)); err != nil {
		return e, err
	}
	rows, err := s.db.Incidents(ctx, catalog.IncidentFilter{
		Organisation: project.OrganisationID, Project: project.Number, State: catalog.IncidentOpen, Limit: maxIncidents,
	})
	if err != nil {
		return e, err
	}
	for _, row := range rows {
		i := s.incidentBody(row)
		for _, in := range slices.Concat(i.Instances, i.Causes) {
			if in.Open() {
				e.open[in.Rule]++
			}
		}
	}
	return e, nil
}

func (e evaluations) of(d catalog.Document, r rule.Rule) RuleEvaluation {
	out := RuleEvaluation{Open: e.open[r.ID]}
	last, known := e.cursor[r.ID]
	if known {
		out.LastSlot = &last
	}
	if r.State != rule.Live && r.State != rule.Shadow {
		return out
	}
	plan, err := evaluate.NewPlan(d.Organisation, d.Project, d.Version, r)
	switch {
	case errors.Is(err, evaluate.ErrElsewhere):
		return out
	case err == nil && !e.until.IsZero():
		// It was not in what was evaluated before it was saved.
		if slot := time.Unix(plan.Slot(e.until.Unix()), 0).UTC(); slot.After(last) && slot.After(d.UpdatedAt) {
			last, out.LastSlot = slot, &slot
		}
	}
	if last.Before(d.UpdatedAt) {
		last = d.UpdatedAt // it may have been paused until then
	}
	if late := e.now.Sub(last); late > max(overdue*r.Interval.Std(), overdueFloor) {
		out.Problem = new(fmt.Sprintf("it has not been evaluated for %s", rule.Spell(rule.Duration(late/time.Second))))
	}
	return out
}

func (e evaluations) stored(d catalog.Document, r rule.Rule) StoredRule {
	effective := r.WithDefaults()
	return StoredRule{
		Meta: metaOf(d), Rule: r, Effective: effective, Class: effective.Class, Sentence: r.Sentence(),
		Warnings: problemsOf(rule.Warnings(r, rule.Env{})), Evaluation: e.of(d, effective),
	}
}

// ListRules answers with the rules of a project.
func (s *Server) ListRules(ctx context.Context, r ListRulesRequestObject) (ListRulesResponseObject, error) {
	project, err := s.guard.Project(ctx, r.Project)
	if err != nil {
		return nil, err
	}
	documents, err := s.db.Documents(ctx, project.OrganisationID, incident.DocRule, project.Number)
	if err != nil {
		return nil, err
	}
	e, err := s.evaluations(ctx, project)
	if err != nil {
		return nil, err
	}
	out := []StoredRule{}
	for _, d := range documents {
		var one rule.Rule
		if err := json.Unmarshal(d.Body, &one); err != nil {
			s.log.Warn("document left out", "kind", d.Kind, "document", d.ID, "err", err)
			continue
		}
		out = append(out, e.stored(d, one))
	}
	return ListRules200JSONResponse{Rules: out}, nil
}

// GetRule answers with one rule.
func (s *Server) GetRule(ctx context.Context, r GetRuleRequestObject) (GetRuleResponseObject, error) {
	project, err := s.guard.Project(ctx, r.Project)
	if err != nil {
		return nil, err
	}
	d, err := s.db.Document(ctx, project.OrganisationID, incident.DocRule, project.Number, r.Id)
	if err != nil {
		return nil, refusal(err, "rule", r.Id)
	}
	var one rule.Rule
	if err := json.Unmarshal(d.Body, &one); err != nil {
		return nil, fmt.Errorf("read rule %q: %w", r.Id, err)
	}
	e, err := s.evaluations(ctx, project)
	if err != nil {
		return nil, err
	}
	return GetRule200JSONResponse(e.stored(d, one)), nil
}

// ValidateRule judges a rule without keeping it.
func (s *Server) ValidateRule(ctx context.Context, r ValidateRuleRequestObject) (ValidateRuleResponseObject, error) {
	project, err := s.guard.Project(ctx, r.Project)
	if err != nil {
		return nil, err
	}
	var problems []access.Problem
	err = s.db.InTx(ctx, func(tx *catalog.Tx) (err error) {
		problems, err = judge(ctx, tx, project, *r.Body)
		return err
	})
	if err != nil {
		return nil, err
	}
	effective := r.Body.WithDefaults()
	out := ValidateRule200JSONResponse{
		Ok: len(problems) == 0, Problems: []Problem{}, Warnings: problemsOf(rule.Warnings(*r.Body, rule.Env{})),
		Sentence: r.Body.Sentence(), Class: effective.Class, Effective: effective,
	}
	if out.Class == "" {
		out.Class = rule.Cause // of a kind that there is not
	}
	for _, p := range problems {
		one := Problem{Field: p.Field, Message: p.Message}
		if len(p.Rules) > 0 {
			one.Rules = &p.Rules
		}
		out.Problems = append(out.Problems, one)
	}
	return out, nil
}

// judge says all that is wrong with a rule of a project.
func judge(ctx context.Context, tx *catalog.Tx, project catalog.Project, r rule.Rule) ([]access.Problem, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return nil, access.Invalid("the rule has a number that JSON cannot hold")
	}
	documents, err := tx.DocumentsOfKind(ctx, project.OrganisationID, incident.DocRule)
	if err != nil {
		return nil, err
	}
	env := rule.Env{Active: func(text string) error {
		_, err := oncall.ParseActive(text)
		return err
	}}
	for _, d := range documents {
		var other rule.Rule
		if d.Project == project.Number && json.Unmarshal(d.Body, &other) == nil {
			env.Rules = append(env.Rules, other)
		}
	}
	shelf, err := shelfOf(ctx, tx, project.OrganisationID)
	if err != nil {
		return nil, err
	}
	problems := shelf.missing(incident.DocRule, body)
	err = rule.Validate(r, env)
	if invalid, ok := errors.AsType[*rule.Invalid](err); ok {
		covering := rule.Covering(r, env.Rules)
		for _, p := range invalid.Problems {
			one := access.Problem{Field: p.Field, Message: p.Message}
			if strings.HasPrefix(p.Message, "a cause cannot page") {
				one.Rules = covering
			}
			problems = append(problems, one)
		}
		err = nil
	}
	return problems, err
}

func problemsOf(all []rule.Problem) []Problem {
	out := make([]Problem, len(all))
	for i, p := range all {
		out[i] = Problem{Field: p.Field, Message: p.Message}
	}
	return out
}

// PutRule makes or changes a rule.
func (s *Server) PutRule(ctx context.Context, r PutRuleRequestObject) (PutRuleResponseObject, error) {
	project, err := s.guard.Project(ctx, r.Project)
	if err != nil {
		return nil, err
	}
	one, c := *r.Body, change{r.Params.Version, text(r.Params.Source)}
	if err := identify(r.Id, &one.ID); err != nil {
		return nil, err
	}
	body, err := json.Marshal(one)
	if err != nil {
		return nil, access.Invalid("the rule has a number that JSON cannot hold")
	}
	var d catalog.Document
	err = s.db.InTx(ctx, func(tx *catalog.Tx) error {
		problems, err := judge(ctx, tx, project, one)
		if err != nil {
			return err
		}
		if len(problems) > 0 {
			return access.Unprocessable(problems...)
		}
		d, err = tx.PutDocument(ctx, catalog.Document{
			Organisation: project.OrganisationID, Kind: incident.DocRule, Project: project.Number,
			ID: one.ID, Name: one.Name, Body: body, UpdatedBy: c.by(ctx),
		}, c.replaces())
		return err
	})
	if err != nil {
		return nil, refusal(err, "rule", r.Id)
	}
	e, err := s.evaluations(ctx, project)
	if err != nil {
		return nil, err
	}
	return PutRule200JSONResponse(e.stored(d, one)), nil
}

// DeleteRule removes a rule on which no other depends.
func (s *Server) DeleteRule(ctx context.Context, r DeleteRuleRequestObject) (DeleteRuleResponseObject, error) {
	project, err := s.guard.Project(ctx, r.Project)
	if err != nil {
		return nil, err
	}
	err = s.db.InTx(ctx, func(tx *catalog.Tx) error {
		documents, err := tx.DocumentsOfKind(ctx, project.OrganisationID, incident.DocRule)
		if err != nil {
			return err
		}
		var users []string
		for _, d := range documents {
			var other rule.Rule
			if d.Project == project.Number && json.Unmarshal(d.Body, &other) == nil && slices.Contains(other.DependsOn, r.Id) {
				users = append(users, "rule "+other.Name)
			}
		}
		if len(users) > 0 {
			return access.Conflict("the rule %q is named in depends_on of %s: change that first", r.Id, enumerate(users))
		}
		return tx.DeleteDocument(ctx, project.OrganisationID, incident.DocRule, project.Number, r.Id)
	})
	return DeleteRule204Response{}, refusal(err, "rule", r.Id)
}

// ListTransitions answers with what the instances of a rule did.
func (s *Server) ListTransitions(ctx context.Context, r ListTransitionsRequestObject) (ListTransitionsResponseObject, error) {
	project, err := s.guard.Project(ctx, r.Project)
	if err != nil {
		return nil, err
	}
	if err := span(r.Params.From, r.Params.To, maxHistory); err != nil {
		return nil, err
	}
	all, err := s.db.Transitions(ctx, project.Number, r.Id, r.Params.From, r.Params.To, maxTransitions)
	if err != nil {
		return nil, err
	}
	out := make([]Transition, len(all))
	for i, t := range all {
		out[i] = Transition{Id: t.ID, At: t.At, Rule: t.Rule, Group: t.Group, Kind: t.Kind, Incident: unless(t.Incident), Details: object(t.Body)}
	}
	return ListTransitions200JSONResponse{Transitions: out}, nil
}

// object is JSON of an object; nil where it is none.
func object(data []byte) *map[string]any {
	var v map[string]any
	if len(data) == 0 || json.Unmarshal(data, &v) != nil || v == nil {
		return nil
	}
	return &v
}

// unless is v unless it is zero.
func unless[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}
