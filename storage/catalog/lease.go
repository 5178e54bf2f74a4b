package catalog

import (
	"context"
	"fmt"
	"time"
)

// TakeLease makes holder the one that does the work of this name until now + length, or puts off
// the end of its lease. It returns false while somebody else has it. now is the caller's clock:
// clocks that differ by less than length only make the work wait.
func (db *DB) TakeLease(ctx context.Context, name, holder string, now time.Time, length time.Duration) (bool, error) {
	var n int64
	err := db.InTx(ctx, func(tx *Tx) (err error) {
		n, err = tx.exec(ctx, `INSERT INTO leases (name, holder, ends_at) VALUES ($1, $2, $3)
			ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, ends_at = excluded.ends_at
			WHERE leases.holder = excluded.holder OR leases.ends_at <= $4`, name, holder, fromTime(now.Add(length)), fromTime(now))
		return err
	})
	if err != nil {
		return false, fmt.Errorf("take the lease of the %s: %w", name, err)
	}
	return n > 0, nil
}

// EndLease lets go of a lease, where holder has it.
func (db *DB) EndLease(ctx context.Context, name, holder string) error {
	err := db.InTx(ctx, func(tx *Tx) error {
		_, err := tx.exec(ctx, `DELETE FROM leases WHERE name = $1 AND holder = $2`, name, holder)
		return err
	})
	if err != nil {
		return fmt.Errorf("end the lease of the %s: %w", name, err)
	}
	return nil
}
