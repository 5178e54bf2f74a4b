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

func TestUsersOfErrorsAreOneOrSeveral(t *testing.T) {
	t.Parallel()
	s := storagetest.Telemetry(t)
	id := byte(0)
	of := func(minute int, user, environment string, tags ...string) *telemetrypb.ErrorEvent {
		id++
		e := event(1, 7, id, time.Duration(minute)*time.Minute)
		e.UserId, e.Environment, e.Tags = user, environment, pairs(tags...)
		return e
	}
	insertErrors(t, s, "a",
		of(0, "ann", "prod"), of(0, "ann", "prod", "service", "shop"), of(0, "bob", "prod", "service.name", "blog"),
		of(1, "ann", "prod"), of(1, "bob", "prod"), of(1, "cleo", "prod"),
		of(2, "", "prod"),
		of(3, "dan", "test"),
	)
	f := func(ask telemetry.ErrorUsersAsk, want ...string) {
		t.Helper()
		ask.Step = time.Minute
		got := []string{}
		all := map[int]telemetry.Users{}
		err := s.ErrorUsers(t.Context(), scope(t, 1, 0, time.Hour), ask, func(bucket int, u telemetry.Users) error {
			got = append(got, fmt.Sprint(bucket, u.Several()))
			all[bucket] = u
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		diff(t, fmt.Sprintf("%+v", ask), want, got)
		if one, more := all[0], all[3]; len(all) == 3 {
			one.Add(more)
			if !one.Several() {
				t.Errorf("%+v: users of two minutes are one", ask)
			}
			more.Add(more)
			if more.Several() {
				t.Errorf("%+v: one user is several", ask)
			}
		}
	}
	f(telemetry.ErrorUsersAsk{}, "0 true", "1 true", "3 false")
	f(telemetry.ErrorUsersAsk{Service: "shop"}, "0 false", "1 true", "3 false")
	f(telemetry.ErrorUsersAsk{Service: "blog", Environment: "prod"}, "0 true", "1 true")
	f(telemetry.ErrorUsersAsk{Environment: "test"}, "3 false")
	err := s.ErrorUsers(t.Context(), hour(t, 1), telemetry.ErrorUsersAsk{}, nil)
	if _, ok := errors.AsType[*telemetry.InvalidError](err); !ok {
		t.Errorf("without a step: %v, want an InvalidError", err)
	}
}

func TestUsersOfLogsAreOneOrSeveral(t *testing.T) {
	t.Parallel()
	s := storagetest.Telemetry(t)
	of := func(minute int, attributes ...string) *telemetrypb.LogRecord {
		return &telemetrypb.LogRecord{Time: at(time.Duration(minute) * time.Minute), Body: "GET /", Severity: 9, Attributes: pairs(attributes...)}
	}
	insertLogs(t, s, "a",
		logFrame(1, "api", of(0, "status", "500", "user.id", "ann"), of(0, "status", "200", "user.id", "bob"), of(0, "status", "500"), of(1, "status", "500")),
		logFrame(1, "web", of(0, "status", "500", "enduser.id", "ann"), of(0, "status", "500", "user_id", "bob")),
	)
	var got []string
	ask := telemetry.LogUsersAsk{Step: time.Minute, By: telemetry.ByService, Filter: telemetry.LogFilter{Attributes: []telemetry.LabelMatch{{Key: "status", Op: "=", Value: "500"}}}}
	err := s.LogUsers(t.Context(), scope(t, 1, 0, time.Hour), ask, func(bucket int, group string, u telemetry.Users) error {
		got = append(got, fmt.Sprint(bucket, " ", group, " ", u.Several()))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	diff(t, "users", []string{"0 api false", "0 web true"}, got)
	stop, calls := errors.New("enough"), 0
	if err := s.LogUsers(t.Context(), scope(t, 1, 0, time.Hour), ask, func(int, string, telemetry.Users) error { calls++; return stop }); !errors.Is(err, stop) || calls != 1 {
		t.Errorf("%v after %d calls, want the caller's error after one", err, calls)
	}
}
