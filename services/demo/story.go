package demo

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// slotLength is the grain of the story: what happens in one slot depends on the seed and the slot
// alone, so that slots can be made in any order and at once.
const slotLength = 5 * time.Second

// The releases of the shop. The broken one comes after now, so that somebody is woken for it.
const (
	oldRelease    = "1.40.3"
	goodRelease   = "1.41.0"
	badRelease    = "1.42.0"
	fixedRelease  = "1.42.1"
	brokenRelease = "1.43.0"
	mendedRelease = "1.43.1"
)

const (
	untilBroken = 7 * time.Minute
	untilMended = untilBroken + 11*time.Minute
)

const (
	environment = "production"
	mebibyte    = 1 << 20
	workerLimit = 1024 * mebibyte
)

type deploy struct {
	at      time.Time
	release string
}

// story is what happens in the shop and when. It goes on after now without an end.
type story struct {
	seed  uint64
	rate  float64
	begin time.Time
	now   time.Time
	// deploys in order, each at the beginning of a slot; the first is before the beginning.
	deploys []deploy
	// leak is how long the worker takes to fill its memory.
	leak time.Duration
	// issues are the kinds of errors that there are.
	issues []issue
}

func newStory(o Options) *story {
	past := time.Duration(o.Hours * float64(time.Hour))
	now := o.Now.UTC().Truncate(slotLength)
	begin := now.Add(-past).Truncate(slotLength)
	share := func(f float64) time.Time { return begin.Add(time.Duration(f * float64(past))).Truncate(slotLength) }
	bad := share(0.62)
	fixed := bad.Add(min(45*time.Minute, past/8)).Truncate(slotLength)
	return &story{
		seed: uint64(o.Seed), rate: o.Rate, begin: begin, now: now,
		deploys: []deploy{
			{begin.Add(-26 * time.Hour), oldRelease},
			{share(0.08), goodRelease},
			{bad, badRelease},
			{fixed, fixedRelease},
			{now.Add(untilBroken), brokenRelease},
			{now.Add(untilMended), mendedRelease},
		},
		leak:   max(past*2/5, 20*time.Minute),
		issues: issues(),
	}
}

// deployed is the newest deploy at a time.
func (s *story) deployed(at time.Time) deploy {
	d := s.deploys[0]
	for _, next := range s.deploys {
		if !next.at.After(at) {
			d = next
		}
	}
	return d
}

func (s *story) release(at time.Time) string { return s.deployed(at).release }

// bad reports whether a release serves at a time with which many orders fail.
func (s *story) bad(at time.Time) bool {
	release := s.release(at)
	return release == badRelease || release == brokenRelease
}

// rolling reports whether a deploy is under way, a minute after it began.
func (s *story) rolling(at time.Time) bool { return at.Sub(s.deployed(at).at) < time.Minute }

// workerStart is when the worker began: with the newest deploy, or when it had run out of memory
// since.
func (s *story) workerStart(at time.Time) time.Time {
	begin := s.deployed(at).at
	return begin.Add(at.Sub(begin) / s.leak * s.leak)
}

// workerMemory is what the worker holds; it leaks.
func (s *story) workerMemory(at time.Time) float64 {
	full := float64(at.Sub(s.workerStart(at))) / float64(s.leak)
	return 190*mebibyte + full*(workerLimit-190*mebibyte)
}

// outOfMemory reports whether the worker dies of its leak within a slot.
func (s *story) outOfMemory(slot int64) bool {
	at, before := slotTime(slot), slotTime(slot-1)
	return s.deployed(at) == s.deployed(before) && !s.workerStart(at).Equal(s.workerStart(before))
}

// traffic is how busy the shop is, around 1: more by day, with slow swells.
func (s *story) traffic(at time.Time) float64 {
	hours := float64(at.Unix()) / 3600
	day := 0.3 * math.Sin(2*math.Pi*(hours-9)/24)
	swell := 0.12*math.Sin(2*math.Pi*hours/1.7) + 0.05*math.Sin(2*math.Pi*hours/0.31)
	return 1 + day + swell
}

// chance returns the random numbers of a slot for one purpose.
func (s *story) chance(purpose, slot int64) *rand.Rand {
	return rand.New(rand.NewPCG(s.seed^uint64(purpose)<<56, uint64(slot)))
}

// noise is a number between -1 and 1 that belongs to a key and a step.
func (s *story) noise(key uint64, step int64) float64 {
	x := s.seed ^ key*0x9e3779b97f4a7c15 ^ uint64(step)*0xbf58476d1ce4e5b9
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	x ^= x >> 31
	return float64(x>>11)/(1<<52) - 1
}

func slotOf(at time.Time) int64 { return at.Unix() / int64(slotLength/time.Second) }

func slotTime(slot int64) time.Time {
	return time.Unix(slot*int64(slotLength/time.Second), 0).UTC()
}

// pick draws one of the values.
func pick[T any](r *rand.Rand, values []T) T { return values[r.IntN(len(values))] }

// count draws a whole number whose mean is m: each of the parts above and below is as likely as it
// must be.
func count(r *rand.Rand, m float64) int {
	whole := math.Floor(m)
	n := int(whole)
	if r.Float64() < m-whole {
		n++
	}
	return n
}

func randomBytes(r *rand.Rand, n int) []byte {
	b := make([]byte, 0, n+8)
	for len(b) < n {
		v := r.Uint64()
		for range 8 {
			b = append(b, byte(v))
			v >>= 8
		}
	}
	return slices.Clip(b[:n])
}
