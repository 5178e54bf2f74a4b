package replies

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/midwatch/midwatch/alerts/incident"
)

const head = "From: Ann <Ann@example.com>\nTo: x@reply.example.com\nMessage-ID: <1@example.com>\nSubject: Re: [PAGE]\n"

// crlf makes a mail of what is easier to read.
func crlf(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

func TestTheWordsOfAnAnswer(t *testing.T) {
	t.Parallel()
	f := func(want string, lines ...string) {
		t.Helper()
		for _, line := range lines {
			if got := action(line); got != want {
				t.Errorf("action(%q) = %q, want %q", line, got, want)
			}
		}
	}
	f(incident.LinkAcknowledge, "ack", "ACK", "Ack.", "ack!", "Acknowledge", "ok", "Okay, thanks", "On it", "I’m on it!", "mine", "ack, on it", "ack - looking into it", "“ack”", "*ack*", "ack\nescalate")
	f(incident.LinkEscalate, "escalate", "Escalate, please", "ESCALATE!")
	f(incident.LinkSilence, "silence", "Silence 1h", "silence for 1 h", "mute")
	f(incident.LinkFalseAlarm, "false alarm", "False alarm.", "FALSE  ALARM")
	f("", "", "ack?", "ok, escalate", "ok so who broke this", "I acknowledge nothing", "not mine", "do not escalate", "thanks", "backack", "It is the database\nack", "...")
}

func TestWhatAnAuthorWrote(t *testing.T) {
	t.Parallel()
	f := func(want, text string) {
		t.Helper()
		for _, ending := range []string{"\n", "\r\n"} {
			if got := written(strings.ReplaceAll(text, "\n", ending)); got != want {
				t.Errorf("written(%q) = %q, want %q", text, got, want)
			}
		}
	}
	f("ack", "ack")
	f("ack", "\n\n   ack  \n\n")
	f("ack", "\ufeff\u200back\u200b\x00")
	// above what is quoted
	f("ack", "ack\n\nOn Sat, Nov 21, 2026 at 3:05 AM Midwatch <midwatch@example.com> wrote:\n> [PAGE] checkout\n>\n> ack")
	f("ack", "ack\nOn Sat, Nov 21, 2026 at 3:05 AM Midwatch <midwatch@example.com>\nwrote:\n> [PAGE] checkout")
	f("ack", "ack\n\nAm 21.11.2026 um 03:05 schrieb Midwatch:\n> [PAGE] checkout")
	f("ack", "ack\n\n-----Original Message-----\nFrom: Midwatch\nfalse alarm")
	f("ack", "ack\n\n________________________________\nVon: Midwatch\nGesendet: Samstag\nAn: Ann\nescalate")
	f("ack", "ack\n\nFrom: Midwatch <midwatch@example.com>\nSent: Saturday\nTo: Ann\nSubject: [PAGE]\n\nescalate")
	f("ack", "ack\n-- \nAnn\nescalate")
	// below, and between
	f("ack", "On Sat, Nov 21, 2026 at 3:05 AM Midwatch <midwatch@example.com> wrote:\n> [PAGE] checkout\n> escalate\n\nack")
	f("ack", "On Saturday, 21 November 2026\nat 03:05, Midwatch <midwatch@example.com>\nwrote:\n\n> [PAGE] checkout\nack\n> more")
	f("", "On Sat, Nov 21, 2026 at 3:05 AM Midwatch <midwatch@example.com> wrote:\n> ack")
	f("", "> ack\n>> ack\n > ack")
	f("It is the database:", "It is the database:\n> a line")
	f("From here on: nothing", "From here on: nothing")
}

func TestAnAnswerIsReadInEveryForm(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ mail, want string }{
		"plain":               {"\nack\n", "ack"},
		"nothing said":        {"Content-Type: text/plain; charset=utf-8\n\n", ""},
		"Latin-1":             {"Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n\nSp=E4ter=\n!\n", "Später!"},
		"an unknown charset":  {"Content-Type: text/plain; charset=klingon\n\nack\n", "ack"},
		"a broken type":       {"Content-Type: ;;;\n\nack\n", "ack"},
		"UTF-16":              {"Content-Type: text/plain; charset=utf-16\nContent-Transfer-Encoding: base64\n\n//5hAGMAawA=\n", "ack"},
		"base64":              {"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: BASE64\n\nYWNr\n", "ack"},
		"base64 that is torn": {"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n\nYWNrCg==%%%\n", "ack"},
		"both":                {"Content-Type: multipart/alternative; boundary=b\n\npreamble\n--b\nContent-Type: text/plain\n\nack\n--b\nContent-Type: text/html\n\n<p>escalate</p>\n--b--\n", "ack"},
		"torn":                {"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n\nack\n", "ack"},
		"an attachment first": {"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Disposition: attachment; filename=a.txt\n\nescalate\n--b\n\nack\n--b--\n", "ack"},
		"a mail that is passed on": {
			"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: message/rfc822\n\nSubject: x\n\nescalate\n--b\nContent-Type: text/plain\n\nack\n--b--\n", "ack",
		},
		"nested": {"Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: multipart/related; boundary=b\n\n--b\nContent-Type: text/plain\n\nack\n--b--\n--a--\n", "ack"},
		"HTML only, by Gmail": {
			"Content-Type: text/html; charset=utf-8\n\n<html><head><style>p { x: y }</style><title>escalate</title></head><body><div dir=\"ltr\">Ack<!-- x --></div><br>" +
				"<div class=\"gmail_quote gmail_quote_container\"><div class=\"gmail_attr\">On Sat Midwatch wrote:<br></div><blockquote><div>escalate</div></blockquote></div></body></html>", "Ack",
		},
		"HTML only, below by Thunderbird": {
			"Content-Type: text/html\n\n<body><div class=\"moz-cite-prefix\">On 21.11.26 03:05, Midwatch wrote:<br></div><blockquote type=cite>a<blockquote>b</blockquote>c</blockquote>\n<p>false&nbsp;alarm</p>", "false alarm",
		},
		"HTML only, by Outlook": {
			"Content-Type: text/html\n\n<p class=MsoNormal>on\nit</p><div id=\"appendonsend\"></div><hr><div id=\"divRplyFwdMsg\"><b>From:</b> Midwatch</div><div>escalate</div>", "on it",
		},
		"HTML in a plain part that is empty": {"Content-Type: multipart/alternative; boundary=b\n\n--b\nContent-Type: text/plain\n\n \n--b\nContent-Type: text/html\n\n<p>ack\n--b--\n", "ack"},
	} {
		t.Run(name, func(t *testing.T) {
			a, err := read([]byte(crlf(head + c.mail)))
			if err != nil || a.text != c.want || a.automatic || a.from != "ann@example.com" || a.id != "<1@example.com>" {
				t.Errorf("read = %+v, %v; want %q", a, err, c.want)
			}
		})
	}
}

func TestProgramsAreNotHeeded(t *testing.T) {
	t.Parallel()
	for _, header := range []string{
		"Auto-Submitted: auto-replied\n", "Auto-Submitted: auto-replied (vacation); owner-email=\"a@b\"\n", "AUTO-SUBMITTED: Auto-Generated\n", "Auto-Submitted:\n",
		"Auto-Submitted: no\nAuto-Submitted: auto-replied\n", "Precedence: bulk\n", "Precedence: Auto_Reply\n", "Precedence: list\n", "X-AutoReply: yes\n", "X-Autorespond: Re\n", "List-ID: <x>\n",
		"Content-Type: multipart/report; report-type=delivery-status; boundary=b\n", "Content-Type: multipart/report; report-type=disposition-notification; boundary=b\n",
		"Content-Type: message/delivery-status\n",
	} {
		a, err := read([]byte(crlf(head + header + "\n--b\n\nack\n--b--\n")))
		if err != nil || !a.automatic {
			t.Errorf("with %q: %+v, %v", header, a, err)
		}
	}
	for _, from := range []string{"MAILER-DAEMON@example.com", "Mail <postmaster@example.com>"} {
		if a, err := read([]byte(crlf("From: " + from + "\n\nack\n"))); err != nil || !a.automatic {
			t.Errorf("from %q: %+v, %v", from, a, err)
		}
	}
	for _, header := range []string{"Auto-Submitted: no\n", "Auto-Submitted: No (a person)\n", "Precedence: normal\n", "X-Mailer: auto\n"} {
		if a, err := read([]byte(crlf(head + header + "\nack\n"))); err != nil || a.automatic {
			t.Errorf("with %q: %+v, %v", header, a, err)
		}
	}
}

func TestAMailIsBounded(t *testing.T) {
	t.Parallel()
	deep := head
	for range 200 {
		deep += "Content-Type: multipart/mixed; boundary=b\n\n--b\n"
	}
	many := head + "Content-Type: multipart/mixed; boundary=b\n\n" + strings.Repeat("--b\n\nx\n", 10_000) + "--b\n\nack\n"
	for name, text := range map[string]string{
		"deep": deep + "\nack\n", "many": many, "long": head + "\n" + strings.Repeat("word ", 200_000),
		"open": head + "Content-Type: text/html\n\n" + strings.Repeat("<div><blockquote>", 50_000),
	} {
		a, err := read([]byte(crlf(text)))
		if err != nil || utf8.RuneCountInString(a.text) > maxNote || action(a.text) != "" {
			t.Errorf("%s: %d bytes, %v", name, len(a.text), err)
		}
	}
	if a, err := read([]byte("no header\r\nat all")); err == nil {
		t.Errorf("no mail is read as %+v", a)
	}
}

func TestTheSameMailHasTheSameName(t *testing.T) {
	t.Parallel()
	without := "From: ann@example.com\nDate: Sat, 21 Nov 2026 03:00:00 +0000\n"
	name := func(text string) string {
		a, err := read([]byte(crlf(text)))
		if err != nil {
			t.Fatal(err)
		}
		return a.id
	}
	if a, b := name(without+"\nack\n"), name("Received: by another way\n"+without+"\nack\n"); a != b || a == "" {
		t.Errorf("names %q and %q", a, b)
	}
	if a, b := name(without+"\nack\n"), name(without+"\nescalate\n"); a == b {
		t.Errorf("two mails have the name %q", a)
	}
}

func FuzzRead(f *testing.F) {
	for _, seed := range []string{
		"\nack\n", "Auto-Submitted: auto-replied\n\nack\n",
		"Content-Type: multipart/alternative; boundary=b\n\n--b\nContent-Type: text/plain; charset=iso-2022-jp\nContent-Transfer-Encoding: quoted-printable\n\nack=20\n--b\nContent-Type: text/html\n\n<div class=gmail_quote>x</div><p>ack&amp;\n--b--\n",
		"Content-Type: multipart/mixed; boundary=\"\"\n\n--\n\nack\n--\n", "Content-Type: text/html\n\n<blockquote><style><div id=divRplyFwdMsg>",
		"Content-Type: text/plain; charset=utf-16\nContent-Transfer-Encoding: base64\n\n//5hAGMAawA=\n",
		"\nOn Sat, 21 Nov 2026 Midwatch <a@b.example>\nwrote:\n> x\n\nFrom: a\nTo: b\n",
	} {
		f.Add([]byte(crlf(head + seed)))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := read(data)
		if err != nil {
			return
		}
		if !utf8.ValidString(a.text) || strings.ContainsRune(a.text, 0) || utf8.RuneCountInString(a.text) > maxNote {
			t.Errorf("text = %q", a.text)
		}
		if a.id == "" {
			t.Error("the mail has no name")
		}
		if action(a.text) != "" && strings.HasPrefix(strings.TrimSpace(a.text), ">") {
			t.Errorf("what is quoted asks for something: %q", a.text)
		}
		if again := written(a.text); a.text == "" && again != "" {
			t.Errorf("nothing became %q", again)
		}
	})
}
