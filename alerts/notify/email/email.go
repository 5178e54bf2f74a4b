// Package email tells people by mail: text and HTML with the chart in it, in one thread for each incident.
package email

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/mail"
	"regexp"
	"strings"

	gomail "github.com/wneessen/go-mail"

	"github.com/midwatch/midwatch/alerts/notify"
)

// Settings of a receiver.
type Settings struct {
	To []string `json:"to"` // addresses, at most 20
}

// Email tells some addresses.
type Email struct {
	to        []*mail.Address
	from      *mail.Address
	domain    string
	transport Transport
}

// Transport takes a mail on: a server, or a folder.
type Transport interface {
	deliver(ctx context.Context, m *gomail.Msg) (notify.Receipt, error)
	check(ctx context.Context) (notify.Receipt, error)
}

const maxTo = 20

// New makes a receiver; the error tells the person who configures it what is wrong. From is the sender of the
// installation: "Midwatch <alerts@example.com>".
func New(settings Settings, from string, transport Transport) (*Email, error) {
	if len(settings.To) == 0 || len(settings.To) > maxTo {
		return nil, fmt.Errorf("to: 1 to %d addresses are needed", maxTo)
	}
	e := &Email{transport: transport}
	for _, to := range settings.To {
		address, err := parse(to)
		if err != nil {
			return nil, fmt.Errorf("to: %q %w", notify.Clip(to, 100), err)
		}
		e.to = append(e.to, address)
	}
	var err error
	if e.from, err = parse(from); err != nil {
		return nil, fmt.Errorf("the sender %q %w", from, err)
	}
	e.domain = e.from.Address[strings.LastIndexByte(e.from.Address, '@')+1:]
	return e, nil
}

func parse(s string) (*mail.Address, error) {
	address, err := mail.ParseAddress(s)
	if err != nil || len(s) > 320 || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return nil, errors.New("is not an address like ada@example.com")
	}
	return address, nil
}

// Notify sends the mail. Another attempt has the same Message-ID, so that mail programs show it once.
func (e *Email) Notify(ctx context.Context, m notify.Message) (notify.Receipt, error) {
	letter, err := e.letter(m)
	if err != nil {
		return notify.Receipt{}, &notify.PermanentError{Reason: err.Error()}
	}
	receipt, err := e.transport.deliver(ctx, letter)
	if err == nil {
		receipt.Reference = e.id(m)
		if reference.MatchString(m.Reference) {
			receipt.Reference = m.Reference
		}
	}
	return receipt, err
}

// Check connects to the server, says hello, authenticates and leaves.
func (e *Email) Check(ctx context.Context) (notify.Receipt, error) { return e.transport.check(ctx) }

var (
	reference = regexp.MustCompile(`^<[!-;=?-~]{1,250}>$`) // printable, without < and >
	idText    = regexp.MustCompile(`^[0-9A-Za-z-]{1,100}$`)
)

func (e *Email) id(m notify.Message) string {
	if idText.MatchString(m.Incident) {
		return fmt.Sprintf("<%s.%d@%s>", m.Incident, m.Seq, e.domain)
	}
	sum := sha256.Sum256([]byte(m.Key))
	return fmt.Sprintf("<%s@%s>", hex.EncodeToString(sum[:16]), e.domain)
}

const chartID = "chart@midwatch"

func (e *Email) letter(m notify.Message) (*gomail.Msg, error) {
	picture := ""
	if m.Chart != nil && len(m.Chart.PNG) > 0 {
		picture = "cid:" + chartID
	}
	page, err := notify.HTML(m, picture)
	if err != nil {
		return nil, err
	}
	letter := gomail.NewMsg(gomail.WithNoDefaultUserAgent())
	letter.FromMailAddress(e.from)
	letter.ToMailAddress(e.to...)
	if m.ReplyTo != "" {
		if err := letter.ReplyTo(m.ReplyTo); err != nil {
			return nil, fmt.Errorf("name where to answer: %w", err)
		}
	}
	// a header is one line, whatever a title holds.
	letter.Subject(strings.Join(strings.Fields(m.Heading()), " "))
	letter.SetDateWithValue(m.At.UTC())
	letter.SetGenHeader(gomail.HeaderMessageID, e.id(m))
	if reference.MatchString(m.Reference) {
		letter.SetGenHeader(gomail.HeaderInReplyTo, m.Reference)
		letter.SetGenHeader(gomail.HeaderReferences, m.Reference)
	}
	letter.SetGenHeader("Auto-Submitted", "auto-generated")
	letter.SetGenHeader("X-Auto-Response-Suppress", "All")
	if m.Severity == notify.SeverityPage && !m.Action.Ends() {
		letter.SetImportance(gomail.ImportanceHigh)
	}
	if m.Action == notify.Digest {
		for _, b := range m.Buttons {
			if b.ID == notify.ButtonUnsubscribe {
				if err := letter.SetListUnsubscribeOneClick(b.URL); err != nil {
					letter.SetListUnsubscribe(b.URL)
				}
			}
		}
	}
	letter.SetBodyString(gomail.TypeTextPlain, notify.MailText(m))
	letter.AddAlternativeString(gomail.TypeTextHTML, page)
	if picture != "" {
		err := letter.EmbedReader("chart.png", bytes.NewReader(m.Chart.PNG), gomail.WithFileContentID(chartID), gomail.WithFileContentType("image/png"))
		if err != nil {
			return nil, fmt.Errorf("embed the chart: %w", err)
		}
	}
	return letter, nil
}
