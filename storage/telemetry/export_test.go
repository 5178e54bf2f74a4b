package telemetry

import (
	"io/fs"
	"path/filepath"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// DropDatabase removes the database of a store.
func DropDatabase(t testing.TB, s *Store) {
	t.Helper()
	if err := s.rows.Exec(t.Context(), "DROP DATABASE "+quoteName(s.database)+" SYNC"); err != nil {
		t.Error(err)
	}
}

// Setting returns a setting of the server as it is during a read.
func Setting(t testing.TB, s *Store, sc Scope, name string) string {
	t.Helper()
	var value string
	const sql = "SELECT value FROM system.settings WHERE name = {name:String}"
	err := s.query(t.Context(), sc, "read a setting", sql, params{"name": name}, func(rows driver.Rows) error {
		return rows.Scan(&value)
	})
	if err != nil {
		t.Error(err)
	}
	return value
}

// TableStatement returns the statement that makes a table, as the server keeps it.
func TableStatement(t testing.TB, s *Store, table string) string {
	t.Helper()
	var statement string
	const sql = "SELECT create_table_query FROM system.tables WHERE database = currentDatabase() AND name = {name:String}"
	if err := s.rows.QueryRow(t.Context(), sql, clickhouse.Named("name", table)).Scan(&statement); err != nil {
		t.Error(err)
	}
	return statement
}

// HoldSampleReads takes all slots of reads of samples until release is called.
func HoldSampleReads(s *Store) (release func()) {
	for range cap(s.blocks.reads) {
		s.blocks.reads <- struct{}{}
	}
	return func() {
		for range cap(s.blocks.reads) {
			<-s.blocks.reads
		}
	}
}

// SampleValues returns the values of a series as the server reads them, by time.
func SampleValues(t testing.TB, s *Store, sc Scope, fp uint64) []float64 {
	t.Helper()
	var values []float64
	const sql = "SELECT value FROM metric_samples WHERE project_id = {project:UInt32} AND fp = {fp:UInt64} ORDER BY ts"
	err := s.query(t.Context(), sc, "read samples", sql, params{"project": sc.project, "fp": fp}, func(rows driver.Rows) error {
		var v float64
		values = append(values, v)
		return rows.Scan(&values[len(values)-1])
	})
	if err != nil {
		t.Error(err)
	}
	return values
}

// BytesOnDisk is the size of the files of a table's parts, of those too that no read sees any more.
func BytesOnDisk(t testing.TB, s *Store, table string) (bytes int64) {
	t.Helper()
	var paths []string
	const sql = "SELECT data_paths FROM system.tables WHERE database = currentDatabase() AND name = {name:String}"
	if err := s.rows.QueryRow(t.Context(), sql, clickhouse.Named("name", table)).Scan(&paths); err != nil {
		t.Error(err)
	}
	for _, path := range paths {
		err := filepath.WalkDir(path, func(_ string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			info, err := d.Info()
			if err == nil {
				bytes += info.Size()
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
	return bytes
}
