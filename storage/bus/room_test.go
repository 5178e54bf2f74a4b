package bus_test

import (
	"errors"
	"testing"

	"github.com/midwatch/midwatch/storage/bus"
)

func TestAFullDiskIsRefusedBeforeItIsFull(t *testing.T) {
	b := open(t, bus.Config{MinFree: func(total uint64) uint64 { return total }}) // there is always something on it
	ctx := deadline(t)
	if err := b.Publish(ctx, bus.Logs, 1, "", []byte("a")); !errors.Is(err, bus.ErrFull) {
		t.Errorf("publish = %v, want ErrFull", err)
	}
	backlog, err := b.Backlog(ctx, bus.Logs)
	if err != nil || backlog.Messages != 0 {
		t.Errorf("the stream has %d messages, %v", backlog.Messages, err)
	}
}

func TestADiskWithRoomRefusesNothing(t *testing.T) {
	b := open(t, bus.Config{MinFree: func(uint64) uint64 { return 1 }})
	if err := b.Publish(deadline(t), bus.Logs, 1, "", []byte("a")); err != nil {
		t.Error(err)
	}
}
