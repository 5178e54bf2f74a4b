package probe

import "slices"

// Seen is what a region saw of a probe in one slot.
type Seen struct {
	Probe, Region string
	OK            bool
}

// Status is the verdict of all regions on one probe.
type Status string

// The verdicts.
const (
	Up     Status = "up"
	Down   Status = "down"
	TooFew Status = "too_few" // regions answer to say anything
)

// minAnswering is how many of several regions have to answer.
const minAnswering = 2

// Verdict says what several regions make of one probe, and which of them say what, sorted.
type Verdict struct {
	Status  Status
	Failing []string
	Passing []string
	// Blind are the regions that were left out: nothing answers them, and others see what they do not.
	Blind []string
	// Need is how many had to fail.
	Need int
}

// Judge makes the verdict on p from what the regions saw, in one slot, of all probes of its project;
// only the newest of a probe and a region may be in seen. Of no regions in p those count that have
// seen any probe.
//
// A region is blind where all of its probes fail, at least two, while another region sees one of
// them answer. Without that comparison nothing tells a blind region from a total outage, and an
// outage has to be told: one region alone is believed, and so are all when they agree.
func Judge(p Probe, seen []Seen) Verdict {
	var v Verdict
	regions := map[string]bool{}
	for _, one := range p.Regions {
		regions[one] = true
	}
	blind := blindRegions(seen)
	for _, s := range seen {
		if len(p.Regions) > 0 && !regions[s.Region] {
			continue // it was for that region once
		}
		regions[s.Region] = true
		if s.Probe != p.ID {
			continue
		}
		switch {
		case blind[s.Region]:
			v.Blind = append(v.Blind, s.Region)
		case s.OK:
			v.Passing = append(v.Passing, s.Region)
		default:
			v.Failing = append(v.Failing, s.Region)
		}
	}
	for _, list := range [][]string{v.Failing, v.Passing, v.Blind} {
		slices.Sort(list)
	}
	n := len(regions)
	v.Need = p.Need
	if v.Need == 0 {
		v.Need = n/2 + 1
	}
	v.Need = max(1, min(v.Need, n))
	switch answering := len(v.Failing) + len(v.Passing); {
	case answering < max(1, v.Need, min(n, minAnswering)):
		v.Status = TooFew
	case len(v.Failing) >= v.Need:
		v.Status = Down
	default:
		v.Status = Up
	}
	return v
}

func blindRegions(seen []Seen) map[string]bool {
	answered := map[string]bool{} // probes, somewhere
	failed := map[string]int{}    // probes of a region
	passed := map[string]bool{}   // regions
	for _, s := range seen {
		if s.OK {
			answered[s.Probe], passed[s.Region] = true, true
		} else {
			failed[s.Region]++
		}
	}
	blind := map[string]bool{}
	for _, s := range seen {
		if !passed[s.Region] && failed[s.Region] > 1 && answered[s.Probe] {
			blind[s.Region] = true
		}
	}
	return blind
}
