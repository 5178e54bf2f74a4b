package incident_test

import (
	"errors"
	"regexp"
	"testing"
	"time"

	"github.com/midwatch/midwatch/alerts/incident"
)

func TestALinkOpensUntilItExpires(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, time.November, 21, 3, 0, 0, 0, time.UTC)
	link := incident.Link{Incident: "0199c3f2-0000-7000-8000-000000000001", Action: incident.LinkAcknowledge, Person: "ann", Expires: now.Add(time.Hour).Unix()}
	token := incident.SignLink("secret", link)
	if !regexp.MustCompile(`^[A-Za-z0-9_-]{40,250}$`).MatchString(token) {
		t.Errorf("token = %q", token)
	}
	if got, err := incident.OpenLink("secret", token, now); err != nil || got != link {
		t.Errorf("OpenLink = %+v, %v, want %+v", got, err, link)
	}
	if got, err := incident.OpenLink("secret", token, now.Add(time.Hour)); !errors.Is(err, incident.ErrLinkExpired) || got != link {
		t.Errorf("OpenLink after its end = %+v, %v", got, err)
	}
}

func TestAForgedLinkDoesNotOpen(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, time.November, 21, 3, 0, 0, 0, time.UTC)
	link := incident.Link{Incident: "i", Action: incident.LinkEscalate, Expires: now.Add(time.Hour).Unix()}
	token := incident.SignLink("secret", link)
	for i := range len(token) {
		changed := []byte(token)
		changed[i] = map[bool]byte{true: 'B', false: 'A'}[token[i] == 'A']
		if got, err := incident.OpenLink("secret", string(changed), now); !errors.Is(err, incident.ErrLinkForged) {
			t.Errorf("with byte %d changed: %+v, %v", i, got, err)
		}
	}
	link.Action = "delete"
	for _, token := range []string{"", "x", token[:len(token)-1], token + "A", token + "=", incident.SignLink("secret", link), incident.SignLink("another", link)} {
		if got, err := incident.OpenLink("secret", token, now); !errors.Is(err, incident.ErrLinkForged) {
			t.Errorf("OpenLink(%q) = %+v, %v", token, got, err)
		}
	}
}
