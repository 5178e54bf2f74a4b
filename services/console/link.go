package console

import (
	"cmp"
	_ "embed"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/midwatch/midwatch/alerts/desk"
	"github.com/midwatch/midwatch/alerts/incident"
	"github.com/midwatch/midwatch/storage/catalog"
)

//go:embed link.html
var linkHTML string

var linkTemplate = template.Must(template.New("link").Parse(linkHTML))

// linkPage is what the page of a link shows.
type linkPage struct {
	Heading string
	Text    string
	Title   string // of the incident
	State   string // of the incident
	Button  string // absent where there is nothing to do
	Page    string // of the incident, for those who can sign in
}

// linkWords are what links do: the question, the button, and what is said when it is done.
var linkWords = map[string]struct{ question, button, done string }{
	incident.LinkAcknowledge: {"Acknowledge this incident?", "Acknowledge", "Acknowledged"},
	incident.LinkEscalate:    {"Tell the next in line now?", "Escalate", "Escalated"},
	incident.LinkSilence:     {"Mute new messages about this for an hour?", "Silence for 1 h", "Silenced for 1 h"},
	incident.LinkFalseAlarm:  {"Close this incident as a false alarm?", "False alarm", "Closed as a false alarm"},
}

// mountLinks adds the pages of the links in messages. They need no sign-in: who has the link was sent
// it. Following a link changes nothing, since mail scanners follow links; its button does.
func (s *Server) mountLinks(e *echo.Echo) {
	e.GET("/a/:token", func(c echo.Context) error { return s.link(c, false) }, private)
	e.POST("/a/:token", func(c echo.Context) error { return s.link(c, true) }, private)
}

func (s *Server) link(c echo.Context, do bool) error {
	ctx, now := c.Request().Context(), time.Now().UTC()
	h := c.Response().Header()
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Robots-Tag", "noindex")
	l, err := incident.OpenLink(s.linkSecret, c.Param("token"), now)
	if errors.Is(err, incident.ErrLinkForged) {
		return render(c, http.StatusNotFound, linkPage{Heading: "This link is not valid", Text: "It may have been cut off on its way. Open the incident in Midwatch instead."})
	}
	row, missing := s.db.Incident(ctx, l.Incident)
	switch {
	case errors.Is(missing, catalog.ErrNotFound):
		return render(c, http.StatusNotFound, linkPage{Heading: "This incident is not there any more"})
	case missing != nil:
		return missing
	}
	page := linkPage{Title: row.Title, State: stateWords(row, now), Page: fmt.Sprintf("%s/p/%d/incidents/%s", s.urls.HTTP, row.Project, row.ID)}
	if errors.Is(err, incident.ErrLinkExpired) {
		page.Heading, page.Text = "This link is too old", "Links in messages work for seven days. Open the incident in Midwatch instead."
		return render(c, http.StatusGone, page)
	}
	words := linkWords[l.Action]
	switch {
	case row.State != catalog.IncidentOpen:
		page.Heading = "This incident is over"
		return render(c, http.StatusOK, page)
	case !do:
		page.Heading, page.Button = words.question, words.button
		return render(c, http.StatusOK, page)
	}
	const via = "a link in a message"
	err = s.desk.Do(ctx, row.ID, desk.Request{Action: l.Action, Person: cmp.Or(l.Person, "somebody with "+via), Via: via}, now)
	switch {
	case errors.Is(err, desk.ErrOver):
		page.Heading = "This incident is over"
		return render(c, http.StatusOK, page)
	case errors.Is(err, desk.ErrNoLabels):
		page.Heading, page.Text = "This did not work", "The incident has no labels by which it could be silenced. Make a silence in Midwatch instead."
		return render(c, http.StatusConflict, page)
	case errors.Is(err, catalog.ErrLimit):
		page.Heading, page.Text = "This did not work", fmt.Sprintf("There are %d silences, more are not possible.", catalog.MaxDocuments)
		return render(c, http.StatusConflict, page)
	case err != nil:
		return err
	}
	if row, err = s.db.Incident(ctx, row.ID); err != nil {
		return err
	}
	page.Heading, page.State = words.done, stateWords(row, now)
	return render(c, http.StatusOK, page)
}

func stateWords(row catalog.Incident, now time.Time) string {
	since := now.Sub(row.Since).Round(time.Minute)
	switch {
	case row.State != catalog.IncidentOpen:
		return "Resolved at " + row.ResolvedAt.UTC().Format("2 Jan 15:04 UTC")
	case !row.AckedAt.IsZero():
		return "Open, acknowledged by " + row.AckedBy
	}
	return "Open since " + row.Since.UTC().Format("2 Jan 15:04 UTC") + " (" + strings.TrimSuffix(since.String(), "0s") + ")"
}

func render(c echo.Context, status int, page linkPage) error {
	var b strings.Builder
	if err := linkTemplate.Execute(&b, page); err != nil {
		return fmt.Errorf("render the page of a link: %w", err)
	}
	return c.HTML(status, b.String())
}
