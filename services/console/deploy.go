package console

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/midwatch/midwatch/services/access"
	"github.com/midwatch/midwatch/storage/catalog"
)

const (
	maxDeployText = 200
	maxDeployURL  = 1000
	maxDeploys    = 92 * 24 * time.Hour
	// A deploy may be told a little before it is done, and long after.
	deployAhead  = time.Hour
	deployBehind = 30 * 24 * time.Hour
)

type projectKey struct{}

// withKey finds the project by its ingest key, and takes a body of any type, since
// curl -d says that it sends a form.
func (s *Server) withKey(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		project, err := access.ProjectOfKey(c.Request().Context(), s.db, c.Request())
		if err != nil {
			return err
		}
		c.Request().Header.Set(echo.HeaderContentType, echo.MIMEApplicationJSON)
		c.SetRequest(c.Request().WithContext(context.WithValue(c.Request().Context(), projectKey{}, project)))
		return next(c)
	}
}

// MarkDeploy notes a deploy of the project whose ingest key was sent.
func (s *Server) MarkDeploy(ctx context.Context, r MarkDeployRequestObject) (MarkDeployResponseObject, error) {
	project, ok := ctx.Value(projectKey{}).(catalog.Project)
	if !ok {
		return nil, errors.New("no project was found by its key")
	}
	d, err := s.addDeploy(ctx, project, *r.Body, "")
	return MarkDeploy201JSONResponse(d), err
}

// CreateDeploy notes a deploy.
func (s *Server) CreateDeploy(ctx context.Context, r CreateDeployRequestObject) (CreateDeployResponseObject, error) {
	project, err := s.guard.Project(ctx, r.Project)
	if err != nil {
		return nil, err
	}
	d, err := s.addDeploy(ctx, project, *r.Body, actor(ctx))
	return CreateDeploy201JSONResponse(d), err
}

func (s *Server) addDeploy(ctx context.Context, project catalog.Project, in NewDeploy, person string) (Deploy, error) {
	now := time.Now().UTC()
	d := catalog.Deploy{Project: project.Number, ID: uuid.Must(uuid.NewV7()).String(), At: now, Person: person, Source: "api"}
	for _, field := range []struct {
		name string
		in   string
		out  *string
		most int
	}{
		{"service", in.Service, &d.Service, maxDeployText},
		{"release", in.Release, &d.Release, maxDeployText},
		{"environment", text(in.Environment), &d.Environment, maxDeployText},
		{"url", text(in.Url), &d.URL, maxDeployURL},
		{"person", text(in.Person), &d.Person, maxDeployText},
	} {
		value, err := line(field.name, field.in, field.most)
		if err != nil {
			return Deploy{}, err
		}
		if value != "" {
			*field.out = value
		}
	}
	switch {
	case d.Service == "":
		return Deploy{}, access.Invalid("service: a name is needed")
	case d.Release == "":
		return Deploy{}, access.Invalid("release: a name is needed")
	case d.URL != "" && !isPage(d.URL):
		return Deploy{}, access.Invalid("url: it is not the address of a page")
	}
	d.Soft = in.Soft != nil && *in.Soft
	if in.At != nil {
		d.At = in.At.UTC()
		if d.At.After(now.Add(deployAhead)) || d.At.Before(now.Add(-deployBehind)) {
			return Deploy{}, access.Invalid("at: it is not within the last 30 days")
		}
	}
	return deployOf(d), s.db.AddDeploy(ctx, d)
}

// isPage reports whether an address can be a link.
func isPage(address string) bool {
	u, err := url.Parse(address)
	return err == nil && (strings.EqualFold(u.Scheme, "http") || strings.EqualFold(u.Scheme, "https")) && u.Host != ""
}

func deployOf(d catalog.Deploy) Deploy {
	return Deploy{
		Id: d.ID, At: d.At, Service: d.Service, Environment: d.Environment, Release: d.Release, Person: d.Person, Url: d.URL, Source: DeploySource(d.Source), Soft: d.Soft,
	}
}

// ListDeploys answers with the deploys of a range.
func (s *Server) ListDeploys(ctx context.Context, r ListDeploysRequestObject) (ListDeploysResponseObject, error) {
	project, err := s.guard.Project(ctx, r.Project)
	if err != nil {
		return nil, err
	}
	if err := span(r.Params.From, r.Params.To, maxDeploys); err != nil {
		return nil, err
	}
	all, err := s.db.Deploys(ctx, project.Number, r.Params.From, r.Params.To)
	if err != nil {
		return nil, err
	}
	out := make([]Deploy, len(all))
	for i, d := range all {
		out[i] = deployOf(d)
	}
	return ListDeploys200JSONResponse{Deploys: out}, nil
}
