package cli

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// drill runs the command against an internal port that answers in one way.
func drill(t *testing.T, status int, answer string, args ...string) (string, error) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || r.URL.Path != "/drill" {
			t.Errorf("asked for %s %s", r.Method, r.URL)
		}
		w.WriteHeader(status)
		w.Write([]byte(answer))
	}))
	t.Cleanup(server.Close)
	var out bytes.Buffer
	err := Drill(context.Background(), append([]string{"-internal", server.URL}, args...), func(string) string { return "" }, &out)
	return out.String(), err
}

func TestDrillSaysHowLongEachStepTook(t *testing.T) {
	t.Parallel()
	out, err := drill(t, 200, `{"ok":true,"took_ms":61500,"steps":{"ingested":40,"evaluated":60000,"committed":60000,"delivered":61500},"message":"The page was delivered after 61.5s"}`)
	if err != nil || !strings.Contains(out, "delivered      61.5 s\n") || !strings.HasSuffix(out, "after 61.5s.\n") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestDrillThatFailedIsAnError(t *testing.T) {
	t.Parallel()
	out, err := drill(t, 200, `{"ok":false,"steps":{"ingested":40},"message":"The fire drill failed at step evaluated: it took longer than 5m0s"}`)
	if err == nil || errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), "at step evaluated") || !strings.HasPrefix(out, "ingested") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestDrillNamesWhatIsWrongWithTheCall(t *testing.T) {
	t.Parallel()
	if _, err := drill(t, 404, "{}"); err == nil || !strings.Contains(err.Error(), "does no alerting") {
		t.Errorf("%v", err)
	}
	if _, err := drill(t, 409, `{"message":"a fire drill is going on; wait for it"}`); err == nil || !strings.Contains(err.Error(), "going on") {
		t.Errorf("%v", err)
	}
	for _, args := range [][]string{{"now"}, {"-x"}} {
		if err := Drill(t.Context(), args, func(string) string { return "" }, &bytes.Buffer{}); !errors.Is(err, ErrUsage) {
			t.Errorf("%q: %v", args, err)
		}
	}
}
