// Package heartbeat reads monitors as the catalog saves them into the words of alerts/monitor, which
// knows no database, and writes them back.
package heartbeat

import (
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	"github.com/midwatch/midwatch/alerts/monitor"
	"github.com/midwatch/midwatch/alerts/schedule"
	"github.com/midwatch/midwatch/storage/catalog"
)

// Config reads a schedule as it is saved. One that cannot be read any more (its time zone was
// abolished) is an error; the Config then expects nothing, so that its monitor still takes check-ins.
func Config(s catalog.Schedule) (monitor.Config, error) {
	parsed, err := schedule.Parse(s.Kind, s.Value, s.Timezone)
	cfg := monitor.Config{MaxRuntime: s.MaxRuntime, FailAfter: s.FailAfter, RecoverAfter: s.RecoverAfter, MissAfter: s.MissAfter}
	if err != nil {
		return cfg, err
	}
	cfg.Schedule, cfg.Margin = parsed, s.Margin
	return cfg, nil
}

// State reads the columns of a state; Saved writes them.
func State(s catalog.MonitorState) monitor.State {
	return monitor.State{
		Status: monitor.Status(s.Status), Since: s.Since, LastCheckinAt: s.LastCheckinAt,
		NextExpectedAt: s.NextExpectedAt, DueAt: s.DueAt, LastDuration: s.LastDuration,
		Runs: parseRuns(s.Runs), Streak: s.Bad,
	}
}

// Saved writes a state to its columns. The runs share one of them, which nobody else reads.
func Saved(s monitor.State) catalog.MonitorState {
	c := catalog.MonitorState{
		Status: string(s.Status), Since: s.Since, LastCheckinAt: s.LastCheckinAt,
		NextExpectedAt: s.NextExpectedAt, DueAt: s.DueAt, LastDuration: s.LastDuration,
		Runs: formatRuns(s.Runs), Bad: s.Streak,
	}
	for _, r := range s.Runs {
		if r.End.IsZero() && r.Start.After(c.LastStartAt) {
			c.LastStartAt = r.Start
		}
	}
	return c
}

// formatRuns writes runs as "<id in hex>:<start>:<end>", joined by commas, with times in
// nanoseconds since 1970. What a run does not have is left empty.
func formatRuns(runs []monitor.Run) string {
	var b strings.Builder
	for i, r := range runs {
		if i > 0 {
			b.WriteByte(',')
		}
		if r.ID != ([16]byte{}) {
			b.WriteString(hex.EncodeToString(r.ID[:]))
		}
		for _, at := range []time.Time{r.Start, r.End} {
			b.WriteByte(':')
			if !at.IsZero() {
				b.WriteString(strconv.FormatInt(at.UnixNano(), 10))
			}
		}
	}
	return b.String()
}

// parseRuns is the reverse of formatRuns. What it cannot read it leaves out.
func parseRuns(text string) []monitor.Run {
	if text == "" {
		return nil
	}
	var runs []monitor.Run
	for part := range strings.SplitSeq(text, ",") {
		fields := strings.Split(part, ":")
		if len(fields) != 3 {
			continue
		}
		var r monitor.Run
		if id, err := hex.DecodeString(fields[0]); err == nil && len(id) == len(r.ID) {
			copy(r.ID[:], id)
		}
		r.Start, r.End = parseTime(fields[1]), parseTime(fields[2])
		if r.Start.IsZero() && r.End.IsZero() {
			continue
		}
		runs = append(runs, r)
	}
	return runs
}

func parseTime(text string) time.Time {
	ns, err := strconv.ParseInt(text, 10, 64)
	if err != nil || ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns).UTC()
}
