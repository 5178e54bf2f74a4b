package notify

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"math"
	"strconv"
	"strings"
	"time"

	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/math/fixed"
	"golang.org/x/image/vector"
)

// Plot is a value over time with its threshold: what a chart shows. Equal plots give equal pictures.
type Plot struct {
	Start     time.Time     // of the first value
	Step      time.Duration // between two values
	Values    []float64     // at most 5,000; NaN is a gap
	Threshold *float64
	BadFrom   time.Time // shaded from here …
	BadTo     time.Time // … to here; to the end if zero
	Unit      string    // after the numbers: "%", "ms"
	Zone      *time.Location
}

// The picture is 600 × 200 points, drawn at twice that.
const (
	chartWidth   = 1200
	chartHeight  = 400
	chartLeft    = 24
	chartRight   = 24
	chartTop     = 68
	chartBottom  = 60
	chartText    = 34 // still legible where a phone shows the picture 320 points wide
	maxPlotted   = 5000
	chartColumns = chartWidth - chartLeft - chartRight
)

// A night's colours: the picture looks the same on a light and on a dark page. They are a palette, with the mixtures
// that smooth edges need, so that the file is small.
var (
	chartInk = []color.RGBA{
		{0x13, 0x19, 0x22, 0xff}, // paper
		{0x3a, 0x22, 0x28, 0xff}, // the bad part
		{0x7f, 0xb2, 0xff, 0xff}, // the value
		{0xff, 0x7a, 0x70, 0xff}, // the threshold
		{0x97, 0xa3, 0xb1, 0xff}, // text
		{0x2a, 0x35, 0x43, 0xff}, // grid
	}
	chartPalette = mixtures()
)

const (
	paper = iota
	bad
	curve
	limit
	words
	grid
)

// mixtures are the colours and 15 steps from each background to each colour that is drawn on it.
func mixtures() color.Palette {
	var p color.Palette
	for _, c := range chartInk {
		p = append(p, c)
	}
	for _, under := range []int{paper, bad} {
		for _, over := range []int{curve, limit, words} {
			for i := 1; i < 16; i++ {
				p = append(p, mix(chartInk[under], chartInk[over], i))
			}
		}
	}
	return p
}

func mix(a, b color.RGBA, sixteenths int) color.RGBA {
	m := func(x, y uint8) uint8 { return uint8((int(x)*(16-sixteenths) + int(y)*sixteenths) / 16) }
	return color.RGBA{m(a.R, b.R), m(a.G, b.G), m(a.B, b.B), 0xff}
}

// Draw makes the PNG of a plot, at most some 20 kB.
func Draw(p Plot) ([]byte, error) {
	if len(p.Values) == 0 || len(p.Values) > maxPlotted || p.Step <= 0 {
		return nil, fmt.Errorf("a chart needs 1 to %d values and a step", maxPlotted)
	}
	low, high, ok := extent(p)
	if !ok {
		return nil, errors.New("a chart needs a value that is a number")
	}
	zone := cmp.Or(p.Zone, time.UTC)
	parsed, err := opentype.Parse(goregular.TTF)
	if err != nil {
		return nil, fmt.Errorf("read the font: %w", err)
	}
	face, err := opentype.NewFace(parsed, &opentype.FaceOptions{Size: chartText, DPI: 72, Hinting: font.HintingFull})
	if err != nil {
		return nil, fmt.Errorf("prepare the font: %w", err)
	}
	defer face.Close()

	c := &canvas{image: image.NewRGBA(image.Rect(0, 0, chartWidth, chartHeight)), face: face}
	c.fill(c.image.Bounds(), paper)
	x := func(i float64) float32 {
		return float32(chartLeft + i/math.Max(float64(len(p.Values)-1), 1)*chartColumns)
	}
	y := func(v float64) float32 {
		return float32(chartHeight - chartBottom - (v-low)/(high-low)*(chartHeight-chartTop-chartBottom))
	}
	if !p.BadFrom.IsZero() {
		from := index(p, p.BadFrom)
		to := float64(len(p.Values) - 1)
		if !p.BadTo.IsZero() {
			to = index(p, p.BadTo)
		}
		c.fill(image.Rect(int(x(from)), chartTop, max(int(x(to)), int(x(from))+2), chartHeight-chartBottom), bad)
	}
	c.fill(image.Rect(chartLeft, chartHeight-chartBottom, chartWidth-chartRight, chartHeight-chartBottom+2), grid)
	if p.Threshold != nil {
		for left := chartLeft; left < chartWidth-chartRight; left += 18 {
			c.fill(image.Rect(left, int(y(*p.Threshold))-1, min(left+10, chartWidth-chartRight), int(y(*p.Threshold))+2), limit)
		}
	}
	c.line(p.Values, x, y)
	c.labels(p, zone, y)

	var out bytes.Buffer
	if err := png.Encode(&out, paletted(c.image)); err != nil {
		return nil, fmt.Errorf("encode the chart: %w", err)
	}
	return out.Bytes(), nil
}

// paletted takes the nearest colour of the palette for each point, and looks for each colour once.
func paletted(from *image.RGBA) *image.Paletted {
	out := image.NewPaletted(from.Bounds(), chartPalette)
	nearest := map[[4]byte]uint8{}
	var last [4]byte
	var lastIndex uint8
	for i := range out.Pix {
		point := [4]byte(from.Pix[4*i : 4*i+4])
		if i == 0 || point != last {
			index, known := nearest[point]
			if !known {
				index = uint8(chartPalette.Index(color.RGBA{point[0], point[1], point[2], point[3]}))
				nearest[point] = index
			}
			last, lastIndex = point, index
		}
		out.Pix[i] = lastIndex
	}
	return out
}

// extent is from zero, or the least value below it, to a little over the greatest.
func extent(p Plot) (low, high float64, ok bool) {
	for _, v := range p.Values {
		if !finite(v) {
			continue
		}
		low, high, ok = min(low, v), max(high, v), true
	}
	if p.Threshold != nil && finite(*p.Threshold) {
		low, high = min(low, *p.Threshold), max(high, *p.Threshold)
	}
	high += (high - low) * 0.05
	if high-low == 0 {
		high = low + 1
	}
	return low, high, ok && finite(high-low)
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

func index(p Plot, t time.Time) float64 {
	return min(max(float64(t.Sub(p.Start))/float64(p.Step), 0), float64(len(p.Values)-1))
}

type canvas struct {
	image *image.RGBA
	face  font.Face
}

func (c *canvas) fill(r image.Rectangle, ink int) {
	draw.Draw(c.image, r, image.NewUniform(chartInk[ink]), image.Point{}, draw.Src)
}

// line draws each run of values between two gaps; a value alone is a dot.
func (c *canvas) line(values []float64, x func(float64) float32, y func(float64) float32) {
	const half = 2.0
	shape := vector.NewRasterizer(chartWidth, chartHeight)
	quad := func(ax, ay, bx, by, nx, ny float32) {
		shape.MoveTo(ax+nx, ay+ny)
		shape.LineTo(bx+nx, by+ny)
		shape.LineTo(bx-nx, by-ny)
		shape.LineTo(ax-nx, ay-ny)
		shape.ClosePath()
	}
	for i, v := range values {
		if !finite(v) {
			continue
		}
		ax, ay := x(float64(i)), y(v)
		alone := (i == 0 || !finite(values[i-1])) && (i == len(values)-1 || !finite(values[i+1]))
		if alone {
			quad(ax-half*1.5, ay, ax+half*1.5, ay, 0, half*1.5)
			continue
		}
		if i == len(values)-1 || !finite(values[i+1]) {
			continue
		}
		bx, by := x(float64(i+1)), y(values[i+1])
		// half a pen's width across the direction; the ends reach over, so that corners close.
		dx, dy := float64(bx-ax), float64(by-ay)
		length := math.Hypot(dx, dy)
		ux, uy := float32(dx/length), float32(dy/length)
		quad(ax-ux, ay-uy, bx+ux, by+uy, -uy*half, ux*half)
	}
	shape.Draw(c.image, c.image.Bounds(), image.NewUniform(chartInk[curve]), image.Point{})
}

// labels writes the greatest value and the threshold above, the lowest edge and the times below.
func (c *canvas) labels(p Plot, zone *time.Location, y func(float64) float32) {
	peak, at := math.Inf(-1), 0
	for i, v := range p.Values {
		if finite(v) && v > peak {
			peak, at = v, i
		}
	}
	const above, below = chartTop - 22, chartHeight - 16
	right := c.text("peak "+number(peak, p.Unit)+" at "+p.Start.Add(time.Duration(at)*p.Step).In(zone).Format("15:04"), chartLeft, above, words, false)
	if p.Threshold != nil {
		c.text("limit "+number(*p.Threshold, p.Unit), max(right+40, chartWidth/3), above, limit, false)
	}
	least := math.Inf(1)
	for _, v := range p.Values {
		if finite(v) {
			least = min(least, v)
		}
	}
	c.text("least "+number(least, p.Unit), chartWidth-chartRight, above, words, true)
	last := p.Start.Add(time.Duration(len(p.Values)-1) * p.Step)
	layout := "15:04"
	if last.Sub(p.Start) >= 24*time.Hour {
		layout = "2 Jan 15:04"
	}
	c.text(p.Start.In(zone).Format(layout), chartLeft, below, words, false)
	middle := p.Start.Add(last.Sub(p.Start) / 2).In(zone).Format(layout)
	c.text(middle, chartWidth/2-font.MeasureString(c.face, middle).Ceil()/2, below, words, false)
	c.text(last.In(zone).Format(layout+" MST"), chartWidth-chartRight, below, words, true)
}

// text writes from x, or up to it, and returns where it ends.
func (c *canvas) text(s string, x, baseline, ink int, upTo bool) int {
	if upTo {
		x -= font.MeasureString(c.face, s).Ceil()
	}
	drawer := font.Drawer{Dst: c.image, Src: image.NewUniform(chartInk[ink]), Face: c.face, Dot: fixed.P(x, baseline)}
	drawer.DrawString(s)
	return drawer.Dot.X.Ceil()
}

// number writes a value in at most four digits.
func number(v float64, unit string) string {
	suffix := ""
	for _, s := range []struct {
		over float64
		name string
	}{{1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e4, "k"}} {
		if math.Abs(v) >= s.over {
			scale := s.over
			if s.name == "k" {
				scale = 1e3
			}
			v, suffix = v/scale, s.name
			break
		}
	}
	digits := strconv.FormatFloat(v, 'g', 4, 64)
	if math.Abs(v) >= 1 || v == 0 {
		digits = strconv.FormatFloat(v, 'f', 2, 64)
		digits = strings.TrimSuffix(strings.TrimRight(digits, "0"), ".")
	}
	if unit != "" {
		unit = " " + unit
	}
	return digits + suffix + unit
}
