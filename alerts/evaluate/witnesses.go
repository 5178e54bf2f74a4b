package evaluate

import (
	"context"
	"time"

	"github.com/midwatch/midwatch/alerts/rule"
	"github.com/midwatch/midwatch/storage/telemetry"
)

// witnesses are the users to whom the failures of an objective with little traffic happened. Logs of
// requests may name them. Metrics do not, and not all logs do: then the error events of the same
// service and environment say, which most SDKs send with a user. Only what is asked for is read.
type witnesses struct {
	plan *Plan
	from int64 // of the first minute that slots look at, in Unix seconds
	// read calls with all of that time.
	read func(call func(ctx context.Context, store *telemetry.Store, sc telemetry.Scope) error) error

	groups  map[string][]users // of logs; nil before they are read
	origins map[origin][]users // of error events
	err     error
}

// origin is where error events come from; what is empty is not asked for.
type origin struct{ service, environment string }

// users are those of one minute, counted from the first that is read.
type users struct {
	minute int64
	telemetry.Users
}

// witnesses are those of an ask that is judged by its history.
func (r *Reader) witnesses(ctx context.Context, a Ask) *witnesses {
	h := a.Plan.histories[0]
	from, to := h.end(a.Plan, a.First)-int64(rule.FewWindow), h.end(a.Plan, a.last())
	w := &witnesses{plan: a.Plan, from: from, origins: map[origin][]users{}}
	w.read = func(call func(ctx context.Context, store *telemetry.Store, sc telemetry.Scope) error) error {
		ctx := ctx
		if !r.Patient {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeoutCause(ctx, batchTimeout, errSlow)
			defer cancel()
		}
		sc, err := r.scope(from, to)
		if err != nil {
			return err
		}
		return call(ctx, r.store, sc)
	}
	return w
}

// count is how many users saw failures of a group in the half hour before end: one, or two for more; -1
// where nothing tells. After a failed read it is -1, too, and err says why.
func (w *witnesses) count(key string, values []string, end int64) int {
	var found []users
	if w.plan.Rule.Query.Source == rule.Logs {
		found = w.within(w.logged()[key], end)
	}
	if len(found) == 0 {
		found = w.within(w.reported(origin{w.plan.valueIn(values, "service"), w.plan.valueIn(values, "environment")}), end)
	}
	if len(found) == 0 {
		return -1
	}
	all := found[0].Users
	for _, one := range found {
		all.Add(one.Users)
	}
	if all.Several() {
		return 2
	}
	return 1
}

// within are those of the half hour before end, of users in the order of their minutes.
func (w *witnesses) within(all []users, end int64) []users {
	to := (end - w.from) / 60
	from := to - int64(rule.FewWindow/rule.Minute)
	var found []users
	for _, one := range all {
		if one.minute >= from && one.minute < to {
			found = append(found, one)
		}
	}
	return found
}

// logged are the users that the failed among the records name, by group.
func (w *witnesses) logged() map[string][]users {
	if w.groups != nil || w.err != nil {
		return w.groups
	}
	w.groups = map[string][]users{}
	_, bad, err := w.plan.logFilters()
	if err != nil {
		w.err = err
		return nil
	}
	ask := telemetry.LogUsersAsk{Step: time.Minute, Filter: bad}
	if by := w.plan.Rule.Query.By; len(by) > 0 {
		ask.By = logLabel(by[0])
	}
	w.err = w.read(func(ctx context.Context, store *telemetry.Store, sc telemetry.Scope) error {
		return store.LogUsers(ctx, sc, ask, func(n int, group string, u telemetry.Users) error {
			if len(w.groups) > maxGroups {
				return &telemetry.LimitError{Limit: "groups"}
			}
			w.groups[group] = append(w.groups[group], users{int64(n), u})
			return nil
		})
	})
	return w.groups
}

// reported are the users of error events.
func (w *witnesses) reported(of origin) []users {
	found, known := w.origins[of]
	if known || w.err != nil {
		return found
	}
	ask := telemetry.ErrorUsersAsk{Step: time.Minute, Service: of.service, Environment: of.environment}
	w.err = w.read(func(ctx context.Context, store *telemetry.Store, sc telemetry.Scope) error {
		return store.ErrorUsers(ctx, sc, ask, func(n int, u telemetry.Users) error {
			found = append(found, users{int64(n), u})
			return nil
		})
	})
	w.origins[of] = found
	return found
}
