package probe

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"time"
)

const (
	// pollInterval is how often the list of probes is asked for.
	pollInterval = 15 * time.Second
	// aliveInterval is how often a region says that it runs.
	aliveInterval = 30 * time.Second
	// repeatReason is how often the reason of a lasting failure is told again.
	repeatReason = 5 * time.Minute
	// maxRunning bounds the probes that run at once: all, and those of a project, so that the slow
	// ones of one do not take the places of the others.
	maxRunning           = 64
	maxRunningPerProject = 16
	// maxProbes bounds what is scheduled: a longer list is cut.
	maxProbes = 20_000
)

// Project is the probes of a project, and the ingest key by which their results are sent to it.
type Project struct {
	Number uint32
	Key    string
	Probes []Probe
}

// Source lists what is to be probed. It is asked again and again; while it fails the last list holds.
type Source interface {
	Projects(ctx context.Context) ([]Project, error)
}

// Runner runs the probes of a source that are for the prober's region, each on its own clock.
type Runner struct {
	prober *Prober
	source Source
	sender *sender
	log    *slog.Logger

	places   chan struct{} // of maxRunning
	projects map[uint32]*scheduled
}

// scheduled is a project that has probes here.
type scheduled struct {
	number uint32
	places chan struct{} // of maxRunningPerProject
	probes map[string]*clock
}

// clock is the loop of one probe.
type clock struct {
	settings []byte // JSON, to see whether they have changed
	stop     context.CancelFunc
}

// NewRunner returns a runner that sends results to the intake at base, which answers below
// base/v1/metrics and base/v1/logs.
func NewRunner(base string, prober *Prober, source Source, log *slog.Logger) *Runner {
	return &Runner{
		prober: prober, source: source, sender: newSender(base, log), log: log,
		places: make(chan struct{}, maxRunning), projects: map[uint32]*scheduled{},
	}
}

// Run probes until ctx ends, which is its only reason to return, and then sends what is left.
func (r *Runner) Run(ctx context.Context) error {
	var running sync.WaitGroup
	running.Go(func() { r.sender.run(ctx) })
	r.follow(ctx, &running)
	running.Wait()
	r.sender.last(context.WithoutCancel(ctx))
	return nil
}

// follow keeps to the list of probes.
func (r *Runner) follow(ctx context.Context, running *sync.WaitGroup) {
	poll := time.NewTicker(pollInterval)
	defer poll.Stop()
	alive := time.NewTicker(aliveInterval)
	defer alive.Stop()
	failed := r.poll(ctx, running, false)
	r.alive()
	for {
		select {
		case <-ctx.Done():
			return
		case <-poll.C:
			failed = r.poll(ctx, running, failed)
		case <-alive.C:
			r.alive()
		}
	}
}

// alive says of each project that its probes are run here.
func (r *Runner) alive() {
	now := time.Now()
	for _, p := range r.projects {
		r.sender.alive(p.number, r.prober.Region(), now)
	}
}

// poll takes the newest list over. It returns whether the source failed, which is said when it begins and ends.
func (r *Runner) poll(ctx context.Context, running *sync.WaitGroup, failedBefore bool) bool {
	asking, cancel := context.WithTimeout(ctx, pollInterval)
	defer cancel()
	projects, err := r.source.Projects(asking)
	switch {
	case ctx.Err() != nil:
		return failedBefore
	case err != nil:
		if !failedBefore {
			r.log.Warn("the list of probes cannot be read, the last one holds", "err", err)
		}
		return true
	case failedBefore:
		r.log.Info("the list of probes can be read again")
	}
	r.take(ctx, running, projects)
	return false
}

// take starts what is new, stops what is gone, and starts anew what has changed.
func (r *Runner) take(ctx context.Context, running *sync.WaitGroup, projects []Project) {
	keep, total := map[uint32]map[string]bool{}, 0
	for _, project := range projects {
		for _, p := range project.Probes {
			if !p.RunsIn(r.prober.Region()) {
				continue
			}
			if err := p.Validate(); err != nil || p.ID == "" {
				r.log.Warn("a probe is not valid and not run", "project_id", project.Number, "probe_id", p.ID, "err", err)
				continue
			}
			if total++; total > maxProbes {
				r.log.Warn("there are more probes than one process runs", "limit", maxProbes)
				break
			}
			if keep[project.Number] == nil {
				keep[project.Number] = map[string]bool{}
			}
			keep[project.Number][p.ID] = true
			r.sender.key(project.Number, project.Key)
			r.schedule(ctx, running, project.Number, p)
		}
	}
	for number, s := range r.projects {
		for id, c := range s.probes {
			if !keep[number][id] {
				c.stop()
				delete(s.probes, id)
			}
		}
		if len(s.probes) == 0 {
			delete(r.projects, number)
			r.sender.forget(number)
		}
	}
}

func (r *Runner) schedule(ctx context.Context, running *sync.WaitGroup, number uint32, p Probe) {
	settings, err := json.Marshal(p)
	if err != nil {
		return // strings, numbers and maps of strings always can be
	}
	s := r.projects[number]
	if s == nil {
		s = &scheduled{number: number, places: make(chan struct{}, maxRunningPerProject), probes: map[string]*clock{}}
		r.projects[number] = s
	}
	if old := s.probes[p.ID]; old != nil {
		if bytes.Equal(old.settings, settings) {
			return
		}
		old.stop()
	}
	ctx, stop := context.WithCancel(ctx)
	s.probes[p.ID] = &clock{settings, stop}
	running.Go(func() {
		defer stop()
		r.loop(ctx, s, p)
	})
}

// loop runs one probe whenever it is due.
func (r *Runner) loop(ctx context.Context, s *scheduled, p Probe) {
	var told history
	for {
		due := time.NewTimer(time.Until(p.Next(time.Now())))
		select {
		case <-ctx.Done():
			due.Stop()
			return
		case <-due.C:
		}
		if !enter(ctx, s.places) {
			return
		}
		if !enter(ctx, r.places) {
			<-s.places
			return
		}
		result := r.prober.Run(ctx, p)
		<-r.places
		<-s.places
		if ctx.Err() != nil {
			return // it was cut short, which says nothing about the target
		}
		r.sender.result(s.number, p, result, told.worth(result))
	}
}

func enter(ctx context.Context, places chan struct{}) bool {
	select {
	case places <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// history decides which results are told in words.
type history struct {
	failing bool
	told    time.Time // in words
}

// worth reports whether a result is news: the first failure, each repeatReason of a lasting one, and
// its end.
func (h *history) worth(r Result) bool {
	news := r.OK == h.failing || h.failing && r.At.Sub(h.told) >= repeatReason
	if h.failing = !r.OK; news {
		h.told = r.At
	}
	return news
}
