package digest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"github.com/midwatch/midwatch/alerts/desk"
	"github.com/midwatch/midwatch/alerts/digest"
	"github.com/midwatch/midwatch/alerts/incident"
	"github.com/midwatch/midwatch/alerts/notify"
	"github.com/midwatch/midwatch/alerts/oncall"
	"github.com/midwatch/midwatch/storage/catalog"
	"github.com/midwatch/midwatch/storage/storagetest"
)

// due is when the digest of a Tuesday is due, in UTC.
var due = time.Date(2026, 11, 24, 8, 30, 0, 0, time.UTC)

type world struct {
	t   *testing.T
	db  *catalog.DB
	org string
}

func newWorld(t *testing.T, cfg catalog.Config) *world {
	t.Helper()
	w := &world{t: t, db: storagetest.OpenCatalog(t, cfg)}
	in, err := w.db.Initialise(t.Context(), catalog.Initial{Email: "a@example.org"})
	if err != nil {
		t.Fatal(err)
	}
	w.org = in.Project.OrganisationID
	return w
}

// replica is a process that makes digests.
func (w *world) replica() *digest.Digests {
	answered := desk.Config{Reply: func(string, string, time.Time) string { return "token@reply.example" }}
	return digest.New("https://mw.example", w.db, desk.New(answered, w.db, slog.New(slog.DiscardHandler)))
}

func (w *world) put(kind, id string, body any) {
	w.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.db.PutDocument(w.t.Context(), catalog.Document{Organisation: w.org, Kind: kind, ID: id, Name: id, Body: text}, catalog.AnyVersion); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) add(team, text string, at time.Time) {
	w.t.Helper()
	body, err := json.Marshal(incident.Line{Section: incident.SectionHealed, Text: text, From: at, To: at})
	if err != nil {
		w.t.Fatal(err)
	}
	err = w.db.InTx(w.t.Context(), func(tx *catalog.Tx) error {
		return tx.AddDigestLine(w.t.Context(), catalog.DigestLine{ID: text, Organisation: w.org, Project: 1, Team: team, At: at, Section: incident.SectionHealed, Body: body})
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) run(d *digest.Digests, now time.Time) {
	w.t.Helper()
	if err := d.Run(w.t.Context(), now); err != nil {
		w.t.Fatal(err)
	}
}

// mails are the digests in the outbox: of which day to whom, and what they tell.
func (w *world) mails() map[string]string {
	w.t.Helper()
	rows, err := w.db.Deliveries(w.t.Context(), catalog.OutboxFilter{Organisation: w.org, Limit: 100})
	if err != nil {
		w.t.Fatal(err)
	}
	out := map[string]string{}
	for _, head := range rows {
		row, err := w.db.Delivery(w.t.Context(), head.Key)
		if err != nil {
			w.t.Fatal(err)
		}
		var m notify.Message
		if err := json.Unmarshal(row.Message, &m); err != nil {
			w.t.Fatal(err)
		}
		if m.ReplyTo != "" {
			w.t.Errorf("digest %s can be answered", row.Key)
		}
		var texts []string
		for _, s := range m.Sections {
			for _, l := range s.Lines {
				text, _, _ := strings.Cut(l.Text, ",")
				texts = append(texts, text)
			}
		}
		out[strings.Replace(row.Key, w.org, "org", 1)] = strings.Join(texts, ", ")
	}
	return out
}

func (w *world) want(want map[string]string) {
	w.t.Helper()
	if diff := cmp.Diff(want, w.mails()); diff != "" {
		w.t.Errorf("digests (-want +got):\n%s", diff)
	}
}

func TestEveryLineIsInOneDigestWhoeverMakesIt(t *testing.T) {
	storagetest.Catalogs(t, func(t *testing.T, cfg catalog.Config) {
		w := newWorld(t, cfg)
		w.put(incident.DocTeam, "ops", oncall.Team{ID: "ops", Name: "Ops", Mails: []string{"list", "boss", "gone"}})
		w.put(incident.DocTeam, "dev", oncall.Team{ID: "dev", Name: "Dev"})
		w.put(incident.DocReceiver, "list", map[string]any{"name": "list", "kind": "email"})
		w.put(incident.DocReceiver, "boss", map[string]any{"name": "boss", "kind": "webhook"})
		w.add("ops", "a", due.Add(-20*time.Hour))
		w.add("ops", "b", due.Add(-time.Second))
		w.add("ops", "c", due)
		w.add("dev", "d", due.Add(-time.Hour))
		w.add("old", "e", due.Add(-time.Hour)) // of a team that is gone

		one, two := w.replica(), w.replica()
		w.run(one, due.Add(-time.Second))
		w.want(map[string]string{})

		var g errgroup.Group
		for range 3 {
			g.Go(func() error { return one.Run(t.Context(), due) })
			g.Go(func() error { return two.Run(t.Context(), due) })
		}
		if err := g.Wait(); err != nil {
			t.Fatal(err)
		}
		tuesday := map[string]string{
			"digest:org:ops:2026-11-24:list": "a, b", "digest:org:ops:2026-11-24:boss": "a, b",
			"digest:org:dev:2026-11-24:list": "d", "digest:org:old:2026-11-24:list": "e",
		}
		w.want(tuesday)

		// What comes late, and whoever begins anew after a crash, changes nothing of it.
		w.add("ops", "f", due.Add(-time.Minute))
		w.put(incident.DocReceiver, "late", map[string]any{"name": "late", "kind": "email"})
		w.run(w.replica(), due.Add(time.Hour))
		w.run(one, due.Add(time.Hour))
		w.want(tuesday)

		w.run(w.replica(), due.Add(25*time.Hour))
		tuesday["digest:org:ops:2026-11-25:list"] = "f, c"
		tuesday["digest:org:ops:2026-11-25:boss"] = "f, c"
		w.want(tuesday)
	})
}

func TestACrashAtAnyMomentLosesNoLine(t *testing.T) {
	storagetest.Catalogs(t, func(t *testing.T, cfg catalog.Config) {
		w := newWorld(t, cfg)
		w.put(incident.DocReceiver, "list", map[string]any{"name": "list", "kind": "email"})
		w.put(incident.DocReceiver, "boss", map[string]any{"name": "boss", "kind": "email"})
		var want []string
		for n := range 5 {
			w.add("default", fmt.Sprint("line ", n), due.Add(time.Duration(n-10)*time.Minute))
			want = append(want, fmt.Sprint("line ", n))
		}
		for n := range 40 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(n)*300*time.Microsecond)
			_ = w.replica().Run(ctx, due) // it ends where it happens to be
			cancel()
			switch all := w.mails(); len(all) {
			case 0, 2:
			default:
				t.Fatalf("half a digest: %v", all)
			}
		}
		w.run(w.replica(), due)
		lines := strings.Join(want, ", ")
		w.want(map[string]string{"digest:org:default:2026-11-24:list": lines, "digest:org:default:2026-11-24:boss": lines})
	})
}

func TestTheDigestOfAWeekendComesOnMonday(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storagetest.CatalogConfig(t))
	w.put(incident.DocReceiver, "list", map[string]any{"name": "list", "kind": "email"})
	friday := time.Date(2026, 11, 20, 8, 30, 0, 0, time.UTC)
	w.add("default", "a", friday.Add(time.Hour))
	w.run(w.replica(), friday.Add(50*time.Hour))
	w.want(map[string]string{})
	w.run(w.replica(), friday.Add(73*time.Hour)) // an hour late
	w.want(map[string]string{"digest:org:default:2026-11-23:list": "a"})
}

func TestLinesWaitForSomebodyWhoReadsThem(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storagetest.CatalogConfig(t))
	d := w.replica()
	w.put(incident.DocReceiver, "hook", map[string]any{"name": "hook", "kind": "webhook"})
	w.add("default", "a", due.Add(-time.Hour))
	w.run(d, due)
	w.want(map[string]string{})
	w.put(incident.DocReceiver, "list", map[string]any{"name": "list", "kind": "email"})
	w.run(d, due.Add(time.Minute))
	w.want(map[string]string{"digest:org:default:2026-11-24:list": "a"})
}

func TestATeamWithoutDigestsGetsNone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storagetest.CatalogConfig(t))
	w.put(incident.DocReceiver, "list", map[string]any{"name": "list", "kind": "email"})
	w.put(incident.DocTeam, "ops", oncall.Team{ID: "ops", Name: "Ops", Digest: oncall.Digest{Days: oncall.Off}})
	w.add("ops", "a", due.Add(-time.Hour))
	w.run(w.replica(), due.Add(240*time.Hour))
	w.want(map[string]string{})
}

func TestTheWeeklyMailIsSentOnce(t *testing.T) {
	storagetest.Catalogs(t, func(t *testing.T, cfg catalog.Config) {
		w := newWorld(t, cfg)
		w.put(incident.DocReceiver, "list", map[string]any{"name": "list", "kind": "email"})
		monday := due.Add(-24 * time.Hour)
		body, err := json.Marshal(incident.Incident{Instances: []incident.Instance{{Rule: "r", Name: "R"}}})
		if err != nil {
			t.Fatal(err)
		}
		for n := range 3 {
			err := w.db.InTx(t.Context(), func(tx *catalog.Tx) error {
				opened := monday.Add(-time.Duration(n+1) * time.Hour)
				return tx.PutIncident(t.Context(), catalog.Incident{
					ID: fmt.Sprint(n), Number: int64(n + 1), Organisation: w.org, Project: 1, Team: "default", RouteKey: fmt.Sprint(n), State: catalog.IncidentResolved,
					Severity: "page", Title: "shop", OpenedAt: opened, Since: opened, ResolvedAt: opened.Add(time.Minute), Version: 1, Body: body,
				})
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		for range 2 {
			w.run(w.replica(), monday.Add(time.Minute))
			w.run(w.replica(), monday.Add(2*time.Hour))
		}
		got := w.mails()
		if len(got) != 1 || !strings.HasPrefix(got["hygiene:org:default:2026-11-23:list"], "R: 3 pages") {
			t.Errorf("mails %v", got)
		}
		w.run(w.replica(), monday.Add(26*time.Hour))
		if len(w.mails()) != 1 {
			t.Errorf("mails %v", w.mails())
		}
	})
}
