package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/midwatch/midwatch/alerts/probe"
)

func variables(v map[string]string) func(string) string {
	return func(name string) string { return v[name] }
}

func TestProbeCallIsRead(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("from-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := parseProbeCall(
		[]string{"--region", "eu-west", "--allow-private", "192.168.0.0/16", "--allow-private=fd00::/8"},
		variables(map[string]string{"MIDWATCH_API_TOKEN_FILE": file, "MIDWATCH_URL": "http://watch.test/", "MIDWATCH_PROBE_ALLOW": "10.0.0.0/8"}))
	want := probeCall{region: "eu-west", url: "http://watch.test", token: "from-file", allow: []netip.Prefix{
		netip.MustParsePrefix("192.168.0.0/16"), netip.MustParsePrefix("fd00::/8"), netip.MustParsePrefix("10.0.0.0/8"),
	}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(probeCall{}), cmpopts.EquateComparable(netip.Prefix{})); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	for _, help := range []string{"--help", "-h", "help"} {
		if _, err := parseProbeCall(strings.Fields(help), variables(nil)); !errors.Is(err, flag.ErrHelp) {
			t.Errorf("%s: %v", help, err)
		}
	}
}

func TestProbeRefusesWrongUsage(t *testing.T) {
	t.Parallel()
	for args, words := range map[string]string{
		"":                                    "--region",
		"eu":                                  "takes flags only",
		"--region EU --token x":               "lower-case",
		"--region eu":                         "MIDWATCH_API_TOKEN",
		"--region eu --token x --url ftp://x": "--url",
		"--region eu --token x --allow-private 10.0.0.1": "range of addresses such as 10.0.0.0/8",
	} {
		if _, err := parseProbeCall(strings.Fields(args), variables(nil)); !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), words) {
			t.Errorf("probe %s: %v", args, err)
		}
	}
}

// fakeAPI answers what `midwatch probe` asks for.
func fakeAPI(t *testing.T, p probe.Probe, sent chan<- string) string {
	answers := map[string]any{
		"/api/v1/midwatch/projects":          map[string]any{"projects": []any{map[string]any{"number": 7}, map[string]any{"number": 8}}},
		"/api/v1/midwatch/projects/7/probes": map[string]any{"probes": []any{p}},
		"/api/v1/midwatch/projects/8/probes": map[string]any{"probes": []any{}},
		"/api/v1/midwatch/projects/7/setup":  map[string]any{"ingest_key": testKey},
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		auth := r.Header.Get("Authorization")
		if r.URL.Path == "/v1/metrics" && auth == "Bearer "+testKey {
			body, _ := io.ReadAll(r.Body)
			select {
			case sent <- string(body):
			default:
			}
			return
		}
		answer, ok := answers[r.URL.Path]
		switch {
		case auth != "Bearer good":
			w.WriteHeader(http.StatusUnauthorized)
		case !ok:
			w.WriteHeader(http.StatusNotFound)
		default:
			_ = json.NewEncoder(w).Encode(answer)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func TestProbeSaysThatItsRegionIsAlive(t *testing.T) {
	t.Parallel()
	sent := make(chan string, 1)
	base := fakeAPI(t, probe.Probe{ID: "p1", Name: "Shop", Kind: probe.TCP, Target: "127.0.0.1:1"}, sent)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	var out bytes.Buffer
	go func() {
		done <- Probe(ctx, []string{"--region", "eu", "--url", base, "--token", "good"}, variables(nil), &out)
	}()
	if body := <-sent; !strings.Contains(body, "midwatch.probe.") || !strings.Contains(body, `"eu"`) {
		t.Errorf("sent %s", body)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if !strings.Contains(out.String(), "projects=1 probes=1") {
		t.Errorf("it said %s", out.String())
	}
}

func TestProbeSaysWhatIsWrongBeforeItBegins(t *testing.T) {
	t.Parallel()
	base := fakeAPI(t, probe.Probe{}, nil)
	pages := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>") }))
	t.Cleanup(pages.Close)
	for _, c := range []struct{ url, token, want string }{
		{base, "bad", "does not know the API token"},
		{base + "/elsewhere", "good", "is it the address of Midwatch's pages?"},
		{pages.URL, "good", "is not Midwatch's API"},
	} {
		err := Probe(t.Context(), []string{"--region", "eu", "--url", c.url, "--token", c.token}, variables(nil), io.Discard)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %s: %v", c.url, c.token, err)
		}
	}
}
