package catalog_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/midwatch/midwatch/storage/catalog"
)

func TestAuthenticateRefuses(t *testing.T) {
	onBoth(t, func(t *testing.T, db *catalog.DB) {
		initialised(t, db)
		f := func(email, password string) {
			t.Helper()
			if user, err := db.Authenticate(t.Context(), email, password); !errors.Is(err, catalog.ErrNotFound) || user != (catalog.User{}) {
				t.Errorf("Authenticate(%.30q, %.30q) = %+v, %v; want ErrNotFound", email, password, user, err)
			}
		}
		f("ann@example.com", "wrong")
		f("ann@example.com", "")
		f("ann@example.com", "correct horse ")
		f("bob@example.com", "correct horse")
		f("", "")
		f("ann@example.com\x00", "correct horse")
		f("\xff", "correct horse")
		f(strings.Repeat("a", 400), "correct horse")
		f("ann@example.com", strings.Repeat("a", 1001))
		hash, err := db.PasswordHash(t.Context(), "ann@example.com")
		if err != nil || !strings.HasPrefix(hash, "$argon2id$v=19$m=19456,t=2,p=1$") {
			t.Errorf("stored password = %q, %v; want argon2id in PHC form", hash, err)
		}
	})
}

func TestSessionSlides(t *testing.T) {
	onBoth(t, func(t *testing.T, db *catalog.DB) {
		now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
		db.SetNow(func() time.Time { return now })
		initialised(t, db)
		user, err := db.Authenticate(t.Context(), "ann@example.com", "correct horse")
		if err != nil {
			t.Fatal(err)
		}
		secret, err := db.CreateSession(t.Context(), user.ID)
		if err != nil || len(secret) != 43 {
			t.Fatalf("CreateSession = %q, %v", secret, err)
		}
		check := func(want time.Time, renewed bool) {
			t.Helper()
			s, err := db.Session(t.Context(), secret)
			if err != nil || s.Renewed != renewed || s.User != user || s.Organisation.Slug != "default" || !s.ExpiresAt.Equal(want) {
				t.Fatalf("Session = %+v, %v; want %s and an end at %s", s, err, user.Email, want)
			}
		}
		end := now.Add(catalog.SessionLifetime)
		check(end, false)
		now = now.Add(59 * time.Minute)
		check(end, false) // too little to write down
		now = now.Add(29 * 24 * time.Hour)
		end = now.Add(catalog.SessionLifetime)
		check(end, true)
		now = end.Add(-time.Nanosecond)
		end = now.Add(catalog.SessionLifetime)
		check(end, true)
		now = end
		if _, err := db.Session(t.Context(), secret); !errors.Is(err, catalog.ErrNotFound) {
			t.Fatalf("Session after its end: %v, want ErrNotFound", err)
		}
	})
}

func TestSessionEnds(t *testing.T) {
	onBoth(t, func(t *testing.T, db *catalog.DB) {
		initialised(t, db)
		user, err := db.Authenticate(t.Context(), "ann@example.com", "correct horse")
		if err != nil {
			t.Fatal(err)
		}
		first, err := db.CreateSession(t.Context(), user.ID)
		if err != nil {
			t.Fatal(err)
		}
		second, err := db.CreateSession(t.Context(), user.ID)
		if err != nil || first == second {
			t.Fatalf("CreateSession = %v; want another secret", err)
		}
		for range 2 { // the second time there is nothing to do
			if err := db.DeleteSession(t.Context(), first); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := db.Session(t.Context(), first); !errors.Is(err, catalog.ErrNotFound) {
			t.Errorf("Session after its deletion: %v, want ErrNotFound", err)
		}
		if _, err := db.Session(t.Context(), second); err != nil {
			t.Errorf("the other session: %v", err)
		}
		if _, err := db.CreateSession(t.Context(), "nobody"); !errors.Is(err, catalog.ErrNotFound) {
			t.Errorf("CreateSession for nobody: %v, want ErrNotFound", err)
		}
	})
}

func TestTokenRefuses(t *testing.T) {
	onBoth(t, func(t *testing.T, db *catalog.DB) {
		in := initialised(t, db)
		for _, secret := range []string{"", "mwt_", "mwt_nonsense", in.APIToken + "x", in.IngestKey, strings.Repeat("x", 10_000), "abcdefgh\x00"} {
			if _, err := db.Token(t.Context(), secret); !errors.Is(err, catalog.ErrNotFound) {
				t.Errorf("Token(%.20q) = %v, want ErrNotFound", secret, err)
			}
		}
	})
}

func FuzzPasswordHash(f *testing.F) {
	f.Add("$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
	f.Add("$argon2id$v=19$m=4294967295,t=2,p=1$c29tZXNhbHQ$AAAA")
	f.Add("$argon2id$v=19$m=1,t=0,p=0$$")
	f.Add("$2b$12$abcdefghijklmnopqrstuv")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := catalog.PHC(text)
		if err == nil && len(got) != len(text) {
			t.Errorf("%q is understood as %q", text, got)
		}
	})
}

func TestMembersAreThoseOfTheirOrganisation(t *testing.T) {
	onBoth(t, func(t *testing.T, db *catalog.DB) {
		organisation := initialised(t, db).Project.OrganisationID
		user, err := db.Member(t.Context(), organisation, " ANN@example.com ")
		if err != nil || user.Email != "ann@example.com" || user.ID == "" {
			t.Errorf("Member = %+v, %v", user, err)
		}
		for _, other := range [][2]string{{organisation, "bob@example.com"}, {organisation, ""}, {"another", "ann@example.com"}, {organisation, "ann@example.com\x00"}} {
			if user, err := db.Member(t.Context(), other[0], other[1]); !errors.Is(err, catalog.ErrNotFound) {
				t.Errorf("Member(%q) = %+v, %v; want ErrNotFound", other, user, err)
			}
		}
	})
}
