package query

import (
	"context"
	"errors"
	"fmt"
	"html"
	"net/http"
	"strings"
	"unicode"

	"github.com/labstack/echo/v4"

	"github.com/midwatch/midwatch/storage/catalog"
)

const (
	// publicSeconds is for how long others may keep a badge or a status page.
	publicSeconds = 60
	// badgeLabel is how many characters of a name a badge shows.
	badgeLabel = 40
)

// standing is what a monitor comes to for those who only look at it from outside.
type standing string

const (
	standsUp     standing = "up"
	standsLate   standing = "late"
	standsDown   standing = "down"
	standsPaused standing = "paused"
	standsNew    standing = "new"
)

// colour is dark enough for white text to be read on it.
func (s standing) colour() string {
	switch s {
	case standsUp:
		return "2b7a3d"
	case standsLate:
		return "a85b00"
	case standsDown:
		return "c0322b"
	}
	return "66707a"
}

func standingOf(m catalog.Monitor) standing {
	switch m.State.Status {
	case catalog.MonitorOK, catalog.MonitorRunning:
		return standsUp
	case catalog.MonitorLate:
		return standsLate
	case catalog.MonitorFailed, catalog.MonitorMissed:
		return standsDown
	case catalog.MonitorPaused:
		return standsPaused
	}
	return standsNew
}

// standingOfAll is the worst of several; those that wait or are paused count only where there are no
// others.
func standingOfAll(monitors []catalog.Monitor) standing {
	count := map[standing]int{}
	for _, m := range monitors {
		count[standingOf(m)]++
	}
	for _, s := range []standing{standsDown, standsLate, standsUp, standsNew, standsPaused} {
		if count[s] > 0 {
			return s
		}
	}
	return standsNew
}

// badge serves /badge/<key>.svg and /badge/<key>/<slug>.svg, and the same with .json, to anybody.
func (s *Server) badge(c echo.Context) error {
	key, slug := c.Param("key"), c.Param("slug")
	one := slug != ""
	last := key
	if one {
		last = slug
	}
	name, isSVG := strings.CutSuffix(last, ".svg")
	if !isSVG {
		var isJSON bool
		if name, isJSON = strings.CutSuffix(last, ".json"); !isJSON {
			return notFound("a badge ends in .svg or .json")
		}
	}
	switch {
	case one && name == "":
		return notFound("there is no such badge")
	case one:
		slug = name
	default:
		key = name
	}
	label, stands, err := s.badgeOf(c.Request().Context(), key, slug)
	if err != nil {
		return s.explain(c.Request().Context(), "badge", err)
	}
	public(c)
	if isSVG {
		return c.Blob(http.StatusOK, "image/svg+xml; charset=utf-8", []byte(drawBadge(label, stands)))
	}
	// https://shields.io/badges/endpoint-badge
	return c.JSON(http.StatusOK, struct {
		SchemaVersion int      `json:"schemaVersion"`
		Label         string   `json:"label"`
		Message       standing `json:"message"`
		Color         string   `json:"color"`
		CacheSeconds  int      `json:"cacheSeconds"`
	}{1, label, stands, stands.colour(), publicSeconds})
}

// badgeOf finds what a badge says; without a slug of all monitors.
func (s *Server) badgeOf(ctx context.Context, key, slug string) (label string, _ standing, err error) {
	b, err := s.db.BadgesByKey(ctx, key)
	if errors.Is(err, catalog.ErrNotFound) {
		return "", "", notFound("there is no such badge")
	}
	if err != nil {
		return "", "", err
	}
	if slug == "" {
		project, err := s.db.Project(ctx, b.Project)
		if err != nil {
			return "", "", err
		}
		monitors, err := s.monitors(ctx, b.Project)
		return briefLine(project.Name, badgeLabel), standingOfAll(monitors), err
	}
	m, err := s.db.Monitor(ctx, b.Project, slug)
	if errors.Is(err, catalog.ErrNotFound) {
		return "", "", notFound("there is no such badge")
	}
	return briefLine(m.Name, badgeLabel), standingOf(m), err
}

// public lets anybody keep an answer for a while, and nobody make more of it than it is.
func public(c echo.Context) {
	header := c.Response().Header()
	header.Set("Cache-Control", fmt.Sprintf("public, max-age=%d", publicSeconds))
	header.Set("X-Content-Type-Options", "nosniff")
	if header.Get("Content-Security-Policy") == "" {
		header.Set("Content-Security-Policy", "default-src 'none'")
	}
}

// open is for answers that need no authentication: whose errors are not kept.
func open(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		c.Response().Header().Set("Cache-Control", "no-store")
		return next(c)
	}
}

// briefLine is a text of one line of at most length characters.
func briefLine(text string, length int) string {
	var out []rune
	for _, r := range strings.ToValidUTF8(text, "\uFFFD") {
		if unicode.IsControl(r) {
			r = ' '
		}
		if len(out) == length {
			return strings.TrimSpace(string(out[:length-1])) + "…"
		}
		out = append(out, r)
	}
	return string(out)
}

// drawBadge draws the label, grey, and what it stands at, in its colour, side by side.
func drawBadge(label string, stands standing) string {
	const side = 6 // between a text and the edge of its field
	text := [2]string{html.EscapeString(label), string(stands)}
	width := [2]int{textWidth(label), textWidth(string(stands))}
	left, right := width[0]+2*side, width[1]+2*side
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="20" role="img" aria-label="%s: %s"><title>%[2]s: %[3]s</title>`, left+right, text[0], text[1])
	b.WriteString(`<linearGradient id="s" x2="0" y2="100%"><stop offset="0" stop-color="#bbb" stop-opacity=".1"/><stop offset="1" stop-opacity=".1"/></linearGradient>`)
	fmt.Fprintf(&b, `<clipPath id="r"><rect width="%d" height="20" rx="3" fill="#fff"/></clipPath><g clip-path="url(#r)">`, left+right)
	fmt.Fprintf(&b, `<rect width="%d" height="20" fill="#4a4f55"/><rect x="%d" width="%d" height="20" fill="#%s"/><rect width="%d" height="20" fill="url(#s)"/></g>`, left, left, right, stands.colour(), left+right)
	b.WriteString(`<g fill="#fff" font-family="Verdana,Geneva,DejaVu Sans,sans-serif" font-size="11">`)
	for i, x := range []int{side, left + side} {
		// The width is given, so that a reader with another font gets the same badge.
		fmt.Fprintf(&b, `<text x="%d" y="15" textLength="%d" fill="#010101" fill-opacity=".3" aria-hidden="true">%s</text><text x="%[1]d" y="14" textLength="%[2]d">%[3]s</text>`, x, width[i], text[i])
	}
	b.WriteString(`</g></svg>`)
	return b.String()
}

// textWidth is about how many pixels a text takes in Verdana of 11 px.
func textWidth(text string) int {
	tenths := 0
	for _, r := range text {
		switch {
		case strings.ContainsRune("iljI.,:;'|! ", r):
			tenths += 38
		case strings.ContainsRune("frt-/()[]", r):
			tenths += 48
		case strings.ContainsRune("mwMW%@", r):
			tenths += 98
		case r >= 'A' && r <= 'Z':
			tenths += 77
		case r < 0x2E80:
			tenths += 68
		default: // as wide as high: Chinese, emoji
			tenths += 110
		}
	}
	return (tenths + 9) / 10
}
