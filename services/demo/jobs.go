package demo

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/midwatch/midwatch/alerts/schedule"
)

// job is a scheduled job of the shop. A check-in says that something happens now; none can be sent
// for the past, so that the history of the jobs begins when the demo does.
type job struct {
	slug string
	// kind and value are a schedule of alerts/schedule.
	kind, value, timezone string
	margin, maxRuntime    int // minutes
	takes                 time.Duration
	// late is how long after it is due it runs.
	late time.Duration
	// fails says of each n-th run that it does, beginning with the first.
	fails int
	// byPing is for jobs that call a URL; the others use Sentry's protocol.
	byPing bool
	// says is what the job tells with the end of a run by ping.
	says string
}

const hour = "3600"

// jobs are those of the shop. One of them, billing-export, is due a few minutes after now and is
// late.
func (s *story) jobs() []job {
	// Further off than what counts as an early run of it.
	late := s.now.Add(8 * time.Minute)
	return []job{
		{slug: "billing-export", kind: schedule.Crontab, value: fmt.Sprintf("%d * * * *", late.Minute()), margin: 45, maxRuntime: 20, takes: 95 * time.Second, late: 14 * time.Minute},
		{slug: "nightly-backup", kind: schedule.Crontab, value: "30 2 * * *", timezone: "Europe/Berlin", margin: 30, maxRuntime: 120, takes: 22 * time.Minute},
		{slug: "newsletter", kind: schedule.Crontab, value: "0 7 * * 1-5", timezone: "Europe/Berlin", margin: 10, maxRuntime: 30, takes: 4 * time.Minute},
		{slug: "search-reindex", kind: schedule.Crontab, value: "*/20 * * * *", margin: 3, maxRuntime: 15, takes: 140 * time.Second},
		{slug: "inventory-sync", kind: schedule.Crontab, value: "*/5 * * * *", margin: 2, maxRuntime: 4, takes: 38 * time.Second},
		{slug: "payout-reconcile", kind: schedule.Crontab, value: "*/10 * * * *", margin: 3, maxRuntime: 8, takes: 65 * time.Second, fails: 3},
		{slug: "session-cleanup", kind: schedule.Interval, value: "900", margin: 5, maxRuntime: 10, takes: 6 * time.Second},
		{slug: "fraud-scoring", kind: schedule.Crontab, value: "* * * * *", margin: 2, maxRuntime: 2, takes: 11 * time.Second},
		{slug: "disk-snapshots", kind: schedule.Interval, value: hour, byPing: true, takes: 25 * time.Second, says: "3 volumes, 41.7 GiB, 0 errors"},
		{slug: "cache-warmer", kind: schedule.Interval, value: "120", byPing: true, takes: 3 * time.Second, says: "warmed 412 pages"},
	}
}

// run is one run of a job.
type run struct {
	job   job
	id    []byte
	start time.Time
	ended bool
	fails bool
}

// timetable makes the runs of the jobs from one time on.
type timetable struct {
	story *story
	jobs  []job
	next  []time.Time // by job; when its next run begins
	count []int       // by job
	open  []run
}

// newTimetable has each job run once at now, so that Midwatch learns of it, and by its schedule
// from then on.
func newTimetable(s *story) (*timetable, error) {
	t := &timetable{story: s, jobs: s.jobs()}
	for range t.jobs {
		t.next = append(t.next, s.now)
		t.count = append(t.count, 0)
	}
	for _, j := range t.jobs {
		if _, err := schedule.Parse(j.kind, j.value, j.timezone); err != nil {
			return nil, fmt.Errorf("schedule of %s: %w", j.slug, err)
		}
	}
	return t, nil
}

// until returns the beginnings and ends of runs up to a time, in their order by job.
func (t *timetable) until(now time.Time) (out []run, err error) {
	open := t.open[:0]
	for _, r := range t.open {
		if r.start.Add(r.job.takes).After(now) {
			open = append(open, r)
			continue
		}
		r.ended = true
		out = append(out, r)
	}
	t.open = open
	for i, j := range t.jobs {
		if t.next[i].After(now) {
			continue
		}
		t.count[i]++
		r := run{
			job: j, start: now, fails: j.fails > 0 && t.count[i]%j.fails == 1,
			id: randomBytes(t.story.chance(forJobs, int64(t.count[i])<<8|int64(i)), 16),
		}
		out = append(out, r)
		t.open = append(t.open, r)
		s, err := schedule.Parse(j.kind, j.value, j.timezone)
		if err != nil {
			return nil, fmt.Errorf("schedule of %s: %w", j.slug, err)
		}
		// A late job is due at its schedule all the same.
		t.next[i] = s.Next(now.Add(-j.late)).Add(j.late)
	}
	return out, nil
}

// first returns the runs at now with their ends at once: what is known when nothing goes on
// afterwards.
func (t *timetable) first() ([]run, error) {
	begun, err := t.until(t.story.now)
	if err != nil {
		return nil, err
	}
	out := begun
	for _, r := range begun {
		r.ended = true
		out = append(out, r)
	}
	t.open = nil
	return out, nil
}

// request is the check-in of the beginning or the end of a run.
func (r run) request(o Options) (request, error) {
	if r.job.byPing {
		return r.ping(o), nil
	}
	checkin := object{
		"check_in_id": hex.EncodeToString(r.id), "monitor_slug": r.job.slug, "status": "in_progress",
		"environment": environment, "release": fixedRelease,
	}
	switch {
	case !r.ended:
		config := object{"checkin_margin": r.job.margin, "max_runtime": r.job.maxRuntime, "timezone": "UTC"}
		if r.job.timezone != "" {
			config["timezone"] = r.job.timezone
		}
		if r.job.kind == schedule.Interval {
			seconds, err := strconv.Atoi(r.job.value)
			if err != nil {
				return request{}, fmt.Errorf("interval of %s: %w", r.job.slug, err)
			}
			config["schedule"] = object{"type": "interval", "value": seconds / 60, "unit": "minute"}
		} else {
			config["schedule"] = object{"type": "crontab", "value": r.job.value}
		}
		checkin["monitor_config"] = config
	case r.fails:
		checkin["status"], checkin["duration"] = "error", r.job.takes.Seconds()
	default:
		checkin["status"], checkin["duration"] = "ok", r.job.takes.Seconds()
	}
	text, err := json.Marshal(checkin)
	if err != nil {
		return request{}, fmt.Errorf("encode check-in of %s: %w", r.job.slug, err)
	}
	return envelope(o, "{}", "check_in", text), nil
}

func (r run) ping(o Options) request {
	path := o.URL + "/ping/" + url.PathEscape(o.Key) + "/" + r.job.slug
	out := request{method: http.MethodPost, count: 1, signal: checkins}
	query := "?create=1&rid=" + uuidText(r.id)
	switch {
	case !r.ended:
		out.url = path + "/start" + query
	case r.fails:
		out.url = path + "/1" + query
		out.body = []byte("exit status 1")
	default:
		out.url = path + "/0" + query
		out.body = []byte(r.job.says)
	}
	return out
}

func uuidText(id []byte) string {
	h := hex.EncodeToString(id)
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}
