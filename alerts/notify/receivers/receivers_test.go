package receivers_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/midwatch/midwatch/alerts/notify"
	"github.com/midwatch/midwatch/alerts/notify/email"
	"github.com/midwatch/midwatch/alerts/notify/notifytest"
	"github.com/midwatch/midwatch/alerts/notify/receivers"
)

// every kind with settings that hold each of its secrets.
var settings = map[string]string{
	receivers.Email:     `{"to":["ada@example.com"]}`,
	receivers.Slack:     `{"webhook_url":"https://hooks.slack.com/services/T000/B000/hushhushhush"}`,
	receivers.PagerDuty: `{"routing_key":"hush56789abcdef0123456789abchush","region":"eu"}`,
	receivers.Webhook:   `{"url":"https://example.com/hook","secrets":["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],"authorization":"Bearer hush-hush-hush"}`,
	receivers.Discord:   `{"webhook_url":"https://discord.com/api/webhooks/1/hushhushhush"}`,
	receivers.Teams:     `{"webhook_url":"https://prod.logic.azure.com/workflows/1?sig=hushhushhush"}`,
	receivers.Telegram:  `{"token":"123456:hushhushhushhushhush","chat_id":"-1001"}`,
	receivers.Opsgenie:  `{"api_key":"hushhush-hushhush"}`,
}

func receiver(kind string) receivers.Receiver {
	return receivers.Receiver{ID: "r1", Name: "Operations", Kind: kind, Settings: json.RawMessage(settings[kind]), Zone: "Europe/Berlin"}
}

func deps(t *testing.T) receivers.Deps {
	t.Helper()
	mail, err := email.NewTransport("file:" + t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return receivers.Deps{HTTP: notifytest.Client(t).HTTP, Mail: mail, MailFrom: "alerts@midwatch.example", PublicURL: "https://midwatch.example", Now: notifytest.Clock}
}

func TestEachKindIsValidAndOpens(t *testing.T) {
	for _, kind := range receivers.Kinds() {
		r := receiver(kind.Kind)
		if err := r.Validate(); err != nil {
			t.Errorf("%s: %v", kind.Kind, err)
		}
		n, err := receivers.Open(r, deps(t))
		if err != nil {
			t.Errorf("%s: %v", kind.Kind, err)
		}
		_, checks := n.(notify.Checker)
		if want := !slices.Contains([]string{receivers.Teams, receivers.Opsgenie}, kind.Kind); checks != want {
			t.Errorf("%s has a canary: %v", kind.Kind, checks)
		}
		if kind.Limit.Count < 1 || r.Bucket() != kind.Limit {
			t.Errorf("%s: limit %v", kind.Kind, kind.Limit)
		}
	}
}

func TestAReceiverThatCannotWorkIsRefused(t *testing.T) {
	for name, change := range map[string]func(*receivers.Receiver){
		"no name":               func(r *receivers.Receiver) { r.Name = " " },
		"a kind nobody knows":   func(r *receivers.Receiver) { r.Kind = "pigeon" },
		"no settings":           func(r *receivers.Receiver) { r.Settings = nil },
		"settings of another":   func(r *receivers.Receiver) { r.Settings = json.RawMessage(settings[receivers.Email]) },
		"a setting in capitals": func(r *receivers.Receiver) { r.Settings = json.RawMessage(`{"URL":"https://example.com"}`) },
		"a zone nobody knows":   func(r *receivers.Receiver) { r.Zone = "Mars/Olympus" },
		"itself as fallback":    func(r *receivers.Receiver) { r.Fallback = r.ID },
		"a limit of nothing":    func(r *receivers.Receiver) { r.Limit = &receivers.Limit{Count: 0, Per: time.Minute} },
		"a limit of a year":     func(r *receivers.Receiver) { r.Limit = &receivers.Limit{Count: 1, Per: 9000 * time.Hour} },
	} {
		r := receiver(receivers.Webhook)
		change(&r)
		if err := r.Validate(); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func TestAReceiverIsReadAsItWasWritten(t *testing.T) {
	r := receiver(receivers.Slack)
	r.Limit, r.Fallback = &receivers.Limit{Count: 10, Per: 5 * time.Minute}, "r2"
	encoded, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(encoded), `"limit":{"count":10,"per":"5m0s"}`) {
		t.Errorf("written as %s", encoded)
	}
	var back receivers.Receiver
	if err := json.Unmarshal(encoded, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(r, back); diff != "" {
		t.Error(diff)
	}
}

func TestASecretIsNotShownAndComesBack(t *testing.T) {
	for _, kind := range receivers.Kinds() {
		r := receiver(kind.Kind)
		shown := r.Masked()
		if strings.Contains(string(shown.Settings), "hushhush") || strings.Contains(string(shown.Settings), "hush-hush") || strings.Contains(string(shown.Settings), "MfKQ9r8G") {
			t.Errorf("%s shows %s", kind.Kind, shown.Settings)
		}
		merged, err := shown.MergeSecrets(r)
		if err != nil {
			t.Fatal(err)
		}
		equalJSON(t, kind.Kind, r.Settings, merged.Settings)
	}
}

func equalJSON(t *testing.T, name string, want, got json.RawMessage) {
	t.Helper()
	var a, b any
	if err := json.Unmarshal(want, &a); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(got, &b); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(a, b); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

func merge(t *testing.T, kind, old, edited string) (string, error) {
	t.Helper()
	merged, err := receivers.Receiver{Kind: kind, Settings: json.RawMessage(edited)}.MergeSecrets(receivers.Receiver{Kind: kind, Settings: json.RawMessage(old)})
	return string(merged.Settings), err
}

func TestAnEditThatLeavesASecretOutKeepsIt(t *testing.T) {
	for _, c := range []struct{ name, kind, old, edited, want string }{
		{"left out", receivers.PagerDuty, `{"routing_key":"k"}`, `{"region":"eu"}`, `{"region":"eu","routing_key":"k"}`},
		{"empty", receivers.PagerDuty, `{"routing_key":"k"}`, `{"routing_key":""}`, `{"routing_key":"k"}`},
		{"new", receivers.PagerDuty, `{"routing_key":"k"}`, `{"routing_key":"l"}`, `{"routing_key":"l"}`},
		{
			"one of a list is rotated", receivers.Webhook, `{"url":"https://a.example","secrets":["whsec_aaaaaaaaaaaaaaaaaaaa"]}`,
			`{"url":"https://a.example","secrets":["whsec_new","…aaaa"]}`, `{"url":"https://a.example","secrets":["whsec_new","whsec_aaaaaaaaaaaaaaaaaaaa"]}`,
		},
		{"signing goes on at a new address", receivers.Webhook, `{"url":"https://a.example","secrets":["s"]}`, `{"url":"https://b.example"}`, `{"url":"https://b.example","secrets":["s"]}`},
		{"a bot instead of a webhook", receivers.Slack, `{"webhook_url":"https://a.example/x"}`, `{"token":"xoxb-1","channel":"C1"}`, `{"token":"xoxb-1","channel":"C1"}`},
	} {
		got, err := merge(t, c.kind, c.old, c.edited)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		equalJSON(t, c.name, json.RawMessage(c.want), json.RawMessage(got))
	}
}

func TestASecretDoesNotFollowToAnotherAddress(t *testing.T) {
	for _, c := range []struct{ name, kind, old, edited string }{
		{"a header", receivers.Webhook, `{"url":"https://a.example","authorization":"Bearer x"}`, `{"url":"https://evil.example"}`},
		{"a header, spelled twice", receivers.Webhook, `{"url":"https://a.example","authorization":"Bearer x"}`, `{"url":"https://a.example","URL":"https://evil.example"}`},
		{"a bot's token", receivers.Telegram, `{"token":"1:x","chat_id":"1"}`, `{"chat_id":"1","endpoint":"https://evil.example"}`},
		{"a masked token", receivers.Slack, `{"token":"xoxb-1234567890123456","channel":"c"}`, `{"token":"…3456","channel":"c","endpoint":"https://evil.example"}`},
		{"a routing key", receivers.PagerDuty, `{"routing_key":"k"}`, `{"endpoint":"https://evil.example"}`},
		{"an API key", receivers.Opsgenie, `{"api_key":"k"}`, `{"endpoint":"https://evil.example"}`},
	} {
		if got, err := merge(t, c.kind, c.old, c.edited); err == nil {
			t.Errorf("%s: became %s", c.name, got)
		}
	}
}

func TestSecretsStayOutOfReceiptsAndErrors(t *testing.T) {
	provider := notifytest.NewProvider(t, notifytest.Says(403, `who is Bearer hush-hush-hush?`))
	r := receiver(receivers.Webhook)
	r.Settings = json.RawMessage(strings.Replace(string(r.Settings), "https://example.com/hook", provider.URL, 1))
	n, err := receivers.Open(r, deps(t))
	if err != nil {
		t.Fatal(err)
	}
	receipt, err := n.Notify(t.Context(), notifytest.Page())
	if err == nil || strings.Contains(err.Error(), "hush") || strings.Contains(receipt.Excerpt, "hush") || receipt.Code != 403 {
		t.Errorf("%+v, %v", receipt, err)
	}
}

func TestADialerThatRefusesIsNotAskedAgain(t *testing.T) {
	d := deps(t)
	d.HTTP = &http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) { return nil, refused{} })}
	n, err := receivers.Open(receiver(receivers.Webhook), d)
	if err != nil {
		t.Fatal(err)
	}
	_, err = n.Notify(t.Context(), notifytest.Page())
	var permanent *notify.PermanentError
	if !errors.As(err, &permanent) || !permanent.Broken {
		t.Errorf("got %v, want a broken receiver", err)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

type refused struct{}

func (refused) Error() string   { return "10.0.0.1 is a private address" }
func (refused) Permanent() bool { return true }

func TestATestMessageSaysThatNothingIsWrong(t *testing.T) {
	m := receivers.TestMessage(receiver(receivers.Slack), "test:1", notifytest.Now)
	if m.Heading() != "[TEST] Midwatch reaches Operations" || !strings.Contains(notify.Text(m), "Nothing is wrong") {
		t.Error(notify.Text(m))
	}
	if diff := cmp.Diff(m, m.Bounded()); diff != "" {
		t.Error(diff)
	}
}

// whatever a person writes, a mask shows at most four characters of a secret and merging it back changes nothing.
func TestMaskingAndMergingIsNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		secret := rapid.StringMatching(`[A-Z0-9]{1,40}`).Draw(t, "secret")
		kind := rapid.SampledFrom([]string{receivers.PagerDuty, receivers.Opsgenie, receivers.Telegram, receivers.Discord}).Draw(t, "kind")
		name := map[string]string{receivers.PagerDuty: "routing_key", receivers.Opsgenie: "api_key", receivers.Telegram: "token", receivers.Discord: "webhook_url"}[kind]
		encoded, err := json.Marshal(map[string]string{name: secret})
		if err != nil {
			t.Fatal(err)
		}
		r := receivers.Receiver{Kind: kind, Settings: encoded}
		shown := string(r.Masked().Settings)
		if len(secret) > 4 && strings.Contains(shown, secret[:len(secret)-4]) {
			t.Fatalf("shows %s", shown)
		}
		merged, err := r.Masked().MergeSecrets(r)
		if err != nil {
			t.Fatal(err)
		}
		if string(merged.Settings) != string(encoded) {
			t.Fatalf("got %s, want %s", merged.Settings, encoded)
		}
	})
}
