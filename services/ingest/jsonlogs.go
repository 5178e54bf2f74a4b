package ingest

import (
	"errors"
	"mime"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/midwatch/midwatch/services/ingest/jsonlog"
	"github.com/midwatch/midwatch/storage/bus"
)

// maxIdempotencyKey bounds the header of a client that names its requests.
const maxIdempotencyKey = 256

// jsonAnswer is what the senders of JSON logs are told.
type jsonAnswer struct {
	Accepted int                 `json:"accepted"`
	Rejected int                 `json:"rejected,omitempty"`
	Errors   []jsonlog.LineError `json:"errors,omitempty"`
}

// jsonFault is what they are told when nothing was taken.
type jsonFault struct {
	Error string `json:"error"`
}

// jsonLogs takes log records as JSON in every shape, whatever the content type says: curl calls
// what it sends a form.
func (s *Server) jsonLogs(c echo.Context) error {
	const protocol = "json"
	r := c.Request()
	ctx := r.Context()
	project, err := s.project(ctx, r.Header)
	if err != nil {
		return s.refuseJSON(c, 0, protocol, err)
	}
	if contentType, _, _ := mime.ParseMediaType(r.Header.Get(echo.HeaderContentType)); strings.Contains(contentType, "msgpack") {
		return writeJSON(c, http.StatusUnsupportedMediaType, jsonFault{"MessagePack is not read here: send JSON (Fluent Bit: set Format to json_lines)"})
	}
	body, err := s.body(c, s.cfg.MaxBodyBytes)
	if err != nil {
		return s.refuseJSON(c, project.Number, protocol, err)
	}
	result := jsonlog.Decode(string(body), window(project.Retention.Logs))
	if err := s.spend(project.Number, bus.Logs, result.Accepted); err != nil {
		return s.refuseJSON(c, project.Number, protocol, err)
	}
	// Two equal lines without a time are two events, not one that was sent twice.
	id := uniqueID()
	if key := r.Header.Get("Idempotency-Key"); key != "" && len(key) <= maxIdempotencyKey {
		id = requestID(project.Number, "idempotency "+r.URL.Path, []byte(key))
	} else if result.Timed {
		id = requestID(project.Number, r.URL.Path, body)
	}
	if err := s.publishLogs(ctx, project, id, result.Groups); err != nil {
		return s.refuseJSON(c, project.Number, protocol, err)
	}
	s.meter.accepted(ctx, bus.Logs, protocol, result.Accepted)
	for reason, n := range result.ByReason {
		s.meter.rejected(ctx, bus.Logs, protocol, reason, n)
	}
	status := http.StatusOK
	if result.Rejected > 0 {
		status = http.StatusBadRequest
	}
	return writeJSON(c, status, jsonAnswer{Accepted: result.Accepted, Rejected: result.Rejected, Errors: result.Errors})
}

// refuseJSON answers for an error of any of the steps.
func (s *Server) refuseJSON(c echo.Context, project uint32, protocol string, err error) error {
	switch {
	case errors.Is(err, errNoKey), errors.Is(err, errWrongKey):
		c.Response().Header().Set(echo.HeaderWWWAuthenticate, "Bearer")
		return writeJSON(c, http.StatusUnauthorized, jsonFault{err.Error()})
	case errors.Is(err, errTooLarge):
		return writeJSON(c, http.StatusRequestEntityTooLarge, jsonFault{err.Error()})
	case errors.Is(err, errEncoding):
		return writeJSON(c, http.StatusUnsupportedMediaType, jsonFault{err.Error()})
	case errors.Is(err, errTruncated), errors.Is(err, errCorrupt):
		return writeJSON(c, http.StatusBadRequest, jsonFault{err.Error()})
	}
	retry := s.retryable(err)
	s.warn(c.Request().Context(), project, protocol, retry)
	c.Response().Header().Set(echo.HeaderRetryAfter, retry.seconds())
	return writeJSON(c, retry.status, jsonFault{retry.message})
}
