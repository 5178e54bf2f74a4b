package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestAPersonIsWokenForASymptom is the night of clients/alerting.mjs, and what its page says in the
// mail. Its pictures stay where MIDWATCH_PICTURES says.
func TestAPersonIsWokenForASymptom(t *testing.T) {
	t.Parallel()
	s := up(t)
	pictures := os.Getenv("MIDWATCH_PICTURES")
	if pictures == "" {
		pictures = filepath.Join(t.TempDir(), "pictures")
	}
	if err := os.MkdirAll(pictures, 0o755); err != nil {
		t.Fatal(err)
	}
	out := commandWithin(t, 15*patience, clients(t), []string{
		"MIDWATCH_URL=" + s.http, "MIDWATCH_EMAIL=" + email, "MIDWATCH_PASSWORD=" + password, "MIDWATCH_TOKEN=" + token, "MIDWATCH_KEY=" + key,
		"CHROMIUM=" + chromium(t), "PICTURES=" + pictures,
	}, "node", "alerting.mjs")
	t.Log(out)

	mails, err := filepath.Glob(filepath.Join(s.dir, "mail", "*.eml"))
	if err != nil {
		t.Fatal(err)
	}
	pages := 0
	for _, path := range mails {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), "Subject: [PAGE]") {
			continue
		}
		pages++
		for _, want := range []string{"Customers cannot pay", "1.42.0", "NoRouteError", "Roll checkout back", "image/png"} {
			if !strings.Contains(strings.ReplaceAll(string(text), "=\r\n", ""), want) {
				t.Errorf("the page does not say %q:\n%.3000s", want, text)
			}
		}
	}
	if pages != 1 {
		t.Errorf("%d pages, want one", pages)
	}
}
