package bus

import (
	"errors"
	"testing"
	"time"
)

func TestRoomComesBack(t *testing.T) {
	t.Parallel()
	free, looks, broken := uint64(9), 0, error(nil)
	r := &room{least: func(total uint64) uint64 { return total / 10 }, look: func(string) (uint64, uint64, error) {
		looks++
		return free, 100, broken
	}}
	now := time.Now()
	for i, c := range []struct {
		after time.Duration
		free  uint64
		err   error
		full  bool
	}{
		{0, 9, nil, true},
		{roomFresh / 2, 10, nil, true}, // not looked at again yet
		{roomFresh, 10, nil, false},
		{roomFresh, 9, errors.New("no such file system"), false},
		{roomFresh, 9, nil, true},
	} {
		now = now.Add(c.after)
		free, broken = c.free, c.err
		if err := r.check(now); errors.Is(err, ErrFull) != c.full {
			t.Errorf("check %d: %v", i, err)
		}
	}
	if looks != 4 {
		t.Errorf("%d looks at the disk, want 4", looks)
	}
}
