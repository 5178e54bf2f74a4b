package rule

// Missed is one slot of a catch-up: an observation for each level.
type Missed struct {
	Slot   int64
	Levels []Observation
}

// CatchUp steps an instance through the slots that were missed, oldest first; the last of them is
// the current one. Slots that are not given, or more than Machine.CatchUpMax old, count as held.
// Only the net effect is appended to out: what is open now is one trigger, what was open is one
// resolve, what came and went is one event for the digest, each with the slot at which it really
// happened, and Late.
func CatchUp(m []Machine, s []State, missed []Missed, out []Event) []Event {
	if len(missed) == 0 {
		return out
	}
	now := missed[len(missed)-1].Slot
	before := make([]State, len(s))
	copy(before, s)
	held := make([]Observation, len(m))
	for i := range held {
		held[i] = Observation{Verdict: Held, Value: s[i].Value}
	}
	var all []Event
	for _, slot := range missed {
		for t := next(m, s); t > 0 && t < slot.Slot; t += m[0].Interval {
			all = StepLevels(m, s, held, t, all)
		}
		o := slot.Levels
		if slot.Slot < now-m[0].CatchUpMax {
			o = held
		}
		all = StepLevels(m, s, o, slot.Slot, all)
	}
	for i := range s {
		out = net(i, before[i], now, all, out)
	}
	return out
}

// next is the slot after the last one that any level has seen; 0 for a new instance.
func next(m []Machine, s []State) int64 {
	var last int64
	for i := range s {
		last = max(last, s[i].LastSlot)
	}
	if last == 0 {
		return 0
	}
	return last + m[0].Interval
}

// net appends what is left of one level's events when only the outcome counts.
func net(level int, before State, now int64, all, out []Event) []Event {
	triggered := false
	for k, e := range all {
		if e.Level != level || !e.Kind.Trigger() && e.Kind != EventResolved {
			continue
		}
		triggered = triggered || e.Kind.Trigger()
		if !lastOf(all[k+1:], e) {
			continue
		}
		wasOpen := before.Status.Open() && before.Incident == e.Incident
		e.Late = e.Slot != now
		if e.Kind == EventResolved && !wasOpen {
			first := firstTrigger(all, e)
			e.Kind, e.Since = EventCameAndWent, first.Slot
		}
		out = append(out, e)
	}
	for _, e := range all {
		if e.Level != level {
			continue
		}
		switch e.Kind {
		case EventTransient:
			if triggered { // part of the same story
				continue
			}
		case EventRecurring, EventInconclusive, EventNoDataOpen, EventNoDataClose, EventErrorOpen, EventErrorClose:
		default:
			continue
		}
		e.Late = e.Slot != now
		out = append(out, e)
	}
	return out
}

// lastOf says whether no later trigger or resolve is about the same incident as e.
func lastOf(later []Event, e Event) bool {
	for _, l := range later {
		if l.Level == e.Level && l.Incident == e.Incident && (l.Kind.Trigger() || l.Kind == EventResolved) {
			return false
		}
	}
	return true
}

// firstTrigger is the first trigger of e's incident.
func firstTrigger(all []Event, e Event) Event {
	for _, f := range all {
		if f.Level == e.Level && f.Incident == e.Incident && f.Kind.Trigger() {
			return f
		}
	}
	return e
}
