package console

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/midwatch/midwatch/services/access"
	"github.com/midwatch/midwatch/storage/catalog"
)

const (
	maxProjectName = 100
	maxProjectSlug = 50
	// slugTries is how many slugs are tried of a name whose own is taken.
	slugTries = 20
)

var projectSlug = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,49}$`)

// ListProjects answers with the projects of the caller's organisation.
func (s *Server) ListProjects(ctx context.Context, _ ListProjectsRequestObject) (ListProjectsResponseObject, error) {
	p, err := who(ctx)
	if err != nil {
		return nil, err
	}
	projects, err := s.db.Projects(ctx, p.Organisation.ID)
	if err != nil {
		return nil, err
	}
	return ListProjects200JSONResponse{Projects: projectsOf(projects)}, nil
}

// CreateProject makes a project. A slug that is made from the name gets a number when it is taken;
// one that was asked for does not.
func (s *Server) CreateProject(ctx context.Context, r CreateProjectRequestObject) (CreateProjectResponseObject, error) {
	p, err := who(ctx)
	if err != nil {
		return nil, err
	}
	name, err := line("name", r.Body.Name, maxProjectName)
	if err != nil {
		return nil, err
	}
	if name == "" {
		return nil, access.Invalid("name: a name is needed")
	}
	var slugs []string
	if r.Body.Slug != nil {
		if !projectSlug.MatchString(*r.Body.Slug) {
			return nil, access.Invalid("slug: up to 50 lower-case letters, digits and hyphens, of which the first is no hyphen")
		}
		slugs = []string{*r.Body.Slug}
	} else {
		slugs = slugsOf(name)
	}
	for _, slug := range slugs {
		project, err := s.db.CreateProject(ctx, p.Organisation.ID, slug, name)
		switch {
		case err == nil:
			return CreateProject201JSONResponse(projectOf(project)), nil
		case errors.Is(err, catalog.ErrLimit):
			return nil, access.Conflict("an organisation has at most %d projects", catalog.MaxProjects)
		case !errors.Is(err, catalog.ErrConflict):
			return nil, err
		}
	}
	return nil, access.Conflict("slug: there is a project %q already", slugs[0])
}

// GetSetup answers with everything that a sender needs.
func (s *Server) GetSetup(ctx context.Context, r GetSetupRequestObject) (GetSetupResponseObject, error) {
	project, err := s.guard.Project(ctx, r.Project)
	if err != nil {
		return nil, err
	}
	return GetSetup200JSONResponse{
		IngestKey:   project.IngestKey,
		HttpUrl:     s.urls.HTTP,
		OtlpHttpUrl: s.urls.OTLPHTTP,
		OtlpGrpcUrl: s.urls.OTLPGRPC,
		Dsn:         s.urls.DSN(project),
		PingUrl:     s.urls.Ping(project.IngestKey, ""),
	}, nil
}

// slugsOf returns slugs for a name, the best first.
func slugsOf(name string) []string {
	var b strings.Builder
	for _, r := range strings.ToLower(name) {
		switch {
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
	}
	base := strings.Trim(b.String()[:min(b.Len(), maxProjectSlug-len("-20"))], "-")
	if base == "" {
		base = "project"
	}
	slugs := []string{base}
	for n := 2; n <= slugTries; n++ {
		slugs = append(slugs, fmt.Sprintf("%s-%d", base, n))
	}
	return slugs
}

// line is a text of one line that a person gives a thing to be called by.
func line(name, text string, most int) (string, error) {
	text = strings.TrimSpace(text)
	switch {
	case !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl):
		return "", access.Invalid("%s: only text of one line", name)
	case utf8.RuneCountInString(text) > most:
		return "", access.Invalid("%s: at most %d characters", name, most)
	}
	return text, nil
}

func projectsOf(projects []catalog.Project) []Project {
	out := make([]Project, len(projects))
	for i, p := range projects {
		out[i] = projectOf(p)
	}
	return out
}

func projectOf(p catalog.Project) Project {
	return Project{Number: p.Number, Slug: p.Slug, Name: p.Name, CreatedAt: p.CreatedAt}
}
