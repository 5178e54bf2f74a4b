package incident

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Reply is what somebody may do to an incident by answering a mail about it. What they do is in the mail.
type Reply struct {
	Incident string
	// Expires is at a full hour: the end of LinkLifetime or up to an hour later.
	Expires time.Time
	told    [personBytes]byte
}

// The parts of a token: an incident, the hour of its end since 1970, a mark of who was told, the MAC. They
// are 30 bytes, which are 48 letters and digits: a local part of 64 has room for a mailbox and a plus.
//
// Guessing needs 2^63 tries on average, each with an answer of the mail server: at 10,000 a second that
// takes 29 million years. The mark only says whose name stands in the timeline.
const (
	incidentBytes = 16
	hourBytes     = 3
	personBytes   = 3
	replyMacBytes = 8
	replyBytes    = incidentBytes + hourBytes + personBytes + replyMacBytes
	replyChars    = replyBytes * 8 / 5
)

// Mail systems may write a local part in capitals, so the token has letters of one size.
var replyEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// Errors of OpenReply.
var (
	// ErrReplyForged says that the token is not one of ours, or not whole.
	ErrReplyForged = errors.New("this address is not valid")
	// ErrReplyExpired says that the token was one of ours.
	ErrReplyExpired = errors.New("this address is too old: mails about incidents can be answered for seven days")
)

// SignReply returns the token of an address at which a mail about an incident is answered: 48 small
// letters and digits. The incident is a UUID. Person is who was told: an id, or empty where the message
// went to a channel.
func SignReply(secret, incident, person string, now time.Time) (string, error) {
	id, err := uuid.Parse(incident)
	if err != nil {
		return "", fmt.Errorf("sign a reply: %w", err)
	}
	end := now.Add(LinkLifetime+time.Hour-1).Unix() / 3600
	told := personMark(person)
	data := append(id[:], byte(end>>16), byte(end>>8), byte(end))
	data = append(data, told[:]...)
	return replyEncoding.EncodeToString(append(data, replyMac(secret, data)...)), nil
}

// OpenReply returns the reply of a token that was signed with the secret and has not expired, in letters
// of any size.
func OpenReply(secret, token string, now time.Time) (Reply, error) {
	if len(token) != replyChars {
		return Reply{}, ErrReplyForged
	}
	data, err := replyEncoding.DecodeString(strings.ToLower(token))
	if err != nil || len(data) != replyBytes {
		return Reply{}, ErrReplyForged
	}
	data, sum := data[:replyBytes-replyMacBytes], data[replyBytes-replyMacBytes:]
	if !hmac.Equal(sum, replyMac(secret, data)) {
		return Reply{}, ErrReplyForged
	}
	r := Reply{Incident: uuid.UUID(data[:incidentBytes]).String(), told: [personBytes]byte(data[incidentBytes+hourBytes:])}
	hour := binary.BigEndian.Uint32(append([]byte{0}, data[incidentBytes:incidentBytes+hourBytes]...))
	r.Expires = time.Unix(int64(hour)*3600, 0).UTC()
	if !now.Before(r.Expires) {
		return Reply{}, ErrReplyExpired
	}
	return r, nil
}

// Told reports whether it was this person who was told. One of 17 million others is taken for them.
func (r Reply) Told(person string) bool {
	return person != "" && r.told == personMark(person)
}

// personMark is short of a person's id; zero is nobody.
func personMark(person string) [personBytes]byte {
	if person == "" {
		return [personBytes]byte{}
	}
	sum := sha256.Sum256([]byte("midwatch person\n" + person))
	return [personBytes]byte(sum[:])
}

func replyMac(secret string, data []byte) []byte {
	return mac(secret, "reply", data)[:replyMacBytes]
}

// ReplyAddress is where people answer mails: a domain of which each token is a mailbox, or one mailbox
// behind whose name and a plus the token stands.
type ReplyAddress struct {
	mailbox string // empty for a domain
	// Domain is to which the mails go.
	Domain string
}

// maxMailbox and maxReplyDomain leave room for the token: a local part has 64 characters at most, an
// address 254.
const (
	maxMailbox     = 64 - replyChars - len("+")
	maxReplyDomain = 254 - 64 - len("@")
)

var (
	mailboxName = regexp.MustCompile(`^[a-z0-9]+([._-][a-z0-9]+)*$`)
	domainName  = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
)

// ParseReplyAddress reads "reply.example.com" or "midwatch@example.com".
func ParseReplyAddress(s string) (ReplyAddress, error) {
	s = strings.ToLower(strings.TrimSpace(s))
	mailbox, domain, found := strings.Cut(s, "@")
	if !found {
		mailbox, domain = "", s
	}
	switch {
	case len(domain) > maxReplyDomain || !domainName.MatchString(domain):
		return ReplyAddress{}, errors.New("it is a domain such as reply.example.com, or a mailbox such as midwatch@example.com")
	case found && (len(mailbox) > maxMailbox || !mailboxName.MatchString(mailbox)):
		return ReplyAddress{}, fmt.Errorf("before the @ stand at most %d letters, digits, dots, hyphens and underscores: the rest of an address is for what Midwatch adds behind a plus", maxMailbox)
	}
	return ReplyAddress{mailbox, domain}, nil
}

// Of is the address of a token.
func (a ReplyAddress) Of(token string) string {
	if a.mailbox == "" {
		return token + "@" + a.Domain
	}
	return a.mailbox + "+" + token + "@" + a.Domain
}

// Token returns the token of an address, whatever that is worth; false says that the address belongs to
// somebody else.
func (a ReplyAddress) Token(address string) (string, bool) {
	at := strings.LastIndexByte(address, '@')
	if at < 0 || !strings.EqualFold(address[at+1:], a.Domain) {
		return "", false
	}
	local := address[:at]
	if a.mailbox == "" {
		return local, true
	}
	mailbox, token, found := strings.Cut(local, "+")
	return token, found && strings.EqualFold(mailbox, a.mailbox)
}
