package storagetest

import (
	"context"
	"crypto/rand"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/midwatch/midwatch/storage/bus"
)

// natsVariable names a NATS server with JetStream that tests use instead of the embedded one.
const natsVariable = "MIDWATCH_TEST_NATS_URL"

// Bus opens a bus of the test's own, which ends with the test.
func Bus(t testing.TB) *bus.Bus {
	t.Helper()
	return OpenBus(t, BusConfig(t))
}

// BusConfig says where a bus of the test's own is: in a folder, or on the server that
// MIDWATCH_TEST_NATS_URL names, by a prefix whose streams are removed after the test. It can be
// opened several times; the limits may be changed before.
func BusConfig(t testing.TB) bus.Config {
	t.Helper()
	cfg := bus.Config{URL: os.Getenv(natsVariable), MaxBytes: 64 << 20, DuplicateWindow: time.Minute}
	if cfg.URL == "" {
		cfg.Dir = t.TempDir()
		return cfg
	}
	cfg.Prefix = "test_" + rand.Text() + "_"
	t.Cleanup(func() {
		if err := removeStreams(cfg.URL, cfg.Prefix); err != nil {
			t.Errorf("remove the streams of the test: %v", err)
		}
	})
	return cfg
}

// OpenBus opens a bus until the end of the test.
func OpenBus(t testing.TB, cfg bus.Config) *bus.Bus {
	t.Helper()
	b, err := bus.Open(t.Context(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

func removeStreams(url, prefix string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	nc, err := nats.Connect(url)
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	names := js.StreamNames(ctx)
	for name := range names.Name() {
		if strings.HasPrefix(name, prefix) {
			if err := js.DeleteStream(ctx, name); err != nil {
				return err
			}
		}
	}
	return names.Err()
}
