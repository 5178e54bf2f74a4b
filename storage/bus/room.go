package bus

import (
	"fmt"
	"sync"
	"syscall"
	"time"
)

// roomFresh is how long a look at the disk is believed.
const roomFresh = 100 * time.Millisecond

// room watches the free space of the disk that the embedded server writes to. It has to refuse
// before the disk does: JetStream takes a failed write for the end of a stream until it is started
// again. It is safe for concurrent use.
type room struct {
	dir   string
	least func(total uint64) uint64
	look  func(dir string) (free, total uint64, err error)

	mu  sync.Mutex
	at  time.Time
	err error
}

// check returns ErrFull, wrapped, while there is too little room. A disk that cannot be looked at
// refuses nothing.
func (r *room) check(now time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.at.IsZero() && now.Sub(r.at).Abs() < roomFresh {
		return r.err
	}
	r.at, r.err = now, nil
	free, total, err := r.look(r.dir)
	if err == nil && free < r.least(total) {
		r.err = fmt.Errorf("%w: the disk has %d of %d bytes free", ErrFull, free, total)
	}
	return r.err
}

// diskRoom asks the file system of a folder.
func diskRoom(dir string) (free, total uint64, err error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, 0, err
	}
	return s.Bavail * uint64(s.Bsize), s.Blocks * uint64(s.Bsize), nil
}
