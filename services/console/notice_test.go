package console_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/midwatch/midwatch/storage/catalog"
)

func TestNotices(t *testing.T) {
	w := newWorld(t)
	if got := fmt.Sprint(w.call("GET", "/projects/1/notices", "").object(t, 200)); got != "map[notices:[]]" {
		t.Errorf("no notices: %s", got)
	}
	for subject, age := range map[string]time.Duration{"new": time.Hour, "old": 8 * 24 * time.Hour} {
		n := catalog.Notice{Kind: "disk_full_removed", Subject: subject, At: time.Now().Add(-age), Message: subject, Details: `{"bytes":5}`}
		if err := w.db.AddNotice(t.Context(), n, []uint32{1}); err != nil {
			t.Fatal(err)
		}
	}
	got := fmt.Sprint(w.call("GET", "/projects/1/notices", "").object(t, 200))
	if !strings.Contains(got, "details:map[bytes:5] kind:disk_full_removed message:new") || strings.Contains(got, "old") {
		t.Errorf("notices: %s", got)
	}
}

func TestDismissANotice(t *testing.T) {
	w := newWorld(t)
	hidden := w.otherOrganisation()
	session := h{"Cookie": w.signIn()}
	at := time.Now().Add(-time.Minute)
	blind := catalog.Notice{Kind: "alerting_blind", At: at, Message: "blind", Details: `{"open":true}`}
	for _, n := range []catalog.Notice{
		{Kind: "disk_full_removed", Subject: "logs 2026-10-12", At: at, Message: "logs went", Details: `{"bytes":5}`}, blind,
	} {
		if err := w.db.AddNotice(t.Context(), n, []uint32{1, hidden}); err != nil {
			t.Fatal(err)
		}
	}
	// told is what a caller is shown, with the bodies that dismiss it.
	told := func(header h) (bodies map[string]string) {
		t.Helper()
		bodies = map[string]string{}
		for _, one := range w.do("GET", "/projects/1/notices", header, "").object(t, 200)["notices"].([]any) {
			n := one.(map[string]any)
			body, err := json.Marshal(map[string]any{"kind": n["kind"], "subject": n["subject"], "at": n["at"]})
			if err != nil {
				t.Fatal(err)
			}
			bodies[n["message"].(string)] = string(body)
		}
		return bodies
	}
	const path = "/projects/1/notices/dismiss"
	dismissed := func(body string) {
		t.Helper()
		if r := w.do("POST", path, session, body); r.status != 204 {
			t.Errorf("dismiss: %d %s", r.status, r.body)
		}
	}
	all := told(session)
	w.call("POST", path, all["logs went"]).wantError(t, 403, "forbidden", "signed in")
	w.do("POST", path, nil, all["logs went"]).wantError(t, 401, "unauthorized", "")
	w.do("POST", fmt.Sprintf("/projects/%d/notices/dismiss", hidden), session, all["logs went"]).wantError(t, 404, "not_found", "")
	w.do("POST", path, session, all["blind"]).wantError(t, 409, "conflict", "still is so")
	w.do("POST", path, session, `{"kind":"disk_full_removed","subject":"logs","at":"2026-10-12T00:00:00Z"}`).wantError(t, 404, "not_found", "told anew")
	w.do("POST", path, session, `{"kind":"disk_full_removed","at":5}`).wantError(t, 400, "invalid", "at")
	dismissed(all["logs went"])
	if got := slices.Sorted(maps.Keys(told(session))); !slices.Equal(got, []string{"blind"}) {
		t.Errorf("after it was dismissed: %q", got)
	}
	if got := told(h{"Authorization": "Bearer " + token}); len(got) != 2 {
		t.Errorf("another one is shown %q", got)
	}

	// What is over can be dismissed.
	blind.At, blind.Message, blind.Details = at.Add(time.Second), "was blind", `{"open":false}`
	if err := w.db.AddNotice(t.Context(), blind, []uint32{1}); err != nil {
		t.Fatal(err)
	}
	w.do("POST", path, session, all["blind"]).wantError(t, 404, "not_found", "told anew")
	dismissed(told(session)["was blind"])
	if got := told(session); len(got) != 0 {
		t.Errorf("after both were dismissed: %q", got)
	}
}
