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
	"github.com/midwatch/midwatch/alerts/notify/receivers"
	"github.com/midwatch/midwatch/alerts/oncall"
	"github.com/midwatch/midwatch/services/access"
	"github.com/midwatch/midwatch/storage/catalog"
)

// documentID is the shape of the ids that people give to what they configure.
var documentID = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,99}$`)

// appliedFromFile is who changed a document that came by `midwatch rules apply`.
const appliedFromFile = "rules apply"

// kind is one kind of what an organisation configures.
type kind[T interface{ Validate() error }] struct {
	doc  string // of the catalog
	head func(*T) (id, name *string)
}

var (
	teams     = kind[oncall.Team]{incident.DocTeam, func(t *oncall.Team) (id, name *string) { return &t.ID, &t.Name }}
	people    = kind[oncall.Person]{incident.DocPerson, func(p *oncall.Person) (id, name *string) { return &p.ID, &p.Name }}
	schedules = kind[oncall.Schedule]{incident.DocSchedule, func(s *oncall.Schedule) (id, name *string) { return &s.ID, &s.Name }}
	policies  = kind[oncall.Policy]{incident.DocPolicy, func(p *oncall.Policy) (id, name *string) { return &p.ID, &p.Name }}
	windows   = kind[oncall.Window]{incident.DocWindow, func(w *oncall.Window) (id, name *string) { return &w.ID, &w.Name }}
	notifiers = kind[receivers.Receiver]{incident.DocReceiver, func(r *receivers.Receiver) (id, name *string) { return &r.ID, &r.Name }}
	routes    = kind[oncall.Routes]{incident.DocRoutes, func(*oncall.Routes) (id, name *string) { return new(incident.RoutesID), new("Routes") }}
)

// documentWords are the kinds as people call them.
var documentWords = map[string]string{
	incident.DocReceiver: "receiver", incident.DocTeam: "team", incident.DocPerson: "person", incident.DocSchedule: "on-call schedule",
	incident.DocPolicy: "escalation policy", incident.DocRoutes: "routes", incident.DocWindow: "maintenance window", incident.DocRule: "rule",
}

// shelf is everything that an organisation has configured about who is told.
type shelf struct {
	there map[place]bool
	users map[place][]string
}

// place is where a document stands.
type place struct{ doc, id string }

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
	s := shelf{there: map[place]bool{}, users: map[place][]string{}}
	for _, d := range append(documents, rules...) {
		s.there[place{d.Kind, d.ID}] = true
		user := documentWords[d.Kind] + " " + cmp.Or(d.Name, d.ID)
		if d.Kind == incident.DocRoutes {
			user = "the routes"
		}
		for _, to := range incident.References(d.Kind, d.Body) {
			at := place{to.Kind, to.ID}
			if !slices.Contains(s.users[at], user) {
				s.users[at] = append(s.users[at], user)
			}
		}
	}
	return s, nil
}

// usersOf says in words who names a document; never nil.
func (s shelf) usersOf(doc, id string) []string {
	return append([]string{}, s.users[place{doc, id}]...)
}

// missing are the problems of what a document names and is not there. Rules that name one another are
// those of one project, and judged with it.
func (s shelf) missing(doc string, body []byte) (problems []access.Problem) {
	for _, to := range incident.References(doc, body) {
		if to.Kind != incident.DocRule && !s.there[place{to.Kind, to.ID}] {
			problems = append(problems, access.Problem{Field: to.Field, Message: fmt.Sprintf("there is no %s %q", documentWords[to.Kind], to.ID)})
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
		return stored[T]{}, fmt.Errorf("write %s %q: %w", k.doc, id, err)
	}
	out := stored[T]{value: v}
	err = s.db.InTx(ctx, func(tx *catalog.Tx) error {
		shelf, err := shelfOf(ctx, tx, organisation)
		if err != nil {
			return err
		}
		if problems := shelf.missing(k.doc, body); len(problems) > 0 {
			return access.Unprocessable(problems...)
		}
		out.used = shelf.usersOf(k.doc, id)
		out.document, err = tx.PutDocument(ctx, catalog.Document{
			Organisation: organisation, Kind: k.doc, ID: id, Name: *name, Body: body, UpdatedBy: c.by(ctx),
		}, c.replaces())
		return err
	})
	return out, refusal(err, k.doc, id)
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
func refusal(err error, doc, id string) error {
	words := cmp.Or(documentWords[doc], doc)
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
	return refusal(err, doc, id)
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
