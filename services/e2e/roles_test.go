package e2e

import (
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	natsserver "github.com/nats-io/nats-server/v2/server"

	"github.com/midwatch/midwatch/storage/storagetest"
)

// natsServer returns where the product finds NATS: the server that MIDWATCH_TEST_NATS_URL names,
// with a prefix of the test's own, or one that is started on a port of its own.
func natsServer(t *testing.T) (environment []string) {
	t.Helper()
	if cfg := storagetest.BusConfig(t); cfg.URL != "" {
		return []string{"MIDWATCH_NATS_URL=" + cfg.URL, "MIDWATCH_NATS_PREFIX=" + cfg.Prefix}
	}
	s, err := natsserver.NewServer(&natsserver.Options{
		Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), SyncAlways: true, MaxPayload: 5 << 20,
		// By default it depends on how much of the disk is free.
		JetStreamMaxStore: 4 << 30, NoLog: true, NoSigs: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	go s.Start()
	if !s.ReadyForConnections(patience) {
		t.Fatal("NATS did not start")
	}
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	return []string{"MIDWATCH_NATS_URL=" + s.ClientURL()}
}

// redisServer is natsServer for Redis.
func redisServer(t *testing.T) (environment []string) {
	t.Helper()
	cfg := storagetest.CacheConfig(t)
	if cfg.URL == "" {
		cfg.URL = "redis://" + miniredis.RunT(t).Addr() + "/0"
	}
	return []string{"MIDWATCH_REDIS_URL=" + cfg.URL, "MIDWATCH_REDIS_PREFIX=" + cfg.Prefix}
}

// apart brings the schemas of some servers up to date, and returns what starts a role with them and what
// the role migrate has said.
func apart(t testing.TB, servers []string) (role func(name string) *server, said string) {
	t.Helper()
	role = func(name string) *server {
		s := newServer(t, name)
		s.env = append(s.env, servers...)
		s.start()
		return s
	}
	migrate := role("migrate")
	if err := <-migrate.exited; err != nil {
		t.Fatalf("migrate: %v", err)
	}
	migrate.cmd = nil
	return role, migrate.log()
}

// TestEveryRoleRunsAlone is the distributed form: one process a role, against servers on ports.
func TestEveryRoleRunsAlone(t *testing.T) {
	servers := slices.Concat([]string{
		"MIDWATCH_DATABASE_URL=" + storagetest.PostgreSQL(t).URL,
		"MIDWATCH_CLICKHOUSE_URL=" + storagetest.EngineURL(t),
	}, natsServer(t), redisServer(t))
	role, said := apart(t, servers)
	if !strings.Contains(said, email) {
		t.Errorf("migrate does not say whom it made:\n%s", said)
	}

	names := []string{"ingest-metrics", "ingest-logs", "ingest-errors", "ingest-checkins", "writer", "query", "alerting", "console"}
	roles := map[string]*server{}
	for _, name := range names {
		roles[name] = role(name)
	}
	for _, name := range names {
		roles[name].awaitReady()
	}
	query := roles["query"]

	roles["ingest-logs"].post(roles["ingest-logs"].http+"/v1/ingest/logs", "", []byte(`{"message":"through a role of its own"}`))
	query.awaitLog("role of its own")

	metrics := roles["ingest-metrics"]
	now := time.Now().UnixNano()
	status, _, answer := metrics.post(metrics.otlp+"/v1/metrics", "application/json", fmt.Appendf(nil,
		`{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"role.alone","gauge":{"dataPoints":[{"asDouble":1,"timeUnixNano":"%d"}]}}]}]}]}`, now))
	if status != http.StatusOK {
		t.Fatalf("%d %s", status, answer)
	}
	query.awaitMetric("role_alone")

	errorsRole := roles["ingest-errors"]
	status, _, answer = errorsRole.post(errorsRole.http+"/api/1/store/?sentry_version=7&sentry_key="+key, "",
		[]byte(`{"message":"a role breaks alone","level":"error","platform":"other"}`), "Authorization", "")
	if status != http.StatusOK {
		t.Fatalf("%d %s", status, answer)
	}
	query.awaitIssue("breaks alone")

	pings := roles["ingest-checkins"]
	status, _, answer = pings.post(pings.http+"/ping/"+key+"/role-job?create=1", "", nil, "Authorization", "")
	if status != http.StatusCreated {
		t.Fatalf("%d %s", status, answer)
	}
	query.awaitMonitor("role-job", func(m monitor) bool { return m.Status == "ok" && len(m.Recent) == 1 })

	resp, err := http.Get(roles["console"].http + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if page, err := io.ReadAll(resp.Body); err != nil || !strings.Contains(string(page), "<html") {
		t.Errorf("the console serves %s, %v", page, err)
	}
	for _, name := range names {
		roles[name].terminate()
	}
}

func TestRoleWithoutServersSaysWhatItNeeds(t *testing.T) {
	cmd := exec.Command(binary(t), "writer")
	cmd.Env = []string{"MIDWATCH_DATA_DIR=" + t.TempDir()}
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "MIDWATCH_NATS_URL") || !strings.Contains(string(out), "midwatch up") {
		t.Errorf("%v: %s", err, out)
	}
}
