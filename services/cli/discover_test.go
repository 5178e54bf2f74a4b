package cli

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/midwatch/midwatch/alerts/schedule"
)

var update = flag.Bool("update", false, "write what is found into the golden files")

// TestDiscoverProposesLines reads machines out of archives: files under root/ are theirs, those
// under run/ what a program prints, and want is what is said about them.
func TestDiscoverProposesLines(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/discover/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			root, printed := fstest.MapFS{}, map[string]string{}
			var args []string
			var want *txtar.File
			for i, f := range archive.Files {
				switch {
				case f.Name == "args":
					args = strings.Fields(string(f.Data))
				case f.Name == "want":
					want = &archive.Files[i]
				case strings.HasPrefix(f.Name, "root/"):
					root[strings.TrimPrefix(f.Name, "root/")] = &fstest.MapFile{Data: f.Data}
				default:
					printed[strings.TrimPrefix(f.Name, "run/")] = string(f.Data)
				}
			}
			m := Machine{Root: root, User: "ada", Binary: "/usr/local/bin/midwatch", Run: func(_ context.Context, name string, args ...string) ([]byte, error) {
				out, ok := printed[strings.Join(append([]string{name}, args...), " ")]
				if !ok {
					return nil, exec.ErrNotFound
				}
				return []byte(out), nil
			}}
			var out bytes.Buffer
			if err := Discover(t.Context(), m, args, &out); err != nil {
				t.Fatal(err)
			}
			if *update {
				if want == nil {
					archive.Files = append(archive.Files, txtar.File{Name: "want"})
					want = &archive.Files[len(archive.Files)-1]
				}
				want.Data = out.Bytes()
				if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if want == nil {
				t.Fatal("there is no file want")
			}
			if diff := cmp.Diff(string(want.Data), out.String()); diff != "" {
				t.Errorf("discover (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDiscoverRefusesWrongUsage(t *testing.T) {
	t.Parallel()
	for _, args := range []string{"timers", "crontab more", "crontab --output xml", "--nonsense"} {
		if err := Discover(t.Context(), Machine{}, strings.Fields(args), &bytes.Buffer{}); !errors.Is(err, ErrUsage) {
			t.Errorf("discover %s: %v", args, err)
		}
	}
}

func TestCalendarEventsBecomeCronExpressions(t *testing.T) {
	t.Parallel()
	for event, want := range map[string]string{
		"*-*-* 00:00:00":               "0 0 * * *",
		"*-*-* 06,18:00:00":            "0 6,18 * * *",
		"*-*-* *:00/15:00":             "0-59/15 * * * *",
		"*-*-* *:*:00":                 "* * * * *",
		"Mon *-*-* 00:00:00":           "0 0 * * MON",
		"Mon..Fri *-*-* 09..17:30:00":  "30 9-17 * * MON-FRI",
		"*-01,07-01 00:00:00":          "0 0 1 1,7 *",
		"*-*-* 03:10:00 Europe/Berlin": "10 3 * * * Europe/Berlin",
		"*-*-* 03:10:30":               "",
		"2026-*-* 03:10:00":            "",
		"Mon *-*-01..07 03:10:00":      "",
		"*-02-30 00:00:00":             "",
		"*-*-* 03:10:00 Mars/Olympus":  "",
		"*-*~01 00:00:00":              "",
		"*-*-* 25:00:00":               "",
	} {
		got, zone, err := cronOf(event)
		if got = strings.TrimSpace(got + " " + zone); got != want || (err == nil) != (want != "") {
			t.Errorf("cronOf(%q) = %q, %v, want %q", event, got, err, want)
		}
	}
}

func TestSlugsAreProposedByCommands(t *testing.T) {
	t.Parallel()
	for command, want := range map[string]string{
		"/usr/local/bin/backup.sh -v":                        "backup",
		"cd /srv/app && ./bin/rake Reports:Daily":            "rake",
		"FOO=1 nice -n 10 sudo -E /opt/app/Nightly_Job.py":   "nightly_job",
		"/usr/bin/python3 /home/ada/report.py":               "report",
		"bash -c 'sync-all'":                                 "sync-all",
		"[ -x /bin/x ] && /bin/x":                            "x",
		"flock -n /tmp/l /bin/x":                             "l",
		"run-parts --report /etc/cron.hourly":                "cron-hourly",
		"$HOME/bin":                                          "",
		"&& ;":                                               "",
		"/bin/" + strings.Repeat("x", 100):                   strings.Repeat("x", 45),
		"curl -fsS https://example.org/tick >/dev/null 2>&1": "curl",
		"timeout 5m /usr/bin/rsync -a /srv backup:/srv":      "rsync",
		"test -x /usr/bin/certbot && certbot -q renew":       "certbot",
		"while true; do :; done":                             "while",
	} {
		if got := slugOf(command); got != want {
			t.Errorf("slugOf(%q) = %q, want %q", command, got, want)
		}
	}
}

// FuzzCrontab checks that what is proposed is what cron would read: the same schedule, user and
// input, and the same command under `midwatch cron`.
func FuzzCrontab(f *testing.F) {
	for _, seed := range []string{
		"17 * * * * root cd / && run-parts --report /etc/cron.hourly\n", "@daily x\n", "0 5 1 * * mail ada%a%b\\%c\n",
		"SHELL=/bin/bash\nCRON_TZ=Europe/Berlin\n-*/5 * * * * a 'b' \\\\%c\n", "* * * * * foo\\ %in\n", "A = 'b'\n# c\n\n@reboot x\n",
		"* * * * * it's \\'\\%x;%y\r\n", "* * * * * root\n",
	} {
		f.Add(seed, true)
		f.Add(seed, false)
	}
	f.Fuzz(func(t *testing.T, text string, system bool) {
		entries, _ := parseCrontab(text, system)
		for _, e := range entries {
			if _, err := schedule.Parse(schedule.Crontab, e.schedule, e.timezone); err != nil {
				t.Fatalf("%q: %v", e.text, err)
			}
			if slug := slugOf(e.command); slug != "" && !slugPattern.MatchString(slug) {
				t.Fatalf("slug %q of %q", slug, e.command)
			}
			line, err := e.wrapped("/bin/midwatch", "job")
			if err != nil {
				continue
			}
			again, faults := parseCrontab(line, system)
			if len(again) != 1 || len(faults) != 0 {
				t.Fatalf("%q became %q: %v", e.text, line, faults)
			}
			got := again[0]
			command := e.command
			if needsShell(e.raw) {
				command = quote(e.shell) + " -c " + quote(e.command)
			}
			if got.schedule != e.schedule || got.user != e.user || got.stdin != e.stdin || !strings.HasSuffix(got.command, " -- "+command) || watchedBy(got.command) != "job" {
				t.Fatalf("%q became %q: %+v", e.text, line, got)
			}
		}
	})
}
