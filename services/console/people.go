package console

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/midwatch/midwatch/alerts/incident"
	"github.com/midwatch/midwatch/alerts/match"
	"github.com/midwatch/midwatch/alerts/oncall"
	"github.com/midwatch/midwatch/services/access"
	"github.com/midwatch/midwatch/storage/catalog"
)

const (
	// maxCalendar is how much of a schedule is asked for at once.
	maxCalendar = 366 * 24 * time.Hour
	// silenceShown is how long an ended silence is still listed.
	silenceShown = 7 * 24 * time.Hour
	// previewed is how far back a preview of a silence looks.
	previewed = 7 * 24 * time.Hour
)

func storedTeam(s stored[oncall.Team]) StoredTeam {
	return StoredTeam{Meta: metaOf(s.document), Team: s.value, UsedBy: s.used}
}

// ListTeams answers with the teams of the project's organisation.
func (s *Server) ListTeams(ctx context.Context, r ListTeamsRequestObject) (ListTeamsResponseObject, error) {
	all, err := list(ctx, s, teams, r.Project)
	return ListTeams200JSONResponse{Teams: as(all, storedTeam)}, err
}

// PutTeam makes or changes a team.
func (s *Server) PutTeam(ctx context.Context, r PutTeamRequestObject) (PutTeamResponseObject, error) {
	kept, err := put(ctx, s, teams, r.Project, r.Id, change{r.Params.Version, text(r.Params.Source)}, *r.Body)
	return PutTeam200JSONResponse(storedTeam(kept)), err
}

// DeleteTeam removes a team.
func (s *Server) DeleteTeam(ctx context.Context, r DeleteTeamRequestObject) (DeleteTeamResponseObject, error) {
	return DeleteTeam204Response{}, s.remove(ctx, incident.DocTeam, r.Project, r.Id)
}

func storedPerson(s stored[oncall.Person]) StoredPerson {
	return StoredPerson{Meta: metaOf(s.document), Person: s.value, UsedBy: s.used}
}

// ListPeople answers with the people that can be told.
func (s *Server) ListPeople(ctx context.Context, r ListPeopleRequestObject) (ListPeopleResponseObject, error) {
	all, err := list(ctx, s, people, r.Project)
	return ListPeople200JSONResponse{People: as(all, storedPerson)}, err
}

// PutPerson makes or changes a person.
func (s *Server) PutPerson(ctx context.Context, r PutPersonRequestObject) (PutPersonResponseObject, error) {
	kept, err := put(ctx, s, people, r.Project, r.Id, change{r.Params.Version, text(r.Params.Source)}, *r.Body)
	return PutPerson200JSONResponse(storedPerson(kept)), err
}

// DeletePerson removes a person.
func (s *Server) DeletePerson(ctx context.Context, r DeletePersonRequestObject) (DeletePersonResponseObject, error) {
	return DeletePerson204Response{}, s.remove(ctx, incident.DocPerson, r.Project, r.Id)
}

func storedSchedule(s stored[oncall.Schedule]) StoredSchedule {
	out := StoredSchedule{Meta: metaOf(s.document), Schedule: s.value, UsedBy: s.used}
	if shift, ok := s.value.OnCall(time.Now()); ok {
		out.Now = &shift
	}
	return out
}

// ListSchedules answers with the on-call schedules.
func (s *Server) ListSchedules(ctx context.Context, r ListSchedulesRequestObject) (ListSchedulesResponseObject, error) {
	all, err := list(ctx, s, schedules, r.Project)
	return ListSchedules200JSONResponse{Schedules: as(all, storedSchedule)}, err
}

// PutSchedule makes or changes an on-call schedule.
func (s *Server) PutSchedule(ctx context.Context, r PutScheduleRequestObject) (PutScheduleResponseObject, error) {
	kept, err := put(ctx, s, schedules, r.Project, r.Id, change{r.Params.Version, text(r.Params.Source)}, *r.Body)
	return PutSchedule200JSONResponse(storedSchedule(kept)), err
}

// DeleteSchedule removes an on-call schedule.
func (s *Server) DeleteSchedule(ctx context.Context, r DeleteScheduleRequestObject) (DeleteScheduleResponseObject, error) {
	return DeleteSchedule204Response{}, s.remove(ctx, incident.DocSchedule, r.Project, r.Id)
}

// ListShifts answers with who is on call, and where nobody is.
func (s *Server) ListShifts(ctx context.Context, r ListShiftsRequestObject) (ListShiftsResponseObject, error) {
	organisation, err := s.organisation(ctx, r.Project)
	if err != nil {
		return nil, err
	}
	if err := span(r.Params.From, r.Params.To, maxCalendar); err != nil {
		return nil, err
	}
	d, err := s.db.Document(ctx, organisation, incident.DocSchedule, 0, r.Id)
	if err != nil {
		return nil, refusal(err, incident.DocSchedule, r.Id)
	}
	var schedule oncall.Schedule
	if err := json.Unmarshal(d.Body, &schedule); err != nil {
		return nil, err
	}
	out := ListShifts200JSONResponse{
		Shifts: append([]oncall.Shift{}, schedule.Shifts(r.Params.From, r.Params.To)...),
		Gaps:   append([]oncall.Span{}, schedule.Gaps(r.Params.From, r.Params.To)...),
	}
	if shift, ok := schedule.OnCall(time.Now()); ok {
		out.Now = &shift
	}
	return out, nil
}

// span checks a range of time.
func span(from, to time.Time, most time.Duration) error {
	switch {
	case !from.Before(to):
		return access.Invalid("to: it is not after from")
	case to.Sub(from) > most:
		return access.Invalid("to: at most %d days after from", int(most/(24*time.Hour)))
	}
	return nil
}

func storedPolicy(s stored[oncall.Policy]) StoredPolicy {
	return StoredPolicy{Meta: metaOf(s.document), Policy: s.value, UsedBy: s.used}
}

// ListPolicies answers with the escalation policies.
func (s *Server) ListPolicies(ctx context.Context, r ListPoliciesRequestObject) (ListPoliciesResponseObject, error) {
	all, err := list(ctx, s, policies, r.Project)
	return ListPolicies200JSONResponse{Policies: as(all, storedPolicy)}, err
}

// PutPolicy makes or changes an escalation policy.
func (s *Server) PutPolicy(ctx context.Context, r PutPolicyRequestObject) (PutPolicyResponseObject, error) {
	kept, err := put(ctx, s, policies, r.Project, r.Id, change{r.Params.Version, text(r.Params.Source)}, *r.Body)
	return PutPolicy200JSONResponse(storedPolicy(kept)), err
}

// DeletePolicy removes an escalation policy.
func (s *Server) DeletePolicy(ctx context.Context, r DeletePolicyRequestObject) (DeletePolicyResponseObject, error) {
	return DeletePolicy204Response{}, s.remove(ctx, incident.DocPolicy, r.Project, r.Id)
}

func storedWindow(s stored[oncall.Window]) StoredWindow {
	out := StoredWindow{Meta: metaOf(s.document), Window: s.value}
	now := time.Now()
	if next, ok := s.value.Next(now); ok {
		out.Active, out.NextFrom, out.NextTo = next.Contains(now), &next.From, &next.To
	}
	return out
}

// ListWindows answers with the maintenance windows.
func (s *Server) ListWindows(ctx context.Context, r ListWindowsRequestObject) (ListWindowsResponseObject, error) {
	all, err := list(ctx, s, windows, r.Project)
	return ListWindows200JSONResponse{Windows: as(all, storedWindow)}, err
}

// PutWindow makes or changes a maintenance window.
func (s *Server) PutWindow(ctx context.Context, r PutWindowRequestObject) (PutWindowResponseObject, error) {
	kept, err := put(ctx, s, windows, r.Project, r.Id, change{r.Params.Version, text(r.Params.Source)}, *r.Body)
	return PutWindow200JSONResponse(storedWindow(kept)), err
}

// DeleteWindow removes a maintenance window.
func (s *Server) DeleteWindow(ctx context.Context, r DeleteWindowRequestObject) (DeleteWindowResponseObject, error) {
	return DeleteWindow204Response{}, s.remove(ctx, incident.DocWindow, r.Project, r.Id)
}

// GetRoutes answers with the tree of routes.
func (s *Server) GetRoutes(ctx context.Context, r GetRoutesRequestObject) (GetRoutesResponseObject, error) {
	all, err := list(ctx, s, routes, r.Project)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return GetRoutes200JSONResponse{Meta: DocumentMeta{Id: incident.RoutesID, Name: "Routes"}, Routes: oncall.Routes{Routes: []oncall.Route{}}}, nil
	}
	return GetRoutes200JSONResponse{Meta: metaOf(all[0].document), Routes: all[0].value}, nil
}

// PutRoutes replaces the tree of routes.
func (s *Server) PutRoutes(ctx context.Context, r PutRoutesRequestObject) (PutRoutesResponseObject, error) {
	kept, err := put(ctx, s, routes, r.Project, incident.RoutesID, change{r.Params.Version, text(r.Params.Source)}, *r.Body)
	return PutRoutes200JSONResponse{Meta: metaOf(kept.document), Routes: kept.value}, err
}

// silenceOf is the silence that somebody asks for.
func silenceOf(ctx context.Context, in NewSilence, now time.Time) (oncall.Silence, error) {
	silence := oncall.Silence{
		Matchers: match.Set(in.Matchers), From: now, To: in.To, Author: actor(ctx), Reason: in.Reason,
		UntilResolved: in.UntilResolved != nil && *in.UntilResolved,
	}
	if in.From != nil && in.From.After(now) {
		silence.From = *in.From
	}
	if err := silence.Validate(); err != nil {
		return silence, access.Unprocessable(problemOf(err))
	}
	return silence, nil
}

func storedSilence(d catalog.Document, v oncall.Silence, now time.Time) StoredSilence {
	out := StoredSilence{Meta: metaOf(d), Silence: v, State: Active}
	switch {
	case !now.Before(v.To):
		out.State = Ended
	case now.Before(v.From):
		out.State = Waiting
	}
	return out
}

// silences returns what there is, with what cannot be read left out.
func (s *Server) silences(ctx context.Context, organisation string) (map[string]oncall.Silence, []catalog.Document, error) {
	documents, err := s.db.Documents(ctx, organisation, incident.DocSilence, 0)
	if err != nil {
		return nil, nil, err
	}
	all := make(map[string]oncall.Silence, len(documents))
	documents = slices.DeleteFunc(documents, func(d catalog.Document) bool {
		var v oncall.Silence
		if json.Unmarshal(d.Body, &v) != nil {
			return true
		}
		all[d.ID] = v
		return false
	})
	return all, documents, nil
}

// ListSilences answers with the silences that hold, will, or did lately.
func (s *Server) ListSilences(ctx context.Context, r ListSilencesRequestObject) (ListSilencesResponseObject, error) {
	organisation, err := s.organisation(ctx, r.Project)
	if err != nil {
		return nil, err
	}
	all, documents, err := s.silences(ctx, organisation)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	out := []StoredSilence{}
	for _, d := range documents {
		if v := all[d.ID]; now.Sub(v.To) < silenceShown {
			out = append(out, storedSilence(d, v, now))
		}
	}
	slices.SortFunc(out, func(a, b StoredSilence) int { return b.Silence.To.Compare(a.Silence.To) })
	return ListSilences200JSONResponse{Silences: out}, nil
}

// CreateSilence mutes what the conditions match.
func (s *Server) CreateSilence(ctx context.Context, r CreateSilenceRequestObject) (CreateSilenceResponseObject, error) {
	organisation, err := s.organisation(ctx, r.Project)
	if err != nil {
		return nil, err
	}
	now := time.Now().UTC()
	silence, err := silenceOf(ctx, *r.Body, now)
	if err != nil {
		return nil, err
	}
	silence.ID = uuid.Must(uuid.NewV7()).String()
	d, err := s.desk.Silence(ctx, organisation, silence, now)
	if err != nil {
		return nil, refusal(err, incident.DocSilence, silence.ID)
	}
	return CreateSilence201JSONResponse(storedSilence(d, silence, now)), nil
}

// PreviewSilence says what a silence would mute.
func (s *Server) PreviewSilence(ctx context.Context, r PreviewSilenceRequestObject) (PreviewSilenceResponseObject, error) {
	organisation, err := s.organisation(ctx, r.Project)
	if err != nil {
		return nil, err
	}
	now := time.Now().UTC()
	silence, err := silenceOf(ctx, *r.Body, now)
	if err != nil {
		return nil, err
	}
	rows, err := s.db.Incidents(ctx, catalog.IncidentFilter{Organisation: organisation, From: now.Add(-previewed), Limit: maxIncidents})
	if err != nil {
		return nil, err
	}
	out := PreviewSilence200JSONResponse{Now: []SilencedIncident{}, Past: []SilencedIncident{}}
	for _, row := range rows {
		i := s.incidentBody(row)
		one := SilencedIncident{Incident: incidentOf(row, i)}
		for _, in := range i.Instances {
			if silence.Matchers.Match(in.Labels) {
				one.Instances++
			}
		}
		switch {
		case one.Instances == 0:
		case row.State == catalog.IncidentOpen:
			out.Now = append(out.Now, one)
		default:
			out.Past = append(out.Past, one)
		}
	}
	return out, nil
}

// EndSilence ends a silence now.
func (s *Server) EndSilence(ctx context.Context, r EndSilenceRequestObject) (EndSilenceResponseObject, error) {
	organisation, err := s.organisation(ctx, r.Project)
	if err != nil {
		return nil, err
	}
	d, err := s.db.Document(ctx, organisation, incident.DocSilence, 0, r.Id)
	if err != nil {
		return nil, refusal(err, "silence", r.Id)
	}
	var silence oncall.Silence
	if err := json.Unmarshal(d.Body, &silence); err != nil {
		return nil, err
	}
	now := time.Now().UTC()
	switch {
	case !now.Before(silence.To):
		return nil, access.Conflict("this silence has ended already")
	case now.Before(silence.From):
		return EndSilence204Response{}, s.db.DeleteDocument(ctx, organisation, incident.DocSilence, 0, r.Id)
	}
	silence.To = now
	if d.Body, err = json.Marshal(silence); err != nil {
		return nil, err
	}
	d.UpdatedBy = actor(ctx)
	_, err = s.db.PutDocument(ctx, d, d.Version)
	return EndSilence204Response{}, refusal(err, "silence", r.Id)
}

// text is a text that may be absent.
func text[T ~string](t *T) string {
	if t == nil {
		return ""
	}
	return string(*t)
}
