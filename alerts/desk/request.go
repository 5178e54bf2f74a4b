package desk

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/midwatch/midwatch/alerts/incident"
	"github.com/midwatch/midwatch/alerts/match"
	"github.com/midwatch/midwatch/alerts/oncall"
	"github.com/midwatch/midwatch/storage/catalog"
)

const (
	// requestedSilence is how long the silence of a message's button lasts.
	requestedSilence = time.Hour
	// silenceKept is how long a silence is kept that has ended.
	silenceKept = 30 * 24 * time.Hour
	// maxAuthor bounds who a silence says that it is by.
	maxAuthor = 100
)

// Request is what somebody asks for by a message that they were sent, without signing in.
type Request struct {
	// Action is one of incident.Link…, or empty for a note, which is Text.
	Action, Text string
	// Person is who asks, and Via by which way, in words.
	Person, Via string
	// Once names the request: asked for again by the same name it is done already. Without a name each
	// is another one.
	Once string
}

// Errors of Do.
var (
	// ErrOver says that there is nothing to be done to an incident any more.
	ErrOver = errors.New("this incident is over")
	// ErrNoLabels says that a silence would mute everything.
	ErrNoLabels = errors.New("the incident has no labels by which it could be silenced")
)

// Do does what somebody asks for to an incident. One that is over can be noted and called a false alarm,
// and is ErrOver otherwise.
func (d *Desk) Do(ctx context.Context, id string, r Request, now time.Time) error {
	return d.change(ctx, id, now, func(w *working, s *session) error {
		if r.Once != "" {
			w.first = entryOnce(w.ID, r.Once)
			if known, err := s.tx.HasIncidentEntry(ctx, w.first); err != nil || known {
				return err
			}
		}
		if w.State != incident.Open && r.Action != "" && r.Action != incident.LinkFalseAlarm {
			return ErrOver
		}
		switch r.Action {
		case incident.LinkAcknowledge:
			w.Acknowledge(r.Person, r.Via, now, &w.change)
		case incident.LinkEscalate:
			w.Escalate(s.book, r.Person, now, &w.change)
		case incident.LinkFalseAlarm:
			w.Finish(s.book, r.Person, "", true, now, &w.change)
		case incident.LinkSilence:
			return s.silence(ctx, w, r, now)
		default:
			w.note(r.Person, r.Text, now)
		}
		return nil
	})
}

// entryOnce is the id of the line in which a request that has a name stands. It is the first one that a
// change writes, and sorts before the others of its time: their versions begin at 1.
func entryOnce(id, once string) string {
	sum := sha256.Sum256([]byte(once))
	return fmt.Sprintf("%s:%08d:%s", id, 0, hex.EncodeToString(sum[:16]))
}

// silence mutes what is like an incident for an hour.
func (s *session) silence(ctx context.Context, w *working, r Request, now time.Time) error {
	silence := oncall.Silence{
		// Asked for once more by the same person it is prolonged, and there is no second one.
		ID:   uuid.NewSHA1(uuid.Nil, []byte("silence of "+w.ID+" "+r.Person)).String(),
		From: now, To: now.Add(requestedSilence), Author: strings.ToValidUTF8(r.Person[:min(len(r.Person), maxAuthor)], ""),
		Reason: fmt.Sprintf("By %s about incident %d", r.Via, w.Number),
	}
	for _, name := range oncall.DefaultGroupBy() {
		if m, err := match.New(name, match.Equal, w.Labels[name]); err == nil && w.Labels[name] != "" {
			silence.Matchers = append(silence.Matchers, m)
		}
	}
	if len(silence.Matchers) == 0 {
		return ErrNoLabels
	}
	if err := silence.Validate(); err != nil {
		return fmt.Errorf("silence incident %s: %w", w.ID, err)
	}
	if _, err := putSilence(ctx, s.tx, s.book, silence, now); err != nil {
		return err
	}
	w.note(r.Person, "Silenced for 1 h", now)
	return nil
}

// Silence keeps a silence of an organisation, that may be there already, and forgets those that ended
// long ago. Too many of them are catalog.ErrLimit.
func (d *Desk) Silence(ctx context.Context, organisation string, silence oncall.Silence, now time.Time) (catalog.Document, error) {
	var kept catalog.Document
	err := d.db.InTx(ctx, func(tx *catalog.Tx) error {
		book, err := d.bookOf(ctx, tx, organisation)
		if err != nil {
			return err
		}
		kept, err = putSilence(ctx, tx, book, silence, now)
		return err
	})
	return kept, err
}

func putSilence(ctx context.Context, tx *catalog.Tx, book *incident.Book, silence oncall.Silence, now time.Time) (catalog.Document, error) {
	for _, old := range book.Silences {
		if now.Sub(old.To) < silenceKept {
			continue
		}
		if err := tx.DeleteDocument(ctx, book.Organisation, incident.DocSilence, 0, old.ID); err != nil && !errors.Is(err, catalog.ErrNotFound) {
			return catalog.Document{}, err
		}
	}
	body, err := json.Marshal(silence)
	if err != nil {
		return catalog.Document{}, fmt.Errorf("write a silence: %w", err)
	}
	return tx.PutDocument(ctx, catalog.Document{
		Organisation: book.Organisation, Kind: incident.DocSilence, ID: silence.ID, Name: silence.Matchers.String(), Body: body, UpdatedBy: silence.Author,
	}, catalog.AnyVersion)
}
