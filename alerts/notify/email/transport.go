package email

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	gomail "github.com/wneessen/go-mail"
	"github.com/wneessen/go-mail/smtp"

	"github.com/midwatch/midwatch/alerts/notify"
)

// NewTransport reads the address of a transport: smtp://user:password@host:587 (STARTTLS: demanded if there is a
// password, else used if offered; ?tls=required, opportunistic or none says otherwise), smtps://…:465, or file:folder
// for a folder in which each mail becomes an .eml file.
func NewTransport(address string) (Transport, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, errors.New("the address of the mail server is not valid") // the cause would show its password
	}
	switch u.Scheme {
	case "file":
		path := cmp.Or(u.Opaque, u.Path)
		if path == "" {
			return nil, errors.New("file: needs a folder")
		}
		return folder(path), nil
	case "smtp", "smtps":
	default:
		return nil, fmt.Errorf("a mail server begins with smtp://, smtps:// or file:, not %q", u.Scheme)
	}
	if u.Hostname() == "" {
		return nil, errors.New("the address of the mail server has no host")
	}
	password, _ := u.User.Password()
	s := &server{host: u.Hostname(), user: u.User.Username(), password: password, implicit: u.Scheme == "smtps"}
	s.port = cmp.Or(u.Port(), map[bool]string{true: "465", false: "587"}[s.implicit])
	if _, err := strconv.ParseUint(s.port, 10, 16); err != nil {
		return nil, errors.New("the port of the mail server is not valid")
	}
	switch tlsMode := u.Query().Get("tls"); {
	case tlsMode == "required", tlsMode == "" && s.user != "":
		s.policy = gomail.TLSMandatory
	case tlsMode == "opportunistic", tlsMode == "":
		s.policy = gomail.TLSOpportunistic
	case tlsMode == "none":
		s.policy = gomail.NoTLS
	default:
		return nil, fmt.Errorf("tls=%s is neither required, opportunistic nor none", tlsMode)
	}
	return s, nil
}

type server struct {
	host, port, user, password string
	implicit                   bool
	policy                     gomail.TLSPolicy
	roots                      *x509.CertPool // the system's if nil
}

// timeout bounds a call whose context has no deadline.
const timeout = 30 * time.Second

// session connects, greets and authenticates; done ends it in any case.
func (s *server) session(ctx context.Context) (client *gomail.Client, session *smtp.Client, done func(), err error) {
	remaining := timeout
	if deadline, ok := ctx.Deadline(); ok {
		remaining = max(time.Until(deadline), time.Millisecond)
	}
	port, err := strconv.Atoi(s.port)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("read the port: %w", err)
	}
	done = func() {}
	secure := &tls.Config{ServerName: s.host, RootCAs: s.roots, MinVersion: tls.VersionTLS12}
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
		if err == nil && s.implicit {
			secured := tls.Client(conn, secure)
			if err := secured.HandshakeContext(ctx); err != nil {
				conn.Close()
				return nil, fmt.Errorf("secure the connection: %w", err)
			}
			conn = secured
		}
		if err != nil {
			return nil, err
		}
		// the library watches the deadline only: whoever ends the context ends the talk.
		stop := context.AfterFunc(ctx, func() { conn.Close() })
		done = func() { stop(); conn.Close() }
		return conn, nil
	}
	options := []gomail.Option{
		gomail.WithPort(port), gomail.WithTimeout(remaining), gomail.WithTLSPolicy(s.policy), gomail.WithTLSConfig(secure), gomail.WithoutRset(), gomail.WithoutNoop(),
		gomail.WithDialContextFunc(func(_ context.Context, network, address string) (net.Conn, error) { return dial(ctx, network, address) }),
	}
	if s.implicit {
		// not WithSSL: with a dialer of our own the library would take the connection for an open one. It finds the
		// TLS that is there; a server that speaks it from the start offers no STARTTLS.
		options = append(options, gomail.WithTLSPolicy(gomail.TLSOpportunistic))
	}
	if s.user != "" {
		kind := gomail.SMTPAuthAutoDiscover
		if s.policy == gomail.NoTLS && !s.implicit {
			kind = gomail.SMTPAuthPlainNoEnc
		}
		options = append(options, gomail.WithSMTPAuth(kind), gomail.WithUsername(s.user), gomail.WithPassword(s.password))
	}
	client, err = gomail.NewClient(s.host, options...)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("prepare the mail client: %w", err)
	}
	session, err = client.DialToSMTPClientWithContext(ctx)
	if err != nil {
		done()
		return nil, nil, nil, err
	}
	return client, session, done, nil
}

func (s *server) deliver(ctx context.Context, m *gomail.Msg) (notify.Receipt, error) {
	client, session, done, err := s.session(ctx)
	if err != nil {
		return s.failure(ctx, err)
	}
	defer done()
	if err := client.SendWithSMTPClient(session, m); err != nil && !m.IsDelivered() {
		return s.failure(ctx, err)
	}
	// the server has it; how the farewell goes does not matter, a second mail would.
	_ = session.Quit()
	return notify.Receipt{Code: 250, Excerpt: "accepted by the mail server"}, nil
}

func (s *server) check(ctx context.Context) (notify.Receipt, error) {
	_, session, done, err := s.session(ctx)
	if err != nil {
		return s.failure(ctx, err)
	}
	defer done()
	if err := session.Noop(); err != nil {
		return s.failure(ctx, err)
	}
	_ = session.Quit()
	return notify.Receipt{Code: 250, Excerpt: "the mail server is ready"}, nil
}

// failure tells 4xx and broken connections, which may heal, from 5xx, which will not. Only a refused recipient is the
// receiver's own fault.
func (s *server) failure(ctx context.Context, err error) (notify.Receipt, error) {
	var refused *gomail.SendError
	var said *textproto.Error
	code, reason, recipient := 0, err.Error(), false
	switch {
	case errors.As(err, &refused):
		code, recipient = refused.ErrorCode(), refused.Reason == gomail.ErrSMTPRcptTo
	case errors.As(err, &said):
		code = said.Code
	}
	// addresses stay out of logs; the server's words are kept.
	reason = notify.Clip(addresses.ReplaceAllString(strings.Join(strings.Fields(reason), " "), "(address)"), 300)
	receipt := notify.Receipt{Code: code, Excerpt: reason}
	if code >= 500 {
		return receipt, &notify.PermanentError{Code: code, Broken: recipient, Reason: reason}
	}
	if cause := context.Cause(ctx); cause != nil {
		return receipt, &notify.RetryError{Code: code, Reason: "no answer in time", Err: cause}
	}
	return receipt, &notify.RetryError{Code: code, Reason: reason, Err: err}
}

var addresses = regexp.MustCompile(`[^\s<>@,;:]+@[^\s<>@,;:]+`)

// folder writes each mail as a file; the newest maxFiles stay.
type folder string

const maxFiles = 1000

func (f folder) deliver(_ context.Context, m *gomail.Msg) (notify.Receipt, error) {
	var b bytes.Buffer
	if _, err := m.WriteTo(&b); err != nil {
		return notify.Receipt{}, &notify.PermanentError{Reason: "the mail cannot be written: " + err.Error()}
	}
	// named by the mail's own time and id: another attempt replaces it.
	at, err := mailTime(m)
	if err != nil {
		return notify.Receipt{}, &notify.PermanentError{Reason: err.Error()}
	}
	id, _, _ := strings.Cut(strings.Trim(m.GetMessageID(), "<>"), "@")
	name := at.UTC().Format("20060102T150405Z") + "-" + filepath.Base(id) + ".eml"
	if err := f.write(name, b.Bytes()); err != nil {
		return notify.Receipt{}, &notify.RetryError{Reason: "the mail cannot be written to its folder", Err: err}
	}
	return notify.Receipt{Code: 250, Excerpt: "written to " + name}, nil
}

func mailTime(m *gomail.Msg) (time.Time, error) {
	values := m.GetGenHeader(gomail.HeaderDate)
	if len(values) != 1 {
		return time.Time{}, errors.New("the mail has no date")
	}
	at, err := time.Parse(time.RFC1123Z, values[0])
	if err != nil {
		return time.Time{}, fmt.Errorf("read the mail's date: %w", err)
	}
	return at, nil
}

func (f folder) write(name string, content []byte) error {
	if err := os.MkdirAll(string(f), 0o700); err != nil {
		return fmt.Errorf("make the mail folder: %w", err)
	}
	temporary, err := os.CreateTemp(string(f), ".new-*")
	if err != nil {
		return fmt.Errorf("make a mail file: %w", err)
	}
	_, err = temporary.Write(content)
	if err = errors.Join(err, temporary.Sync(), temporary.Close()); err == nil {
		err = os.Rename(temporary.Name(), filepath.Join(string(f), name))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write a mail file: %w", err), os.Remove(temporary.Name()))
	}
	entries, err := os.ReadDir(string(f))
	if err != nil {
		return fmt.Errorf("list the mail folder: %w", err)
	}
	var mails []string
	for _, entry := range entries {
		if strings.HasSuffix(entry.Name(), ".eml") {
			mails = append(mails, entry.Name())
		}
	}
	slices.Sort(mails)
	for _, old := range mails[:max(len(mails)-maxFiles, 0)] {
		if err := os.Remove(filepath.Join(string(f), old)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("remove an old mail: %w", err)
		}
	}
	return nil
}

func (f folder) check(context.Context) (notify.Receipt, error) {
	if err := os.MkdirAll(string(f), 0o700); err != nil {
		return notify.Receipt{}, &notify.RetryError{Reason: "the mail folder cannot be made", Err: err}
	}
	return notify.Receipt{Code: 250, Excerpt: "the mail folder is there"}, nil
}
