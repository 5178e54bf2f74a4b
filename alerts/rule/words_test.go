package rule

import (
	"math"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestARuleIsASentence(t *testing.T) {
	two := checkout()
	two.Levels = append(two.Levels, Level{Fire: "> 0.01", Severity: Ticket, For: new(Hour)})
	two.Query.By = []string{"host", "route"}
	for want, r := range map[string]Rule{
		"Page Platform when checkout errors are 5 % or more for 5 minutes":                                                                                                   checkout(),
		"Page Platform when checkout errors are 5 % or more for 5 minutes; open a ticket for Platform when checkout errors are over 1 % for 1 hour, for each host and route": two,
		"Page whoever is on call when the average of process.cpu.utilization of checkout is over 90 % for 5 minutes":                                                         hot(),
		"Open a ticket when shop logs “out of stock” 10 or more times in 5 minutes": {
			Kind: LogMatch, Service: "shop", Query: Query{Text: "out of stock"}, Levels: []Level{{Fire: ">= 10"}},
		},
		"Page Web when shop cannot be reached from 2 regions for 90 seconds": {Kind: Uptime, Service: "shop", Team: "Web"},
		"Mail the owner when a new issue appears in shop":                    {Kind: IssueNew, Service: "shop"},
		"Open a ticket when the job backup fails, or does not come":          {Kind: Cron, Query: Query{Monitor: "backup"}},
		"Mail the owner when a new issue appears":                            {Kind: IssueNew, Name: "New errors"},
		"Open a ticket when a job fails, or does not come":                   {Kind: Cron, Name: "Jobs"},
		"Open a ticket when checkout has sent no shop.orders for 5 minutes":  {Kind: Absence, Service: "checkout", Query: Query{Metric: "shop.orders"}},
		"Open a ticket when any service logs “out of stock” 10 or more times in 5 minutes": {
			Kind: LogMatch, Name: "Stock", Query: Query{Text: "out of stock"}, Levels: []Level{{Fire: ">= 10"}},
		},
		"Page Web when shop spends the error budget of its 99.9 % objective too fast to last": {
			Kind: SLOBurn, Service: "shop", Team: "Web", SLO: &SLO{Target: 0.999}, Levels: []Level{{Severity: Page}},
		},
	} {
		if got := r.Sentence(); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

func TestEveryKindHasASentenceAndAHeadline(t *testing.T) {
	for kind := range kinds {
		r := Rule{Name: "It", Kind: kind, Levels: defaultLevels(kind), Query: Query{Metric: "m"}}
		if r.Levels == nil {
			r.Levels = []Level{{Fire: "> 1"}}
		}
		s := r.Sentence()
		if !strings.Contains(s, " when ") || strings.Contains(s, "  ") || strings.HasSuffix(s, " ") {
			t.Errorf("%s: %q", kind, s)
		}
		if h := r.Headline(0, 3, base, base+360); !strings.HasPrefix(h, "[") || strings.Contains(h, "  ") {
			t.Errorf("%s: %q", kind, h)
		}
	}
}

func TestAHeadlineSaysWhatHowMuchAndHowLong(t *testing.T) {
	if got := checkout().Headline(0, 0.12, base, base+360); got != "[PAGE] checkout: 12 % errors for 6 min (limit 5 %)" {
		t.Error(got)
	}
	slow := Rule{
		Kind: Threshold, Service: "api", Query: Query{Metric: requests, Aggregate: "p99"},
		Levels: []Level{{Fire: "> 0.8", Severity: Ticket}},
	}
	want := "[TICKET] api: http.server.request.duration p99 1.25 s for 1 h 5 min (limit 800 ms)"
	if got := slow.Headline(0, 1.25, base, base+3900); got != want {
		t.Error(got)
	}
	if got := (Rule{Kind: TLSExpiry, Service: "shop"}).Headline(0, 86400*1.5, base, base); got != "[PAGE] shop: certificate expires in 1 d 12 h" {
		t.Error(got)
	}
}

func TestAHeadlineIsNeverTooLong(t *testing.T) {
	r := checkout()
	r.Service = strings.Repeat("ü", 500)
	got := r.Headline(0, 0.12, base, base+360)
	if utf8.RuneCountInString(got) > maxHeadline || !strings.HasSuffix(got, "12 % errors for 6 min (limit 5 %)") {
		t.Error(got)
	}
	r = Rule{Kind: Threshold, Service: r.Service, Query: Query{Metric: r.Service}, Levels: []Level{{Fire: "> 1"}}}
	if got := r.Headline(0, 0.12, base, base+360); utf8.RuneCountInString(got) > maxHeadline {
		t.Error(got)
	}
}

func TestQuantitiesReadWell(t *testing.T) {
	for _, c := range []struct {
		v    float64
		unit string
		want string
	}{
		{0.05, "1", "5 %"},
		{0.1234, "1", "12.3 %"},
		{0.0005, "1", "0.05 %"},
		{0.99995, "1", "99.995 %"},
		{1, "1", "100 %"},
		{0, "1", "0 %"},
		{1234567, "", "1,234,567"},
		{-1234, "", "-1,234"},
		{3, "", "3"},
		{12.34, "", "12.3"},
		{0.01234, "", "0.0123"},
		{0.00025, "s", "250 µs"},
		{0.8, "s", "800 ms"},
		{1.25, "s", "1.25 s"},
		{1250, "ms", "1.25 s"},
		{150, "s", "2 min 30 s"},
		{90061, "s", "1 d 1 h"},
		{86460, "s", "1 d"},
		{math.Inf(1), "s", "unknown"},
		{1 << 31, "By", "2 GiB"},
		{500, "By", "500 B"},
		{14.4, "x", "14.4×"},
		{5, "requests", "5 requests"},
	} {
		if got := Quantity(c.v, c.unit); got != c.want {
			t.Errorf("%v %s: %q, want %q", c.v, c.unit, got, c.want)
		}
	}
}

func TestASummaryIsFilledOnceAndSafely(t *testing.T) {
	r := checkout()
	r.Query.By = []string{"host"}
	r.Labels = map[string]string{"tier": "1"}
	group := map[string]string{"host": "a\n{{service}}\x00"}
	got := r.Expand("{{value}} of {{ service }} on {{host}}, limit {{limit}}, tier {{tier}}{{nobody}} {{open", 0, 0.12, group)
	if want := "12 % of checkout on a {{service}} , limit 5 %, tier 1 {{open"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	long := r.Expand("{{host}}", 0, 0, map[string]string{"host": strings.Repeat("x", 10_000)})
	if utf8.RuneCountInString(long) > maxValue {
		t.Errorf("a label's value has %d characters", len(long))
	}
}
