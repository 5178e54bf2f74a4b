package storagetest

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/midwatch/midwatch/storage/telemetry"
)

// Telemetry returns a store on a fresh, migrated database of EngineURL. It is closed when the test
// ends.
func Telemetry(t testing.TB) *telemetry.Store {
	t.Helper()
	return OpenTelemetry(t, EngineURL(t))
}

// OpenTelemetry returns a store on a database that EngineURL returned, and migrates it. It is closed
// when the test ends.
func OpenTelemetry(t testing.TB, address string) *telemetry.Store {
	t.Helper()
	s, err := telemetry.Open(t.Context(), address, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatalf("open the telemetry store: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close the telemetry store: %v", err)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if err := s.Migrate(ctx); err != nil {
		t.Fatalf("migrate the telemetry store: %v", err)
	}
	return s
}
