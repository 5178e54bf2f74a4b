package access_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/labstack/echo/v4"
	"go.uber.org/goleak"

	"github.com/midwatch/midwatch/services/access"
	"github.com/midwatch/midwatch/storage/catalog"
	"github.com/midwatch/midwatch/storage/storagetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type answer struct {
	status int
	header http.Header
	body   string
}

// failWith asks a server whose only route fails with err.
func failWith(t *testing.T, method string, err error, log *slog.Logger) answer {
	t.Helper()
	e := echo.New()
	e.HTTPErrorHandler = access.ErrorHandler(log)
	e.Use(access.RequestID())
	e.Any("/x", func(echo.Context) error { return err })
	w := httptest.NewRecorder()
	e.ServeHTTP(w, httptest.NewRequest(method, "/x", nil))
	return answer{w.Code, w.Header(), w.Body.String()}
}

func TestErrorHandler(t *testing.T) {
	t.Parallel()
	f := func(err error, status int, code, message string) {
		t.Helper()
		var log bytes.Buffer
		got := failWith(t, http.MethodGet, err, slog.New(slog.NewTextHandler(&log, nil)))
		var body struct {
			Code      string `json:"code"`
			Message   string `json:"message"`
			RequestID string `json:"request_id"`
		}
		if err := json.Unmarshal([]byte(got.body), &body); err != nil {
			t.Fatalf("%v: the answer %q is not JSON", err, got.body)
		}
		if got.status != status || body.Code != code || !strings.Contains(body.Message, message) {
			t.Errorf("%v: %d %s, want %d %s %q", err, got.status, got.body, status, code, message)
		}
		id, parseErr := uuid.Parse(body.RequestID)
		if parseErr != nil || id.Version() != 7 || got.header.Get("X-Request-Id") != body.RequestID {
			t.Errorf("%v: request id %q in the body, %q in the header", err, body.RequestID, got.header.Get("X-Request-Id"))
		}
		if got.header.Get("Cache-Control") != "no-store" || !strings.HasPrefix(got.header.Get("Content-Type"), "application/json") {
			t.Errorf("%v: header %v", err, got.header)
		}
		if logged := strings.Contains(log.String(), "level=ERROR"); logged != (code == "internal") {
			t.Errorf("%v: logged %q", err, log.String())
		} else if logged && !strings.Contains(log.String(), "request_id="+body.RequestID) {
			t.Errorf("%v: the log does not name the request: %q", err, log.String())
		}
	}
	f(access.Invalid("slug: %q is none", "?"), 400, "invalid", `slug: "?" is none`)
	f(access.NotFound("no"), 404, "not_found", "no")
	f(access.Conflict("taken"), 409, "conflict", "taken")
	f(access.Unauthorized("who"), 401, "unauthorized", "who")
	f(access.Forbidden("you may not"), 403, "forbidden", "you may not")
	f(access.RateLimited(time.Second, "slower"), 429, "rate_limited", "slower")
	f(access.Unavailable("later"), 503, "unavailable", "later")
	f(fmt.Errorf("create project: %w", access.Invalid("the inner one")), 400, "invalid", "the inner one")
	f(errors.New("secret detail"), 500, "internal", "request_id")
	f(echo.NewHTTPError(500, "secret detail"), 500, "internal", "request_id")
	f(fmt.Errorf("query: %w", context.DeadlineExceeded), 503, "unavailable", "too long")
	f(echo.ErrNotFound, 404, "not_found", "nothing at this address")
	f(echo.ErrMethodNotAllowed, 405, "invalid", "method")
	f(echo.ErrStatusRequestEntityTooLarge, 413, "invalid", "too large")
	f(echo.NewHTTPError(415, "send JSON"), 415, "invalid", "send JSON")
	f(echo.NewHTTPError(400, map[string]string{"a": "b"}), 400, "invalid", "Bad Request")
}

func TestErrorHandlerHeaders(t *testing.T) {
	t.Parallel()
	quiet := slog.New(slog.DiscardHandler)
	if got := failWith(t, http.MethodGet, access.RateLimited(1500*time.Millisecond, "slower"), quiet); got.header.Get("Retry-After") != "2" {
		t.Errorf("Retry-After = %q, want 2", got.header.Get("Retry-After"))
	}
	if got := failWith(t, http.MethodGet, access.Unauthorized("who"), quiet); !strings.HasPrefix(got.header.Get("WWW-Authenticate"), "Bearer") {
		t.Errorf("WWW-Authenticate = %q, want Bearer", got.header.Get("WWW-Authenticate"))
	}
	if got := failWith(t, http.MethodHead, access.NotFound("no"), quiet); got.status != 404 || got.body != "" {
		t.Errorf("HEAD: %d %q, want 404 without a body", got.status, got.body)
	}
}

func TestErrorHandlerWithoutRequestID(t *testing.T) {
	t.Parallel()
	e := echo.New()
	e.HTTPErrorHandler = access.ErrorHandler(slog.New(slog.DiscardHandler))
	w := httptest.NewRecorder()
	e.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/nothing", nil))
	if id := w.Header().Get("X-Request-Id"); uuid.Validate(id) != nil || !strings.Contains(w.Body.String(), id) {
		t.Errorf("answer %q with request id %q", w.Body.String(), id)
	}
}

func TestErrorHandlerLeavesACommittedAnswer(t *testing.T) {
	t.Parallel()
	e := echo.New()
	e.HTTPErrorHandler = access.ErrorHandler(slog.New(slog.DiscardHandler))
	e.GET("/x", func(c echo.Context) error {
		if err := c.String(http.StatusOK, "half"); err != nil {
			return err
		}
		return errors.New("broken")
	})
	w := httptest.NewRecorder()
	e.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/x", nil))
	if w.Code != 200 || w.Body.String() != "half" {
		t.Errorf("answer = %d %q", w.Code, w.Body.String())
	}
}

// What a caller calls its request must not get into our log.
func TestRequestIDIsOurs(t *testing.T) {
	t.Parallel()
	e := echo.New()
	e.Use(access.RequestID())
	e.GET("/x", func(c echo.Context) error { return c.String(200, access.RequestIDFrom(c.Request().Context())) })
	r := httptest.NewRequest(http.MethodGet, "/x", nil)
	r.Header.Set("X-Request-Id", "forged")
	w := httptest.NewRecorder()
	e.ServeHTTP(w, r)
	if got := w.Header().Get("X-Request-Id"); got == "forged" || got != w.Body.String() || uuid.Validate(got) != nil {
		t.Errorf("request id = %q, in the context %q", got, w.Body.String())
	}
}

func TestURLs(t *testing.T) {
	t.Parallel()
	p := catalog.Project{Number: 7, IngestKey: "0123456789abcdef0123456789abcdef"}
	f := func(base, dsn, ping string) {
		t.Helper()
		u := access.URLs{HTTP: base}
		if got := u.DSN(p); got != dsn {
			t.Errorf("DSN = %s, want %s", got, dsn)
		}
		if got := u.Ping(p.IngestKey, "nightly/backup"); got != ping {
			t.Errorf("Ping = %s, want %s", got, ping)
		}
	}
	f("http://127.0.0.1:8080", "http://"+p.IngestKey+"@127.0.0.1:8080/7", "http://127.0.0.1:8080/ping/"+p.IngestKey+"/nightly%2Fbackup")
	f("https://watch.example/base", "https://"+p.IngestKey+"@watch.example/base/7", "https://watch.example/base/ping/"+p.IngestKey+"/nightly%2Fbackup")
	if got := (access.URLs{HTTP: "http://h"}).Ping("key", ""); got != "http://h/ping/key" {
		t.Errorf("Ping without a slug = %s", got)
	}
}

// guarded is a server with one route behind a guard, which answers with who called.
func guarded(t *testing.T, urls access.URLs) (e *echo.Echo, db *catalog.DB, token, session string) {
	t.Helper()
	db = storagetest.Catalog(t)
	in, err := db.Initialise(t.Context(), catalog.Initial{Email: "ann@example.com", Password: "correct horse"})
	if err != nil {
		t.Fatal(err)
	}
	user, err := db.Authenticate(t.Context(), "ann@example.com", "correct horse")
	if err != nil {
		t.Fatal(err)
	}
	if session, err = db.CreateSession(t.Context(), user.ID); err != nil {
		t.Fatal(err)
	}
	guard := access.New(db, urls)
	e = echo.New()
	e.HTTPErrorHandler = access.ErrorHandler(slog.New(slog.DiscardHandler))
	e.Any("/who", func(c echo.Context) error {
		p, ok := access.From(c.Request().Context())
		switch {
		case !ok:
			return errors.New("nobody came through")
		case p.User != nil && p.Token == nil:
			return c.String(200, p.User.Email+" of "+p.Organisation.Slug)
		case p.Token != nil && p.User == nil:
			return c.String(200, "a token of "+p.Organisation.Slug)
		}
		return errors.New("neither a user nor a token")
	}, guard.Middleware())
	return e, db, in.APIToken, session
}

func TestMiddleware(t *testing.T) {
	t.Parallel()
	e, _, token, session := guarded(t, access.URLs{HTTP: "https://watch.example/base"})
	f := func(method string, header map[string]string, status int, want string) {
		t.Helper()
		r := httptest.NewRequest(method, "http://internal:8080/who", nil)
		for name, value := range header {
			r.Header.Set(name, value)
		}
		w := httptest.NewRecorder()
		e.ServeHTTP(w, r)
		if w.Code != status || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s with %v: %d %q, want %d %q", method, header, w.Code, w.Body.String(), status, want)
		}
		if body := w.Body.String(); strings.Contains(body, token) || strings.Contains(body, session) {
			t.Errorf("the answer shows a secret: %s", body)
		}
	}
	type h = map[string]string
	cookie := "midwatch_session=" + session
	const user, program = "ann@example.com of default", "a token of default"

	f("GET", h{}, 401, "sign in")
	f("GET", h{"Cookie": cookie}, 200, user)
	f("GET", h{"Cookie": "other=1; " + cookie}, 200, user)
	f("GET", h{"Cookie": "midwatch_session="}, 401, "sign in")
	f("GET", h{"Cookie": "midwatch_session=" + strings.Repeat("x", 43)}, 401, "ended")
	f("GET", h{"Authorization": "Bearer " + token}, 200, program)
	f("GET", h{"Authorization": "bearer  " + token + " "}, 200, program)
	f("GET", h{"Authorization": "Bearer " + token + "x"}, 401, "not known")
	f("GET", h{"Authorization": "Bearer"}, 401, "not known")
	f("GET", h{"Authorization": "Bearer " + session}, 401, "not known")
	f("GET", h{"Authorization": "Basic YTpi"}, 401, "Bearer")
	f("GET", h{"Authorization": "Bearer nonsense", "Cookie": cookie}, 401, "not known")
	f("GET", h{"Cookie": "midwatch_session=" + token}, 401, "ended")

	// Only cookies are sent by a browser by itself, and only changes must not be made so.
	f("GET", h{"Cookie": cookie, "Sec-Fetch-Site": "cross-site"}, 200, user)
	f("POST", h{"Cookie": cookie, "Sec-Fetch-Site": "cross-site"}, 403, "another site")
	f("POST", h{"Cookie": cookie, "Sec-Fetch-Site": "same-site"}, 403, "another site")
	f("DELETE", h{"Cookie": cookie, "Sec-Fetch-Site": "cross-site"}, 403, "another site")
	f("POST", h{"Cookie": cookie, "Sec-Fetch-Site": "same-origin"}, 200, user)
	f("POST", h{"Cookie": cookie, "Origin": "https://evil.example"}, 403, "another site")
	f("POST", h{"Cookie": cookie, "Origin": "null"}, 403, "another site")
	f("POST", h{"Cookie": cookie, "Origin": "https://watch.example"}, 200, user)
	f("POST", h{"Cookie": cookie, "Origin": "http://internal:8080"}, 200, user)
	f("POST", h{"Cookie": cookie}, 200, user)
	f("POST", h{"Authorization": "Bearer " + token, "Sec-Fetch-Site": "cross-site"}, 200, program)
}

func TestMiddlewareWhenTheCatalogIsGone(t *testing.T) {
	t.Parallel()
	e, db, token, _ := guarded(t, access.URLs{HTTP: "http://127.0.0.1:8080"})
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodGet, "/who", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	w := httptest.NewRecorder()
	e.ServeHTTP(w, r)
	if w.Code != http.StatusInternalServerError {
		t.Errorf("answer = %d, want 500: nobody must be told that their token is wrong", w.Code)
	}
}

func TestCookie(t *testing.T) {
	t.Parallel()
	f := func(base, secret, want string) {
		t.Helper()
		if got := access.New(nil, access.URLs{HTTP: base}).Cookie(secret).String(); got != want {
			t.Errorf("Cookie(%q) at %s:\n%s, want\n%s", secret, base, got, want)
		}
	}
	f("http://127.0.0.1:8080", "abc", "midwatch_session=abc; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax")
	f("https://watch.example", "abc", "midwatch_session=abc; Path=/; Max-Age=2592000; HttpOnly; Secure; SameSite=Lax")
	f("https://watch.example", "", "midwatch_session=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Lax")
}

func TestGuardProject(t *testing.T) {
	t.Parallel()
	_, db, token, _ := guarded(t, access.URLs{})
	guard := access.New(db, access.URLs{})
	own, err := db.Project(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(organisation string, number uint32) (got catalog.Project, err error) {
		e := echo.New()
		e.GET("/x", func(c echo.Context) error {
			got, err = guard.Project(c.Request().Context(), number)
			return nil
		}, guard.Middleware(), func(next echo.HandlerFunc) echo.HandlerFunc {
			return func(c echo.Context) error {
				p, _ := access.From(c.Request().Context())
				if p.Organisation.Slug != organisation {
					t.Errorf("organisation = %s", p.Organisation.Slug)
				}
				return next(c)
			}
		})
		r := httptest.NewRequest(http.MethodGet, "/x", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		e.ServeHTTP(httptest.NewRecorder(), r)
		return got, err
	}
	if got, err := ask("default", 1); err != nil || !cmp.Equal(got, own) {
		t.Errorf("Project(1) = %+v, %v", got, err)
	}
	for _, number := range []uint32{0, 2} {
		_, err := ask("default", number)
		if answer, ok := errors.AsType[*access.Error](err); !ok || answer.Code != access.CodeNotFound {
			t.Errorf("Project(%d): %v, want not_found", number, err)
		}
	}
	if _, err := guard.Project(t.Context(), 1); err == nil {
		t.Error("Project for nobody succeeded")
	}
}
