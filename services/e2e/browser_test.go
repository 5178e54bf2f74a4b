package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/midwatch/midwatch/storage/catalog"
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

// removedEarly has a project told what the guard of the disk tells, which would need a full disk.
func removedEarly(t *testing.T, s *server) {
	t.Helper()
	db, err := catalog.Open(t.Context(), catalog.Config{Path: filepath.Join(s.dir, "catalog.sqlite")})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, subject := range []string{"Logs of 12 Oct", "Metrics of 12 Oct", "Errors of 5 to 11 Oct", "Logs of 11 Oct"} {
		err := db.AddNotice(t.Context(), catalog.Notice{
			Kind: "disk_full_removed", Subject: subject, At: time.Now(), Details: "{}",
			Message: subject + " were removed early because the disk was nearly full: 4 % free",
		}, []uint32{1})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestAPersonSeesEachSignalInTheBrowser is the journey of clients/browser.mjs. Its pictures stay
// where MIDWATCH_PICTURES says, for a person to look at.
func TestAPersonSeesEachSignalInTheBrowser(t *testing.T) {
	s := up(t)
	removedEarly(t, s)
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
