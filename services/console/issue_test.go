package console_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/midwatch/midwatch/storage/catalog"
)

// happened counts an event of an issue of a project, as the writer does.
func (w *world) happened(project uint32, id uint64, release string, at time.Time) {
	w.t.Helper()
	err := w.db.InTx(w.t.Context(), func(tx *catalog.Tx) error {
		return tx.AddIssueEvents(w.t.Context(), []catalog.IssueEvents{{Project: project, ID: id, Title: "E", Release: release, FirstSeen: at, LastSeen: at, Count: 1}})
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// lives are the issues of an answer, without times, which it checks to be there where there must be one.
func lives(t *testing.T, r reply) []any {
	t.Helper()
	got := r.object(t, 200)
	list, many := got["issues"].([]any)
	if !many {
		list = []any{got}
	}
	for _, one := range list {
		life := one.(map[string]any)
		if _, resolved := life["resolved_at"]; resolved == (life["status"] == "unresolved") {
			t.Errorf("an issue that is %s: %v", life["status"], life)
		}
		delete(life, "resolved_at")
	}
	return list
}

func TestIssuesAreResolvedAndReopened(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	now := time.Now()
	for id := range uint64(3) {
		w.happened(1, id, "1.0", now.Add(-time.Hour))
	}
	w.happened(1, 2, "2.0", now.Add(-time.Minute))
	type h = map[string]any
	f := func(path, body string, want ...h) {
		t.Helper()
		var all []any
		for _, one := range want {
			if one["status"] != "unresolved" {
				one["resolved_by"] = "API token default"
			}
			all = append(all, one)
		}
		if diff := cmp.Diff(all, lives(t, w.call("POST", "/projects/1/issues/"+path, body))); diff != "" {
			t.Errorf("%s %s (-want +got)\n%s", path, body, diff)
		}
	}
	one, two := fmt.Sprintf("%016x", 1), fmt.Sprintf("%016x", 2)
	f(one+"/resolve", `{}`, h{"id": one, "status": "resolved", "resolved_in": "now"})
	f(one+"/resolve", `{"in": "next_release"}`, h{"id": one, "status": "resolved", "resolved_in": "next_release"})
	f(one+"/resolve", `{"in": "release"}`, h{"id": one, "status": "resolved", "resolved_in": "release", "resolved_release": "2.0"})
	f(one+"/resolve", `{"in": "release", "release": " 3.0 "}`, h{"id": one, "status": "resolved", "resolved_in": "release", "resolved_release": "3.0"})
	f(one+"/reopen", ``, h{"id": one, "status": "unresolved"})
	f(one+"/reopen", ``, h{"id": one, "status": "unresolved"})
	f("resolve", `{"issues": ["`+two+`", "`+one+`"], "in": "release", "release": "2.0"}`,
		h{"id": one, "status": "resolved", "resolved_in": "release", "resolved_release": "2.0"},
		h{"id": two, "status": "resolved", "resolved_in": "release", "resolved_release": "2.0"})
	w.happened(1, 1, "1.0", now.Add(time.Hour))
	w.happened(1, 2, "2.0", now.Add(time.Hour))
	issues, err := w.db.Issues(t.Context(), 1, []uint64{1, 2})
	if err != nil || issues[1].Status() != catalog.IssueResolved || issues[2].Status() != catalog.IssueRegressed {
		t.Errorf("after events of an old and of the fixed release: %+v, %v", issues, err)
	}
	f("reopen", `{"issues": ["`+one+`", "`+two+`"]}`, h{"id": one, "status": "unresolved"}, h{"id": two, "status": "unresolved"})
}

func TestResolveIssuesRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	hidden := w.otherOrganisation()
	now := time.Now()
	w.happened(1, 1, "", now)
	w.happened(hidden, 2, "1.0", now)
	f := func(path, body string, status int, code, words string) {
		t.Helper()
		w.call("POST", path, body).wantError(t, status, code, words)
	}
	one, two := fmt.Sprintf("%016x", 1), fmt.Sprintf("%016x", 2)
	all := "/projects/1/issues/"
	f(all+one+"/resolve", `{"in": "never"}`, 400, "invalid", "in: now, release or next_release")
	f(all+one+"/resolve", `{"in": "next_release"}`, 400, "invalid", "neither the errors nor the deploys of this project name a release yet")
	f(all+one+"/resolve", `{"in": "release"}`, 400, "invalid", "neither the errors nor the deploys of this project name a release yet")
	f(all+one+"/resolve", `{"release": "1"}`, 400, "invalid", "release: only where in is release")
	f(all+one+"/resolve", `{"in": "release", "release": "`+strings.Repeat("r", 501)+`"}`, 400, "invalid", "release: at most 500")
	f(all+one+"/resolve", `{"when": 1}`, 400, "invalid", "when: there is no such field")
	f(all+"1/resolve", `{}`, 400, "invalid", "16 hexadecimal digits")
	f(all+strings.ToUpper("000000000000000a")+"/resolve", `{}`, 400, "invalid", "16 hexadecimal digits")
	f(all+two+"/resolve", `{}`, 404, "not_found", "there is no issue "+two+" in this project")
	f(all+two+"/reopen", ``, 404, "not_found", "there is no issue "+two+" in this project")
	f(all+"resolve", `{"issues": []}`, 400, "invalid", "issues: from 1 to 500")
	f(all+"reopen", `{"issues": [`+strings.Repeat(`"`+one+`",`, 500)+`"`+one+`"]}`, 400, "invalid", "issues: from 1 to 500")
	f(all+"resolve", `{"issues": ["`+one+`", "`+two+`"]}`, 404, "not_found", "there is no issue "+two+" in this project")
	theirs := fmt.Sprintf("/projects/%d/issues/", hidden)
	f(theirs+two+"/resolve", `{}`, 404, "not_found", "")
	f(theirs+"resolve", `{"issues": ["`+two+`"]}`, 404, "not_found", "")
	f(theirs+two+"/reopen", ``, 404, "not_found", "")
	for project, id := range map[uint32]uint64{1: 1, hidden: 2} {
		if issues, err := w.db.Issues(t.Context(), project, []uint64{id}); err != nil || issues[id].Resolution != 0 {
			t.Errorf("issue %d was resolved nevertheless: %+v, %v", id, issues, err)
		}
	}
}
