package sentry

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	"github.com/midwatch/midwatch/proto/telemetrypb"
)

// maxReports is how many reports one request may hold.
const maxReports = 100

// Source is what a request tells of the sender of security reports.
type Source struct {
	Release, Environment, UserAgent string
}

// Security reads what browsers report of their content security policy, as {"csp-report": {…}} or
// as a list of the Reporting API, and makes error events of it. Reports of other kinds are left
// away. Events are grouped by directive and blocked host. Errors wrap ErrMalformed or ErrTooLarge.
func (n *Normaliser) Security(raw []byte, source Source, meta Meta) ([]*telemetrypb.ErrorEvent, error) {
	if len(raw) > MaxEventBytes {
		return nil, fmt.Errorf("report of %d bytes is %w: the limit is %d", len(raw), ErrTooLarge, MaxEventBytes)
	}
	v, err := decode(raw)
	if err != nil {
		return nil, fmt.Errorf("security report: %w", err)
	}
	var reports []map[string]any
	switch v := v.(type) {
	case map[string]any:
		if report := object(v["csp-report"]); report != nil {
			reports = append(reports, report)
		} else if text(v["type"]) == "csp-violation" {
			reports = append(reports, object(v["body"]))
		}
	case []any:
		if len(v) > maxReports {
			return nil, fmt.Errorf("%w: a request may hold %d reports", ErrTooLarge, maxReports)
		}
		for _, r := range v {
			if r := object(r); text(r["type"]) == "csp-violation" && object(r["body"]) != nil {
				reports = append(reports, object(r["body"]))
			}
		}
	default:
		return nil, fmt.Errorf("%w security report: an object or a list is expected", ErrMalformed)
	}
	events := make([]*telemetrypb.ErrorEvent, 0, len(reports))
	for i, r := range reports {
		m := meta
		// One request, several events: each its own id, the same for a repetition.
		binary.BigEndian.PutUint32(m.FallbackID[12:], binary.BigEndian.Uint32(m.FallbackID[12:])+uint32(i))
		e, err := n.event(cspEvent(r, source), m)
		if err != nil {
			return nil, err
		}
		events = append(events, e)
	}
	return events, nil
}

// cspEvent is a report as an event. Both names that browsers have for a field are looked at.
func cspEvent(r map[string]any, source Source) map[string]any {
	field := func(names ...string) string {
		for _, n := range names {
			if s := text(r[n]); s != "" {
				return s
			}
		}
		return ""
	}
	directive := field("effective-directive", "effectiveDirective", "violated-directive", "violatedDirective")
	// Old browsers give the whole policy line.
	directive, _, _ = strings.Cut(strings.TrimSpace(directive), " ")
	if directive == "" {
		directive = "unknown"
	}
	page := field("document-uri", "documentURL")
	blocked := blockedHost(field("blocked-uri", "blockedURL"), page)
	message := fmt.Sprintf("Blocked %s from %s", cut(directive, 100), cut(blocked, 200))
	event := map[string]any{
		"platform":    "other",
		"level":       "warning",
		"logger":      "csp",
		"release":     source.Release,
		"environment": source.Environment,
		"logentry":    map[string]any{"formatted": message},
		"culprit":     directive,
		"fingerprint": []any{"csp", directive, blocked},
		"tags":        map[string]any{"effective_directive": directive, "blocked_host": blocked, "disposition": field("disposition")},
		"request": map[string]any{
			"url":     page,
			"headers": map[string]any{"User-Agent": source.UserAgent, "Referer": field("referrer")},
		},
		"csp": any(r),
	}
	if file := field("source-file", "sourceFile"); file != "" {
		line, _ := integer(first(r, "line-number", "lineNumber"))
		column, _ := integer(first(r, "column-number", "columnNumber"))
		event["stacktrace"] = map[string]any{"frames": []any{map[string]any{
			"filename": file, "platform": "javascript",
			"lineno": json.Number(fmt.Sprint(line)), "colno": json.Number(fmt.Sprint(column)),
		}}}
	}
	return event
}

func first(r map[string]any, names ...string) any {
	for _, n := range names {
		if v, ok := r[n]; ok {
			return v
		}
	}
	return nil
}

// blockedHost is the host of what was blocked, or the word that stands for it: inline, eval, self,
// data, blob ….
func blockedHost(uri, page string) string {
	if uri == "" {
		return "self" // old browsers leave it empty for inline scripts
	}
	u, err := url.Parse(uri)
	switch {
	case err != nil:
		return "unknown"
	case u.Host == "":
		if u.Scheme != "" {
			return u.Scheme
		}
		return uri
	}
	if p, err := url.Parse(page); err == nil && p.Host == u.Host {
		return "self"
	}
	return strings.ToLower(u.Hostname())
}

// FallbackID makes an id of a request's name, which is 32 hex digits.
func FallbackID(request string) (id [16]byte) {
	if _, err := hex.Decode(id[:], []byte(request[:min(len(request), 32)])); err != nil {
		return [16]byte{}
	}
	return id
}
