package discord

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/midwatch/midwatch/alerts/notify"
	"github.com/midwatch/midwatch/alerts/notify/notifytest"
)

func open(t *testing.T, settings Settings) *Discord {
	t.Helper()
	d, err := New(settings, notifytest.Client(t))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestTheMessages(t *testing.T) {
	for name, m := range map[string]notify.Message{
		"trigger": notifytest.Page(), "update": notifytest.Updated(""), "resolve": notifytest.Resolved(""), "digest": notifytest.Digest(),
	} {
		t.Run(name, func(t *testing.T) {
			m.Chart = nil // the form around it is another test
			provider := notifytest.NewProvider(t, notifytest.Says(200, `{"id":"1234"}`))
			receipt, err := open(t, Settings{WebhookURL: provider.URL + "/api/webhooks/1/t?thread_id=5", Mention: "everyone"}).Notify(t.Context(), m)
			if err != nil {
				t.Fatal(err)
			}
			call := provider.Calls()[0]
			if receipt.Reference != "1234" || call.Query != "thread_id=5&wait=true" {
				t.Errorf("receipt %+v, query %s", receipt, call.Query)
			}
			notifytest.Golden(t, name+".json", call.Body)
		})
	}
}

func TestTheChartIsAttached(t *testing.T) {
	provider := notifytest.NewProvider(t, notifytest.Says(204, ""))
	m := notifytest.Page()
	if _, err := open(t, Settings{WebhookURL: provider.URL}).Notify(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	call := provider.Calls()[0]
	_, params, err := mime.ParseMediaType(call.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	parts := map[string]string{}
	for reader := multipart.NewReader(bytes.NewReader(call.Body), params["boundary"]); ; {
		part, err := reader.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(part)
		if err != nil {
			t.Fatal(err)
		}
		parts[part.FormName()] = string(content)
	}
	if parts["files[0]"] != string(m.Chart.PNG) || !strings.Contains(parts["payload_json"], "attachment://chart.png") {
		t.Errorf("parts %q", parts)
	}
}

func TestDiscordTakesFailuresByTheRules(t *testing.T) {
	notifytest.Answers(t, func(t *testing.T, url string) notify.Notifier { return open(t, Settings{WebhookURL: url}) })
}

func TestDiscordSaysInItsBodyHowLongToWait(t *testing.T) {
	provider := notifytest.NewProvider(t, notifytest.Says(429, `{"message":"You are being rate limited.","retry_after":0.65,"global":false}`, "Retry-After", "1"))
	_, err := open(t, Settings{WebhookURL: provider.URL}).Notify(t.Context(), notifytest.Page())
	var retry *notify.RetryError
	if !errors.As(err, &retry) || retry.After != 650*time.Millisecond {
		t.Errorf("got %v, want one that is tried again after 650 ms", err)
	}
}

func TestTheCanaryAsksForTheWebhook(t *testing.T) {
	provider := notifytest.NewProvider(t, notifytest.Says(200, `{"id":"1","token":"secret"}`))
	receipt, err := open(t, Settings{WebhookURL: provider.URL}).Check(t.Context())
	if err != nil || receipt.Excerpt != "" || provider.Calls()[0].Method != http.MethodGet {
		t.Errorf("%+v, %v", receipt, err)
	}
}

func TestAMessageStaysInDiscordsLimitsWhateverItHolds(t *testing.T) {
	m := notifytest.Page()
	long := strings.Repeat("*[é]_@everyone ", 500)
	m.Title, m.Late, m.FirstAction = long, long, long
	for range 100 {
		m.Sections = append(m.Sections, notify.Section{Title: long, Lead: len(m.Sections)%2 == 0, Lines: []notify.Line{{Text: long}, {Text: long[:300], Link: "https://example.com/"}}})
		m.Facts = append(m.Facts, notify.Fact{Name: long, Value: long})
	}
	for name, m := range map[string]notify.Message{"bounded": m.Bounded(), "unbounded": m} {
		out := compose(m, "here")
		e := out.Embeds[0]
		total := length(e.Title) + length(e.Description) + length(e.Footer.Text)
		for _, f := range e.Fields {
			total += length(f.Name) + length(f.Value)
			if length(f.Name) > maxName || length(f.Value) > maxValue {
				t.Errorf("%s: a field over its limit", name)
			}
		}
		if length(out.Content) > maxContent || length(e.Title) > maxTitle || length(e.Description) > maxDescription || len(e.Fields) > maxFields || total > maxTotal {
			t.Errorf("%s: content %d, title %d, description %d, %d fields, total %d", name, length(out.Content), length(e.Title), length(e.Description), len(e.Fields), total)
		}
	}
}

func TestSettingsThatCannotWorkAreRefused(t *testing.T) {
	for name, settings := range map[string]Settings{"no address": {}, "a file": {WebhookURL: "file:///x"}, "a mention of anything": {WebhookURL: "https://a.example", Mention: "x y"}} {
		if _, err := New(settings, notifytest.Client(t)); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}
