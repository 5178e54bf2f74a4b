package alerting

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/midwatch/midwatch/alerts/probe"
	"github.com/midwatch/midwatch/storage/catalog"
)

// probeRegion is what the place of this process is called in probes.
const probeRegion = "local"

// probesReadAgain is after how long the probes are read again although none has changed: keys of
// projects may have.
const probesReadAgain = 5 * time.Minute

// NewProbes returns the runner of the probes of all projects in db for the region "local". Results go
// to the intake at base. allow are networks that are not public and may be asked all the same.
func NewProbes(base string, allow []netip.Prefix, db *catalog.DB, log *slog.Logger) *probe.Runner {
	prober := probe.New(probe.Config{Region: probeRegion, Allow: allow, AllowedBy: probe.AllowVariable})
	return probe.NewRunner(base, prober, &catalogProbes{db: db, log: log}, log)
}

// catalogProbes is the source of probes that has the catalog at hand. It is used by one goroutine.
type catalogProbes struct {
	db  *catalog.DB
	log *slog.Logger

	version int64
	read    time.Time // zero before the first
	last    []probe.Project
}

// Projects returns the projects that have probes.
func (c *catalogProbes) Projects(ctx context.Context) ([]probe.Project, error) {
	// Before the documents: what changes in between is read again next time.
	version, err := c.db.DocumentsVersion(ctx)
	if err != nil {
		return nil, err
	}
	if version == c.version && !c.read.IsZero() && time.Since(c.read) < probesReadAgain {
		return c.last, nil
	}
	documents, err := c.db.AllDocuments(ctx, probe.DocumentKind)
	if err != nil {
		return nil, err
	}
	projects := []probe.Project{}
	at := map[uint32]int{}
	for _, d := range documents {
		p, err := probe.Decode(d.Body)
		if err != nil {
			c.log.Warn("a probe cannot be read and is not run", "project_id", d.Project, "probe_id", d.ID, "err", err)
			continue
		}
		p.ID = d.ID
		i, ok := at[d.Project]
		if !ok {
			project, err := c.db.Project(ctx, d.Project)
			if errors.Is(err, catalog.ErrNotFound) {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("the key of project %d: %w", d.Project, err)
			}
			i = len(projects)
			at[d.Project] = i
			projects = append(projects, probe.Project{Number: project.Number, Key: project.IngestKey})
		}
		projects[i].Probes = append(projects[i].Probes, p)
	}
	c.version, c.read, c.last = version, time.Now(), projects
	return projects, nil
}
