package console

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/midwatch/midwatch/alerts/incident"
	"github.com/midwatch/midwatch/alerts/oncall"
	"github.com/midwatch/midwatch/alerts/rule"
	"github.com/midwatch/midwatch/services/access"
	"github.com/midwatch/midwatch/storage/catalog"
)

// documentID is the shape of the ids that people give to what they configure.
var documentID = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,99}$`)

// appliedFromFile is who changed a document that came by `midwatch rules apply`.
const appliedFromFile = "rules apply"

// kind is one kind of what an organisation configures: how its documents are checked, and whom they
// name.
type kind[T interface{ Validate() error }] struct {
	doc   string // of the catalog
	words string // "escalation policy"
	head  func(*T) (id, name *string)
	names func(T) []reference
}

// reference says that a field of a document names another document.
type reference struct{ field, doc, id string }

var (
	teams = kind[oncall.Team]{incident.DocTeam, "team",
		func(t *oncall.Team) (id, name *string) { return &t.ID, &t.Name },
		func(t oncall.Team) []reference {
			named := each("members", incident.DocPerson, t.Members)
			named = append(named, each("tickets", incident.DocReceiver, t.Tickets)...)
			named = append(named, each("mails", incident.DocReceiver, t.Mails)...)
			return append(named, reference{"policy", incident.DocPolicy, t.Policy})
		}}
	people = kind[oncall.Person]{incident.DocPerson, "person",
		func(p *oncall.Person) (id, name *string) { return &p.ID, &p.Name },
		func(p oncall.Person) (named []reference) {
			for i, c := range p.Contacts {
				named = append(named, reference{fmt.Sprintf("contacts[%d].receiver", i), incident.DocReceiver, c.Receiver})
			}
			return named
		}}
	schedules = kind[oncall.Schedule]{incident.DocSchedule, "on-call schedule",
		func(s *oncall.Schedule) (id, name *string) { return &s.ID, &s.Name },
		func(s oncall.Schedule) (named []reference) {
			for i, l := range s.Layers {
				named = append(named, each(fmt.Sprintf("layers[%d].people", i), incident.DocPerson, l.People)...)
			}
			for i, o := range s.Overrides {
				named = append(named, reference{fmt.Sprintf("overrides[%d].person", i), incident.DocPerson, o.Person})
			}
			return named
		}}
	policies = kind[oncall.Policy]{incident.DocPolicy, "escalation policy",
		func(p *oncall.Policy) (id, name *string) { return &p.ID, &p.Name },
		func(p oncall.Policy) []reference {
			docs := map[string]string{oncall.ToSchedule: incident.DocSchedule, oncall.ToPerson: incident.DocPerson, oncall.ToReceiver: incident.DocReceiver}
			named := each("exhausted_receivers", incident.DocReceiver, p.ExhaustedReceivers)
			for i, step := range p.Steps {
				for n, t := range step.Targets {
					named = append(named, reference{fmt.Sprintf("steps[%d].targets[%d].id", i, n), docs[t.Kind], t.ID})
				}
			}
			return named
		}}
	routes = kind[oncall.Routes]{incident.DocRoutes, "routes",
		func(*oncall.Routes) (id, name *string) { return new(incident.RoutesID), new("Routes") },
		func(r oncall.Routes) []reference { return routesName("routes", r.Routes) }}
	windows = kind[oncall.Window]{incident.DocWindow, "maintenance window",
		func(w *oncall.Window) (id, name *string) { return &w.ID, &w.Name },
		func(oncall.Window) []reference { return nil }}
)

// documentWords are the kinds as people call them.
var documentWords = map[string]string{
	incident.DocReceiver: "receiver", incident.DocTeam: teams.words, incident.DocPerson: people.words, incident.DocSchedule: schedules.words,
	incident.DocPolicy: policies.words, incident.DocRoutes: routes.words, incident.DocRule: "rule",
}

func each(field, doc string, ids []string) []reference {
	named := make([]reference, len(ids))
	for i, id := range ids {
		named[i] = reference{fmt.Sprintf("%s[%d]", field, i), doc, id}
	}
	return named
}

func routesName(field string, all []oncall.Route) (named []reference) {
	for i, r := range all {
		at := fmt.Sprintf("%s[%d]", field, i)
		named = append(named, reference{at + ".team", incident.DocTeam, r.Team}, reference{at + ".policy", incident.DocPolicy, r.Policy})
		named = append(named, routesName(at+".routes", r.Routes)...)
	}
	return named
}

// named returns what a document names. One that cannot be read names nothing.
func (k kind[T]) named(body []byte) []reference {
	var v T
	if json.Unmarshal(body, &v) != nil {
		return nil
	}
	return k.names(v)
}

func namedBy(d catalog.Document) []reference {
	switch d.Kind {
	case incident.DocTeam:
		return teams.named(d.Body)
	case incident.DocPerson:
		return people.named(d.Body)
	case incident.DocSchedule:
		return schedules.named(d.Body)
	case incident.DocPolicy:
		return policies.named(d.Body)
	case incident.DocRoutes:
		return routes.named(d.Body)
	case incident.DocReceiver:
		return receiverKind.named(d.Body)
	case incident.DocRule:
		var r rule.Rule
		if json.Unmarshal(d.Body, &r) == nil {
			return []reference{{"team", incident.DocTeam, r.Team}}
		}
	}
	return nil
}

// shelf is everything that an organisation has configured about who is told.
type shelf struct {
	there map[reference]bool // without fields
	users map[reference][]string
}

// shelfOf reads it. A document that is about to be replaced still stands there.
func shelfOf(ctx context.Context, tx *catalog.Tx, organisation string) (shelf, error) {
	documents, err := tx.DocumentsOfOrganisation(ctx, organisation)
	if err != nil {
		return shelf{}, err
	}
	rules, err := tx.DocumentsOfKind(ctx, organisation, incident.DocRule)
	if err != nil {
		return shelf{}, err
	}
	s := shelf{there: map[reference]bool{}, users: map[reference][]string{}}
	for _, d := range append(documents, rules...) {
		s.there[reference{doc: d.Kind, id: d.ID}] = true
		user := documentWords[d.Kind] + " " + cmp.Or(d.Name, d.ID)
		if d.Kind == incident.DocRoutes {
			user = "the routes"
		}
		for _, to := range namedBy(d) {
			at := reference{doc: to.doc, id: to.id}
			if to.id != "" && !slices.Contains(s.users[at], user) {
				s.users[at] = append(s.users[at], user)
			}
		}
	}
	return s, nil
}

// usersOf says in words who names a document; never nil.
func (s shelf) usersOf(doc, id string) []string {
	return append([]string{}, s.users[reference{doc: doc, id: id}]...)
}

// missing are the problems of references to what is not there.
func (s shelf) missing(named []reference) (problems []access.Problem) {
	for _, to := range named {
		if to.id != "" && !s.there[reference{doc: to.doc, id: to.id}] {
			problems = append(problems, access.Problem{Field: to.field, Message: fmt.Sprintf("there is no %s %q", documentWords[to.doc], to.id)})
		}
	}
	return problems
}

// organisation returns the organisation of a project that the caller may see.
func (s *Server) organisation(ctx context.Context, project uint32) (string, error) {
	p, err := s.guard.Project(ctx, project)
	return p.OrganisationID, err
}

// actor is who calls, in words for a person.
func actor(ctx context.Context) string {
	p, _ := access.From(ctx)
	switch {
	case p.User != nil:
		return p.User.Email
	case p.Token != nil:
		return strings.TrimSpace("API token " + p.Token.Name)
	}
	return ""
}

// change is how a document is put: which version it replaces, and whether it comes from a file.
type change struct {
	version *int64
	source  string
}

func (c change) by(ctx context.Context) string {
	if c.source == "apply" {
		return appliedFromFile
	}
	return actor(ctx)
}

func (c change) replaces() int64 {
	if c.version == nil {
		return catalog.AnyVersion
	}
	return *c.version
}

// identify gives a document the id of its address.
func identify(id string, own *string) error {
	switch {
	case !documentID.MatchString(id):
		return access.Invalid("id: up to 100 lower-case letters, digits, - and _, of which the first is a letter or a digit")
	case *own != "" && *own != id:
		return access.Invalid("id: it is %q in the body and %q in the address", *own, id)
	}
	*own = id
	return nil
}

// put makes or changes a document of the project's organisation.
func put[T interface{ Validate() error }](ctx context.Context, s *Server, k kind[T], project uint32, id string, c change, v T) (stored[T], error) {
	organisation, err := s.organisation(ctx, project)
	if err != nil {
		return stored[T]{}, err
	}
	own, name := k.head(&v)
	if err := identify(id, own); err != nil {
		return stored[T]{}, err
	}
	if err := v.Validate(); err != nil {
		return stored[T]{}, access.Unprocessable(problemOf(err))
	}
	body, err := json.Marshal(v)
	if err != nil {
		return stored[T]{}, fmt.Errorf("write %s %q: %w", k.words, id, err)
	}
	out := stored[T]{value: v}
	err = s.db.InTx(ctx, func(tx *catalog.Tx) error {
		shelf, err := shelfOf(ctx, tx, organisation)
		if err != nil {
			return err
		}
		if problems := shelf.missing(k.names(v)); len(problems) > 0 {
			return access.Unprocessable(problems...)
		}
		out.used = shelf.usersOf(k.doc, id)
		out.document, err = tx.PutDocument(ctx, catalog.Document{
			Organisation: organisation, Kind: k.doc, ID: id, Name: *name, Body: body, UpdatedBy: c.by(ctx),
		}, c.replaces())
		return err
	})
	return out, refusal(err, k.words, id)
}

// problemOf is an error whose message begins with the field that it is about.
func problemOf(err error) access.Problem {
	field, message, ok := strings.Cut(err.Error(), ": ")
	if !ok {
		return access.Problem{Message: err.Error()}
	}
	return access.Problem{Field: field, Message: message}
}

// refusal is what the catalog's error means to the caller.
func refusal(err error, words, id string) error {
	switch {
	case errors.Is(err, catalog.ErrConflict):
		return access.Conflict("the %s %q is not what you changed any more: read it again, for somebody else was first", words, id)
	case errors.Is(err, catalog.ErrLimit):
		return access.Conflict("there are %d of this kind, more are not possible", catalog.MaxDocuments)
	case errors.Is(err, catalog.ErrNotFound):
		return access.NotFound("there is no %s %q", words, id)
	}
	return err
}

// remove deletes a document that nobody names.
func (s *Server) remove(ctx context.Context, doc string, project uint32, id string) error {
	organisation, err := s.organisation(ctx, project)
	if err != nil {
		return err
	}
	err = s.db.InTx(ctx, func(tx *catalog.Tx) error {
		shelf, err := shelfOf(ctx, tx, organisation)
		if err != nil {
			return err
		}
		if users := shelf.usersOf(doc, id); len(users) > 0 {
			return access.Conflict("the %s %q is named by %s: change that first", documentWords[doc], id, enumerate(users))
		}
		return tx.DeleteDocument(ctx, organisation, doc, 0, id)
	})
	return refusal(err, cmp.Or(documentWords[doc], doc), id)
}

// enumerate lists names in a sentence.
func enumerate(names []string) string {
	const shown = 5
	if more := len(names) - shown; more > 0 {
		names = append(slices.Clone(names[:shown]), fmt.Sprintf("%d more", more))
	}
	if len(names) == 1 {
		return names[0]
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}

// stored is a document as it is kept.
type stored[T any] struct {
	document catalog.Document
	value    T
	used     []string
}

// list returns the documents of a kind by name. One that cannot be read is left out: it was written
// by a newer Midwatch.
func list[T interface{ Validate() error }](ctx context.Context, s *Server, k kind[T], project uint32) ([]stored[T], error) {
	organisation, err := s.organisation(ctx, project)
	if err != nil {
		return nil, err
	}
	documents, err := s.db.Documents(ctx, organisation, k.doc, 0)
	if err != nil {
		return nil, err
	}
	var shelf shelf
	err = s.db.InTx(ctx, func(tx *catalog.Tx) (err error) {
		shelf, err = shelfOf(ctx, tx, organisation)
		return err
	})
	if err != nil {
		return nil, err
	}
	all := make([]stored[T], 0, len(documents))
	for _, d := range documents {
		one := stored[T]{document: d, used: shelf.usersOf(k.doc, d.ID)}
		if err := json.Unmarshal(d.Body, &one.value); err != nil {
			s.log.Warn("document left out", "kind", d.Kind, "document", d.ID, "err", err)
			continue
		}
		all = append(all, one)
	}
	return all, nil
}

// metaOf is what all documents have.
func metaOf(d catalog.Document) DocumentMeta {
	return DocumentMeta{Id: d.ID, Name: d.Name, Version: d.Version, CreatedAt: d.CreatedAt, UpdatedAt: d.UpdatedAt, UpdatedBy: d.UpdatedBy}
}

// as turns each of the stored into its answer; never nil.
func as[T, U any](all []stored[T], one func(stored[T]) U) []U {
	out := make([]U, len(all))
	for i, s := range all {
		out[i] = one(s)
	}
	return out
}
