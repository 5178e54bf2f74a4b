package evaluate

import (
	"testing"

	"github.com/midwatch/midwatch/alerts/rule"
	"github.com/midwatch/midwatch/storage/storagetest"
)

// A replica that gives a project up and gets it back has a new reader, but the rule's old plan.
func TestPlanForgetsWhatAnotherReaderKnew(t *testing.T) {
	t.Parallel()
	store := storagetest.Telemetry(t)
	p, err := NewPlan("org", 1, 1, rule.Rule{
		ID: "load", Name: "load", Kind: rule.Threshold, State: rule.Live, Query: rule.Query{Source: rule.Metrics, Metric: "load", Aggregate: "max", By: []string{"box"}},
		Levels: []rule.Level{{Fire: ">= 10", Severity: rule.Page}},
	})
	if err != nil {
		t.Fatal(err)
	}
	read := func() Table {
		t.Helper()
		tables, err := NewReader(store, 1).Read(t.Context(), []Ask{{Plan: p, First: p.Slot(begin + 1200), Slots: 1}})
		if err != nil || tables[0].Err != nil {
			t.Fatal(err, tables[0].Err)
		}
		return tables[0]
	}
	if rows := read().Rows; len(rows) != 0 {
		t.Fatalf("there are no data, and %d rows", len(rows))
	}
	s := &sender{}
	s.gauge("load", "box=a", 0, 1800, 10, func(int64) float64 { return 100 })
	s.send(t, store, 1)
	if rows := read().Rows; len(rows) != 1 {
		t.Errorf("%d rows, want that of the box", len(rows))
	}
}
