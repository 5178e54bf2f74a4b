package console_test

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestRetention(t *testing.T) {
	w := newWorld(t)
	const usual = `map[choices:[1 3 7 14 30 60 90 180 365 400] days:map[checkins:90 errors:90 logs:30 metrics:30]]`
	if got := fmt.Sprint(w.call("GET", "/projects/1/retention", "").object(t, 200)); got != usual {
		t.Errorf("retention: %s", got)
	}
	want := strings.Replace(usual, "logs:30", "logs:7", 1)
	for range 2 {
		if got := fmt.Sprint(w.call("PUT", "/projects/1/retention", `{"metrics":30,"logs":7,"errors":90,"checkins":90}`).object(t, 200)); got != want {
			t.Errorf("retention after a change: %s", got)
		}
	}
	if got := fmt.Sprint(w.call("GET", "/projects/1/retention", "").object(t, 200)); got != want {
		t.Errorf("retention afterwards: %s", got)
	}
	due, err := w.db.DueShortenings(t.Context(), time.Now(), 10)
	if err != nil || len(due) != 1 || due[0].Signal != "logs" || due[0].Days != 7 {
		t.Errorf("the keeper is told %+v, %v", due, err)
	}
}

func TestRetentionRefuses(t *testing.T) {
	w := newWorld(t)
	hidden := w.otherOrganisation()
	const fine = `{"metrics":30,"logs":7,"errors":90,"checkins":90}`
	for _, c := range []struct {
		body, words string
	}{
		{`{"metrics":30,"logs":8,"errors":90,"checkins":90}`, "logs: 8 days cannot be chosen"},
		{`{"metrics":30,"logs":7,"errors":90}`, "checkins: 0 days cannot be chosen"},
		{`{"metrics":30,"logs":"7","errors":90,"checkins":90}`, "logs"},
		{`{"metrics":30,"logs":7,"errors":90,"checkins":90,"traces":1}`, "traces"},
		{`[]`, "JSON object"},
	} {
		w.call("PUT", "/projects/1/retention", c.body).wantError(t, 400, "invalid", c.words)
	}
	w.do("PUT", "/projects/1/retention", nil, fine).wantError(t, 401, "unauthorized", "")
	path := fmt.Sprintf("/projects/%d", hidden)
	w.call("PUT", path+"/retention", fine).wantError(t, 404, "not_found", "")
	w.call("GET", path+"/retention", "").wantError(t, 404, "not_found", "")
	w.call("GET", path+"/notices", "").wantError(t, 404, "not_found", "")
}
