package telemetry_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/midwatch/midwatch/proto/telemetrypb"
	"github.com/midwatch/midwatch/storage/storagetest"
	"github.com/midwatch/midwatch/storage/telemetry"
)

func TestErrorsAreCountedByBucketAndGroup(t *testing.T) {
	t.Parallel()
	s := storagetest.Telemetry(t)
	of := func(e *telemetrypb.ErrorEvent, release, environment string) *telemetrypb.ErrorEvent {
		e.Release, e.Environment = release, environment
		return e
	}
	events := []*telemetrypb.ErrorEvent{
		of(event(1, 7, 1, 0), "1.0", "prod"), of(event(1, 7, 2, time.Second), "1.1", "prod"), of(event(1, 7, 3, 2*time.Second), "1.1", "test"),
		of(event(1, 8, 4, 0), "1.1", "prod"), of(event(1, 8, 5, 5*time.Minute), "1.1", "prod"),
		of(event(1, 8, 6, -time.Nanosecond), "1.1", "prod"), of(event(2, 7, 7, 0), "1.0", "prod"),
	}
	insertErrors(t, s, "a", events...)
	insertErrors(t, s, "b", events...) // each sent twice

	f := func(ask telemetry.ErrorCountsAsk, want ...string) {
		t.Helper()
		ask.Step = 5 * time.Minute
		got := []string{}
		err := s.ErrorCounts(t.Context(), scope(t, 1, 0, time.Hour), ask, func(bucket int, group string, events, users int64) error {
			got = append(got, fmt.Sprintf("%d %q %d %d", bucket, group, events, users))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		diff(t, fmt.Sprintf("%+v", ask), want, got)
	}
	f(telemetry.ErrorCountsAsk{}, `0 "" 4 2`, `1 "" 1 1`)
	f(telemetry.ErrorCountsAsk{Issue: 7}, `0 "" 3 2`)
	f(telemetry.ErrorCountsAsk{Issue: 9})
	f(telemetry.ErrorCountsAsk{By: "issue"}, `0 "7" 3 2`, `0 "8" 1 1`, `1 "8" 1 1`)
	f(telemetry.ErrorCountsAsk{By: "release", Environment: "prod"}, `0 "1.0" 1 1`, `0 "1.1" 2 1`, `1 "1.1" 1 1`)
	f(telemetry.ErrorCountsAsk{By: "environment", Release: "1.1", Issue: 7}, `0 "prod" 1 1`, `0 "test" 1 1`)
	f(telemetry.ErrorCountsAsk{Release: `it's \`})

	for _, ask := range []telemetry.ErrorCountsAsk{{}, {Step: time.Minute, By: "user"}} {
		err := s.ErrorCounts(t.Context(), hour(t, 1), ask, nil)
		if _, ok := errors.AsType[*telemetry.InvalidError](err); !ok {
			t.Errorf("%+v: %v, want an InvalidError", ask, err)
		}
	}
}

func TestErrorsOfAllIssuesAreCountedInPieces(t *testing.T) {
	t.Parallel()
	s := storagetest.Telemetry(t)
	var events []*telemetrypb.ErrorEvent
	want := []string{}
	for i := range 13 { // a piece has 500 buckets
		d := time.Duration(i) * 100 * time.Second
		events = append(events, event(1, uint64(i%2+1), byte(i), d))
		want = append(want, fmt.Sprintf("%d %d 1", i*100, i%2+1))
	}
	insertErrors(t, s, "a", events...)
	got := []string{}
	err := s.ErrorCounts(t.Context(), scope(t, 1, 0, 1201*time.Second), telemetry.ErrorCountsAsk{Step: time.Second, By: "issue"}, func(bucket int, group string, events, _ int64) error {
		got = append(got, fmt.Sprintf("%d %s %d", bucket, group, events))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	diff(t, "counts", want, got)
}
