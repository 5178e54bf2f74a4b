package retention_test

import (
	"slices"
	"testing"

	"github.com/midwatch/midwatch/storage/retention"
)

func TestClassIsTheNextLongerOne(t *testing.T) {
	t.Parallel()
	for days, want := range map[uint32]int{0: 30, 1: 1, 2: 3, 30: 30, 31: 60, 400: 400, 401: 400, 1<<32 - 1: 400} {
		if got := retention.Class(days, 30); got != want {
			t.Errorf("Class(%d) = %d, want %d", days, got, want)
		}
	}
}

func TestOnlyClassesCanBeChosen(t *testing.T) {
	t.Parallel()
	if err := retention.Default.Check(); err != nil {
		t.Error(err)
	}
	for _, d := range []retention.Days{{}, {Metrics: 30, Logs: 31, Errors: 90, Checkins: 90}, {Metrics: -1, Logs: 30, Errors: 90, Checkins: 90}} {
		if d.Check() == nil {
			t.Errorf("%+v is taken", d)
		}
	}
	if c := retention.Classes(); !slices.IsSorted(c) || len(c) != 10 {
		t.Errorf("Classes = %v", c)
	}
}
