package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// chromium finds the browser; `make test` installs Debian's where there is none.
func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatal("there is no Chromium on PATH")
	return ""
}

// TestAPersonSeesEachSignalInTheBrowser is the journey of clients/browser.mjs. Its pictures stay
// where MIDWATCH_PICTURES says, for a person to look at.
func TestAPersonSeesEachSignalInTheBrowser(t *testing.T) {
	s := up(t)
	pictures := os.Getenv("MIDWATCH_PICTURES")
	if pictures == "" {
		pictures = filepath.Join(t.TempDir(), "pictures")
	}
	if err := os.MkdirAll(pictures, 0o755); err != nil {
		t.Fatal(err)
	}
	out := command(t, clients(t), []string{
		"MIDWATCH_URL=" + s.http, "MIDWATCH_EMAIL=" + email, "MIDWATCH_PASSWORD=" + password,
		"CHROMIUM=" + chromium(t), "PICTURES=" + pictures,
	}, "node", "browser.mjs")
	t.Log(out)
}
