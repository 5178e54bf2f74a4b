package opsgenie

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/midwatch/midwatch/alerts/notify"
	"github.com/midwatch/midwatch/alerts/notify/notifytest"
)

var accepted = notifytest.Says(202, `{"result":"Request will be processed","took":0.1,"requestId":"r"}`)

func open(t *testing.T, url string) *Opsgenie {
	t.Helper()
	o, err := New(Settings{APIKey: "12345678-aaaa", Endpoint: url}, notifytest.Client(t))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestTheAlerts(t *testing.T) {
	const alias = "/v2/alerts/mw-019aa3c2-7d10-7b52-9c1e-5f2f6f0d9a11/"
	acknowledged, test := notifytest.Updated(""), notifytest.Digest()
	acknowledged.Action, test.Action, test.Key = notify.Acknowledge, notify.Test, "test:1"
	for name, c := range map[string]struct {
		message notify.Message
		paths   []string
	}{
		"trigger":     {notifytest.Page(), []string{"/v2/alerts"}},
		"update":      {notifytest.Updated(""), []string{alias + "notes"}},
		"acknowledge": {acknowledged, []string{alias + "acknowledge"}},
		"resolve":     {notifytest.Resolved(""), []string{alias + "close"}},
		"test":        {test, []string{"/v2/alerts", "/v2/alerts/mw-test:1/close"}},
	} {
		t.Run(name, func(t *testing.T) {
			provider := notifytest.NewProvider(t, accepted)
			if _, err := open(t, provider.URL).Notify(t.Context(), c.message); err != nil {
				t.Fatal(err)
			}
			var paths []string
			for _, call := range provider.Calls() {
				paths = append(paths, call.Path)
				if call.Header.Get("Authorization") != "GenieKey 12345678-aaaa" || strings.Count(call.Path, "/") > 3 && call.Query != "identifierType=alias" {
					t.Errorf("call %+v", call)
				}
			}
			if diff := cmp.Diff(c.paths, paths); diff != "" {
				t.Error(diff)
			}
			notifytest.Golden(t, name+".json", provider.Calls()[0].Body)
		})
	}
}

func TestOpsgenieTakesFailuresByTheRules(t *testing.T) {
	notifytest.Answers(t, func(t *testing.T, url string) notify.Notifier { return open(t, url) })
}

func TestTheEndOfOpsgenieIsSaid(t *testing.T) {
	if !strings.Contains(Description, "April 2027") {
		t.Error(Description)
	}
}

func TestSettingsThatCannotWorkAreRefused(t *testing.T) {
	for name, settings := range map[string]Settings{"no key": {}, "a region nobody knows": {APIKey: "12345678", Region: "mars"}, "two lines": {APIKey: "12345678\r\nx: y"}} {
		if _, err := New(settings, notifytest.Client(t)); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}
