package storagetest

import (
	"log/slog"
	"testing"
	"time"

	"github.com/midwatch/midwatch/storage/bus"
)

// Bus starts an embedded bus that ends with the test.
func Bus(t testing.TB) *bus.Bus {
	t.Helper()
	b, err := bus.Open(t.Context(), bus.Config{
		Dir: t.TempDir(), MaxBytes: 256 << 20, DuplicateWindow: time.Minute,
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}
