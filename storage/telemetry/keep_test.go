package telemetry_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/midwatch/midwatch/proto/telemetrypb"
	"github.com/midwatch/midwatch/storage/storagetest"
	"github.com/midwatch/midwatch/storage/telemetry"
)

const days = 24 * time.Hour

// keptLogs is a frame of records that are kept for some days, one on each of the days ago.
func keptLogs(project uint32, keep uint32, ago ...int) *telemetrypb.LogFrame {
	var records []*telemetrypb.LogRecord
	for _, d := range ago {
		records = append(records, &telemetrypb.LogRecord{Time: at(-time.Duration(d) * days), Body: fmt.Sprintf("%d days ago", d)})
	}
	f := logFrame(project, "api", records...)
	f.Batches[0].RetentionDays = keep
	return f
}

func keptSamples(project uint32, keep uint32, ago ...int) *telemetrypb.MetricFrame {
	var samples []point
	for _, d := range ago {
		samples = append(samples, sample(-time.Duration(d)*days, float64(d)))
	}
	f := metricFrame(project, series("m", gauge, 7, pairs("host", "a"), samples...))
	f.Batches[0].RetentionDays = keep
	return f
}

func partitions(t testing.TB, s *telemetry.Store) []telemetry.Partition {
	t.Helper()
	all, err := s.Partitions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// stored describes the partitions: table, class, days ago of the last day, rows.
func stored(t testing.TB, s *telemetry.Store, tables ...string) []string {
	t.Helper()
	out := []string{}
	for _, p := range partitions(t, s) {
		if slices.Contains(tables, p.Table) {
			out = append(out, fmt.Sprintf("%s kept %d, %d ago: %d", p.Table, p.RetentionDays, int(noon.Sub(p.Last)/days), p.Rows))
		}
	}
	slices.Sort(out)
	return out
}

func dropExpired(t testing.TB, s *telemetry.Store, now time.Time) {
	t.Helper()
	for _, p := range partitions(t, s) {
		if !p.Expired(now) {
			continue
		}
		if err := s.DropPartition(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		if err := s.DropPartition(t.Context(), p); err != nil {
			t.Errorf("dropping a partition that is gone: %v", err)
		}
	}
}

func TestEachProjectsRowsGoWhenTheirTimeHasCome(t *testing.T) {
	t.Parallel()
	s := storagetest.Telemetry(t)
	insertLogs(t, s, "", keptLogs(1, 3, 0, 1, 2), keptLogs(2, 30, 0, 1, 2))
	insertMetrics(t, s, "", keptSamples(1, 3, 0, 2))
	insertMetrics(t, s, "", keptSamples(2, 30, 0, 2))
	short, long := event(1, 1, 1, 0), event(2, 1, 2, 0)
	short.RetentionDays, long.RetentionDays = 3, 30
	insertErrors(t, s, "", short, long)
	brief, lasting := checkin(1, "job", 1, ok, 0, 0), checkin(2, "job", 2, ok, 0, 0)
	brief.RetentionDays, lasting.RetentionDays = 3, 30
	insertCheckins(t, s, "", brief, lasting)

	read := func(project uint32) []string {
		return bodies(logs(t, s, scope(t, project, -10*days, time.Hour), telemetry.LogFilter{}))
	}
	all := []string{"0 days ago", "1 days ago", "2 days ago"}
	// The day of two days ago has been kept for three days when the day after tomorrow begins.
	midnight := noon.Truncate(days).Add(2 * days)
	dropExpired(t, s, midnight.Add(-time.Nanosecond))
	diff(t, "logs of 1 a moment before", all, read(1))
	dropExpired(t, s, midnight)
	diff(t, "logs of 1 at midnight", all[:2], read(1))
	diff(t, "samples at midnight", []string{"metric_samples kept 3, 0 ago: 1", "metric_samples kept 30, 0 ago: 1", "metric_samples kept 30, 2 ago: 1"}, stored(t, s, "metric_samples"))
	diff(t, "series at midnight", []string{"metric_series kept 3, 0 ago: 1", "metric_series kept 30, 0 ago: 1", "metric_series kept 30, 2 ago: 1"}, stored(t, s, "metric_series"))

	dropExpired(t, s, noon.Add(4*days))
	diff(t, "logs of 1 after four days", []string{}, read(1))
	diff(t, "logs of 2 after four days", all, read(2))
	for _, table := range []string{"logs", "metric_samples", "metric_series", "error_events", "checkins"} {
		for _, line := range stored(t, s, table) {
			if !strings.HasPrefix(line, table+" kept 30,") {
				t.Errorf("there is still %s", line)
			}
		}
		if len(stored(t, s, table)) == 0 {
			t.Errorf("nothing is left in %s", table)
		}
	}
	dropExpired(t, s, noon.Add(38*days)) // errors go with their week
	if left := partitions(t, s); len(left) > 0 {
		t.Errorf("after 38 days there is still %+v", left)
	}
}

func TestNoRowIsBornExpired(t *testing.T) {
	t.Parallel()
	s := storagetest.Telemetry(t)
	f := keptLogs(1, 7, 7, 8, 29, 400, -1, -5)
	insertLogs(t, s, "", f)
	for _, p := range partitions(t, s) {
		if p.Expired(noon) || p.Expired(noon.Truncate(days).Add(days-1)) {
			t.Errorf("%+v has expired on the day it was received", p)
		}
		if !p.Expired(noon.Add(10 * days)) {
			t.Errorf("%+v outlives what it is kept for", p)
		}
	}
}

func TestADroppedPartitionGivesItsDiskBack(t *testing.T) {
	t.Parallel()
	s := storagetest.Telemetry(t)
	noise := rand.New(rand.NewPCG(1, 2))
	f := keptLogs(1, 3, 1)
	for range 20_000 {
		f.Batches[0].Groups[0].Records = append(f.Batches[0].Groups[0].Records, &telemetrypb.LogRecord{Time: at(-days), Body: fmt.Sprintf("%x%x", noise.Uint64(), noise.Uint64())})
	}
	insertLogs(t, s, "", f, keptLogs(2, 30, 1))
	before, onDisk := partitions(t, s), telemetry.BytesOnDisk(t, s, "logs")
	dropExpired(t, s, noon.Add(5*days))
	var was, is uint64
	for _, p := range before {
		was += p.Bytes
	}
	for _, p := range partitions(t, s) {
		is += p.Bytes
	}
	if was < 200_000 || is == 0 || is > was/10 {
		t.Errorf("the partitions had %d bytes and have %d", was, is)
	}
	now := telemetry.BytesOnDisk(t, s, "logs")
	t.Logf("%d bytes in files before, %d after", onDisk, now)
	if now > onDisk/10 {
		t.Errorf("the files of all parts had %d bytes and have %d", onDisk, now)
	}
}

func deleteOlder(t testing.TB, s *telemetry.Store, project uint32, signal string, keep int, now time.Time) {
	t.Helper()
	for range 20 {
		done, err := s.DeleteOlder(t.Context(), project, signal, keep, now)
		if err != nil {
			t.Fatal(err)
		}
		if done {
			return
		}
	}
	t.Fatal("the deletion does not end")
}

func TestAShorterRetentionDeletesWhatIsStored(t *testing.T) {
	t.Parallel()
	s := storagetest.Telemetry(t)
	insertLogs(t, s, "", keptLogs(1, 30, 0, 3, 4, 10), keptLogs(2, 30, 0, 3, 4, 10), keptLogs(1, 90, 5), keptLogs(1, 3, 3))
	insertMetrics(t, s, "", keptSamples(1, 30, 0, 10))
	insertMetrics(t, s, "", keptSamples(2, 30, 0, 10))
	read := func(project uint32) []string {
		return bodies(logs(t, s, scope(t, project, -20*days, time.Hour), telemetry.LogFilter{}))
	}
	deleteOlder(t, s, 1, telemetry.SignalLogs, 3, noon)
	diff(t, "logs of 1", []string{"0 days ago", "3 days ago", "3 days ago"}, read(1))
	diff(t, "logs of 2", []string{"0 days ago", "3 days ago", "4 days ago", "10 days ago"}, read(2))
	diff(t, "samples are another signal", []string{"metric_samples kept 30, 0 ago: 2", "metric_samples kept 30, 10 ago: 2"}, stored(t, s, "metric_samples"))

	deleteOlder(t, s, 1, telemetry.SignalMetrics, 3, noon)
	diff(t, "samples", []string{"metric_samples kept 30, 0 ago: 2", "metric_samples kept 30, 10 ago: 1"}, stored(t, s, "metric_samples"))
	diff(t, "series", []string{"metric_series kept 30, 0 ago: 2", "metric_series kept 30, 10 ago: 1"}, stored(t, s, "metric_series"))

	// A day later the same rule concerns another day; rows that go by themselves are left alone.
	deleteOlder(t, s, 1, telemetry.SignalLogs, 3, noon.Add(days))
	diff(t, "logs of 1 a day later", []string{"0 days ago", "3 days ago"}, read(1))
}

func TestASeriesThatWasDeletedIsNotedAgain(t *testing.T) {
	t.Parallel()
	s := storagetest.Telemetry(t)
	insertMetrics(t, s, "", keptSamples(1, 30, 10))
	deleteOlder(t, s, 1, telemetry.SignalMetrics, 3, noon)
	insertMetrics(t, s, "", keptSamples(1, 30, 10))
	diff(t, "series", []string{"metric_series kept 30, 10 ago: 1"}, stored(t, s, "metric_series"))
}

func TestASeriesIsNotedForEachRetentionOfItsSamples(t *testing.T) {
	t.Parallel()
	s := storagetest.Telemetry(t)
	insertMetrics(t, s, "", keptSamples(1, 3, 0))
	insertMetrics(t, s, "", keptSamples(1, 30, 0))
	diff(t, "series", []string{"metric_series kept 3, 0 ago: 1", "metric_series kept 30, 0 ago: 1"}, stored(t, s, "metric_series"))
}

func TestAReplayAfterAShorteningStoresNothingTwice(t *testing.T) {
	t.Parallel()
	s := storagetest.Telemetry(t)
	// Two requests of one batch, between which the project has chosen again: the frames say so.
	frames := []*telemetrypb.LogFrame{keptLogs(1, 30, 0, 2, 10), keptLogs(1, 3, 0, 2)}
	samples := keptSamples(1, 30, 0, 2)
	samples.Batches = append(samples.Batches, keptSamples(1, 3, 0, 1).Batches...)
	insert := func() {
		t.Helper()
		insertLogs(t, s, "batch", frames...)
		insertMetrics(t, s, "batch", samples)
	}
	insert()
	tables := []string{"logs", "metric_samples"}
	want := []string{
		"logs kept 3, 0 ago: 1", "logs kept 3, 2 ago: 1", "logs kept 30, 0 ago: 1", "logs kept 30, 10 ago: 1", "logs kept 30, 2 ago: 1",
		"metric_samples kept 3, 0 ago: 1", "metric_samples kept 3, 1 ago: 1", "metric_samples kept 30, 0 ago: 1", "metric_samples kept 30, 2 ago: 1",
	}
	diff(t, "partitions", want, stored(t, s, tables...))
	insert()
	diff(t, "partitions after a replay", want, stored(t, s, tables...))
	deleteOlder(t, s, 1, telemetry.SignalLogs, 3, noon)
	insert()
	want = slices.DeleteFunc(want, func(line string) bool { return strings.Contains(line, ", 10 ago") })
	diff(t, "partitions after a deletion and a replay", want, stored(t, s, tables...))
}

func TestDiskSaysHowMuchRoomThereIs(t *testing.T) {
	t.Parallel()
	s := storagetest.Telemetry(t)
	d, err := s.Disk(t.Context())
	if err != nil || d.Free == 0 || d.Free > d.Total {
		t.Errorf("Disk = %+v, %v", d, err)
	}
}

func TestProjectsInAPartition(t *testing.T) {
	t.Parallel()
	s := storagetest.Telemetry(t)
	insertLogs(t, s, "", keptLogs(5, 30, 1), keptLogs(6, 30, 1, 2), keptLogs(7, 3, 1))
	got := map[string][]uint32{}
	for _, p := range partitions(t, s) {
		projects, err := s.ProjectsIn(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(projects)
		got[fmt.Sprintf("%d, %d ago", p.RetentionDays, int(noon.Sub(p.Last)/days))] = projects
	}
	diff(t, "projects", map[string][]uint32{"30, 1 ago": {5, 6}, "30, 2 ago": {6}, "3, 1 ago": {7}}, got)
}

func TestSeriesAreTheLastOfTheirDay(t *testing.T) {
	t.Parallel()
	s := storagetest.Telemetry(t)
	var metrics []*telemetrypb.Metric
	for i := range 500 { // what is known of them is far more than their samples
		metrics = append(metrics, series("m", gauge, uint64(i), pairs("host", fmt.Sprintf("%x", rand.Uint64()), "pod", fmt.Sprintf("%x", rand.Uint64())), sample(0, 1)))
	}
	insertMetrics(t, s, "", metricFrame(1, metrics...))
	insertLogs(t, s, "", keptLogs(1, 30, 0))
	var tables []string
	bytes := map[string]uint64{}
	for _, p := range partitions(t, s) {
		tables = append(tables, p.Table)
		bytes[p.Table] += p.Bytes
	}
	if len(tables) != 3 || tables[2] != "metric_series" || bytes["metric_series"] <= bytes["metric_samples"] {
		t.Errorf("the order is %v, the sizes are %v", tables, bytes)
	}
}
