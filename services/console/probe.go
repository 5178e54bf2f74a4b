package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/google/uuid"

	"github.com/midwatch/midwatch/alerts/probe"
	"github.com/midwatch/midwatch/services/access"
	"github.com/midwatch/midwatch/storage/catalog"
)

const (
	// probeTestRegion is what the server calls itself where it runs a probe by hand.
	probeTestRegion = "here"
	// How often an organisation may run a probe by hand, and how many run at once on this server.
	probeTests        = 30
	probeTestWindow   = time.Minute
	probeTestsRunning = 8
	probeTestsRetry   = 5 * time.Second
)

var probeID = regexp.MustCompile(`^[0-9A-Za-z-]{1,64}$`)

// StoredProbe is a probe with what the catalog knows of it.
type StoredProbe struct {
	probe.Probe
	Version   int64     `json:"version"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

// ListProbes answers with the probes of a project.
func (s *Server) ListProbes(ctx context.Context, r ListProbesRequestObject) (ListProbesResponseObject, error) {
	project, err := s.guard.Project(ctx, r.Project)
	if err != nil {
		return nil, err
	}
	documents, err := s.db.Documents(ctx, project.OrganisationID, probe.DocumentKind, project.Number)
	if err != nil {
		return nil, err
	}
	probes := make([]StoredProbe, len(documents))
	for i, d := range documents {
		if probes[i], err = storedProbe(d); err != nil {
			return nil, err
		}
	}
	return ListProbes200JSONResponse{Probes: probes}, nil
}

// CreateProbe makes a probe.
func (s *Server) CreateProbe(ctx context.Context, r CreateProbeRequestObject) (CreateProbeResponseObject, error) {
	project, err := s.guard.Project(ctx, r.Project)
	if err != nil {
		return nil, err
	}
	settings := *r.Body
	if settings.ID != "" {
		return nil, access.Invalid("id: a new probe is given one")
	}
	others, err := s.db.Documents(ctx, project.OrganisationID, probe.DocumentKind, project.Number)
	if err != nil {
		return nil, err
	}
	if len(others) >= probe.MaxPerProject {
		return nil, access.Conflict("a project has at most %d probes", probe.MaxPerProject)
	}
	settings.ID = uuid.Must(uuid.NewV7()).String()
	stored, err := s.putProbe(ctx, project, settings, catalog.NewDocument)
	return CreateProbe201JSONResponse(stored), err
}

// GetProbe answers with one probe.
func (s *Server) GetProbe(ctx context.Context, r GetProbeRequestObject) (GetProbeResponseObject, error) {
	project, err := s.guard.Project(ctx, r.Project)
	if err != nil {
		return nil, err
	}
	d, err := s.probeDocument(ctx, project, r.Probe)
	if err != nil {
		return nil, err
	}
	stored, err := storedProbe(d)
	return GetProbe200JSONResponse(stored), err
}

// SetProbe changes a probe that there is.
func (s *Server) SetProbe(ctx context.Context, r SetProbeRequestObject) (SetProbeResponseObject, error) {
	project, err := s.guard.Project(ctx, r.Project)
	if err != nil {
		return nil, err
	}
	old, err := s.probeDocument(ctx, project, r.Probe)
	if err != nil {
		return nil, err
	}
	settings := *r.Body
	if settings.ID != "" && settings.ID != old.ID {
		return nil, access.Invalid("id: it cannot be changed")
	}
	settings.ID = old.ID
	// What was removed in the meantime is not made again, nor what was changed meanwhile undone.
	version := old.Version
	if asked := r.Params.Version; asked != nil && *asked != version {
		return nil, access.Conflict("somebody else has changed this probe: it has version %d now, not %d", version, *asked)
	}
	stored, err := s.putProbe(ctx, project, settings, version)
	return SetProbe200JSONResponse(stored), err
}

// DeleteProbe removes a probe.
func (s *Server) DeleteProbe(ctx context.Context, r DeleteProbeRequestObject) (DeleteProbeResponseObject, error) {
	project, err := s.guard.Project(ctx, r.Project)
	if err != nil {
		return nil, err
	}
	d, err := s.probeDocument(ctx, project, r.Probe)
	if err != nil {
		return nil, err
	}
	err = s.db.DeleteDocument(ctx, d.Organisation, d.Kind, d.Project, d.ID)
	if err != nil && !errors.Is(err, catalog.ErrNotFound) { // somebody else was faster
		return nil, err
	}
	return DeleteProbe204Response{}, nil
}

// TestProbe runs a probe once. It reaches what the probes of this server reach, and no more.
func (s *Server) TestProbe(ctx context.Context, r TestProbeRequestObject) (TestProbeResponseObject, error) {
	project, err := s.guard.Project(ctx, r.Project)
	if err != nil {
		return nil, err
	}
	settings := *r.Body
	if err := settings.Validate(); err != nil {
		return nil, access.Invalid("%s", err)
	}
	ok, after, err := s.cache.Allow(ctx, "probe-test:"+project.OrganisationID, probeTests, probeTestWindow)
	if err != nil {
		s.log.Warn("trials of probes are not limited: the cache does not answer", "request_id", access.RequestIDFrom(ctx), "err", err)
	} else if !ok {
		return nil, access.RateLimited(after, "your organisation may try a probe %d times a minute", probeTests)
	}
	select {
	case s.trying <- struct{}{}:
		defer func() { <-s.trying }()
	default:
		return nil, access.RateLimited(probeTestsRetry, "other probes are being tried at this moment, try again in a few seconds")
	}
	return TestProbe200JSONResponse(s.prober.Run(ctx, settings)), nil
}

func (s *Server) putProbe(ctx context.Context, project catalog.Project, settings probe.Probe, version int64) (StoredProbe, error) {
	if err := settings.Validate(); err != nil {
		return StoredProbe{}, access.Invalid("%s", err)
	}
	p, err := who(ctx)
	if err != nil {
		return StoredProbe{}, err
	}
	body, err := json.Marshal(settings)
	if err != nil {
		return StoredProbe{}, fmt.Errorf("encode probe %s: %w", settings.ID, err)
	}
	by := "an API token"
	if p.User != nil {
		by = p.User.Email
	}
	d, err := s.db.PutDocument(ctx, catalog.Document{
		Organisation: project.OrganisationID, Kind: probe.DocumentKind, Project: project.Number, ID: settings.ID, Name: settings.Name, Body: body, UpdatedBy: by,
	}, version)
	switch {
	case errors.Is(err, catalog.ErrConflict):
		return StoredProbe{}, access.Conflict("somebody else has changed this probe meanwhile: read it again")
	case errors.Is(err, catalog.ErrLimit):
		return StoredProbe{}, access.Conflict("a project has at most %d probes", probe.MaxPerProject)
	case err != nil:
		return StoredProbe{}, err
	}
	return storedProbe(d)
}

func storedProbe(d catalog.Document) (StoredProbe, error) {
	p, err := probe.Decode(d.Body)
	if err != nil {
		return StoredProbe{}, fmt.Errorf("probe %s of project %d: %w", d.ID, d.Project, err)
	}
	p.ID = d.ID
	return StoredProbe{Probe: p, Version: d.Version, CreatedAt: d.CreatedAt, UpdatedAt: d.UpdatedAt}, nil
}

func (s *Server) probeDocument(ctx context.Context, project catalog.Project, id string) (catalog.Document, error) {
	if !probeID.MatchString(id) {
		return catalog.Document{}, access.NotFound("there is no probe %q", id)
	}
	d, err := s.db.Document(ctx, project.OrganisationID, probe.DocumentKind, project.Number, id)
	if errors.Is(err, catalog.ErrNotFound) {
		return catalog.Document{}, access.NotFound("there is no probe %q", id)
	}
	return d, err
}
