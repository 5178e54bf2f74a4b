package checkin

import (
	"crypto/sha256"
	"fmt"
	"math"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/midwatch/midwatch/proto/telemetrypb"
)

const (
	maxEnvironment = 64 // bytes
	maxDuration    = 366 * 24 * time.Hour
)

// Report is one sign of life of a job, whichever service's words it came in.
type Report struct {
	// Readings are the monitors that may be meant, in the order in which they are to be tried.
	Readings []Ping
	// Run pairs the start of a run with its end; empty where the sender names none.
	Run []byte
	// Message is what the job said, not yet bounded; a body comes beside it.
	Message     string
	Environment string
	// Duration is as told by the sender; 0 is unknown.
	Duration time.Duration
	// Create makes the monitor if there is none.
	Create bool
}

// Healthchecks reads what follows after /ping/ as ParsePath does, and the query. Duration, in seconds,
// and environment are ours: start and end of a run have the same environment.
func Healthchecks(path string, query url.Values) (Report, error) {
	readings, err := ParsePath(path)
	if err != nil {
		return Report{}, err
	}
	r := Report{
		Readings:    readings,
		Environment: cut(query.Get("environment"), maxEnvironment),
		Duration:    seconds(query.Get("duration")),
		Create:      query.Get("create") == "1",
	}
	if query.Has("rid") {
		r.Run, err = ParseRunID(query.Get("rid"))
	}
	return r, err
}

// Cronitor reads an event of Cronitor's telemetry API. The slug is that of a monitor of Midwatch;
// key is an ingest key. Errors wrap ErrInvalid.
func Cronitor(key, slug string, form url.Values) (Report, error) {
	if key == "" || slug == "" {
		return Report{}, ErrNotFound
	}
	p := Ping{Key: key, Slug: slug}
	switch state := form.Get("state"); state {
	case "", "ok", "complete", "tick": // without a state it is a heartbeat
		p.Status = telemetrypb.CheckinStatus_CHECKIN_STATUS_OK
	case "run":
		p.Status = telemetrypb.CheckinStatus_CHECKIN_STATUS_IN_PROGRESS
	case "fail":
		p.Status = telemetrypb.CheckinStatus_CHECKIN_STATUS_ERROR
	default:
		return Report{}, fmt.Errorf("%w: state is not run, complete, fail or ok", ErrInvalid)
	}
	p.exit(form.Get("status_code")) // others than those of a process are not kept
	r := Report{
		Readings:    []Ping{p},
		Message:     form.Get("message"),
		Environment: cut(form.Get("env"), maxEnvironment),
		Create:      true,
	}
	if r.Message == "" {
		r.Message = form.Get("msg") // of older clients
	}
	if series := form.Get("series"); series != "" {
		r.Run = seriesID(series)
	}
	for _, m := range append(form["metric"], "duration:"+form.Get("duration")) {
		if text, ok := strings.CutPrefix(m, "duration:"); ok && r.Duration == 0 {
			r.Duration = seconds(text)
		}
	}
	return r, nil
}

// seriesID makes a run's id of any text.
func seriesID(series string) []byte {
	if id, err := ParseRunID(series); err == nil {
		return id
	}
	sum := sha256.Sum256([]byte(series))
	return sum[:16]
}

// seconds is 0 for what is no sensible duration.
func seconds(s string) time.Duration {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || !(f > 0 && f <= maxDuration.Seconds()) {
		return 0
	}
	return time.Duration(math.Round(f*1000)) * time.Millisecond
}

// cut bounds a text to whole, valid characters.
func cut(s string, n int) string {
	return clean(s[:min(len(s), n)], n)
}

// Snitch reads a check-in of Dead Man's Snitch; the token is the UUID of a monitor. Status s is
// good where it is empty or 0.
func Snitch(token string, form url.Values) (Report, error) {
	id, ok := parseUUID(strings.TrimSuffix(token, "/"))
	if !ok {
		return Report{}, ErrNotFound
	}
	p := Ping{UUID: id, Status: telemetrypb.CheckinStatus_CHECKIN_STATUS_OK}
	if s := form.Get("s"); s != "" {
		p.exit(s)
		if strings.Trim(s, "0") != "" {
			p.Status = telemetrypb.CheckinStatus_CHECKIN_STATUS_ERROR
		}
	}
	return Report{Readings: []Ping{p}, Message: form.Get("m")}, nil
}

// Heartbeat reads what follows after /api/v1/heartbeat/ in a URL of Better Stack; the token is the
// UUID of a monitor:
//
//	<uuid>[/fail|/<0-255>]
func Heartbeat(path string) (Report, error) {
	token, action, more := strings.Cut(strings.TrimSuffix(path, "/"), "/")
	id, ok := parseUUID(token)
	if !ok {
		return Report{}, ErrNotFound
	}
	p := Ping{UUID: id, Status: telemetrypb.CheckinStatus_CHECKIN_STATUS_OK}
	if more {
		known, err := p.action(action)
		if err != nil {
			return Report{}, err
		}
		if !known || action == "start" || action == "log" {
			return Report{}, ErrNotFound
		}
	}
	return Report{Readings: []Ping{p}}, nil
}
