package telemetry

import (
	"math"
	"math/rand/v2"
	"strconv"
	"testing"
)

// join is what the column value of metric_samples does.
func join(mantissa int64, scale uint8) float64 {
	if scale == rawScale {
		return math.Float64frombits(uint64(mantissa))
	}
	return float64(mantissa) / powersOfTen[scale]
}

func TestDecimalsAreShort(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		value    float64
		mantissa int64
		scale    uint8
	}{
		{0, 0, 0},
		{-7, -7, 0},
		{20.04, 2004, 2},
		{0.1, 1, 1},
		{-0.000000001, -1, 9},
		{1 << 52, 1 << 52, 0},
		{math.Copysign(0, -1), math.MinInt64, rawScale},
		{1e300, int64(math.Float64bits(1e300)), rawScale},
		{math.Inf(1), int64(math.Float64bits(math.Inf(1))), rawScale},
		{math.Float64frombits(staleMarker), staleMarker, rawScale},
		{1.0 / 3, int64(math.Float64bits(1.0 / 3)), rawScale},
	} {
		var f decimalForm
		if m, s := f.split(c.value); m != c.mantissa || s != c.scale {
			t.Errorf("split(%v) = %d, %d, want %d, %d", c.value, m, s, c.mantissa, c.scale)
		}
	}
}

func TestASeriesKeepsItsScale(t *testing.T) {
	t.Parallel()
	var f decimalForm
	for _, c := range []struct {
		value float64
		scale uint8
	}{
		{3, 0},
		{20.5, 1},
		{3, 1},
		{math.NaN(), rawScale},
		{4, 1},
		{2.25, 2},
		{20.5, 2},
		{1.0 / 3, rawScale},
		{1.0 / 7, rawScale},
		{1.0 / 9, rawScale},
		{1.0 / 11, rawScale},
		{0.125, rawScale}, // would be 3, but the series is noisy now
		{0.25, 2},
		{0.125, 3},
	} {
		if _, got := f.split(c.value); got != c.scale {
			t.Errorf("the scale of %v is %d, want %d", c.value, got, c.scale)
		}
	}
}

func FuzzDecimal(f *testing.F) {
	for _, v := range []float64{0, 0.1, 20.04, 1e15, math.NaN(), math.Inf(-1), math.MaxFloat64, math.SmallestNonzeroFloat64} {
		f.Add(math.Float64bits(v), uint8(0), uint8(0))
	}
	f.Fuzz(func(t *testing.T, bits uint64, scale, raw uint8) {
		v := math.Float64frombits(bits)
		form := decimalForm{scale: scale % (maxScale + 1), raw: raw % (noisyAfter + 1)}
		if got := join(form.split(v)); math.Float64bits(got) != bits {
			t.Errorf("%v (%x) comes back as %v", v, bits, got)
		}
	})
}

func TestShortDecimalsAreFound(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for range 100_000 {
		scale := random.IntN(7)
		text := strconv.FormatFloat(random.NormFloat64()*1e6, 'f', scale, 64)
		v, err := strconv.ParseFloat(text, 64)
		if err != nil {
			t.Fatal(err)
		}
		var f decimalForm
		m, s := f.split(v)
		if int(s) > scale && v != 0 {
			t.Fatalf("%s has the scale %d", text, s)
		}
		if got := join(m, s); got != v {
			t.Fatalf("%s comes back as %v", text, got)
		}
	}
}

func TestDecimalsAreRemembered(t *testing.T) {
	t.Parallel()
	var d decimals
	d.keep(1, decimalForm{})
	if len(d.young) != 0 {
		t.Error("a form that says nothing is kept")
	}
	for fp := range uint64(decimalsRemembered + 1) {
		d.keep(fp, decimalForm{scale: 2})
	}
	if len(d.young) != 1 || len(d.old) != decimalsRemembered || d.of(0).scale != 2 || d.of(decimalsRemembered).scale != 2 {
		t.Errorf("%d young, %d old", len(d.young), len(d.old))
	}
}
