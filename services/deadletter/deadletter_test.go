package deadletter_test

import (
	"encoding/json"
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

var acceptedAt = time.Date(2026, time.November, 21, 10, 0, 0, 0, time.UTC)

// desk is the routes over a real bus.
type desk struct {
	t   *testing.T
	bus *bus.Bus
	*echo.Echo
}

func newDesk(t *testing.T) *desk {
	d := &desk{t, storagetest.Bus(t), echo.New()}
	log := slog.New(slog.DiscardHandler)
	d.HTTPErrorHandler = access.ErrorHandler(log)
	deadletter.New(d.bus, log).Mount(d.Echo)
	return d
}

func (d *desk) putAside(s bus.Signal, seq uint64, data []byte, reason string) {
	d.t.Helper()
	if err := d.bus.Dead(d.t.Context(), s, bus.Message{Seq: seq, Time: acceptedAt}, bus.Frame{Offset: 77, Data: data}, reason); err != nil {
		d.t.Fatal(err)
	}
}

// ask sends a request with headers as pairs and decodes the answer into out where that is not nil.
func (d *desk) ask(method, path string, out any, headers ...string) int {
	d.t.Helper()
	r := httptest.NewRequest(method, path, nil)
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	rec := httptest.NewRecorder()
	d.ServeHTTP(rec, r)
	if out != nil {
		if err := json.Unmarshal(rec.Body.Bytes(), out); err != nil {
			d.t.Fatalf("%s %s: %d %s: %v", method, path, rec.Code, rec.Body, err)
		}
	}
	return rec.Code
}

func logFrame(t *testing.T, body string) []byte {
	t.Helper()
	data, err := proto.Marshal(&telemetrypb.LogFrame{Batches: []*telemetrypb.LogBatch{{
		ProjectId: 7, Groups: []*telemetrypb.LogGroup{{Service: "shop", Records: []*telemetrypb.LogRecord{{Body: body}}}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestListGoesPageByPage(t *testing.T) {
	d := newDesk(t)
	var page deadletter.Page
	if code := d.ask(http.MethodGet, "/deadletters", &page); code != 200 || page.DeadLetters == nil || len(page.DeadLetters) != 0 {
		t.Fatalf("an empty list: %d %+v", code, page)
	}
	for i := range uint64(3) {
		d.putAside(bus.Logs, i+10, []byte("x"), "refused")
	}
	var seqs []uint64
	for after, path := uint64(1), "/deadletters?limit=2"; after != 0; path = "/deadletters?limit=2&after=2" {
		page = deadletter.Page{}
		if code := d.ask(http.MethodGet, path, &page); code != 200 {
			t.Fatalf("%s: %d", path, code)
		}
		for _, l := range page.DeadLetters {
			seqs = append(seqs, l.Seq)
			if l.Signal != "logs" || l.Reason != "refused" || l.OriginalSeq != l.Seq+9 || l.Offset != 77 || !l.AcceptedAt.Equal(acceptedAt) || l.Bytes != 1 || l.At.IsZero() {
				t.Errorf("dead letter %+v", l)
			}
		}
		after = page.NextAfter
	}
	if diff := cmp.Diff([]uint64{1, 2, 3}, seqs); diff != "" {
		t.Error(diff)
	}
}

func TestFrameIsShownAsJSON(t *testing.T) {
	d := newDesk(t)
	d.putAside(bus.Logs, 1, logFrame(t, "out of stock"), "refused")
	var letter struct {
		deadletter.Letter
		Frame struct {
			Batches []struct {
				Project uint32 `json:"project_id"`
				Groups  []struct{ Records []struct{ Body string } }
			}
		} `json:"frame"`
	}
	if code := d.ask(http.MethodGet, "/deadletters/1", &letter); code != 200 {
		t.Fatal(code)
	}
	if len(letter.Frame.Batches) != 1 {
		t.Fatalf("the frame is %+v", letter.Frame)
	}
	batch := letter.Frame.Batches[0]
	if batch.Project != 7 || batch.Groups[0].Records[0].Body != "out of stock" {
		t.Errorf("the frame is %+v", letter.Frame)
	}
	if letter.Data != nil || letter.DecodeError != "" {
		t.Errorf("a frame that can be decoded comes with %q and %q", letter.Data, letter.DecodeError)
	}
}

func TestWhatCannotBeDecodedIsShownAsItIs(t *testing.T) {
	d := newDesk(t)
	for seq, data := range []string{"\xff\xff\xff broken", "\xf8\x01\x01", "\x0a\x04\x22\x02\x0a\xff"} {
		d.putAside(bus.Logs, uint64(seq+1), []byte(data), "refused")
		var letter deadletter.Letter
		if code := d.ask(http.MethodGet, "/deadletters/"+string(rune('1'+seq)), &letter); code != 200 {
			t.Fatal(code)
		}
		if string(letter.Data) != data || letter.DecodeError == "" || letter.Frame != nil {
			t.Errorf("%q is shown as %+v", data, letter)
		}
	}
}

func TestReplayedMessageGoesBackToItsStream(t *testing.T) {
	d := newDesk(t)
	frame := logFrame(t, "again")
	d.putAside(bus.Logs, 1, frame, "refused")
	if code := d.ask(http.MethodPost, "/deadletters/1/replay", nil); code != http.StatusNoContent {
		t.Fatal(code)
	}
	r, err := d.bus.Read(t.Context(), bus.Logs, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Stop()
	m, err := r.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]bus.Frame{{Data: frame}}, m.Frames); diff != "" {
		t.Error(diff)
	}
	if code := d.ask(http.MethodPost, "/deadletters/1/replay", nil); code != http.StatusNotFound {
		t.Errorf("a second replay: %d", code)
	}
}

func TestWhatIsNotAllThereIsShownAndNotReplayed(t *testing.T) {
	d := newDesk(t)
	d.putAside(bus.Logs, 1, make([]byte, bus.MaxMessageBytes+1<<20), "refused") // nobody publishes so much
	var letter deadletter.Letter
	if code := d.ask(http.MethodGet, "/deadletters/1", &letter); code != 200 {
		t.Fatal(code)
	}
	if letter.Bytes != bus.MaxMessageBytes+1<<20 || len(letter.Data) < d.bus.MaxFrameBytes() || !strings.Contains(letter.DecodeError, "only the first") {
		t.Errorf("%d of %d bytes are shown: %s", len(letter.Data), letter.Bytes, letter.DecodeError)
	}
	var answer struct{ Message string }
	if code := d.ask(http.MethodPost, "/deadletters/1/replay", &answer); code != http.StatusBadRequest || !strings.Contains(answer.Message, "dead letter 1") {
		t.Errorf("replay: %d %s", code, answer.Message)
	}
}

func TestDroppedMessageIsGone(t *testing.T) {
	d := newDesk(t)
	d.putAside(bus.Logs, 1, []byte("x"), "refused")
	if code := d.ask(http.MethodDelete, "/deadletters/1", nil); code != http.StatusNoContent {
		t.Fatal(code)
	}
	if code := d.ask(http.MethodGet, "/deadletters/1", nil); code != http.StatusNotFound {
		t.Errorf("it is still there: %d", code)
	}
}

func TestWrongRequestsAreNamed(t *testing.T) {
	d := newDesk(t)
	for _, c := range []struct {
		method, path, words string
		code                int
	}{
		{http.MethodGet, "/deadletters?after=x", "after", 400},
		{http.MethodGet, "/deadletters?limit=0", "limit", 400},
		{http.MethodGet, "/deadletters?limit=1001", "1000", 400},
		{http.MethodGet, "/deadletters/zero", "zero", 400},
		{http.MethodDelete, "/deadletters/0", "sequence", 400},
		{http.MethodGet, "/deadletters/99", "99", 404},
		{http.MethodDelete, "/deadletters/99", "99", 404},
		{http.MethodPost, "/deadletters/99/replay", "99", 404},
	} {
		var answer struct{ Message string }
		if code := d.ask(c.method, c.path, &answer); code != c.code || !strings.Contains(answer.Message, c.words) {
			t.Errorf("%s %s: %d %s", c.method, c.path, code, answer.Message)
		}
	}
}

func TestAnotherSitesPageMayNotChangeAnything(t *testing.T) {
	d := newDesk(t)
	d.putAside(bus.Logs, 1, []byte("x"), "refused")
	for _, headers := range [][]string{
		{"Sec-Fetch-Site", "cross-site"},
		{"Sec-Fetch-Site", "same-site"},
		{"Origin", "https://evil.example"},
		{"Origin", "null"},
	} {
		if code := d.ask(http.MethodDelete, "/deadletters/1", nil, headers...); code != http.StatusForbidden {
			t.Errorf("drop with %v: %d", headers, code)
		}
		if code := d.ask(http.MethodPost, "/deadletters/1/replay", nil, headers...); code != http.StatusForbidden {
			t.Errorf("replay with %v: %d", headers, code)
		}
	}
	if code := d.ask(http.MethodGet, "/deadletters/1", nil); code != 200 {
		t.Errorf("it is gone: %d", code)
	}
}

func TestOwnPageMayDrop(t *testing.T) {
	d := newDesk(t)
	d.putAside(bus.Logs, 1, []byte("x"), "refused")
	if code := d.ask(http.MethodDelete, "/deadletters/1", nil, "Sec-Fetch-Site", "same-origin", "Origin", "http://example.com"); code != http.StatusNoContent {
		t.Error(code)
	}
}
