package oncall

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/midwatch/midwatch/alerts/schedule"
)

const (
	quietHorizon  = 8 * 24 * time.Hour
	digestHorizon = 10 // days
)

// The days of a digest.
const (
	Working = "working" // Monday to Friday
	Daily   = "daily"
	Weekly  = "weekly" // on Mondays
	Off     = "off"
)

// Digest says when a team is sent what was not worth a message of its own.
type Digest struct {
	At   string `json:"at"`   // by the clock of the team's zone; "08:30" unless somebody says otherwise
	Days string `json:"days"` // Working, Daily, Weekly or Off; Working if it is empty
}

// Team is people who own rules together.
type Team struct {
	ID         string   `json:"id"`
	Name       string   `json:"name"`
	Zone       string   `json:"zone"` // a name of the IANA database; UTC if it is empty
	QuietHours []Hours  `json:"quiet_hours"`
	Digest     Digest   `json:"digest"`
	Policy     string   `json:"policy"`  // the id of the policy for incidents whose route names none
	Members    []string `json:"members"` // ids of people
	// Tickets and Mails are the receivers of what is not urgent. Without Tickets those of the policy's
	// first step get them; without Mails they are lines of the digest.
	Tickets []string `json:"tickets,omitempty"`
	Mails   []string `json:"mails,omitempty"`
}

// WithDefaults returns the team with what is left out as it counts.
func (t Team) WithDefaults() Team {
	if t.Zone == "" {
		t.Zone = "UTC"
	}
	if t.Digest.At == "" {
		t.Digest.At = "08:30"
	}
	if t.Digest.Days == "" {
		t.Digest.Days = Working
	}
	return t
}

// Validate reports the first thing that is wrong; the message names the field.
func (t Team) Validate() error {
	t = t.WithDefaults()
	if err := validHead(t.ID, t.Name); err != nil {
		return err
	}
	if _, err := schedule.Zone(t.Zone); err != nil {
		return fmt.Errorf("zone: %w", err)
	}
	if err := validQuiet(t.QuietHours); err != nil {
		return err
	}
	if at, err := parseClock(t.Digest.At); err != nil {
		return fmt.Errorf("digest.at: %w", err)
	} else if at == 24*time.Hour {
		return errors.New("digest.at: the day begins at 00:00")
	}
	switch t.Digest.Days {
	case Working, Daily, Weekly, Off:
	default:
		return fmt.Errorf("digest.days: is %q, %q, %q or %q, not %.20q", Working, Daily, Weekly, Off, t.Digest.Days)
	}
	if len(t.Policy) > maxIDBytes {
		return errors.New("policy: is not an id")
	}
	if err := validIDs("tickets", t.Tickets, maxContacts); err != nil {
		return err
	}
	if err := validIDs("mails", t.Mails, maxContacts); err != nil {
		return err
	}
	return validIDs("members", t.Members, maxMembers)
}

// Quiet reports whether the team's quiet hours hold at the instant, and until when: what is not
// urgent waits for that.
func (t Team) Quiet(at time.Time) (until time.Time, held bool) {
	return compileWeek(t.QuietHours, t.Zone).holds(at, quietHorizon)
}

// NextDigest returns when the first digest after the given time is due; zero if the team has none.
func (t Team) NextDigest(after time.Time) time.Time {
	t = t.WithDefaults()
	location, err := schedule.Zone(t.Zone)
	if err != nil {
		location = time.UTC
	}
	clock, err := parseClock(t.Digest.At)
	if err != nil {
		return time.Time{}
	}
	var days weekdays
	switch t.Digest.Days {
	case Working:
		days = everyDay &^ (1<<time.Saturday | 1<<time.Sunday)
	case Daily:
		days = everyDay
	case Weekly:
		days = 1 << time.Monday
	}
	today := date(schedule.Wall(after, location))
	for i := -1; i < digestHorizon; i++ {
		day := today.AddDate(0, 0, i)
		if !days.has(day.Weekday()) {
			continue
		}
		if at := schedule.Instant(day.Add(clock), location); at.After(after) {
			return at
		}
	}
	return time.Time{}
}

// Contact is a way in which a person is reached.
type Contact struct {
	Receiver string `json:"receiver"` // the id of a receiver
}

// Person is somebody who can be told.
type Person struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	Email string `json:"email"`
	Zone  string `json:"zone"` // a name of the IANA database; UTC if it is empty
	// Contacts are in order: the first is used, and the next where one does not deliver.
	Contacts   []Contact `json:"contacts"`
	QuietHours []Hours   `json:"quiet_hours"`
}

// WithDefaults returns the person with what is left out as it counts.
func (p Person) WithDefaults() Person {
	if p.Zone == "" {
		p.Zone = "UTC"
	}
	return p
}

// Validate reports the first thing that is wrong; the message names the field.
func (p Person) Validate() error {
	if err := validHead(p.ID, p.Name); err != nil {
		return err
	}
	name, domain, _ := strings.Cut(p.Email, "@")
	if p.Email != "" && (name == "" || domain == "" || len(p.Email) > 254 || strings.ContainsAny(p.Email, " \t\r\n<>,") || strings.Contains(domain, "@")) {
		return errors.New("email: is not an e-mail address")
	}
	if _, err := schedule.Zone(p.Zone); err != nil {
		return fmt.Errorf("zone: %w", err)
	}
	if len(p.Contacts) > maxContacts {
		return fmt.Errorf("contacts: more than %d", maxContacts)
	}
	for i, c := range p.Contacts {
		if err := validID(c.Receiver); err != nil {
			return fmt.Errorf("contacts[%d].receiver: %w", i, err)
		}
	}
	return validQuiet(p.QuietHours)
}

// Quiet reports whether the person's quiet hours hold at the instant, and until when.
func (p Person) Quiet(at time.Time) (until time.Time, held bool) {
	return compileWeek(p.QuietHours, p.Zone).holds(at, quietHorizon)
}

func validQuiet(quiet []Hours) error {
	if err := validHours("quiet_hours", quiet); err != nil {
		return err
	}
	if compileWeek(quiet, "").whole() {
		return errors.New("quiet_hours: nothing would ever be sent, since they leave nothing of the week")
	}
	return nil
}

func validHours(field string, all []Hours) error {
	if len(all) > maxHours {
		return fmt.Errorf("%s: more than %d", field, maxHours)
	}
	for i, h := range all {
		if err := h.Validate(); err != nil {
			return fmt.Errorf("%s[%d].%w", field, i, err)
		}
	}
	return nil
}
