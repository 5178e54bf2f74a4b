package heartbeat

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/midwatch/midwatch/alerts/monitor"
	"github.com/midwatch/midwatch/storage/catalog"
)

var noon = time.Date(2026, time.March, 3, 12, 0, 0, 0, time.UTC)

func TestStateKeepsEverything(t *testing.T) {
	t.Parallel()
	state := monitor.State{
		Status: monitor.Running, Since: noon, LastCheckinAt: noon.Add(1), NextExpectedAt: noon.Add(2), DueAt: noon.Add(3),
		LastDuration: 4, Streak: -5,
		Runs: []monitor.Run{{Start: noon}, {ID: [16]byte{1, 2, 3}, End: noon}, {ID: [16]byte{255}, Start: noon, End: noon.Add(7)}},
	}
	if diff := cmp.Diff(state, State(Saved(state))); diff != "" {
		t.Errorf("state that was saved (-want +got):\n%s", diff)
	}
}

func TestConfigOfAnAbolishedZoneExpectsNothing(t *testing.T) {
	t.Parallel()
	cfg, err := Config(catalog.Schedule{Kind: "crontab", Value: "0 0 * * *", Timezone: "Mars/Olympus", MaxRuntime: time.Hour, FailAfter: 2, RecoverAfter: 3, MissAfter: 4})
	if err == nil || cfg.Schedule.Expects() {
		t.Errorf("Config = %+v, %v; want an error and no expectation", cfg, err)
	}
	if cfg.MaxRuntime != time.Hour || cfg.FailAfter != 2 || cfg.RecoverAfter != 3 || cfg.MissAfter != 4 {
		t.Errorf("Config = %+v, want its limits", cfg)
	}
}

func FuzzParseRuns(f *testing.F) {
	f.Add("::")
	f.Add(formatRuns([]monitor.Run{{Start: noon}, {ID: [16]byte{1}, Start: noon, End: noon}}))
	f.Fuzz(func(t *testing.T, text string) {
		runs := parseRuns(text)
		if diff := cmp.Diff(runs, parseRuns(formatRuns(runs))); diff != "" {
			t.Errorf("runs that were written (-want +got):\n%s", diff)
		}
	})
}
