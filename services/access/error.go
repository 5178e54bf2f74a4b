package access

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"
)

// Code is what programs tell errors apart by; proto/openapi/api.yaml lists them.
type Code string

// The codes.
const (
	CodeInvalid       Code = "invalid"
	CodeUnprocessable Code = "unprocessable"
	CodeNotFound      Code = "not_found"
	CodeConflict      Code = "conflict"
	CodeUnauthorized  Code = "unauthorized"
	CodeForbidden     Code = "forbidden"
	CodeRateLimited   Code = "rate_limited"
	CodeUnavailable   Code = "unavailable"
	CodeInternal      Code = "internal"
)

var statuses = map[Code]int{
	CodeInvalid:       http.StatusBadRequest,
	CodeUnprocessable: http.StatusUnprocessableEntity,
	CodeNotFound:      http.StatusNotFound,
	CodeConflict:      http.StatusConflict,
	CodeUnauthorized:  http.StatusUnauthorized,
	CodeForbidden:     http.StatusForbidden,
	CodeRateLimited:   http.StatusTooManyRequests,
	CodeUnavailable:   http.StatusServiceUnavailable,
	CodeInternal:      http.StatusInternalServerError,
}

// Error is an answer to the caller of the API: what went wrong, in words fit for a person.
type Error struct {
	Code    Code
	Message string
	// RetryAfter is when another try makes sense; 0 says nothing about it.
	RetryAfter time.Duration
	// Problems are all that is wrong, of CodeUnprocessable.
	Problems []Problem
}

// Problem is one thing that is wrong with what was sent.
type Problem struct {
	// Field is its path in the body, such as levels[0].fire.
	Field   string `json:"field"`
	Message string `json:"message"`
	// Rules are those that page for this already, where that is the reason.
	Rules []string `json:"rules,omitempty"`
}

// Error returns the message.
func (e *Error) Error() string { return e.Message }

func newError(code Code, format string, args []any) error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Invalid says that the request itself is wrong.
func Invalid(format string, args ...any) error { return newError(CodeInvalid, format, args) }

// Unprocessable says that what was sent can be read and must not be as it is. The message is that of
// the first problem; there has to be one.
func Unprocessable(problems ...Problem) error {
	message := problems[0].Field + ": " + problems[0].Message
	if n := len(problems) - 1; n > 0 {
		message += fmt.Sprintf(" (and %d more)", n)
	}
	return &Error{Code: CodeUnprocessable, Message: message, Problems: problems}
}

// NotFound says that there is no such thing, or none that the caller may know of.
func NotFound(format string, args ...any) error { return newError(CodeNotFound, format, args) }

// Conflict says that the request does not fit what there is.
func Conflict(format string, args ...any) error { return newError(CodeConflict, format, args) }

// Unauthorized says that the server does not know who is calling.
func Unauthorized(format string, args ...any) error { return newError(CodeUnauthorized, format, args) }

// Forbidden says that the caller is known and may not.
func Forbidden(format string, args ...any) error { return newError(CodeForbidden, format, args) }

// Unavailable says that the same request may succeed later.
func Unavailable(format string, args ...any) error { return newError(CodeUnavailable, format, args) }

// RateLimited says that the caller has to wait.
func RateLimited(after time.Duration, format string, args ...any) error {
	return &Error{Code: CodeRateLimited, Message: fmt.Sprintf(format, args...), RetryAfter: after}
}

type contextKey int

const (
	principalKey contextKey = iota
	requestIDKey
)

// RequestID gives each request an identity of its own, which is in its context, in the header
// X-Request-Id of its answer, and in what is logged of it. What the caller sends as such is not
// taken over: it would let a caller write into the log.
func RequestID() echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			id := newRequestID()
			c.SetRequest(c.Request().WithContext(context.WithValue(c.Request().Context(), requestIDKey, id)))
			c.Response().Header().Set(echo.HeaderXRequestID, id)
			return next(c)
		}
	}
}

// RequestIDFrom returns the identity of the request of ctx, or "".
func RequestIDFrom(ctx context.Context) string {
	id, _ := ctx.Value(requestIDKey).(string)
	return id
}

func newRequestID() string { return uuid.Must(uuid.NewV7()).String() }

// statusClientGone is for the log: nobody is there to read it.
const statusClientGone = 499

// errorBody is the schema Error of the API.
type errorBody struct {
	Code      Code      `json:"code"`
	Message   string    `json:"message"`
	RequestID string    `json:"request_id"`
	Problems  []Problem `json:"problems,omitempty"`
}

// ErrorHandler answers with the API's Error, whatever the error: an Error in err's chain decides
// itself, echo's own errors keep their status, and anything else is internal, of which the caller
// learns no more than the identity under which it is logged.
func ErrorHandler(log *slog.Logger) echo.HTTPErrorHandler {
	return func(err error, c echo.Context) {
		id := RequestIDFrom(c.Request().Context())
		if id == "" { // the middleware did not run
			id = newRequestID()
			c.Response().Header().Set(echo.HeaderXRequestID, id)
		}
		status, answer := classify(c.Request().Context(), err)
		if status >= http.StatusInternalServerError && answer.Code == CodeInternal {
			log.LogAttrs(c.Request().Context(), slog.LevelError, "request failed", slog.String("request_id", id),
				slog.String("method", c.Request().Method), slog.String("route", c.Path()), slog.Any("err", err))
		}
		if c.Response().Committed {
			return // a part of another answer is on its way
		}
		header := c.Response().Header()
		if answer.RetryAfter > 0 {
			header.Set(echo.HeaderRetryAfter, strconv.FormatInt(int64(math.Ceil(answer.RetryAfter.Seconds())), 10))
		}
		if status == http.StatusUnauthorized && header.Get(echo.HeaderWWWAuthenticate) == "" {
			header.Set(echo.HeaderWWWAuthenticate, `Bearer realm="midwatch"`)
		}
		header.Set(echo.HeaderCacheControl, "no-store")
		if c.Request().Method == http.MethodHead || status == statusClientGone {
			_ = c.NoContent(status) // it fails when the client is gone
			return
		}
		_ = c.JSON(status, errorBody{Code: answer.Code, Message: answer.Message, RequestID: id, Problems: answer.Problems}) // it fails when the client is gone
	}
}

func classify(ctx context.Context, err error) (status int, answer *Error) {
	if ours, ok := errors.AsType[*Error](err); ok {
		if status, ok := statuses[ours.Code]; ok {
			return status, ours
		}
	}
	web, ok := errors.AsType[*echo.HTTPError](err)
	if ok && web.Code >= 400 && web.Code < 500 {
		return web.Code, &Error{Code: codeOf(web.Code), Message: wordsOf(web)}
	}
	switch {
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		return statusClientGone, &Error{Code: CodeUnavailable, Message: "the client went away"}
	case errors.Is(err, context.DeadlineExceeded):
		return http.StatusServiceUnavailable, &Error{Code: CodeUnavailable, Message: "this took too long: try again"}
	case ok && web.Code == http.StatusServiceUnavailable:
		return web.Code, &Error{Code: CodeUnavailable, Message: "this does not work right now: try again"}
	}
	return http.StatusInternalServerError, &Error{Code: CodeInternal, Message: "something went wrong on our side; the request_id helps to find out what"}
}

// wordsOf is what an error of echo says, or something better where it only repeats its status.
func wordsOf(err *echo.HTTPError) string {
	message, ok := err.Message.(string)
	switch {
	case ok && message != http.StatusText(err.Code):
		return message
	case err.Code == http.StatusNotFound:
		return "there is nothing at this address"
	case err.Code == http.StatusMethodNotAllowed:
		return "this address does not take requests of this method"
	case err.Code == http.StatusRequestEntityTooLarge:
		return "the body of the request is too large"
	default:
		return http.StatusText(err.Code)
	}
}

// codeOf gives the statuses of echo's own errors a code.
func codeOf(status int) Code {
	for code, of := range statuses {
		if of == status {
			return code
		}
	}
	return CodeInvalid
}
