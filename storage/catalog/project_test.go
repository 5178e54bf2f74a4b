package catalog_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/midwatch/midwatch/storage/catalog"
)

func TestProjects(t *testing.T) {
	onBoth(t, func(t *testing.T, db *catalog.DB) {
		first := initialised(t, db).Project
		second, err := db.CreateProject(t.Context(), first.OrganisationID, "shop", "The shop")
		if err != nil {
			t.Fatal(err)
		}
		if second.Number != 2 || second.Slug != "shop" || second.Name != "The shop" || len(second.IngestKey) != 32 || second.CreatedAt.IsZero() {
			t.Errorf("CreateProject = %+v", second)
		}
		projects, err := db.Projects(t.Context(), first.OrganisationID)
		if diff := cmp.Diff([]catalog.Project{first, second}, projects); err != nil || diff != "" {
			t.Errorf("Projects: %v\n%s", err, diff)
		}
		for _, want := range projects {
			got, err := db.Project(t.Context(), want.Number)
			if diff := cmp.Diff(want, got); err != nil || diff != "" {
				t.Errorf("Project(%d): %v\n%s", want.Number, err, diff)
			}
			got, err = db.ProjectByKey(t.Context(), want.IngestKey)
			if diff := cmp.Diff(want, got); err != nil || diff != "" {
				t.Errorf("ProjectByKey: %v\n%s", err, diff)
			}
		}
	})
}

func TestProjectsRefuse(t *testing.T) {
	onBoth(t, func(t *testing.T, db *catalog.DB) {
		first := initialised(t, db).Project
		if _, err := db.CreateProject(t.Context(), first.OrganisationID, "default", "Again"); !errors.Is(err, catalog.ErrConflict) {
			t.Errorf("CreateProject of a slug that is taken: %v, want ErrConflict", err)
		}
		if _, err := db.CreateProject(t.Context(), "nobody", "x", "X"); !errors.Is(err, catalog.ErrNotFound) {
			t.Errorf("CreateProject for nobody: %v, want ErrNotFound", err)
		}
		for _, number := range []uint32{0, 2, 1<<32 - 1} {
			if _, err := db.Project(t.Context(), number); !errors.Is(err, catalog.ErrNotFound) {
				t.Errorf("Project(%d): %v, want ErrNotFound", number, err)
			}
		}
		for _, key := range []string{"", "short", "0123456789abcdef0123456789abcdef", "with\x00zero", "' OR 1=1 --"} {
			if _, err := db.ProjectByKey(t.Context(), key); !errors.Is(err, catalog.ErrNotFound) {
				t.Errorf("ProjectByKey(%q): %v, want ErrNotFound", key, err)
			}
		}
		if projects, err := db.Projects(t.Context(), "nobody"); err != nil || len(projects) != 0 {
			t.Errorf("Projects of nobody = %v, %v", projects, err)
		}
	})
}

func TestProjectNumbersAreUniqueUnderRaces(t *testing.T) {
	onBoth(t, func(t *testing.T, db *catalog.DB) {
		organisation := initialised(t, db).Project.OrganisationID
		const callers = 10
		numbers := make([]int, callers)
		if err := errors.Join(race(callers, func(i int) error {
			p, err := db.CreateProject(t.Context(), organisation, fmt.Sprintf("p%d", i), "P")
			numbers[i] = int(p.Number)
			return err
		})...); err != nil {
			t.Fatal(err)
		}
		slices.Sort(numbers)
		if diff := cmp.Diff([]int{2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, numbers); diff != "" {
			t.Errorf("numbers (-want +got)\n%s", diff)
		}
	})
}
