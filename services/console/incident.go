package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/midwatch/midwatch/alerts/incident"
	"github.com/midwatch/midwatch/alerts/rule"
	"github.com/midwatch/midwatch/services/access"
	"github.com/midwatch/midwatch/storage/catalog"
)

const (
	maxIncidents     = 5000
	incidentsDefault = 200
	incidentsSince   = 7 * 24 * time.Hour
	maxNote          = 10_000
	maxReason        = 1000
	// unsent is how far back lines are looked for that no digest has taken.
	unsent = 31 * 24 * time.Hour
)

// incidentBody is what the machine knows of an incident; empty where it cannot be read.
func (s *Server) incidentBody(row catalog.Incident) incident.Incident {
	var i incident.Incident
	if err := json.Unmarshal(row.Body, &i); err != nil {
		s.log.Warn("incident not read", "incident", row.ID, "err", err)
	}
	return i
}

func incidentOf(row catalog.Incident, i incident.Incident) Incident {
	open := i.Dropped
	for _, in := range i.Instances {
		if in.Open() {
			open++
		}
	}
	return Incident{
		Id: row.ID, Number: row.Number, Project: row.Project, Team: row.Team, State: IncidentState(row.State),
		Severity: rule.Severity(row.Severity), Title: row.Title, Since: row.Since, OpenedAt: row.OpenedAt,
		ResolvedAt: unless(row.ResolvedAt), AcknowledgedAt: unless(row.AckedAt), AcknowledgedBy: unless(row.AckedBy), NextAt: unless(row.NextAt),
		Outcome: unless(i.Outcome), Flapping: unless(i.Flapping), FalseAlarm: unless(i.FalseAlarm), Late: unless(i.Late),
		Episode: unless(i.Episode), OpenInstances: &open,
	}
}

// ListIncidents answers with the incidents of a project.
func (s *Server) ListIncidents(ctx context.Context, r ListIncidentsRequestObject) (ListIncidentsResponseObject, error) {
	project, err := s.guard.Project(ctx, r.Project)
	if err != nil {
		return nil, err
	}
	f := catalog.IncidentFilter{
		Organisation: project.OrganisationID, Project: project.Number, From: time.Now().Add(-incidentsSince), Limit: incidentsDefault,
	}
	if r.Params.State != nil {
		if f.State = *r.Params.State; f.State != catalog.IncidentOpen && f.State != catalog.IncidentResolved {
			return nil, access.Invalid("state: open or resolved")
		}
	}
	if r.Params.From != nil {
		f.From = *r.Params.From
	}
	if r.Params.To != nil {
		f.To = *r.Params.To
	}
	if f.Limit, err = limit(r.Params.Limit, incidentsDefault); err != nil {
		return nil, err
	}
	rows, err := s.db.Incidents(ctx, f)
	if err != nil {
		return nil, err
	}
	out := make([]Incident, len(rows))
	for i, row := range rows {
		out[i] = incidentOf(row, s.incidentBody(row))
	}
	return ListIncidents200JSONResponse{Incidents: out}, nil
}

// limit is how many are asked for.
func limit(n *int, usual int) (int, error) {
	switch {
	case n == nil:
		return usual, nil
	case *n < 1 || *n > 1000:
		return 0, access.Invalid("limit: %d is not from 1 to 1000", *n)
	}
	return *n, nil
}

// incident returns an incident of a project that the caller may see.
func (s *Server) incident(ctx context.Context, project uint32, id string) (catalog.Incident, error) {
	p, err := s.guard.Project(ctx, project)
	if err != nil {
		return catalog.Incident{}, err
	}
	row, err := s.db.Incident(ctx, id)
	if errors.Is(err, catalog.ErrNotFound) || err == nil && (row.Organisation != p.OrganisationID || row.Project != p.Number && row.Project != 0) {
		return catalog.Incident{}, access.NotFound("there is no incident %q", id)
	}
	return row, err
}

// GetIncident answers with all that is known of an incident.
func (s *Server) GetIncident(ctx context.Context, r GetIncidentRequestObject) (GetIncidentResponseObject, error) {
	row, err := s.incident(ctx, r.Project, r.Incident)
	if err != nil {
		return nil, err
	}
	entries, err := s.db.IncidentEntries(ctx, row.ID)
	if err != nil {
		return nil, err
	}
	sent, err := s.db.Deliveries(ctx, catalog.OutboxFilter{Organisation: row.Organisation, Incident: row.ID, Limit: 1000})
	if err != nil {
		return nil, err
	}
	i := s.incidentBody(row)
	out := GetIncident200JSONResponse{
		Incident: incidentOf(row, i), Labels: i.Labels, Instances: i.Instances, Causes: append([]incident.Instance{}, i.Causes...),
		Affected: []AffectedIncident{}, Parent: unless(i.Parent), HeldBy: unless(i.HeldBy), WaitsFor: unless(i.WaitsFor), WaitUntil: unless(i.WaitUntil),
		Entries: make([]IncidentEntry, len(entries)), Deliveries: deliveriesOf(sent), Dossier: object(row.Dossier),
	}
	if out.Labels == nil {
		out.Labels = map[string]string{}
	}
	if out.Instances == nil {
		out.Instances = []incident.Instance{}
	}
	for _, a := range i.Affected {
		out.Affected = append(out.Affected, AffectedIncident{Incident: a.Incident, Name: a.Name})
	}
	for n, e := range entries {
		out.Entries[n] = IncidentEntry{Id: e.ID, At: e.At, Kind: e.Kind, Person: unless(e.Person), Text: e.Text}
	}
	slices.Reverse(out.Deliveries)
	return out, nil
}

// person is who acts on an incident: the id of the person with the caller's e-mail address, so that
// they can be reminded, or else the caller in words.
func (s *Server) person(ctx context.Context, organisation string) (string, error) {
	p, _ := access.From(ctx)
	if p.User == nil {
		return actor(ctx), nil
	}
	book, err := s.desk.Book(ctx, organisation)
	if err != nil {
		return "", err
	}
	if id := book.PersonOf(p.User.Email); id != "" {
		return id, nil
	}
	return p.User.Email, nil
}

// act does something to an open incident, in the caller's name.
func (s *Server) act(ctx context.Context, project uint32, id string, do func(person string, now time.Time) error) error {
	row, err := s.incident(ctx, project, id)
	if err != nil {
		return err
	}
	if row.State != catalog.IncidentOpen {
		return access.Conflict("this incident is over")
	}
	person, err := s.person(ctx, row.Organisation)
	if err != nil {
		return err
	}
	return do(person, time.Now().UTC())
}

// AcknowledgeIncident says that the caller looks after an incident.
func (s *Server) AcknowledgeIncident(ctx context.Context, r AcknowledgeIncidentRequestObject) (AcknowledgeIncidentResponseObject, error) {
	return AcknowledgeIncident204Response{}, s.act(ctx, r.Project, r.Incident, func(person string, now time.Time) error {
		return s.desk.Acknowledge(ctx, r.Incident, person, "", now)
	})
}

// EscalateIncident tells the next step now.
func (s *Server) EscalateIncident(ctx context.Context, r EscalateIncidentRequestObject) (EscalateIncidentResponseObject, error) {
	return EscalateIncident204Response{}, s.act(ctx, r.Project, r.Incident, func(person string, now time.Time) error {
		return s.desk.Escalate(ctx, r.Incident, person, now)
	})
}

// ResolveIncident ends an incident by hand.
func (s *Server) ResolveIncident(ctx context.Context, r ResolveIncidentRequestObject) (ResolveIncidentResponseObject, error) {
	var reason string
	if r.Body.Reason != nil {
		if reason = strings.TrimSpace(*r.Body.Reason); len([]rune(reason)) > maxReason {
			return nil, access.Invalid("reason: at most %d characters", maxReason)
		}
	}
	return ResolveIncident204Response{}, s.act(ctx, r.Project, r.Incident, func(person string, now time.Time) error {
		return s.desk.Close(ctx, r.Incident, person, reason, now)
	})
}

// MarkFalseAlarm says that nobody should have been told; of an incident that is over as well.
func (s *Server) MarkFalseAlarm(ctx context.Context, r MarkFalseAlarmRequestObject) (MarkFalseAlarmResponseObject, error) {
	row, err := s.incident(ctx, r.Project, r.Incident)
	if err != nil {
		return nil, err
	}
	person, err := s.person(ctx, row.Organisation)
	if err != nil {
		return nil, err
	}
	return MarkFalseAlarm204Response{}, s.desk.FalseAlarm(ctx, row.ID, person, time.Now().UTC())
}

// NoteIncident adds a note to the timeline, of an incident that is over as well.
func (s *Server) NoteIncident(ctx context.Context, r NoteIncidentRequestObject) (NoteIncidentResponseObject, error) {
	note := strings.TrimSpace(r.Body.Text)
	switch {
	case note == "":
		return nil, access.Invalid("text: a text is needed")
	case len(note) > maxNote:
		return nil, access.Invalid("text: at most %d bytes", maxNote)
	}
	row, err := s.incident(ctx, r.Project, r.Incident)
	if err != nil {
		return nil, err
	}
	person, err := s.person(ctx, row.Organisation)
	if err != nil {
		return nil, err
	}
	return NoteIncident204Response{}, s.desk.Comment(ctx, row.ID, person, note, time.Now().UTC())
}

func deliveriesOf(rows []catalog.OutboxRow) []Delivery {
	out := make([]Delivery, len(rows))
	for i, row := range rows {
		out[i] = Delivery{
			Key: row.Key, Incident: unless(row.Incident), Receiver: row.Receiver, Action: row.Action, Severity: rule.Severity(row.Severity),
			State: DeliveryState(row.State), CreatedAt: row.CreatedAt, DueAt: row.DueAt, DoneAt: unless(row.DoneAt), Attempts: row.Attempts,
			Uncertain: row.Uncertain, LastError: unless(row.LastError), Reference: unless(row.Reference), Title: unless(row.Title),
		}
	}
	return out
}

// ListDeliveries answers with the messages of the organisation.
func (s *Server) ListDeliveries(ctx context.Context, r ListDeliveriesRequestObject) (ListDeliveriesResponseObject, error) {
	organisation, err := s.organisation(ctx, r.Project)
	if err != nil {
		return nil, err
	}
	f := catalog.OutboxFilter{Organisation: organisation, Receiver: text(r.Params.Receiver), Incident: text(r.Params.Incident), State: text(r.Params.State)}
	if r.Params.State != nil && !r.Params.State.Valid() {
		return nil, access.Invalid("state: due, sending, done, withdrawn, failed or folded")
	}
	if f.Limit, err = limit(r.Params.Limit, 100); err != nil {
		return nil, err
	}
	rows, err := s.db.Deliveries(ctx, f)
	if err != nil {
		return nil, err
	}
	return ListDeliveries200JSONResponse{Deliveries: deliveriesOf(rows)}, nil
}

// GetDelivery answers with one message and its attempts.
func (s *Server) GetDelivery(ctx context.Context, r GetDeliveryRequestObject) (GetDeliveryResponseObject, error) {
	organisation, err := s.organisation(ctx, r.Project)
	if err != nil {
		return nil, err
	}
	row, err := s.db.Delivery(ctx, r.Key)
	if errors.Is(err, catalog.ErrNotFound) || err == nil && row.Organisation != organisation {
		return nil, access.NotFound("there is no delivery %q", r.Key)
	}
	if err != nil {
		return nil, err
	}
	attempts, err := s.db.Attempts(ctx, row.Key)
	if err != nil {
		return nil, err
	}
	out := GetDelivery200JSONResponse{Delivery: deliveriesOf([]catalog.OutboxRow{row})[0], Tries: make([]DeliveryTry, len(attempts)), Message: object(row.Message)}
	if out.Message != nil {
		if title, ok := (*out.Message)["title"].(string); ok {
			out.Delivery.Title = &title
		}
		delete(*out.Message, "buttons") // their links do what they say, whoever follows them
		delete(*out.Message, "reply_to")
	}
	for i, a := range attempts {
		out.Tries[i] = DeliveryTry{
			At: a.At, Number: a.Number, Code: unless(a.Code), TookMs: a.Took.Milliseconds(), Error: unless(a.Error), Excerpt: unless(a.Excerpt),
		}
	}
	return out, nil
}

// sections are those of the digest in the order in which they stand, with their titles.
var sections = []struct{ section, title string }{
	{incident.SectionHealed, "Healed by itself"},
	{incident.SectionUnseen, "Came and went while nobody evaluated"},
	{incident.SectionRecurring, "Heals by itself again and again"},
	{incident.SectionWithdrawn, "Healed before it was delivered"},
	{incident.SectionInconclusive, "Began, and then there was no data"},
	{incident.SectionHealth, "Rules that need a look"},
	{incident.SectionDelivery, "Receivers that could not be reached"},
	{incident.SectionMail, "Worth a mail"},
}

// GetDigest answers with what the next digest will say as of now.
func (s *Server) GetDigest(ctx context.Context, r GetDigestRequestObject) (GetDigestResponseObject, error) {
	organisation, err := s.organisation(ctx, r.Project)
	if err != nil {
		return nil, err
	}
	now := time.Now().UTC()
	out := GetDigest200JSONResponse{Sections: []DigestSection{}}
	id := text(r.Params.Team)
	if id != "" {
		book, err := s.desk.Book(ctx, organisation)
		if err != nil {
			return nil, err
		}
		team, ok := book.Teams[id]
		if !ok {
			return nil, access.NotFound("there is no team %q", id)
		}
		out.NextAt = unless(team.NextDigest(now))
	}
	lines, err := s.db.DigestLines(ctx, organisation, id, now.Add(-unsent), now.Add(time.Minute))
	if err != nil {
		return nil, err
	}
	for _, section := range sections {
		one := DigestSection{Section: DigestSectionSection(section.section), Title: section.title, Lines: []DigestLine{}}
		for _, l := range lines {
			if l.SentIn != "" || l.Section != section.section {
				continue
			}
			line := DigestLine{Id: l.ID, At: l.At, Project: l.Project, Team: l.Team, Details: object(l.Body)}
			if line.Details != nil {
				line.Text, _ = (*line.Details)["text"].(string)
			}
			one.Lines = append(one.Lines, line)
		}
		if len(one.Lines) > 0 {
			out.Sections = append(out.Sections, one)
		}
	}
	return out, nil
}

// GetAlerting answers with the account of evaluation.
func (s *Server) GetAlerting(ctx context.Context, _ GetAlertingRequestObject) (GetAlertingResponseObject, error) {
	if _, err := who(ctx); err != nil {
		return nil, err
	}
	now := time.Now().UTC()
	accounts, err := s.db.Accounts(ctx, now.Add(-24*time.Hour))
	if err != nil {
		return nil, err
	}
	out := GetAlerting200JSONResponse{Replicas: []string{}, Hours: []AlertingHour{}}
	for _, a := range accounts {
		at := a.Minute.Truncate(time.Hour)
		if n := len(out.Hours); n == 0 || !out.Hours[n-1].At.Equal(at) {
			out.Hours = append(out.Hours, AlertingHour{At: at})
		}
		hour := &out.Hours[len(out.Hours)-1]
		hour.Due, hour.Done, hour.Held, hour.Failed = hour.Due+a.Due, hour.Done+a.Done, hour.Held+a.Held, hour.Failed+a.Failed
		out.Due, out.Done, out.Held, out.Failed = out.Due+a.Due, out.Done+a.Done, out.Held+a.Held, out.Failed+a.Failed
		if now.Sub(a.Minute) < 5*time.Minute && !slices.Contains(out.Replicas, a.Replica) {
			out.Replicas = append(out.Replicas, a.Replica)
		}
		out.NewestAt = &a.Minute
	}
	out.Missing = out.Due - out.Done - out.Held - out.Failed
	if out.NewestAt != nil {
		out.LagSeconds = new(max(now.Sub(*out.NewestAt).Seconds(), 0))
	}
	if out.LastDrill, err = s.lastDrill(ctx, now); err != nil {
		return nil, err
	}
	return out, nil
}

// lastDrill is the newest fire drill as alerting keeps it, among the operator's notices; nil is none.
func (s *Server) lastDrill(ctx context.Context, now time.Time) (*FireDrill, error) {
	notices, err := s.db.Notices(ctx, 0, now.AddDate(0, 0, -30))
	if err != nil {
		return nil, err
	}
	for _, n := range notices {
		if n.Kind != "fire_drill" {
			continue
		}
		var drill FireDrill
		if err := json.Unmarshal([]byte(n.Details), &drill); err != nil {
			return nil, fmt.Errorf("read the fire drill: %w", err)
		}
		return &drill, nil
	}
	return nil, nil
}
