// Package access says who calls Midwatch's API, what they may see, and how they are told what
// went wrong.
package access

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/midwatch/midwatch/storage/catalog"
)

// CookieName is the cookie that holds the secret of a browser's session.
const CookieName = "midwatch_session"

// Principal is who calls.
type Principal struct {
	// User who signed in; nil for an API token.
	User *catalog.User
	// Token that was sent; nil for a user.
	Token *catalog.APIToken
	// Organisation that the caller acts for.
	Organisation catalog.Organisation
}

// Guard finds out who calls. It is safe for concurrent use.
type Guard struct {
	db     *catalog.DB
	urls   URLs
	origin *http.CrossOriginProtection
}

// New returns a guard over the people and tokens in db.
func New(db *catalog.DB, urls URLs) *Guard {
	g := &Guard{db: db, urls: urls, origin: http.NewCrossOriginProtection()}
	if origin := urls.origin(); origin != "" {
		// An origin that cannot be trusted is not: requests must then come from the host they go to.
		_ = g.origin.AddTrustedOrigin(origin)
	}
	return g
}

// From returns who calls, in the context of a request that went through Middleware.
func From(ctx context.Context) (Principal, bool) {
	p, ok := ctx.Value(principalKey).(Principal)
	return p, ok
}

// Middleware lets known callers through, with who they are in the context of the request: those
// with an API token in the header Authorization, and browsers with a session cookie, which must
// prove for anything but reading that no other site made them call.
func (g *Guard) Middleware() echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			p, err := g.identify(c)
			if err != nil {
				return err
			}
			c.SetRequest(c.Request().WithContext(context.WithValue(c.Request().Context(), principalKey, p)))
			return next(c)
		}
	}
}

// SameOrigin refuses requests that change something and that a browser was made to send by
// another site. What does not come from a browser passes.
func (g *Guard) SameOrigin() echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			if err := g.checkOrigin(c.Request()); err != nil {
				return err
			}
			return next(c)
		}
	}
}

func (g *Guard) checkOrigin(r *http.Request) error {
	if g.origin.Check(r) != nil {
		return Forbidden("another site's page may not do this")
	}
	return nil
}

func (g *Guard) identify(c echo.Context) (Principal, error) {
	r := c.Request()
	if header := r.Header.Get(echo.HeaderAuthorization); header != "" {
		scheme, secret, _ := strings.Cut(header, " ")
		if !strings.EqualFold(scheme, "Bearer") {
			return Principal{}, Unauthorized("send an API token as Authorization: Bearer")
		}
		token, err := g.db.Token(r.Context(), strings.TrimSpace(secret))
		if errors.Is(err, catalog.ErrNotFound) {
			return Principal{}, Unauthorized("this API token is not known")
		}
		if err != nil {
			return Principal{}, err
		}
		return Principal{Token: &token, Organisation: token.Organisation}, nil
	}
	secret := SessionSecret(r)
	if secret == "" {
		return Principal{}, Unauthorized("sign in, or send an API token as Authorization: Bearer")
	}
	if err := g.checkOrigin(r); err != nil {
		return Principal{}, err
	}
	session, err := g.db.Session(r.Context(), secret)
	if errors.Is(err, catalog.ErrNotFound) {
		return Principal{}, Unauthorized("this session has ended: sign in again")
	}
	if err != nil {
		return Principal{}, err
	}
	if session.Renewed {
		c.SetCookie(g.Cookie(secret))
	}
	return Principal{User: &session.User, Organisation: session.Organisation}, nil
}

// SessionSecret returns the secret in a request's session cookie, or "".
func SessionSecret(r *http.Request) string {
	cookie, err := r.Cookie(CookieName)
	if err != nil {
		return ""
	}
	return cookie.Value
}

// Cookie is the cookie that keeps the secret of a session in a browser, or removes it from there
// when the secret is empty.
func (g *Guard) Cookie(secret string) *http.Cookie {
	cookie := &http.Cookie{
		Name: CookieName, Value: secret, Path: "/",
		MaxAge: int(catalog.SessionLifetime.Seconds()), HttpOnly: true, Secure: g.urls.secure(), SameSite: http.SameSiteLaxMode,
	}
	if secret == "" {
		cookie.MaxAge = -1
	}
	return cookie
}

// Project returns a project of the caller's organisation. Any other is not found, whether it
// exists or not.
func (g *Guard) Project(ctx context.Context, number uint32) (catalog.Project, error) {
	p, ok := From(ctx)
	if !ok {
		return catalog.Project{}, Unauthorized("sign in, or send an API token as Authorization: Bearer")
	}
	project, err := g.db.Project(ctx, number)
	if errors.Is(err, catalog.ErrNotFound) || err == nil && project.OrganisationID != p.Organisation.ID {
		return catalog.Project{}, NotFound("there is no project %d", number)
	}
	return project, err
}
