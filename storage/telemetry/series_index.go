package telemetry

import (
	"math/bits"
	"math/rand/v2"
)

// seriesIndex finds a series of a block by its key: a hash table with open addressing over
// MetricBlock.series. A map would take most of the time that a sample costs.
type seriesIndex struct {
	slots []int32 // position in MetricBlock.series and one; 0: free
	// Fingerprints come from senders: the seeds are what keeps them from choosing their slots.
	seed, factor uint64
}

// indexKeep is how many slots are kept for the next block.
const indexKeep = 1 << 18

func newSeriesIndex() seriesIndex {
	return seriesIndex{slots: make([]int32, 1<<10), seed: rand.Uint64(), factor: rand.Uint64() | 1}
}

// slot returns where the key is, or the free slot where it belongs.
func (x *seriesIndex) slot(key seriesKey, series []blockSeries) int {
	const odd = 0x9e3779b97f4a7c15
	high, low := bits.Mul64(key.fp^x.seed^(uint64(key.project)<<16|uint64(key.day))*odd, x.factor)
	mask := len(x.slots) - 1
	at := int(high^low) & mask
	for x.slots[at] != 0 && series[x.slots[at]-1].key != key {
		at = (at + 1) & mask
	}
	return at
}

// get returns the position of a series, or -1.
func (x *seriesIndex) get(key seriesKey, series []blockSeries) int32 {
	return x.slots[x.slot(key, series)] - 1
}

// add notes the last of some series, which is not there yet.
func (x *seriesIndex) add(series []blockSeries) {
	if 2*len(series) > len(x.slots) {
		x.slots = make([]int32, 2*len(x.slots))
		x.rebuild(series)
		return
	}
	n := len(series)
	x.slots[x.slot(series[n-1].key, series)] = int32(n)
}

// rebuild notes some series and forgets all others.
func (x *seriesIndex) rebuild(series []blockSeries) {
	clear(x.slots)
	for i := range series {
		x.slots[x.slot(series[i].key, series)] = int32(i + 1)
	}
}

func (x *seriesIndex) reset() {
	if len(x.slots) > indexKeep {
		x.slots = x.slots[:indexKeep]
	}
	clear(x.slots)
}
