package telegram

import (
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/midwatch/midwatch/alerts/notify"
	"github.com/midwatch/midwatch/alerts/notify/notifytest"
)

const bot = "123456:ABCDEFGHIJKLMNOPQRSTUVWXYZ"

func open(t *testing.T, url string) *Telegram {
	t.Helper()
	telegram, err := New(Settings{Token: bot, ChatID: "-1001", Endpoint: url}, notifytest.Client(t))
	if err != nil {
		t.Fatal(err)
	}
	return telegram
}

func TestTheMessages(t *testing.T) {
	for name, m := range map[string]notify.Message{
		"trigger": notifytest.Page(), "update": notifytest.Updated("77"), "resolve": notifytest.Resolved("77"), "digest": notifytest.Digest(),
	} {
		t.Run(name, func(t *testing.T) {
			provider := notifytest.NewProvider(t, notifytest.Says(200, `{"ok":true,"result":{"message_id":77}}`))
			receipt, err := open(t, provider.URL).Notify(t.Context(), m)
			if err != nil || receipt.Reference != "77" {
				t.Fatalf("%+v, %v", receipt, err)
			}
			call := provider.Calls()[0]
			if call.Path != "/bot"+bot+"/sendMessage" {
				t.Errorf("called %s", call.Path)
			}
			notifytest.Golden(t, name+".json", call.Body)
		})
	}
}

func TestTelegramTakesFailuresByTheRules(t *testing.T) {
	notifytest.Answers(t, func(t *testing.T, url string) notify.Notifier { return open(t, url) })
}

func TestTelegramSaysInItsBodyHowLongToWait(t *testing.T) {
	provider := notifytest.NewProvider(t, notifytest.Says(429, `{"ok":false,"error_code":429,"parameters":{"retry_after":35}}`))
	_, err := open(t, provider.URL).Notify(t.Context(), notifytest.Page())
	var retry *notify.RetryError
	if !errors.As(err, &retry) || retry.After != 35*time.Second {
		t.Errorf("got %v, want one that is tried again after 35 s", err)
	}
}

func TestAGroupThatMovedIsBrokenAndItsNewIDIsSaid(t *testing.T) {
	provider := notifytest.NewProvider(t, notifytest.Says(400, `{"ok":false,"description":"Bad Request: group chat was upgraded","parameters":{"migrate_to_chat_id":-100123}}`))
	_, err := open(t, provider.URL).Notify(t.Context(), notifytest.Page())
	var permanent *notify.PermanentError
	if !errors.As(err, &permanent) || !permanent.Broken || !strings.Contains(err.Error(), "-100123") {
		t.Errorf("got %v", err)
	}
}

func TestTheCanaryAsksForTheChat(t *testing.T) {
	provider := notifytest.NewProvider(t, notifytest.Says(200, `{"ok":true,"result":{}}`))
	if _, err := open(t, provider.URL).Check(t.Context()); err != nil || !strings.HasSuffix(provider.Calls()[0].Path, "/getChat") {
		t.Errorf("called %s: %v", provider.Calls()[0].Path, err)
	}
}

func TestATextStaysInTelegramsLimitAndItsTagsClose(t *testing.T) {
	m := notifytest.Page()
	long := strings.Repeat("<&😀>", 300)
	for range 100 {
		m.Sections = append(m.Sections, notify.Section{Title: long, Lines: []notify.Line{{Text: long, Link: "https://example.com/?a=1&b=2"}}})
		m.Facts = append(m.Facts, notify.Fact{Name: long, Value: long})
	}
	got := text(m.Bounded())
	if n := len(utf16.Encode([]rune(got))); n > maxText {
		t.Errorf("%d units", n)
	}
	for _, tag := range []string{"b", "i", "a"} {
		if opened, closed := strings.Count(got, "<"+tag+">")+strings.Count(got, "<"+tag+" "), strings.Count(got, "</"+tag+">"); opened != closed {
			t.Errorf("<%s> opens %d times and closes %d times", tag, opened, closed)
		}
	}
}

func TestSettingsThatCannotWorkAreRefused(t *testing.T) {
	for name, settings := range map[string]Settings{
		"no token": {ChatID: "1"}, "no chat": {Token: bot}, "a path in the token": {Token: bot + "/../x", ChatID: "1"}, "a file": {Token: bot, ChatID: "1", Endpoint: "file:///x"},
	} {
		if _, err := New(settings, notifytest.Client(t)); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}
