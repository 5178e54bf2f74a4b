package email

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/midwatch/midwatch/alerts/notify"
	"github.com/midwatch/midwatch/alerts/notify/notifytest"
)

const sender = "Midwatch <alerts@midwatch.example>"

func open(t *testing.T, transport string) *Email {
	t.Helper()
	via, err := NewTransport(transport)
	if err != nil {
		t.Fatal(err)
	}
	e, err := New(Settings{To: []string{"Ada <ada@example.com>", "grace@example.com"}}, sender, via)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

var boundary = regexp.MustCompile(`[0-9a-f]{60}`)

func written(t *testing.T, dir string) []byte {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("files %v: %v", files, err)
	}
	content, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func TestTheMails(t *testing.T) {
	first := "<019aa3c2-7d10-7b52-9c1e-5f2f6f0d9a11.1@midwatch.example>"
	digest := notifytest.Digest()
	digest.Buttons = []notify.Button{{ID: notify.ButtonUnsubscribe, Text: "End these mails", URL: "https://midwatch.example/u/token"}}
	for name, m := range map[string]notify.Message{
		"trigger": notifytest.Page(), "update": notifytest.Updated(first), "resolve": notifytest.Resolved(first), "digest": digest,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if _, err := open(t, "file:"+dir).Notify(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			named := map[string]string{}
			golden := boundary.ReplaceAllStringFunc(string(written(t, dir)), func(b string) string {
				if named[b] == "" {
					named[b] = fmt.Sprintf("BOUNDARY-%d", len(named)+1)
				}
				return named[b]
			})
			golden = strings.ReplaceAll(golden, "\r\n", "\n")
			// the library writes these two in any order.
			list, post := "List-Unsubscribe: <https://midwatch.example/u/token>\n", "List-Unsubscribe-Post: List-Unsubscribe=One-Click\n"
			golden = strings.Replace(golden, post+list, list+post, 1)
			notifytest.Golden(t, name+".eml", []byte(golden))
		})
	}
}

func TestAMailHasTextAPageAndTheChart(t *testing.T) {
	dir := t.TempDir()
	m := notifytest.Page()
	if _, err := open(t, "file:"+dir).Notify(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	letter, err := mail.ReadMessage(bytes.NewReader(written(t, dir)))
	if err != nil {
		t.Fatal(err)
	}
	parts := map[string]string{}
	walk(t, letter.Header.Get("Content-Type"), letter.Body, parts)
	if diff := cmp.Diff(notify.MailText(m), strings.ReplaceAll(parts["text/plain"], "\r\n", "\n")); diff != "" {
		t.Error(diff)
	}
	if !strings.Contains(parts["text/html"], `src="cid:chart@midwatch"`) {
		t.Error("the page has no chart")
	}
	if picture, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(parts["image/png"], "\r\n", "")); err != nil || !bytes.Equal(picture, m.Chart.PNG) {
		t.Errorf("the chart is %q: %v", parts["image/png"], err)
	}
}

func TestAMailIsAnsweredOnlyWhereSomebodyListens(t *testing.T) {
	for _, replyTo := range []string{"", "token@reply.midwatch.example"} {
		dir := t.TempDir()
		m := notifytest.Page()
		m.ReplyTo = replyTo
		if _, err := open(t, "file:"+dir).Notify(t.Context(), m.Bounded()); err != nil {
			t.Fatal(err)
		}
		letter, err := mail.ReadMessage(bytes.NewReader(written(t, dir)))
		if err != nil {
			t.Fatal(err)
		}
		parts := map[string]string{}
		walk(t, letter.Header.Get("Content-Type"), letter.Body, parts)
		if got := letter.Header.Get("Reply-To"); strings.Trim(got, "<>") != replyTo {
			t.Errorf("Reply-To = %q, want %q", got, replyTo)
		}
		for _, kind := range []string{"text/plain", "text/html"} {
			if says := strings.Contains(parts[kind], "answer this mail with ack"); says != (replyTo != "") {
				t.Errorf("%s speaks of answers: %v, with Reply-To %q", kind, says, replyTo)
			}
		}
	}
}

func walk(t *testing.T, contentType string, body io.Reader, parts map[string]string) {
	t.Helper()
	kind, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(kind, "multipart/") {
		content, err := io.ReadAll(body)
		if err != nil {
			t.Fatal(err)
		}
		parts[kind] = string(content)
		return
	}
	for reader := multipart.NewReader(body, params["boundary"]); ; {
		part, err := reader.NextRawPart()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if part.Header.Get("Content-Type") == "image/png" && part.Header.Get("Content-ID") != "<chart@midwatch>" {
			t.Errorf("content id %q", part.Header.Get("Content-ID"))
		}
		var content io.Reader = part
		if part.Header.Get("Content-Transfer-Encoding") == "quoted-printable" {
			content = quotedprintable.NewReader(part)
		}
		walk(t, part.Header.Get("Content-Type"), content, parts)
	}
}

func TestAnotherAttemptIsTheSameMail(t *testing.T) {
	dir := t.TempDir()
	e := open(t, "file:"+dir)
	for range 2 {
		receipt, err := e.Notify(t.Context(), notifytest.Page())
		if err != nil {
			t.Fatal(err)
		}
		if receipt.Reference != "<019aa3c2-7d10-7b52-9c1e-5f2f6f0d9a11.1@midwatch.example>" {
			t.Errorf("reference %s", receipt.Reference)
		}
	}
	written(t, dir)
}

func TestAHeaderCannotBeInjected(t *testing.T) {
	dir := t.TempDir()
	m := notifytest.Page()
	m.Title = "hello\r\nBcc: eve@evil.example\r\n\r\nbody"
	m.Reference = "<a@b>\r\nBcc: eve@evil.example"
	m.Incident = "x>\r\nBcc: eve@evil.example"
	if _, err := open(t, "file:"+dir).Notify(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	letter, err := mail.ReadMessage(bytes.NewReader(written(t, dir)))
	if err != nil {
		t.Fatal(err)
	}
	if letter.Header.Get("Bcc") != "" || letter.Header.Get("In-Reply-To") != "" {
		t.Errorf("headers %v", letter.Header)
	}
	if _, err := New(Settings{To: []string{"ada@example.com\r\nBcc: eve@evil.example"}}, sender, folder(dir)); err == nil {
		t.Error("an address of two lines is accepted")
	}
}

// smtpServer answers each command with what replies say, else as a server that takes everything. It keeps what it got.
type smtpServer struct {
	address string
	replies map[string]string
	mu      sync.Mutex
	talk    []string
	mails   []string
	hung    chan struct{} // closed when it hangs
	secure  *tls.Config   // of STARTTLS, if it offers that
}

func serve(t *testing.T, replies map[string]string) *smtpServer {
	t.Helper()
	return serveOn(t, listen(t), replies, nil)
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	var config net.ListenConfig
	listener, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

func serveOn(t *testing.T, listener net.Listener, replies map[string]string, secure *tls.Config) *smtpServer {
	t.Helper()
	s := &smtpServer{address: listener.Addr().String(), replies: replies, hung: make(chan struct{}), secure: secure}
	var sessions sync.WaitGroup
	sessions.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			sessions.Go(func() { s.session(conn) })
		}
	})
	t.Cleanup(func() { listener.Close(); sessions.Wait() })
	return s
}

func (s *smtpServer) session(conn net.Conn) {
	defer conn.Close()
	reader := bufio.NewReader(conn)
	fmt.Fprintf(conn, "220 test\r\n")
	for {
		line, err := reader.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimSpace(line)
		s.mu.Lock()
		s.talk = append(s.talk, line)
		s.mu.Unlock()
		verb, _, _ := strings.Cut(strings.ToUpper(line), " ")
		reply, told := s.replies[verb]
		switch {
		case told && reply == "hang":
			close(s.hung)
			_, _ = reader.ReadString('\n') // until the client leaves
			return
		case told && reply == "drop":
			return
		case told:
			fmt.Fprintf(conn, "%s\r\n", reply)
		case verb == "EHLO":
			offer := "250 8BITMIME"
			if _, secured := conn.(*tls.Conn); s.secure != nil && !secured {
				offer = "250 STARTTLS"
			}
			fmt.Fprintf(conn, "250-test\r\n250-AUTH PLAIN\r\n%s\r\n", offer)
		case verb == "STARTTLS" && s.secure != nil:
			fmt.Fprintf(conn, "220 go\r\n")
			conn = tls.Server(conn, s.secure)
			reader = bufio.NewReader(conn)
		case verb == "AUTH":
			fmt.Fprintf(conn, "235 welcome\r\n")
		case verb == "DATA":
			fmt.Fprintf(conn, "354 go\r\n")
			var body strings.Builder
			for {
				line, err := reader.ReadString('\n')
				if err != nil {
					return
				}
				if line == ".\r\n" {
					break
				}
				body.WriteString(line)
			}
			s.mu.Lock()
			s.mails = append(s.mails, body.String())
			s.mu.Unlock()
			if reply, told := s.replies["."]; told {
				if reply == "drop" {
					return
				}
				fmt.Fprintf(conn, "%s\r\n", reply)
				continue
			}
			fmt.Fprintf(conn, "250 kept\r\n")
		case verb == "QUIT":
			fmt.Fprintf(conn, "221 bye\r\n")
			return
		default:
			fmt.Fprintf(conn, "250 fine\r\n")
		}
	}
}

func TestAServerGetsTheMailAndTheName(t *testing.T) {
	server := serve(t, nil)
	receipt, err := open(t, "smtp://midwatch:s3cret@"+server.address+"?tls=none").Notify(t.Context(), notifytest.Page())
	if err != nil {
		t.Fatal(err)
	}
	server.mu.Lock()
	defer server.mu.Unlock()
	if len(server.mails) != 1 || receipt.Code != 250 {
		t.Errorf("%d mails, receipt %+v", len(server.mails), receipt)
	}
	talk := strings.Join(server.talk, "\n")
	for _, line := range []string{"AUTH PLAIN " + base64.StdEncoding.EncodeToString([]byte("\x00midwatch\x00s3cret")), "RCPT TO:<ada@example.com>", "RCPT TO:<grace@example.com>"} {
		if !strings.Contains(talk, line) {
			t.Errorf("the talk has no %q:\n%s", line, talk)
		}
	}
}

func TestAMailThatWasTakenIsNotSentAgainForABadFarewell(t *testing.T) {
	for _, reply := range []string{"drop", "500 what"} {
		server := serve(t, map[string]string{"QUIT": reply, "RSET": reply})
		if _, err := open(t, "smtp://"+server.address).Notify(t.Context(), notifytest.Page()); err != nil {
			t.Errorf("%s: %v", reply, err)
		}
	}
}

func TestAServersAnswersAreTakenByTheRules(t *testing.T) {
	for _, c := range []struct {
		name      string
		replies   map[string]string
		permanent bool
		broken    bool
		code      int
	}{
		{"a greylisted recipient is tried again", map[string]string{"RCPT": "451 4.7.1 later"}, false, false, 451},
		{"a full mailbox is tried again", map[string]string{"RCPT": "452 4.2.2 full"}, false, false, 452},
		{"an unknown recipient is broken", map[string]string{"RCPT": "550 5.1.1 no such user <ada@example.com>"}, true, true, 550},
		{"a refused sender is permanent", map[string]string{"MAIL": "550 5.7.1 not you"}, true, false, 550},
		{"a busy server is tried again", map[string]string{"MAIL": "421 4.3.2 closing"}, false, false, 421},
		{"a refused text is permanent", map[string]string{".": "554 5.6.0 spam"}, true, false, 554},
		{"a text that is not taken now is tried again", map[string]string{".": "451 4.3.0 disk"}, false, false, 451},
		{"a connection that breaks after the text is tried again", map[string]string{".": "drop"}, false, false, 0},
		{"a wrong password is permanent", map[string]string{"AUTH": "535 5.7.8 no"}, true, false, 535},
		{"a reset connection is tried again", map[string]string{"EHLO": "drop", "HELO": "drop"}, false, false, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := serve(t, c.replies)
			receipt, err := open(t, "smtp://midwatch:s3cret@"+server.address+"?tls=none").Notify(t.Context(), notifytest.Page())
			var permanent *notify.PermanentError
			var retry *notify.RetryError
			switch {
			case c.permanent && (!errors.As(err, &permanent) || permanent.Broken != c.broken):
				t.Errorf("got %#v", err)
			case !c.permanent && !errors.As(err, &retry):
				t.Errorf("got %#v", err)
			}
			if receipt.Code != c.code {
				t.Errorf("code %d, want %d", receipt.Code, c.code)
			}
			if err != nil && (strings.Contains(err.Error(), "ada@") || strings.Contains(err.Error(), "s3cret")) {
				t.Errorf("the error says too much: %v", err)
			}
		})
	}
}

func TestAServerThatHangsIsTriedAgain(t *testing.T) {
	server := serve(t, map[string]string{"MAIL": "hang"})
	e := open(t, "smtp://"+server.address)
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	go func() { <-server.hung; cancel(context.DeadlineExceeded) }()
	_, err := e.Notify(ctx, notifytest.Page())
	if _, ok := errors.AsType[*notify.RetryError](err); !ok {
		t.Errorf("got %v, want one that is tried again", err)
	}
}

func TestTheCanaryConnectsAndLeaves(t *testing.T) {
	server := serve(t, nil)
	if _, err := open(t, "smtp://midwatch:s3cret@"+server.address+"?tls=none").Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	server.mu.Lock()
	defer server.mu.Unlock()
	var verbs []string
	for _, line := range server.talk {
		verb, _, _ := strings.Cut(line, " ")
		verbs = append(verbs, verb)
	}
	if diff := cmp.Diff([]string{"EHLO", "AUTH", "NOOP", "QUIT"}, verbs); diff != "" {
		t.Error(diff)
	}
}

func TestAPasswordIsNotSentWithoutTLS(t *testing.T) {
	server := serve(t, nil)
	_, err := open(t, "smtp://midwatch:s3cret@"+server.address).Notify(t.Context(), notifytest.Page())
	if err == nil {
		t.Fatal("a server without STARTTLS gets the password")
	}
	server.mu.Lock()
	defer server.mu.Unlock()
	if strings.Contains(strings.Join(server.talk, "\n"), "AUTH") {
		t.Error("the password is sent in the clear")
	}
}

func TestSettingsThatCannotWorkAreRefused(t *testing.T) {
	for _, address := range []string{"", "http://a", "smtp://", "smtp://a:b:c", "file:", "smtp://a?tls=maybe"} {
		if _, err := NewTransport(address); err == nil {
			t.Errorf("the transport %q is accepted", address)
		}
	}
	for _, to := range [][]string{nil, {"ada"}, {""}, {"a@b.example, c@d.example"}, make([]string, 21)} {
		if _, err := New(Settings{To: to}, sender, folder("x")); err == nil {
			t.Errorf("the addresses %q are accepted", to)
		}
	}
}

func TestTheNameGoesToAServerThatIsKnownOverTLS(t *testing.T) {
	web := httptest.NewTLSServer(http.NotFoundHandler())
	defer web.Close()
	certificates := &tls.Config{Certificates: web.TLS.Certificates, MinVersion: tls.VersionTLS12}
	for scheme, start := range map[string]func() *smtpServer{
		"smtps": func() *smtpServer { return serveOn(t, tls.NewListener(listen(t), certificates), nil, nil) },
		"smtp":  func() *smtpServer { return serveOn(t, listen(t), nil, certificates) },
	} {
		t.Run(scheme, func(t *testing.T) {
			smtp := start()
			e := open(t, scheme+"://midwatch:s3cret@"+smtp.address)
			if _, err := e.Notify(t.Context(), notifytest.Page()); err == nil {
				t.Error("a certificate of nobody is accepted")
			}
			roots := x509.NewCertPool()
			roots.AddCert(web.Certificate())
			e.transport.(*server).roots = roots
			if _, err := e.Notify(t.Context(), notifytest.Page()); err != nil {
				t.Fatal(err)
			}
			smtp.mu.Lock()
			defer smtp.mu.Unlock()
			if len(smtp.mails) != 1 || !strings.Contains(strings.Join(smtp.talk, "\n"), "AUTH PLAIN") {
				t.Errorf("%d mails, talk %v", len(smtp.mails), smtp.talk)
			}
		})
	}
}
