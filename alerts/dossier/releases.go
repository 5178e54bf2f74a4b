package dossier

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/midwatch/midwatch/storage/catalog"
	"github.com/midwatch/midwatch/storage/telemetry"
)

const (
	// releaseWindow is how far back NoteReleases looks for releases that were not there before; it is
	// called more often.
	releaseWindow = 10 * time.Minute
	// releaseKnown is for how long a deploy that somebody told of stands for its release.
	releaseKnown = 7 * 24 * time.Hour
)

// NoteReleases notes a deploy for each release that has errors in the last ten minutes, had none in
// the week before, and that nobody told of. It may be called by several processes at once.
func (b *Builder) NoteReleases(ctx context.Context, project uint32) error {
	now, err := b.cfg.Now(ctx)
	if err != nil {
		return err
	}
	sc, err := telemetry.NewScope(project, now.Add(-releaseWindow), now)
	if err != nil {
		return err
	}
	seen, err := b.store.ReleasesSeen(ctx, sc, maxFound)
	if err != nil {
		return fmt.Errorf("note the releases of project %d: %w", project, err)
	}
	// Logs tell of a release after an hour of silence again: what they say is no deploy.
	seen = slices.DeleteFunc(seen, func(r telemetry.ReleaseSeen) bool { return r.Service != "" })
	if len(seen) == 0 {
		return nil
	}
	known, err := b.db.Deploys(ctx, project, now.Add(-releaseKnown), now.Add(time.Minute))
	if err != nil {
		return err
	}
	for _, r := range seen {
		told := slices.ContainsFunc(known, func(d catalog.Deploy) bool { return d.Of(r.Release) && d.In("", r.Environment) })
		if told {
			continue
		}
		err := b.db.AddDeploy(ctx, catalog.Deploy{
			Project: project, ID: releaseID(r), At: r.FirstAt, Environment: r.Environment, Release: r.Release, Source: catalog.DeployFromErrors,
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// releaseID is the same whoever sees the release first.
func releaseID(r telemetry.ReleaseSeen) string {
	sum := sha256.Sum256([]byte(r.Release + "\x00" + r.Environment))
	return hex.EncodeToString(sum[:16])
}
