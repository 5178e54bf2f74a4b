package cli

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/labstack/echo/v4"
	"google.golang.org/protobuf/proto"

	"github.com/midwatch/midwatch/proto/telemetrypb"
	"github.com/midwatch/midwatch/services/access"
	"github.com/midwatch/midwatch/services/deadletter"
	"github.com/midwatch/midwatch/storage/bus"
	"github.com/midwatch/midwatch/storage/storagetest"
)

// office is a real bus behind its real routes.
type office struct {
	t   *testing.T
	bus *bus.Bus
	url string
	// refuse may answer instead.
	refuse func(w http.ResponseWriter, r *http.Request) bool
}

func newOffice(t *testing.T) *office {
	o := &office{t: t, bus: storagetest.Bus(t)}
	log := slog.New(slog.DiscardHandler)
	e := echo.New()
	e.HTTPErrorHandler = access.ErrorHandler(log)
	deadletter.New(o.bus, log).Mount(e)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if o.refuse == nil || !o.refuse(w, r) {
			e.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(server.Close)
	o.url = server.URL
	return o
}

func (o *office) putAside(s bus.Signal, seq uint64, data []byte, reason string) {
	o.t.Helper()
	at := time.Date(2026, time.November, 21, 10, 0, 0, 0, time.UTC)
	if err := o.bus.Dead(o.t.Context(), s, bus.Message{Seq: seq, Time: at}, bus.Frame{Offset: 345, Data: data}, reason); err != nil {
		o.t.Fatal(err)
	}
}

func (o *office) run(args ...string) (string, error) {
	var out bytes.Buffer
	err := Deadletter(o.t.Context(), append(args, "-internal", o.url), noEnvironment, &out)
	return out.String(), err
}

func (o *office) mustRun(args ...string) string {
	o.t.Helper()
	out, err := o.run(args...)
	if err != nil {
		o.t.Fatalf("%v: %v", args, err)
	}
	return out
}

// left returns the sequences of the dead letters that there are.
func (o *office) left() []uint64 {
	o.t.Helper()
	letters, err := o.bus.DeadLetters(o.t.Context(), 0, bus.MaxDeadLetters)
	if err != nil {
		o.t.Fatal(err)
	}
	var seqs []uint64
	for _, l := range letters {
		seqs = append(seqs, l.Seq)
	}
	return seqs
}

func noEnvironment(string) string { return "" }

func TestListIsAnAlignedTable(t *testing.T) {
	o := newOffice(t)
	if out := o.mustRun("list"); out != "There are no messages that could not be stored.\n" {
		t.Errorf("an empty list: %q", out)
	}
	for i := range uint64(9) {
		o.putAside(bus.Logs, i+1, []byte("x"), "decode a frame of logs")
	}
	o.putAside(bus.Checkins, 1, bytes.Repeat([]byte("x"), 1234), "code:\u00a0117\n\x1b[31mtoo red\u009b "+strings.Repeat("long ", 50))
	lines := strings.Split(o.mustRun("list"), "\n")
	if len(lines) != 12 {
		t.Fatalf("%d lines: %q", len(lines), lines)
	}
	if !strings.HasPrefix(lines[0], "seq ") || !strings.HasPrefix(lines[1], "  1 ") || !strings.HasPrefix(lines[10], " 10 ") {
		t.Errorf("not aligned:\n%s", strings.Join(lines, "\n"))
	}
	column := strings.Index(lines[0], "reason")
	if !strings.HasPrefix(lines[1][column:], "decode a frame") || !strings.HasPrefix(lines[10][column:], "code: 117 \uFFFD[31mtoo red\uFFFD long") {
		t.Errorf("not aligned, or not clean:\n%s", strings.Join(lines, "\n"))
	}
	if !strings.HasSuffix(lines[10], "…") || !strings.Contains(lines[10], "  checkins   1234  ") {
		t.Errorf("line of the last: %q", lines[10])
	}
}

func TestListSaysHowToGoOn(t *testing.T) {
	o := newOffice(t)
	for i := range uint64(3) {
		o.putAside(bus.Logs, i+1, []byte("x"), "refused")
		o.putAside(bus.Metrics, i+1, []byte("x"), "refused")
	}
	out := o.mustRun("list", "-limit", "2", "-signal", "metrics")
	if !strings.Contains(out, "midwatch deadletter list -after 4 -signal metrics") || strings.Contains(out, "logs") {
		t.Error(out)
	}
	out = o.mustRun("list", "-limit", "2", "-signal", "metrics", "-after", "4")
	if strings.Contains(out, "There are more") || !strings.Contains(out, "\n  6  ") {
		t.Error(out)
	}
}

func TestShowPrintsWhatTheMessageSays(t *testing.T) {
	o := newOffice(t)
	data, err := proto.Marshal(&telemetrypb.CheckinFrame{Checkins: []*telemetrypb.Checkin{{ProjectId: 3, Slug: "nightly-backup"}}})
	if err != nil {
		t.Fatal(err)
	}
	o.putAside(bus.Checkins, 12, data, "refused for a reason")
	out := o.mustRun("show", "1")
	for _, words := range []string{"checkins", "2026-11-21T10:00:00Z, in message 12 of its stream, from byte 345", "refused for a reason", `"slug": "nightly-backup"`} {
		if !strings.Contains(out, words) {
			t.Errorf("%q is not in:\n%s", words, out)
		}
	}
}

func TestShowPrintsWhatCannotBeDecodedInBase64(t *testing.T) {
	o := newOffice(t)
	o.putAside(bus.Logs, 1, []byte("\xff\xff\xff"), "refused")
	if out := o.mustRun("show", "1"); !strings.Contains(out, "cannot be decoded: decode a frame of logs") || !strings.Contains(out, "\n////\n") {
		t.Error(out)
	}
}

func TestOneIsReplayedOrDropped(t *testing.T) {
	o := newOffice(t)
	for i := range uint64(3) {
		o.putAside(bus.Logs, i+1, []byte("x"), "refused")
	}
	if out := o.mustRun("replay", "2"); out != "Message 2 is replayed.\n" {
		t.Error(out)
	}
	if out := o.mustRun("drop", "3"); out != "Message 3 is dropped.\n" {
		t.Error(out)
	}
	if diff := cmp.Diff([]uint64{1}, o.left()); diff != "" {
		t.Error(diff)
	}
	if backlog, err := o.bus.Backlog(t.Context(), bus.Logs); err != nil || backlog.Messages != 1 {
		t.Errorf("%d messages are replayed, %v", backlog.Messages, err)
	}
}

func TestAllOfASignalAreReplayed(t *testing.T) {
	o := newOffice(t)
	for i := range uint64(4) {
		o.putAside(bus.Logs, i+1, []byte("x"), "refused")
		o.putAside(bus.Metrics, i+1, []byte("x"), "refused")
	}
	out := o.mustRun("replay", "all", "-signal", "logs")
	if !strings.HasPrefix(out, "Replayed 4 of 4. ") {
		t.Error(out)
	}
	if diff := cmp.Diff([]uint64{2, 4, 6, 8}, o.left()); diff != "" {
		t.Error(diff)
	}
	if out := o.mustRun("-signal=logs", "replay", "all"); out != "There are no messages of logs that could not be stored.\n" {
		t.Error(out)
	}
}

func TestAllAreDropped(t *testing.T) {
	o := newOffice(t)
	for i := range uint64(1500) { // more than one page and than one line of progress
		o.putAside(bus.Logs, i+1, []byte("x"), "refused")
	}
	if out := o.mustRun("drop", "all"); out != "500 of 1500 …\n1000 of 1500 …\nDropped 1500 of 1500.\n" {
		t.Error(out)
	}
	if left := o.left(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestAllGoesOnWhereOneFails(t *testing.T) {
	o := newOffice(t)
	for i := range uint64(4) {
		o.putAside(bus.Logs, i+1, []byte("x"), "refused")
	}
	o.refuse = func(w http.ResponseWriter, r *http.Request) bool {
		switch r.URL.Path {
		case "/deadletters/2":
			w.WriteHeader(http.StatusInternalServerError)
			fmt.Fprint(w, `{"message":"on our side","request_id":"r-1"}`)
			return true
		case "/deadletters/3":
			if err := o.bus.Drop(r.Context(), 3); err != nil { // somebody else is quicker
				t.Error(err)
			}
		}
		return false
	}
	_, err := o.run("drop", "all")
	if err == nil || err.Error() != "dropped 2 of 4, 1 were gone already, 1 failed; the last failure: message 2: on our side (request_id r-1)" {
		t.Error(err)
	}
}

func TestAllStopsWhereTheBufferIsFull(t *testing.T) {
	o := newOffice(t)
	for i := range uint64(4) {
		o.putAside(bus.Logs, i+1, []byte("x"), "refused")
	}
	o.refuse = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/deadletters/3/replay" {
			return false
		}
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprint(w, `{"message":"the buffer is full"}`)
		return true
	}
	_, err := o.run("replay", "all")
	if err == nil || err.Error() != "stopped after replayed 2 of 4: the buffer is full" {
		t.Error(err)
	}
	if diff := cmp.Diff([]uint64{3, 4}, o.left()); diff != "" {
		t.Error(diff)
	}
}

func TestUnknownMessageIsNamed(t *testing.T) {
	o := newOffice(t)
	for _, command := range []string{"show", "replay", "drop"} {
		if _, err := o.run(command, "77"); err == nil || err.Error() != "there is no dead letter 77" {
			t.Errorf("%s: %v", command, err)
		}
	}
}

func TestProcessWithoutDeadLettersIsNamed(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	for _, args := range [][]string{{"list"}, {"show", "1"}, {"drop", "all"}} {
		err := Deadletter(t.Context(), append(args, "-internal", server.URL+"/"), noEnvironment, &bytes.Buffer{})
		if err == nil || !strings.Contains(err.Error(), "does not store telemetry") || !strings.Contains(err.Error(), "-internal") {
			t.Errorf("%v: %v", args, err)
		}
	}
}

func TestServerThatIsNotThereIsNamedWithWhatToDo(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	port := server.URL[strings.LastIndex(server.URL, ":")+1:]
	server.Close()
	getenv := func(name string) string { return map[string]string{"MIDWATCH_INTERNAL_PORT": port}[name] }
	err := Deadletter(t.Context(), []string{"list"}, getenv, &bytes.Buffer{})
	if err == nil {
		t.Fatal("it worked")
	}
	for _, words := range []string{"http://127.0.0.1:" + port, "midwatch up", "-internal", "refused"} {
		if !strings.Contains(err.Error(), words) {
			t.Errorf("%q is not in %v", words, err)
		}
	}
}

func TestInterruptionIsSaidInOneWord(t *testing.T) {
	o := newOffice(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Deadletter(ctx, []string{"list", "-internal", o.url}, noEnvironment, &bytes.Buffer{}); err == nil || err.Error() != "interrupted" {
		t.Error(err)
	}
}

func TestWrongUsageIsToldApart(t *testing.T) {
	for _, args := range [][]string{
		{"nonsense"},
		{"list", "7"},
		{"show"},
		{"show", "all"},
		{"show", "1", "2"},
		{"drop", "0"},
		{"drop", "x"},
		{"replay", "1", "-signal", "logs"},
		{"list", "-signal", "traces"},
		{"list", "-limit", "0"},
		{"drop", "all", "-after", "5"},
		{"list", "-nonsense"},
		{"list", "-internal", "localhost:9464"},
	} {
		if err := Deadletter(t.Context(), args, noEnvironment, &bytes.Buffer{}); !errors.Is(err, ErrUsage) {
			t.Errorf("%v: %v", args, err)
		}
	}
}

func TestHelpNamesTheCommands(t *testing.T) {
	for _, args := range [][]string{{"-h"}, {"--help"}, {"help"}, {"replay", "--help"}, {}} {
		var out bytes.Buffer
		err := Deadletter(t.Context(), args, noEnvironment, &out)
		if len(args) == 0 && !errors.Is(err, flag.ErrHelp) || len(args) > 0 && err != nil {
			t.Errorf("%v: %v", args, err)
		}
		if !strings.Contains(out.String(), "replay all") {
			t.Errorf("%v: %s", args, out.String())
		}
	}
}
