package query

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestGate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		g := newGate(3, 2, 1, 5*time.Second)
		enter := func(project uint32) (func(), error) { return g.enter(ctx, project) }
		must := func(project uint32) func() {
			t.Helper()
			leave, err := enter(project)
			if err != nil {
				t.Fatalf("enter(%d) = %v", project, err)
			}
			return leave
		}

		one, two := must(1), must(1)
		queued := make(chan error)
		go func() {
			leave, err := enter(1)
			if err == nil {
				defer leave()
			}
			queued <- err
		}()
		synctest.Wait()
		if _, err := enter(1); !errors.Is(err, errBusy) {
			t.Errorf("enter beyond the queue of a project = %v, want errBusy", err)
		}

		other := must(2) // a full project leaves room for others
		started := time.Now()
		if _, err := enter(3); !errors.Is(err, errBusy) || time.Since(started) != 5*time.Second {
			t.Errorf("enter of a full process = %v after %v, want errBusy after 5 s", err, time.Since(started))
		}
		if err := <-queued; !errors.Is(err, errBusy) {
			t.Errorf("the queued read got %v, want errBusy once it waited for 5 s", err)
		}

		go func() {
			leave, err := enter(1)
			if err == nil {
				defer leave()
			}
			queued <- err
		}()
		synctest.Wait()
		one()
		if err := <-queued; err != nil {
			t.Errorf("the queued read got %v, want the place that became free", err)
		}

		gone, cancel := context.WithCancel(ctx)
		one, more := must(1), make(chan error)
		go func() {
			_, err := g.enter(gone, 1)
			more <- err
		}()
		synctest.Wait()
		cancel()
		if err := <-more; !errors.Is(err, context.Canceled) {
			t.Errorf("the read of a client that left got %v, want context.Canceled", err)
		}

		one()
		two()
		other()
		if len(g.lanes) != 0 || len(g.slots) != 0 {
			t.Errorf("%d lanes and %d slots are left, want none", len(g.lanes), len(g.slots))
		}
	})
}
