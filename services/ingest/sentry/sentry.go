// Package sentry reads what Sentry's SDKs send and turns it into the messages of the bus.
//
// SDKs of many languages and ages are met here, so everything is read leniently: a field that is
// missing, null or of an unexpected shape costs that field, not the event. Everything is bounded
// too, since an event comes from machines that nobody here controls.
//
// An event is kept as a Sentry event in one canonical shape, whatever shape it came in:
//
//   - exception, threads and breadcrumbs are {"values": […]}; exceptions are root cause first and
//     frames are oldest call first, as SDKs send them; a stack trace is {"frames": […]};
//   - tags, request.headers and modules are objects of strings;
//   - timestamp and the breadcrumbs' timestamps are RFC 3339 in UTC, by the server's clock;
//   - message is the formatted message; logentry holds its template and parameters;
//   - _midwatch.grouping says by what the event was grouped: version, basis and parts;
//   - secrets are replaced by "[Filtered]", and what is too long ends in "…".
package sentry

import (
	"errors"
	"time"
)

const (
	// MaxEventBytes is the limit of one event as it comes and as it is kept, before compression.
	MaxEventBytes = 1 << 20
	// MaxLogsBytes is the limit of one container of logs.
	MaxLogsBytes = 12 << 20
	// MaxCheckinBytes is the limit of one check-in.
	MaxCheckinBytes = 100 << 10
	// MaxItems is how many items an envelope may hold.
	MaxItems = 1000
)

var (
	// ErrMalformed says that what came cannot be read; the words around it say why.
	ErrMalformed = errors.New("malformed")
	// ErrTooLarge says that what came is over its limit.
	ErrTooLarge = errors.New("too large")
	// ErrNotKept says that what came is readable and of a kind that is not kept.
	ErrNotKept = errors.New("not kept")
)

// Meta is what is known of a request beside what it holds.
type Meta struct {
	// Project is its number.
	Project uint32
	// ReceivedAt is the server's time of the request.
	ReceivedAt time.Time
	// SentAt is the sender's time of the request, or zero.
	SentAt time.Time
	// PeerIP is the sender's address; it is used only where the sender asks for that.
	PeerIP string
	// EventID wins over the id within the event; zero means that there is none.
	EventID [16]byte
	// FallbackID is the id of an event that has none.
	FallbackID [16]byte
}

const (
	// driftTolerated is how far the sender's clock may be off before its times are corrected.
	driftTolerated = time.Minute
	// pastTolerated is how old an event may be: older ones are taken for a broken clock.
	pastTolerated = 30 * 24 * time.Hour
	// futureTolerated likewise.
	futureTolerated = time.Minute
)

// drift is what has to be added to the sender's times.
func (m Meta) drift() time.Duration {
	if m.SentAt.IsZero() {
		return 0
	}
	d := m.ReceivedAt.Sub(m.SentAt)
	if d.Abs() <= driftTolerated {
		return 0
	}
	return d
}

// at is a sender's time by the server's clock; ok is false for one that cannot be right.
func (m Meta) at(t time.Time) (at time.Time, ok bool) {
	t = t.Add(m.drift())
	if t.Before(m.ReceivedAt.Add(-pastTolerated)) || t.After(m.ReceivedAt.Add(futureTolerated)) {
		return m.ReceivedAt, false
	}
	return t, true
}
