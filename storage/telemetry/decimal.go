package telemetry

import "math"

// A sample's value is stored as a decimal: an integer mantissa and the number of its decimals. A
// double that was written as a short decimal is the quotient of the two, exactly: both are doubles
// without loss, and a division rounds to the nearest double, as reading the decimal did.

const (
	// maxScale is how many decimals are tried; nanoseconds have nine.
	maxScale = 9
	// rawScale marks a mantissa that is the bits of the value.
	rawScale = 255
	// maxMantissa is where integers stop being doubles without loss.
	maxMantissa = 1 << 53
	// noisyAfter is how many values in a row have no short decimal until a series is only tried at
	// the scale it has: its values are measured, not counted.
	noisyAfter = 4
)

var powersOfTen = [maxScale + 1]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9}

// decimalForm is how the values of one series are written. Its scale only grows, so that
// neighbours have the same one and differ by little. Which form a value gets does not change it.
type decimalForm struct {
	scale uint8
	raw   uint8 // how many values in a row had no short decimal, up to noisyAfter
}

// split returns the mantissa and the scale of a value.
func (f *decimalForm) split(v float64) (mantissa int64, scale uint8) {
	for scale := f.scale; scale <= maxScale; scale++ {
		scaled := v * powersOfTen[scale]
		if !(scaled > -maxMantissa && scaled < maxMantissa) { // NaN too
			break
		}
		m := math.RoundToEven(scaled)
		if m/powersOfTen[scale] == v && (m != 0 || !math.Signbit(v)) {
			f.scale, f.raw = scale, 0
			return int64(m), scale
		}
		if f.raw >= noisyAfter {
			break
		}
	}
	if f.raw < noisyAfter {
		f.raw++
	}
	return int64(math.Float64bits(v)), rawScale
}

// decimals remembers the forms of series from one block to the next, in two generations: when the
// young one is full it becomes the old one, which is forgotten.
type decimals struct{ young, old map[uint64]decimalForm }

// decimalsRemembered bounds a generation.
const decimalsRemembered = 1 << 17

func (d *decimals) of(fp uint64) decimalForm {
	if f, ok := d.young[fp]; ok {
		return f
	}
	return d.old[fp]
}

func (d *decimals) keep(fp uint64, f decimalForm) {
	if known, ok := d.young[fp]; ok && known == f || !ok && f == (decimalForm{}) {
		return
	}
	if len(d.young) >= decimalsRemembered {
		d.old, d.young = d.young, nil
	}
	if d.young == nil {
		d.young = make(map[uint64]decimalForm)
	}
	d.young[fp] = f
}
