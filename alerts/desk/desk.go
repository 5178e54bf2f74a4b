// Package desk keeps incidents and their messages. What evaluation and people say is applied to the
// incidents and written, with the messages that follow from it, in the caller's transaction: a
// message exists if and only if what it tells has been committed.
package desk

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/midwatch/midwatch/alerts/incident"
	"github.com/midwatch/midwatch/alerts/match"
	"github.com/midwatch/midwatch/alerts/notify/receivers"
	"github.com/midwatch/midwatch/alerts/oncall"
	"github.com/midwatch/midwatch/alerts/rule"
	"github.com/midwatch/midwatch/storage/catalog"
)

// tooLateToPage is how old a trouble may be whose page is still a page; an older one is a ticket.
const tooLateToPage = 12 * time.Hour

// Config says how messages lead back to Midwatch.
type Config struct {
	// URL is that of the pages, without a slash at its end.
	URL string
	// Link returns an address that does an action to an incident without signing in; nil is none.
	Link func(incident, action, person string, now time.Time) string
	// Reply returns the address at which a mail about an incident is answered; nil is none.
	Reply func(incident, person string, now time.Time) string
}

// Desk applies changes to incidents. It is safe for concurrent use.
type Desk struct {
	cfg Config
	db  *catalog.DB
	log *slog.Logger

	mu    sync.Mutex
	books map[string]shelved
	wake  chan struct{}
}

// shelved is a book and the version of the documents that it was made from.
type shelved struct {
	version int64
	book    *incident.Book
}

// maxBooks bounds the organisations whose books are kept in memory.
const maxBooks = 10_000

// New makes a Desk.
func New(cfg Config, db *catalog.DB, log *slog.Logger) *Desk {
	return &Desk{cfg: cfg, db: db, log: log, books: map[string]shelved{}, wake: make(chan struct{}, 1)}
}

// Wake is signalled after messages may have been written, so that a sender need not wait for its
// next look.
func (d *Desk) Wake() <-chan struct{} { return d.wake }

// Woke says that a transaction of Apply has been committed.
func (d *Desk) Woke() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// Apply takes in what is to be said of instances of an organisation. It changes nothing but tx and
// may be run again in another one.
func (d *Desk) Apply(ctx context.Context, tx *catalog.Tx, organisation string, signals []incident.Signal, now time.Time) error {
	if len(signals) == 0 {
		return nil
	}
	s, err := d.session(ctx, tx, organisation, now)
	if err != nil {
		return err
	}
	for _, signal := range sorted(signals) {
		if err := s.apply(ctx, signal); err != nil {
			return fmt.Errorf("apply a signal of rule %q: %w", signal.Instance.Rule, err)
		}
	}
	return s.save(ctx)
}

// sorted puts signals in the order in which they are applied. What is said of one instance keeps its
// order: what recovered and is bad again is bad. Otherwise it is inOrder.
func sorted(signals []incident.Signal) []incident.Signal {
	type numbered struct {
		incident.Signal
		n int // of the signals of its instance
	}
	said := map[name]int{}
	all := make([]numbered, len(signals))
	for i, signal := range signals {
		n := nameOf(signal.Instance)
		all[i] = numbered{signal, said[n]}
		said[n]++
	}
	slices.SortStableFunc(all, func(a, b numbered) int { return cmp.Or(cmp.Compare(a.n, b.n), inOrder(a.Signal, b.Signal)) })
	out := make([]incident.Signal, len(all))
	for i, one := range all {
		out[i] = one.Signal
	}
	return out
}

// name is what an instance is called among those of all projects.
type name struct {
	project uint32
	key     string
}

func nameOf(in incident.Instance) name { return name{in.Project, in.Key} }

// inOrder puts what is bad first, so that what ends in the same slot does not end an incident that goes
// on; parents before children; and the worst first, since receivers take only so many.
func inOrder(a, b incident.Signal) int {
	kind := map[incident.Kind]int{incident.Fire: 0, incident.Resolve: 1, incident.Note: 2}
	return cmp.Or(
		cmp.Compare(kind[a.Kind], kind[b.Kind]),
		cmp.Compare(min(len(a.Parents), 1), min(len(b.Parents), 1)),
		cmp.Compare(incident.Rank(a.Instance.Severity), incident.Rank(b.Instance.Severity)),
		cmp.Compare(b.Instance.Value, a.Instance.Value),
	)
}

// Tick does what is due of one incident.
func (d *Desk) Tick(ctx context.Context, id string, now time.Time) error {
	return d.change(ctx, id, now, func(w *working, s *session) error {
		if w.State == incident.Open && w.HeldBy != "" && w.ReleaseAt.IsZero() {
			return nil
		}
		w.Tick(s.book, now, &w.change)
		return nil
	})
}

// Due returns incidents that are to be ticked.
func (d *Desk) Due(ctx context.Context, now time.Time, limit int) ([]string, error) {
	return d.db.IncidentsDue(ctx, now, limit)
}

// Acknowledge says that a person is at it; via says by which way, in words.
func (d *Desk) Acknowledge(ctx context.Context, id, person, via string, now time.Time) error {
	return d.change(ctx, id, now, func(w *working, _ *session) error {
		w.Acknowledge(person, via, now, &w.change)
		return nil
	})
}

// Escalate tells the next step at once.
func (d *Desk) Escalate(ctx context.Context, id, person string, now time.Time) error {
	return d.change(ctx, id, now, func(w *working, s *session) error {
		w.Escalate(s.book, person, now, &w.change)
		return nil
	})
}

// Comment adds a note to the timeline.
func (d *Desk) Comment(ctx context.Context, id, person, text string, now time.Time) error {
	return d.change(ctx, id, now, func(w *working, _ *session) error {
		w.note(person, text, now)
		return nil
	})
}

// Close resolves an incident by hand.
func (d *Desk) Close(ctx context.Context, id, person, reason string, now time.Time) error {
	return d.change(ctx, id, now, func(w *working, s *session) error {
		w.Finish(s.book, person, reason, false, now, &w.change)
		return nil
	})
}

// FalseAlarm resolves an incident and keeps it from counting as one that should have been caught.
func (d *Desk) FalseAlarm(ctx context.Context, id, person string, now time.Time) error {
	return d.change(ctx, id, now, func(w *working, s *session) error {
		w.Finish(s.book, person, "", true, now, &w.change)
		return nil
	})
}

// change runs f on an incident in a transaction of its own.
func (d *Desk) change(ctx context.Context, id string, now time.Time, f func(*working, *session) error) error {
	err := d.db.InTx(ctx, func(tx *catalog.Tx) error {
		row, err := tx.Incident(ctx, id)
		if err != nil {
			return err
		}
		s, err := d.session(ctx, tx, row.Organisation, now)
		if err != nil {
			return err
		}
		w, err := s.adopt(row)
		if err != nil {
			return err
		}
		if err := f(w, s); err != nil {
			return err
		}
		return s.save(ctx)
	})
	if err != nil {
		return fmt.Errorf("change incident %s: %w", id, err)
	}
	d.Woke()
	return nil
}

// Book returns what an organisation has configured, as it counts.
func (d *Desk) Book(ctx context.Context, organisation string) (*incident.Book, error) {
	var book *incident.Book
	err := d.db.InTx(ctx, func(tx *catalog.Tx) (err error) {
		book, err = d.bookOf(ctx, tx, organisation)
		return err
	})
	return book, err
}

func (d *Desk) bookOf(ctx context.Context, tx *catalog.Tx, organisation string) (*incident.Book, error) {
	version, err := tx.DocumentsVersion(ctx)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	kept, ok := d.books[organisation]
	d.mu.Unlock()
	if ok && kept.version == version {
		return kept.book, nil
	}
	documents, err := tx.DocumentsOfOrganisation(ctx, organisation)
	if err != nil {
		return nil, err
	}
	book := read(organisation, documents, d.log)
	d.mu.Lock()
	if len(d.books) >= maxBooks {
		clear(d.books)
	}
	d.books[organisation] = shelved{version, book}
	d.mu.Unlock()
	return book, nil
}

// read makes a book of documents. One that cannot be read is as if it were not there: the rest must go on.
func read(organisation string, documents []catalog.Document, log *slog.Logger) *incident.Book {
	b := incident.Book{
		Organisation: organisation,
		Teams:        map[string]oncall.Team{}, People: map[string]oncall.Person{}, Schedules: map[string]oncall.Schedule{},
		Policies: map[string]oncall.Policy{}, Receivers: map[string]incident.Receiver{},
	}
	for _, doc := range documents {
		var err error
		switch doc.Kind {
		case incident.DocReceiver:
			var r receivers.Receiver
			if err = json.Unmarshal(doc.Body, &r); err == nil {
				limit := r.Bucket()
				b.Receivers[doc.ID] = incident.Receiver{
					ID: doc.ID, Name: cmp.Or(r.Name, doc.Name, doc.ID), Kind: r.Kind, Fallback: r.Fallback, Limit: limit.Count, Per: limit.Per,
				}
			}
		case incident.DocTeam:
			err = into(b.Teams, doc, oncall.Team.WithDefaults)
		case incident.DocPerson:
			err = into(b.People, doc, oncall.Person.WithDefaults)
		case incident.DocSchedule:
			err = into(b.Schedules, doc, oncall.Schedule.WithDefaults)
		case incident.DocPolicy:
			err = into(b.Policies, doc, oncall.Policy.WithDefaults)
		case incident.DocRoutes:
			err = json.Unmarshal(doc.Body, &b.Routes)
		case incident.DocSilence:
			var silence oncall.Silence
			if err = json.Unmarshal(doc.Body, &silence); err == nil {
				silence.ID = doc.ID
				b.Silences = append(b.Silences, silence)
			}
		}
		if err != nil {
			log.Warn("document left out", "kind", doc.Kind, "document", doc.ID, "organisation_id", organisation, "err", err)
		}
	}
	if len(b.Receivers) == 0 {
		limit := receivers.Receiver{Kind: receivers.Email}.Bucket()
		b.Receivers[Everybody] = incident.Receiver{ID: Everybody, Name: "E-mail to everybody", Kind: receivers.Email, Limit: limit.Count, Per: limit.Per}
	}
	return withDrill(incident.NewBook(b))
}

// DrillID names the rule of the fire drill, and the team, policy and receiver of which its incidents are.
// Nobody has to be woken to know that a page would come. It is also the organisation, nobody's, of the
// canaries that fly all the time.
const DrillID = "midwatch-drill"

// withDrill routes the fire drill to its receiver, before all that people have configured.
func withDrill(b *incident.Book) *incident.Book {
	b.Teams[DrillID] = oncall.Team{ID: DrillID, Name: "Fire drill", Policy: DrillID, Digest: oncall.Digest{Days: oncall.Off}}.WithDefaults()
	b.Policies[DrillID] = oncall.Policy{
		ID: DrillID, Name: "Fire drill", Steps: []oncall.Step{{Targets: []oncall.Target{{Kind: oncall.ToReceiver, ID: DrillID}}}},
		ExhaustedReceivers: []string{DrillID}, // not the owners
	}.WithDefaults()
	b.Receivers[DrillID] = incident.Receiver{ID: DrillID, Name: "Fire drill", Kind: "drill"}
	b.Routes.Routes = append([]oncall.Route{{
		ID: DrillID, Team: DrillID, Policy: DrillID, Matchers: match.Set{{Label: "rule", Op: match.Equal, Value: DrillID}}, GroupBy: []string{"run"},
	}}, b.Routes.Routes...)
	return b
}

// Everybody is the receiver of an organisation that has set up none: a mail to all of its people.
const Everybody = "everybody"

func into[T any](all map[string]T, doc catalog.Document, complete func(T) T) error {
	var v T
	if err := json.Unmarshal(doc.Body, &v); err != nil {
		return err
	}
	all[doc.ID] = complete(v)
	return nil
}

// working is an incident during a transaction.
type working struct {
	*incident.Incident
	change  incident.Change
	version int64
	fresh   bool
	dossier []byte
	// first is the id of the first line that the change adds to the timeline; empty is any.
	first string
	// bad are the instances that are noted as being bad in it.
	bad map[name]bool
}

func (w *working) note(person, text string, now time.Time) {
	w.change.Entries = append(w.change.Entries, incident.Entry{At: now, Kind: "note", Person: person, Text: text})
}

// session is the work of one transaction.
type session struct {
	*Desk
	tx        *catalog.Tx
	book      *incident.Book
	now       time.Time
	incidents map[string]*working
	order     []*working
	projects  map[uint32]catalog.Project
	// ended are the rules of which an instance was resolved: others may wait for them.
	ended map[parentKey]bool
	notes []catalog.DigestLine
}

type parentKey struct {
	project uint32
	rule    string
}

func (d *Desk) session(ctx context.Context, tx *catalog.Tx, organisation string, now time.Time) (*session, error) {
	book, err := d.bookOf(ctx, tx, organisation)
	if err != nil {
		return nil, err
	}
	return &session{Desk: d, tx: tx, book: book, now: now, incidents: map[string]*working{}, ended: map[parentKey]bool{}}, nil
}

// adopt makes an incident of its row, unless the session has it already.
func (s *session) adopt(row catalog.Incident) (*working, error) {
	if w, ok := s.incidents[row.ID]; ok {
		return w, nil
	}
	i := &incident.Incident{}
	if err := json.Unmarshal(row.Body, i); err != nil {
		return nil, fmt.Errorf("read incident %s: %w", row.ID, err)
	}
	w := &working{Incident: i, version: row.Version, dossier: row.Dossier, bad: badIn(i)}
	s.incidents[i.ID] = w
	s.order = append(s.order, w)
	return w, nil
}

// adoptAll is adopt for several, and returns those of the session that match then.
func (s *session) adoptAll(rows []catalog.Incident, match func(*working) bool) ([]*working, error) {
	for _, row := range rows {
		if _, err := s.adopt(row); err != nil {
			return nil, err
		}
	}
	var found []*working
	for _, w := range s.order {
		if match(w) {
			found = append(found, w)
		}
	}
	return found, nil
}

// badIn names the instances that are bad in an incident, each with its project.
func badIn(i *incident.Incident) map[name]bool {
	bad := map[name]bool{}
	if i.State != incident.Open {
		return bad
	}
	for _, list := range [][]incident.Instance{i.Instances, i.Causes} {
		for _, in := range list {
			if in.Open() {
				bad[nameOf(in)] = true
			}
		}
	}
	return bad
}

func (s *session) apply(ctx context.Context, signal incident.Signal) error {
	switch signal.Kind {
	case incident.Fire:
		return s.fire(ctx, signal)
	case incident.Resolve:
		return s.resolve(ctx, signal)
	default:
		s.note(signal)
		return nil
	}
}

// fire takes an instance to its incidents.
func (s *session) fire(ctx context.Context, signal incident.Signal) error {
	in := signal.Instance
	if signal.Late != "" && in.Severity == rule.Page && s.now.Sub(in.FiredAt) > tooLateToPage {
		in.Severity = rule.Ticket
		signal.Instance = in
	}
	if in.Class == rule.Cause && in.Severity != rule.Page {
		joined, err := s.joinSymptom(ctx, in)
		if err != nil || joined {
			return err
		}
	}
	for _, to := range s.book.Places(in) {
		w, err := s.find(ctx, in, to, signal.Again || signal.Flapping)
		if err != nil {
			return err
		}
		opening := w.State != incident.Open
		w.Fire(s.book, signal, s.now, &w.change)
		if opening && in.Class != rule.Cause && w.Severity == rule.Page {
			if err := s.takeCauses(ctx, w); err != nil {
				return err
			}
		}
		if w.HeldBy != "" {
			if err := s.affect(ctx, w); err != nil {
				return err
			}
		}
	}
	delete(s.ended, parentKey{in.Project, in.Rule})
	return s.rehold(ctx, in)
}

// find returns the open incident of a place, or the newest one where it is the same trouble again, or
// a new one.
func (s *session) find(ctx context.Context, in incident.Instance, to incident.Place, again bool) (*working, error) {
	key := routeKey(in, to)
	for _, w := range s.order {
		if w.State == incident.Open && w.Team == to.Team && w.RouteKey == key {
			return w, nil
		}
	}
	row, err := s.tx.NewestIncident(ctx, s.book.Organisation, to.Team, key)
	switch {
	case errors.Is(err, catalog.ErrNotFound):
	case err != nil:
		return nil, err
	default:
		w, err := s.adopt(row)
		if err != nil {
			return nil, err
		}
		if w.State == incident.Open || again && w.State == incident.Resolved && w.Knows(in.Key) {
			return w, nil
		}
	}
	number, err := s.tx.NextIncidentNumber(ctx)
	if err != nil {
		return nil, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return nil, err
	}
	labels := map[string]string{}
	for _, name := range to.GroupBy {
		if v := in.Labels[name]; v != "" {
			labels[name] = v
		}
	}
	w := &working{fresh: true, bad: map[name]bool{}, Incident: &incident.Incident{
		ID: id.String(), Number: number, Organisation: s.book.Organisation, Project: in.Project,
		Team: to.Team, RouteKey: key, Policy: to.Policy, Labels: labels,
	}}
	s.incidents[w.ID] = w
	s.order = append(s.order, w)
	return w, nil
}

// routeKey is what instances of one incident have in common.
func routeKey(in incident.Instance, to incident.Place) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d/", in.Project)
	if in.Group != "" {
		b.WriteString("group:" + in.Group)
		return b.String()
	}
	b.WriteString(to.Policy)
	for _, name := range to.GroupBy {
		fmt.Fprintf(&b, "/%s=%q", name, in.Labels[name])
	}
	return b.String()
}

// joinSymptom makes a cause part of the incident of a symptom of its service that began about when it
// did.
func (s *session) joinSymptom(ctx context.Context, in incident.Instance) (bool, error) {
	open, err := s.openOf(ctx, in.Project, in.Labels["service"])
	if err != nil {
		return false, err
	}
	for _, w := range open {
		if w.Severity == rule.Page && w.Symptom() && s.now.Sub(w.OpenedAt) <= incident.CauseWithin {
			w.Explain(in, s.now, &w.change)
			return true, nil
		}
	}
	return false, nil
}

// takeCauses makes the causes of the last minutes part of a symptom's incident, if nobody has been told
// of them yet.
func (s *session) takeCauses(ctx context.Context, w *working) error {
	open, err := s.openOf(ctx, w.Project, w.Labels["service"])
	if err != nil {
		return err
	}
	for _, cause := range open {
		if cause != w && cause.Untold() && cause.OnlyCauses() && s.now.Sub(cause.OpenedAt) <= incident.CauseWithin {
			cause.MergeInto(w.Incident, s.now, &cause.change, &w.change)
		}
	}
	return nil
}

// openOf returns the open incidents of a service, those of this session included.
func (s *session) openOf(ctx context.Context, project uint32, service string) ([]*working, error) {
	if service == "" {
		return nil, nil
	}
	rows, err := s.tx.OpenIncidentsOf(ctx, project, service)
	if err != nil {
		return nil, err
	}
	return s.adoptAll(rows, func(w *working) bool {
		return w.State == incident.Open && w.Project == project && w.Labels["service"] == service
	})
}

// affect tells the incident of a parent which incident waits for it.
func (s *session) affect(ctx context.Context, child *working) error {
	parents, err := s.openOfRule(ctx, child.Project, child.HeldBy)
	if err != nil {
		return err
	}
	for _, p := range parents {
		p.Affects(child.Incident)
	}
	return nil
}

// openOfRule returns the incidents in which a rule is bad.
func (s *session) openOfRule(ctx context.Context, project uint32, name string) ([]*working, error) {
	rows, err := s.tx.IncidentsOfRule(ctx, project, name)
	if err != nil {
		return nil, err
	}
	return s.adoptAll(rows, func(w *working) bool { return w.Project == project && w.OpenInstance(name) })
}

// rehold keeps those waiting that were about to be let go, since their parent is bad again.
func (s *session) rehold(ctx context.Context, in incident.Instance) error {
	if in.Rule == "" {
		return nil
	}
	held, err := s.heldBy(ctx, in.Project, in.Rule)
	if err != nil {
		return err
	}
	for _, w := range held {
		w.Hold(in.Rule)
	}
	return nil
}

func (s *session) heldBy(ctx context.Context, project uint32, name string) ([]*working, error) {
	rows, err := s.tx.IncidentsHeldBy(ctx, project, name)
	if err != nil {
		return nil, err
	}
	return s.adoptAll(rows, func(w *working) bool { return w.State == incident.Open && w.Project == project && w.HeldBy == name })
}

// resolve takes the end of an instance to the incidents in which it is bad.
func (s *session) resolve(ctx context.Context, signal incident.Signal) error {
	in := signal.Instance
	rows, err := s.tx.IncidentsOfInstance(ctx, in.Project, in.Key)
	if err != nil {
		return err
	}
	for _, row := range rows {
		if _, err := s.adopt(row); err != nil {
			return err
		}
	}
	for _, w := range slices.Clone(s.order) {
		if w.State == incident.Open && w.Project == in.Project && w.Bad(in.Key) {
			w.Resolve(s.book, signal, s.now, &w.change)
		}
	}
	if in.Rule != "" {
		s.ended[parentKey{in.Project, in.Rule}] = true
	}
	return nil
}

// note makes a line of the digest.
func (s *session) note(signal incident.Signal) {
	in := signal.Instance
	l := in.Line()
	l.Section, l.Text, l.To, l.Worst = signal.Section, signal.Text, signal.At, signal.Worst
	for _, to := range s.book.Places(in) {
		s.line(in.Project, to.Team, in.Key+"@"+strconv.FormatInt(signal.At.Unix(), 10), l)
	}
}

// line adds a line to a team's digest. The same id once more is the same line.
func (s *session) line(project uint32, team, id string, l incident.Line) {
	body, err := json.Marshal(l)
	if err != nil {
		return // a Line has nothing in it that cannot be written
	}
	id = uuid.NewSHA1(uuid.NameSpaceOID, []byte(s.book.Organisation+"|"+strconv.FormatUint(uint64(project), 10)+"|"+team+"|"+l.Section+"|"+id)).String()
	s.notes = append(s.notes, catalog.DigestLine{
		ID: id, Organisation: s.book.Organisation, Project: project, Team: team, At: s.now, Section: l.Section, Body: body,
	})
}

// save writes the incidents that were changed, their timelines and what is to be sent.
func (s *session) save(ctx context.Context) error {
	for _, key := range slices.SortedFunc(maps.Keys(s.ended), func(a, b parentKey) int {
		return cmp.Or(cmp.Compare(a.project, b.project), cmp.Compare(a.rule, b.rule))
	}) {
		if err := s.release(ctx, key); err != nil {
			return err
		}
	}
	if err := s.respawn(ctx); err != nil {
		return err
	}
	if err := s.post(ctx); err != nil {
		return err
	}
	for _, w := range s.order {
		if err := s.keep(ctx, w); err != nil {
			return err
		}
	}
	for _, l := range s.notes {
		if err := s.tx.AddDigestLine(ctx, l); err != nil {
			return err
		}
	}
	return nil
}

// release lets those go that waited for a rule, unless another instance of it is still bad.
func (s *session) release(ctx context.Context, key parentKey) error {
	held, err := s.heldBy(ctx, key.project, key.rule)
	if err != nil || len(held) == 0 {
		return err
	}
	still, err := s.openOfRule(ctx, key.project, key.rule)
	if err != nil || len(still) > 0 {
		return err
	}
	for _, w := range held {
		w.Release(key.rule, s.now)
	}
	return nil
}

// respawn gives causes that are still bad after their symptom incidents of their own.
func (s *session) respawn(ctx context.Context) error {
	for _, w := range slices.Clone(s.order) {
		for _, in := range w.change.Left {
			if err := s.fire(ctx, incident.Signal{Kind: incident.Fire, Instance: in, At: s.now}); err != nil {
				return err
			}
		}
		w.change.Left = nil
	}
	return nil
}

// keep writes one incident.
func (s *session) keep(ctx context.Context, w *working) error {
	body, err := json.Marshal(w.Incident)
	if err != nil {
		return fmt.Errorf("write incident %s: %w", w.ID, err)
	}
	row := catalog.Incident{
		ID: w.ID, Number: w.Number, Organisation: w.Organisation, Project: w.Project, Team: w.Team, RouteKey: w.RouteKey,
		State: string(w.State), Severity: string(w.Severity), Title: w.Title, Service: w.Labels["service"], HeldBy: w.HeldBy,
		OpenedAt: w.OpenedAt, Since: w.Since, ResolvedAt: w.ResolvedAt, AckedAt: w.AckedAt, AckedBy: w.AckedBy,
		NextAt: w.NextAt(), Version: w.version + 1, Body: body, Dossier: w.dossier,
	}
	if err := s.tx.PutIncident(ctx, row); err != nil {
		return err
	}
	bad := badIn(w.Incident)
	for n := range bad {
		if !w.bad[n] {
			if err := s.tx.PutInstance(ctx, n.project, n.key, w.ID); err != nil {
				return err
			}
		}
	}
	for n := range w.bad {
		if !bad[n] {
			if err := s.tx.DropInstance(ctx, n.project, n.key, w.ID); err != nil {
				return err
			}
		}
	}
	for n, e := range w.change.Entries {
		id := fmt.Sprintf("%s:%08d:%04d", w.ID, row.Version, n) // in order, and the same in another attempt
		if n == 0 && w.first != "" {
			id = w.first
		}
		if err := s.tx.AddIncidentEntry(ctx, catalog.IncidentEntry{ID: id, Incident: w.ID, At: e.At, Kind: e.Kind, Person: e.Person, Text: e.Text}); err != nil {
			return err
		}
	}
	for n, l := range w.change.Lines {
		s.line(w.Project, w.Team, fmt.Sprintf("%s|%d|%d", w.ID, row.Version, n), l)
	}
	return nil
}
