package console

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/midwatch/midwatch/services/access"
)

// maxBodyBytes bounds the body of a request; all of them are forms that a person fills in.
const maxBodyBytes = 64 << 10

// body holds the body of a request to its schema T before the generated code reads it, which
// would take forms, no body at all, and fields that nobody knows.
func body[T any](next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		if media, _, err := mime.ParseMediaType(r.Header.Get(echo.HeaderContentType)); err != nil || media != echo.MIMEApplicationJSON {
			return echo.NewHTTPError(http.StatusUnsupportedMediaType, "send the body as application/json")
		}
		data, err := io.ReadAll(http.MaxBytesReader(c.Response(), r.Body, maxBodyBytes))
		if _, large := errors.AsType[*http.MaxBytesError](err); large {
			return echo.NewHTTPError(http.StatusRequestEntityTooLarge, fmt.Sprintf("the body is larger than %d bytes", maxBodyBytes))
		}
		if err != nil {
			return access.Invalid("the body did not arrive whole")
		}
		if err := decode[T](data); err != nil {
			return err
		}
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(data)), int64(len(data))
		return next(c)
	}
}

// decode says in words what is wrong with a body.
func decode[T any](data []byte) error {
	if trimmed := bytes.TrimSpace(data); len(trimmed) == 0 || trimmed[0] != '{' {
		return access.Invalid("the body must be a JSON object")
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	var v T
	err := decoder.Decode(&v)
	if err == nil {
		if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
			return access.Invalid("the body must be one JSON object and nothing after it")
		}
		return nil
	}
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && wrong.Field != "" {
		return access.Invalid("%s: it cannot be a %s", wrong.Field, wrong.Value)
	}
	if wrong, ok := errors.AsType[*json.SyntaxError](err); ok {
		return access.Invalid("the body is not JSON: %s after %d bytes", wrong.Error(), wrong.Offset)
	}
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return access.Invalid("%s: there is no such field", strings.Trim(name, `"`))
	}
	if field := unreadable[T](data); field != "" {
		return access.Invalid("%s: %s", field, err)
	}
	return access.Invalid("the body is not whole")
}

// unreadable names the field that a type with a text of its own, such as a duration, could not read:
// its errors do not say.
func unreadable[T any](data []byte) string {
	var fields map[string]json.RawMessage
	if json.Unmarshal(data, &fields) != nil {
		return ""
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		one, err := json.Marshal(map[string]json.RawMessage{name: fields[name]})
		var v T
		if err == nil && json.Unmarshal(one, &v) != nil {
			return name
		}
	}
	return ""
}

// plain turns the generated code's errors about parameters into words.
func plain(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		err := next(c)
		refused, ok := errors.AsType[*echo.HTTPError](err)
		if !ok || refused.Code != http.StatusBadRequest {
			return err
		}
		if strings.HasPrefix(fmt.Sprint(refused.Message), "Invalid format for parameter project") {
			return access.Invalid("project: %q is not a project's number", c.Param("project"))
		}
		return err
	}
}
