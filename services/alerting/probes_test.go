package alerting

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	colmetricspb "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	"google.golang.org/protobuf/proto"

	"github.com/midwatch/midwatch/alerts/probe"
	"github.com/midwatch/midwatch/proto/telemetrypb"
	"github.com/midwatch/midwatch/services/ingest/otlp"
	"github.com/midwatch/midwatch/services/ingest/record"
	"github.com/midwatch/midwatch/storage/catalog"
	"github.com/midwatch/midwatch/storage/storagetest"
)

// newCatalog has one project, number 1.
func newCatalog(t *testing.T) (*catalog.DB, catalog.Project) {
	t.Helper()
	db := storagetest.Catalog(t)
	first, err := db.Initialise(t.Context(), catalog.Initial{Email: "ann@example.com", Password: "correct horse"})
	if err != nil {
		t.Fatal(err)
	}
	return db, first.Project
}

func keep(t *testing.T, db *catalog.DB, project catalog.Project, p probe.Probe) {
	t.Helper()
	body, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.PutDocument(t.Context(), catalog.Document{
		Organisation: project.OrganisationID, Kind: probe.DocumentKind, Project: project.Number, ID: p.ID, Name: p.Name, Body: body,
	}, catalog.AnyVersion); err != nil {
		t.Fatal(err)
	}
}

// dueSoon is an id of a probe that is due within two seconds.
func dueSoon() string {
	for {
		id := uuid.NewString()
		if now := time.Now(); (probe.Probe{ID: id}).Next(now).Sub(now) < 2*time.Second {
			return id
		}
	}
}

// stored reads a request as the intake does and returns the names of the metrics and the labels of
// each, as they are stored.
func stored(t *testing.T, body []byte) map[string]string {
	req := new(colmetricspb.ExportMetricsServiceRequest)
	if err := otlp.UnmarshalJSON(string(body), req); err != nil {
		t.Errorf("%v: %s", err, body)
		return nil
	}
	set, rejections := otlp.Metrics(req, record.NewWindow(time.Now(), 30))
	defer set.Release()
	if rejections != nil && rejections.Count > 0 {
		t.Errorf("rejected: %+v", rejections)
	}
	frame := new(telemetrypb.MetricFrame)
	if err := proto.Unmarshal(set.Frames(1, 30, math.MaxInt).Next(nil, time.Now()), frame); err != nil {
		t.Error(err)
	}
	out := map[string]string{}
	for _, batch := range frame.Batches {
		for _, m := range batch.Metrics {
			for _, s := range m.Series {
				var labels []string
				for _, l := range s.Labels {
					labels = append(labels, l.Key+"="+l.Value)
				}
				slices.Sort(labels)
				out[m.Name] = strings.Join(labels, " ")
			}
		}
	}
	return out
}

func TestProbesOfTheCatalogAreRunAndStoredUnderTheirNames(t *testing.T) {
	t.Parallel()
	target := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	target.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	target.StartTLS()
	t.Cleanup(target.Close)
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tcp.Close() })
	db, project := newCatalog(t)
	site, port := dueSoon(), dueSoon()
	keep(t, db, project, probe.Probe{ID: site, Name: "Shop", Kind: probe.HTTP, Target: target.URL, Service: "shop"})
	keep(t, db, project, probe.Probe{ID: port, Name: "Port", Kind: probe.TCP, Target: tcp.Addr().String()})

	sent := make(chan map[string]string, 100)
	intake := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if got := r.Header.Get("Authorization"); got != "Bearer "+project.IngestKey {
			t.Errorf("sent with %q", got)
		}
		if r.URL.Path == "/v1/metrics" {
			sent <- stored(t, body)
		} else {
			sent <- map[string]string{r.URL.Path: string(body)}
		}
	}))
	t.Cleanup(intake.Close)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		done <- NewProbes(intake.URL, []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, db, slog.New(slog.DiscardHandler)).Run(ctx)
	}()
	got := map[string]string{}
	for got["/v1/logs"] == "" || got[probe.MetricAlive] == "" || got[probe.MetricUp] == "" {
		maps.Copy(got, <-sent)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	close(sent)
	for more := range sent {
		maps.Copy(got, more)
	}
	// The test's certificate is of no authority, so that the probe fails with words about it.
	if logs := got["/v1/logs"]; !strings.Contains(logs, "Shop failed from local: certificate") {
		t.Errorf("logs: %s", logs)
	}
	delete(got, "/v1/logs")
	labels := "job=midwatch-probe kind=http probe=" + site + " probe_name=Shop region=local service=shop service_name=midwatch-probe"
	want := map[string]string{
		probe.MetricAlive: "job=midwatch-probe region=local service_name=midwatch-probe", probe.MetricCertificateLifetime: labels, probe.MetricCertificateRemaining: labels, probe.MetricCertificateValid: labels,
	}
	for _, either := range []string{probe.MetricUp, probe.MetricDuration} {
		if !strings.Contains(got[either], "probe_name=") {
			t.Errorf("%s: %q", either, got[either])
		}
		delete(got, either)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestTheListOfProbesFollowsTheCatalog(t *testing.T) {
	t.Parallel()
	db, project := newCatalog(t)
	source := &catalogProbes{db: db, log: slog.New(slog.DiscardHandler)}
	names := func() (names []string) {
		t.Helper()
		projects, err := source.Projects(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range projects {
			if p.Number != project.Number || p.Key != project.IngestKey {
				t.Errorf("project %d with key %q", p.Number, p.Key)
			}
			for _, one := range p.Probes {
				names = append(names, one.Name)
			}
		}
		return names
	}
	if got := names(); len(got) != 0 {
		t.Errorf("without probes: %v", got)
	}
	keep(t, db, project, probe.Probe{ID: "a", Name: "One", Kind: probe.TCP, Target: "shop.example:1"})
	keep(t, db, project, probe.Probe{ID: "b", Name: "Two", Kind: probe.TCP, Target: "shop.example:2"})
	if got := names(); !slices.Equal(got, []string{"One", "Two"}) {
		t.Errorf("with two: %v", got)
	}
	if err := db.DeleteDocument(t.Context(), project.OrganisationID, probe.DocumentKind, project.Number, "a"); err != nil {
		t.Fatal(err)
	}
	if got := names(); !slices.Equal(got, []string{"Two"}) {
		t.Errorf("after one was removed: %v", got)
	}
	if got := names(); !slices.Equal(got, []string{"Two"}) {
		t.Errorf("unchanged: %v", got)
	}
}
