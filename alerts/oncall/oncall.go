// Package oncall says who is told, and when: teams and people, schedules of who is on call,
// escalation policies, routes, silences and maintenance windows. It is pure: it has no clock and
// does no I/O. Its types are the bodies of the documents that people configure; Validate says what
// is wrong with one, WithDefaults makes what was left out explicit.
//
// All times that recur are read from the clock on the wall of a zone and are turned into instants
// one by one, never by adding 24 hours to the one before: a time that a clock change leaves out is
// the end of the gap, and one that it repeats is the first.
package oncall

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// Bounds of documents.
const (
	maxNameBytes = 200
	maxIDBytes   = 100
	maxTextBytes = 1000
	maxHours     = 20
	maxContacts  = 10
	maxMembers   = 200
)

// Duration is a length of time that is a text such as "5m" or "1h30m" in JSON and YAML.
type Duration time.Duration

// String returns it without trailing zeros: "5m" rather than "5m0s".
func (d Duration) String() string {
	text := time.Duration(d).String()
	if strings.HasSuffix(text, "m0s") {
		text = text[:len(text)-2]
	}
	if strings.HasSuffix(text, "h0m") {
		text = text[:len(text)-2]
	}
	return text
}

// MarshalText returns its text.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads a text such as "5m".
func (d *Duration) UnmarshalText(text []byte) error {
	read, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf(`%.20q is not a duration such as "5m"`, text)
	}
	*d = Duration(read)
	return nil
}

// validHead checks what all documents have. An id may be missing: a new document gets its own.
func validHead(id, name string) error {
	if len(id) > maxIDBytes {
		return errors.New("id: is not an id")
	}
	return validName(name)
}

func validName(name string) error {
	switch {
	case strings.TrimSpace(name) == "":
		return errors.New("name: is missing")
	case len(name) > maxNameBytes || !utf8.ValidString(name):
		return fmt.Errorf("name: has more than %d bytes or is no text", maxNameBytes)
	default:
		return nil
	}
}

func validID(id string) error {
	switch {
	case id == "":
		return errors.New("is missing")
	case len(id) > maxIDBytes:
		return errors.New("is not an id")
	default:
		return nil
	}
}

func validIDs(field string, ids []string, limit int) error {
	if len(ids) > limit {
		return fmt.Errorf("%s: more than %d", field, limit)
	}
	for i, id := range ids {
		if err := validID(id); err != nil {
			return fmt.Errorf("%s[%d]: %w", field, i, err)
		}
	}
	return nil
}
