package slack

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/midwatch/midwatch/alerts/notify"
	"github.com/midwatch/midwatch/alerts/notify/notifytest"
)

func open(t *testing.T, settings Settings) *Slack {
	t.Helper()
	s, err := New(settings, notifytest.Client(t))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestAWebhookPostsBlocks(t *testing.T) {
	for name, m := range map[string]notify.Message{
		"trigger": notifytest.Page(), "update": notifytest.Updated(""), "resolve": notifytest.Resolved(""), "digest": notifytest.Digest(),
	} {
		t.Run(name, func(t *testing.T) {
			provider := notifytest.NewProvider(t, notifytest.Says(200, "ok"))
			receipt, err := open(t, Settings{WebhookURL: provider.URL + "/services/T/B/x", Mention: "here"}).Notify(t.Context(), m)
			if err != nil {
				t.Fatal(err)
			}
			if receipt.Code != 200 || receipt.Excerpt != "ok" {
				t.Errorf("receipt %+v", receipt)
			}
			notifytest.Golden(t, "webhook_"+name+".json", provider.Calls()[0].Body)
		})
	}
}

func TestAWebhookTakesFailuresByTheRules(t *testing.T) {
	notifytest.Answers(t, func(t *testing.T, url string) notify.Notifier { return open(t, Settings{WebhookURL: url}) })
}

func TestABotTakesFailuresByTheRules(t *testing.T) {
	notifytest.Answers(t, func(t *testing.T, url string) notify.Notifier {
		return open(t, Settings{Token: "xoxb-1", Channel: "C1", Endpoint: url})
	})
}

func TestABotRemembersItsFirstMessage(t *testing.T) {
	provider := notifytest.NewProvider(t, notifytest.Says(200, `{"ok":true,"channel":"C1","ts":"1763689620.000100"}`))
	receipt, err := open(t, Settings{Token: "xoxb-1", Channel: "#alerts", Endpoint: provider.URL}).Notify(t.Context(), notifytest.Page())
	if err != nil {
		t.Fatal(err)
	}
	if receipt.Reference != "C1:1763689620.000100" {
		t.Errorf("reference %q", receipt.Reference)
	}
	call := provider.Calls()[0]
	if call.Path != "/chat.postMessage" || call.Header.Get("Authorization") != "Bearer xoxb-1" {
		t.Errorf("called %s as %s", call.Path, call.Header.Get("Authorization"))
	}
	notifytest.Golden(t, "bot_trigger.json", call.Body)
}

func TestABotEditsTheFirstMessageAndAnswersInItsThread(t *testing.T) {
	provider := notifytest.NewProvider(t, notifytest.Says(200, `{"ok":true,"channel":"C1","ts":"2.0"}`))
	receipt, err := open(t, Settings{Token: "xoxb-1", Channel: "#alerts", Endpoint: provider.URL}).Notify(t.Context(), notifytest.Resolved("C1:1.0"))
	if err != nil {
		t.Fatal(err)
	}
	if receipt.Reference != "C1:1.0" {
		t.Errorf("reference %q, want that of the first message", receipt.Reference)
	}
	calls := provider.Calls()
	if len(calls) != 2 || calls[0].Path != "/chat.update" || calls[1].Path != "/chat.postMessage" {
		t.Fatalf("calls %+v", calls)
	}
	notifytest.Golden(t, "bot_resolve_edit.json", calls[0].Body)
	notifytest.Golden(t, "bot_resolve_reply.json", calls[1].Body)
}

func TestABotAnswersInTheThreadOfAMessageThatIsGone(t *testing.T) {
	provider := notifytest.NewProvider(t, notifytest.Says(200, `{"ok":false,"error":"message_not_found"}`), notifytest.Says(200, `{"ok":true,"channel":"C1","ts":"2.0"}`))
	if _, err := open(t, Settings{Token: "xoxb-1", Channel: "#alerts", Endpoint: provider.URL}).Notify(t.Context(), notifytest.Updated("C1:1.0")); err != nil {
		t.Fatal(err)
	}
	if calls := provider.Calls(); len(calls) != 2 {
		t.Errorf("%d calls, want an edit and a reply", len(calls))
	}
}

func TestABotThatIsThrownOutIsBroken(t *testing.T) {
	for _, word := range []string{"invalid_auth", "channel_not_found", "is_archived", "not_in_channel", "account_inactive"} {
		provider := notifytest.NewProvider(t, notifytest.Says(200, `{"ok":false,"error":"`+word+`"}`))
		_, err := open(t, Settings{Token: "xoxb-1", Channel: "#alerts", Endpoint: provider.URL}).Notify(t.Context(), notifytest.Page())
		var permanent *notify.PermanentError
		if !errors.As(err, &permanent) || !permanent.Broken {
			t.Errorf("%s: got %v, want a broken receiver", word, err)
		}
	}
}

func TestAMessageThatSlackDoesNotTakeIsNotABrokenReceiver(t *testing.T) {
	provider := notifytest.NewProvider(t, notifytest.Says(200, `{"ok":false,"error":"invalid_blocks"}`))
	_, err := open(t, Settings{Token: "xoxb-1", Channel: "#alerts", Endpoint: provider.URL}).Notify(t.Context(), notifytest.Page())
	var permanent *notify.PermanentError
	if !errors.As(err, &permanent) || permanent.Broken {
		t.Errorf("got %v, want a permanent error of a receiver that works", err)
	}
}

func TestABotThatIsRateLimitedIsTriedAgain(t *testing.T) {
	provider := notifytest.NewProvider(t, notifytest.Says(200, `{"ok":false,"error":"ratelimited"}`, "Retry-After", "30"))
	_, err := open(t, Settings{Token: "xoxb-1", Channel: "#alerts", Endpoint: provider.URL}).Notify(t.Context(), notifytest.Page())
	var retry *notify.RetryError
	if !errors.As(err, &retry) || retry.After.Seconds() != 30 {
		t.Errorf("got %v, want one that is tried again after 30 s", err)
	}
}

func TestTheCanaryPostsNothing(t *testing.T) {
	bot := notifytest.NewProvider(t, notifytest.Says(200, `{"ok":true,"user":"midwatch"}`))
	if _, err := open(t, Settings{Token: "xoxb-1", Channel: "#alerts", Endpoint: bot.URL}).Check(t.Context()); err != nil || bot.Calls()[0].Path != "/auth.test" {
		t.Errorf("called %s: %v", bot.Calls()[0].Path, err)
	}
	hook := notifytest.NewProvider(t, notifytest.Says(400, "no_text"), notifytest.Says(404, "no_service"))
	receiver := open(t, Settings{WebhookURL: hook.URL})
	if _, err := receiver.Check(t.Context()); err != nil {
		t.Errorf("a webhook that misses the text works, got %v", err)
	}
	if _, err := receiver.Check(t.Context()); err == nil {
		t.Error("a webhook without a service is broken")
	}
}

func TestAMessageStaysInSlacksLimitsWhateverItHolds(t *testing.T) {
	m := notifytest.Page()
	long := strings.Repeat("<&>*`~", 2000)
	m.Title, m.Late, m.Next = long, long, long
	for range 100 {
		m.Sections = append(m.Sections, notify.Section{Title: long, Lines: []notify.Line{{Text: long, Link: "https://example.com/" + long}, {Text: long}}})
		m.Facts = append(m.Facts, notify.Fact{Name: long, Value: long})
	}
	for name, message := range map[string]message{"full": full(m.Bounded(), "here"), "short": short(m.Bounded())} {
		if len(message.Blocks) > maxBlocks || len(message.Text) > maxText+20 {
			t.Errorf("%s: %d blocks, text of %d", name, len(message.Blocks), len(message.Text))
		}
		for _, b := range message.Blocks {
			if b.Type == "header" && len([]rune(b.Text.Text)) > maxHeader || b.Type == "section" && b.Text != nil && len(b.Text.Text) > maxSection || len(b.Fields) > maxFields {
				t.Errorf("%s: a block over its limit: %.200v", name, b)
			}
			if b.Type == "section" && b.Text == nil && b.Fields == nil || b.Type == "section" && b.Text != nil && b.Text.Text == "" {
				t.Errorf("%s: an empty section", name)
			}
		}
	}
}

func TestTextOfOthersCannotMentionOrLink(t *testing.T) {
	m := notifytest.Page()
	m.Title = "<!channel> <https://evil.example|click>"
	m.Sections[1].Lines[0].Text = m.Title
	encoded, err := json.Marshal(full(m, ""))
	if err != nil {
		t.Fatal(err)
	}
	var decoded message
	if err := json.Unmarshal(encoded, &decoded); err != nil {
		t.Fatal(err)
	}
	for _, b := range decoded.Blocks {
		if b.Text != nil && b.Text.Type == "mrkdwn" && (strings.Contains(b.Text.Text, "<!") || strings.Contains(b.Text.Text, "<https://evil")) {
			t.Errorf("not escaped: %s", b.Text.Text)
		}
	}
	if strings.Contains(decoded.Text, "<!") {
		t.Errorf("not escaped: %s", decoded.Text)
	}
}

func TestSettingsThatCannotWorkAreRefused(t *testing.T) {
	for name, settings := range map[string]Settings{
		"neither": {}, "both": {WebhookURL: "https://a.example", Token: "x", Channel: "c"}, "a bot without a channel": {Token: "x"},
		"a file": {WebhookURL: "file:///etc/passwd"}, "a mention of anything": {WebhookURL: "https://a.example", Mention: "!here> hello"},
	} {
		if _, err := New(settings, notifytest.Client(t)); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}
