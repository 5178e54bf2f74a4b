package ingest

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/midwatch/midwatch/proto/telemetrypb"
	"github.com/midwatch/midwatch/services/ingest/record"
	"github.com/midwatch/midwatch/services/ingest/sentry"
	"github.com/midwatch/midwatch/storage/bus"
	"github.com/midwatch/midwatch/storage/catalog"
)

const (
	headerSentryAuth   = "X-Sentry-Auth"
	headerSentryError  = "X-Sentry-Error"
	headerSentryLimits = "X-Sentry-Rate-Limits"

	// sentryUnkept tells SDKs what not to send: they obey it on any answer, for an hour.
	sentryUnkept = "3600:transaction;span;session;attachment;profile;profile_chunk;profile_chunk_ui;replay;feedback;user_report;trace_metric;metric_bucket:organization:not_kept"

	// The protocols' names in intake's own metrics and log.
	sentryEnvelope = "sentry_envelope"
	sentryStore    = "sentry_store"
	sentrySecurity = "sentry_security"
	sentryCron     = "sentry_cron"

	// sentryVersion is the newest version of the protocol.
	sentryVersion = 7
)

// pixel is a transparent GIF of one pixel, which a GET of an image has to be answered with.
const pixel = "GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\x00\x00\x00!\xf9\x04\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"

// sentryError is what the sender did wrong.
type sentryError struct {
	status int
	detail string
	causes []string
}

func (e *sentryError) Error() string { return e.detail }

// signalError is a fault that concerns one signal of several in a request.
type signalError struct {
	signal bus.Signal
	err    error
}

func (e *signalError) Error() string { return e.err.Error() }

func (e *signalError) Unwrap() error { return e.err }

// sentryHandlers serves Sentry's protocol.
type sentryHandlers struct {
	*Server
	normaliser *sentry.Normaliser
}

// mountSentry serves what Sentry's SDKs and browsers send. All routes exist with and without a
// slash at their end.
func (s *Server) mountSentry(e *echo.Echo) {
	h := &sentryHandlers{s, sentry.NewNormaliser()}
	s.sentryRoute(e, "/api/:project/envelope", []string{http.MethodPost}, bus.Errors, sentryEnvelope, h.envelope)
	s.sentryRoute(e, "/api/:project/store", []string{http.MethodPost, http.MethodGet}, bus.Errors, sentryStore, h.store)
	s.sentryRoute(e, "/api/store", []string{http.MethodPost, http.MethodGet}, bus.Errors, sentryStore, h.store)
	s.sentryRoute(e, "/api/:project/security", []string{http.MethodPost}, bus.Errors, sentrySecurity, h.security)
	s.sentryRoute(e, "/api/:project/csp-report", []string{http.MethodPost}, bus.Errors, sentrySecurity, h.security)
}

// sentryRoute adds a route for some methods. Whatever is answered has the headers that let a
// browser read it, and tells what not to send.
func (s *Server) sentryRoute(e *echo.Echo, path string, methods []string, signal bus.Signal, protocol string, h func(echo.Context) error) {
	allowed := strings.Join(append(methods, http.MethodOptions), ", ")
	inner := s.intake(signal, protocol, func(c echo.Context) error {
		err := h(c)
		if err == nil {
			return nil
		}
		return s.sentryFault(c, signal, protocol, err)
	})
	handler := func(c echo.Context) error {
		header := c.Response().Header()
		header.Set("Access-Control-Allow-Origin", "*")
		header.Set("Access-Control-Expose-Headers", "x-sentry-error, x-sentry-rate-limits, retry-after")
		header.Set(headerSentryLimits, sentryUnkept)
		switch method := c.Request().Method; {
		case method == http.MethodOptions:
			header.Set("Access-Control-Allow-Methods", allowed)
			header.Set("Access-Control-Allow-Headers", "x-sentry-auth, x-requested-with, x-forwarded-for, origin, referer, accept, content-type, authentication, authorization, content-encoding, transfer-encoding")
			header.Set("Access-Control-Max-Age", "3600")
			return c.NoContent(http.StatusNoContent)
		case !strings.Contains(allowed, method):
			header.Set("Allow", allowed)
			return sentryAnswer(c, &sentryError{status: http.StatusMethodNotAllowed, detail: "method " + method + " is not allowed here"})
		}
		return inner(c)
	}
	e.Any(path, handler)
	e.Any(path+"/", handler)
}

// sentryFault answers with what went wrong.
func (s *Server) sentryFault(c echo.Context, signal bus.Signal, protocol string, err error) error {
	var fault *sentryError
	switch {
	case errors.As(err, &fault):
		return sentryAnswer(c, fault)
	case errors.Is(err, errTooLarge), errors.Is(err, sentry.ErrTooLarge):
		return sentryAnswer(c, &sentryError{status: http.StatusRequestEntityTooLarge, detail: err.Error()})
	case errors.Is(err, errTruncated), errors.Is(err, errCorrupt), errors.Is(err, sentry.ErrMalformed):
		return sentryAnswer(c, &sentryError{status: http.StatusBadRequest, detail: err.Error()})
	}
	if of, ok := errors.AsType[*signalError](err); ok {
		signal = of.signal
	}
	r := s.retryable(err)
	project, _ := c.Get(projectKey).(uint32)
	s.warn(c.Request().Context(), project, protocol, r)
	header := c.Response().Header()
	header.Set(echo.HeaderRetryAfter, r.seconds())
	header.Set(headerSentryLimits, r.seconds()+":"+categories[signal]+":organization:busy, "+sentryUnkept)
	return sentryAnswer(c, &sentryError{status: r.status, detail: r.message})
}

// projectKey is where a handler notes the project, for the log of a fault.
const projectKey = "midwatch.ingest.project"

// categories are Sentry's names for what is sent of a signal.
var categories = map[bus.Signal]string{
	bus.Errors:   "default;error;security",
	bus.Logs:     "log_item;log_byte",
	bus.Checkins: "monitor",
}

func sentryAnswer(c echo.Context, fault *sentryError) error {
	causes := fault.causes
	if causes == nil {
		causes = []string{}
	}
	c.Response().Header().Set(headerSentryError, headerText(fault.detail))
	return writeJSON(c, fault.status, map[string]any{"detail": fault.detail, "causes": causes})
}

// headerText is s as the value of a header: printable ASCII of bounded length.
func headerText(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
	return s[:min(len(s), 300)]
}

// envelope takes the items of an envelope. What is bad in it is named, what is good is kept.
func (h *sentryHandlers) envelope(c echo.Context) error {
	access, err := readSentryAccess(c)
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	var project catalog.Project
	if access.key != "" {
		// Before the body is read: who has no key is not to be listened to.
		if project, err = h.sentryProject(ctx, access); err != nil {
			return err
		}
	}
	body, err := h.sentryBody(c, h.cfg.MaxBodyBytes)
	if err != nil {
		return err
	}
	env, err := sentry.ParseEnvelope(body)
	if err != nil {
		return err
	}
	if env.DSN != "" {
		dsn, err := parseDSN(env.DSN)
		if err != nil {
			return err
		}
		switch {
		case access.key == "":
			access.key = dsn.key
			if access.number != dsn.number {
				return &sentryError{status: http.StatusForbidden, detail: "the envelope's DSN is of another project"}
			}
			if project, err = h.sentryProject(ctx, access); err != nil {
				return err
			}
		case dsn.key != access.key || dsn.number != project.Number:
			return &sentryError{status: http.StatusForbidden, detail: "the envelope's DSN and the request's key are of different projects"}
		}
	}
	if project.Number == 0 {
		return errNoSentryKey
	}
	c.Set(projectKey, project.Number)
	return h.take(c, project, env, requestID(project.Number, "sentry", body))
}

// take stores what is kept of an envelope.
func (h *sentryHandlers) take(c echo.Context, project catalog.Project, env sentry.Envelope, request string) error {
	ctx := c.Request().Context()
	meta := sentry.Meta{
		Project: project.Number, ReceivedAt: time.Now(), SentAt: env.SentAt, PeerIP: c.RealIP(),
		EventID: env.EventID, FallbackID: sentry.FallbackID(request),
	}
	var (
		events   []*telemetrypb.ErrorEvent
		checkins []*telemetrypb.Checkin
		groups   []*telemetrypb.LogGroup
		records  int
		bad      = sentryError{status: http.StatusBadRequest, detail: "a part of the envelope could not be read, the rest is kept"}
	)
	blame := func(i int, kind string, signal bus.Signal, n int, err error) {
		reason := "malformed"
		if late, ok := errors.AsType[*record.TimeError](err); ok {
			reason = late.Reason()
		}
		h.meter.rejected(ctx, signal, sentryEnvelope, reason, n)
		if errors.Is(err, sentry.ErrTooLarge) {
			bad.status = http.StatusRequestEntityTooLarge
		}
		if len(bad.causes) < 20 {
			bad.causes = append(bad.causes, fmt.Sprintf("item %d (%s): %v", i+1, kind, err))
		}
	}
	for i, item := range env.Items {
		switch item.Type {
		case "event":
			if len(events) > 0 {
				meta.EventID = [16]byte{} // the header's id is that of one event
				meta.FallbackID = sentry.FallbackID(requestID(project.Number, strconv.Itoa(i), item.Payload))
			}
			event, err := h.event(item.Payload, project, meta)
			switch {
			case errors.Is(err, sentry.ErrNotKept):
			case err != nil:
				blame(i, item.Type, bus.Errors, 1, err)
			default:
				events = append(events, event)
			}
		case "check_in":
			of := meta
			of.FallbackID = sentry.FallbackID(requestID(project.Number, request+strconv.Itoa(i), item.Payload))
			checkin, err := sentry.Checkin(item.Payload, of)
			if err != nil {
				blame(i, item.Type, bus.Checkins, 1, err)
				continue
			}
			checkins = append(checkins, checkin)
		case "log":
			logs, rejected, err := sentry.Logs(item.Payload, meta)
			if err == nil && rejected > 0 {
				err = fmt.Errorf("%d of its records could not be read", rejected)
			}
			if err != nil {
				blame(i, item.Type, bus.Logs, max(rejected, 1), err)
			}
			n, err := dropLate(logs, record.NewWindow(meta.ReceivedAt, project.Retention.Logs))
			if err != nil {
				blame(i, item.Type, bus.Logs, n, err)
			}
			for _, g := range logs {
				groups = append(groups, g)
				records += len(g.Records)
			}
		}
	}
	if err := h.storeEvents(ctx, project, sentryEnvelope, request, events); err != nil {
		return err
	}
	if len(checkins) > 0 {
		if err := h.spend(project.Number, bus.Checkins, len(checkins)); err != nil {
			return &signalError{bus.Checkins, err}
		}
		name := request
		if slices.ContainsFunc(checkins, func(c *telemetrypb.Checkin) bool { return len(c.RunId) == 0 }) {
			name = uniqueID() // two equal ones are two runs, not one that was sent twice
		}
		if err := h.publishCheckins(ctx, project, name, checkins); err != nil {
			return &signalError{bus.Checkins, err}
		}
		h.meter.accepted(ctx, bus.Checkins, sentryEnvelope, len(checkins))
	}
	if records > 0 {
		if err := h.spend(project.Number, bus.Logs, records); err != nil {
			return &signalError{bus.Logs, err}
		}
		if err := h.publishLogs(ctx, project, request, groups); err != nil {
			return &signalError{bus.Logs, err}
		}
		h.meter.accepted(ctx, bus.Logs, sentryEnvelope, records)
	}
	if len(bad.causes) > 0 {
		if len(bad.causes) == 1 {
			bad.detail = bad.causes[0]
		}
		return &bad
	}
	return answerID(c, events)
}

// event is Event of the normaliser for a project. One that is older than the project keeps errors is
// a *record.TimeError.
func (h *sentryHandlers) event(payload []byte, project catalog.Project, meta sentry.Meta) (*telemetrypb.ErrorEvent, error) {
	event, err := h.normaliser.Event(payload, meta)
	if err != nil {
		return nil, err
	}
	if err := record.NewWindow(meta.ReceivedAt, project.Retention.Errors).Check(event.Time); err != nil {
		return nil, err
	}
	return event, nil
}

// dropLate takes the records out of groups whose time is not in a window, and returns how many they
// are and what is wrong with the last of them.
func dropLate(groups []*telemetrypb.LogGroup, w record.Window) (n int, reason error) {
	for _, g := range groups {
		g.Records = slices.DeleteFunc(g.Records, func(r *telemetrypb.LogRecord) bool {
			err := w.Check(r.Time)
			if err != nil {
				n, reason = n+1, err
			}
			return err != nil
		})
	}
	return n, reason
}

// storeEvents stores events. A single one is known again by its own id, which SDKs keep when they
// send it once more in other words.
func (h *sentryHandlers) storeEvents(ctx context.Context, project catalog.Project, protocol, request string, events []*telemetrypb.ErrorEvent) error {
	if len(events) == 0 {
		return nil
	}
	if err := h.spend(project.Number, bus.Errors, len(events)); err != nil {
		return err
	}
	if len(events) == 1 {
		request = fmt.Sprintf("event-%d-%x", project.Number, events[0].EventId)
	}
	if err := h.publishErrors(ctx, project, request, events); err != nil {
		return err
	}
	h.meter.accepted(ctx, bus.Errors, protocol, len(events))
	return nil
}

func answerID(c echo.Context, events []*telemetrypb.ErrorEvent) error {
	answer := map[string]string{}
	if len(events) > 0 {
		answer["id"] = hex.EncodeToString(events[0].EventId)
	}
	return writeJSON(c, http.StatusOK, answer)
}

// store takes one event by the endpoint of old SDKs.
func (h *sentryHandlers) store(c echo.Context) error {
	access, err := readSentryAccess(c)
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	project, err := h.sentryProject(ctx, access)
	if err != nil {
		return err
	}
	c.Set(projectKey, project.Number)
	image := c.Request().Method == http.MethodGet
	var body []byte
	if image {
		body = []byte(c.QueryParam("sentry_data"))
	} else if body, err = h.sentryBody(c, min(h.cfg.MaxBodyBytes, 2*sentry.MaxEventBytes)); err != nil { // base64 is longer than what it holds
		return err
	}
	request := requestID(project.Number, "sentry", body)
	raw, err := sentry.StoreBody(body)
	if err != nil {
		return err
	}
	event, err := h.event(raw, project, sentry.Meta{
		Project: project.Number, ReceivedAt: time.Now(), PeerIP: c.RealIP(), FallbackID: sentry.FallbackID(request),
	})
	var events []*telemetrypb.ErrorEvent
	late, isLate := errors.AsType[*record.TimeError](err)
	switch {
	case isLate:
		h.meter.rejected(ctx, bus.Errors, sentryStore, late.Reason(), 1)
		return &sentryError{status: http.StatusBadRequest, detail: late.Error()}
	case errors.Is(err, sentry.ErrNotKept):
	case err != nil:
		return err
	default:
		events = append(events, event)
	}
	if err := h.storeEvents(ctx, project, sentryStore, request, events); err != nil {
		return err
	}
	if image {
		return c.Blob(http.StatusOK, "image/gif", []byte(pixel))
	}
	return answerID(c, events)
}

// security takes what browsers report of their content security policy.
func (h *sentryHandlers) security(c echo.Context) error {
	access, err := readSentryAccess(c)
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	project, err := h.sentryProject(ctx, access)
	if err != nil {
		return err
	}
	c.Set(projectKey, project.Number)
	body, err := h.sentryBody(c, min(h.cfg.MaxBodyBytes, sentry.MaxEventBytes))
	if err != nil {
		return err
	}
	// Reports hold no time: two of the same words are two reports.
	request := uniqueID()
	events, err := h.normaliser.Security(body, sentry.Source{
		Release: c.QueryParam("sentry_release"), Environment: c.QueryParam("sentry_environment"), UserAgent: c.Request().UserAgent(),
	}, sentry.Meta{Project: project.Number, ReceivedAt: time.Now(), PeerIP: c.RealIP(), FallbackID: sentry.FallbackID(request)})
	if err != nil {
		return err
	}
	if err := h.storeEvents(ctx, project, sentrySecurity, request, events); err != nil {
		return err
	}
	return answerID(c, events)
}

// sentryBody reads a body. An encoding that nobody knows is taken for none, as Sentry does.
func (s *Server) sentryBody(c echo.Context, limit int64) ([]byte, error) {
	encoding := strings.ToLower(strings.TrimSpace(c.Request().Header.Get(echo.HeaderContentEncoding)))
	if _, known := decompressors[encoding]; !known {
		encoding = ""
	}
	body, err := s.bodyAs(c, encoding, limit)
	if err != nil {
		return nil, err
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return nil, &sentryError{status: http.StatusBadRequest, detail: "the body is empty"}
	}
	return body, nil
}

// sentryAccess is the project that a request names and the key that it has for it.
type sentryAccess struct {
	number uint32 // 0: the key's own
	key    string // empty: the request has none
}

var errNoSentryKey = &sentryError{status: http.StatusUnauthorized, detail: "no key: send it in X-Sentry-Auth, as sentry_key in the query, or in the envelope's dsn"}

// readSentryAccess reads where a request goes to and by which key. A key that is not there is no
// error: an envelope may hold it.
func readSentryAccess(c echo.Context) (sentryAccess, error) {
	var a sentryAccess
	if text := c.Param("project"); text != "" {
		number, err := strconv.ParseUint(text, 10, 32)
		if err != nil || number == 0 {
			return a, &sentryError{status: http.StatusNotFound, detail: "there is no such project: its number is expected in the path"}
		}
		a.number = uint32(number)
	}
	keys, err := sentryKeys(c.Request())
	if err != nil {
		return a, err
	}
	if key := c.Param("key"); key != "" {
		keys = append(keys, key)
	}
	switch {
	case len(keys) > 1:
		return a, &sentryError{status: http.StatusUnauthorized, detail: "more than one key: send it in one place only"}
	case len(keys) == 1:
		a.key = keys[0]
		if !validKey(a.key) {
			return a, &sentryError{status: http.StatusBadRequest, detail: "the key is malformed"}
		}
	}
	return a, nil
}

// sentryKeys finds the keys of a request in the places that the protocol has for them.
func sentryKeys(r *http.Request) ([]string, error) {
	var keys []string
	fields := []url.Values{r.URL.Query()}
	for _, v := range r.Header.Values(headerSentryAuth) {
		fields = append(fields, authFields(v))
	}
	for _, v := range r.Header.Values(echo.HeaderAuthorization) {
		scheme, rest, _ := strings.Cut(strings.TrimSpace(v), " ")
		switch {
		case strings.EqualFold(scheme, "Sentry"):
			fields = append(fields, authFields(v))
		case strings.EqualFold(scheme, "Basic"):
			text, err := base64.StdEncoding.DecodeString(strings.TrimSpace(rest))
			if err != nil {
				continue // somebody else's: browsers send what the site in front asked for
			}
			if user, password, _ := strings.Cut(string(text), ":"); password == "" && validKey(user) {
				keys = append(keys, user)
			}
		}
	}
	for _, f := range fields {
		if key := f.Get("sentry_key"); key != "" {
			keys = append(keys, key)
		}
		if version := f.Get("sentry_version"); version != "" {
			whole, _, _ := strings.Cut(version, ".")
			if n, err := strconv.Atoi(whole); err != nil || n < 1 || n > sentryVersion {
				return nil, &sentryError{status: http.StatusBadRequest, detail: fmt.Sprintf("protocol version %.20q is not known: the newest is %d", version, sentryVersion)}
			}
		}
	}
	return keys, nil
}

// authFields reads "Sentry sentry_key=…, sentry_version=7".
func authFields(s string) url.Values {
	s = strings.TrimSpace(s)
	if scheme, rest, ok := strings.Cut(s, " "); ok && strings.EqualFold(scheme, "Sentry") {
		s = rest
	}
	fields := url.Values{}
	for pair := range strings.SplitSeq(s, ",") {
		if name, value, ok := strings.Cut(pair, "="); ok {
			fields.Add(strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(value))
		}
	}
	return fields
}

// sentryProject finds the project of a key, which has to be the one that the request names.
func (s *Server) sentryProject(ctx context.Context, a sentryAccess) (catalog.Project, error) {
	if a.key == "" {
		return catalog.Project{}, errNoSentryKey
	}
	project, err := s.projectOf(ctx, []string{a.key})
	if errors.Is(err, errWrongKey) || err == nil && a.number != 0 && a.number != project.Number {
		return catalog.Project{}, &sentryError{status: http.StatusForbidden, detail: "the key is not one of this project"}
	}
	return project, err
}

// parseDSN reads scheme://key[:secret]@host[/prefix]/number.
func parseDSN(dsn string) (sentryAccess, error) {
	malformed := &sentryError{status: http.StatusBadRequest, detail: "the envelope's DSN is malformed"}
	u, err := url.Parse(dsn)
	if err != nil || u.User == nil {
		return sentryAccess{}, malformed
	}
	path := strings.TrimRight(u.Path, "/")
	number, err := strconv.ParseUint(path[strings.LastIndexByte(path, '/')+1:], 10, 32)
	key := u.User.Username()
	if err != nil || number == 0 || !validKey(key) {
		return sentryAccess{}, malformed
	}
	return sentryAccess{number: uint32(number), key: key}, nil
}
