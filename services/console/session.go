package console

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/netip"
	"strings"
	"time"

	"github.com/midwatch/midwatch/services/access"
	"github.com/midwatch/midwatch/storage/catalog"
)

const (
	// How often somebody may try to sign in, in signInWindow: at one account, and at all.
	signInsPerAccount = 5
	signInsPerAddress = 20
	signInWindow      = time.Minute

	maxEmail = 320
)

// GetSession says who calls, and what they can see.
func (s *Server) GetSession(ctx context.Context, _ GetSessionRequestObject) (GetSessionResponseObject, error) {
	p, err := who(ctx)
	if err != nil {
		return nil, err
	}
	session, err := s.session(ctx, p)
	if err != nil {
		return nil, err
	}
	return GetSession200JSONResponse(session), nil
}

// SignIn makes a session of a user who knows their password, in the place of the one that the
// browser may have.
func (s *Server) SignIn(ctx context.Context, r SignInRequestObject) (SignInResponseObject, error) {
	email, password := r.Body.Email, r.Body.Password
	switch {
	case strings.TrimSpace(email) == "":
		return nil, access.Invalid("email: an e-mail address is needed")
	case password == "":
		return nil, access.Invalid("password: a password is needed")
	case len(email) > maxEmail:
		return nil, access.Invalid("email: at most %d characters", maxEmail)
	case len(password) > catalog.MaxPasswordBytes:
		return nil, access.Invalid("password: at most %d characters", catalog.MaxPasswordBytes)
	}
	caller := callerOf(ctx)
	account, err := s.throttle(ctx, caller.ip, email)
	if err != nil {
		return nil, err
	}
	user, err := s.db.Authenticate(ctx, email, password)
	if errors.Is(err, catalog.ErrNotFound) {
		return nil, access.Unauthorized("this e-mail address and this password do not belong together")
	}
	if err != nil {
		return nil, err
	}
	if err := s.cache.Forget(ctx, account); err != nil {
		s.log.Warn("sign-ins are not limited: the cache does not answer", "request_id", access.RequestIDFrom(ctx), "err", err)
	}
	secret, err := s.db.CreateSession(ctx, user.ID)
	if err != nil {
		return nil, err
	}
	made, err := s.db.Session(ctx, secret)
	if errors.Is(err, catalog.ErrNotFound) {
		return nil, access.Forbidden("this account belongs to no organisation")
	}
	if err != nil {
		return nil, err
	}
	if caller.secret != "" {
		if err := s.db.DeleteSession(ctx, caller.secret); err != nil {
			return nil, err
		}
	}
	session, err := s.session(ctx, access.Principal{User: &made.User, Organisation: made.Organisation})
	if err != nil {
		return nil, err
	}
	return SignIn200JSONResponse{
		Body: session, Headers: SignIn200ResponseHeaders{SetCookie: setCookie(s.guard.Cookie(secret))},
	}, nil
}

// SignOut ends the browser's session.
func (s *Server) SignOut(ctx context.Context, _ SignOutRequestObject) (SignOutResponseObject, error) {
	p, err := who(ctx)
	if err != nil {
		return nil, err
	}
	if p.User == nil {
		return nil, access.Invalid("an API token has no session that could end")
	}
	if err := s.db.DeleteSession(ctx, callerOf(ctx).secret); err != nil {
		return nil, err
	}
	return SignOut204Response{Headers: SignOut204ResponseHeaders{SetCookie: setCookie(s.guard.Cookie(""))}}, nil
}

// throttle refuses those who try too often. It returns the name under which the attempts at this
// account count. Without the cache it lets everybody through: hashing bounds itself, and people
// must get in when something is broken.
func (s *Server) throttle(ctx context.Context, ip, email string) (account string, err error) {
	network := networkOf(ip)
	// Hashed, to be of one length and no list of people.
	sum := sha256.Sum256([]byte(strings.ToLower(strings.TrimSpace(email)) + "\n" + network))
	account = "signin:account:" + hex.EncodeToString(sum[:16])
	for _, rule := range []struct {
		key   string
		limit int
	}{{"signin:address:" + network, signInsPerAddress}, {account, signInsPerAccount}} {
		ok, after, err := s.cache.Allow(ctx, rule.key, rule.limit, signInWindow)
		if err != nil {
			s.log.Warn("sign-ins are not limited: the cache does not answer", "request_id", access.RequestIDFrom(ctx), "err", err)
			return account, nil
		}
		if !ok {
			return account, access.RateLimited(after, "too many attempts to sign in: try again in a minute")
		}
	}
	return account, nil
}

// networkOf is what one caller may change their address in without trouble: for IPv6 a /64.
func networkOf(ip string) string {
	address, err := netip.ParseAddr(ip)
	if err != nil {
		return ip
	}
	if address = address.Unmap().WithZone(""); address.Is6() {
		return netip.PrefixFrom(address, 64).Masked().String()
	}
	return address.String()
}

func (s *Server) session(ctx context.Context, p access.Principal) (Session, error) {
	projects, err := s.db.Projects(ctx, p.Organisation.ID)
	if err != nil {
		return Session{}, err
	}
	out := Session{
		Organisation: Organisation{Id: p.Organisation.ID, Slug: p.Organisation.Slug, Name: p.Organisation.Name},
		Projects:     projectsOf(projects),
	}
	if p.User != nil {
		out.User = &User{Id: p.User.ID, Email: p.User.Email}
	}
	return out, nil
}
