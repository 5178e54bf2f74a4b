package evaluate

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/midwatch/midwatch/alerts/rule"
	"github.com/midwatch/midwatch/storage/catalog"
	"github.com/midwatch/midwatch/storage/storagetest"
)

// end says that something has ended.
func (w *world) end(at int64, labels ...string) {
	w.t.Helper()
	e := catalog.EndedEntity{Project: w.project, ID: fmt.Sprint(at, labels), At: unix(begin + at), Labels: map[string]string{}}
	for _, pair := range labels {
		k, v, _ := strings.Cut(pair, "=")
		e.Labels[k] = v
	}
	if err := w.db.AddEndedEntity(w.t.Context(), e); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) deploy(at int64, service, release string) {
	w.t.Helper()
	d := catalog.Deploy{Project: w.project, ID: fmt.Sprint(at), At: unix(begin + at), Service: service, Release: release, Source: catalog.DeployFromErrors}
	if err := w.db.AddDeploy(w.t.Context(), d); err != nil {
		w.t.Fatal(err)
	}
}

// without leaves out what was told with some words.
func without(told []string, words string) []string {
	return slices.DeleteFunc(slices.Clone(told), func(text string) bool { return strings.Contains(text, words) })
}

func TestWhatSomebodySaysHasEndedIsGone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storagetest.Catalog(t), storagetest.Telemetry(t))
	s := &sender{}
	for host, ends := range map[string]int64{"stays": 9000, "told": 1800, "lost": 1800, "back": 1800, "other": 1800} {
		s.gauge("heartbeat", "host_name="+host, 0, ends, 15, between(0, 0, 1, 1))
		s.gauge("temperature", "room="+host, 0, ends, 15, between(0, 0, 40, 40))
	}
	s.gauge("heartbeat", "host_name=back", 3600, 5400, 15, between(0, 0, 1, 1))
	s.gauge("temperature", "room=back", 3600, 5400, 15, between(0, 0, 20, 20))
	s.send(t, w.store, w.project)
	for _, host := range []string{"told", "back", "stays"} { // one of them goes on
		w.end(1790, "host.name="+host)
		w.end(1790, "room="+host, "environment=production")
	}
	w.end(1790, "host.name=other", "service=shop") // which the rules know nothing of
	w.end(1790, "room=other", "environment=test")
	hot := hot("hot")
	hot.Environment = "production"
	got := live(t, w, 900, 7200, hot,
		rule.Rule{ID: "beat", Name: "beat", Kind: rule.Absence, State: rule.Live, Query: rule.Query{Metric: "heartbeat", By: []string{"host.name"}}})
	want := []string{
		// Two slots after their windows are empty.
		"36 resolve hot/ticket/back ticket entity_gone", "36 resolve hot/ticket/told ticket entity_gone",
		// Five minutes without data, which are told after five more.
		"40 fire beat/ticket/lost ticket", "40 fire beat/ticket/other ticket",
		"50 resolve hot/ticket/lost ticket data_gone", "50 resolve hot/ticket/other ticket data_gone",
		"100 fire beat/ticket/back ticket", // it has lived since
	}
	if diff := gocmp.Diff(want, without(without(got, "fire hot"), "nodata")); diff != "" {
		t.Errorf("signals (-want +got):\n%s", diff)
	}
}

func TestAReleaseThatWasReplacedIsGone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storagetest.Catalog(t), storagetest.Telemetry(t))
	s := &sender{}
	for _, c := range []struct {
		service, version string
		from, to         int64
	}{
		{"shop", "1.41", 0, 2400}, {"shop", "1.42", 2100, 9000}, {"shop", "1.43", 4200, 5400}, // a canary, taken back
		{"blog", "1.41", 0, 2400}, {"blog", "1.42", 2100, 9000}, // of which nobody told
		{"mail", "7", 0, 2400},
	} {
		s.gauge("temperature", "service_name="+c.service+" service_version="+c.version, c.from, c.to, 15, between(c.from, c.to, 40, 20))
	}
	s.send(t, w.store, w.project)
	w.deploy(600, "shop", "shop@1.41")
	w.deploy(2000, "shop", "1.42")
	w.deploy(4100, "shop", "1.43")
	w.deploy(2000, "mail", "8") // of which there are no data
	w.deploy(600, "mail", "7")
	r := hot("hot")
	r.Query.By = []string{"service.name", "service.version"}
	got := live(t, w, 900, 7200, r)
	want := []string{
		`46 resolve hot/ticket/"shop","1.41" ticket entity_gone`,
		`60 resolve hot/ticket/"blog","1.41" ticket data_gone`,
		`60 resolve hot/ticket/"mail","7" ticket data_gone`,
		`110 resolve hot/ticket/"shop","1.43" ticket data_gone`,
	}
	if diff := gocmp.Diff(want, without(without(got, "fire hot"), "nodata")); diff != "" {
		t.Errorf("signals (-want +got):\n%s", diff)
	}
}

func TestAPodThatIsDeletedOrDoneIsGone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storagetest.Catalog(t), storagetest.Telemetry(t))
	s := &sender{}
	for _, c := range []struct {
		pod, cluster string
		phase        int64 // until when there is one
		done         int64 // since when it is succeeded
	}{
		{"stays", "eu", 9000, 9000},
		{"deleted", "eu", 1830, 9000},
		{"done", "eu", 9000, 1830},
		{"stuck", "eu", 9000, 9000},   // it runs, and sends nothing
		{"unseen", "us", 1830, 9000},  // and nobody looks at its cluster any more
		{"unknown", "eu", 0, 0},       // to the receiver
		{"replaced", "eu", 1830, 900}, // by another one of its name
	} {
		ends := int64(1800)
		if c.pod == "stays" {
			ends = 9000
		}
		s.gauge("temperature", "k8s_pod_name="+c.pod+" k8s_namespace_name=shop", 0, ends, 15, between(0, 0, 40, 40))
		labels := "k8s_pod_name=" + c.pod + " k8s_namespace_name=shop k8s_cluster_name=" + c.cluster
		s.gauge("k8s_pod_phase", labels, 0, c.phase, 10, between(c.done, 9000, 3, 2))
	}
	s.gauge("k8s_pod_phase", "k8s_pod_name=replaced k8s_namespace_name=shop k8s_cluster_name=eu", 1700, 9000, 10, between(0, 0, 2, 2))
	s.gauge("k8s_pod_phase", "k8s_pod_name=stuck k8s_namespace_name=blog k8s_cluster_name=eu", 0, 9000, 10, between(0, 0, 4, 4))
	s.send(t, w.store, w.project)
	r := hot("hot")
	r.Query.By = []string{"k8s.namespace.name", "k8s.pod.name"}
	got := live(t, w, 900, 4200, r)
	want := []string{
		`36 resolve hot/ticket/"shop","deleted" ticket entity_gone`, `36 resolve hot/ticket/"shop","done" ticket entity_gone`,
		`50 resolve hot/ticket/"shop","replaced" ticket data_gone`, `50 resolve hot/ticket/"shop","stuck" ticket data_gone`,
		`50 resolve hot/ticket/"shop","unknown" ticket data_gone`, `50 resolve hot/ticket/"shop","unseen" ticket data_gone`,
	}
	if diff := gocmp.Diff(want, without(without(got, "fire hot"), "nodata")); diff != "" {
		t.Errorf("signals (-want +got):\n%s", diff)
	}
}

func TestWhatEndedWhileAlertingWasDownIsGoneAfterwards(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storagetest.Catalog(t), storagetest.Telemetry(t))
	s := &sender{}
	for room, ends := range map[string]int64{"stays": 9000, "told": 2400} {
		s.gauge("temperature", "room="+room, 0, ends, 15, between(0, 0, 40, 40))
	}
	s.send(t, w.store, w.project)
	w.put(hot("hot"))
	w.put(rule.Rule{ID: "beat", Name: "beat", Kind: rule.Absence, State: rule.Live, Query: rule.Query{Metric: "temperature", By: []string{"room"}}})
	d := &desk{}
	w.now = begin + 900
	w.until(w.evaluator("a", d), 1800, 10)
	w.end(2390, "room=told")
	w.now = begin + 3600
	w.until(w.evaluator("a", d), 4200, 10)
	if diff := gocmp.Diff([]string{"61 resolve hot/ticket/told ticket entity_gone"}, without(d.told(), "fire hot")); diff != "" {
		t.Errorf("signals (-want +got):\n%s", diff)
	}
}
