package incident_test

import (
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/midwatch/midwatch/alerts/incident"
)

const replied = "0199c3f2-0000-7000-8000-000000000001"

var replyNow = time.Date(2026, time.November, 21, 3, 10, 0, 0, time.UTC)

func signReply(t *testing.T, secret, person string) string {
	t.Helper()
	token, err := incident.SignReply(secret, replied, person, replyNow)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestAReplyOpensUntilItExpires(t *testing.T) {
	t.Parallel()
	token := signReply(t, "secret", "ann")
	if !regexp.MustCompile(`^[a-z2-7]{48}$`).MatchString(token) {
		t.Errorf("token = %q", token)
	}
	for _, written := range []string{token, strings.ToUpper(token), strings.ToUpper(token[:20]) + token[20:]} {
		got, err := incident.OpenReply("secret", written, replyNow)
		if err != nil || got.Incident != replied || !got.Told("ann") || got.Told("bob") || got.Told("") {
			t.Errorf("OpenReply(%q) = %+v, %v", written, got, err)
		}
	}
	got, err := incident.OpenReply("secret", token, replyNow.Add(incident.LinkLifetime-time.Second))
	if err != nil || got.Expires.Sub(replyNow.Add(incident.LinkLifetime)) >= time.Hour {
		t.Errorf("OpenReply at the end of its time = %+v, %v", got, err)
	}
	if _, err := incident.OpenReply("secret", token, got.Expires); !errors.Is(err, incident.ErrReplyExpired) {
		t.Errorf("OpenReply after its end: %v", err)
	}
	channel, err := incident.OpenReply("secret", signReply(t, "secret", ""), replyNow)
	if err != nil || channel.Told("") || channel.Told("ann") {
		t.Errorf("OpenReply of a channel's = %+v, %v", channel, err)
	}
	if token, err := incident.SignReply("secret", "none", "ann", replyNow); err == nil {
		t.Errorf("SignReply of what is no incident = %q", token)
	}
}

func TestAForgedReplyDoesNotOpen(t *testing.T) {
	t.Parallel()
	token := signReply(t, "secret", "ann")
	for i := range len(token) {
		changed := []byte(token)
		changed[i] = map[bool]byte{true: 'b', false: 'a'}[token[i] == 'a']
		if got, err := incident.OpenReply("secret", string(changed), replyNow); !errors.Is(err, incident.ErrReplyForged) {
			t.Errorf("with character %d changed: %+v, %v", i, got, err)
		}
	}
	link := incident.SignLink("secret", incident.Link{Incident: replied, Action: incident.LinkAcknowledge, Expires: replyNow.Add(time.Hour).Unix()})
	for _, token := range []string{
		"", "x", token[:47], token + "a", token[:47] + "1", token[:47] + "\n", token[:46] + "\r\n", link, link[:48], signReply(t, "another", "ann"),
		strings.Repeat("a", 48), strings.Repeat("K", 16),
	} {
		if got, err := incident.OpenReply("secret", token, replyNow); !errors.Is(err, incident.ErrReplyForged) {
			t.Errorf("OpenReply(%q) = %+v, %v", token, got, err)
		}
	}
}

func TestAReplyAddressFindsItsToken(t *testing.T) {
	t.Parallel()
	token := signReply(t, "secret", "ann")
	for setting, want := range map[string]string{
		"reply.example.com":           token + "@reply.example.com",
		" Reply.Example.com ":         token + "@reply.example.com",
		"midwatch@example.com":        "midwatch+" + token + "@example.com",
		"midwatch-alerts@example.com": "midwatch-alerts+" + token + "@example.com",
	} {
		a, err := incident.ParseReplyAddress(setting)
		if err != nil {
			t.Errorf("ParseReplyAddress(%q): %v", setting, err)
			continue
		}
		address := a.Of(token)
		if local, _, _ := strings.Cut(address, "@"); address != want || len(local) > 64 {
			t.Errorf("Of = %q, want %q", address, want)
		}
		for _, written := range []string{address, strings.ToUpper(address)} {
			if got, ok := a.Token(written); !ok || !strings.EqualFold(got, token) {
				t.Errorf("Token(%q) = %q, %v", written, got, ok)
			}
		}
		for _, other := range []string{"", "ann", "ann@elsewhere.example", token + "@sub." + a.Domain, "@", token} {
			if got, ok := a.Token(other); ok {
				t.Errorf("Token(%q) = %q of %q", other, got, setting)
			}
		}
	}
	mailbox, err := incident.ParseReplyAddress("midwatch@example.com")
	if err != nil {
		t.Fatal(err)
	}
	for _, other := range []string{"midwatch@example.com", "ann+" + token + "@example.com", token + "@example.com"} {
		if got, ok := mailbox.Token(other); ok {
			t.Errorf("Token(%q) = %q", other, got)
		}
	}
}

func TestAReplyAddressThatCannotWorkIsRefused(t *testing.T) {
	t.Parallel()
	for _, setting := range []string{
		"", "@", "@example.com", "a b", "-x.example", "example.com.", "mail..example", "midwatch+x@example.com", "midwatch@", "a@b@c.example", "mid watch@example.com",
		"a-name-too-long-@example.com", strings.Repeat("a", 16) + "@example.com", strings.Repeat("a.", 100) + "example", "<midwatch@example.com>", "Ann <a@b.example>", "a@b.example\r\nBcc: c",
	} {
		if a, err := incident.ParseReplyAddress(setting); err == nil {
			t.Errorf("ParseReplyAddress(%q) = %+v", setting, a)
		}
	}
}
