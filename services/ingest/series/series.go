// Package series has the identity of a time series.
package series

import (
	"encoding/binary"
	"math"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"

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

// Sort brings labels into the order of their keys.
func Sort(labels []*telemetrypb.KeyValue) {
	slices.SortFunc(labels, func(a, b *telemetrypb.KeyValue) int { return strings.Compare(a.Key, b.Key) })
}

// Fingerprint is xxHash64 over the name and the labels, which are sorted by key: each text with
// its length before it as four bytes, little end first.
func Fingerprint(name string, labels []*telemetrypb.KeyValue) uint64 {
	var space [1024]byte
	b := appendText(space[:0], name)
	for _, l := range labels {
		b = appendText(b, l.Key)
		b = appendText(b, l.Value)
	}
	return xxhash.Sum64(b)
}

func appendText(b []byte, s string) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(len(s)))
	return append(b, s...)
}
