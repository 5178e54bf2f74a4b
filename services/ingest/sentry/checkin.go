package sentry

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
	// MaxSlug is the length of the name of a monitor; longer ones are cut. Sentry cuts at 50, but a
	// monitor may have more, and its check-ins must find it.
	MaxSlug = 100

	maxDuration      = 366 * 24 * time.Hour
	maxInterval      = 10 * 366 * 24 * time.Hour
	maxMarginMinutes = 7 * 24 * 60
	maxRunMinutes    = 30 * 24 * 60
	maxThreshold     = 720
)

// Checkin reads one check-in as JSON. Errors wrap ErrMalformed or ErrTooLarge.
func Checkin(raw []byte, meta Meta) (*telemetrypb.Checkin, error) {
	if len(raw) > MaxCheckinBytes {
		return nil, fmt.Errorf("check-in of %d bytes is %w: the limit is %d", len(raw), ErrTooLarge, MaxCheckinBytes)
	}
	in, err := decodeObject(raw)
	if err != nil {
		return nil, fmt.Errorf("check-in: %w", err)
	}
	return checkin(in, meta)
}

// CheckinFor reads the check-in of an HTTP request that names its monitor in the path: the body as
// JSON, if there is one, else the query.
func CheckinFor(slug string, query url.Values, raw []byte, meta Meta) (*telemetrypb.Checkin, error) {
	if len(raw) > MaxCheckinBytes {
		return nil, fmt.Errorf("check-in of %d bytes is %w: the limit is %d", len(raw), ErrTooLarge, MaxCheckinBytes)
	}
	in := map[string]any{}
	if len(strings.TrimSpace(string(raw))) > 0 {
		var err error
		if in, err = decodeObject(raw); err != nil {
			return nil, fmt.Errorf("check-in: %w", err)
		}
	}
	for _, name := range []string{"status", "check_in_id", "environment", "duration", "release"} {
		if v := query.Get(name); v != "" && in[name] == nil {
			in[name] = v
		}
	}
	in["monitor_slug"] = slug
	return checkin(in, meta)
}

func checkin(in map[string]any, meta Meta) (*telemetrypb.Checkin, error) {
	slug := Slug(text(in["monitor_slug"]))
	if slug == "" {
		return nil, fmt.Errorf("%w check-in: monitor_slug needs letters or digits", ErrMalformed)
	}
	c := &telemetrypb.Checkin{
		ProjectId:   meta.Project,
		ReceivedAt:  uint64(meta.ReceivedAt.UnixNano()),
		Time:        uint64(meta.ReceivedAt.UnixNano()),
		Slug:        slug,
		Environment: orElse(cut(text(in["environment"]), 64), "production"),
		Release:     cut(text(in["release"]), 250),
		Source:      "sentry",
	}
	// Check-ins overtake each other on the way; the sender's clock tells their order while it can be
	// believed.
	if !meta.SentAt.IsZero() && meta.ReceivedAt.Sub(meta.SentAt).Abs() <= driftTolerated {
		c.Time = uint64(meta.SentAt.UnixNano())
	}
	switch status := strings.ToLower(text(in["status"])); status {
	case "in_progress":
		c.Status = telemetrypb.CheckinStatus_CHECKIN_STATUS_IN_PROGRESS
	case "ok":
		c.Status = telemetrypb.CheckinStatus_CHECKIN_STATUS_OK
	case "error":
		c.Status = telemetrypb.CheckinStatus_CHECKIN_STATUS_ERROR
	default:
		return nil, fmt.Errorf("%w check-in: status %q is not in_progress, ok or error", ErrMalformed, cut(status, 32))
	}
	// The zero id means the newest run that has not ended: it names none.
	switch id, ok := ParseID(text(in["check_in_id"])); {
	case ok:
		c.RunId = id[:]
		sum := sha256.Sum256(append(id[:], byte(c.Status)))
		c.CheckinId = sum[:16]
	case zeroID(text(in["check_in_id"])):
		c.CheckinId = meta.FallbackID[:]
	default:
		return nil, fmt.Errorf("%w check-in: check_in_id is not a UUID", ErrMalformed)
	}
	if d, err := strconv.ParseFloat(text(in["duration"]), 64); err == nil && d > 0 && d <= maxDuration.Seconds() {
		c.DurationMs = uint64(math.Round(d * 1000))
	}
	if config := object(in["monitor_config"]); config != nil {
		var err error
		if c.Config, err = monitorConfig(config); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func zeroID(s string) bool {
	return strings.Trim(s, "0-") == "" && len(s) <= 36
}

// Slug is the name of a monitor as it is kept: lower-case letters, digits, - and _, at most
// MaxSlug of them. It is empty where nothing of s can be kept.
func Slug(s string) string {
	var b strings.Builder
	for i := 0; i < len(s) && b.Len() < MaxSlug; i++ {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '_', c == '-':
			b.WriteByte(c)
		case 'A' <= c && c <= 'Z':
			b.WriteByte(c | 0x20)
		default:
			if kept := b.String(); kept != "" && !strings.HasSuffix(kept, "-") {
				b.WriteByte('-')
			}
		}
	}
	slug := strings.Trim(b.String(), "-")
	if strings.Trim(slug, "_-") == "" {
		return ""
	}
	return slug
}

// units of an interval, in seconds. Those of the calendar are taken at their usual length.
var units = map[string]float64{
	"second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 7 * 86400, "month": 30 * 86400, "year": 365 * 86400,
}

func monitorConfig(in map[string]any) (*telemetrypb.MonitorConfig, error) {
	schedule := object(in["schedule"])
	if schedule == nil {
		// The form of old clients: schedule_type beside the bare value.
		schedule = map[string]any{"type": in["schedule_type"], "value": in["schedule"]}
		if pair, ok := in["schedule"].([]any); ok && len(pair) == 2 {
			schedule["value"], schedule["unit"] = pair[0], pair[1]
		}
	}
	config := &telemetrypb.MonitorConfig{
		Timezone:          cut(text(in["timezone"]), 100),
		MarginSeconds:     60 * bounded(in["checkin_margin"], maxMarginMinutes),
		MaxRuntimeSeconds: 60 * bounded(in["max_runtime"], maxRunMinutes),
		FailureThreshold:  bounded(in["failure_issue_threshold"], maxThreshold),
		RecoveryThreshold: bounded(in["recovery_threshold"], maxThreshold),
	}
	switch kind := text(schedule["type"]); kind {
	case "crontab":
		config.ScheduleKind = kind
		config.Schedule = strings.Join(strings.Fields(text(schedule["value"])), " ")
		if config.Schedule == "" || len(config.Schedule) > 200 {
			return nil, fmt.Errorf("%w monitor_config: schedule.value is not a cron expression", ErrMalformed)
		}
	case "interval":
		unit, ok := units[strings.TrimSuffix(strings.ToLower(text(schedule["unit"])), "s")]
		if !ok {
			return nil, fmt.Errorf("%w monitor_config: schedule.unit %q is not minute, hour, day, week, month or year", ErrMalformed, cut(text(schedule["unit"]), 32))
		}
		n, err := strconv.ParseFloat(text(schedule["value"]), 64)
		if err != nil || !(n*unit >= 1 && n*unit <= maxInterval.Seconds()) {
			return nil, fmt.Errorf("%w monitor_config: schedule.value is not a sensible number of %s", ErrMalformed, text(schedule["unit"]))
		}
		config.ScheduleKind = kind
		config.Schedule = strconv.FormatInt(int64(n*unit), 10)
	default:
		return nil, fmt.Errorf("%w monitor_config: schedule.type %q is not crontab or interval", ErrMalformed, cut(kind, 32))
	}
	return config, nil
}

// bounded is a number from 0 to limit; 0 where there is none.
func bounded(v any, limit uint32) uint32 {
	f, err := strconv.ParseFloat(text(v), 64)
	if err != nil || !(f > 0) {
		return 0
	}
	return uint32(math.Min(math.Ceil(f), float64(limit)))
}
