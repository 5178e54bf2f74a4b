package jsonlog

import (
	"encoding/binary"
	"encoding/hex"
	"math"
	"strconv"
	"strings"
	"time"
)

// Numbers below minSeconds are durations or counts, not times: 100,000,000 seconds end in 1973.
// Above maxSeconds nanoseconds have no room.
const (
	minSeconds = 100_000_000
	maxSeconds = math.MaxInt64 / 1_000_000_000
)

// maxTimeBytes is longer than every text that is a time.
const maxTimeBytes = 48

// parseTime reads a time as nanoseconds since 1970: RFC 3339 and its relatives, or a number of
// seconds, milliseconds, microseconds or nanoseconds by its size, also as text.
func parseTime(s string, k kind) (ns uint64, ok bool) {
	if len(s) < 8 || len(s) > maxTimeBytes {
		return 0, false
	}
	switch k {
	case kindNumber:
		return parseEpoch(s)
	case kindString:
		if at, ok := parseDate(s); ok {
			return at, true
		}
		if c := s[0]; '0' <= c && c <= '9' {
			if at, ok := parseEpoch(s); ok {
				return at, true
			}
		}
		return parseLayouts(s)
	}
	return 0, false
}

// parseEpoch reads a number by its size: below 1e11 are seconds, below 1e14 milliseconds, below
// 1e17 microseconds, and above nanoseconds. Fractions are exact to the nanosecond.
func parseEpoch(s string) (uint64, bool) {
	whole, fraction, _ := strings.Cut(s, ".")
	n, err := strconv.ParseUint(whole, 10, 64)
	if err != nil || strings.ContainsAny(fraction, "eE") {
		f, err := strconv.ParseFloat(s, 64)
		if err != nil || !(f >= minSeconds && f < math.MaxInt64) {
			return 0, false
		}
		// Too coarse for a fraction that anybody wrote.
		n, fraction = uint64(f), ""
	}
	var unit uint64
	switch {
	case n < minSeconds:
		return 0, false
	case n < 1e11:
		unit = 1e9
	case n < 1e14:
		unit = 1e6
	case n < 1e17:
		unit = 1e3
	default:
		unit = 1
	}
	if n > math.MaxInt64/unit {
		return 0, false
	}
	ns := n * unit
	for scale, i := unit/10, 0; scale > 0 && i < len(fraction); i++ {
		c := fraction[i]
		if c < '0' || c > '9' {
			return 0, false
		}
		ns += uint64(c-'0') * scale
		scale /= 10
	}
	return ns, ns <= math.MaxInt64
}

// parseDate reads year, month and day with - or / between them, then T, a blank or _, hours,
// minutes and seconds, maybe a fraction after . or a comma, maybe a zone; without one it is UTC.
func parseDate(s string) (uint64, bool) {
	if len(s) < 19 || s[4] != '-' && s[4] != '/' || s[7] != s[4] || s[13] != ':' || s[16] != ':' {
		return 0, false
	}
	switch s[10] {
	case 'T', 't', ' ', '_':
	default:
		return 0, false
	}
	century, ok1 := two(s, 0)
	year, ok2 := two(s, 2)
	month, ok3 := two(s, 5)
	day, ok4 := two(s, 8)
	hour, ok5 := two(s, 11)
	minute, ok6 := two(s, 14)
	second, ok7 := two(s, 17)
	if !ok1 || !ok2 || !ok3 || !ok4 || !ok5 || !ok6 || !ok7 {
		return 0, false
	}
	year += 100 * century
	if month < 1 || month > 12 || day < 1 || day > 31 || hour > 23 || minute > 59 || second > 60 || year < 1970 || year > 2261 {
		return 0, false
	}
	date := time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC)
	if date.Day() != day {
		return 0, false // the 31st of a month that has none
	}
	seconds := date.Unix() + int64(hour*3600+minute*60+second)
	i := 19
	var nanos int64
	if i < len(s) && (s[i] == '.' || s[i] == ',') {
		first := i + 1
		for i = first; i < len(s) && '0' <= s[i] && s[i] <= '9'; i++ {
			if i-first < 9 {
				nanos = nanos*10 + int64(s[i]-'0')
			}
		}
		if i == first {
			return 0, false
		}
		for n := i - first; n < 9; n++ {
			nanos *= 10
		}
	}
	offset, ok := zone(s[i:])
	if !ok {
		return 0, false
	}
	ns := (seconds-offset)*1e9 + nanos
	return uint64(ns), ns > 0
}

// two reads two digits.
func two(s string, i int) (int, bool) {
	a, b := s[i]-'0', s[i+1]-'0'
	return int(a)*10 + int(b), a <= 9 && b <= 9
}

// zone reads what is behind a time of day: seconds east of UTC.
func zone(s string) (offset int64, ok bool) {
	switch s {
	case "", "Z", "z", " UTC", " Z", " +0000", " +0000 UTC":
		return 0, true
	}
	s = strings.TrimPrefix(s, " ")
	if len(s) < 3 {
		return 0, false
	}
	sign := int64(1)
	switch s[0] {
	case '+':
	case '-':
		sign = -1
	default:
		return 0, false
	}
	hours, ok := two(s, 1)
	if !ok || hours > 18 {
		return 0, false
	}
	minutes := 0
	switch rest := strings.TrimPrefix(s[3:], ":"); len(rest) {
	case 0:
	case 2:
		if minutes, ok = two(rest, 0); !ok || minutes > 59 {
			return 0, false
		}
	default:
		return 0, false
	}
	return sign * int64(hours*3600+minutes*60), true
}

// parseLayouts reads the older forms that servers still write.
func parseLayouts(s string) (uint64, bool) {
	for _, layout := range [...]string{
		"02/Jan/2006:15:04:05 -0700", time.RFC1123Z, time.RFC1123, time.RFC850, time.RubyDate, time.UnixDate, time.ANSIC,
	} {
		if at, err := time.Parse(layout, s); err == nil && at.Year() >= 1970 && at.Year() < 2262 && at.UnixNano() > 0 {
			return uint64(at.UnixNano()), true
		}
	}
	return 0, false
}

// parseID reads an id of size bytes: hexadecimal, also with dashes (UUID), behind a path as Google
// writes it, or with the version that AWS puts before it; or the shorter ones of 64 bits,
// hexadecimal or decimal, which fill the lower half. An id of zeros is none.
func parseID(s string, size int) (id [16]byte, ok bool) {
	if i := strings.LastIndexByte(s, '/'); i >= 0 {
		s = s[i+1:]
	}
	if len(s) == 35 && strings.HasPrefix(s, "1-") {
		s = s[2:]
	}
	if len(s) > 48 || len(s) < 1 {
		return id, false
	}
	if strings.IndexByte(s, '-') >= 0 {
		s = strings.ReplaceAll(s, "-", "")
	}
	if len(s) == 2*size {
		if !unhex(id[:size], s) {
			return [16]byte{}, false
		}
	} else if n, err := strconv.ParseUint(s, 10, 64); err == nil {
		binary.BigEndian.PutUint64(id[size-8:size], n)
	} else if len(s) != 16 || !unhex(id[size-8:size], s) {
		return [16]byte{}, false
	}
	return id, id != [16]byte{}
}

func unhex(to []byte, s string) bool {
	var space [32]byte
	_, err := hex.Decode(to, append(space[:0], s...))
	return err == nil
}
