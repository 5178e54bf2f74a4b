package rule

// The reference model of the design, written down once more and as plainly as it stands there. Step
// has to agree with it on every history.

type modelRule struct {
	interval, hold, recover, reopen        int64
	flapN, recurN                          int
	flapWindow, flapExit, recurWindow      int64
	nodataFor, staleClose, errFor, abandon int64
	ratio                                  float64 // 0 is consecutive
	nodata                                 string
}

type seen struct {
	t   int64
	bad bool
}

type modelInstance struct {
	st                    string
	pend, lastB, rec, res int64
	hist                  []seen
	onsets, trans         []int64
	flap                  bool
	recurAt               int64
	inc, ep               int
	nd, er, silent        *int64
	ndTold, erTold        bool
}

func newModel() *modelInstance {
	return &modelInstance{st: "ok", res: -1 << 40, recurAt: -1 << 40}
}

func (i *modelInstance) open() bool { return i.st == "firing" || i.st == "recovering" }

func after(list []int64, t int64) []int64 {
	var out []int64
	for _, x := range list {
		if x > t {
			out = append(out, x)
		}
	}
	return out
}

func (i *modelInstance) step(r modelRule, o byte, t int64) []string {
	var ev []string
	if o == 'N' {
		if i.nd == nil {
			i.nd = &t
		}
		if !i.ndTold && r.nodata == "keep" && t-*i.nd >= r.nodataFor {
			i.ndTold = true
			ev = append(ev, "nodata_open")
		}
		switch r.nodata {
		case "ok":
			o = 'O'
		case "breach":
			o = 'B'
		}
		if i.erTold {
			ev = append(ev, "error_close")
		}
		i.er, i.erTold = nil, false
	} else {
		if o == 'O' || o == 'G' || o == 'B' || o == 'I' {
			if i.ndTold {
				ev = append(ev, "nodata_close")
			}
			i.nd, i.ndTold = nil, false
		}
		if o == 'E' {
			if i.er == nil {
				i.er = &t
			}
			if !i.erTold && t-*i.er >= r.errFor {
				i.erTold = true
				ev = append(ev, "error_open")
			}
		} else {
			if i.erTold {
				ev = append(ev, "error_close")
			}
			i.er, i.erTold = nil, false
		}
	}
	if o == 'N' || o == 'I' || o == 'E' || o == 'H' {
		if i.silent == nil {
			i.silent = &t
		}
		if i.st == "pending" {
			i.pend += r.interval
		}
		if i.st == "recovering" {
			i.rec += r.interval
		}
		if i.st == "pending" && t-*i.silent >= r.abandon {
			i.st = "ok"
			ev = append(ev, "inconclusive")
		}
		if i.open() && (o == 'N' || o == 'I') && t-*i.silent >= r.staleClose {
			i.st, i.res, i.flap = "resolved", t, false
			ev = append(ev, "resolved:data_gone")
		}
		return ev
	}
	i.silent = nil
	var hist []seen
	for _, h := range i.hist {
		if h.t > t-r.hold {
			hist = append(hist, h)
		}
	}
	i.hist = append(hist, seen{t, o == 'B'})
	if i.st == "resolved" && t-i.res >= r.reopen {
		i.st = "ok"
	}
	back := "ok"
	if t-i.res < r.reopen {
		back = "resolved"
	}
	if o == 'B' {
		i.lastB = t
	}
	if (i.st == "ok" || i.st == "resolved") && o == 'B' {
		i.st, i.pend = "pending", t
		ev = append(ev, "pending")
	}
	switch i.st {
	case "pending":
		transient := false
		if r.ratio == 0 {
			if o == 'O' || (o == 'G' && t-i.lastB >= max(r.hold, r.interval)) {
				transient = true
			} else if o == 'B' && t-i.pend >= r.hold {
				ev = append(ev, i.fire(r, t))
			}
		} else {
			b := 0
			for _, h := range i.hist {
				if h.bad {
					b++
				}
			}
			if b == 0 {
				transient = true
			} else if o == 'B' && t-i.pend >= r.hold && float64(b)/float64(len(i.hist)) >= r.ratio {
				ev = append(ev, i.fire(r, t))
			}
		}
		if transient {
			i.st = back
			i.trans = append(i.trans, t)
			ev = append(ev, "transient")
			i.trans = after(i.trans, t-r.recurWindow)
			if len(i.trans) >= r.recurN && t-i.recurAt >= 86400 {
				i.recurAt = t
				ev = append(ev, "recurring")
			}
		}
	case "firing":
		if o == 'O' {
			i.st, i.rec = "recovering", t
			ev = append(ev, "recovering")
			if r.recover == 0 && !i.flap {
				ev = append(ev, i.done(t))
			}
		}
	case "recovering":
		if o == 'O' {
			hold := r.recover
			if i.flap {
				hold = r.flapExit
			}
			if t-i.rec >= hold {
				ev = append(ev, i.done(t))
			}
		} else {
			i.st = "firing"
			ev = append(ev, "rebound")
		}
	}
	return ev
}

func (i *modelInstance) done(t int64) string {
	i.st, i.res, i.flap = "resolved", t, false
	return "resolved"
}

func (i *modelInstance) fire(r modelRule, t int64) string {
	i.st = "firing"
	i.onsets = append(after(i.onsets, t-r.flapWindow), t)
	kind := "fire"
	if i.inc > 0 && i.pend-i.res < r.reopen {
		i.ep++
		kind = "reopened"
	} else {
		i.inc++
		i.ep = 1
	}
	if len(i.onsets) >= r.flapN && !i.flap {
		i.flap = true
		kind = "flapping"
	}
	return kind
}
