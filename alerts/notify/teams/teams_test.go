package teams

import (
	"strings"
	"testing"

	"github.com/midwatch/midwatch/alerts/notify"
	"github.com/midwatch/midwatch/alerts/notify/notifytest"
)

func open(t *testing.T, url string) *Teams {
	t.Helper()
	teams, err := New(Settings{WebhookURL: url}, notifytest.Client(t))
	if err != nil {
		t.Fatal(err)
	}
	return teams
}

func TestTheCards(t *testing.T) {
	for name, m := range map[string]notify.Message{
		"trigger": notifytest.Page(), "update": notifytest.Updated(""), "resolve": notifytest.Resolved(""), "digest": notifytest.Digest(),
	} {
		t.Run(name, func(t *testing.T) {
			provider := notifytest.NewProvider(t, notifytest.Says(202, ""))
			receipt, err := open(t, provider.URL+"/workflows/1/triggers/manual/paths/invoke?sig=s").Notify(t.Context(), m)
			if err != nil || receipt.Code != 202 {
				t.Fatalf("%+v, %v", receipt, err)
			}
			notifytest.Golden(t, name+".json", provider.Calls()[0].Body)
		})
	}
}

func TestTeamsTakesFailuresByTheRules(t *testing.T) {
	notifytest.Answers(t, func(t *testing.T, url string) notify.Notifier { return open(t, url) })
}

func TestACardStaysUnder28KB(t *testing.T) {
	m := notifytest.Page()
	long := strings.Repeat("<*é", 500)
	for range 100 {
		m.Sections = append(m.Sections, notify.Section{Title: long, Lines: []notify.Line{{Text: long}, {Text: long, Link: "https://example.com/" + strings.Repeat("a", 1900)}}})
		m.Facts = append(m.Facts, notify.Fact{Name: long, Value: long})
		m.Links = append(m.Links, notify.Link{Text: long, URL: "https://example.com/" + strings.Repeat("a", 1900)})
		m.Told = append(m.Told, long)
	}
	m.Title, m.Late, m.Next, m.FirstAction, m.Outcome = long, long, long, long, long
	encoded, err := encode(m.Bounded())
	if err != nil {
		t.Fatal(err)
	}
	if len(encoded) > maxCard {
		t.Errorf("%d bytes", len(encoded))
	}
}

func TestSettingsThatCannotWorkAreRefused(t *testing.T) {
	for _, url := range []string{"", "file:///x"} {
		if _, err := New(Settings{WebhookURL: url}, notifytest.Client(t)); err == nil {
			t.Errorf("%q is accepted", url)
		}
	}
}
