// Package retention says for how long telemetry may be kept: a project chooses a class for each
// signal. The classes are few because each is a partition of its own on each day.
package retention

import (
	"fmt"
	"slices"
)

// Days is how many days a project's records are kept, by signal.
type Days struct{ Metrics, Logs, Errors, Checkins int }

// Default is what a project has until somebody chooses.
var Default = Days{Metrics: 30, Logs: 30, Errors: 90, Checkins: 90}

var classes = [...]int{1, 3, 7, 14, 30, 60, 90, 180, 365, 400}

// Classes returns the numbers of days that can be chosen, shortest first.
func Classes() []int { return slices.Clone(classes[:]) }

// Class is days where they are a class, else the next longer one or the longest; def where days
// are 0.
func Class(days uint32, def int) int {
	if days == 0 {
		return def
	}
	for _, c := range classes {
		if uint32(c) >= days {
			return c
		}
	}
	return classes[len(classes)-1]
}

// Check returns what is wrong with a choice, in words for who made it.
func (d Days) Check() error {
	for _, one := range []struct {
		signal string
		days   int
	}{{"metrics", d.Metrics}, {"logs", d.Logs}, {"errors", d.Errors}, {"checkins", d.Checkins}} {
		if !slices.Contains(classes[:], one.days) {
			return fmt.Errorf("%s: %d days cannot be chosen; the choices are %v", one.signal, one.days, classes)
		}
	}
	return nil
}
