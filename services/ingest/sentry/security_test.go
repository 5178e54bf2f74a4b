package sentry

import (
	"errors"
	"testing"
)

func TestSecurity(t *testing.T) {
	t.Parallel()
	n := NewNormaliser()
	source := Source{Release: "r1", Environment: "prod", UserAgent: "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"}
	report := func(raw string) (titles []string, issues []uint64) {
		t.Helper()
		events, err := n.Security([]byte(raw), source, testMeta())
		if err != nil {
			t.Fatalf("Security(%s): %v", raw, err)
		}
		for _, e := range events {
			if e.Release != "r1" || e.Environment != "prod" || tagsOf(e)["browser"] != "Firefox 140" || e.Level != "warning" {
				t.Errorf("event of %s: %v", raw, e)
			}
			titles = append(titles, e.Title)
			issues = append(issues, e.IssueId)
		}
		return titles, issues
	}
	titles, a := report(`{"csp-report":{"document-uri":"https://shop.example.com/cart/17","referrer":"","violated-directive":"script-src https://x","effective-directive":"script-src-elem","original-policy":"default-src 'self'","blocked-uri":"https://evil.example.net/a.js?x=1","line-number":12,"source-file":"https://shop.example.com/app.js"}}`)
	if len(titles) != 1 || titles[0] != "Blocked script-src-elem from evil.example.net" {
		t.Errorf("titles %q", titles)
	}
	// The Reporting API: the same violation on another page, one of an inline style, and something else.
	titles, b := report(`[{"type":"csp-violation","age":10,"url":"https://shop.example.com/","user_agent":"x","body":{"documentURL":"https://shop.example.com/","effectiveDirective":"script-src-elem","blockedURL":"https://evil.example.net/b.js","disposition":"enforce"}},
		{"type":"csp-violation","body":{"documentURL":"https://shop.example.com/","effectiveDirective":"style-src-attr","blockedURL":"inline"}},{"type":"deprecation","body":{}},null]`)
	if len(titles) != 2 || titles[1] != "Blocked style-src-attr from inline" || a[0] != b[0] || b[0] == b[1] {
		t.Errorf("titles %q, issues %x and %x", titles, a, b)
	}
	for _, raw := range []string{`{}`, `[]`, `{"csp-report":null}`} {
		if events, err := n.Security([]byte(raw), source, testMeta()); err != nil || len(events) > 0 {
			t.Errorf("%s: %v, %v", raw, events, err)
		}
	}
	for _, raw := range []string{``, `7`, `{"csp-report":`} {
		if _, err := n.Security([]byte(raw), source, testMeta()); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", raw, err)
		}
	}
}
