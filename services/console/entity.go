package console

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/midwatch/midwatch/services/access"
	"github.com/midwatch/midwatch/storage/catalog"
)

const (
	maxEndedLabels = 10
	maxEndedText   = 200
	// endedRetry is when one more may be taken, where too many have ended.
	endedRetry = 10 * time.Minute
)

// MarkEndedEntity notes that something of the project whose ingest key was sent has ended.
func (s *Server) MarkEndedEntity(ctx context.Context, r MarkEndedEntityRequestObject) (MarkEndedEntityResponseObject, error) {
	project, ok := ctx.Value(projectKey{}).(catalog.Project)
	if !ok {
		return nil, errors.New("no project was found by its key")
	}
	e, err := s.addEnded(ctx, project, *r.Body)
	return MarkEndedEntity201JSONResponse(e), err
}

// CreateEndedEntity notes that something has ended.
func (s *Server) CreateEndedEntity(ctx context.Context, r CreateEndedEntityRequestObject) (CreateEndedEntityResponseObject, error) {
	project, err := s.guard.Project(ctx, r.Project)
	if err != nil {
		return nil, err
	}
	e, err := s.addEnded(ctx, project, *r.Body)
	return CreateEndedEntity201JSONResponse(e), err
}

func (s *Server) addEnded(ctx context.Context, project catalog.Project, in NewEndedEntity) (EndedEntity, error) {
	if len(in.Labels) == 0 || len(in.Labels) > maxEndedLabels {
		return EndedEntity{}, access.Invalid("labels: between 1 and %d are needed", maxEndedLabels)
	}
	labels := make(map[string]string, len(in.Labels))
	for name, value := range in.Labels {
		name, err := line("labels", name, maxEndedText)
		if err != nil {
			return EndedEntity{}, err
		}
		if name == "" {
			return EndedEntity{}, access.Invalid("labels: a name is needed")
		}
		if value, err = line("labels."+name, value, maxEndedText); err != nil {
			return EndedEntity{}, err
		}
		if value == "" {
			return EndedEntity{}, access.Invalid("labels.%s: a value is needed", name)
		}
		labels[name] = value
	}
	e := catalog.EndedEntity{Project: project.Number, ID: uuid.Must(uuid.NewV7()).String(), At: time.Now().UTC(), Labels: labels}
	err := s.db.AddEndedEntity(ctx, e)
	if errors.Is(err, catalog.ErrLimit) {
		return EndedEntity{}, access.RateLimited(endedRetry, "%d things have ended within a day: more are not taken", catalog.MaxEnded)
	}
	return EndedEntity{Labels: labels, At: e.At, Until: e.At.Add(catalog.EndedFor)}, err
}
