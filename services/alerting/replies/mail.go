package replies

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/net/html"
	"golang.org/x/net/html/charset"

	"github.com/midwatch/midwatch/alerts/incident"
	"github.com/midwatch/midwatch/alerts/notify"
)

const (
	// maxParts and maxDepth bound the parts of a mail, maxText what is read of its text, in bytes of UTF-8.
	maxParts = 100
	maxDepth = 10
	maxText  = 256 << 10
	// maxHeader bounds the headers that are taken apart, in bytes.
	maxHeader = 2000
	// maxNote is how many characters of a mail are kept as a note.
	maxNote = 5000
)

// answer is what counts of a mail that answers one of ours.
type answer struct {
	// id is the same for the same mail.
	id string
	// from is the address of its author; empty unless there is one. It can be forged.
	from string
	// automatic says that no person wrote it.
	automatic bool
	// text is what its author wrote: without what is quoted and without a signature.
	text string
}

var errNoMail = errors.New("this is not a mail")

// read takes a mail apart. What cannot be read of its body is left out.
func read(data []byte) (answer, error) {
	letter, err := mail.ReadMessage(bytes.NewReader(data))
	if err != nil {
		return answer{}, errNoMail
	}
	p := parts{left: maxParts}
	p.part(map[string][]string(letter.Header), letter.Body, 0)
	a := answer{automatic: p.report || automatic(letter.Header)}
	if from, err := mail.ParseAddress(bounded(letter.Header.Get("From"))); err == nil {
		a.from = strings.ToLower(from.Address)
		local, _, _ := strings.Cut(a.from, "@")
		a.automatic = a.automatic || local == "mailer-daemon" || local == "postmaster"
	}
	a.text = written(p.plain.String())
	if strings.TrimSpace(p.plain.String()) == "" {
		a.text = written(plain(p.html.String()))
	}
	if a.id = strings.TrimSpace(letter.Header.Get("Message-Id")); a.id == "" {
		sum := sha256.Sum256([]byte(letter.Header.Get("From") + "\n" + letter.Header.Get("Date") + "\n" + a.text))
		a.id = hex.EncodeToString(sum[:])
	}
	return a, nil
}

// bounded is a header, or nothing where it is too long to be one.
func bounded(header string) string {
	if len(header) > maxHeader {
		return ""
	}
	return header
}

// automatic reports whether a program wrote a mail: somebody is out of office, or a mailing list passes
// it on (RFC 3834, and what was usual before).
func automatic(header mail.Header) bool {
	for _, value := range header["Auto-Submitted"] {
		if word(value) != "no" {
			return true
		}
	}
	for _, value := range header["Precedence"] {
		if slices.Contains([]string{"bulk", "junk", "list", "auto_reply"}, word(value)) {
			return true
		}
	}
	for _, name := range []string{"X-Autoreply", "X-Autorespond", "X-Autoresponder", "X-Auto-Reply", "X-Mail-Autoreply", "X-Failed-Recipients", "List-Id"} {
		if len(header[name]) > 0 {
			return true
		}
	}
	return false
}

// word is the first one of a header, in small letters.
func word(value string) string {
	value, _, _ = strings.Cut(strings.TrimSpace(value), ";")
	value, _, _ = strings.Cut(value, "(")
	return strings.ToLower(strings.TrimSpace(value))
}

// parts gathers the texts of a mail.
type parts struct {
	left        int
	report      bool // it tells what became of another mail
	plain, html strings.Builder
}

func (p *parts) part(header map[string][]string, body io.Reader, depth int) {
	if p.left--; p.left < 0 || depth > maxDepth {
		return
	}
	get := mail.Header(header).Get
	kind, params, err := mime.ParseMediaType(cmp.Or(bounded(get("Content-Type")), "text/plain"))
	if err != nil && !errors.Is(err, mime.ErrInvalidMediaParameter) {
		kind, params = "text/plain", nil
	}
	disposition, _, err := mime.ParseMediaType(bounded(get("Content-Disposition")))
	if err == nil && disposition == "attachment" {
		return
	}
	p.report = p.report || kind == "multipart/report" || kind == "message/delivery-status" || kind == "message/disposition-notification"
	switch {
	case strings.HasPrefix(kind, "multipart/"):
		for reader := multipart.NewReader(body, params["boundary"]); p.left > 0; {
			part, err := reader.NextRawPart()
			if err != nil {
				return // the end, or what is left cannot be read
			}
			p.part(part.Header, part, depth+1)
		}
	case kind == "text/plain":
		gather(&p.plain, get("Content-Transfer-Encoding"), params["charset"], body)
	case kind == "text/html":
		gather(&p.html, get("Content-Transfer-Encoding"), params["charset"], body)
	}
}

// gather adds a text as UTF-8. What is broken half-way counts as far as it goes.
func gather(to *strings.Builder, encoding, label string, body io.Reader) {
	switch word(encoding) {
	case "quoted-printable":
		body = quotedprintable.NewReader(body)
	case "base64":
		body = base64.NewDecoder(base64.StdEncoding, body)
	}
	if label != "" {
		if decoded, err := charset.NewReaderLabel(label, body); err == nil {
			body = decoded
		}
	}
	text, err := io.ReadAll(io.LimitReader(body, int64(max(maxText-to.Len(), 0))))
	if err != nil && len(text) == 0 {
		return
	}
	to.WriteString(strings.ToValidUTF8(string(text), ""))
	to.WriteByte('\n')
}

// plain is a page as text, with a quotation mark in place of what it quotes.
func plain(page string) string {
	var b strings.Builder
	tokens := html.NewTokenizer(strings.NewReader(page))
	// left is the element that is left out, and how many of its kind are open in it.
	var left string
	var open int
	leave := func(name string) { left, open = name, 1 }
	for {
		kind := tokens.Next()
		if kind == html.ErrorToken {
			return b.String()
		}
		t := tokens.Token()
		switch {
		case left != "":
			switch {
			case t.Data != left:
			case kind == html.StartTagToken:
				open++
			case kind == html.EndTagToken:
				if open--; open == 0 {
					left = ""
				}
			}
		case kind == html.TextToken:
			// In a page lines end where its elements say so.
			b.WriteString(strings.Map(func(r rune) rune {
				if r == '\n' || r == '\r' || r == '\t' {
					return ' '
				}
				return r
			}, t.Data))
		case kind == html.StartTagToken && slices.Contains([]string{"style", "script", "title", "template", "noscript"}, t.Data):
			leave(t.Data)
		case kind == html.StartTagToken && quotes(t):
			b.WriteString("\n>\n")
			leave(t.Data)
		case kind != html.CommentToken && kind != html.DoctypeToken && slices.Contains(blocks, t.Data):
			if original(t) {
				b.WriteString("\n" + originalMessage)
			}
			b.WriteByte('\n')
		}
	}
}

var blocks = []string{"address", "article", "blockquote", "body", "br", "dd", "div", "dl", "dt", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p", "pre", "section", "table", "td", "tr", "ul"}

// quotes reports whether an element holds what somebody else wrote.
func quotes(t html.Token) bool {
	if t.Data == "blockquote" {
		return true
	}
	if !slices.Contains([]string{"div", "span", "pre"}, t.Data) {
		return false
	}
	for _, a := range t.Attr {
		for name := range strings.FieldsSeq(a.Val) {
			if a.Key == "class" && slices.Contains([]string{"gmail_quote", "gmail_attr", "gmail_signature", "yahoo_quoted", "moz-cite-prefix", "moz-signature", "protonmail_quote"}, name) {
				return true
			}
		}
	}
	return false
}

// original reports whether an element stands before what Outlook quotes, which goes on to the end.
func original(t html.Token) bool {
	return slices.ContainsFunc(t.Attr, func(a html.Attribute) bool {
		return a.Key == "id" && (a.Val == "divRplyFwdMsg" || a.Val == "appendonsend" || a.Val == "mail-editor-reference-message-container")
	})
}

const originalMessage = "-----Original Message-----"

// written is what an author wrote of a text: what is quoted above, between or below is left out, as is a
// signature.
func written(text string) string {
	var lines []string
	scanner := bufio.NewScanner(strings.NewReader(text))
	scanner.Buffer(nil, 2*maxText)
	for scanner.Scan() {
		line := strings.TrimSpace(strings.Map(visible, scanner.Text()))
		if strings.HasPrefix(line, ">") {
			lines = append(withoutAttribution(lines), "")
			continue
		}
		lines = append(lines, line)
	}
	for i, line := range lines {
		if line == "--" || strings.HasPrefix(line, "-----") && strings.HasSuffix(line, "-----") || len(line) >= 20 && strings.Trim(line, "_") == "" || headers(lines[i:]) {
			lines = lines[:i]
			break
		}
	}
	return notify.Clip(strings.TrimSpace(strings.Join(lines, "\n")), maxNote)
}

// visible drops what cannot be seen, and what a database does not take.
func visible(r rune) rune {
	switch {
	case unicode.IsSpace(r):
		return ' '
	case unicode.IsControl(r), unicode.Is(unicode.Cf, r), r == unicode.ReplacementChar:
		return -1
	}
	return r
}

// headers reports whether lines begin with those of a mail that Outlook quotes.
func headers(lines []string) bool {
	begins := func(line string, names ...string) bool {
		name, _, found := strings.Cut(strings.Trim(line, "*"), ":")
		return found && slices.Contains(names, strings.TrimSpace(name))
	}
	if !begins(lines[0], "From", "Von", "De", "Da", "Van", "Från", "Fra", "Od") {
		return false
	}
	return slices.ContainsFunc(lines[1:min(len(lines), 8)], func(line string) bool {
		return begins(line, "To", "Sent", "Date", "An", "Gesendet", "À", "Envoyé", "Para", "Enviado", "A", "Inviato", "Aan", "Verzonden", "Till", "Skickat")
	})
}

// withoutAttribution takes away who is quoted, which stands before a quotation: "On Saturday Midwatch
// <midwatch@example.com> wrote:", in one line or in up to three.
func withoutAttribution(lines []string) []string {
	end := len(lines)
	for end > 0 && lines[end-1] == "" {
		end--
	}
	if end == 0 || !strings.HasSuffix(lines[end-1], ":") {
		return lines
	}
	// It names an address or a time. What its author wrote right above begins otherwise.
	begin := -1
	for i := end - 1; i >= max(end-3, 0) && lines[i] != ""; i-- {
		if strings.HasPrefix(lines[i], "On ") || strings.HasPrefix(lines[i], "Am ") || strings.HasPrefix(lines[i], "Le ") || strings.HasPrefix(lines[i], "El ") ||
			strings.HasPrefix(lines[i], "Il ") || strings.HasPrefix(lines[i], "Op ") || strings.HasPrefix(lines[i], "Em ") || strings.HasPrefix(lines[i], "Den ") {
			begin = i
			break
		}
		if begin < 0 && (strings.Contains(lines[i], "@") || strings.ContainsAny(lines[i], "0123456789")) {
			begin = i
		}
	}
	if begin < 0 {
		return lines
	}
	return lines[:begin]
}

// words are what people answer, and what they mean by it.
var words = map[string]string{
	"ack": incident.LinkAcknowledge, "acked": incident.LinkAcknowledge, "acknowledge": incident.LinkAcknowledge, "acknowledged": incident.LinkAcknowledge,
	"ok": incident.LinkAcknowledge, "okay": incident.LinkAcknowledge, "on it": incident.LinkAcknowledge, "i'm on it": incident.LinkAcknowledge,
	"mine": incident.LinkAcknowledge, "got it": incident.LinkAcknowledge, "i've got it": incident.LinkAcknowledge, "taking it": incident.LinkAcknowledge,
	"looking": incident.LinkAcknowledge, "looking into it": incident.LinkAcknowledge,
	"escalate": incident.LinkEscalate,
	"silence":  incident.LinkSilence, "silence 1h": incident.LinkSilence, "silence 1 h": incident.LinkSilence, "silence for 1 h": incident.LinkSilence, "mute": incident.LinkSilence,
	"false alarm": incident.LinkFalseAlarm, "false positive": incident.LinkFalseAlarm,
}

// courtesies mean nothing more.
var courtesies = []string{"thanks", "thank you", "thx", "please"}

// action is what the first line of a text asks for: one of incident.Link…, or empty where it is anything
// else. "Ack, on it" asks for one thing, "ok, escalate" is left to people.
func action(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	line = strings.ToLower(strings.NewReplacer("’", "'", " - ", ", ").Replace(line))
	var asked string
	for clause := range strings.FieldsFuncSeq(line, func(r rune) bool { return strings.ContainsRune(",.;:!–—\"“”*", r) }) {
		clause = strings.Join(strings.Fields(clause), " ")
		if clause == "" || slices.Contains(courtesies, clause) {
			continue
		}
		one, known := words[clause]
		if !known || asked != "" && asked != one {
			return ""
		}
		asked = one
	}
	return asked
}
