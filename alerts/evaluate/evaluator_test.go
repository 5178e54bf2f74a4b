package evaluate

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/midwatch/midwatch/alerts/rule"
	"github.com/midwatch/midwatch/storage/storagetest"
)

// errorRate pages for the error rate of a service.
func errorRate(id string) rule.Rule {
	return rule.Rule{
		ID: id, Name: id, Kind: rule.ErrorRate, Service: "shop", State: rule.Live, FirstAction: "look at it",
		Query:  rule.Query{By: []string{"service"}},
		Levels: []rule.Level{{Fire: ">= 5%", Recover: "< 3%", Severity: rule.Page, For: seconds(180)}},
	}
}

func hot(id string) rule.Rule {
	return rule.Rule{
		ID: id, Name: id, Kind: rule.Threshold, State: rule.Live,
		Query:  rule.Query{Metric: "temperature", Aggregate: "avg", By: []string{"room"}},
		Levels: []rule.Level{{Fire: "> 30", Recover: "< 25", Severity: rule.Ticket, For: seconds(300)}},
	}
}

// between is a value in [from, to), in seconds after begin, and another one elsewhere.
func between(from, to int64, in, out float64) func(int64) float64 {
	return func(at int64) float64 {
		if at >= from && at < to {
			return in
		}
		return out
	}
}

// rate is a counter that grows by so much a second.
func rate(perSecond func(at int64) float64) func(int64) float64 {
	v := 1000.0
	last := int64(-1)
	return func(at int64) float64 {
		if last >= 0 {
			v += perSecond(at) * float64(at-last)
		}
		last = at
		return v
	}
}

func outage(s *sender) {
	s.counter("http_server_request_duration_seconds_count", "service=shop http_response_status_code=200", 0, 7200, 15, rate(between(0, 7200, 9, 9)))
	s.counter("http_server_request_duration_seconds_count", "service=shop http_response_status_code=503", 0, 7200, 15, rate(between(1800, 2700, 1, 0)))
	s.counter("http_server_request_duration_seconds_count", "service=blog http_response_status_code=200", 0, 7200, 15, rate(between(0, 7200, 9, 9)))
	s.counter("http_server_request_duration_seconds_count", "service=blog http_response_status_code=500", 0, 7200, 15, rate(between(3600, 3660, 2, 0)))
	s.gauge("temperature", "room=cellar", 0, 7200, 15, between(1200, 4800, 40, 20))
	s.gauge("temperature", "room=attic", 0, 7200, 15, between(1200, 1260, 40, 20))
}

func TestRulesFireAndResolveLive(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storagetest.Catalog(t), storagetest.Telemetry(t))
	s := &sender{}
	outage(s)
	s.send(t, w.store, w.project)
	w.put(errorRate("errors"))
	w.put(hot("hot"))
	d := &desk{}
	w.now = begin + 900
	w.until(w.evaluator("a", d), 7200, 10)
	want := []string{}
	if diff := cmp.Diff(want, d.told()); diff != "" {
		t.Errorf("signals (-want +got):\n%s", diff)
	}
	for _, signal := range d.signals {
		t.Log(signal.Instance.Headline, "|", signal.Text)
	}
}
