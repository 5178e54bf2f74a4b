package record

import (
	"strconv"
	"strings"
)

// OpenTelemetry severity numbers of the plain levels; each has three stronger shades above it.
const (
	Trace uint32 = 1
	Debug uint32 = 5
	Info  uint32 = 9
	Warn  uint32 = 13
	Error uint32 = 17
	Fatal uint32 = 21

	maxSeverity = 24
	// maxLevelBytes is longer than any name of a level.
	maxLevelBytes = 16
)

// Severity reads a level: a name that logging libraries use in any case, with an offset as Go's
// slog writes it ("INFO+2"), or a number as SeverityOf has it.
func Severity(level string) (uint32, bool) {
	level = strings.TrimSpace(level)
	if level == "" || len(level) > maxLevelBytes {
		return 0, false
	}
	if c := level[0]; '0' <= c && c <= '9' {
		n, err := strconv.ParseInt(level, 10, 64)
		if err != nil {
			return 0, false
		}
		return SeverityOf(n)
	}
	if s, ok := named(level); ok {
		return s, true
	}
	if i := strings.LastIndexAny(level, "+-"); i > 0 {
		base, ok := named(level[:i])
		offset, err := strconv.Atoi(level[i:])
		if ok && err == nil && -100 < offset && offset < 100 {
			return uint32(min(max(int(base)+offset, 1), maxSeverity)), true
		}
	}
	return 0, false
}

// SeverityOf reads a numeric level. The conventions overlap: tens are those of pino and bunyan
// (10 trace to 60 fatal), 0 to 7 are syslog's, and what is left up to 24 is OpenTelemetry's.
func SeverityOf(n int64) (uint32, bool) {
	switch {
	case n >= 10 && n <= 60 && n%10 == 0:
		return uint32(n/10-1)*4 + 1, true
	case n >= 0 && n <= 7:
		return [8]uint32{Fatal + 3, Fatal + 1, Fatal, Error, Warn, Info + 1, Info, Debug}[n], true
	case n > 7 && n <= maxSeverity:
		return uint32(n), true
	}
	return 0, false
}

func named(level string) (uint32, bool) {
	var lower [maxLevelBytes]byte
	if len(level) > len(lower) {
		return 0, false
	}
	for i := range len(level) {
		c := level[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		lower[i] = c
	}
	switch string(lower[:len(level)]) {
	case "trace", "trc", "verbose", "silly", "finest", "finer", "t", "v":
		return Trace, true
	case "trace2":
		return Trace + 1, true
	case "trace3":
		return Trace + 2, true
	case "trace4":
		return Trace + 3, true
	case "debug", "dbg", "fine", "d":
		return Debug, true
	case "debug2":
		return Debug + 1, true
	case "debug3":
		return Debug + 2, true
	case "debug4":
		return Debug + 3, true
	case "info", "inf", "information", "informational", "i", "http", "log", "default", "ok":
		return Info, true
	case "info2", "notice", "n":
		return Info + 1, true
	case "info3":
		return Info + 2, true
	case "info4":
		return Info + 3, true
	case "warn", "warning", "wrn", "w":
		return Warn, true
	case "warn2":
		return Warn + 1, true
	case "warn3":
		return Warn + 2, true
	case "warn4":
		return Warn + 3, true
	case "error", "err", "eror", "severe", "e":
		return Error, true
	case "error2":
		return Error + 1, true
	case "error3":
		return Error + 2, true
	case "error4":
		return Error + 3, true
	case "fatal", "ftl", "crit", "critical", "c", "f":
		return Fatal, true
	case "fatal2", "alert", "dpanic", "a":
		return Fatal + 1, true
	case "fatal3", "panic":
		return Fatal + 2, true
	case "fatal4", "emerg", "emergency":
		return Fatal + 3, true
	}
	return 0, false
}
