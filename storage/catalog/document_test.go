package catalog_test

import (
	"errors"
	"testing"
	"time"

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

func TestOldAlertingGoesAndWhatIsDueStays(t *testing.T) {
	onBoth(t, func(t *testing.T, db *catalog.DB) {
		ctx, now := t.Context(), time.Now().UTC()
		old := now.Add(-100 * 24 * time.Hour)
		err := db.InTx(ctx, func(tx *catalog.Tx) error {
			for key, row := range map[string]catalog.OutboxRow{
				"old": {State: catalog.OutboxDone, CreatedAt: old}, "waiting": {CreatedAt: old}, "new": {State: catalog.OutboxDone, CreatedAt: now},
			} {
				row.Key, row.Organisation, row.DueAt, row.Message = key, "org", now, []byte(`{}`)
				if err := tx.Post(ctx, row); err != nil {
					return err
				}
			}
			return tx.AddAccount(ctx, catalog.Account{Minute: old, Replica: "a", Due: 1})
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := db.DropOldAlerting(ctx, now.Add(-90*24*time.Hour)); err != nil {
			t.Fatal(err)
		}
		rows, err := db.Deliveries(ctx, catalog.OutboxFilter{Organisation: "org", Limit: 10})
		if err != nil || len(rows) != 2 {
			t.Errorf("%d messages are left, %v; want the one that waits and the new one", len(rows), err)
		}
		if accounts, err := db.Accounts(ctx, old.Add(-time.Hour)); err != nil || len(accounts) != 0 {
			t.Errorf("accounts %v, %v; want none", accounts, err)
		}
	})
}
