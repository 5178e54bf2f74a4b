package console

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/midwatch/midwatch/alerts/desk"
	"github.com/midwatch/midwatch/alerts/incident"
	"github.com/midwatch/midwatch/alerts/notify"
	"github.com/midwatch/midwatch/alerts/notify/receivers"
	"github.com/midwatch/midwatch/services/access"
	"github.com/midwatch/midwatch/storage/catalog"
)

func storedReceiver(s stored[receivers.Receiver], state desk.ReceiverState) StoredReceiver {
	out := ReceiverState{Status: ReceiverStateStatusUnknown, LastDeliveredAt: unless(state.DeliveredAt), LastError: unless(state.Error)}
	switch {
	case !state.BrokenAt.IsZero():
		out.Status, out.Since = ReceiverStateStatusBroken, &state.BrokenAt
	case !state.UnreachableAt.IsZero():
		out.Status, out.Since = ReceiverStateStatusUnreachable, &state.UnreachableAt
	case !state.DeliveredAt.IsZero():
		out.Status = ReceiverStateStatusOk
	}
	return StoredReceiver{Meta: metaOf(s.document), Receiver: s.value.Masked(), State: out, UsedBy: s.used}
}

// receiverStates returns what is remembered of receivers, by their ids.
func (s *Server) receiverStates(ctx context.Context, organisation string) (map[string]desk.ReceiverState, error) {
	bodies, err := s.db.ReceiverStates(ctx, organisation)
	if err != nil {
		return nil, err
	}
	states := make(map[string]desk.ReceiverState, len(bodies))
	for id, body := range bodies {
		var state desk.ReceiverState
		if err := json.Unmarshal(body, &state); err != nil {
			s.log.Warn("state of a receiver left out", "receiver", id, "err", err)
			continue
		}
		states[id] = state
	}
	return states, nil
}

// ListReceivers answers with the receivers, their secrets masked.
func (s *Server) ListReceivers(ctx context.Context, r ListReceiversRequestObject) (ListReceiversResponseObject, error) {
	organisation, err := s.organisation(ctx, r.Project)
	if err != nil {
		return nil, err
	}
	all, err := list(ctx, s, notifiers, r.Project)
	if err != nil {
		return nil, err
	}
	states, err := s.receiverStates(ctx, organisation)
	if err != nil {
		return nil, err
	}
	return ListReceivers200JSONResponse{Receivers: as(all, func(one stored[receivers.Receiver]) StoredReceiver {
		return storedReceiver(one, states[one.document.ID])
	})}, nil
}

// PutReceiver makes or changes a receiver. Secrets that come back as they were masked stay.
func (s *Server) PutReceiver(ctx context.Context, r PutReceiverRequestObject) (PutReceiverResponseObject, error) {
	organisation, err := s.organisation(ctx, r.Project)
	if err != nil {
		return nil, err
	}
	v, c := *r.Body, change{r.Params.Version, text(r.Params.Source)}
	old, err := s.db.Document(ctx, organisation, incident.DocReceiver, 0, r.Id)
	switch {
	case errors.Is(err, catalog.ErrNotFound):
	case err != nil:
		return nil, err
	default:
		var before receivers.Receiver
		if err := json.Unmarshal(old.Body, &before); err != nil {
			return nil, err
		}
		if v, err = v.MergeSecrets(before); err != nil {
			return nil, access.Unprocessable(problemOf(err))
		}
		if c.version == nil {
			c.version = &old.Version // the secrets are those of this version
		}
	}
	kept, err := put(ctx, s, notifiers, r.Project, r.Id, c, v)
	if err != nil {
		return nil, err
	}
	states, err := s.receiverStates(ctx, organisation)
	if err != nil {
		return nil, err
	}
	return PutReceiver200JSONResponse(storedReceiver(kept, states[r.Id])), nil
}

// DeleteReceiver removes a receiver.
func (s *Server) DeleteReceiver(ctx context.Context, r DeleteReceiverRequestObject) (DeleteReceiverResponseObject, error) {
	return DeleteReceiver204Response{}, s.remove(ctx, incident.DocReceiver, r.Project, r.Id)
}

// TestReceiver sends a test message by the way of all messages.
func (s *Server) TestReceiver(ctx context.Context, r TestReceiverRequestObject) (TestReceiverResponseObject, error) {
	project, err := s.guard.Project(ctx, r.Project)
	if err != nil {
		return nil, err
	}
	ok, after, err := s.cache.Allow(ctx, "receiver-test:"+project.OrganisationID, testsPerWindow, testWindow)
	if err != nil {
		s.log.Warn("tests of receivers are not limited: the cache does not answer", "request_id", access.RequestIDFrom(ctx), "err", err)
	} else if !ok {
		return nil, access.RateLimited(after, "too many tests: try again in a minute")
	}
	d, err := s.db.Document(ctx, project.OrganisationID, incident.DocReceiver, 0, r.Id)
	if err != nil {
		return nil, refusal(err, incident.DocReceiver, r.Id)
	}
	var receiver receivers.Receiver
	if err := json.Unmarshal(d.Body, &receiver); err != nil {
		return nil, err
	}
	now := time.Now().UTC()
	key := "test-" + uuid.Must(uuid.NewV7()).String() + ":1:" + r.Id + ":" + string(notify.Test)
	body, err := json.Marshal(receivers.TestMessage(receiver, key, now).Bounded())
	if err != nil {
		return nil, err
	}
	err = s.db.InTx(ctx, func(tx *catalog.Tx) error {
		return tx.Post(ctx, catalog.OutboxRow{
			Key: key, Organisation: project.OrganisationID, Project: project.Number, Seq: 1, Receiver: r.Id, State: catalog.OutboxDue,
			Action: string(notify.Test), Severity: notify.SeverityMail, Rank: incident.Rank(notify.SeverityMail), CreatedAt: now, DueAt: now, Message: body,
		})
	})
	if err != nil {
		return nil, err
	}
	s.desk.Woke()
	return TestReceiver202JSONResponse{Key: key}, nil
}

const (
	// How often the receivers of an organisation may be tested, in testWindow.
	testsPerWindow = 10
	testWindow     = time.Minute
)
