package pagerduty

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/midwatch/midwatch/alerts/notify"
	"github.com/midwatch/midwatch/alerts/notify/notifytest"
)

const key = "0123456789abcdef0123456789abcdef"

var accepted = notifytest.Says(202, `{"status":"success","message":"Event processed","dedup_key":"x"}`)

func open(t *testing.T, url string) *PagerDuty {
	t.Helper()
	p, err := New(Settings{RoutingKey: key, Endpoint: url}, notifytest.Client(t))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestTheEvents(t *testing.T) {
	acknowledged := notifytest.Updated("")
	acknowledged.Action = notify.Acknowledge
	for name, m := range map[string]notify.Message{
		"trigger": notifytest.Page(), "update": notifytest.Updated(""), "resolve": notifytest.Resolved(""), "acknowledge": acknowledged, "digest": notifytest.Digest(),
	} {
		t.Run(name, func(t *testing.T) {
			provider := notifytest.NewProvider(t, accepted)
			receipt, err := open(t, provider.URL).Notify(t.Context(), m)
			if err != nil {
				t.Fatal(err)
			}
			call := provider.Calls()[0]
			key, path := m.ProviderKey(), "/v2/enqueue"
			if m.Action == notify.Digest {
				key, path = "", "/v2/change/enqueue"
			}
			if receipt.Code != 202 || receipt.Reference != key || call.Path != path {
				t.Errorf("called %s, receipt %+v", call.Path, receipt)
			}
			notifytest.Golden(t, name+".json", call.Body)
		})
	}
}

func TestATestIsResolvedAtOnce(t *testing.T) {
	m := notifytest.Digest()
	m.Action = notify.Test
	provider := notifytest.NewProvider(t, accepted)
	if _, err := open(t, provider.URL).Notify(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	calls := provider.Calls()
	if len(calls) != 2 || !strings.Contains(string(calls[0].Body), `"severity":"info"`) || !strings.Contains(string(calls[1].Body), `"event_action":"resolve"`) {
		t.Errorf("calls %s", calls)
	}
}

func TestTheCanaryIsAChange(t *testing.T) {
	provider := notifytest.NewProvider(t, accepted)
	if _, err := open(t, provider.URL).Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	call := provider.Calls()[0]
	if call.Path != "/v2/change/enqueue" {
		t.Errorf("called %s", call.Path)
	}
	notifytest.Golden(t, "change.json", call.Body)
}

func TestPagerDutyTakesFailuresByTheRules(t *testing.T) {
	notifytest.Answers(t, func(t *testing.T, url string) notify.Notifier { return open(t, url) })
}

func TestAnEventStaysUnder512KB(t *testing.T) {
	m := notifytest.Page()
	for i := range 20 {
		m.Sections = append(m.Sections, notify.Section{Title: string(rune('a' + i)), Lines: []notify.Line{{Text: strings.Repeat("long ", 20_000)}}})
	}
	m.Title = strings.Repeat("é", 2000)
	provider := notifytest.NewProvider(t, accepted)
	if _, err := open(t, provider.URL).Notify(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	body := provider.Calls()[0].Body
	var e event
	if err := json.Unmarshal(body, &e); err != nil {
		t.Fatal(err)
	}
	if len(body) > maxEvent || len([]rune(e.Payload.Summary)) > maxSummary || e.Payload.Details["first_action"] == nil {
		t.Errorf("%d bytes, details %v", len(body), e.Payload.Details)
	}
}

func TestARegionHasAnAddressOfItsOwn(t *testing.T) {
	for region, want := range map[string]string{"": "https://events.pagerduty.com", "us": "https://events.pagerduty.com", "eu": "https://events.eu.pagerduty.com"} {
		p, err := New(Settings{RoutingKey: key, Region: region}, notifytest.Client(t))
		if err != nil || p.settings.Endpoint != want {
			t.Errorf("region %q: %+v, %v", region, p, err)
		}
	}
}

func TestSettingsThatCannotWorkAreRefused(t *testing.T) {
	for name, settings := range map[string]Settings{
		"no key": {}, "a short key": {RoutingKey: "abc"}, "a region nobody knows": {RoutingKey: key, Region: "mars"}, "an endpoint that is a file": {RoutingKey: key, Endpoint: "file:///x"},
	} {
		if _, err := New(settings, notifytest.Client(t)); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}
