package alerting

import (
	"context"
	"encoding/json"
	"errors"
	"hash/fnv"
	"log/slog"
	"time"

	"github.com/midwatch/midwatch/alerts/deliver"
	"github.com/midwatch/midwatch/alerts/desk"
	"github.com/midwatch/midwatch/alerts/incident"
	"github.com/midwatch/midwatch/alerts/notify"
	"github.com/midwatch/midwatch/storage/catalog"
)

const (
	canaryInterval = 10 * time.Minute
	canaryLease    = "canary of receivers"
	canaryTimeout  = 8 * time.Second
	// maxChecks bounds one pass, which so ends before the lease does.
	maxChecks = 50
	week      = 7 * 24 * time.Hour
)

// canary tries receivers each week, so that one that takes nothing is known before it is needed.
type canary struct {
	holder string
	db     *catalog.DB
	open   func(ctx context.Context, organisation, id string) (notify.Notifier, error)
	sender *deliver.Sender
	log    *slog.Logger
}

// checkedAfter is the newest time at which a receiver should have been tried: once a week, each at a
// time of its own.
func checkedAfter(organisation, id string, now time.Time) time.Time {
	h := fnv.New64a()
	h.Write([]byte(organisation + "/" + id))
	offset := int64(h.Sum64() % uint64(week/time.Second))
	weeks := (now.Unix() - offset) / int64(week/time.Second)
	return time.Unix(weeks*int64(week/time.Second)+offset, 0).UTC()
}

// pass tries the receivers whose time has come.
func (c *canary) pass(ctx context.Context, now time.Time) error {
	mine, err := c.db.TakeLease(ctx, canaryLease, c.holder, now, canaryInterval+time.Minute)
	if err != nil || !mine {
		return err
	}
	documents, err := c.db.AllDocuments(ctx, incident.DocReceiver)
	if err != nil {
		return err
	}
	states, of := map[string][]byte{}, ""
	checks := 0
	for _, d := range documents {
		due := checkedAfter(d.Organisation, d.ID, now)
		if !d.CreatedAt.Before(due) {
			continue
		}
		if d.Organisation != of {
			if states, err = c.db.ReceiverStates(ctx, d.Organisation); err != nil {
				return err
			}
			of = d.Organisation
		}
		var state desk.ReceiverState
		if body := states[d.ID]; len(body) > 0 && json.Unmarshal(body, &state) != nil || !state.CheckedAt.Before(due) {
			continue
		}
		tried, err := c.try(ctx, d, now)
		if err != nil {
			return err
		}
		if !tried {
			continue
		}
		if checks++; checks == maxChecks {
			return nil
		}
	}
	return nil
}

// try tries one receiver, if it can be tried silently.
func (c *canary) try(ctx context.Context, d catalog.Document, now time.Time) (bool, error) {
	calling, cancel := context.WithTimeoutCause(ctx, canaryTimeout, errors.New("the receiver did not answer in time"))
	defer cancel()
	to, failure := c.open(calling, d.Organisation, d.ID)
	if failure == nil {
		checker, ok := to.(notify.Checker)
		if !ok {
			return false, nil
		}
		_, failure = checker.Check(calling)
	}
	if ctx.Err() != nil {
		return false, nil
	}
	if _, permanent := errors.AsType[*notify.PermanentError](failure); failure != nil && !permanent {
		c.log.Info("a receiver could not be tried", "organisation_id", d.Organisation, "receiver", d.ID, "err", failure)
	}
	projects, err := c.db.Projects(ctx, d.Organisation)
	if err != nil {
		return false, err
	}
	var project uint32
	if len(projects) > 0 {
		project = projects[0].Number
	}
	return true, c.sender.Checked(ctx, d.Organisation, d.ID, project, failure, now)
}
