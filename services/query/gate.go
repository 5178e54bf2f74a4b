package query

import (
	"context"
	"errors"
	"sync"
	"time"
)

// errBusy says that a read found no place: too many others run or wait.
var errBusy = errors.New("too many reads at once")

// gate bounds how many reads run at once, in the process and for each project, so that one tenant's dashboards cannot
// take the database from the others. A read that finds no place waits for a short while; how many wait is bounded too.
type gate struct {
	slots   chan struct{} // of the process
	perLane int
	waiting int
	wait    time.Duration

	mu    sync.Mutex
	lanes map[uint32]*lane // of the projects that have a read here now
}

// lane holds the reads of one project.
type lane struct {
	slots   chan struct{}
	members int // running or waiting; guarded by gate.mu
}

// newGate lets total reads run at once, perProject of them for one project, which may have waiting more in the queue.
func newGate(total, perProject, waiting int, wait time.Duration) *gate {
	return &gate{
		slots:   make(chan struct{}, total),
		perLane: perProject,
		waiting: waiting,
		wait:    wait,
		lanes:   map[uint32]*lane{},
	}
}

// enter takes a place for a read of project. It fails with errBusy, or with ctx's error when that ends first.
// After success leave must be called once.
func (g *gate) enter(ctx context.Context, project uint32) (leave func(), err error) {
	g.mu.Lock()
	l := g.lanes[project]
	if l == nil {
		l = &lane{slots: make(chan struct{}, g.perLane)}
		g.lanes[project] = l
	}
	if l.members >= g.perLane+g.waiting {
		g.mu.Unlock()
		return nil, errBusy
	}
	l.members++
	g.mu.Unlock()

	ctx, cancel := context.WithTimeoutCause(ctx, g.wait, errBusy)
	defer cancel()
	if err := take(ctx, l.slots); err != nil {
		g.part(project, l)
		return nil, err
	}
	if err := take(ctx, g.slots); err != nil {
		<-l.slots
		g.part(project, l)
		return nil, err
	}
	return func() {
		<-g.slots
		<-l.slots
		g.part(project, l)
	}, nil
}

func take(ctx context.Context, slots chan struct{}) error {
	select {
	case slots <- struct{}{}: // a free place is taken even at the last moment
		return nil
	default:
	}
	select {
	case slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// part forgets one member of a lane, and the lane with its last.
func (g *gate) part(project uint32, l *lane) {
	g.mu.Lock()
	defer g.mu.Unlock()
	l.members--
	if l.members == 0 {
		delete(g.lanes, project)
	}
}
