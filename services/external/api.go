package external

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/midwatch/midwatch/services/access"
	"github.com/midwatch/midwatch/storage/catalog"
)

// shown is how many alerts the API lists.
const shown = 1000

// Mount adds the routes of an Alertmanager's API to e: for those who send the ingest key in a header,
// and below /t/<ingest key> for those who can only set a path, such as
//
//	alertmanagers:
//	  - path_prefix: /t/<ingest key>
func (x *External) Mount(e *echo.Echo) {
	for _, prefix := range []string{"", "/t/:key"} {
		e.POST(prefix+"/api/v2/alerts", x.receive)
		e.GET(prefix+"/api/v2/alerts", x.alerts)
		e.GET(prefix+"/api/v2/alerts/groups", x.nothing)
		e.GET(prefix+"/api/v2/silences", x.nothing)
		e.GET(prefix+"/api/v2/receivers", x.receivers)
		e.GET(prefix+"/api/v2/status", x.status)
		e.GET(prefix+"/-/healthy", x.healthy)
		e.GET(prefix+"/-/ready", x.healthy)
	}
}

func (x *External) project(c echo.Context) (catalog.Project, error) {
	if key := c.Param("key"); key != "" {
		project, err := x.db.ProjectByKey(c.Request().Context(), key)
		if errors.Is(err, catalog.ErrNotFound) {
			return project, access.Unauthorized("no project has this ingest key")
		}
		return project, err
	}
	return access.ProjectOfKey(c.Request().Context(), x.db, c.Request())
}

// receive takes alerts in. Those that are wrong are refused with their numbers, beside them the good
// ones are kept.
func (x *External) receive(c echo.Context) error {
	project, err := x.project(c)
	if err != nil {
		return err
	}
	data, err := io.ReadAll(http.MaxBytesReader(c.Response(), c.Request().Body, maxBodyBytes))
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		return echo.NewHTTPError(http.StatusRequestEntityTooLarge, fmt.Sprintf("the body is larger than %d bytes", maxBodyBytes))
	}
	if err != nil {
		return access.Invalid("the body did not arrive whole")
	}
	var alerts []alert
	if err := json.Unmarshal(data, &alerts); err != nil {
		return access.Invalid("the body is no JSON array of alerts: %s", err)
	}
	if len(alerts) > maxAlerts {
		return access.Invalid("%d alerts are too many at once, %d is the limit", len(alerts), maxAlerts)
	}
	now := time.Now().UTC()
	good, wrong := alerts[:0], []string{}
	for i, a := range alerts {
		if err := a.complete(now); err != nil {
			wrong = append(wrong, fmt.Sprintf("alert %d: %s", i, err))
			continue
		}
		good = append(good, a)
	}
	if len(good) > 0 {
		err := x.take(c.Request().Context(), project, good, now)
		if errors.Is(err, errTooMany) {
			return access.RateLimited(time.Minute, "%s", errTooMany)
		}
		if err != nil {
			return err
		}
	}
	if len(wrong) > 0 {
		const most = 5
		text := strings.Join(wrong[:min(len(wrong), most)], "; ")
		if more := len(wrong) - most; more > 0 {
			text += fmt.Sprintf("; and %d more", more)
		}
		return access.Invalid("%s", text)
	}
	return c.NoContent(http.StatusOK)
}

// gettable is an alert as an Alertmanager lists it.
type gettable struct {
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations"`
	StartsAt     time.Time         `json:"startsAt"`
	EndsAt       time.Time         `json:"endsAt"`
	UpdatedAt    time.Time         `json:"updatedAt"`
	Fingerprint  string            `json:"fingerprint"`
	GeneratorURL string            `json:"generatorURL"`
	Receivers    []receiver        `json:"receivers"`
	Status       alertStatus       `json:"status"`
}

type receiver struct {
	Name string `json:"name"`
}

type alertStatus struct {
	State       string   `json:"state"`
	SilencedBy  []string `json:"silencedBy"`
	InhibitedBy []string `json:"inhibitedBy"`
	MutedBy     []string `json:"mutedBy"`
}

// alerts lists what fires.
func (x *External) alerts(c echo.Context) error {
	project, err := x.project(c)
	if err != nil {
		return err
	}
	rows, err := x.db.ExternalAlerts(c.Request().Context(), project.Number, shown)
	if err != nil {
		return err
	}
	out := make([]gettable, 0, len(rows))
	for _, row := range rows {
		var b body
		if err := json.Unmarshal(row.Body, &b); err != nil {
			x.log.Warn("alert not read", "project", project.Number, "alert", row.ID, "err", err)
			continue
		}
		if b.Annotations == nil {
			b.Annotations = map[string]string{}
		}
		out = append(out, gettable{
			Labels: b.Labels, Annotations: b.Annotations, StartsAt: row.StartsAt, EndsAt: row.EndsAt, UpdatedAt: row.UpdatedAt,
			Fingerprint: row.ID[:min(len(row.ID), 16)], GeneratorURL: b.GeneratorURL, Receivers: []receiver{{"midwatch"}},
			Status: alertStatus{State: "active", SilencedBy: []string{}, InhibitedBy: []string{}, MutedBy: []string{}},
		})
	}
	return c.JSON(http.StatusOK, out)
}

// nothing is what there is of an Alertmanager's own silences and groups: Midwatch has its own.
func (x *External) nothing(c echo.Context) error {
	if _, err := x.project(c); err != nil {
		return err
	}
	return c.JSON(http.StatusOK, []struct{}{})
}

func (x *External) receivers(c echo.Context) error {
	if _, err := x.project(c); err != nil {
		return err
	}
	return c.JSON(http.StatusOK, []receiver{{"midwatch"}})
}

// status says as much as clients look at before they go on.
func (x *External) status(c echo.Context) error {
	if _, err := x.project(c); err != nil {
		return err
	}
	return c.JSON(http.StatusOK, map[string]any{
		"cluster":     map[string]any{"status": "disabled", "peers": []struct{}{}},
		"config":      map[string]any{"original": ""},
		"uptime":      time.Now().UTC().Format(time.RFC3339),
		"versionInfo": map[string]string{"version": "0.28.0", "branch": "", "buildDate": "", "buildUser": "", "goVersion": "", "revision": ""},
	})
}

func (x *External) healthy(c echo.Context) error { return c.String(http.StatusOK, "OK") }
