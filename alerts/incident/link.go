package incident

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"time"
)

// The actions of links, as the buttons of messages have them.
const (
	LinkAcknowledge = "ack"
	LinkEscalate    = "escalate"
	LinkSilence     = "silence_1h"
	LinkFalseAlarm  = "false_alarm"
)

// LinkLifetime is how long a link in a message does what it says.
const LinkLifetime = 7 * 24 * time.Hour

const (
	// macBytes are enough of a MAC: guessing takes an answer from the server each time.
	macBytes      = 16
	maxTokenBytes = 1000
)

// Errors of OpenLink.
var (
	// ErrLinkForged says that the token is not one of ours, or not whole.
	ErrLinkForged = errors.New("this link is not valid")
	// ErrLinkExpired says that the token was one of ours.
	ErrLinkExpired = errors.New("this link is too old")
)

// Link is what somebody may do to an incident without signing in, since they were told of it.
type Link struct {
	Incident string `json:"i"`
	Action   string `json:"a"` // one of Link…
	// Person is who was told: an id, or empty where the message went to a channel.
	Person string `json:"p,omitempty"`
	// Expires is in Unix seconds.
	Expires int64 `json:"e"`
}

// SignLink returns the token of a link: letters, digits, "-" and "_".
func SignLink(secret string, l Link) string {
	data, _ := json.Marshal(l) // texts and a number: it cannot fail
	return base64.RawURLEncoding.EncodeToString(append(linkMac(secret, data), data...))
}

// OpenLink returns the link of a token that was signed with the secret and has not expired. An expired
// one is returned with ErrLinkExpired.
func OpenLink(secret, token string, now time.Time) (Link, error) {
	if len(token) > maxTokenBytes {
		return Link{}, ErrLinkForged
	}
	data, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(data) < macBytes || !hmac.Equal(data[:macBytes], linkMac(secret, data[macBytes:])) {
		return Link{}, ErrLinkForged
	}
	var l Link
	if err := json.Unmarshal(data[macBytes:], &l); err != nil || !slices.Contains([]string{LinkAcknowledge, LinkEscalate, LinkSilence, LinkFalseAlarm}, l.Action) {
		return Link{}, ErrLinkForged
	}
	if now.Unix() >= l.Expires {
		return l, ErrLinkExpired
	}
	return l, nil
}

func linkMac(secret string, data []byte) []byte { return mac(secret, "link", data)[:macBytes] }

// mac signs data for one purpose: what is signed for another is worth nothing.
func mac(secret, purpose string, data []byte) []byte {
	h := hmac.New(sha256.New, []byte(secret))
	h.Write([]byte("midwatch " + purpose + "\n"))
	h.Write(data)
	return h.Sum(nil)
}
