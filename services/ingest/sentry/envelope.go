package sentry

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Envelope is what SDKs send: a header and items of several kinds.
type Envelope struct {
	// EventID is that of the header; zero means that there is none.
	EventID [16]byte
	// DSN is where the sender believes to send to, or empty.
	DSN string
	// SentAt is the sender's time of sending, or zero.
	SentAt time.Time
	Items  []Item
}

// Item is one part of an envelope.
type Item struct {
	// Type is its kind, such as "event" or "check_in".
	Type string
	// Payload is a part of the bytes that were parsed.
	Payload []byte
}

// ParseEnvelope parses an envelope. Items of any kind are returned, also those that nobody knows.
// Errors wrap ErrMalformed or ErrTooLarge. The payloads alias b.
func ParseEnvelope(b []byte) (Envelope, error) {
	line, rest := cutLine(b)
	if len(bytes.TrimSpace(line)) == 0 {
		return Envelope{}, fmt.Errorf("%w envelope: the first line has to be its header", ErrMalformed)
	}
	head, err := decodeObject(line)
	if err != nil {
		return Envelope{}, fmt.Errorf("envelope header: %w", err)
	}
	env := Envelope{DSN: text(head["dsn"])}
	env.SentAt, _ = parseTime(head["sent_at"])
	env.EventID, _ = ParseID(text(head["event_id"]))

	for len(rest) > 0 {
		line, rest = cutLine(rest)
		if len(bytes.TrimSpace(line)) == 0 {
			continue // blank lines between items and at the end
		}
		n := len(env.Items) + 1
		if n > MaxItems {
			return Envelope{}, fmt.Errorf("%w: an envelope may hold %d items", ErrTooLarge, MaxItems)
		}
		head, err := decodeObject(line)
		if err != nil {
			return Envelope{}, fmt.Errorf("header of item %d: %w", n, err)
		}
		item := Item{Type: text(head["type"])}
		if length, ok := head["length"]; ok && length != nil {
			size, ok := integer(length)
			if !ok || size < 0 {
				return Envelope{}, fmt.Errorf("header of item %d: %w: length is not a number of bytes", n, ErrMalformed)
			}
			if size > int64(len(rest)) {
				return Envelope{}, fmt.Errorf("item %d: %w: it ends after %d of %d bytes", n, ErrMalformed, len(rest), size)
			}
			item.Payload, rest = rest[:size], rest[size:]
			if len(rest) > 0 {
				if rest[0] != '\n' {
					return Envelope{}, fmt.Errorf("item %d: %w: no line end after its %d bytes", n, ErrMalformed, size)
				}
				rest = rest[1:]
			}
		} else {
			item.Payload, rest = cutLine(rest)
		}
		env.Items = append(env.Items, item)
	}
	return env, nil
}

// cutLine cuts at the first line end, which is part of neither half.
func cutLine(b []byte) (line, rest []byte) {
	if before, after, ok := bytes.Cut(b, []byte{'\n'}); ok {
		return before, after
	}
	return b, nil
}

// ParseID parses the id of an event or a check-in: 32 hex digits, with or without dashes. The
// zero id is not one.
func ParseID(s string) (id [16]byte, ok bool) {
	s = strings.TrimSpace(s)
	if len(s) == 36 {
		s = strings.ReplaceAll(s, "-", "")
	}
	if len(s) != 32 {
		return id, false
	}
	if _, err := hex.Decode(id[:], []byte(s)); err != nil {
		return [16]byte{}, false
	}
	return id, id != [16]byte{}
}

func decodeObject(b []byte) (map[string]any, error) {
	v, err := decode(b)
	if err != nil {
		return nil, err
	}
	object, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%w JSON: an object is expected", ErrMalformed)
	}
	return object, nil
}

// decode reads one JSON value, with numbers as json.Number. The bare words NaN and Infinity, which
// Python writes, are null.
func decode(b []byte) (any, error) {
	b = bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))
	v, err := decodeStrict(b)
	if err == nil {
		return v, nil
	}
	fixed, changed := withoutNaN(b)
	if changed {
		v, again := decodeStrict(fixed)
		if again == nil {
			return v, nil
		}
	}
	return nil, fmt.Errorf("%w JSON: %w", ErrMalformed, err)
}

func decodeStrict(b []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if rest := bytes.TrimSpace(b[d.InputOffset():]); len(rest) > 0 {
		return nil, fmt.Errorf("something follows after byte %d", d.InputOffset())
	}
	return v, nil
}

// withoutNaN replaces NaN, Infinity and -Infinity outside of strings by null.
func withoutNaN(b []byte) (fixed []byte, changed bool) {
	if !bytes.Contains(b, []byte("NaN")) && !bytes.Contains(b, []byte("Infinity")) {
		return b, false
	}
	out := make([]byte, 0, len(b))
	quoted := false
	for i := 0; i < len(b); {
		c := b[i]
		switch {
		case quoted && c == '\\' && i+1 < len(b):
			out = append(out, c, b[i+1])
			i += 2
			continue
		case c == '"':
			quoted = !quoted
		case !quoted && (c == 'N' || c == 'I' || c == '-'):
			n := 0
			for _, word := range []string{"NaN", "Infinity", "-Infinity", "-NaN"} {
				if bytes.HasPrefix(b[i:], []byte(word)) {
					n = len(word)
				}
			}
			if n > 0 {
				out = append(out, "null"...)
				i += n
				changed = true
				continue
			}
		}
		out = append(out, c)
		i++
	}
	return out, changed
}
