package evaluate

import (
	"fmt"
	"log/slog"
	"testing"

	"go.opentelemetry.io/otel/metric/noop"

	"github.com/midwatch/midwatch/alerts/rule"
	"github.com/midwatch/midwatch/storage/storagetest"
)

// BenchmarkEvaluate5000Rules evaluates one slot of 5,000 rules of five projects, 20 metrics with ten
// series each, with the reads and without.
func BenchmarkEvaluate5000Rules(b *testing.B) {
	const projects, rules, metrics, groups = 5, 1000, 20, 10
	store, db := storagetest.Telemetry(b), storagetest.Catalog(b)
	e, err := New(Config{Replica: "a"}, db, store, &desk{}, noop.NewMeterProvider().Meter(""), slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	book := &book{}
	var all []*project
	var chapters []*chapter
	for number := uint32(1); number <= projects; number++ {
		s := &sender{}
		for m := range metrics {
			for g := range groups {
				s.counter(fmt.Sprint("requests_", m), fmt.Sprint("service=", g, " code=200"), 0, 1800, 15, rate(between(0, 0, 0, 5)))
			}
		}
		s.send(b, store, number)
		c := &chapter{plans: map[string]*Plan{}}
		for i := range rules {
			r := rule.Rule{
				ID: fmt.Sprint("r", i), Name: "rule", Kind: rule.Threshold, State: rule.Live,
				Query:  rule.Query{Metric: fmt.Sprint("requests_", i%metrics), Aggregate: "rate", By: []string{"service"}},
				Levels: []rule.Level{{Fire: fmt.Sprint("> ", 1000+i), Severity: rule.Ticket}},
			}
			if c.plans[r.ID], err = NewPlan("o", number, 1, r); err != nil {
				b.Fatal(err)
			}
		}
		chapters = append(chapters, c)
		all = append(all, e.newProject(number, "o"))
	}
	steps := func(now int64) []*step {
		var out []*step
		for i, p := range all {
			out = append(out, &step{Evaluator: e, project: p, chapter: chapters[i], book: book, now: now})
		}
		return out
	}
	report := func(b *testing.B) {
		b.ReportMetric(projects*rules*float64(b.N)/b.Elapsed().Seconds(), "rules/s")
	}
	for _, s := range steps(begin + 1200) { // groups become known
		s.project.loaded = true
		if err := s.advance(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("with the store", func(b *testing.B) {
		for b.Loop() {
			for _, s := range steps(begin + 1260) {
				if err := s.evaluate(b.Context()); err != nil {
					b.Fatal(err)
				}
				if len(s.outcomes) != rules {
					b.Fatalf("%d outcomes", len(s.outcomes))
				}
			}
		}
		report(b)
	})
	b.Run("without the store", func(b *testing.B) {
		type work struct {
			step   *step
			all    []ready
			tables []Table
		}
		var works []work
		for _, s := range steps(begin + 1260) {
			ready, _, asks := s.due()
			tables, err := s.project.reader.Read(b.Context(), asks)
			if err != nil {
				b.Fatal(err)
			}
			works = append(works, work{s, ready, tables})
		}
		b.ResetTimer()
		for b.Loop() {
			for _, w := range works {
				w.step.outcomes = nil
				next := map[string]*Memory{}
				for i, r := range w.all {
					w.step.judge(r, &w.tables[i], Surroundings{}, next)
				}
			}
		}
		report(b)
	})
}
