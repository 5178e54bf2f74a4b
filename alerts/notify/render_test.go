package notify_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image/png"
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/midwatch/midwatch/alerts/notify"
	"github.com/midwatch/midwatch/alerts/notify/notifytest"
)

func samples() map[string]notify.Message {
	ticket := notifytest.Page()
	ticket.Action, ticket.Severity, ticket.Loud = notify.Ticket, notify.SeverityTicket, false
	ticket.ReplyTo = "" // nobody listens
	ticket.Due, ticket.Late = notifytest.Now.Add(72*time.Hour), "Midwatch was down from 02:42 to 02:46."
	return map[string]notify.Message{
		"trigger": notifytest.Page(), "update": notifytest.Updated(""), "resolve": notifytest.Resolved(""), "digest": notifytest.Digest(), "ticket": ticket,
	}
}

func TestAMessageReadsWellAsText(t *testing.T) {
	for name, m := range samples() {
		t.Run(name, func(t *testing.T) { notifytest.Golden(t, name+".txt", []byte(notify.Text(m))) })
	}
}

func TestAMessageReadsWellAsAPage(t *testing.T) {
	for name, m := range samples() {
		t.Run(name, func(t *testing.T) {
			page, err := notify.HTML(m, "cid:chart@midwatch")
			if err != nil {
				t.Fatal(err)
			}
			notifytest.Golden(t, name+".html", []byte(page))
		})
	}
}

func TestAShortMessageIsLineOneAndTheLinkThatAcknowledges(t *testing.T) {
	want := "[PAGE] checkout: 12 % errors for 6 min (limit 5 %), 340 users\nhttps://midwatch.example/a/ack-token"
	if diff := cmp.Diff(want, notify.Short(notifytest.Page())); diff != "" {
		t.Error(diff)
	}
}

func TestTextOfOthersIsNotMarkupInAPage(t *testing.T) {
	m := notifytest.Page()
	m.Title = `<script>alert(1)</script>`
	m.Sections[1].Lines[0] = notify.Line{Text: `"><img src=x onerror=alert(1)>`, Link: "javascript:alert(1)"}
	m.Buttons[0].URL = "javascript:alert(1)"
	page, err := notify.HTML(m, "javascript:alert(1)")
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"<script>", "<img", "javascript:"} {
		if strings.Contains(page, bad) {
			t.Errorf("the page holds %s", bad)
		}
	}
}

func TestAMessageSurvivesTheOutbox(t *testing.T) {
	for name, m := range samples() {
		encoded, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		var back notify.Message
		if err := json.Unmarshal(encoded, &back); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(m, back); diff != "" {
			t.Errorf("%s differs (-before +after):\n%s", name, diff)
		}
	}
}

func TestAWholeMessageIsNotCut(t *testing.T) {
	for name, m := range samples() {
		if diff := cmp.Diff(m, m.Bounded()); diff != "" {
			t.Errorf("%s differs (-before +after):\n%s", name, diff)
		}
	}
}

func TestEverythingOfAMessageHasABound(t *testing.T) {
	long := strings.Repeat("é \x00\u202e\n", 5000)
	m := notify.Message{Key: long, Title: long, Late: long, Labels: map[string]string{}, Chart: &notify.Chart{PNG: make([]byte, 1<<20), Link: long}}
	for i := range 1000 {
		m.Labels[strings.Repeat("l", i)] = long
		m.Facts = append(m.Facts, notify.Fact{Name: long, Value: long})
		m.Links = append(m.Links, notify.Link{Text: long, URL: "https://example.com/" + long})
		m.Told = append(m.Told, long)
		m.Instances = append(m.Instances, notify.Instance{Labels: m.Labels})
	}
	for range 100 {
		var s notify.Section
		for range 100 {
			s.Lines = append(s.Lines, notify.Line{Text: long, Link: long})
		}
		m.Sections = append(m.Sections, s)
	}
	m = m.Bounded()
	if n := utf8.RuneCountInString(m.Title); n != 120 || strings.ContainsAny(m.Title, "\x00\n\u202e") {
		t.Errorf("a title of %d characters: %q", n, m.Title)
	}
	encoded, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	if len(encoded) > 3<<20 {
		t.Errorf("%d bytes", len(encoded))
	}
	if m.Chart.PNG != nil || m.Chart.Link != "" || len(m.Links) != 0 {
		t.Error("a picture or an address over its bound stays")
	}
	if diff := cmp.Diff(m, m.Bounded()); diff != "" {
		t.Errorf("bounding twice changes more:\n%s", diff)
	}
}

func TestSecretsAreNotTold(t *testing.T) {
	for text, want := range map[string]string{
		"login with password=correct-horse failed":           "login with password=(hidden) failed",
		"GET https://bob:hunter22@db.internal/x":             "GET https://bob:(hidden)@db.internal/x",
		"Authorization: Bearer abcdefghijklmnop.qrst":        "Authorization: Bearer (hidden)",
		"used xoxb-123456789012-abcdef":                      "used (hidden)",
		"http://checkout:8080/pay answered 502":              "http://checkout:8080/pay answered 502",
		"basic authentication failed, token: bad":            "basic authentication failed, token: bad",
		`{"api_key":"0123456789abcdef","name":"checkout-1"}`: `{"api_key":"(hidden)","name":"checkout-1"}`,
	} {
		m := notify.Message{Title: text, Labels: map[string]string{"db_password": "x", "service": "checkout"}}.Bounded()
		if m.Title != want {
			t.Errorf("got  %s\nwant %s", m.Title, want)
		}
		if m.Labels["db_password"] != "(hidden)" || m.Labels["service"] != "checkout" {
			t.Errorf("labels %v", m.Labels)
		}
	}
}

func TestADurationIsSaidAsPeopleDo(t *testing.T) {
	m := notify.Message{Since: notifytest.Now}
	for after, want := range map[time.Duration]string{
		0: "Since 01:47 UTC, Sat 21 Nov 2026.", 45 * time.Second: "(45 s before this message)", 6 * time.Minute: "(6 min before", 65 * time.Minute: "(1 h 5 min before",
		51 * time.Hour: "(2 d 3 h before",
	} {
		m.At = notifytest.Now.Add(after)
		if got := m.When(); !strings.Contains(got, want) {
			t.Errorf("%v: %q does not say %q", after, got, want)
		}
	}
}

func plot() notify.Plot {
	values := make([]float64, 61)
	for i := range values {
		values[i] = 0.4 + 0.1*float64(i%5)
		if i >= 54 {
			values[i] = 12 - float64(i%3)
		}
	}
	limit := 5.0
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		panic(err)
	}
	return notify.Plot{
		Start: notifytest.Now.Add(-time.Hour), Step: time.Minute, Values: values, Threshold: &limit,
		BadFrom: notifytest.Now.Add(-6 * time.Minute), Unit: "%", Zone: berlin,
	}
}

func TestAChartIsTheSameEachTimeAndSmall(t *testing.T) {
	first, err := notify.Draw(plot())
	if err != nil {
		t.Fatal(err)
	}
	second, err := notify.Draw(plot())
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first, second) {
		t.Error("two pictures of one plot differ")
	}
	if len(first) > 20<<10 {
		t.Errorf("%d bytes", len(first))
	}
	t.Logf("%d bytes", len(first))
}

func TestAChartShowsWhatWasBad(t *testing.T) {
	encoded, err := notify.Draw(plot())
	if err != nil {
		t.Fatal(err)
	}
	picture, err := png.Decode(bytes.NewReader(encoded))
	if err != nil {
		t.Fatal(err)
	}
	if picture.Bounds().Dx() != 1200 || picture.Bounds().Dy() != 400 {
		t.Errorf("the picture is %v", picture.Bounds())
	}
	at := func(x, y int) string {
		r, g, b, _ := picture.At(x, y).RGBA()
		return fmt.Sprintf("%02x%02x%02x", r>>8, g>>8, b>>8)
	}
	// the bad part begins 54 of 60 steps to the right; the line lies near the bottom before it and near the top in it.
	if at(300, 150) != "131922" || at(1170, 200) != "3a2228" {
		t.Errorf("before %s, in the bad part %s", at(300, 150), at(1170, 200))
	}
	count := func(colour string, left, right int) int {
		n := 0
		for x := left; x < right; x++ {
			for y := 70; y < 338; y++ {
				if at(x, y) == colour {
					n++
				}
			}
		}
		return n
	}
	if n := count("7fb2ff", 100, 1000); n < 900 {
		t.Errorf("the line has %d points", n)
	}
	if n := count("ff7a70", 100, 1000); n < 900 {
		t.Errorf("the limit has %d points", n)
	}
}

func TestAChartHasGapsAndNeedsAValue(t *testing.T) {
	p := notify.Plot{Start: notifytest.Now, Step: time.Minute, Values: []float64{math.NaN(), 1, math.NaN(), 2, 3, math.Inf(1)}}
	if _, err := notify.Draw(p); err != nil {
		t.Error(err)
	}
	for name, p := range map[string]notify.Plot{
		"nothing": {}, "no step": {Values: []float64{1}}, "only gaps": {Step: time.Minute, Values: []float64{math.NaN()}}, "too many": {Step: time.Minute, Values: make([]float64, 5001)},
	} {
		if _, err := notify.Draw(p); err == nil {
			t.Errorf("%s is drawn", name)
		}
	}
}

func TestAChartOfNoiseStaysSmall(t *testing.T) {
	values, state := make([]float64, 5000), uint64(1)
	for i := range values {
		state = state*6364136223846793005 + 1442695040888963407
		values[i] = float64(state >> 40)
	}
	picture, err := notify.Draw(notify.Plot{Start: notifytest.Now, Step: time.Second, Values: values})
	if err != nil {
		t.Fatal(err)
	}
	if len(picture) > 60<<10 {
		t.Errorf("%d bytes", len(picture))
	}
	t.Logf("%d bytes", len(picture))
}

func TestBoundingAndRenderingTakeAnyText(t *testing.T) {
	text := rapid.Custom(func(t *rapid.T) string {
		parts := rapid.SliceOfN(rapid.OneOf(
			rapid.String(),
			rapid.SampledFrom([]string{"password=", "://a:b@", "Bearer ", "xoxb-", "(hidden)", "abcdefghijklmnop", "\u202e", "\x00", "\n", "…", "{{", "</p>", "5 %"}),
		), 0, 12).Draw(t, "parts")
		return strings.Repeat(strings.Join(parts, ""), rapid.IntRange(1, 40).Draw(t, "times"))
	})
	rapid.Check(t, func(t *rapid.T) {
		m := notifytest.Page()
		m.Title, m.Late, m.FirstAction = text.Draw(t, "title"), text.Draw(t, "late"), text.Draw(t, "first action")
		m.Sections[0].Lines[0] = notify.Line{Text: text.Draw(t, "line"), Link: text.Draw(t, "link")}
		m.Labels = map[string]string{text.Draw(t, "name"): text.Draw(t, "value")}
		m.ReplyTo = text.Draw(t, "reply to")
		m = m.Bounded()
		if diff := cmp.Diff(m, m.Bounded()); diff != "" {
			t.Fatalf("bounding twice changes more:\n%s", diff)
		}
		if utf8.RuneCountInString(m.Title) > 120 || strings.ContainsAny(m.Heading(), "\r\n\x00\u202e") {
			t.Fatalf("title %q", m.Title)
		}
		if strings.ContainsAny(m.ReplyTo, "\r\n\x00") {
			t.Fatalf("reply to %q", m.ReplyTo)
		}
		if first, _, _ := strings.Cut(notify.Text(m), "\n"); first != m.Heading() {
			t.Fatalf("line 1 is %q", first)
		}
		if _, err := notify.HTML(m, ""); err != nil {
			t.Fatal(err)
		}
	})
}
