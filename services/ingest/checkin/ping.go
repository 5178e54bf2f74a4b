// Package checkin reads the URLs by which jobs say that they ran. They are those of Healthchecks,
// so that whatever takes such a URL works with Midwatch.
package checkin

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/midwatch/midwatch/proto/telemetrypb"
)

// MaxBodyBytes is how much of what a job says is kept; the rest is cut.
const MaxBodyBytes = 10_000

var (
	// ErrNotFound says that no ping can have such a path.
	ErrNotFound = errors.New("not found")
	// ErrInvalid says what is wrong with a ping; its words are fit for the sender.
	ErrInvalid = errors.New("invalid url format")
)

// Ping is what the path of a ping says. Its monitor is named by UUID, or by Key and Slug.
type Ping struct {
	UUID        string // in lower case, with dashes
	Key, Slug   string
	Status      telemetrypb.CheckinStatus
	ExitCode    uint32
	HasExitCode bool
}

// ParsePath reads what follows after /ping/, with or without a slash at its end:
//
//	<uuid>[/start|/fail|/log|/<0-255>]
//	<ping key>/<slug>[/start|/fail|/log|/<0-255>]
//
// A key may look like a UUID, so there may be two ways to read a path; they are returned in the
// order in which they are to be tried. Errors wrap ErrNotFound or ErrInvalid.
func ParsePath(path string) ([]Ping, error) {
	if len(path) > 512 {
		return nil, ErrNotFound
	}
	parts := strings.Split(strings.TrimSuffix(path, "/"), "/")
	if parts[0] == "" {
		return nil, ErrNotFound
	}
	var readings []Ping
	switch len(parts) {
	case 1:
		id, ok := parseUUID(parts[0])
		if !ok {
			return nil, ErrNotFound
		}
		return []Ping{{UUID: id, Status: telemetrypb.CheckinStatus_CHECKIN_STATUS_OK}}, nil
	case 2:
		if id, ok := parseUUID(parts[0]); ok {
			p := Ping{UUID: id}
			known, err := p.action(parts[1])
			if err != nil {
				return nil, err
			}
			if known {
				readings = append(readings, p)
			}
		}
		p := Ping{Key: parts[0], Slug: parts[1], Status: telemetrypb.CheckinStatus_CHECKIN_STATUS_OK}
		if err := checkSlug(p.Slug); err != nil {
			return nil, err
		}
		return append(readings, p), nil
	case 3:
		p := Ping{Key: parts[0], Slug: parts[1]}
		if err := checkSlug(p.Slug); err != nil {
			return nil, err
		}
		known, err := p.action(parts[2])
		if err != nil {
			return nil, err
		}
		if !known {
			return nil, ErrNotFound
		}
		return []Ping{p}, nil
	}
	return nil, ErrNotFound
}

// action reads the last part of a path; known is false for what is none.
func (p *Ping) action(s string) (known bool, err error) {
	switch s {
	case "start":
		p.Status = telemetrypb.CheckinStatus_CHECKIN_STATUS_IN_PROGRESS
		return true, nil
	case "fail":
		p.Status = telemetrypb.CheckinStatus_CHECKIN_STATUS_ERROR
		return true, nil
	case "log":
		p.Status = telemetrypb.CheckinStatus_CHECKIN_STATUS_LOG
		return true, nil
	}
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return false, nil
	}
	code, err := strconv.ParseUint(s, 10, 32)
	if err != nil || code > 255 {
		return false, fmt.Errorf("%w: an exit code is 0 to 255", ErrInvalid)
	}
	p.Status = telemetrypb.CheckinStatus_CHECKIN_STATUS_OK
	if code != 0 {
		p.Status = telemetrypb.CheckinStatus_CHECKIN_STATUS_ERROR
	}
	p.ExitCode, p.HasExitCode = uint32(code), true
	return true, nil
}

const maxSlug = 50

func checkSlug(s string) error {
	if s == "" {
		return ErrNotFound
	}
	if len(s) > maxSlug {
		return fmt.Errorf("%w: a slug has at most %d characters", ErrInvalid, maxSlug)
	}
	for i := range len(s) {
		c := s[i]
		if ('a' > c || c > 'z') && ('0' > c || c > '9') && c != '_' && c != '-' {
			return fmt.Errorf("%w: a slug has lower-case letters, digits, - and _ only", ErrInvalid)
		}
	}
	return nil
}

// parseUUID takes only the form with dashes: without them it could be an ingest key.
func parseUUID(s string) (string, bool) {
	if len(s) != 36 {
		return "", false
	}
	id, err := uuid.Parse(s)
	if err != nil {
		return "", false
	}
	return id.String(), true
}

// ParseRunID reads what pairs the start of a run with its end. Empty is none; an error wraps
// ErrInvalid.
func ParseRunID(s string) ([]byte, error) {
	if s == "" {
		return nil, nil
	}
	id, err := uuid.Parse(s)
	if err != nil || len(s) != 36 && len(s) != 32 {
		return nil, fmt.Errorf("%w: rid is not a UUID", ErrInvalid)
	}
	return id[:], nil
}

// maxDuration is the longest run that is believed.
const maxDuration = 366 * 24 * time.Hour

// DurationMs reads how long a run took, which is given in seconds. What cannot be believed is 0,
// unknown: the ping counts all the same.
func DurationMs(seconds string) uint64 {
	d, err := strconv.ParseFloat(seconds, 64)
	if err != nil || !(d > 0 && d <= maxDuration.Seconds()) {
		return 0
	}
	return uint64(math.Round(d * 1000))
}

// maxEnvironment is that of Sentry's check-ins.
const maxEnvironment = 64

// Environment is where a job ran, as text of at most 64 bytes. Start and end of a run have the same.
func Environment(s string) string {
	s = strings.ReplaceAll(strings.ToValidUTF8(s, ""), "\x00", "")
	return strings.ToValidUTF8(s[:min(len(s), maxEnvironment)], "")
}

// Body is what a job said, as text of at most MaxBodyBytes.
func Body(b []byte) string {
	s := strings.ReplaceAll(strings.ToValidUTF8(string(b[:min(len(b), MaxBodyBytes)]), "\uFFFD"), "\x00", "\uFFFD")
	for len(s) > MaxBodyBytes { // a replacement is longer than what it replaces
		s = strings.ToValidUTF8(s[:MaxBodyBytes], "")
	}
	return s
}
