package series

import (
	"math"
	"testing"

	"github.com/cespare/xxhash/v2"

	"github.com/midwatch/midwatch/proto/telemetrypb"
)

func TestFingerprint(t *testing.T) {
	t.Parallel()
	labels := []*telemetrypb.KeyValue{{Key: "b", Value: "2"}, {Key: "a", Value: "1"}}
	Sort(labels)
	// It is stored: it must never change.
	want := xxhash.Sum64String("\x02\x00\x00\x00up\x01\x00\x00\x00a\x01\x00\x00\x001\x01\x00\x00\x00b\x01\x00\x00\x002")
	if got := Fingerprint("up", labels); got != want {
		t.Errorf("Fingerprint = %x, want %x", got, want)
	}
	// Lengths keep what is beside each other apart.
	if Fingerprint("ab", nil) == Fingerprint("a", []*telemetrypb.KeyValue{{Key: "b"}}) ||
		Fingerprint("u", []*telemetrypb.KeyValue{{Key: "ab", Value: "c"}}) == Fingerprint("u", []*telemetrypb.KeyValue{{Key: "a", Value: "bc"}}) {
		t.Error("different series have the same fingerprint")
	}
}

func TestValue(t *testing.T) {
	t.Parallel()
	if math.Float64bits(Stale()) != staleBits || math.Float64bits(Value(Stale())) == staleBits || !math.IsNaN(Value(math.NaN())) {
		t.Error("a NaN is taken for the staleness marker")
	}
	for _, v := range []float64{0, -1.5, math.Inf(1)} {
		if Value(v) != v {
			t.Errorf("Value(%v) = %v", v, Value(v))
		}
	}
}
