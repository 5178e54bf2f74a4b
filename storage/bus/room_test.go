package bus_test

import (
	"errors"
	"testing"
	"time"

	"github.com/midwatch/midwatch/storage/bus"
	"github.com/midwatch/midwatch/storage/storagetest"
)

// embedded opens a bus in this process, whichever server other tests use.
func embedded(t *testing.T, dir string, minFree func(total uint64) uint64) *bus.Bus {
	t.Helper()
	return storagetest.OpenBus(t, bus.Config{Dir: dir, MaxBytes: 64 << 20, DuplicateWindow: time.Minute, MinFree: minFree})
}

func TestAFullDiskIsRefusedBeforeItIsFull(t *testing.T) {
	b := embedded(t, t.TempDir(), func(total uint64) uint64 { return total }) // there is always something on it
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
	b := embedded(t, t.TempDir(), func(uint64) uint64 { return 1 })
	if err := b.Publish(deadline(t), bus.Logs, 1, "", []byte("a")); err != nil {
		t.Error(err)
	}
}
