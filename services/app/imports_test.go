package app

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/midwatch/midwatch/"

// goPackage is what `go list` says of one of our packages.
type goPackage struct {
	ImportPath   string
	Imports      []string
	TestImports  []string
	XTestImports []string
}

func (p goPackage) name() string { return strings.TrimPrefix(p.ImportPath, module) }

func listPackages(t *testing.T) []goPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports,TestImports,XTestImports",
		"./alerts/...", "./proto/...", "./services/...", "./storage/...", "./ui/...")
	cmd.Dir = "../.."
	cmd.Stderr = t.Output()
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var packages []goPackage
	for decoder := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		err := decoder.Decode(&p)
		if errors.Is(err, io.EOF) {
			return packages
		}
		if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
}

func within(name string, folders ...string) bool {
	return slices.ContainsFunc(folders, func(f string) bool { return name == f || strings.HasPrefix(name, f+"/") })
}

// TestWhoMayImportWhat keeps the tree what its folders' names say.
func TestWhoMayImportWhat(t *testing.T) {
	// foreign libraries that are wrapped once: who may import them.
	wrapped := map[string][]string{
		"github.com/ClickHouse/":           {"storage/telemetry"},
		"github.com/nats-io/":              {"storage/bus", "storage/storagetest"},   // the tests' helpers remove what a test
		"github.com/redis/":                {"storage/cache", "storage/storagetest"}, // has left on a shared server
		"github.com/alicebob/":             {"storage/cache"},
		"github.com/labstack/echo":         {"services/ingest", "services/query", "services/console", "services/external", "services/access", "services/self", "services/deadletter", "services/app"},
		"modernc.org/sqlite":               {"storage/catalog"},
		"github.com/jackc/pgx":             {"storage/catalog"},
		"github.com/ebitengine/purego":     {"storage/engine"},
		"github.com/adhocore/gronx":        {"alerts/schedule"},
		"github.com/wneessen/go-mail":      {"alerts/notify/email"},
		"golang.org/x/image":               {"alerts/notify"},
		"github.com/emersion/go-smtp":      {"services/alerting/replies"},
		"golang.org/x/net":                 {"services/alerting/replies"},
		"github.com/getsentry/sentry-go":   {"services/self"},
		"github.com/caarlos0/env":          {"services/config", "services/cmd/midwatch"},
		"google.golang.org/grpc":           {"services/ingest", "services/app"},
		"github.com/prometheus/prometheus": {},
	}
	// our own folders that may not know each other.
	apart := map[string][]string{
		"proto":                       {"storage", "alerts", "services", "ui"},
		"storage":                     {"alerts", "services", "ui"},
		"alerts":                      {"services", "ui"},
		"ui":                          {"proto", "storage", "alerts", "services"},
		"services/ingest":             {"services/writer", "services/query", "services/console", "services/alerting"},
		"services/writer":             {"services/ingest", "services/query", "services/console", "services/alerting"},
		"services/query":              {"services/ingest", "services/writer", "services/console", "services/alerting"},
		"services/console":            {"services/ingest", "services/writer", "services/query", "services/alerting"},
		"services/alerting":           {"services/ingest", "services/writer", "services/query", "services/console"},
		"services/external":           {"services/ingest", "services/writer", "services/query", "services/console", "services/alerting"},
		"services/heartbeat":          {"services/ingest", "services/writer", "services/query", "services/console", "services/alerting"},
		"services/keeper":             {"services/ingest", "services/writer", "services/query", "services/console", "services/alerting"},
		"services/deadletter":         {"services/ingest", "services/writer", "services/query", "services/console", "services/alerting"},
		"services/cli":                {"services/ingest", "services/writer", "services/query", "services/console", "services/alerting", "services/app"},
		"services/ingest/otlp":        {"storage", "services/ingest/sentry", "services/ingest/jsonlog"},
		"services/ingest/jsonlog":     {"storage"},
		"services/ingest/protoscan":   {"storage", "proto"},
		"services/ingest/remotewrite": {"storage"},
		"services/ingest/sentry":      {"storage"},
		"services/ingest/series":      {"storage"},
		"services/ingest/checkin":     {"storage"},
		"services/bench":              {"proto", "alerts", "ui", "services/access", "services/alerting", "services/app", "services/config", "services/console", "services/ingest", "services/query", "services/self", "services/writer", "storage/bus", "storage/cache", "storage/catalog", "storage/telemetry"},
		"services/cmd/midwatch":       {"services/ingest", "services/writer", "services/query", "services/console", "services/alerting"},
		"alerts/schedule":             {"storage", "proto"},
		"alerts/rule":                 {"storage", "proto", "alerts/incident", "alerts/evaluate", "alerts/desk"},
		"alerts/match":                {"storage", "proto"},
		"alerts/oncall":               {"storage", "proto", "alerts/rule", "alerts/incident"},
		"alerts/incident":             {"storage", "proto", "alerts/evaluate", "alerts/desk", "alerts/deliver"},
		"alerts/notify":               {"storage", "proto", "alerts/rule", "alerts/incident", "alerts/desk"},
		"alerts/evaluate":             {"alerts/desk", "alerts/deliver", "alerts/notify"},
		"alerts/desk":                 {"storage/telemetry", "storage/bus", "alerts/evaluate", "alerts/deliver"},
		"alerts/deliver":              {"storage/telemetry", "storage/bus", "alerts/evaluate", "alerts/dossier"},
		"storage/engine":              {"storage/telemetry", "storage/catalog", "storage/bus", "storage/cache"},
		"storage/bus":                 {"storage/telemetry", "storage/catalog", "storage/cache", "storage/follow"},
		"storage/retention":           {"proto", "storage/telemetry", "storage/catalog", "storage/bus", "storage/cache", "storage/engine", "storage/follow"},
		"storage/catalog":             {"storage/telemetry", "storage/bus", "storage/cache", "storage/follow"},
		"storage/follow":              {"storage/telemetry", "storage/cache", "storage/engine"},
		"storage/telemetry":           {"storage/catalog", "storage/bus", "storage/cache", "storage/engine", "storage/follow"},
	}
	for _, p := range listPackages(t) {
		if last := p.name()[strings.LastIndex(p.name(), "/")+1:]; slices.Contains([]string{"util", "utils", "common", "helpers", "base", "types", "models", "interfaces"}, last) {
			t.Errorf("%s: a package is named by what it hides", p.name())
		}
		for _, imported := range p.Imports {
			for prefix, owners := range wrapped {
				if strings.HasPrefix(imported, prefix) && !within(p.name(), owners...) {
					t.Errorf("%s imports %s, which only %v may", p.name(), imported, owners)
				}
			}
			own, ours := strings.CutPrefix(imported, module)
			if !ours {
				continue
			}
			if within(own, "storage/storagetest") && p.name() != "storage/storagetest" {
				t.Errorf("%s imports storagetest outside its tests", p.name())
			}
			for folder, others := range apart {
				if within(p.name(), folder) && within(own, others...) {
					t.Errorf("%s imports %s, which %s may not", p.name(), own, folder)
				}
			}
		}
		for _, imported := range slices.Concat(p.TestImports, p.XTestImports) {
			if strings.HasPrefix(imported, "github.com/stretchr/testify") {
				t.Errorf("%s: tests use testing and go-cmp", p.name())
			}
		}
	}
}
