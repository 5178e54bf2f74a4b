package evaluate

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/midwatch/midwatch/alerts/incident"
	"github.com/midwatch/midwatch/alerts/oncall"
	"github.com/midwatch/midwatch/alerts/rule"
	"github.com/midwatch/midwatch/storage/bus"
	"github.com/midwatch/midwatch/storage/catalog"
	"github.com/midwatch/midwatch/storage/storagetest"
	"github.com/midwatch/midwatch/storage/telemetry"
)

// writer does what the writer does with a stream, without storing anything.
type writer struct {
	w   *world
	bus *bus.Bus
	at  catalog.Cursor
	seq uint64
}

func newWriter(w *world, b *bus.Bus) *writer {
	return &writer{w: w, bus: b, at: catalog.Cursor{Stream: string(bus.Metrics), Reader: "writer"}}
}

func (w *writer) publish() {
	w.w.t.Helper()
	w.seq++
	if err := w.bus.Publish(w.w.t.Context(), bus.Metrics, 1, fmt.Sprint(w.seq), []byte("frame")); err != nil {
		w.w.t.Fatal(err)
	}
}

// catchUp has it read all there is.
func (w *writer) catchUp() {
	w.w.t.Helper()
	ctx := w.w.t.Context()
	backlog, err := w.bus.Backlog(ctx, bus.Metrics)
	if err != nil {
		w.w.t.Fatal(err)
	}
	origin, err := w.bus.Origin(ctx, bus.Metrics)
	if err != nil {
		w.w.t.Fatal(err)
	}
	if w.at, err = w.w.db.PlanBatch(ctx, w.at, origin, w.at.Last+1, backlog.LastSeq); err == nil {
		w.at, err = w.w.db.FinishBatch(ctx, w.at, nil)
	}
	if err != nil {
		w.w.t.Fatal(err)
	}
}

func TestTheWatermarkIsWhatTheWriterHasPassed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storagetest.Catalog(t), nil)
	writer := newWriter(w, storagetest.Bus(t))
	mark := NewWatermark(writer.bus, w.db, "writer")
	look := func(now, want int64) {
		t.Helper()
		if err := mark.Look(t.Context(), bus.Metrics, unix(now)); err != nil {
			t.Fatal(err)
		}
		got := int64(0)
		if at := mark.At(rule.Metrics); !at.IsZero() {
			got = at.Unix()
		}
		if got != want {
			t.Errorf("at %d the watermark is %d, want %d", now, got, want)
		}
	}
	writer.publish()
	look(100, 0) // nobody knows since when it waits
	writer.catchUp()
	look(101, 101)
	look(102, 102)
	writer.publish()
	look(103, 102)
	writer.publish()
	look(104, 102)
	writer.catchUp()
	writer.publish()
	look(105, 104)
	writer.catchUp()
	look(106, 106)
}

// TestLateDataHideNoBreachAndInventNoAbsence is V28 and 1.7 with a writer that stands still.
func TestLateDataHideNoBreachAndInventNoAbsence(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storagetest.Catalog(t), storagetest.Telemetry(t))
	writer := newWriter(w, storagetest.Bus(t))
	s := &sender{}
	s.gauge("heartbeat", "", 0, 1800, 15, between(0, 0, 1, 1))
	s.gauge("temperature", "room=cellar", 0, 3600, 15, between(1900, 3600, 40, 20))
	s.send(t, w.store, w.project)
	hottest := hot("hottest")
	hottest.Query.Aggregate = "max"
	w.put(rule.Rule{ID: "gone", Name: "gone", Kind: rule.Absence, State: rule.Live, Query: rule.Query{Metric: "heartbeat"}})
	w.put(hot("average"))
	w.put(hottest)
	d := &desk{}
	e := w.evaluator("a", d)
	e.cfg.Watermark = NewWatermark(writer.bus, w.db, "writer")
	w.now = begin + 900
	for w.now < begin+3600 {
		writer.publish()
		switch at := w.now - begin; {
		case at == 3000: // what was late comes in
			s.gauge("heartbeat", "", 1800, 3600, 15, between(0, 0, 1, 1))
			s.send(t, w.store, w.project)
			writer.catchUp()
		case at < 1800 || at > 3000:
			writer.catchUp()
		}
		w.now += 10
		w.tick(e)
	}
	got := d.told()
	for i, want := range []string{"fire hottest/ticket/cellar ticket", "fire average/ticket/cellar ticket late"} {
		if len(got) != 2 || !strings.HasSuffix(got[i], want) {
			t.Fatalf("told %q, want %q", got, want)
		}
	}
	if late := d.signals[1].Late; late != "the data came late" {
		t.Errorf("late because %q", late)
	}
	if at := d.signals[0].At.Unix() - begin; at >= 3000 {
		t.Errorf("a breach that is there is told after %d s, when the data are complete", at)
	}
	accounts, err := w.db.Accounts(t.Context(), unix(begin))
	if err != nil {
		t.Fatal(err)
	}
	var sum catalog.Account
	for _, a := range accounts {
		sum.Due, sum.Done, sum.Held, sum.Failed = sum.Due+a.Due, sum.Done+a.Done, sum.Held+a.Held, sum.Failed+a.Failed
	}
	if sum.Held == 0 || sum.Due-sum.Done-sum.Held-sum.Failed > 3 || sum.Due < sum.Done+sum.Held+sum.Failed {
		t.Errorf("accounts %+v do not add up", sum)
	}
}

func TestItIsKnownUpToWhenRulesAreEvaluated(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storagetest.Catalog(t), storagetest.Telemetry(t))
	s := &sender{}
	s.gauge("temperature", "room=cellar", 0, 7200, 15, between(0, 0, 20, 20))
	s.send(t, w.store, w.project)
	w.put(hot("hot"))
	p, err := NewPlan(w.org, w.project, 1, hot("hot"))
	if err != nil {
		t.Fatal(err)
	}
	e := w.evaluator("a", &desk{})
	// known is the newest slot that is known to be evaluated, and the one that is kept of the rule.
	known := func() (slot, kept int64) {
		t.Helper()
		until, err := w.db.EvaluatedUntil(t.Context(), ShardOf(w.project))
		if err != nil {
			t.Fatal(err)
		}
		if !until.IsZero() {
			slot = p.Slot(until.Unix())
		}
		states, err := w.db.RuleStatesOf(t.Context(), w.project)
		if err != nil {
			t.Fatal(err)
		}
		for _, state := range states {
			if state.Rule == "hot" {
				kept = state.Cursor.Unix()
			}
		}
		return slot, kept
	}
	w.now = begin + 900
	w.tick(e)
	if slot, _ := known(); slot != 0 {
		t.Errorf("known to be evaluated until %s before it is", minutes(slot))
	}
	behind := false
	for w.now < begin+1800 {
		w.now += 5
		w.tick(e)
		slot, kept := known()
		// It is told with the next renewal of the lease.
		if was := p.Slot(w.now - 10); w.now > begin+920 && slot < was || slot > w.now {
			t.Fatalf("at %s evaluated until %s, want %s", minutes(w.now), minutes(slot), minutes(was))
		}
		behind = behind || kept < slot
	}
	if !behind {
		t.Error("what is kept of the rule says as much")
	}
	// A rule that is new is not said to be evaluated before it is.
	fast := hot("fast")
	fast.Interval = 10
	saved := w.now
	w.put(fast)
	quick, err := NewPlan(w.org, w.project, 1, fast)
	if err != nil {
		t.Fatal(err)
	}
	until, err := w.db.EvaluatedUntil(t.Context(), ShardOf(w.project))
	if err != nil || quick.Slot(until.Unix()) > saved {
		t.Errorf("evaluated until %s, %v, which is after it was saved", until, err)
	}
	// While there is no room to evaluate it, nothing is said.
	w.tick(e)
	for range parallel {
		e.places <- struct{}{}
	}
	stood := w.now
	w.until(e, stood-begin+300, 5)
	if slot, _ := known(); slot > p.Slot(stood) {
		t.Errorf("stands still since %s and is evaluated until %s", minutes(stood), minutes(slot))
	}
	for range parallel {
		<-e.places
	}
	w.until(e, w.now-begin+20, 5)
	if slot, _ := known(); slot < p.Slot(w.now-10) {
		t.Errorf("goes on at %s and is evaluated until %s", minutes(w.now), minutes(slot))
	}
	// Whoever takes over knows nothing better, until it has caught up.
	before, _ := known()
	w.now += 600
	next := w.evaluator("b", &desk{})
	w.tick(next)
	if slot, _ := known(); slot != before {
		t.Errorf("just taken over, evaluated until %s, want %s", minutes(slot), minutes(before))
	}
	w.until(next, w.now-begin+20, 5)
	if slot, _ := known(); slot < p.Slot(w.now-10) {
		t.Errorf("taken over at %s and is evaluated until %s", minutes(w.now), minutes(slot))
	}
}

func TestDowntimeIsCaughtUpWithItsNetEffect(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storagetest.Catalog(t), storagetest.Telemetry(t))
	s := &sender{}
	outage(s)
	s.send(t, w.store, w.project)
	w.put(hot("hot"))
	w.put(errorRate("errors"))
	d := &desk{}
	w.now = begin + 900
	w.until(w.evaluator("a", d), 1740, 10) // hot fires
	w.now = begin + 3500                   // the outage of the shop came and went
	e := w.evaluator("a", d)
	w.until(e, 4200, 10)
	w.now = begin + 6600 // and the heat has ended
	w.until(w.evaluator("a", d), 6700, 10)
	want := []string{
		"27 fire hot/ticket/cellar ticket",
		"53 note errors/page/shop page unseen late",
		"64 note errors/page/blog page healed",
		"89 resolve hot/ticket/cellar ticket late",
	}
	if diff := gocmp.Diff(want, d.told()); diff != "" {
		t.Errorf("signals (-want +got):\n%s", diff)
	}
	if late := d.signals[1].Late; !strings.HasPrefix(late, "alerting was down for ") {
		t.Errorf("late because %q", late)
	}
}

func TestARuleThatIsNotEvaluatedAnyMoreTakesBackWhatItTold(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(w *world, r rule.Rule){
		"rule_removed": func(w *world, r rule.Rule) {
			if err := w.db.DeleteDocument(w.t.Context(), w.org, RuleKind, w.project, r.ID); err != nil {
				w.t.Fatal(err)
			}
		},
		"rule_paused":  func(w *world, r rule.Rule) { r.State = rule.Paused; w.put(r) },
		"rule_changed": func(w *world, r rule.Rule) { r.Query.Aggregate = "min"; w.put(r) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, restart := range []bool{false, true} {
				w := newWorld(t, storagetest.Catalog(t), storagetest.Telemetry(t))
				s := &sender{}
				outage(s)
				s.send(t, w.store, w.project)
				r := hot("hot")
				w.put(r)
				d := &desk{}
				w.now = begin + 900
				e := w.evaluator("a", d)
				w.until(e, 1740, 10)
				change(w, r)
				if restart {
					e = w.evaluator("a", d)
				}
				w.until(e, 1800, 10)
				want := []string{"27 fire hot/ticket/cellar ticket", "29 resolve hot/ticket/cellar ticket " + name}
				if diff := gocmp.Diff(want, d.told()); diff != "" {
					t.Errorf("restarted %t: signals (-want +got):\n%s", restart, diff)
				}
			}
		})
	}
}

func TestAnEditKeepsWhatIsKnown(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storagetest.Catalog(t), storagetest.Telemetry(t))
	s := &sender{}
	outage(s)
	s.send(t, w.store, w.project)
	r := hot("hot")
	w.put(r)
	d := &desk{}
	w.now = begin + 900
	e := w.evaluator("a", d)
	w.until(e, 1740, 10)
	r.Name, r.Levels[0].For = "hotter", seconds(3000)
	w.put(r)
	w.until(e, 7200, 10)
	if diff := gocmp.Diff([]string{"27 fire hot/ticket/cellar ticket", "89 resolve hot/ticket/cellar ticket"}, d.told()); diff != "" {
		t.Errorf("signals (-want +got):\n%s", diff)
	}
	if d.signals[1].Instance.Name != "hotter" {
		t.Errorf("the rule is still %q", d.signals[1].Instance.Name)
	}
}

func TestAShadowTellsNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storagetest.Catalog(t), storagetest.Telemetry(t))
	s := &sender{}
	outage(s)
	s.send(t, w.store, w.project)
	r := hot("hot")
	r.State = rule.Shadow
	w.put(r)
	d := &desk{}
	w.now = begin + 900
	w.until(w.evaluator("a", d), 7200, 10)
	if len(d.signals) > 0 {
		t.Errorf("told %q", d.told())
	}
	if all := events(t, w, "hot"); len(all) != 4 {
		t.Errorf("noted %+v", all)
	}
}

func TestMaintenanceHoldsAndParentsAreNamed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storagetest.Catalog(t), storagetest.Telemetry(t))
	s := &sender{}
	outage(s)
	s.send(t, w.store, w.project)
	parent := hot("parent")
	parent.Levels[0].For = seconds(60)
	child := hot("child")
	child.DependsOn = []string{"parent"}
	held := hot("held")
	for _, r := range []rule.Rule{child, parent, held} {
		w.put(r)
	}
	body, err := json.Marshal(map[string]any{
		"id": "w", "name": "w", "matchers": []map[string]string{{"label": "rule", "op": "=", "value": "held"}}, "from": unix(begin + 1100), "to": unix(begin + 3600),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(body, new(oncall.Window)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.db.PutDocument(t.Context(), catalog.Document{Organisation: w.org, Kind: WindowKind, ID: "w", Name: "w", Body: body}, catalog.AnyVersion); err != nil {
		t.Fatal(err)
	}
	d := &desk{}
	w.now = begin + 900
	w.until(w.evaluator("a", d), 4200, 10)
	got := map[string]incident.Signal{}
	for _, signal := range d.signals {
		got[signal.Instance.Rule] = signal
	}
	if p := got["child"].Parents; len(p) != 1 || p[0] != (incident.Parent{Rule: "parent", Firing: true}) {
		t.Errorf("parents of the child: %+v", p)
	}
	if at := got["held"].At.Unix() - begin; at < 3600+300 {
		t.Errorf("the rule under maintenance fires after %d s", at)
	}
}

func TestGroupsBeyondTheLimitAreOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storagetest.Catalog(t), storagetest.Telemetry(t))
	s := &sender{}
	for i := range 20 {
		s.gauge("temperature", fmt.Sprintf("room=%02d", i), 0, 3600, 15, between(600, 2400, 40+float64(i), 20))
	}
	s.send(t, w.store, w.project)
	r := hot("hot")
	r.Limits = rule.Limits{Open: 5, Tracked: 15}
	w.put(r)
	d := &desk{}
	w.now = begin + 300
	w.until(w.evaluator("a", d), 3600, 10)
	fired, more := 0, ""
	for _, signal := range d.signals {
		switch {
		case signal.Kind == incident.Fire && strings.HasSuffix(signal.Instance.Key, rule.Overflow):
			more = signal.Instance.Headline
		case signal.Kind == incident.Fire:
			fired++
		}
	}
	if fired != 5 || !strings.HasPrefix(more, "hot: 15 more groups are bad") {
		t.Errorf("%d groups fire, and %q", fired, more)
	}
}

// TestAStoreThatIsDownIsATicketAndResolvesNothing is F3: who cannot see does not say that all is well.
func TestAStoreThatIsDownIsATicketAndResolvesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storagetest.Catalog(t), storagetest.Telemetry(t))
	s := &sender{}
	outage(s)
	s.send(t, w.store, w.project)
	w.put(hot("hot"))
	d := &desk{}
	w.now = begin + 900
	e := w.evaluator("a", d)
	w.until(e, 1800, 10)
	down, err := telemetry.Open(t.Context(), storagetest.EngineURL(t), e.log) // has no tables
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := down.Close(); err != nil {
			t.Error(err)
		}
	})
	p := e.projects[w.project]
	up := p.reader
	p.reader = NewReader(down, w.project)
	w.until(e, 2700, 10)
	p.reader = up
	w.until(e, 7200, 10)
	got := d.told()
	slices.Sort(got)
	want := []string{"27 fire hot/ticket/cellar ticket", "35 fire hot/health ticket", "45 resolve hot/health ticket", "89 resolve hot/ticket/cellar ticket"}
	slices.SortFunc(want, cmp.Compare[string])
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("signals (-want +got):\n%s", diff)
	}
}

func TestRunEndsWithItsContextAndLeaves(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storagetest.Catalog(t), storagetest.Telemetry(t))
	e := w.evaluator("a", &desk{})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	for live := []string(nil); !slices.Contains(live, "a"); {
		var err error
		if live, err = w.db.Beat(t.Context(), "b", unix(w.now), unix(w.now).Add(-time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	live, err := w.db.Beat(t.Context(), "b", unix(w.now), unix(w.now).Add(-time.Minute))
	if err != nil || slices.Contains(live, "a") {
		t.Errorf("%q live, %v", live, err)
	}
}

func TestTheFaultOfOneRuleIsNotThatOfOthers(t *testing.T) {
	t.Parallel()
	store := storagetest.Telemetry(t)
	var asks []Ask
	for i := range 7 {
		r := rule.Rule{ID: fmt.Sprint("r", i), Kind: rule.LogMatch, Query: rule.Query{Text: "x"}, Levels: []rule.Level{{Fire: "> 1"}}}
		if i == 4 {
			r.Query.Where = []rule.Match{{Label: "service", Op: "!=", Value: "a"}} // which cannot be asked for
		}
		p, err := NewPlan("o", 1, 1, r)
		if err != nil {
			t.Fatal(err)
		}
		asks = append(asks, Ask{Plan: p, First: p.Slot(begin), Slots: 1})
	}
	tables, err := NewReader(store, 1).Read(t.Context(), asks)
	if err != nil {
		t.Fatal(err)
	}
	for i, table := range tables {
		if (table.Err != nil) != (i == 4) {
			t.Errorf("rule %d: %v", i, table.Err)
		}
	}
}

func TestADeployThatIsFeltIsWaitedForTwiceAsLong(t *testing.T) {
	t.Parallel()
	for _, soft := range []bool{false, true} {
		w := newWorld(t, storagetest.Catalog(t), storagetest.Telemetry(t))
		s := &sender{}
		outage(s)
		s.send(t, w.store, w.project)
		w.put(errorRate("errors"))
		if err := w.db.AddDeploy(t.Context(), catalog.Deploy{Project: w.project, ID: "d", At: unix(begin + 1740), Service: "shop", Release: "2", Source: "api", Soft: soft}); err != nil {
			t.Fatal(err)
		}
		d := &desk{}
		w.now = begin + 1500
		w.until(w.evaluator("a", d), 2640, 10)
		want := []string{map[bool]string{false: "35 fire errors/page/shop page", true: "38 fire errors/page/shop page"}[soft]}
		if diff := gocmp.Diff(want, d.told()); diff != "" {
			t.Errorf("after a deploy that is felt: %t: signals (-want +got):\n%s", soft, diff)
		}
	}
}
