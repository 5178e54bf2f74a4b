package replies_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/mail"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"go.opentelemetry.io/otel/metric/noop"
	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"

	"github.com/midwatch/midwatch/alerts/deliver"
	"github.com/midwatch/midwatch/alerts/desk"
	"github.com/midwatch/midwatch/alerts/incident"
	"github.com/midwatch/midwatch/alerts/notify"
	"github.com/midwatch/midwatch/alerts/notify/email"
	"github.com/midwatch/midwatch/alerts/oncall"
	"github.com/midwatch/midwatch/alerts/rule"
	"github.com/midwatch/midwatch/services/alerting/replies"
	"github.com/midwatch/midwatch/storage/catalog"
	"github.com/midwatch/midwatch/storage/storagetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const secret = "of the links"

// world is a desk that pages bob and then eve by mail, and the server that takes their answers.
type world struct {
	t            *testing.T
	db           *catalog.DB
	desk         *desk.Desk
	address      string // of the server
	replyTo      incident.ReplyAddress
	organisation string
	mails        string // the folder
	incident     string
	now          time.Time
	stop         context.CancelFunc
}

func newWorld(t *testing.T, cfg catalog.Config, replyTo string) *world {
	t.Helper()
	w := &world{t: t, db: storagetest.OpenCatalog(t, cfg), mails: t.TempDir(), now: time.Now().UTC()}
	first, err := w.db.Initialise(t.Context(), catalog.Initial{Email: "ann@example.com", Password: "correct horse"})
	if err != nil {
		t.Fatal(err)
	}
	w.organisation = first.Project.OrganisationID
	if w.replyTo, err = incident.ParseReplyAddress(replyTo); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	w.desk = desk.New(desk.Config{URL: "https://mw.example", Reply: func(id, person string, now time.Time) string {
		token, err := incident.SignReply(secret, id, person, now)
		if err != nil {
			t.Error(err)
		}
		return w.replyTo.Of(token)
	}}, w.db, log)
	for _, name := range []string{"bob", "eve"} {
		w.put(incident.DocReceiver, name, map[string]any{"name": name, "kind": "email", "settings": email.Settings{To: []string{name + "@example.com"}}})
		w.put(incident.DocPerson, name, oncall.Person{ID: name, Name: name, Email: name + "@example.com", Contacts: []oncall.Contact{{Receiver: name}}})
	}
	step := func(person string) oncall.Step {
		return oncall.Step{Targets: []oncall.Target{{Kind: oncall.ToPerson, ID: person}}, AckTimeout: oncall.Duration(5 * time.Minute)}
	}
	w.put(incident.DocPolicy, "pages", oncall.Policy{ID: "pages", Name: "Pages", Steps: []oncall.Step{step("bob"), step("eve")}})
	w.put(incident.DocTeam, "team", oncall.Team{ID: "team", Name: "Team", Policy: "pages"})

	server, err := replies.New(replies.Config{Address: w.replyTo, Secret: secret, Desk: w.desk}, w.db, noop.NewMeterProvider().Meter(""), log)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.address = l.Addr().String()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	w.stop = cancel
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx, l) }()
	t.Cleanup(func() {
		w.stop()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
	return w
}

func (w *world) put(kind, id string, body any) {
	w.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.db.PutDocument(w.t.Context(), catalog.Document{Organisation: w.organisation, Kind: kind, ID: id, Name: id, Body: text}, catalog.AnyVersion); err != nil {
		w.t.Fatal(err)
	}
}

// say tells the desk of a trouble of checkout.
func (w *world) say(kind incident.Kind) {
	w.t.Helper()
	signal := incident.Signal{Kind: kind, At: w.now, Instance: incident.Instance{
		Key: "errors/checkout", Project: 1, Rule: "errors", Name: "Errors", Severity: rule.Page, Class: rule.Symptom, Labels: map[string]string{"service": "checkout"},
		Headline: "checkout: 12 % errors", Since: w.now.Add(-time.Minute), FiredAt: w.now,
	}}
	err := w.db.InTx(w.t.Context(), func(tx *catalog.Tx) error {
		return w.desk.Apply(w.t.Context(), tx, w.organisation, []incident.Signal{signal}, w.now)
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// page opens an incident, has its mail sent, and returns the address at which it is answered.
func (w *world) page() string {
	w.t.Helper()
	w.say(incident.Fire)
	rows, err := w.db.Incidents(w.t.Context(), catalog.IncidentFilter{Organisation: w.organisation, Limit: 10})
	if err != nil || len(rows) != 1 {
		w.t.Fatalf("incidents = %v, %v", rows, err)
	}
	w.incident = rows[0].ID
	w.deliver()
	files, err := filepath.Glob(filepath.Join(w.mails, "bob", "*.eml"))
	if err != nil || len(files) != 1 {
		w.t.Fatalf("mails = %v, %v", files, err)
	}
	file, err := os.Open(files[0])
	if err != nil {
		w.t.Fatal(err)
	}
	defer file.Close()
	letter, err := mail.ReadMessage(file)
	if err != nil {
		w.t.Fatal(err)
	}
	to, err := letter.Header.AddressList("Reply-To")
	if err != nil || len(to) != 1 {
		w.t.Fatalf("Reply-To = %v, %v", to, err)
	}
	return to[0].Address
}

// deliver sends what is due, by the code that does so in production, into a folder for each receiver.
func (w *world) deliver() {
	w.t.Helper()
	sender, err := deliver.New(deliver.Config{
		Open: func(_ context.Context, _, receiver string) (notify.Notifier, error) {
			transport, err := email.NewTransport("file:" + filepath.Join(w.mails, receiver))
			if err != nil {
				return nil, err
			}
			return email.New(email.Settings{To: []string{receiver + "@example.com"}}, "Midwatch <midwatch@mw.example>", transport)
		},
		Now: func(context.Context) (time.Time, error) { return w.now, nil },
	}, w.db, w.desk, noop.NewMeterProvider().Meter(""), slog.New(slog.DiscardHandler))
	if err != nil {
		w.t.Fatal(err)
	}
	rows, err := w.db.Claim(w.t.Context(), uuid.NewString(), w.now, time.Minute, 10, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, row := range rows {
		if err := sender.Send(w.t.Context(), row); err != nil {
			w.t.Fatal(err)
		}
	}
}

// answer is what the server says to a mail, or to the command that it refuses.
type answer struct {
	Code int
	Text string
}

// send speaks SMTP with the server.
func (w *world) send(from, to, text string) answer {
	w.t.Helper()
	got, err := w.try(from, to, text)
	if err != nil {
		w.t.Fatal(err)
	}
	return got
}

// try is send for other goroutines.
func (w *world) try(from, to, text string) (answer, error) {
	var dialer net.Dialer
	raw, err := dialer.DialContext(w.t.Context(), "tcp", w.address)
	if err != nil {
		return answer{}, err
	}
	c := textproto.NewConn(raw)
	defer c.Close()
	if _, _, err := c.ReadResponse(220); err != nil {
		return answer{}, err
	}
	for _, command := range []struct {
		line string
		want int
	}{{"EHLO relay.example", 250}, {"MAIL FROM:<" + from + ">", 250}, {"RCPT TO:<" + to + ">", 250}, {"DATA", 354}} {
		if err := c.PrintfLine("%s", command.line); err != nil {
			return answer{}, err
		}
		code, said, err := c.ReadResponse(0)
		if err != nil || code != command.want {
			return answer{code, said}, err
		}
	}
	d := c.DotWriter()
	if _, err := d.Write([]byte(text)); err != nil {
		return answer{}, err
	}
	if err := d.Close(); err != nil {
		return answer{}, err
	}
	code, said, err := c.ReadResponse(0)
	return answer{code, said}, err
}

func letter(id, from, headers, text string) string {
	return fmt.Sprintf("From: %s\r\nMessage-ID: <%s@example.com>\r\nSubject: Re: [PAGE] checkout\r\n%s\r\n%s\r\n", from, id, headers, text)
}

func (w *world) row() catalog.Incident {
	w.t.Helper()
	row, err := w.db.Incident(w.t.Context(), w.incident)
	if err != nil {
		w.t.Fatal(err)
	}
	return row
}

// timeline is what people did, oldest first.
func (w *world) timeline() []string {
	w.t.Helper()
	entries, err := w.db.IncidentEntries(w.t.Context(), w.incident)
	if err != nil {
		w.t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		if e.Person != "" {
			all = append(all, e.Kind+" by "+e.Person+": "+e.Text)
		}
	}
	return all
}

func (w *world) wantTimeline(want ...string) {
	w.t.Helper()
	if diff := cmp.Diff(want, w.timeline()); diff != "" {
		w.t.Errorf("timeline (-want +got)\n%s", diff)
	}
}

func (w *world) want(got answer, code int, words string) {
	w.t.Helper()
	if got.Code != code || !strings.Contains(got.Text, words) {
		w.t.Errorf("answer = %+v, want %d with %q", got, code, words)
	}
}

// told are the receivers of pages.
func (w *world) told() []string {
	w.t.Helper()
	rows, err := w.db.OutboxOf(w.t.Context(), w.incident)
	if err != nil {
		w.t.Fatal(err)
	}
	var all []string
	for _, row := range rows {
		all = append(all, row.Action+" "+row.Receiver)
	}
	return all
}

func (w *world) tick(after time.Duration) {
	w.t.Helper()
	if err := w.desk.Tick(w.t.Context(), w.incident, w.now.Add(after)); err != nil {
		w.t.Fatal(err)
	}
}

func sqlite(t *testing.T) catalog.Config {
	t.Helper()
	return catalog.Config{Path: filepath.Join(t.TempDir(), "catalog.sqlite")}
}

func TestAnAnswerAcknowledgesAndTheEscalationStops(t *testing.T) {
	t.Parallel()
	storagetest.Catalogs(t, func(t *testing.T, cfg catalog.Config) {
		for _, address := range []string{"reply.mw.example", "midwatch@mw.example"} {
			w := newWorld(t, cfg, address)
			to := w.page()
			w.want(w.send("bob@example.com", to, letter("1", "Bob <Bob@Example.com>", "", "Ack, on it.\r\n\r\nOn Sat, Midwatch <"+to+"> wrote:\r\n> escalate")), 250, "acknowledged")
			if row := w.row(); row.AckedBy != "bob" || row.AckedAt.IsZero() {
				t.Errorf("acknowledged by %q at %s", row.AckedBy, row.AckedAt)
			}
			w.wantTimeline("acknowledged by bob: Acknowledged by answering a mail")
			w.tick(6 * time.Minute)
			if diff := cmp.Diff([]string{"trigger bob", "acknowledge bob"}, w.told()); diff != "" {
				t.Errorf("told (-want +got)\n%s", diff)
			}
			if !strings.HasSuffix(cfg.Path, ".sqlite") {
				return // one database, one world
			}
			cfg = sqlite(t)
		}
	})
}

func TestWithoutAnAnswerTheNextIsTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite(t), "reply.mw.example")
	to := w.page()
	for id, headers := range map[string]string{
		"1": "Auto-Submitted: auto-replied\r\n", "2": "Precedence: bulk\r\n", "3": "X-Autoreply: yes\r\n",
		"4": "Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n",
	} {
		w.want(w.send("bob@example.com", to, letter(id, "bob@example.com", headers, "ack")), 250, "automatic")
	}
	w.want(w.send("", to, letter("5", "bob@example.com", "", "ack")), 250, "automatic")
	w.want(w.send("bob@example.com", to, letter("6", "bob@example.com", "", "> ack")), 550, "nothing to be read")
	w.want(w.send("bob@example.com", to, "this is not a mail\r\n"), 550, "not a mail")
	if entries := w.timeline(); len(entries) != 0 || !w.row().AckedAt.IsZero() {
		t.Errorf("timeline = %q", entries)
	}
	w.tick(6 * time.Minute)
	if diff := cmp.Diff([]string{"trigger bob", "escalate eve"}, w.told()); diff != "" {
		t.Errorf("told (-want +got)\n%s", diff)
	}
}

func TestEachAnswerDoesWhatItSays(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite(t), "reply.mw.example")
	to := w.page()
	w.want(w.send("bob@example.com", to, letter("1", "bob@example.com", "", "Escalate!")), 250, "escalated")
	w.want(w.send("bob@example.com", to, letter("2", "bob@example.com", "", "silence")), 250, "silenced for 1 h")
	w.want(w.send("bob@example.com", to, letter("3", "bob@example.com", "Content-Type: text/html; charset=utf-8\r\n", "<p>It is the <b>database</b><blockquote>ack</blockquote>")), 250, "kept as a note")
	w.want(w.send("bob@example.com", to, letter("4", "bob@example.com", "", "false alarm")), 250, "closed as a false alarm")
	w.want(w.send("bob@example.com", to, letter("5", "bob@example.com", "", "ack")), 250, "the incident is over, kept as a note")
	w.wantTimeline(
		"escalated by bob: Escalated", "note by bob: Silenced for 1 h", "note by bob: It is the database", "false_alarm by bob: Called a false alarm",
		"closed by bob: Closed by hand", "note by bob: ack",
	)
	if got := w.told(); len(got) < 2 || got[1] != "escalate eve" {
		t.Errorf("told = %q", got)
	}
	book, err := w.desk.Book(t.Context(), w.organisation)
	if err != nil {
		t.Fatal(err)
	}
	if len(book.Silences) != 1 || book.Silences[0].Author != "bob" || !book.Silences[0].Covers(map[string]string{"service": "checkout"}, time.Now()) {
		t.Errorf("silences = %+v", book.Silences)
	}
}

func TestWhoAnswers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite(t), "reply.mw.example")
	to := w.page() // for bob
	channel, err := incident.SignReply(secret, w.incident, "", w.now)
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range []struct{ from, to, want string }{
		{"EVE@example.com", to, "eve"},                                                  // a person on call
		{"Ann <ann@example.com>", to, "ann@example.com"},                                // a member who is not
		{"bob@home.example", to, "bob"},                                                 // whoever was told, from elsewhere
		{"bob@home.example", w.replyTo.Of(channel), "somebody by mail"},                 // a channel was told
		{"not an address", w.replyTo.Of(channel), "somebody by mail"},                   //
		{"eve@example.com, bob@example.com", w.replyTo.Of(channel), "somebody by mail"}, //
	} {
		w.want(w.send("relay@example.com", c.to, letter(fmt.Sprint(i), c.from, "", "a note")), 250, "note")
		if all := w.timeline(); all[len(all)-1] != "note by "+c.want+": a note" {
			t.Errorf("from %s: %q, want %s", c.from, all[len(all)-1], c.want)
		}
	}
}

func TestAMailThatComesAgainIsDoneOnce(t *testing.T) {
	t.Parallel()
	storagetest.Catalogs(t, func(t *testing.T, cfg catalog.Config) {
		w := newWorld(t, cfg, "reply.mw.example")
		to := w.page()
		escalate := letter("1", "bob@example.com", "", "escalate")
		var group errgroup.Group
		for range 4 { // by several ways at once
			group.Go(func() error {
				got, err := w.try("bob@example.com", to, escalate)
				if err == nil && got.Code != 250 && got.Code != 451 {
					err = fmt.Errorf("answer = %+v", got)
				}
				return err
			})
		}
		if err := group.Wait(); err != nil {
			t.Fatal(err)
		}
		w.want(w.send("bob@example.com", to, "Received: by another relay\r\n"+escalate), 250, "escalated")
		w.want(w.send("bob@example.com", to, letter("2", "bob@example.com", "", "ack")), 250, "acknowledged")
		w.want(w.send("bob@example.com", to, escalate), 250, "escalated")
		w.wantTimeline("escalated by bob: Escalated", "acknowledged by bob: Acknowledged by answering a mail")
		// An acknowledgement that arrives again long after does not count for what is new.
		w.say(incident.Resolve)
		w.now = time.Now().UTC()
		w.say(incident.Fire)
		w.want(w.send("bob@example.com", to, letter("2", "bob@example.com", "", "ack")), 250, "acknowledged")
		if all := w.timeline(); len(all) != 2 {
			t.Errorf("timeline = %q", all)
		}
	})
}

func TestOnlyOurAddressesAreTaken(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite(t), "reply.mw.example")
	to := w.page()
	token, _ := w.replyTo.Token(to)
	sign := func(secret string, at time.Time) string {
		token, err := incident.SignReply(secret, w.incident, "bob", at)
		if err != nil {
			t.Fatal(err)
		}
		return w.replyTo.Of(token)
	}
	ack := letter("1", "bob@example.com", "", "ack")
	other, err := incident.SignReply(secret, uuid.NewString(), "bob", w.now)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		to    string
		words string
	}{
		{"ann@example.com", "relaying"},
		{token + "@elsewhere.example", "relaying"},
		{"@elsewhere.example:" + to + "%reply.mw.example@elsewhere.example", "relaying"},
		{"postmaster@reply.mw.example", "not valid"},
		{token[:47] + "@reply.mw.example", "not valid"},
		{sign("another", w.now), "not valid"},
		{sign(secret, w.now.Add(-incident.LinkLifetime-time.Hour)), "too old"},
		{w.replyTo.Of(other), "not there any more"},
	} {
		w.want(w.send("bob@example.com", c.to, ack), 550, c.words)
	}
	w.wantTimeline()
	w.want(w.send("bob@example.com", strings.ToUpper(to), ack), 250, "acknowledged")
	w.wantTimeline("acknowledged by bob: Acknowledged by answering a mail")
}

func TestWhileTheDatabaseIsDownAMailHasToComeAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite(t), "reply.mw.example")
	to := w.page()
	if err := w.db.Close(); err != nil {
		t.Fatal(err)
	}
	w.want(w.send("bob@example.com", to, letter("1", "bob@example.com", "", "ack")), 451, "again")
}

// talk is one connection on which each command has to be answered with a code.
func (w *world) talk(lines ...string) {
	w.t.Helper()
	c, err := textproto.Dial("tcp", w.address)
	if err != nil {
		w.t.Fatal(err)
	}
	defer c.Close()
	if _, _, err := c.ReadResponse(220); err != nil {
		w.t.Fatal(err)
	}
	for i := 0; i+1 < len(lines); i += 2 {
		if err := c.PrintfLine("%s", lines[i]); err != nil {
			w.t.Fatal(err)
		}
		if code, said, err := c.ReadResponse(0); err != nil || fmt.Sprint(code) != lines[i+1] {
			w.t.Errorf("%.60s: %d %s, %v; want %s", lines[i], code, said, err, lines[i+1])
		}
	}
}

func TestTheServerIsBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite(t), "reply.mw.example")
	to := w.page()
	rcpt := "RCPT TO:<" + to + ">"
	w.talk(
		"RCPT TO:<"+to+">", "502", "EHLO relay.example", "250", "MAIL FROM:<bob@example.com> SIZE=2000000", "552", "STARTTLS", "502", "AUTH PLAIN AGEAYg==", "523",
		"MAIL FROM:<bob@example.com>", "250", "DATA", "502", rcpt, "250", rcpt, "250", rcpt, "250", rcpt, "250", rcpt, "250", rcpt, "452",
		"DATA", "354", letter("1", "bob@example.com", "", "ack")+".", "250", "MAIL FROM:<bob@example.com>", "250", "DATA", "502",
	)
	w.wantTimeline("acknowledged by bob: Acknowledged by answering a mail")
	w.want(w.send("bob@example.com", to, letter("2", "bob@example.com", "", "note\r\n"+strings.Repeat("0123456789\r\n", 100_000))), 552, "size")
	// What breaks off half-way is no mail.
	for _, transfer := range []string{"DATA\r\n", "BDAT 100000 LAST\r\n"} {
		c, err := net.Dial("tcp", w.address)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, "EHLO relay.example\r\nMAIL FROM:<bob@example.com>\r\n"+rcpt+"\r\n"+transfer+letter("3", "bob@example.com", "", "escalate")); err != nil {
			t.Fatal(err)
		}
		if err := c.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if said, err := io.ReadAll(c); err != nil || strings.Contains(string(said), "escalated") {
			t.Errorf("half a mail: %s, %v", said, err)
		}
		c.Close()
	}
	w.wantTimeline("acknowledged by bob: Acknowledged by answering a mail")

	// Of too many connections the last ones are told so.
	var all []net.Conn
	defer func() {
		for _, c := range all {
			c.Close()
		}
	}()
	busy := false
	for range 60 {
		c, err := net.Dial("tcp", w.address)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
		greeting, err := textproto.NewConn(c).ReadLine()
		if err != nil {
			t.Fatal(err)
		}
		busy = busy || strings.HasPrefix(greeting, "421 ")
	}
	if !busy {
		t.Error("60 connections are taken")
	}
	for _, c := range all {
		c.Close()
	}
}

func TestTheServerStopsWhileSomebodyIsConnected(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite(t), "reply.mw.example")
	c, err := textproto.Dial("tcp", w.address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, _, err := c.ReadResponse(220); err != nil {
		t.Fatal(err)
	}
	w.stop()
	if code, said, err := c.ReadResponse(421); err != nil {
		t.Errorf("at the end: %d %s, %v", code, said, err)
	}
	if line, err := c.ReadLine(); !errors.Is(err, io.EOF) {
		t.Errorf("after the end: %q, %v", line, err)
	}
}
