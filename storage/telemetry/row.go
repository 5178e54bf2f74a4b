package telemetry

import "time"

// How long rows are kept, in days after the day they are stored under. The tables' expiry rules
// in migrations/ say the same.
const (
	logDays    = 30
	sampleDays = 30
	eventDays  = 90 // errors and check-ins
)

// maxSeverity is the highest severity number that OpenTelemetry knows.
const maxSeverity = 24

// maxRowsPerMessage is how many rows of one bus message have ids of their own.
const maxRowsPerMessage = 1 << 20

// rowID names row i of the frame that begins at offset in the message with this sequence. Ids grow
// in the order of the bus, and a replay gives the same ones, whichever of the message's frames are
// added with it. A frame's rows have as many ids to themselves as the frame has bytes, and a row
// takes two at least; several frames share a message only up to bus.TargetMessageBytes.
func rowID(seq uint64, offset, i int) uint64 {
	return seq<<20 | uint64(offset+i)%maxRowsPerMessage
}

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

// storageDay is the day under which a row is stored, in days since 1970: its own, or the nearest
// of those that are in use when it is received. It bounds the parts that one insert can make, and
// how long a row from the future is kept, whatever the clocks of the senders say.
func storageDay(at int64, received uint64, keep int64) uint16 {
	d := at / int64(day)
	if received != 0 {
		today := int64(min(received, uint64(maxTime.UnixNano()))) / int64(day)
		d = max(min(d, today+1), today-keep-1)
	}
	return uint16(max(d, 0))
}
