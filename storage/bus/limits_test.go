package bus_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/midwatch/midwatch/storage/bus"
	"github.com/midwatch/midwatch/storage/storagetest"
)

// startServer runs a NATS server with these options on a port of its own and returns its address.
func startServer(t *testing.T, o server.Options) string {
	t.Helper()
	// JetStreamMaxStore has to be set: by default it depends on how much of the disk is free.
	o.Host, o.Port, o.JetStream, o.StoreDir, o.NoLog, o.NoSigs = "127.0.0.1", -1, true, t.TempDir(), true, true
	s, err := server.NewServer(&o)
	if err != nil {
		t.Fatal(err)
	}
	go s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(30 * time.Second) {
		t.Fatal("NATS did not start")
	}
	return s.ClientURL()
}

func TestServerWithoutRoomForTheStreamsIsAnErrorThatSaysWhatToDo(t *testing.T) {
	url := startServer(t, server.Options{MaxPayload: 5 << 20, JetStreamMaxStore: 100 << 20})
	_, err := bus.Open(t.Context(), bus.Config{URL: url, MaxBytes: 64 << 20, DuplicateWindow: time.Minute}, slog.New(slog.DiscardHandler))
	if err == nil {
		t.Fatal("opened")
	}
	for _, part := range []string{"max_file_store", "max_bytes", strconv.Itoa(64 << 20), strconv.Itoa(4*64<<20 + 8<<20)} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not name %s", err, part)
		}
	}
}

func TestServerOfTheExampleHasWhatIsNeeded(t *testing.T) {
	o, err := server.ProcessConfigFile("../../deployments/docker/nats.conf")
	if err != nil {
		t.Fatal(err)
	}
	if !o.SyncAlways {
		t.Error("it acknowledges before it syncs")
	}
	var log bytes.Buffer
	cfg := bus.Config{URL: startServer(t, *o), MaxBytes: 8 << 30, DuplicateWindow: time.Minute}
	b, err := bus.Open(t.Context(), cfg, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	if log.Len() > 0 || b.MaxFrameBytes() != bus.MaxMessageBytes {
		t.Errorf("frames of %d bytes, %s", b.MaxFrameBytes(), log.String())
	}
}

func TestServerThatTakesOnlyTinyMessagesIsRefused(t *testing.T) {
	url := startServer(t, server.Options{MaxPayload: 64 << 10, JetStreamMaxStore: 1 << 30})
	_, err := bus.Open(t.Context(), bus.Config{URL: url, MaxBytes: 64 << 20, DuplicateWindow: time.Minute}, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "max_payload") {
		t.Fatalf("Open = %v, want an error that names max_payload", err)
	}
}

func TestMessagesKeepToTheMaxPayloadOfTheServer(t *testing.T) {
	const payload = 400 << 10 // less than a group has on a server of ours
	url := startServer(t, server.Options{MaxPayload: payload, JetStreamMaxStore: 1 << 30})
	var log bytes.Buffer
	b, err := bus.Open(t.Context(), bus.Config{URL: url, MaxBytes: 64 << 20, DuplicateWindow: time.Minute}, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	if !strings.Contains(log.String(), "max_payload") {
		t.Errorf("nothing is said about max_payload: %s", log.String())
	}
	largest := bytes.Repeat([]byte("x"), b.MaxFrameBytes())
	if err := b.Publish(deadline(t), bus.Logs, 1, "largest", largest); err != nil {
		t.Fatal(err)
	}
	if err := b.Publish(deadline(t), bus.Logs, 1, "", append(largest, 'x')); err == nil || errors.Is(err, bus.ErrFull) || errors.Is(err, bus.ErrUnavailable) {
		t.Errorf("publish of too large a frame = %v, want a plain refusal", err)
	}
	// Many small ones at once: however they are grouped, each message has to fit.
	var wg sync.WaitGroup
	for i := range 500 {
		wg.Go(func() {
			if err := b.Publish(deadline(t), bus.Logs, 1, strconv.Itoa(i), largest[:20<<10]); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	// What could not be stored has to fit as well, whatever the reason is.
	if err := b.Dead(deadline(t), bus.Logs, bus.Message{Seq: 1, Time: time.Now()}, bus.Frame{Data: largest}, strings.Repeat("ö", payload)); err != nil {
		t.Error(err)
	}
	if err := b.Replay(deadline(t), 1); err != nil {
		t.Error(err)
	}
}

func TestLowerLimitLosesNothing(t *testing.T) {
	cfg := storagetest.BusConfig(t)
	cfg.MaxBytes = 256 << 20
	first, err := bus.Open(t.Context(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(first.Close)
	frame := string(bytes.Repeat([]byte("x"), 512<<10))
	const frames = 24
	for i := range uint64(frames) {
		putAside(t, first, bus.Logs, i, frame)
		if err := first.Publish(deadline(t), bus.Logs, 1, "", []byte(frame)); err != nil {
			t.Fatal(err)
		}
	}
	first.Close()
	cfg.MaxBytes = 8 << 20 // less than what is there
	b := storagetest.OpenBus(t, cfg)
	if n := len(list(t, b, 0, 100)); n != frames {
		t.Errorf("%d dead letters are left of %d", n, frames)
	}
	if n := len(read(t, b, bus.Logs, 0)); n != frames {
		t.Errorf("%d messages are left of %d", n, frames)
	}
	if err := b.Publish(deadline(t), bus.Logs, 1, "", []byte(frame)); !errors.Is(err, bus.ErrFull) {
		t.Errorf("publish = %v, want ErrFull", err)
	}
}

func TestServerWhoseStoreIsFullIsSaidToBeFull(t *testing.T) {
	url := startServer(t, server.Options{MaxPayload: 5 << 20, JetStreamMaxStore: 44 << 20})
	b := storagetest.OpenBus(t, bus.Config{URL: url, MaxBytes: 8 << 20, DuplicateWindow: time.Minute})
	if err := b.Publish(deadline(t), bus.Logs, 1, "", []byte("x")); err != nil {
		t.Fatal(err)
	}
	// Somebody else, whose stream has no limit, takes the room that ours had reserved.
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(deadline(t), jetstream.StreamConfig{Name: "OTHER", Subjects: []string{"other"}}); err != nil {
		t.Fatal(err)
	}
	frame := make([]byte, 1<<20)
	for n := 0; err == nil; n++ {
		if n > 60 {
			t.Fatal("the server's store has no end")
		}
		_, err = js.Publish(deadline(t), "other", frame)
	}
	if err := b.Publish(deadline(t), bus.Logs, 1, "", []byte("x")); !errors.Is(err, bus.ErrFull) {
		t.Errorf("publish = %v, want ErrFull", err)
	}
}

// TestFullDiskIsSaidAndHeals opens the embedded server on a disk of 64 MiB, in a process that may
// mount one.
func TestFullDiskIsSaidAndHeals(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "BUS_TEST_SMALL_DISK="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EINVAL) || cmd.ProcessState != nil && cmd.ProcessState.ExitCode() == cannotMount {
		t.Skipf("NOT TESTED ON A FULL DISK: no disk can be mounted here: %v %s", err, out)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// cannotMount is the exit code of smallDisk where the system does not let it have a disk.
const cannotMount = 77

// smallDisk is the body of a child process; it returns the exit code.
func smallDisk(dir string) int {
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64m"); err != nil {
		fmt.Println(err)
		return cannotMount
	}
	if err := fillAndFree(dir); err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

func fillAndFree(dir string) error {
	var log bytes.Buffer
	cfg := bus.Config{Dir: filepath.Join(dir, "bus"), MaxBytes: 8 << 30, DuplicateWindow: time.Minute}
	b, err := bus.Open(bgDeadline(), cfg, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		return fmt.Errorf("open on a small disk: %w", err)
	}
	defer b.Close()
	if !strings.Contains(log.String(), "disk is too small") {
		return fmt.Errorf("the lower limits are not said: %s", log.String())
	}
	frame := bytes.Repeat([]byte("x"), 1<<20)
	if err := b.Publish(bgDeadline(), bus.Logs, 1, "", frame); err != nil {
		return fmt.Errorf("publish with room: %w", err)
	}
	// Somebody else fills the disk to its end.
	filler := filepath.Join(dir, "filler")
	if err := os.WriteFile(filler, make([]byte, 64<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		return fmt.Errorf("the disk does not end: %w", err)
	}
	if err := b.Publish(bgDeadline(), bus.Logs, 1, "", frame); !errors.Is(err, bus.ErrFull) {
		return fmt.Errorf("publish without room = %w, want ErrFull", err)
	}
	if err := b.Dead(bgDeadline(), bus.Logs, bus.Message{Seq: 1}, bus.Frame{Data: frame}, "x"); !errors.Is(err, bus.ErrFull) {
		return fmt.Errorf("put aside without room = %w, want ErrFull", err)
	}
	if err := os.Remove(filler); err != nil {
		return err
	}
	if err := b.Publish(bgDeadline(), bus.Logs, 1, "", frame); err != nil {
		return fmt.Errorf("publish with room again: %w", err)
	}
	// It fills the disk by itself up to its limit and not to the end.
	for n := 0; err == nil; n++ {
		if n > 64 {
			return errors.New("it takes more than there is")
		}
		err = b.Publish(bgDeadline(), bus.Logs, 1, "", frame)
	}
	if !errors.Is(err, bus.ErrFull) {
		return fmt.Errorf("publish over the limit = %w, want ErrFull", err)
	}
	b.Close()
	// With no room at all it still starts, and has what it had.
	if err := os.WriteFile(filler, make([]byte, 64<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		return fmt.Errorf("the disk does not end: %w", err)
	}
	again, err := bus.Open(bgDeadline(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		return fmt.Errorf("open on a full disk: %w", err)
	}
	defer again.Close()
	backlog, err := again.Backlog(bgDeadline(), bus.Logs)
	if err != nil || backlog.Messages < 3 {
		return fmt.Errorf("%d messages are left, %w", backlog.Messages, err)
	}
	return nil
}

// bgDeadline is deadline where there is no test.
func bgDeadline() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	_ = cancel // the process ends first
	return ctx
}
