// Package replies takes in what people answer to mails about incidents. It is an SMTP server that takes
// mails for the addresses that Midwatch's own mails name as their Reply-To, and for nothing else: it
// passes no mail on.
//
// The token in the address is what allows somebody to act, as in a link; the From of a mail only says in
// whose name, since anybody can write it. A mail is answered with 250 after what it asks for is
// committed, and with 451 while that is not possible, so that its sender comes again. What comes again
// is done once. Programs that answer by themselves are thanked and not heeded.
package replies

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-smtp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/midwatch/midwatch/alerts/desk"
	"github.com/midwatch/midwatch/alerts/incident"
	"github.com/midwatch/midwatch/storage/catalog"
)

const (
	maxMailBytes  = 1 << 20
	maxRecipients = 5
	maxLineBytes  = 32 << 10
	timeout       = 30 * time.Second
	// workTimeout bounds what is done for one mail.
	workTimeout = 20 * time.Second
)

// Config says which mails are taken.
type Config struct {
	// Address is where people answer, Secret signs its tokens.
	Address incident.ReplyAddress
	Secret  string
	// Desk is where incidents are changed.
	Desk *desk.Desk
}

// Server takes mails.
type Server struct {
	cfg   Config
	db    *catalog.DB
	log   *slog.Logger
	mails metric.Int64Counter
}

// New makes a Server; Run starts it.
func New(cfg Config, db *catalog.DB, meter metric.Meter, log *slog.Logger) (*Server, error) {
	mails, err := meter.Int64Counter("midwatch.alerting.replies", metric.WithDescription("Answers to mails about incidents, by what became of them"))
	if err != nil {
		return nil, fmt.Errorf("make the metric of replies: %w", err)
	}
	return &Server{cfg: cfg, db: db, log: log, mails: mails}, nil
}

// Run takes mails from a listener until ctx ends, and closes it. What is being done then is taken back or
// committed, and answered.
func (s *Server) Run(ctx context.Context, l net.Listener) error {
	g := newGate(l)
	defer g.close()
	server := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) {
		return &session{Server: s, ctx: ctx}, nil
	}))
	server.Domain = s.cfg.Address.Domain
	server.MaxMessageBytes, server.MaxRecipients, server.MaxLineLength = maxMailBytes, maxRecipients, maxLineBytes
	server.ReadTimeout, server.WriteTimeout = timeout, timeout
	server.EnableSMTPUTF8 = true
	server.ErrorLog = slog.NewLogLogger(s.log.Handler(), slog.LevelDebug)
	var failed error // once over is closed
	over := make(chan struct{})
	go func() {
		defer close(over)
		failed = server.Serve(g)
	}()
	select {
	case <-ctx.Done():
	case <-over:
	}
	asked := ctx.Err() != nil
	g.close()
	err := server.Shutdown(context.WithoutCancel(ctx))
	if errors.Is(err, net.ErrClosed) {
		err = nil
	}
	<-over
	if !asked {
		err = errors.Join(failed, err)
	}
	if err != nil {
		return fmt.Errorf("take mails at %s: %w", l.Addr(), err)
	}
	return nil
}

// session is one connection. The library gives it no context.
type session struct {
	*Server
	ctx context.Context

	// bounce says that the sender's address is empty, as that of what no person has sent.
	bounce bool
	// to are the recipients, by their incidents.
	to map[string]incident.Reply
}

// Reset forgets the mail.
func (s *session) Reset() { s.bounce, s.to = false, nil }

// Logout ends the session.
func (s *session) Logout() error { return nil }

// Mail takes the sender, whoever it is.
func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	s.bounce, s.to = from == "", map[string]incident.Reply{}
	return nil
}

// Rcpt takes a recipient if its address is one of ours.
func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	token, ours := s.cfg.Address.Token(to)
	if !ours {
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 7, 1}, Message: "No relaying: only answers to mails of Midwatch are taken here"}
	}
	reply, err := incident.OpenReply(s.cfg.Secret, token, time.Now())
	switch {
	case errors.Is(err, incident.ErrReplyExpired):
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 7, 1}, Message: "This address is too old: mails about incidents can be answered for seven days. Open the incident in Midwatch instead"}
	case err != nil:
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "This address is not valid: answer a mail of Midwatch, and do not change its address"}
	}
	s.to[reply.Incident] = reply
	return nil
}

// Data does what a mail asks for. Its answers are errors to the library, the good ones too.
func (s *session) Data(r io.Reader) error {
	data, err := io.ReadAll(io.LimitReader(r, maxMailBytes+1))
	if refused, ok := errors.AsType[*smtp.SMTPError](err); ok {
		return refused
	}
	if err != nil {
		return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 4, 2}, Message: "The mail did not arrive whole, send it again"}
	}
	if len(data) > maxMailBytes {
		return smtp.ErrDataTooLarge
	}
	if s.bounce {
		s.count("automatic")
		return accepted("this is an automatic mail: nothing was done")
	}
	a, err := read(data)
	switch {
	case err != nil:
		s.count("refused")
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 6, 0}, Message: "This is not a mail"}
	case a.automatic:
		s.count("automatic")
		return accepted("this is an automatic mail: nothing was done")
	case a.text == "":
		s.count("refused")
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 6, 0}, Message: "There is nothing to be read in this mail: answer with ack, escalate, silence or false alarm in the first line"}
	}
	ctx, cancel := context.WithTimeoutCause(s.ctx, workTimeout, errors.New("the mail took too long"))
	defer cancel()
	var said []string
	var refusal *smtp.SMTPError
	for _, id := range slices.Sorted(maps.Keys(s.to)) {
		words, err := s.take(ctx, s.to[id], a)
		if err != nil {
			if refused, ok := errors.AsType[*smtp.SMTPError](err); ok {
				s.count("refused")
				refusal = refused
				continue
			}
			s.count("failed")
			s.log.Warn("a mail has to come again", "incident", id, "err", err)
			return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 3, 0}, Message: "Midwatch cannot note this now, send it again"}
		}
		said = append(said, words)
	}
	if len(said) == 0 && refusal != nil {
		return refusal
	}
	return accepted(strings.Join(said, "; "))
}

func accepted(words string) error {
	return &smtp.SMTPError{Code: 250, EnhancedCode: smtp.EnhancedCode{2, 0, 0}, Message: "OK: " + words}
}

func (s *session) count(outcome string) {
	s.mails.Add(s.ctx, 1, metric.WithAttributes(attribute.String("outcome", outcome)))
}

// done is what is said of an action, and what it is counted as.
var done = map[string]string{
	incident.LinkAcknowledge: "acknowledged", incident.LinkEscalate: "escalated", incident.LinkSilence: "silenced for 1 h",
	incident.LinkFalseAlarm: "closed as a false alarm", "": "kept as a note",
}

// take does what a mail asks for to one incident, and returns what has become of it. A *smtp.SMTPError
// refuses the mail, after any other it may come again.
func (s *session) take(ctx context.Context, r incident.Reply, a answer) (string, error) {
	const via = "answering a mail"
	row, err := s.db.Incident(ctx, r.Incident)
	if errors.Is(err, catalog.ErrNotFound) {
		return "", &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "The incident of this address is not there any more"}
	}
	if err != nil {
		return "", err
	}
	person, err := s.person(ctx, row.Organisation, r, a.from)
	if err != nil {
		return "", err
	}
	now := time.Now().UTC()
	asked := desk.Request{Action: action(a.text), Text: a.text, Person: person, Via: via, Once: "mail " + a.id}
	err = s.cfg.Desk.Do(ctx, r.Incident, asked, now)
	words := done[asked.Action]
	if errors.Is(err, desk.ErrOver) {
		// What was said is kept all the same: it may be about what comes next.
		asked.Action, words = "", "the incident is over, kept as a note"
		err = s.cfg.Desk.Do(ctx, r.Incident, asked, now)
	}
	switch {
	case errors.Is(err, desk.ErrNoLabels):
		return "", &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 3, 3}, Message: "The incident has no labels by which it could be silenced: make a silence in Midwatch"}
	case errors.Is(err, catalog.ErrLimit):
		return "", &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 3, 3}, Message: fmt.Sprintf("There are %d silences, more are not possible", catalog.MaxDocuments)}
	case err != nil:
		return "", err
	}
	outcome := asked.Action
	if outcome == "" {
		outcome = "note"
	}
	s.count(outcome)
	s.log.Info("mail about an incident answered", "incident", r.Incident, "outcome", outcome)
	return words, nil
}

// person is in whose name an answer acts: whoever of the organisation has the address that it comes from,
// or else who was told, or else words.
func (s *session) person(ctx context.Context, organisation string, r incident.Reply, from string) (string, error) {
	book, err := s.cfg.Desk.Book(ctx, organisation)
	if err != nil {
		return "", err
	}
	if from != "" {
		if id := book.PersonOf(from); id != "" {
			return id, nil
		}
		member, err := s.db.Member(ctx, organisation, from)
		if err == nil {
			return member.Email, nil
		}
		if !errors.Is(err, catalog.ErrNotFound) {
			return "", err
		}
	}
	for _, id := range slices.Sorted(maps.Keys(book.People)) {
		if r.Told(id) {
			return id, nil
		}
	}
	return "somebody by mail", nil
}
