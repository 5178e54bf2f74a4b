package record

import (
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestSeverity(t *testing.T) {
	t.Parallel()
	for level, want := range map[string]uint32{
		"trace": Trace, "Verbose": Trace, "DEBUG": Debug, "dbg": Debug, "info": Info, "Information": Info, "notice": Info + 1, "WARNING": Warn, " warn ": Warn,
		"err": Error, "E": Error, "critical": Fatal, "crit": Fatal, "FATAL": Fatal, "alert": Fatal + 1, "panic": Fatal + 2, "emerg": Fatal + 3, "ERROR3": Error + 2,
		"INFO+2": Info + 2, "DEBUG-4": Trace, "DEBUG-9": Trace, "ERROR+99": maxSeverity,
		"10": Trace, "20": Debug, "30": Info, "40": Warn, "50": Error, "60": Fatal,
		"0": Fatal + 3, "1": Fatal + 1, "2": Fatal, "3": Error, "4": Warn, "5": Info + 1, "6": Info, "7": Debug,
		"9": Info, "13": Warn, "17": Error, "24": maxSeverity,
	} {
		if got, ok := Severity(level); !ok || got != want {
			t.Errorf("Severity(%q) = %d, %t, want %d", level, got, ok, want)
		}
	}
	for _, level := range []string{"", " ", "loud", "25", "70", "35", "-1", "200", "1e1", "info+x", "+2", "99999999999999999999", "informationalinfo"} {
		if got, ok := Severity(level); ok {
			t.Errorf("Severity(%q) = %d, want none", level, got)
		}
	}
}

func TestClip(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("ä", 100)
	for limit := range 220 {
		got := Clip(long, limit)
		if limit >= len(cutMark) && len(got) > limit || !utf8.ValidString(got) || limit >= 200 && got != long {
			t.Errorf("Clip(…, %d) has %d bytes", limit, len(got))
		}
	}
	if got := Clip("abc", 3); got != "abc" {
		t.Errorf("Clip = %q", got)
	}
	if got := ClipKey(strings.Repeat("ä", 200)); len(got) != MaxKeyBytes {
		t.Errorf("ClipKey has %d bytes", len(got))
	}
}

func TestWindow(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	w := NewWindow(now, 400)
	for at, want := range map[time.Time]string{
		now: "", now.Add(time.Hour): "", now.Add(-30 * 24 * time.Hour): "",
		now.Add(time.Hour + 1):                      "too_far_ahead",
		now.Add(-30*24*time.Hour - 1):               "too_old",
		time.Unix(0, 1):                             "too_old",
		time.Date(2261, 1, 1, 0, 0, 0, 0, time.UTC): "too_far_ahead",
	} {
		err := w.Check(uint64(at.UnixNano()))
		got := ""
		if e, ok := errors.AsType[*TimeError](err); ok {
			got = e.Reason()
		}
		if got != want {
			t.Errorf("Check(%s) = %v, want %q", at, err, want)
		}
	}
	if err := w.Check(1<<64 - 1); err == nil {
		t.Error("the end of time is taken")
	}
}

func TestLists(t *testing.T) {
	t.Parallel()
	var l Lists
	for n := range 400 {
		for i := range n % 140 {
			l.Set("k"+strconv.Itoa(i), strconv.Itoa(n))
		}
		l.Set("k0", "last")
		list := l.Close()
		want := max(n%140, 1)
		if want > MaxAttributes {
			if last := list[len(list)-1]; last.Key != DroppedAttributes || last.Value != strconv.Itoa(want-MaxAttributes) {
				t.Fatalf("list of %d ends in %s=%s", want, last.Key, last.Value)
			}
			list, want = list[:len(list)-1], MaxAttributes
		}
		if len(list) != want || list[0].Value != "last" || want > 1 && list[want-1].Value != strconv.Itoa(n) {
			t.Fatalf("list of %d has %d: %v", want, len(list), list)
		}
	}
	if l.Close() != nil {
		t.Error("an empty list is not nil")
	}
	for i := range 100 {
		l.Set("k"+strconv.Itoa(i), strings.Repeat("x", 1000))
	}
	shared := l.CloseShared()
	if last := shared[len(shared)-1]; len(shared) != MaxSharedBytes/1003+1 || last.Key != DroppedAttributes || last.Value != strconv.Itoa(100-len(shared)+1) {
		t.Errorf("%d shared, ends in %s=%s", len(shared), last.Key, last.Value)
	}
}
