// Package notifytest holds what the tests of all receivers share: messages, golden files and a provider that
// answers as told. Only tests import it.
package notifytest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/midwatch/midwatch/alerts/notify"
)

var update = flag.Bool("update", false, "write the golden files")

// Now is when the tests' messages are made.
var Now = time.Date(2026, 11, 21, 1, 47, 0, 0, time.UTC)

// Clock stands still at Now.
func Clock() time.Time { return Now }

const incident = "019aa3c2-7d10-7b52-9c1e-5f2f6f0d9a11"

// Page is a page with everything in it; its texts hold what each channel has to escape.
func Page() notify.Message {
	return notify.Message{
		Key: incident + ":1:019aa3c2-0000-7000-8000-00000000beef:trigger", Incident: incident, Seq: 1,
		Action: notify.Trigger, Severity: notify.SeverityPage, Loud: true,
		Organisation: "Acme", Project: "shop", Team: "Platform", ProjectNumber: 1,
		Title: "checkout: 12 % errors for 6 min (limit 5 %), 340 users",
		At:    Now, Since: Now.Add(-6 * time.Minute), Zone: "Europe/Berlin",
		Facts: []notify.Fact{{Name: "Error rate", Value: "12 %"}, {Name: "Limit", Value: "5 % for 5 min"}, {Name: "Worst", Value: "POST /pay, 31 %"}, {Name: "Groups", Value: "3 of 14"}},
		Sections: []notify.Section{
			{Title: "What users feel", Lead: true, Lines: []notify.Line{{Text: "One in eight checkouts fails; 340 people were turned away."}}},
			{Title: "Deploys before", Lines: []notify.Line{{Text: "checkout 1.42.0 at 02:38, 3 min before the first bad minute", Link: "https://midwatch.example/acme/shop/deploys/42"}}},
			{Title: "New errors", Lines: []notify.Line{
				{Text: "TypeError: Cannot read <amount> of *undefined* & [null]: 212 events, first seen 02:40", Link: "https://midwatch.example/acme/shop/errors/SHOP-91"},
				{Text: "TimeoutError: payments.internal_api: 18 events"},
			}},
			{Title: "Log messages", Lines: []notify.Line{{Text: "card gateway answered `502` for <*>: 40 times the usual"}}},
			{Title: "Disk and memory", Lines: []notify.Line{{Text: "Memory 61 % of its limit, disk 34 %: both as usual"}}},
			{Title: "Last time", Lines: []notify.Line{{Text: "3 Oct 2026: rolled back checkout 1.39.2, recovered after 9 min", Link: "https://midwatch.example/acme/shop/incidents/7"}}},
		},
		Chart: &notify.Chart{
			PNG: []byte("\x89PNG\r\n\x1a\nchart"), Alt: "Error rate from 0.4 % to 12 % since 02:41, limit 5 %",
			Link: "https://midwatch.example/acme/shop/metrics?from=1&to=2", Image: "https://midwatch.example/i/abc.png",
		},
		FirstAction: "Roll back checkout if the errors began with a deploy.", Runbook: "https://midwatch.example/runbooks/checkout",
		Links: []notify.Link{{Text: "Logs of these minutes", URL: "https://midwatch.example/acme/shop/logs?from=1&to=2"}},
		Buttons: []notify.Button{
			{ID: notify.ButtonAcknowledge, Text: "Acknowledge", URL: "https://midwatch.example/a/ack-token"},
			{ID: notify.ButtonSilence, Text: "Silence for 1 h", URL: "https://midwatch.example/a/silence-token"},
			{ID: notify.ButtonEscalate, Text: "Escalate", URL: "https://midwatch.example/a/escalate-token"},
			{ID: notify.ButtonFalseAlarm, Text: "False alarm", URL: "https://midwatch.example/a/false-token"},
			{ID: notify.ButtonOpen, Text: "Open", URL: "https://midwatch.example/acme/shop/incidents/12"},
		},
		ReplyTo: "orxw6zloorxw6zloorxw6zloorxw6zloorxw6zloorxw6zlo@reply.midwatch.example",
		Told:    []string{"Ada (primary)", "#shop-alerts"}, Next: "Grace (secondary) at 02:52 unless somebody acknowledges",
		Rule:   notify.RuleRef{ID: "019a9f00-1111-7000-8000-000000000001", Name: "Checkout errors", Version: 3},
		Labels: map[string]string{"service": "checkout", "environment": "production", "area": "availability"},
		Instances: []notify.Instance{
			{Labels: map[string]string{"service": "checkout", "route": "POST /pay"}, Value: 0.31, StartsAt: Now.Add(-6 * time.Minute), Summary: "31 % errors"},
			{Labels: map[string]string{"service": "checkout", "route": "GET /cart"}, Value: 0.07, StartsAt: Now.Add(-5 * time.Minute), Summary: "7 % errors"},
		},
		URL: "https://midwatch.example/acme/shop/incidents/12",
	}
}

// Updated is the first update of Page, without sound; reference is what the receiver answered to it.
func Updated(reference string) notify.Message {
	m := Page()
	m.Key, m.Seq, m.Action, m.Loud = incident+":2:019aa3c2-0000-7000-8000-00000000beef:update", 2, notify.Update, false
	m.Title, m.At, m.Reference = "checkout: 14 % errors for 11 min, also search and cart", Now.Add(5*time.Minute), reference
	return m
}

// Resolved is the end of Page.
func Resolved(reference string) notify.Message {
	m := Page()
	m.Key, m.Seq, m.Action, m.Loud = incident+":3:019aa3c2-0000-7000-8000-00000000beef:resolve", 3, notify.Resolve, false
	m.Title, m.At, m.Ended, m.Reference = "checkout: errors are under 5 % again", Now.Add(20*time.Minute), Now.Add(19*time.Minute), reference
	m.Outcome = "Recovered: under 3 % for 5 min."
	m.Facts = []notify.Fact{{Name: "Peak", Value: "14 % at 02:55"}, {Name: "Users affected", Value: "512"}}
	m.Sections, m.Chart, m.FirstAction, m.Runbook, m.ReplyTo, m.Next = nil, nil, "", "", "", ""
	m.Buttons = []notify.Button{{ID: notify.ButtonOpen, Text: "Open", URL: m.URL}}
	m.Links = []notify.Link{{Text: "Draft of the post-mortem", URL: m.URL + "/post-mortem"}}
	for i := range m.Instances {
		m.Instances[i].EndsAt = m.Ended
	}
	return m
}

// Digest is a morning's mail.
func Digest() notify.Message {
	return notify.Message{
		Key: "digest:2026-11-21:019aa3c2-0000-7000-8000-00000000beef:digest", Action: notify.Digest, Severity: notify.SeverityMail,
		Organisation: "Acme", Team: "Platform", Title: "Night of 21 November: 1 page, 2 blips healed by themselves",
		At: Now.Add(5 * time.Hour), Zone: "Europe/Berlin", URL: "https://midwatch.example/acme/digest/2026-11-21",
		Sections: []notify.Section{{Title: "Healed by itself", Lines: []notify.Line{{Text: "search: 7 % errors for 2 min at 03:12"}, {Text: "worker: queue over 1,000 for 4 min at 04:40"}}}},
	}
}

// Golden compares with testdata/<name>; -update writes it. JSON is indented first.
func Golden(t *testing.T, name string, got []byte) {
	t.Helper()
	if json.Valid(got) {
		var indented bytes.Buffer
		if err := json.Indent(&indented, bytes.TrimSpace(got), "", "  "); err != nil {
			t.Fatal(err)
		}
		got = append(indented.Bytes(), '\n')
	}
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s differs (-want +got; -update writes it):\n%s", path, diff)
	}
}

// Call is a request that a Provider has got.
type Call struct {
	Method, Path, Query string
	Header              http.Header
	Body                []byte
}

// Provider is a receiver's server. It records the calls and answers each with the next of its answers, the last
// one for ever.
type Provider struct {
	URL     string
	mu      sync.Mutex
	calls   []Call
	answers []http.HandlerFunc
}

// NewProvider starts a provider that answers in this order.
func NewProvider(t *testing.T, answers ...http.HandlerFunc) *Provider {
	t.Helper()
	p := &Provider{answers: answers}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(io.LimitReader(r.Body, 4<<20))
		if err != nil {
			t.Error(err)
		}
		p.mu.Lock()
		p.calls = append(p.calls, Call{Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery, Header: r.Header, Body: body})
		answer := p.answers[0]
		if len(p.answers) > 1 {
			p.answers = p.answers[1:]
		}
		p.mu.Unlock()
		answer(w, r)
	}))
	t.Cleanup(server.Close)
	p.URL = server.URL
	return p
}

// Calls are the requests until now.
func (p *Provider) Calls() []Call {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.calls)
}

// Says is an answer with a status, a body and headers in pairs.
func Says(code int, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
	}
}

// Client is an HTTP client without guards and with connections of its own.
func Client(t *testing.T) notify.Client {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return notify.Client{HTTP: &http.Client{Transport: transport}, Now: Clock}
}

// Answers checks that the notifier of a receiver at that URL takes failures by the rules of delivery.
func Answers(t *testing.T, open func(t *testing.T, url string) notify.Notifier) {
	t.Helper()
	for _, c := range []struct {
		name      string
		answer    http.HandlerFunc
		permanent bool
		broken    bool
		after     time.Duration
	}{
		{name: "a redirect is not followed", answer: Says(302, "", "Location", "/elsewhere"), permanent: true},
		{name: "a permanent redirect is not followed", answer: Says(308, "", "Location", "/elsewhere"), permanent: true, broken: true},
		{name: "400 is permanent", answer: Says(400, "bad"), permanent: true, broken: true},
		{name: "401 is permanent", answer: Says(401, ""), permanent: true, broken: true},
		{name: "403 is permanent", answer: Says(403, ""), permanent: true, broken: true},
		{name: "404 is permanent", answer: Says(404, ""), permanent: true, broken: true},
		{name: "410 is permanent", answer: Says(410, ""), permanent: true, broken: true},
		{name: "422 is permanent but the receiver is not broken", answer: Says(422, ""), permanent: true},
		{name: "408 is tried again", answer: Says(408, "")},
		{name: "429 is tried again", answer: Says(429, "")},
		{name: "429 with seconds waits", answer: Says(429, "", "Retry-After", "17"), after: 17 * time.Second},
		{name: "429 with a date waits", answer: Says(429, "", "Retry-After", Now.Add(90*time.Second).Format(http.TimeFormat)), after: 90 * time.Second},
		{name: "429 that asks for a year waits an hour", answer: Says(429, "", "Retry-After", "31536000"), after: time.Hour},
		{name: "500 is tried again", answer: Says(500, "oops")},
		{name: "503 with seconds waits", answer: Says(503, "", "Retry-After", "5"), after: 5 * time.Second},
		{name: "a reset connection is tried again", answer: reset},
	} {
		t.Run(c.name, func(t *testing.T) {
			provider := NewProvider(t, c.answer)
			_, err := open(t, provider.URL).Notify(t.Context(), Page())
			var permanent *notify.PermanentError
			var retry *notify.RetryError
			switch {
			case c.permanent && !errors.As(err, &permanent):
				t.Fatalf("got %v, want a permanent error", err)
			case c.permanent && permanent.Broken != c.broken:
				t.Errorf("broken is %v", permanent.Broken)
			case !c.permanent && !errors.As(err, &retry):
				t.Fatalf("got %v, want one that is tried again", err)
			case !c.permanent && retry.After != c.after:
				t.Errorf("waits %v, want %v", retry.After, c.after)
			}
			if calls := provider.Calls(); len(calls) != 1 {
				t.Errorf("%d calls, want one", len(calls))
			}
		})
	}
	t.Run("no answer is tried again", func(t *testing.T) {
		asked, done := make(chan struct{}), make(chan struct{})
		provider := NewProvider(t, func(http.ResponseWriter, *http.Request) { close(asked); <-done })
		defer close(done)
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		go func() { <-asked; cancel(context.DeadlineExceeded) }()
		_, err := open(t, provider.URL).Notify(ctx, Page())
		if _, ok := errors.AsType[*notify.RetryError](err); !ok {
			t.Fatalf("got %v, want one that is tried again", err)
		}
	})
}

func reset(w http.ResponseWriter, _ *http.Request) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	conn.Close()
}
