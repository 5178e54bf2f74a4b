package storagetest

import (
	"testing"

	"github.com/midwatch/midwatch/storage/catalog"
)

// PostgreSQL returns an empty schema on a PostgreSQL server, which goes with the test. The test is
// skipped where no server answers.
func PostgreSQL(t testing.TB) catalog.Config {
	t.Helper()
	return postgresConfig(t)
}
