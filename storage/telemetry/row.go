package telemetry

import "time"

// maxSeverity is the highest severity number that OpenTelemetry knows.
const maxSeverity = 24

// rowID is the first id of the rows of a block that begins with the frame at offset in the message
// of this sequence; the others count on from it. Ids grow in the order of the bus, and no two blocks
// have one in common: a block has fewer than 2^20 rows, so that those of one which begins with a
// later message come after; and where a message is parted, which has several frames only up to
// bus.TargetMessageBytes, its frames have fewer rows than bytes.
func rowID(seq uint64, offset int) uint64 { return seq<<20 + uint64(offset) }

const day = 24 * time.Hour

// storedTime returns the first of some times, in nanoseconds since 1970, that is known (not 0),
// moved into what a column can hold.
func storedTime(times ...uint64) int64 {
	for _, t := range times {
		if t == 0 {
			continue
		}
		return int64(min(t, uint64(maxTime.UnixNano())))
	}
	return 0
}

// storageDay is the day under which a row that is kept for some days is stored, in days since 1970:
// its own, or the nearest of those that are in use when it is received. It bounds the parts that
// one insert can make, and how long a row from the future is kept, whatever the clocks of the
// senders say. No row has expired when it is received.
func storageDay(at int64, received uint64, keep int) uint16 {
	d := at / int64(day)
	if received != 0 {
		today := int64(min(received, uint64(maxTime.UnixNano()))) / int64(day)
		d = max(min(d, today+1), today-int64(keep))
	}
	return uint16(max(d, 0))
}
