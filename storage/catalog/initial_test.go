package catalog_test

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/midwatch/midwatch/storage/catalog"
	"github.com/midwatch/midwatch/storage/storagetest"
)

func TestInitialiseGenerates(t *testing.T) {
	onBoth(t, func(t *testing.T, db *catalog.DB) {
		in, err := db.Initialise(t.Context(), catalog.Initial{})
		if err != nil {
			t.Fatal(err)
		}
		for name, f := range map[string]struct{ value, pattern string }{
			"e-mail":   {in.Email, `^admin@localhost$`},
			"password": {in.Password, `^[a-z2-7]{5}(-[a-z2-7]{5}){3}$`},
			"key":      {in.IngestKey, `^[0-9a-f]{32}$`},
			"token":    {in.APIToken, `^mwt_[A-Za-z0-9_-]{43}$`},
		} {
			if !regexp.MustCompile(f.pattern).MatchString(f.value) {
				t.Errorf("generated %s = %q, want %s", name, f.value, f.pattern)
			}
		}
		if !in.Created || in.Project.Number != 1 || in.Project.Slug != "default" || in.Project.IngestKey != in.IngestKey {
			t.Errorf("Initialise = %+v, want project default with number 1", in)
		}
		user, err := db.Authenticate(t.Context(), in.Email, in.Password)
		if err != nil || user.Email != in.Email {
			t.Errorf("Authenticate = %+v, %v", user, err)
		}
		token, err := db.Token(t.Context(), in.APIToken)
		if err != nil || token.Organisation.Slug != "default" || token.Organisation.ID != in.Project.OrganisationID {
			t.Errorf("Token = %+v, %v", token, err)
		}
		project, err := db.ProjectByKey(t.Context(), in.IngestKey)
		if diff := cmp.Diff(in.Project, project); err != nil || diff != "" {
			t.Errorf("ProjectByKey: %v\n%s", err, diff)
		}
	})
}

func TestInitialiseTakesWhatIsGiven(t *testing.T) {
	onBoth(t, func(t *testing.T, db *catalog.DB) {
		given := catalog.Initial{Email: " Ann@Example.COM ", Password: "pässword", IngestKey: "my_Key-1", APIToken: "12345678"}
		in, err := db.Initialise(t.Context(), given)
		if err != nil {
			t.Fatal(err)
		}
		if in.Email != "ann@example.com" || in.Password != "" || in.IngestKey != "" || in.APIToken != "" {
			t.Errorf("Initialise = %+v, want nothing that was given but the address", in)
		}
		if _, err := db.Authenticate(t.Context(), "ANN@example.com", "pässword"); err != nil {
			t.Errorf("Authenticate: %v", err)
		}
		if _, err := db.Token(t.Context(), "12345678"); err != nil {
			t.Errorf("Token: %v", err)
		}
		if project, err := db.ProjectByKey(t.Context(), "my_Key-1"); err != nil || project.Number != 1 {
			t.Errorf("ProjectByKey = %+v, %v", project, err)
		}

		again, err := db.Initialise(t.Context(), catalog.Initial{Email: "nonsense", IngestKey: "no"})
		if err != nil || again != (catalog.Initialised{Project: in.Project}) {
			t.Errorf("a later Initialise = %+v, %v; want the project alone", again, err)
		}
	})
}

func TestInitialiseRefuses(t *testing.T) {
	t.Parallel()
	db := storagetest.Catalog(t)
	f := func(in catalog.Initial, want string) {
		t.Helper()
		_, err := db.Initialise(t.Context(), in)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Initialise(%+v) = %v, want an error about %q", in, err, want)
		}
		for _, secret := range []string{in.Password, in.IngestKey, in.APIToken} {
			if secret != "" && strings.Contains(err.Error(), secret) {
				t.Errorf("the error shows a secret: %v", err)
			}
		}
	}
	f(catalog.Initial{Email: "ann"}, "e-mail")
	f(catalog.Initial{Email: "@example.com"}, "e-mail")
	f(catalog.Initial{Email: "ann smith@example.com"}, "e-mail")
	f(catalog.Initial{IngestKey: "shorter"}, "ingest key")
	f(catalog.Initial{IngestKey: "key with spaces"}, "ingest key")
	f(catalog.Initial{IngestKey: strings.Repeat("x", 129)}, "ingest key")
	f(catalog.Initial{APIToken: "1234567"}, "API token")
	f(catalog.Initial{APIToken: "with a space"}, "API token")
	f(catalog.Initial{Password: strings.Repeat("x", 1001)}, "password")
	f(catalog.Initial{Email: "ann", IngestKey: "?", APIToken: "#"}, "ingest key")
	if _, err := db.Project(t.Context(), 1); !errors.Is(err, catalog.ErrNotFound) {
		t.Errorf("after refusals there is a project: %v", err)
	}
}

func TestInitialiseOnceAmongProcesses(t *testing.T) {
	t.Parallel()
	storagetest.Catalogs(t, func(t *testing.T, cfg catalog.Config) {
		const processes = 4
		results := make([]catalog.Initialised, processes)
		dbs := make([]*catalog.DB, processes)
		for i := range dbs {
			dbs[i] = storagetest.OpenCatalog(t, cfg)
		}
		if err := errors.Join(race(processes, func(i int) (err error) {
			results[i], err = dbs[i].Initialise(t.Context(), catalog.Initial{})
			return err
		})...); err != nil {
			t.Fatal(err)
		}
		created := 0
		for _, in := range results {
			if !in.Created {
				if in != (catalog.Initialised{Project: in.Project}) || in.Project.Number != 1 {
					t.Errorf("a loser returned %+v", in)
				}
				continue
			}
			created++
			if _, err := dbs[0].Authenticate(t.Context(), in.Email, in.Password); err != nil {
				t.Errorf("what the winner returned is not what is stored: %v", err)
			}
		}
		if created != 1 {
			t.Errorf("%d processes were the first, want 1", created)
		}
	})
}
