package query

import (
	"context"
	"errors"
	"time"

	"github.com/midwatch/midwatch/alerts/rehearse"
	"github.com/midwatch/midwatch/alerts/rule"
)

// rehearsalDays is how far back a rehearsal looks unless it is told.
const rehearsalDays = 7

// RehearseRule answers with what a rule would have done in the last days.
func (s *Server) RehearseRule(ctx context.Context, r RehearseRuleRequestObject) (RehearseRuleResponseObject, error) {
	days := rehearsalDays
	if r.Body.Days != nil {
		days = *r.Body.Days
	}
	if days < 1 || days > rehearse.MaxDays {
		return nil, invalid("days: %d is not from 1 to %d", days, rehearse.MaxDays)
	}
	asked := r.Body.Rule.WithDefaults()
	if err := rule.Validate(r.Body.Rule, rule.Env{}); err != nil {
		if wrong, ok := errors.AsType[*rule.Invalid](err); ok && unusable(wrong) {
			return nil, invalid("the rule cannot be rehearsed: %s", err)
		}
	}
	now := time.Now().UTC()
	return read(ctx, s, r.Project, now.Add(-time.Duration(days)*24*time.Hour), now, func(ctx context.Context, in subject) (RehearseRuleResponseObject, error) {
		book, err := s.desk.Book(ctx, in.project.OrganisationID)
		if err != nil {
			return nil, err
		}
		result, err := rehearse.Rehearse(ctx, s.store, s.db, in.project, asked, days, book, now)
		if err != nil {
			return nil, err
		}
		return RehearseRule200JSONResponse(result), nil
	})
}

// unusable reports whether what is wrong with a rule keeps it from being evaluated: that nobody knows
// yet what to do when it pages does not.
func unusable(wrong *rule.Invalid) bool {
	for _, p := range wrong.Problems {
		switch p.Field {
		case "first_action", "runbook_url", "name", "id", "approved_by", "consequence", "time_to_symptom", "wall":
		default:
			return true
		}
	}
	return false
}
