// Package receivers holds what people configure about receivers, and opens the notifier of each.
package receivers

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/midwatch/midwatch/alerts/notify"
	"github.com/midwatch/midwatch/alerts/notify/discord"
	"github.com/midwatch/midwatch/alerts/notify/email"
	"github.com/midwatch/midwatch/alerts/notify/opsgenie"
	"github.com/midwatch/midwatch/alerts/notify/pagerduty"
	"github.com/midwatch/midwatch/alerts/notify/slack"
	"github.com/midwatch/midwatch/alerts/notify/teams"
	"github.com/midwatch/midwatch/alerts/notify/telegram"
	"github.com/midwatch/midwatch/alerts/notify/webhook"
)

// The kinds of receivers.
const (
	Email     = "email"
	Slack     = "slack"
	PagerDuty = "pagerduty"
	Webhook   = "webhook"
	Discord   = "discord"
	Teams     = "teams"
	Telegram  = "telegram"
	Opsgenie  = "opsgenie"
)

// Receiver is the document that a person writes: where messages go. Its settings are those of its kind's package.
type Receiver struct {
	ID       string          `json:"id,omitempty"`
	Name     string          `json:"name"`
	Kind     string          `json:"kind"`
	Settings json.RawMessage `json:"settings"`
	Limit    *Limit          `json:"limit,omitempty"`    // of the kind if nil
	Fallback string          `json:"fallback,omitempty"` // the receiver that is told when this one cannot be
	Zone     string          `json:"zone,omitempty"`     // in which its messages say times
}

// Limit is how many messages a receiver gets: a token bucket of Count that fills again in Per.
type Limit struct {
	Count int
	Per   time.Duration
}

type limitJSON struct {
	Count int    `json:"count"`
	Per   string `json:"per"`
}

// MarshalJSON writes {"count": 10, "per": "5m0s"}.
func (l Limit) MarshalJSON() ([]byte, error) { return json.Marshal(limitJSON{l.Count, l.Per.String()}) }

// UnmarshalJSON reads what MarshalJSON writes.
func (l *Limit) UnmarshalJSON(b []byte) error {
	var written limitJSON
	if err := json.Unmarshal(b, &written); err != nil {
		return fmt.Errorf("read a limit: %w", err)
	}
	per, err := time.ParseDuration(written.Per)
	if err != nil {
		return fmt.Errorf("read a limit: per: %w", err)
	}
	l.Count, l.Per = written.Count, per
	return nil
}

// Kind describes a kind of receiver to those who choose one.
type Kind struct {
	Kind, Name  string
	Description string // what to know before choosing it; may be empty
	Limit       Limit  // unless the receiver has its own

	secrets []string // settings that are never shown again
	// bound are the secrets that are sent to the address, by the settings that say where: a secret is kept only
	// while those stay as they are, or whoever may edit a receiver could have its secret sent to themselves.
	bound map[string][]string
	open  func(r Receiver, deps Deps) (notify.Notifier, error)
}

// Kinds are all, in the order in which a form offers them.
func Kinds() []Kind {
	return []Kind{
		{Kind: Email, Name: "E-mail", Limit: Limit{20, time.Hour}, open: openEmail},
		{
			Kind: Slack, Name: "Slack", Limit: Limit{60, time.Minute}, secrets: []string{"webhook_url", "token"},
			bound: map[string][]string{"token": {"endpoint"}},
			open:  opener(func(s slack.Settings, c notify.Client) (notify.Notifier, error) { return some(slack.New(s, c)) }),
		},
		{
			Kind: PagerDuty, Name: "PagerDuty", Limit: Limit{10, 5 * time.Minute}, secrets: []string{"routing_key"},
			bound: map[string][]string{"routing_key": {"endpoint"}},
			open:  opener(func(s pagerduty.Settings, c notify.Client) (notify.Notifier, error) { return some(pagerduty.New(s, c)) }),
		},
		{
			Kind: Webhook, Name: "Webhook", Limit: Limit{30, time.Minute}, secrets: []string{"secrets", "authorization"},
			// signing with a secret does not tell it, so "secrets" stay when the address changes.
			bound: map[string][]string{"authorization": {"url"}}, open: openWebhook,
		},
		{
			Kind: Discord, Name: "Discord", Limit: Limit{30, time.Minute}, secrets: []string{"webhook_url"},
			open: opener(func(s discord.Settings, c notify.Client) (notify.Notifier, error) { return some(discord.New(s, c)) }),
		},
		{
			Kind: Teams, Name: "Microsoft Teams", Limit: Limit{30, time.Minute}, secrets: []string{"webhook_url"},
			Description: "A webhook of Workflows. Teams does not answer whether a card was shown.",
			open:        opener(func(s teams.Settings, c notify.Client) (notify.Notifier, error) { return some(teams.New(s, c)) }),
		},
		{
			Kind: Telegram, Name: "Telegram", Limit: Limit{20, time.Minute}, secrets: []string{"token"},
			bound: map[string][]string{"token": {"endpoint"}},
			open:  opener(func(s telegram.Settings, c notify.Client) (notify.Notifier, error) { return some(telegram.New(s, c)) }),
		},
		{
			Kind: Opsgenie, Name: "Opsgenie", Limit: Limit{10, 5 * time.Minute}, Description: opsgenie.Description, secrets: []string{"api_key"},
			bound: map[string][]string{"api_key": {"endpoint"}},
			open:  opener(func(s opsgenie.Settings, c notify.Client) (notify.Notifier, error) { return some(opsgenie.New(s, c)) }),
		},
	}
}

func kindOf(r Receiver) (Kind, error) {
	kinds := Kinds()
	i := slices.IndexFunc(kinds, func(k Kind) bool { return k.Kind == r.Kind })
	if i < 0 {
		var names []string
		for _, k := range kinds {
			names = append(names, k.Kind)
		}
		return Kind{}, fmt.Errorf("kind: %q is none of %s", notify.Clip(r.Kind, 50), strings.Join(names, ", "))
	}
	return kinds[i], nil
}

// Bucket is the receiver's limit, or that of its kind.
func (r Receiver) Bucket() Limit {
	if r.Limit != nil {
		return *r.Limit
	}
	kind, err := kindOf(r)
	if err != nil {
		return Limit{Count: 1, Per: time.Minute}
	}
	return kind.Limit
}

// Deps are what notifiers are made of. All but PublicURL are needed.
type Deps struct {
	// HTTP reaches addresses that tenants chose: its dialer decides which may be reached (no private ones, for
	// example). An error of it with a method Permanent() bool that says true is not tried again.
	HTTP *http.Client
	// Mail takes mails on (email.NewTransport), MailFrom is their sender.
	Mail      email.Transport
	MailFrom  string
	PublicURL string // where Midwatch's pages are
	Now       func() time.Time
}

// Open makes the notifier of a receiver. It bounds each message, and keeps the receiver's secrets out of receipts
// and errors.
func Open(r Receiver, deps Deps) (notify.Notifier, error) {
	kind, err := kindOf(r)
	if err != nil {
		return nil, err
	}
	inner, err := kind.open(r, deps)
	if err != nil {
		return nil, fmt.Errorf("settings: %w", err)
	}
	o := opened{inner: inner, zone: r.Zone}
	for _, secret := range secretsOf(kind, r.Settings) {
		if len(secret) >= 6 {
			o.secrets = append(o.secrets, secret, "(hidden)")
		}
	}
	if checker, ok := inner.(notify.Checker); ok {
		return checked{o, checker}, nil
	}
	return o, nil
}

type opened struct {
	inner   notify.Notifier
	zone    string
	secrets []string // each followed by what stands for it
}

func (o opened) Notify(ctx context.Context, m notify.Message) (notify.Receipt, error) {
	if m.Zone == "" {
		m.Zone = o.zone
	}
	receipt, err := o.inner.Notify(ctx, m.Bounded())
	return o.hide(receipt, err)
}

func (o opened) hide(receipt notify.Receipt, err error) (notify.Receipt, error) {
	hidden := strings.NewReplacer(o.secrets...)
	receipt.Excerpt = hidden.Replace(receipt.Excerpt)
	var permanent *notify.PermanentError
	var retry *notify.RetryError
	switch {
	case errors.As(err, &permanent):
		return receipt, &notify.PermanentError{Code: permanent.Code, Broken: permanent.Broken, Reason: hidden.Replace(permanent.Reason)}
	case errors.As(err, &retry):
		return receipt, &notify.RetryError{Code: retry.Code, After: retry.After, Reason: hidden.Replace(retry.Reason), Err: retry.Err}
	}
	return receipt, err
}

type checked struct {
	opened
	checker notify.Checker
}

func (c checked) Check(ctx context.Context) (notify.Receipt, error) {
	receipt, err := c.checker.Check(ctx)
	return c.hide(receipt, err)
}

// some keeps a nil pointer from becoming a notifier.
func some[T notify.Notifier](n T, err error) (notify.Notifier, error) {
	if err != nil {
		return nil, err
	}
	return n, nil
}

func opener[S any](open func(S, notify.Client) (notify.Notifier, error)) func(Receiver, Deps) (notify.Notifier, error) {
	return func(r Receiver, deps Deps) (notify.Notifier, error) {
		settings, err := decode[S](r.Settings)
		if err != nil {
			return nil, err
		}
		return open(settings, notify.Client{HTTP: deps.HTTP, Now: deps.Now})
	}
}

func openEmail(r Receiver, deps Deps) (notify.Notifier, error) {
	settings, err := decode[email.Settings](r.Settings)
	if err != nil {
		return nil, err
	}
	if deps.Mail == nil {
		return nil, errors.New("this installation sends no mail")
	}
	return some(email.New(settings, deps.MailFrom, deps.Mail))
}

func openWebhook(r Receiver, deps Deps) (notify.Notifier, error) {
	settings, err := decode[webhook.Settings](r.Settings)
	if err != nil {
		return nil, err
	}
	settings.Name, settings.RunsAt = r.Name, deps.PublicURL
	return some(webhook.New(settings, notify.Client{HTTP: deps.HTTP, Now: deps.Now}))
}

const maxSettings = 64 << 10

func decode[S any](raw json.RawMessage) (S, error) {
	var settings S
	if len(raw) > maxSettings {
		return settings, fmt.Errorf("they are longer than %d bytes", maxSettings)
	}
	if _, err := fieldsOf(raw); err != nil {
		return settings, err
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&settings); err != nil {
		// the decoder's words hold names of settings, never their values.
		return settings, fmt.Errorf("they do not fit this kind: %w", err)
	}
	return settings, nil
}

// Validate tells the person who writes a receiver what is wrong with it. It reaches nothing.
func (r Receiver) Validate() error {
	if name := strings.TrimSpace(r.Name); name == "" || len([]rune(name)) > 100 {
		return errors.New("name: 1 to 100 characters are needed")
	}
	if r.Limit != nil && (r.Limit.Count < 1 || r.Limit.Count > 1000 || r.Limit.Per < time.Second || r.Limit.Per > 24*time.Hour) {
		return errors.New("limit: 1 to 1,000 messages in 1 s to 24 h")
	}
	if r.Fallback != "" && r.Fallback == r.ID {
		return errors.New("fallback: it must be another receiver")
	}
	if _, err := time.LoadLocation(r.Zone); err != nil || r.Zone == "Local" {
		return fmt.Errorf("zone: %q is not known; Europe/Berlin is one", notify.Clip(r.Zone, 50))
	}
	// nothing is sent: any client and any folder will do.
	mail, err := email.NewTransport("file:mail")
	if err != nil {
		return fmt.Errorf("prepare the check: %w", err)
	}
	_, err = Open(r, Deps{HTTP: http.DefaultClient, Mail: mail, MailFrom: "midwatch@localhost", Now: time.Now})
	return err
}

// TestMessage is what the test button sends. Key must differ for each press.
func TestMessage(r Receiver, key string, now time.Time) notify.Message {
	return notify.Message{
		Key: key, Action: notify.Test, Severity: notify.SeverityMail, At: now, Zone: r.Zone,
		Title: "Midwatch reaches " + notify.Clip(r.Name, 80),
		Sections: []notify.Section{{Lead: true, Lines: []notify.Line{
			{Text: "Somebody pressed the test button of this receiver. Nothing is wrong and there is nothing to do."},
		}}},
	}
}
