package catalog_test

import (
	"errors"
	"testing"

	"github.com/midwatch/midwatch/storage/catalog"
)

func TestDocumentsAreChangedByWhoKnowsTheNewest(t *testing.T) {
	onBoth(t, func(t *testing.T, db *catalog.DB) {
		ctx := t.Context()
		rule := catalog.Document{Organisation: "org", Kind: "rule", Project: 1, ID: "errors", Name: "Errors", Body: []byte(`{"n":1}`), UpdatedBy: "ann"}
		made, err := db.PutDocument(ctx, rule, catalog.NewDocument)
		if err != nil || made.Version != 1 || made.CreatedAt.IsZero() {
			t.Fatalf("PutDocument = %+v, %v", made, err)
		}
		if _, err := db.PutDocument(ctx, rule, catalog.NewDocument); !errors.Is(err, catalog.ErrConflict) {
			t.Fatalf("making it twice: %v, want ErrConflict", err)
		}
		before, err := db.DocumentsVersion(ctx)
		if err != nil {
			t.Fatal(err)
		}
		rule.Body = []byte(`{"n":2}`)
		changed, err := db.PutDocument(ctx, rule, 1)
		if err != nil || changed.Version != 2 || !changed.CreatedAt.Equal(made.CreatedAt) {
			t.Fatalf("PutDocument = %+v, %v", changed, err)
		}
		if after, err := db.DocumentsVersion(ctx); err != nil || after <= before {
			t.Fatalf("the version went from %d to %d, %v", before, after, err)
		}
		if _, err := db.PutDocument(ctx, rule, 1); !errors.Is(err, catalog.ErrConflict) {
			t.Fatalf("changing an old version: %v, want ErrConflict", err)
		}
		if kept, err := db.PutDocument(ctx, rule, catalog.AnyVersion); err != nil || kept.Version != 3 {
			t.Fatalf("changing whatever there is: %+v, %v", kept, err)
		}
		if all, err := db.Documents(ctx, "org", "rule", 2); err != nil || len(all) != 0 {
			t.Fatalf("documents of another project: %v, %v", all, err)
		}
		if got, err := db.Document(ctx, "org", "rule", 1, "errors"); err != nil || string(got.Body) != `{"n":2}` {
			t.Fatalf("Document = %+v, %v", got, err)
		}
		if err := db.DeleteDocument(ctx, "org", "rule", 1, "errors"); err != nil {
			t.Fatal(err)
		}
		if err := db.DeleteDocument(ctx, "org", "rule", 1, "errors"); !errors.Is(err, catalog.ErrNotFound) {
			t.Fatalf("deleting it twice: %v, want ErrNotFound", err)
		}
	})
}
