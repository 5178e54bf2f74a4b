package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/midwatch/midwatch/alerts/notify"
	"github.com/midwatch/midwatch/alerts/notify/notifytest"
)

const (
	secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	older  = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
)

func open(t *testing.T, settings Settings) *Webhook {
	t.Helper()
	settings.Name, settings.RunsAt = "Operations", "https://midwatch.example"
	w, err := New(settings, notifytest.Client(t))
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestTheBodies(t *testing.T) {
	for _, body := range []string{BodyMidwatch, BodyAlertmanager} {
		for name, m := range map[string]notify.Message{
			"trigger": notifytest.Page(), "update": notifytest.Updated(""), "resolve": notifytest.Resolved(""), "digest": notifytest.Digest(),
		} {
			t.Run(body+" "+name, func(t *testing.T) {
				provider := notifytest.NewProvider(t, notifytest.Says(204, ""))
				if _, err := open(t, Settings{URL: provider.URL, Body: body}).Notify(t.Context(), m); err != nil {
					t.Fatal(err)
				}
				notifytest.Golden(t, body+"_"+name+".json", provider.Calls()[0].Body)
			})
		}
	}
}

func TestACallIsSignedWithEachSecret(t *testing.T) {
	provider := notifytest.NewProvider(t, notifytest.Says(200, ""))
	m := notifytest.Page()
	if _, err := open(t, Settings{URL: provider.URL, Secrets: []string{secret, older}, Authorization: "Bearer abc"}).Notify(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	call := provider.Calls()[0]
	if call.Header.Get("webhook-id") != m.Key || call.Header.Get("Idempotency-Key") != m.Key || call.Header.Get("webhook-timestamp") != "1795225620" {
		t.Errorf("headers %v", call.Header)
	}
	if call.Header.Get("Authorization") != "Bearer abc" {
		t.Errorf("authorization %q", call.Header.Get("Authorization"))
	}
	var want []string
	for _, s := range []string{secret, older} {
		key, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(s, "whsec_"))
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(m.Key + ".1795225620." + string(call.Body)))
		want = append(want, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	if diff := cmp.Diff(strings.Join(want, " "), call.Header.Get("webhook-signature")); diff != "" {
		t.Error(diff)
	}
}

func TestAWebhookTakesFailuresByTheRules(t *testing.T) {
	notifytest.Answers(t, func(t *testing.T, url string) notify.Notifier {
		return open(t, Settings{URL: url, Secrets: []string{secret}})
	})
}

func TestTheCanaryIsAPing(t *testing.T) {
	provider := notifytest.NewProvider(t, notifytest.Says(200, ""))
	if _, err := open(t, Settings{URL: provider.URL, Secrets: []string{secret}}).Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	notifytest.Golden(t, "ping.json", provider.Calls()[0].Body)
}

func TestABodyStaysUnder20KB(t *testing.T) {
	m := notifytest.Page()
	long := strings.Repeat("\x01long ", 100)
	for range 100 {
		m.Sections = append(m.Sections, notify.Section{Title: long, Lines: []notify.Line{{Text: long}, {Text: long}, {Text: long}}})
		m.Instances = append(m.Instances, notify.Instance{Labels: map[string]string{"a": long}, Summary: long})
	}
	provider := notifytest.NewProvider(t, notifytest.Says(200, ""))
	if _, err := open(t, Settings{URL: provider.URL}).Notify(t.Context(), m.Bounded()); err != nil {
		t.Fatal(err)
	}
	body := provider.Calls()[0].Body
	if len(body) > maxBody || !json.Valid(body) {
		t.Errorf("%d bytes", len(body))
	}
}

func TestAnAddressNeverStandsInAnError(t *testing.T) {
	_, err := open(t, Settings{URL: "http://127.0.0.1:1/hidden-part"}).Notify(t.Context(), notifytest.Page())
	if _, ok := errors.AsType[*notify.RetryError](err); !ok {
		t.Fatalf("got %v, want one that is tried again", err)
	}
	if strings.Contains(err.Error(), "hidden-part") {
		t.Error(err)
	}
}

func TestSettingsThatCannotWorkAreRefused(t *testing.T) {
	for name, settings := range map[string]Settings{
		"no address": {}, "a file": {URL: "file:///etc/passwd"}, "a name in the address": {URL: "https://a:b@c.example"},
		"a short secret": {URL: "https://a.example", Secrets: []string{"whsec_AAAA"}}, "a plain secret": {URL: "https://a.example", Secrets: []string{"hunter2"}},
		"another body": {URL: "https://a.example", Body: "xml"}, "a second header": {URL: "https://a.example", Authorization: "a\r\nb: c"},
	} {
		if _, err := New(settings, notifytest.Client(t)); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}
