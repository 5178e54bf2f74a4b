package evaluate

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/midwatch/midwatch/alerts/rule"
)

// Number is what a rule's query says of one group at one slot.
type Number struct {
	// Samples are the points, requests or records that it is made of; 0 is no data.
	Samples float64
	// Value is the aggregate of a threshold, or a count.
	Value float64
	// Bad and Total are the two sides of a ratio.
	Bad, Total float64
}

// Numbers are those of a window, and of its end: the last minute, or two where too little came in that.
// A window remembers a trouble for longer than it lasts, often for longer than evidence has to: that
// it is still there only its end says.
type Numbers struct {
	Number
	// End is nil where the window is no longer than its end.
	End *Number
}

// windowEnds are the lengths of the ends of windows, in seconds.
var windowEnds = []int64{60, 120}

// Row is one group of a Table.
type Row struct {
	Key    string
	Values []string // of the rule's By
	// Numbers has one for each slot.
	Numbers []Numbers
	// Judged are the observations of a slot, by level, where a kind has limits of its own; else nil.
	Judged [][]rule.Observation
}

func byKey(rows []Row) []Row {
	slices.SortFunc(rows, func(a, b Row) int { return cmp.Compare(a.Key, b.Key) })
	return rows
}

// Table is what a rule's query says of some slots, which lie one interval apart.
type Table struct {
	First int64 // slot
	Slots int
	Rows  []Row // by key; groups without any data are absent
	// pods are those that were there at the slots, for rules that make a group of each.
	pods pods
	// Pending says that the history that the rule needs is still being read.
	Pending bool
	// Err says why there are no numbers.
	Err error
}

// Width is about how many groups the table has, or what it knows of besides.
func (t *Table) Width() int { return max(len(t.Rows), len(t.pods)) }

// Ask asks for the slots of a rule from First on.
type Ask struct {
	Plan  *Plan
	First int64
	Slots int
}

// last is the last slot.
func (a Ask) last() int64 { return a.First + int64(a.Slots-1)*a.Plan.interval }

// span is the time of whose data the slots are made, in Unix seconds.
func (a Ask) span() (from, to int64) {
	return a.First - a.Plan.delay - a.Plan.window, a.last() - a.Plan.delay
}

func unix(s int64) time.Time { return time.Unix(s, 0).UTC() }

func containsAny(text string, parts ...string) bool {
	return slices.ContainsFunc(parts, func(part string) bool { return strings.Contains(text, part) })
}
