package keeper

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.opentelemetry.io/otel/metric/noop"
	"google.golang.org/protobuf/proto"

	"github.com/midwatch/midwatch/proto/telemetrypb"
	"github.com/midwatch/midwatch/storage/catalog"
	"github.com/midwatch/midwatch/storage/retention"
	"github.com/midwatch/midwatch/storage/storagetest"
	"github.com/midwatch/midwatch/storage/telemetry"
)

func TestMain(m *testing.M) { os.Exit(storagetest.Main(m)) }

// noon is when the tests' telemetry was sent: of the day before yesterday nothing has expired.
var noon = time.Now().UTC().Truncate(24 * time.Hour).Add(12 * time.Hour)

const (
	day = 24 * time.Hour
	off = 0
)

// world is a keeper over a real store and catalog, at noon.
type world struct {
	*Keeper
	db       *catalog.DB
	store    *telemetry.Store
	projects []catalog.Project
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return newWorldOn(t, storagetest.Catalog(t))
}

func newWorldOn(t *testing.T, db *catalog.DB) *world {
	t.Helper()
	w := &world{db: db, store: storagetest.Telemetry(t)}
	first, err := w.db.Initialise(t.Context(), catalog.Initial{})
	if err != nil {
		t.Fatal(err)
	}
	second, err := w.db.CreateProject(t.Context(), first.Project.OrganisationID, "second", "Second")
	if err != nil {
		t.Fatal(err)
	}
	w.projects = []catalog.Project{first.Project, second}
	w.Keeper = w.keeper(t)
	return w
}

// keeper is another process on the same stores.
func (w *world) keeper(t *testing.T) *Keeper {
	t.Helper()
	k, err := New(Config{MinFree: func(uint64) uint64 { return off }}, w.db, w.store, noop.Meter{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	k.now = func() time.Time { return noon }
	return k
}

func (w *world) turns(t *testing.T, k *Keeper) {
	t.Helper()
	if err := k.turn(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// insert stores one log record of a project for each of the days ago, kept for some days.
func (w *world) insert(t *testing.T, project, keep uint32, ago ...int) {
	t.Helper()
	b := telemetry.NewLogBlock()
	noise := rand.New(rand.NewPCG(1, 2))
	for i, d := range ago {
		at := uint64(noon.Add(-time.Duration(d) * day).UnixNano())
		var body strings.Builder // of about a kilobyte that does not shrink
		for body.Len() < 1000 {
			fmt.Fprintf(&body, "%x ", noise.Uint64())
		}
		frame, err := proto.Marshal(&telemetrypb.LogFrame{Batches: []*telemetrypb.LogBatch{{
			ProjectId: project, ReceivedAt: uint64(noon.UnixNano()), RetentionDays: keep,
			Groups: []*telemetrypb.LogGroup{{Service: "api", Records: []*telemetrypb.LogRecord{{Time: at, Body: body.String()}}}},
		}}})
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Add(uint64(i), 0, frame); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.store.InsertLogs(t.Context(), "", b); err != nil {
		t.Fatal(err)
	}
}

func (w *world) insertEvent(t *testing.T, project uint32, ago int) {
	t.Helper()
	b := telemetry.NewErrorBlock()
	b.Add(1, &telemetrypb.ErrorFrame{Events: []*telemetrypb.ErrorEvent{{
		ProjectId: project, ReceivedAt: uint64(noon.UnixNano()), Time: uint64(noon.Add(-time.Duration(ago) * day).UnixNano()), IssueId: 1,
	}}})
	if err := w.store.InsertErrors(t.Context(), "", b); err != nil {
		t.Fatal(err)
	}
}

// ages are the days ago of the log records of a project, newest first.
func (w *world) ages(t *testing.T, project uint32) []int {
	t.Helper()
	sc, err := telemetry.NewScope(project, noon.Add(-100*day), noon.Add(day))
	if err != nil {
		t.Fatal(err)
	}
	page, err := w.store.Logs(t.Context(), sc, telemetry.LogFilter{}, 1000, "")
	if err != nil {
		t.Fatal(err)
	}
	ages := []int{}
	for _, l := range page.Rows {
		ages = append(ages, int(noon.Sub(l.Time)/day))
	}
	return ages
}

func (w *world) choose(t *testing.T, project uint32, logs int) {
	t.Helper()
	d := retention.Default
	d.Logs = logs
	if _, err := w.db.SetRetention(t.Context(), project, d); err != nil {
		t.Fatal(err)
	}
}

func equal(t *testing.T, what string, want, got any) {
	t.Helper()
	if d := cmp.Diff(want, got, cmpopts.EquateEmpty()); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

func TestWhatHasExpiredGoesAndTheRestStays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.insert(t, 1, 3, 0, 1, 2)
	w.insert(t, 2, 30, 0, 1, 2)
	w.turns(t, w.Keeper)
	equal(t, "project 1 at once", []int{0, 1, 2}, w.ages(t, 1))
	w.now = func() time.Time { return noon.Add(3 * day) }
	w.turns(t, w.Keeper)
	equal(t, "project 1 after three days", []int{0}, w.ages(t, 1))
	equal(t, "project 2 after three days", []int{0, 1, 2}, w.ages(t, 2))
}

func TestAShorterChoiceHoldsForWhatIsStoredDayByDay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.insert(t, 1, 30, 0, 2, 5, 20)
	w.insert(t, 2, 30, 0, 2, 5, 20)
	w.turns(t, w.Keeper)
	equal(t, "project 1 before", []int{0, 2, 5, 20}, w.ages(t, 1))
	w.choose(t, 1, 7)
	w.turns(t, w.Keeper)
	equal(t, "project 1 at seven days", []int{0, 2, 5}, w.ages(t, 1))
	w.choose(t, 1, 3)
	w.turns(t, w.Keeper)
	equal(t, "project 1 at three days", []int{0, 2}, w.ages(t, 1))
	due, err := w.db.DueShortenings(t.Context(), noon, 10)
	if err != nil || len(due) > 0 {
		t.Errorf("still due on this day: %v, %v", due, err)
	}
	w.now = func() time.Time { return noon.Add(2 * day) }
	w.turns(t, w.Keeper)
	equal(t, "project 1 two days later", []int{0}, w.ages(t, 1))
	equal(t, "project 2", []int{0, 2, 5, 20}, w.ages(t, 2))
	// What waited in the buffer since before the change.
	w.insert(t, 1, 30, 6)
	w.now = func() time.Time { return noon.Add(3 * day) }
	w.turns(t, w.Keeper)
	equal(t, "project 1 with a late record", []int{0}, w.ages(t, 1))
}

func TestALongerChoiceHoldsForWhatComes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.choose(t, 1, 3)
	w.insert(t, 1, 3, 0)
	w.choose(t, 1, 90)
	w.insert(t, 1, 90, 1)
	w.now = func() time.Time { return noon.Add(10 * day) }
	w.turns(t, w.Keeper)
	equal(t, "project 1", []int{1}, w.ages(t, 1))
}

func TestReleasesGoAsErrorsDo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	seen := func(release string, ago int) {
		at := noon.Add(-time.Duration(ago) * day)
		err := w.db.InTx(t.Context(), func(tx *catalog.Tx) error {
			return tx.AddIssueEvents(t.Context(), []catalog.IssueEvents{{Project: 1, ID: 1, Release: release, FirstSeen: at, LastSeen: at, Count: 1}})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	newest := func() string {
		release, err := w.db.NewestRelease(t.Context(), 1, noon)
		if err != nil {
			t.Fatal(err)
		}
		return release
	}
	seen("1.0", 399)
	w.turns(t, w.Keeper)
	equal(t, "while its errors may be kept", "1.0", newest())
	w.now = func() time.Time { return noon.Add(2 * day) }
	w.turns(t, w.Keeper)
	equal(t, "afterwards", "", newest())
}

func TestOneKeeperIsAtWork(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.insert(t, 1, 3, 0)
	other := w.keeper(t)
	w.turns(t, w.Keeper)
	later := func() time.Time { return noon.Add(10 * day) }
	other.now = func() time.Time { return noon.Add(leaseLength - 1) }
	w.turns(t, other)
	if err := other.step(t.Context(), func(context.Context) error { return nil }); err != errNotMine { //nolint:errorlint // as it is
		t.Errorf("a step without the lease: %v", err)
	}
	equal(t, "while the first has the lease", []int{0}, w.ages(t, 1))
	other.now = later
	w.turns(t, other)
	equal(t, "after it has ended", []int{}, w.ages(t, 1))
}

func TestAKeeperThatStopsGivesItsLeaseBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	other := w.keeper(t)
	for mine := true; mine; { // until the first has it
		var err error
		if mine, err = other.hold(t.Context()); err != nil {
			t.Fatal(err)
		}
		if mine {
			if err := w.db.EndLease(t.Context(), leaseName, other.holder); err != nil {
				t.Fatal(err)
			}
			if err := w.turn(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if mine, err := other.hold(t.Context()); err != nil || !mine {
		t.Errorf("the lease after the stop: %t, %v", mine, err)
	}
}

// fakeDisk has room for so many bytes of telemetry beside what else is on it.
func (w *world) fakeDisk(t *testing.T, total, room uint64) {
	w.disk = func(ctx context.Context) (telemetry.Disk, error) {
		all, err := w.store.Partitions(ctx)
		var used uint64
		for _, p := range all {
			used += p.Bytes
		}
		return telemetry.Disk{Free: room - min(room, used), Total: total}, err
	}
}

func (w *world) bytes(t *testing.T) (n uint64) {
	t.Helper()
	all, err := w.store.Partitions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		n += p.Bytes
	}
	return n
}

func notices(t *testing.T, db *catalog.DB, project uint32) (texts []string) {
	t.Helper()
	all, err := db.Notices(t.Context(), project, noon.Add(-day))
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range all {
		if !json.Valid([]byte(n.Details)) {
			t.Errorf("details: %s", n.Details)
		}
		texts = append(texts, n.Message)
	}
	slices.Sort(texts)
	return texts
}

func TestANearlyFullDiskLosesTheOldestFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.insert(t, 1, 30, 0, 0, 1, 2, 3)
	w.insert(t, 2, 90, 1, 3)
	used := w.bytes(t)
	w.fakeDisk(t, 10*used, used+used/10) // a tenth of the telemetry is free: one percent

	w.cfg.MinFree = func(uint64) uint64 { return used / 10 }
	w.turns(t, w.Keeper)
	equal(t, "project 1 while there is room", []int{0, 0, 1, 2, 3}, w.ages(t, 1))

	w.cfg.MinFree = func(total uint64) uint64 { return used/10 + 1 }
	w.turns(t, w.Keeper)
	if got := len(w.ages(t, 1)) + len(w.ages(t, 2)); got != 6 {
		t.Errorf("%d records are left, want all but one", got)
	}
	w.cfg.MinFree = func(total uint64) uint64 { return used/10 + 4*used/10 }
	w.turns(t, w.Keeper)
	for project := uint32(1); project <= 2; project++ {
		if slices.Contains(w.ages(t, project), 3) || !slices.Contains(w.ages(t, 1), 0) {
			t.Errorf("project %d has %v", project, w.ages(t, project))
		}
	}
	on := func(ago int) string {
		return fmt.Sprintf("Logs of %s were removed early because the disk was nearly full: ", noon.Add(-time.Duration(ago)*day).Format("2 Jan"))
	}
	for project := uint32(0); project <= 2; project++ {
		got := notices(t, w.db, project)
		if !slices.ContainsFunc(got, func(text string) bool { return strings.HasPrefix(text, on(3)) && strings.HasSuffix(text, " % free") }) {
			t.Errorf("project %d was told %q", project, got)
		}
		equal(t, "notices of one day", 1, len(slices.DeleteFunc(got, func(text string) bool { return !strings.HasPrefix(text, on(3)) })))
	}
	// More than there is: all but today's goes, and what is left is said once.
	w.cfg.MinFree = func(total uint64) uint64 { return total }
	w.turns(t, w.Keeper)
	equal(t, "project 1 at the end", []int{0, 0}, w.ages(t, 1))
	equal(t, "project 2 at the end", []int{}, w.ages(t, 2))
	if !w.helpless {
		t.Error("nobody was told that there is nothing left to remove")
	}
}

func TestRoomThatComesBackLateIsCounted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.insert(t, 1, 30, 0, 1, 2, 3)
	// A file system that frees nothing within the turn.
	w.disk = func(context.Context) (telemetry.Disk, error) { return telemetry.Disk{Free: 1, Total: 1 << 30}, nil }
	w.cfg.MinFree = func(uint64) uint64 { return 100 }
	w.turns(t, w.Keeper)
	equal(t, "one partition was enough", []int{0, 1, 2}, w.ages(t, 1))
}

func TestANoticeThatFailsRemovesNoMore(t *testing.T) {
	t.Parallel()
	cfg := storagetest.CatalogConfig(t)
	w := newWorldOn(t, storagetest.OpenCatalog(t, cfg))
	w.insert(t, 1, 30, 0, 1, 2, 3)
	if _, err := storagetest.RawCatalog(t, cfg).ExecContext(t.Context(), `DROP TABLE notices`); err != nil {
		t.Fatal(err)
	}
	w.disk = func(context.Context) (telemetry.Disk, error) { return telemetry.Disk{Free: 1, Total: 1 << 30}, nil }
	w.cfg.MinFree = func(uint64) uint64 { return 100 }
	if err := w.turn(t.Context()); err == nil {
		t.Error("nobody hears that nobody was told")
	}
	equal(t, "one partition was enough", []int{0, 1, 2}, w.ages(t, 1))
}

func TestOnlyThoseConcernedAreTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.insert(t, 1, 30, 2)
	w.insert(t, 2, 30, 1)
	w.insertEvent(t, 2, 20)
	w.disk = func(context.Context) (telemetry.Disk, error) { return telemetry.Disk{Free: 43, Total: 1000}, nil }
	w.cfg.MinFree = func(uint64) uint64 { return 44 }
	w.turns(t, w.Keeper) // the week of the event ended first
	w.turns(t, w.Keeper)
	monday := noon.Add(-20 * day)
	for monday.Weekday() != time.Monday {
		monday = monday.Add(-day)
	}
	equal(t, "project 2", []string{"Errors of " + period(monday.Truncate(day), monday.Truncate(day).Add(6*day)) + " were removed early because the disk was nearly full: 4 % free"}, notices(t, w.db, 2))
	equal(t, "project 1", []string{"Logs of " + noon.Add(-2*day).Format("2 Jan") + " were removed early because the disk was nearly full: 4 % free"}, notices(t, w.db, 1))
	equal(t, "the operator", 2, len(notices(t, w.db, 0)))
}

func TestPeriods(t *testing.T) {
	t.Parallel()
	d := func(month time.Month, day int) time.Time { return time.Date(2026, month, day, 0, 0, 0, 0, time.UTC) }
	for want, p := range map[string][2]time.Time{
		"12 Oct":          {d(10, 12), d(10, 12)},
		"12 to 18 Oct":    {d(10, 12), d(10, 18)},
		"28 Sep to 4 Oct": {d(9, 28), d(10, 4)},
	} {
		if got := period(p[0], p[1]); got != want {
			t.Errorf("period = %q, want %q", got, want)
		}
	}
}
