// Package record has the rules that every record of logs and metrics keeps, whichever protocol it
// came by: how large its parts may be, how old it may be, and what its severity means.
package record

import (
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/midwatch/midwatch/proto/telemetrypb"
)

// Bounds of one record.
const (
	MaxAttributes = 128
	MaxKeyBytes   = 256
	MaxValueBytes = 8 << 10
	MaxBodyBytes  = 256 << 10
	// MaxNameBytes bounds names of services, scopes and metrics.
	MaxNameBytes = 512
	// MaxSharedBytes bounds the attributes of a resource: they are repeated in every message.
	MaxSharedBytes = 64 << 10
	// MaxDepth is how deep values may be nested.
	MaxDepth = 32
)

// Attributes that say what was left out of a record.
const (
	// CutBody has the number of bytes of a body that was longer than MaxBodyBytes.
	CutBody = "midwatch.body_bytes"
	// DroppedAttributes has the number of attributes beyond MaxAttributes.
	DroppedAttributes = "midwatch.dropped_attributes"
)

// cutMark ends what was cut.
const cutMark = "…[cut]"

// Clip returns s if it has at most limit bytes, else as much of its beginning as fits with a mark
// of the cut behind it.
func Clip(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return prefix(s, limit-len(cutMark)) + cutMark
}

// ClipKey is Clip for keys: without a mark, which no one would look for in a name.
func ClipKey(s string) string {
	if len(s) <= MaxKeyBytes {
		return s
	}
	return prefix(s, MaxKeyBytes)
}

// prefix returns the first runes of s that have at most n bytes together.
func prefix(s string, n int) string {
	if n <= 0 {
		return ""
	}
	if n >= len(s) {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// Window is the range of times that is taken.
type Window struct {
	// Now stands in for the time of records that have none.
	Now time.Time
	// MaxAge and MaxAhead are how far from Now a record may be.
	MaxAge, MaxAhead time.Duration
}

// maxAgeDays is the age at which a time is rather that of a broken clock; it bounds the partitions
// that one request touches.
const maxAgeDays = 30

// NewWindow takes what is at most 30 days old, and no older than its project keeps it, and at most
// an hour ahead.
func NewWindow(now time.Time, keptDays int) Window {
	return Window{Now: now, MaxAge: time.Duration(min(keptDays, maxAgeDays)) * 24 * time.Hour, MaxAhead: time.Hour}
}

// Check returns why a time in nanoseconds since 1970 is not taken, or nil.
func (w Window) Check(ns uint64) error {
	now := uint64(w.Now.UnixNano())
	switch {
	case ns > now && ns-now > uint64(w.MaxAhead):
		return &TimeError{Ahead: true, Limit: w.MaxAhead}
	case ns < now && now-ns > uint64(w.MaxAge):
		return &TimeError{Limit: w.MaxAge}
	}
	return nil
}

// TimeError says that a record is too old or too far ahead.
type TimeError struct {
	Ahead bool
	Limit time.Duration
}

func (e *TimeError) Error() string {
	if e.Ahead {
		return fmt.Sprintf("the time is more than %s in the future", words(e.Limit))
	}
	return fmt.Sprintf("the time is more than %s in the past", words(e.Limit))
}

// Reason is the error in one word, for counting.
func (e *TimeError) Reason() string {
	if e.Ahead {
		return "too_far_ahead"
	}
	return "too_old"
}

// words writes a limit as a person would.
func words(d time.Duration) string {
	switch {
	case d == 24*time.Hour:
		return "one day"
	case d%(24*time.Hour) == 0 && d > 24*time.Hour:
		return strconv.Itoa(int(d/(24*time.Hour))) + " days"
	case d == time.Hour:
		return "one hour"
	default:
		return d.String()
	}
}

// Lists makes lists of attributes in few allocations. One list is open at a time.
type Lists struct {
	values  []telemetrypb.KeyValue
	list    []*telemetrypb.KeyValue // of all lists of this chunk; the open one begins at start
	start   int
	dropped int
}

// listsChunk is how many key-values are allocated at once.
const listsChunk = 512

// Set puts a key into the open list: the last value of a key is the one that counts. Keys and
// values are cut to their bounds; keys beyond MaxAttributes are counted instead of kept.
func (l *Lists) Set(key, value string) {
	key, value = ClipKey(key), Clip(value, MaxValueBytes)
	for _, kv := range l.list[l.start:] {
		if kv.Key == key {
			kv.Value = value
			return
		}
	}
	if len(l.list)-l.start >= MaxAttributes {
		l.dropped++
		return
	}
	l.push(key, value)
}

// Has reports whether the open list has a key.
func (l *Lists) Has(key string) bool {
	for _, kv := range l.list[l.start:] {
		if kv.Key == key {
			return true
		}
	}
	return false
}

func (l *Lists) push(key, value string) {
	if len(l.values) == 0 {
		l.values = make([]telemetrypb.KeyValue, listsChunk)
	}
	kv := &l.values[0]
	l.values = l.values[1:]
	kv.Key, kv.Value = key, value
	if len(l.list) == cap(l.list) {
		// The lists that were handed out keep the old chunk.
		open := l.list[l.start:]
		l.list = append(make([]*telemetrypb.KeyValue, 0, max(listsChunk, 2*len(open))), open...)
		l.start = 0
	}
	l.list = append(l.list, kv)
}

// CloseShared is Close for attributes that many records share: what is beyond MaxSharedBytes in
// all is dropped.
func (l *Lists) CloseShared() []*telemetrypb.KeyValue {
	size := 0
	for i, kv := range l.list[l.start:] {
		if size += len(kv.Key) + len(kv.Value); size > MaxSharedBytes {
			l.dropped += len(l.list) - l.start - i
			l.list = l.list[:l.start+i]
			break
		}
	}
	return l.Close()
}

// CloseDropping is Close where n more keys were left out before.
func (l *Lists) CloseDropping(n int) []*telemetrypb.KeyValue {
	l.dropped += n
	return l.Close()
}

// Close returns the open list, which notes how many keys were dropped, and opens another.
func (l *Lists) Close() []*telemetrypb.KeyValue {
	if l.dropped > 0 {
		l.push(DroppedAttributes, strconv.Itoa(l.dropped))
		l.dropped = 0
	}
	end := len(l.list)
	list := l.list[l.start:end:end]
	l.start = end
	if len(list) == 0 {
		return nil
	}
	return list
}
