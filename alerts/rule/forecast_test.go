package rule

import (
	"math/rand/v2"
	"testing"
)

const disk = 100 << 30

// used makes three days of points each five minutes; f is the use as a share, hours before now.
func used(f func(hoursLeft float64) float64) []Point {
	r := rand.New(rand.NewPCG(3, 3))
	var out []Point
	for t := int64(longFit); t >= 0; t -= 300 {
		share := f(float64(t)/3600) + 0.0002*r.NormFloat64()
		out = append(out, Point{base - t, share * disk})
	}
	return out
}

// teeth is the share of the way through a period.
func teeth(hoursLeft, period float64) float64 {
	phase := (72 - hoursLeft) / period
	return phase - float64(int(phase))
}

func TestForecasts(t *testing.T) {
	for _, c := range []struct {
		name               string
		f                  func(float64) float64
		page, ticket, mail Verdict
	}{
		{"steady growth, full in 3 hours", func(h float64) float64 { return 0.94 - 0.02*h }, Breach, Breach, Breach},
		{"steady growth, full in 20 hours", func(h float64) float64 { return 0.78 - 0.011*h }, OK, Breach, Breach},
		{"steady growth, full in 3 days", func(h float64) float64 { return 0.70 - 0.30/72*h }, OK, OK, Breach},
		{"steady growth of an empty disk", func(h float64) float64 { return 0.5 - 0.3/72*h }, OK, OK, OK},
		{"fast growth of a half empty disk", func(h float64) float64 { return max(0.1, 0.62-0.0073*h) }, OK, OK, Breach},
		{"one big write", func(h float64) float64 {
			if h < 3 {
				return 0.7
			}
			return 0.4
		}, OK, OK, OK},
		{"a sawtooth", func(h float64) float64 { return 0.35 + 0.4*teeth(h, 9.7) }, OK, OK, OK},
		{"a sawtooth that grows", func(h float64) float64 { return 0.15 + 0.55*(72-h)/72 + 0.25*teeth(h, 6) }, OK, Breach, Breach},
		{"a disk that shrinks", func(h float64) float64 { return 0.65 + 0.1*h/72 }, OK, OK, OK},
		{"full enough and still", func(float64) float64 { return 0.85 }, OK, Breach, Breach},
		{"nearly full and falling", func(h float64) float64 { return 0.965 - 0.0005*h }, Breach, Breach, Breach},
		{"nearly full for days", func(h float64) float64 { return 0.96 + 0.0001*h }, Grey, Breach, Breach},
		{"full", func(float64) float64 { return 1.01 }, Breach, Breach, Breach},
		{"just below the wall", func(float64) float64 { return 0.79 }, OK, Grey, Grey},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := Forecast(used(c.f), disk, base, 36, true)
			got := [3]Verdict{o.Verdict(Page).Verdict, o.Verdict(Ticket).Verdict, o.Verdict(Mail).Verdict}
			if got != [3]Verdict{c.page, c.ticket, c.mail} {
				t.Errorf("got %v; left %s, used %v: %s", got, Quantity(o.Left, "s"), o.Used, o.Why)
			}
			if o.Why == "" {
				t.Error("no reason is given")
			}
		})
	}
}

func TestAForecastSaysWhenItIsFull(t *testing.T) {
	o := Forecast(used(func(h float64) float64 { return 0.78 - 0.011*h }), disk, base, 36, true)
	if hours := o.Left / 3600; hours < 18 || hours > 22 {
		t.Errorf("full in %v hours, it is 20", hours)
	}
}

func TestAForecastOfTooFewDataIsInsufficientBeforeTheWall(t *testing.T) {
	all := used(func(h float64) float64 { return 0.78 - 0.011*h })
	if v := Forecast(all[len(all)-40:], disk, base, 36, true).Verdict(Ticket).Verdict; v != Insufficient {
		t.Errorf("three hours of data: %v", v)
	}
	if v := Forecast(all[len(all)-40:], disk, base, 41, true).Verdict(Ticket).Verdict; v != Insufficient {
		t.Errorf("fewer points than asked for: %v", v)
	}
	full := used(func(float64) float64 { return 0.9 })
	if v := Forecast(full[len(full)-40:], disk, base, 36, true).Verdict(Ticket).Verdict; v != Breach {
		t.Errorf("a disk at 90 %%: %v", v)
	}
	for _, points := range [][]Point{nil, all[:len(all)-20]} {
		if v := Forecast(points, disk, base, 36, true).Verdict(Ticket).Verdict; v != Insufficient {
			t.Errorf("nothing new for more than an hour: %v", v)
		}
	}
	if v := Forecast(all, 0, base, 36, true).Verdict(Ticket).Verdict; v != Insufficient {
		t.Errorf("no capacity: %v", v)
	}
}

func TestTheLastGibibytePagesOnlyForBytesThatFall(t *testing.T) {
	small := int64(8 << 30)
	var points []Point
	for t := int64(longFit); t >= 0; t -= 300 {
		points = append(points, Point{base - t, float64(small)*0.88 - float64(t)*100})
	}
	if v := Forecast(points, float64(small), base, 36, true).Verdict(Page).Verdict; v != Breach {
		t.Errorf("less than 1 GiB is left: %v", v)
	}
	if v := Forecast(points, float64(small), base, 36, false).Verdict(Page).Verdict; v != OK {
		t.Errorf("not bytes: %v", v)
	}
}
