package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestEveryEnvironmentLoads(t *testing.T) {
	for _, name := range []string{"development", "production", "test"} {
		c, err := Load([]string{"APP_ENV=" + name})
		if err != nil {
			t.Fatal(err)
		}
		if c.Writer.MaxAge.Duration <= 0 || c.Bus.MaxBytes <= 0 || c.Ingest.MaxBodyBytes <= 0 {
			t.Errorf("%s leaves a bound unset: %+v", name, c.Settings)
		}
	}
}

func TestAllProblemsAreNamedAtOnce(t *testing.T) {
	_, err := Load([]string{"MIDWATCH_HTTP_PORT=70000", "MIDWATCH_NATS_URL=http://x", "MIDWATCH_PUBLIC_URL=example.org"})
	if err == nil {
		t.Fatal("loaded")
	}
	for _, name := range []string{"MIDWATCH_HTTP_PORT", "MIDWATCH_NATS_URL", "MIDWATCH_PUBLIC_URL"} {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("%q does not name %s", err, name)
		}
	}
}

func TestPrefixesAreNames(t *testing.T) {
	if _, err := Load([]string{"MIDWATCH_NATS_PREFIX=staging_", "MIDWATCH_REDIS_PREFIX=staging:"}); err != nil {
		t.Error(err)
	}
	for _, wrong := range []string{"MIDWATCH_NATS_PREFIX=a.b", "MIDWATCH_NATS_PREFIX=a>", "MIDWATCH_REDIS_PREFIX=a b", "MIDWATCH_REDIS_PREFIX=" + strings.Repeat("a", 65)} {
		name, _, _ := strings.Cut(wrong, "=")
		if _, err := Load([]string{wrong}); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", wrong, err)
		}
	}
}

func TestAnswersNeedAnAddressAndAPort(t *testing.T) {
	for _, right := range [][]string{
		{"MIDWATCH_MAIL_REPLY=reply.example.com", "MIDWATCH_MAIL_LISTEN=127.0.0.1:2525"},
		{"MIDWATCH_MAIL_REPLY=midwatch@example.com", "MIDWATCH_MAIL_LISTEN=:0"},
		{"MIDWATCH_MAIL_REPLY=reply.example.com"}, // another process listens
	} {
		if _, err := Load(right); err != nil {
			t.Errorf("%v: %v", right, err)
		}
	}
	for _, wrong := range []string{
		"MIDWATCH_MAIL_REPLY=<ann@example.com>", "MIDWATCH_MAIL_REPLY=a-name-that-is-too-long@example.com",
		"MIDWATCH_MAIL_LISTEN=2525", "MIDWATCH_MAIL_LISTEN=127.0.0.1:smtp", "MIDWATCH_MAIL_LISTEN=127.0.0.1:70000",
	} {
		name, _, _ := strings.Cut(wrong, "=")
		if _, err := Load([]string{"MIDWATCH_MAIL_REPLY=reply.example.com", wrong}); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", wrong, err)
		}
	}
	if _, err := Load([]string{"MIDWATCH_MAIL_LISTEN=127.0.0.1:2525"}); err == nil || !strings.Contains(err.Error(), "MIDWATCH_MAIL_REPLY") {
		t.Errorf("without an address: %v", err)
	}
}

func TestUnknownEnvironmentIsRefused(t *testing.T) {
	if _, err := Load([]string{"APP_ENV=staging"}); err == nil || !strings.Contains(err.Error(), "staging") {
		t.Fatalf("Load = %v", err)
	}
}

func TestSecretsComeFromFilesAndAreNotPrinted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(path, []byte("hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load([]string{"MIDWATCH_INIT_PASSWORD_FILE=" + path})
	if err != nil {
		t.Fatal(err)
	}
	if c.InitPassword != "hunter2" {
		t.Fatalf("password is %q", string(c.InitPassword))
	}
	if printed := fmt.Sprintf("%v %+v", c, c.InitPassword); strings.Contains(printed, "hunter2") {
		t.Fatalf("the secret is printed: %s", printed)
	}
	if _, err := Load([]string{"MIDWATCH_INIT_PASSWORD_FILE=" + path, "MIDWATCH_INIT_PASSWORD=x"}); err == nil {
		t.Fatal("both forms at once were taken")
	}
}

func TestRoleAloneNamesWhatItMisses(t *testing.T) {
	c, err := Load([]string{"MIDWATCH_NATS_URL=nats://127.0.0.1:4222"})
	if err != nil {
		t.Fatal(err)
	}
	err = c.RequireServers()
	if err == nil || strings.Contains(err.Error(), "MIDWATCH_NATS_URL") || !strings.Contains(err.Error(), "MIDWATCH_DATABASE_URL") {
		t.Fatalf("RequireServers = %v", err)
	}
}
