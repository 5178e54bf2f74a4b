package bus

import (
	"fmt"
	"syscall"
)

const (
	// minStreamBytes is the limit of a stream of the embedded server however small the disk is.
	minStreamBytes = 16 << 20
	// minReserve is what the embedded server leaves free at least; of a small disk it is a
	// twentieth. A store that has met the end of the disk writes nothing more until it is opened
	// again, and the other parts need room to tidy up.
	minReserve = 512 << 20
)

// disk returns how much of the embedded server's disk is free and how much of that is to be left
// alone, in bytes.
func (b *Bus) disk() (free, reserve int64, err error) {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(b.cfg.Dir, &fs); err != nil {
		return 0, 0, fmt.Errorf("measure the disk of %s: %w", b.cfg.Dir, err)
	}
	block := int64(fs.Bsize) //nolint:unconvert // its type differs between systems
	total := int64(fs.Blocks) * block
	reserve = min(minReserve, total/20)
	if b.cfg.MinFree != nil {
		reserve = max(reserve, int64(b.cfg.MinFree(uint64(total))))
	}
	return int64(fs.Bavail) * block, reserve, nil
}

// room reports ErrFull when size more bytes would take the disk of the embedded server below its
// reserve, whoever has filled it.
func (b *Bus) room(size int) error {
	if b.server == nil {
		return nil
	}
	free, reserve, err := b.disk()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if free < reserve+int64(size) {
		return fmt.Errorf("%w: %d bytes of disk are free, %d of them are a reserve", ErrFull, free, reserve)
	}
	return nil
}

// share cuts the wanted limits of streams down, all by the same factor, to half of what the disk
// has for them: the other half is for what they are stored into. No limit is below what its stream
// holds.
func share(wanted, held []int64, free, reserve int64) []int64 {
	var sumWanted, budget int64
	for i := range wanted {
		sumWanted += wanted[i]
		budget += held[i]
	}
	budget = max(0, budget+free-reserve) / 2
	factor := min(1, float64(budget)/float64(sumWanted))
	limits := make([]int64, len(wanted))
	for i, w := range wanted {
		limits[i] = max(int64(float64(w)*factor), min(w, minStreamBytes), held[i])
	}
	return limits
}
