// Package series puts the samples of one request together by their series, in the form in which
// they go on the bus.
package series

import (
	"encoding/binary"
	"math"
	"slices"

	"github.com/cespare/xxhash/v2"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/midwatch/midwatch/proto/telemetrypb"
)

// Bounds of a series.
const (
	MaxLabels     = 64
	MaxValueBytes = 2 << 10
)

// staleBits are the bits of Prometheus' staleness marker, normalBits those of any other NaN.
const (
	staleBits  = 0x7ff0000000000002
	normalBits = 0x7ff8000000000001
)

// Stale returns the value that says that a series has ended.
func Stale() float64 { return math.Float64frombits(staleBits) }

// Value returns v as it is stored: every NaN has the same bits, so that none is taken for the
// staleness marker.
func Value(v float64) float64 {
	if math.IsNaN(v) {
		return math.Float64frombits(normalBits)
	}
	return v
}

// A Label is a key and a value, ready to be put into many series. The zero value is an empty key
// with an empty value.
type Label struct {
	// The label as a part of what the fingerprint is over, and behind it as a field of
	// telemetrypb.Series.
	buf        []byte
	key, value int // bytes
}

// Set makes the label another one. Its memory is used again: what Key and Value returned is not
// valid any more. Both texts are valid UTF-8 and not empty.
func (l *Label) Set(key, value []byte) {
	n := 8 + len(key) + len(value)
	pair := 2 + protowire.SizeVarint(uint64(len(key))) + len(key) + protowire.SizeVarint(uint64(len(value))) + len(value)
	b := l.buf[:0]
	b = binary.LittleEndian.AppendUint32(b, uint32(len(key)))
	b = append(b, key...)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(value)))
	b = append(b, value...)
	b = appendLength(b, telemetrypb.TagSeriesLabels, pair)
	b = appendLength(b, telemetrypb.TagKey, len(key))
	b = append(b, b[4:4+len(key)]...)
	b = appendLength(b, telemetrypb.TagValue, len(value))
	b = append(b, b[n-len(value):n]...)
	l.buf, l.key, l.value = b, len(key), len(value)
}

// NewLabel makes a label.
func NewLabel(key, value string) *Label {
	l := new(Label)
	l.Set([]byte(key), []byte(value))
	return l
}

// Key returns the key; it is not to be changed.
func (l *Label) Key() []byte {
	if l.buf == nil {
		return nil
	}
	return l.buf[4 : 4+l.key]
}

// Value returns the value; it is not to be changed.
func (l *Label) Value() []byte {
	if l.buf == nil {
		return nil
	}
	return l.buf[8+l.key : 8+l.key+l.value]
}

// hashed is what the fingerprint is over, wire the field of telemetrypb.Series.
func (l *Label) hashed() []byte { return l.buf[:8+l.key+l.value] }
func (l *Label) wire() []byte   { return l.buf[8+l.key+l.value:] }

// Size is what the label takes on the bus.
func (l *Label) Size() int { return len(l.buf) - 8 - l.key - l.value }

// Size is what some labels take on the bus.
func Size(labels []*Label) int {
	size := 0
	for _, l := range labels {
		size += l.Size()
	}
	return size
}

// Sort brings labels into the order of their keys.
func Sort(labels []*Label) {
	slices.SortFunc(labels, func(a, b *Label) int { return slices.Compare(a.Key(), b.Key()) })
}

// Fingerprint is xxHash64 over the name and the labels, which are sorted by key: each text with
// its length before it as four bytes, little end first. The space is used for the text and
// returned.
func fingerprint(space []byte, name string, labels []*Label) (uint64, []byte) {
	b := binary.LittleEndian.AppendUint32(space[:0], uint32(len(name)))
	b = append(b, name...)
	for _, l := range labels {
		b = append(b, l.hashed()...)
	}
	return xxhash.Sum64(b), b
}

// Fingerprint names the series of a metric that has some labels, sorted by key.
func Fingerprint(name string, labels []*Label) uint64 {
	fp, _ := fingerprint(make([]byte, 0, 1024), name, labels)
	return fp
}

func appendLength(b []byte, tag byte, n int) []byte {
	b = append(b, tag)
	if n < 0x80 {
		return append(b, byte(n))
	}
	return protowire.AppendVarint(b, uint64(n))
}
