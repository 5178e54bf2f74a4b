package telemetry

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// keepTimeout bounds one statement of the keeper, but for deletions, which go on at the server.
const keepTimeout = time.Minute

// deletionWait is how long a deletion is waited for; after that it is found unfinished later.
const deletionWait = 30 * time.Second

var (
	errKeepTimeout  = errors.New("the statement took too long")
	errDeletionWait = errors.New("the deletion goes on at the server")
)

// seriesTable says what the samples of metric_samples are of.
const seriesTable = "metric_series"

// keptTables are the tables of each signal.
var keptTables = map[string][]string{
	SignalMetrics:  {"metric_samples", seriesTable},
	SignalLogs:     {"logs"},
	SignalErrors:   {"error_events"},
	SignalCheckins: {"checkins"},
}

// weekly are the tables whose long-lived rows share a partition for each week.
var weekly = map[string]bool{"error_events": true, "checkins": true}

// weeklyFrom is the class from which they do.
const weeklyFrom = 30

// Partition is what can be dropped at once: the rows of a table that are kept equally long and are
// of the same day or week.
type Partition struct {
	Table, ID string
	// Signal is one of the Signal constants.
	Signal string
	// RetentionDays is for how long its rows are kept.
	RetentionDays int
	// First and Last are the midnights at which its first and last day begin, whether or not there are rows of them.
	First, Last time.Time
	Rows, Bytes uint64
}

// Expired reports whether every row that the partition may ever get has been kept long enough.
func (p Partition) Expired(now time.Time) bool {
	return !p.Last.AddDate(0, 0, p.RetentionDays+1).After(now)
}

// Partitions lists all partitions with rows, those with the oldest last day first, larger ones first
// among equals. Series come behind all else of their day: no sample can be read without them.
func (s *Store) Partitions(ctx context.Context) ([]Partition, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, keepTimeout, errKeepTimeout)
	defer cancel()
	sizes, err := s.partitionSizes(ctx)
	if err != nil {
		return nil, err
	}
	var out []Partition
	for signal, tables := range keptTables {
		for _, table := range tables {
			// Answered from what the parts know of their ends, without reading rows.
			rows, err := s.rows.Query(ctx, `SELECT _partition_id, max(retention_days), min(day), max(day), count() FROM `+table+` GROUP BY _partition_id`)
			if err != nil {
				return nil, fmt.Errorf("list partitions of %s: %w", table, err)
			}
			for rows.Next() {
				p := Partition{Table: table, Signal: signal}
				var days uint16
				if err := rows.Scan(&p.ID, &days, &p.First, &p.Last, &p.Rows); err != nil {
					return nil, errors.Join(fmt.Errorf("list partitions of %s: %w", table, err), rows.Close())
				}
				p.RetentionDays = int(days)
				p.First, p.Last = p.First.UTC(), p.Last.UTC()
				if weekly[table] && p.RetentionDays >= weeklyFrom {
					p.First = p.First.AddDate(0, 0, -(int(p.First.Weekday())+6)%7)
					p.Last = p.First.AddDate(0, 0, 6)
				}
				p.Bytes = sizes[table+" "+p.ID]
				out = append(out, p)
			}
			if err := errors.Join(rows.Err(), rows.Close()); err != nil {
				return nil, fmt.Errorf("list partitions of %s: %w", table, err)
			}
		}
	}
	slices.SortFunc(out, func(a, b Partition) int {
		switch {
		case !a.Last.Equal(b.Last):
			return a.Last.Compare(b.Last)
		case (a.Table == seriesTable) != (b.Table == seriesTable):
			if b.Table == seriesTable {
				return -1
			}
			return 1
		case a.Bytes != b.Bytes:
			if a.Bytes > b.Bytes {
				return -1
			}
			return 1
		}
		return strings.Compare(a.Table+a.ID, b.Table+b.ID)
	})
	return out, nil
}

// partitionSizes returns the bytes on disk by table and partition.
func (s *Store) partitionSizes(ctx context.Context) (map[string]uint64, error) {
	rows, err := s.rows.Query(ctx, `SELECT table, partition_id, sum(bytes_on_disk) FROM system.parts
WHERE database = currentDatabase() AND active GROUP BY table, partition_id`)
	if err != nil {
		return nil, fmt.Errorf("read the sizes of partitions: %w", err)
	}
	defer rows.Close()
	sizes := map[string]uint64{}
	for rows.Next() {
		var table, id string
		var bytes uint64
		if err := rows.Scan(&table, &id, &bytes); err != nil {
			return nil, fmt.Errorf("read the sizes of partitions: %w", err)
		}
		sizes[table+" "+id] = bytes
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read the sizes of partitions: %w", err)
	}
	return sizes, nil
}

// ProjectsIn returns the projects that have rows in a partition, up to a thousand.
func (s *Store) ProjectsIn(ctx context.Context, p Partition) ([]uint32, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, keepTimeout, errKeepTimeout)
	defer cancel()
	var projects []uint32
	rows, err := s.rows.Query(ctx, `SELECT DISTINCT project_id FROM `+p.Table+` WHERE _partition_id = {id:String} LIMIT 1000`, clickhouse.Named("id", p.ID))
	if err != nil {
		return nil, fmt.Errorf("find the projects in %s of %s: %w", p.ID, p.Table, err)
	}
	defer rows.Close()
	for rows.Next() {
		var project uint32
		if err := rows.Scan(&project); err != nil {
			return nil, fmt.Errorf("find the projects in %s of %s: %w", p.ID, p.Table, err)
		}
		projects = append(projects, project)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("find the projects in %s of %s: %w", p.ID, p.Table, err)
	}
	return projects, nil
}

// DropPartition removes all rows of a partition. One that is gone already is no error.
func (s *Store) DropPartition(ctx context.Context, p Partition) error {
	ctx, cancel := context.WithTimeoutCause(ctx, keepTimeout, errKeepTimeout)
	defer cancel()
	if err := s.rows.Exec(ctx, `ALTER TABLE `+p.Table+` DROP PARTITION ID `+quoteText(p.ID)+` SETTINGS max_partition_size_to_drop = 0`); err != nil {
		return fmt.Errorf("drop partition %s of %s: %w", p.ID, p.Table, err)
	}
	if p.Signal == SignalMetrics {
		s.series.forget()
	}
	return nil
}

// DeleteOlder deletes a project's rows of a signal that were accepted to be kept longer than for
// some days, and are older than that now. It returns true once there are none left; false says
// that a deletion is under way, to be asked for again.
func (s *Store) DeleteOlder(ctx context.Context, project uint32, signal string, days int, now time.Time) (done bool, err error) {
	done = true
	for _, table := range keptTables[signal] {
		gone, err := s.deleteOlder(ctx, table, project, days, now)
		if err != nil {
			return false, fmt.Errorf("delete rows of project %d that are older than %d days from %s: %w", project, days, table, err)
		}
		done = done && gone
	}
	return done, nil
}

func (s *Store) deleteOlder(ctx context.Context, table string, project uint32, days int, now time.Time) (done bool, err error) {
	// Ours and numbers only, so that they may stand in the text: a deletion takes no parameters.
	older := fmt.Sprintf("project_id = %d AND retention_days > %d AND day < toDate(%d)", project, days, now.Unix()/86_400-int64(days))
	if pending, err := s.mutating(ctx, table); err != nil || pending {
		return false, err // they queue up: one at a time
	}
	partitions, err := s.partitionsWith(ctx, table, older)
	if err != nil || len(partitions) == 0 {
		return err == nil, err
	}
	for _, id := range partitions {
		if err := s.deleteIn(ctx, table, id, older); err != nil {
			if errors.Is(err, errDeletionWait) {
				return false, nil
			}
			return false, err
		}
	}
	if table == seriesTable {
		s.series.forget()
	}
	// What arrived meanwhile, or what an earlier deletion of another process has left.
	partitions, err = s.partitionsWith(ctx, table, older)
	return err == nil && len(partitions) == 0, err
}

func (s *Store) deleteIn(ctx context.Context, table, partition, where string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, deletionWait, errDeletionWait)
	defer cancel()
	err := s.rows.Exec(ctx, `ALTER TABLE `+table+` DELETE IN PARTITION ID `+quoteText(partition)+` WHERE `+where+` SETTINGS mutations_sync = 1`)
	if err != nil && errors.Is(context.Cause(ctx), errDeletionWait) {
		return errDeletionWait
	}
	return err
}

// mutating reports whether a deletion in a table is under way.
func (s *Store) mutating(ctx context.Context, table string) (bool, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, keepTimeout, errKeepTimeout)
	defer cancel()
	var n uint64
	var reason string
	err := s.rows.QueryRow(ctx, `SELECT count(), max(latest_fail_reason) FROM system.mutations
WHERE database = currentDatabase() AND table = {table:String} AND NOT is_done`, clickhouse.Named("table", table)).Scan(&n, &reason)
	if err == nil && reason != "" {
		err = fmt.Errorf("an earlier deletion does not go on: %s", reason)
	}
	return n > 0, err
}

// partitionsWith lists the partitions with rows that match.
func (s *Store) partitionsWith(ctx context.Context, table, where string) ([]string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, keepTimeout, errKeepTimeout)
	defer cancel()
	rows, err := s.rows.Query(ctx, `SELECT DISTINCT _partition_id FROM `+table+` WHERE `+where+` ORDER BY _partition_id`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var ids []string
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}

// Disk is the room on the disk that holds the tables: of several the one that is fullest.
type Disk struct{ Free, Total uint64 }

// Disk asks the server.
func (s *Store) Disk(ctx context.Context) (Disk, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, keepTimeout, errKeepTimeout)
	defer cancel()
	var d Disk
	// Object storage has no end.
	const sql = `SELECT free_space, total_space FROM system.disks
WHERE total_space > 0 AND total_space < 1e18 AND name IN (SELECT disk_name FROM system.parts WHERE database = currentDatabase() AND active UNION DISTINCT SELECT 'default')
ORDER BY free_space / total_space LIMIT 1`
	if err := s.rows.QueryRow(ctx, sql).Scan(&d.Free, &d.Total); err != nil {
		return Disk{}, fmt.Errorf("read the free space of the disk: %w", err)
	}
	return d, nil
}

// quoteText is text as a literal of SQL.
func quoteText(text string) string {
	return "'" + strings.NewReplacer("\\", "\\\\", "'", "\\'").Replace(text) + "'"
}
