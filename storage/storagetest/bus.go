package storagetest

import (
	"context"
	"crypto/rand"
	"errors"
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
	const attempts = 10
	for n := 1; ; n++ {
		b, err := bus.Open(t.Context(), cfg, slog.New(slog.DiscardHandler))
		if err == nil {
			t.Cleanup(b.Close)
			return b
		}
		if n == attempts || !streamFolderGone(err) {
			t.Fatal(err)
		}
	}
}

// streamFolderGone reports whether a stream could not be made because the server, of an old version,
// was removing the folder of all streams with what it took for the last of them: another test's.
func streamFolderGone(err error) bool {
	const storeNotMade = 10049
	api, ok := errors.AsType[*jetstream.APIError](err)
	return ok && api.ErrorCode == storeNotMade
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
