package e2e

import (
	"bufio"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// The ways in which a receiver behaves badly. Those after accepted take the message all the same.
const (
	noFault     = ""
	refuses     = "500"
	limits      = "429"
	hangs       = "hangs"
	resets      = "resets"
	dropsReply  = "accepts, then resets"
	acceptsFail = "accepts, then 500"
	slow        = "slow"
)

// maxHangs bounds how often a receiver does not answer at all: each one holds a place of a sender for
// as long as a call may take.
const maxHangs = 4

// receivers are servers of every kind that record what they take, as the real ones do: PagerDuty folds
// what has the key of an open incident, the webhook knows messages by their id, mails by theirs.
type receivers struct {
	t      *testing.T
	http   *httptest.Server
	smtp   net.Listener
	secret []byte

	mu      sync.Mutex
	rng     *rand.Rand
	faulty  bool
	hung    int
	faults  map[string]int // how often each
	conns   sync.WaitGroup
	stopped chan struct{}

	order int
	pages map[string]*page // by dedup key
	hooks map[string]*taken
	mails map[string]*taken // by the first half of the Message-ID
	chats map[string]int    // messages by incident
	shown map[string]int    // how often PagerDuty opened an incident, by its service
}

// page is an incident as PagerDuty shows it.
type page struct {
	open                     bool
	opened, merged, resolved int
	// first is when it was first opened.
	first time.Time
}

// taken is a message that was accepted.
type taken struct {
	incident, action string
	sequence         int
	order            int // among all first acceptances
	at               time.Time
	copies           int
	// unsaid is how often it was accepted without the sender being told so.
	unsaid int
}

func newReceivers(t *testing.T, seed uint64) *receivers {
	t.Helper()
	r := &receivers{
		t: t, secret: []byte("a secret of twenty-four bytes"), rng: rand.New(rand.NewPCG(seed, 4)), faults: map[string]int{}, stopped: make(chan struct{}),
		pages: map[string]*page{}, hooks: map[string]*taken{}, mails: map[string]*taken{}, chats: map[string]int{}, shown: map[string]int{},
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /pagerduty/v2/enqueue", r.answer(http.StatusAccepted, r.pagerduty))
	mux.HandleFunc("POST /webhook", r.answer(http.StatusNoContent, r.webhook))
	mux.HandleFunc("POST /slack", r.answer(http.StatusOK, r.slack))
	r.http = httptest.NewServer(mux)
	var err error
	if r.smtp, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	r.conns.Go(r.serveMail)
	t.Cleanup(func() {
		close(r.stopped)
		r.smtp.Close()
		r.http.CloseClientConnections()
		r.http.Close()
		r.conns.Wait()
	})
	return r
}

// environment has a server send its messages here.
func (r *receivers) environment() []string {
	return []string{"MIDWATCH_RECEIVER_ALLOW=127.0.0.1/32", "MIDWATCH_SMTP_URL=smtp://" + r.smtp.Addr().String() + "?tls=none"}
}

// behave switches faults on and off.
func (r *receivers) behave(well bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faulty = !well
}

// fault decides how the next message is met.
func (r *receivers) fault() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.faulty {
		return noFault
	}
	fault := noFault
	switch n := r.rng.IntN(100); {
	case n < 3:
		fault = refuses
	case n < 5:
		fault = limits
	case n < 8:
		fault = resets
	case n < 11:
		fault = dropsReply
	case n < 13:
		fault = acceptsFail
	case n < 18:
		fault = slow
	case n == 18 && r.hung < maxHangs:
		r.hung++
		fault = hangs
	}
	if fault != noFault {
		r.faults[fault]++
	}
	return fault
}

// silence lasts longer than a sender waits for an answer.
func (r *receivers) silence(over <-chan struct{}) {
	select {
	case <-r.stopped:
	case <-over:
	case <-time.After(12 * time.Second):
	}
}

func (r *receivers) pause() {
	r.mu.Lock()
	d := 100*time.Millisecond + time.Duration(r.rng.Int64N(int64(900*time.Millisecond)))
	r.mu.Unlock()
	select {
	case <-r.stopped:
	case <-time.After(d):
	}
}

// answer meets a request with a fault, or has it taken. take returns what is wrong with it.
func (r *receivers) answer(code int, take func(header http.Header, body []byte, unsaid bool) error) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(io.LimitReader(req.Body, 1<<20))
		if err != nil {
			return // the sender was killed
		}
		fault := r.fault()
		switch fault {
		case refuses:
			w.WriteHeader(http.StatusInternalServerError)
			return
		case limits:
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
			return
		case hangs:
			r.silence(req.Context().Done())
			reset(w)
			return
		case resets:
			reset(w)
			return
		case slow:
			r.pause()
		}
		if err := take(req.Header, body, fault == dropsReply || fault == acceptsFail); err != nil {
			r.t.Errorf("%s: %v\n%s", req.URL.Path, err, tail(string(body), 1000))
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		switch fault {
		case dropsReply:
			reset(w)
		case acceptsFail:
			w.WriteHeader(http.StatusInternalServerError)
		default:
			w.WriteHeader(code)
		}
	}
}

func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return // it is gone
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // it is closed in any case
	}
	conn.Close()
}

func (r *receivers) pagerduty(_ http.Header, body []byte, _ bool) error {
	var event struct {
		RoutingKey  string `json:"routing_key"`
		EventAction string `json:"event_action"`
		DedupKey    string `json:"dedup_key"`
		Payload     *struct{ Summary, Source, Severity, Component string }
	}
	if err := json.Unmarshal(body, &event); err != nil {
		return err
	}
	if event.RoutingKey != routingKey || event.DedupKey == "" {
		return fmt.Errorf("routing key %q, dedup key %q", event.RoutingKey, event.DedupKey)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.pages[event.DedupKey]
	if p == nil {
		p = &page{first: time.Now()}
		r.pages[event.DedupKey] = p
	}
	switch event.EventAction {
	case "trigger":
		if event.Payload == nil || event.Payload.Summary == "" || event.Payload.Source == "" || event.Payload.Severity == "" {
			return fmt.Errorf("payload: %+v", event.Payload)
		}
		if p.open {
			p.merged++
			return nil
		}
		p.open = true
		p.opened++
		r.shown[event.Payload.Component]++
	case "resolve":
		if p.open {
			p.resolved++
		}
		p.open = false
	case "acknowledge":
	default:
		return fmt.Errorf("event_action %q", event.EventAction)
	}
	return nil
}

// take notes an accepted message.
func (r *receivers) take(all map[string]*taken, id string, m taken, unsaid bool) {
	known := all[id]
	if known == nil {
		r.order++
		m.order, m.at = r.order, time.Now()
		known = &m
		all[id] = known
	}
	known.copies++
	if unsaid {
		known.unsaid++
	}
}

func (r *receivers) webhook(header http.Header, body []byte, unsaid bool) error {
	id, at := header.Get("Webhook-Id"), header.Get("Webhook-Timestamp")
	seconds, err := strconv.ParseInt(at, 10, 64)
	if err != nil || time.Since(time.Unix(seconds, 0)).Abs() > 5*time.Minute {
		return fmt.Errorf("webhook-timestamp %q", at)
	}
	mac := hmac.New(sha256.New, r.secret)
	mac.Write([]byte(id + "." + at + "."))
	mac.Write(body)
	if want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)); header.Get("Webhook-Signature") != want {
		return fmt.Errorf("webhook-signature %q, want %q", header.Get("Webhook-Signature"), want)
	}
	var event struct {
		Data struct {
			Key, Incident, Action string
			Sequence              int
		}
	}
	if err := json.Unmarshal(body, &event); err != nil {
		return err
	}
	if event.Data.Key != id || id == "" {
		return fmt.Errorf("webhook-id %q, key %q", id, event.Data.Key)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.take(r.hooks, id, taken{incident: event.Data.Incident, action: event.Data.Action, sequence: event.Data.Sequence}, unsaid)
	return nil
}

var incidentPage = regexp.MustCompile(`/incidents/([0-9a-f-]{36})`)

func (r *receivers) slack(_ http.Header, body []byte, _ bool) error {
	var message struct{ Text string }
	if err := json.Unmarshal(body, &message); err != nil {
		return err
	}
	if message.Text == "" {
		return fmt.Errorf("no text")
	}
	of := ""
	if found := incidentPage.FindSubmatch(body); found != nil {
		of = string(found[1])
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.chats[of]++
	return nil
}

// serveMail is a small SMTP server.
func (r *receivers) serveMail() {
	for {
		conn, err := r.smtp.Accept()
		if err != nil {
			return
		}
		r.conns.Go(func() {
			over := make(chan struct{})
			defer close(over)
			r.conns.Go(func() {
				select {
				case <-r.stopped:
				case <-over:
				}
				conn.Close()
			})
			r.converse(conn)
		})
	}
}

func (r *receivers) converse(conn net.Conn) {
	in := textproto.NewReader(bufio.NewReader(conn))
	say := func(text string) bool {
		_, err := io.WriteString(conn, text+"\r\n")
		return err == nil
	}
	ok := say("220 receiver ESMTP")
	for ok {
		line, err := in.ReadLine()
		if err != nil {
			return
		}
		word, _, _ := strings.Cut(strings.ToUpper(line), " ")
		switch word {
		case "EHLO", "HELO":
			ok = say("250-receiver\r\n250 8BITMIME")
		case "DATA":
			if !say("354 go on") {
				return
			}
			body, err := in.ReadDotBytes()
			if err != nil {
				return
			}
			fault := r.fault()
			switch fault {
			case refuses, limits:
				ok = say("451 try again later")
				continue
			case hangs:
				r.silence(nil)
				return
			case resets:
				return
			case slow:
				r.pause()
			}
			r.mail(body, fault == dropsReply || fault == acceptsFail)
			switch fault {
			case dropsReply:
				return
			case acceptsFail:
				ok = say("451 it was taken, but who knows")
			default:
				ok = say("250 taken")
			}
		case "QUIT":
			say("221 bye")
			return
		default:
			ok = say("250 ok")
		}
	}
}

// messageID is "<incident.seq@host>".
var messageID = regexp.MustCompile(`(?i)\nmessage-id:\s*<(([0-9a-f-]{36})\.([0-9]+))@[^>\s]+>`)

func (r *receivers) mail(body []byte, unsaid bool) {
	found := messageID.FindSubmatch(append([]byte("\n"), body...))
	if found == nil {
		r.t.Errorf("a mail without the Message-ID of an incident:\n%s", tail(string(body), 2000))
		return
	}
	sequence, err := strconv.Atoi(string(found[3]))
	if err != nil {
		r.t.Error(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.take(r.mails, string(found[1]), taken{incident: string(found[2]), sequence: sequence}, unsaid)
}

// showings is how often PagerDuty opened an incident of a service.
func (r *receivers) showings(service string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.shown[service]
}

// summary says what was taken, in words.
func (r *receivers) summary() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	open := 0
	for _, p := range r.pages {
		if p.open {
			open++
		}
	}
	chats := 0
	for _, n := range r.chats {
		chats += n
	}
	return fmt.Sprintf("%d pages (%d open), %d calls of the webhook, %d messages in Slack, %d mails; faults: %v",
		len(r.pages), open, len(r.hooks), chats, len(r.mails), maps.Clone(r.faults))
}
