package console_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/midwatch/midwatch/alerts/probe"
	"github.com/midwatch/midwatch/services/console"
	"github.com/midwatch/midwatch/storage/storagetest"
)

const someProbe = `{"name": "Shop", "kind": "http", "target": "https://shop.example/health", "service": "shop"}`

func TestAProbeIsMadeChangedAndRemoved(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	made := w.call("POST", "/projects/1/probes", someProbe).object(t, 201)
	path := "/projects/1/probes/" + made["id"].(string)
	if made["version"] != 1.0 || made["name"] != "Shop" || made["service"] != "shop" {
		t.Errorf("made %v", made)
	}
	if got := w.call("GET", path, "").object(t, 200); got["target"] != "https://shop.example/health" {
		t.Errorf("read %v", got)
	}
	changed := w.call("PUT", path+"?version=1", strings.Replace(someProbe, "Shop", "Shop 2", 1)).object(t, 200)
	if changed["version"] != 2.0 || changed["name"] != "Shop 2" || changed["id"] != made["id"] || changed["created_at"] != made["created_at"] {
		t.Errorf("changed %v", changed)
	}
	w.call("PUT", path+"?version=1", someProbe).wantError(t, 409, "conflict", "somebody else has changed this probe")
	list := w.call("GET", "/projects/1/probes", "").object(t, 200)["probes"].([]any)
	if len(list) != 1 || list[0].(map[string]any)["name"] != "Shop 2" {
		t.Errorf("list %v", list)
	}
	if r := w.call("DELETE", path, ""); r.status != 204 {
		t.Errorf("delete: %d %s", r.status, r.body)
	}
	for _, method := range []string{"GET", "DELETE", "PUT"} {
		body := ""
		if method == "PUT" {
			body = someProbe
		}
		w.call(method, path, body).wantError(t, 404, "not_found", "there is no probe")
	}
}

func TestAProbeThatIsWrongIsRefusedByField(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for body, words := range map[string]string{
		`{"name": "Shop", "kind": "http", "target": "shop"}`:                                        "target: ",
		`{"name": "Shop", "kind": "icmp", "target": "shop"}`:                                        "kind: ",
		`{"name": "Shop", "kind": "tcp", "target": "shop:1", "retries": 3}`:                         "retries: there is no such field",
		`{"name": "Shop", "kind": "tcp", "target": "shop:1", "id": "mine"}`:                         "id: ",
		`{"name": "Shop", "kind": "tcp", "target": "shop:1", "interval_seconds": 1}`:                "interval_seconds: ",
		`{"name": "Shop", "kind": "http", "target": "http://shop", "headers": {"Connection": "x"}}`: "headers: ",
	} {
		w.call("POST", "/projects/1/probes", body).wantError(t, 400, "invalid", words)
	}
	w.call("GET", "/projects/1/probes/none", "").wantError(t, 404, "not_found", "there is no probe")
	w.do("GET", "/projects/1/probes", nil, "").wantError(t, 401, "unauthorized", "sign in")
}

func TestProbesOfAnotherOrganisationAreOutOfReach(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	hidden := fmt.Sprintf("/projects/%d/probes", w.otherOrganisation())
	w.call("GET", hidden, "").wantError(t, 404, "not_found", "there is no project")
	w.call("POST", hidden, someProbe).wantError(t, 404, "not_found", "there is no project")
	w.call("POST", hidden+"/test", someProbe).wantError(t, 404, "not_found", "there is no project")
	id := w.call("POST", "/projects/1/probes", someProbe).object(t, 201)["id"].(string)
	w.call("GET", hidden+"/"+id, "").wantError(t, 404, "not_found", "there is no project")
}

func TestAProjectHasSoManyProbes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for range probe.MaxPerProject {
		w.call("POST", "/projects/1/probes", someProbe).object(t, 201)
	}
	w.call("POST", "/projects/1/probes", someProbe).wantError(t, 409, "conflict", "at most 50 probes")
}

func TestAProbeIsTriedWithoutBeingKept(t *testing.T) {
	t.Parallel()
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }))
	t.Cleanup(target.Close)
	w := newWorldWith(t, console.Config{URLs: urls, ProbeAllow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}, storagetest.Cache(t))
	body := fmt.Sprintf(`{"name": "Shop", "kind": "http", "target": %q}`, target.URL)
	got := w.call("POST", "/projects/1/probes/test", body).object(t, 200)
	if got["ok"] != false || got["error"] != "answered 418, expected 200 to 399" || got["region"] != "here" {
		t.Errorf("%v", got)
	}
	if list := w.call("GET", "/projects/1/probes", "").object(t, 200)["probes"].([]any); len(list) != 0 {
		t.Errorf("kept %v", list)
	}
}

func TestATrialDoesNotReachTheServersOwnNetwork(t *testing.T) {
	t.Parallel()
	target := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it was asked") }))
	t.Cleanup(target.Close)
	w := newWorld(t)
	body := fmt.Sprintf(`{"name": "Shop", "kind": "http", "target": %q}`, target.URL)
	got := w.call("POST", "/projects/1/probes/test", body).object(t, 200)
	if got["ok"] != false || !strings.Contains(got["error"].(string), "the operator allows it by MIDWATCH_PROBE_ALLOW") {
		t.Errorf("%v", got)
	}
}

func TestTrialsAreLimited(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	body := `{"name": "Shop", "kind": "tcp", "target": "127.0.0.1:1"}`
	for range 30 {
		w.call("POST", "/projects/1/probes/test", body).object(t, 200)
	}
	r := w.call("POST", "/projects/1/probes/test", body)
	r.wantError(t, 429, "rate_limited", "30 times a minute")
}
