package e2e

import (
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestAPrometheusSendsItsAlerts runs Debian's Prometheus with a rule that always fires and Midwatch as
// its Alertmanager. When it dies its alert ends by itself.
func TestAPrometheusSendsItsAlerts(t *testing.T) {
	t.Parallel()
	program, err := exec.LookPath("prometheus")
	if err != nil {
		t.Skip("prometheus is not installed")
	}
	s := up(t)
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	rules := write("rules.yml", `groups:
  - name: shop
    rules:
      - alert: CheckoutErrors
        expr: vector(0.12)
        labels: {severity: critical, service: checkout}
        annotations:
          summary: 12 % errors
          runbook_url: https://runbooks.example.org/checkout
`)
	config := write("prometheus.yml", fmt.Sprintf(`global: {evaluation_interval: 1s}
rule_files: [%s]
alerting:
  alertmanagers:
    - path_prefix: /t/%s
      static_configs: [{targets: ["127.0.0.1:%d"]}]
`, rules, key, s.httpPort))
	prometheus := exec.Command(program, "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"),
		fmt.Sprintf("--web.listen-address=127.0.0.1:%d", freePort(t)), "--rules.alert.resend-delay=5s")
	prometheus.Stdout, prometheus.Stderr = t.Output(), t.Output()
	if err := prometheus.Start(); err != nil {
		t.Fatal(err)
	}
	stop := func() {
		if prometheus.ProcessState == nil {
			_ = prometheus.Process.Kill() // it may have ended
			_ = prometheus.Wait()         // killed is no success
		}
	}
	t.Cleanup(stop)

	type incident struct {
		ID       string `json:"id"`
		Title    string `json:"title"`
		State    string `json:"state"`
		Severity string `json:"severity"`
		Outcome  string `json:"outcome"`
	}
	var got incident
	state := func(want string) func() error {
		return func() error {
			var list struct{ Incidents []incident }
			if err := s.api("/projects/1/incidents", url.Values{}, &list); err != nil {
				return err
			}
			if len(list.Incidents) != 1 || list.Incidents[0].State != want {
				return fmt.Errorf("incidents = %+v, want one that is %s", list.Incidents, want)
			}
			got = list.Incidents[0]
			return nil
		}
	}
	s.await("the alert's incident", state("open"))
	if got.Severity != "page" || got.Title != "checkout: 12 % errors" {
		t.Errorf("incident = %+v", got)
	}
	stop()
	s.await("the end of the alert", state("resolved"))
	if got.Outcome != "data gone, not confirmed" {
		t.Errorf("incident = %+v", got)
	}
}
