package sentry

import (
	"regexp"
	"strings"
)

// filtered stands where a secret was.
const filtered = "[Filtered]"

// secretParts are found anywhere in the name of a secret, once case and separators are gone.
var secretParts = []string{
	"password", "passwd", "passphrase", "secret", "credential", "authorization",
	"apikey", "accesskey", "privatekey", "signingkey", "encryptionkey",
	"accesstoken", "refreshtoken", "idtoken", "authtoken", "sessiontoken", "sessionid", "sessionkey",
	"csrf", "xsrf", "creditcard", "cardnumber", "setcookie",
}

// secretWords are the last word of the name of a secret.
var secretWords = map[string]bool{
	"auth": true, "token": true, "jwt": true, "pwd": true, "passcode": true, "bearer": true,
	"cookie": true, "cookies": true, "cvv": true, "cvc": true, "ssn": true, "otp": true,
}

// secretName reports whether what goes by this name is likely to be a secret.
func secretName(name string) bool {
	if len(name) < 3 || len(name) > 128 || name == "PWD" || name == "OLDPWD" { // the working directory
		return false
	}
	var buf [128]byte
	flat := buf[:0]
	last := 0 // where the last word begins in flat
	lower := false
	for i := range len(name) {
		c := name[i]
		switch {
		case 'A' <= c && c <= 'Z':
			if lower {
				last = len(flat)
			}
			lower = false
			flat = append(flat, c|0x20)
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c >= 0x80:
			lower = true
			flat = append(flat, c)
		default:
			last = len(flat)
			lower = false
		}
	}
	if secretWords[string(flat[last:])] {
		return true
	}
	whole := string(flat)
	for _, part := range secretParts {
		if strings.Contains(whole, part) {
			return true
		}
	}
	return false
}

var (
	userInfoPattern = regexp.MustCompile(`([a-zA-Z][a-zA-Z0-9+.-]*://)[^\s/@'"<>]*:[^\s/@'"<>]+@`)
	queryPattern    = regexp.MustCompile(`[?&]([A-Za-z0-9_.\[\]%-]+)=([^&#\s"'<>]+)`)
	bearerPattern   = regexp.MustCompile(`(?i)\b(bearer|basic)\s+([A-Za-z0-9._~+/-]{16,}=*)`)
	jwtPattern      = regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*`)
	pairPattern     = regexp.MustCompile(`(?i)(\b[a-z0-9_.-]*(?:password|passwd|pwd|passphrase|secret|api[_-]?key|access[_-]?token|auth[_-]?token)['"]?(?:=|\s*:\s*))(\[Filtered\]|"[^"\n]*"|'[^'\n]*'|[^\s,;&)}\]'"]+)`)
	tokenPattern    = regexp.MustCompile(`(?i)(\btoken=)(\[Filtered\]|"[^"\n]*"|'[^'\n]*'|[^\s,;&)}\]'"]+)`)
)

// scrub removes what looks like a secret from free text. In a line of source code, where a name
// followed by = is mostly an assignment, only secrets with a shape of their own are looked for.
func scrub(s string, source bool) string {
	if len(s) < 8 {
		return s
	}
	if strings.Contains(s, "://") {
		s = userInfoPattern.ReplaceAllString(s, "${1}"+filtered+"@")
	}
	if strings.Contains(s, "PRIVATE KEY-----") {
		s = scrubPEM(s)
	}
	if strings.Contains(s, "eyJ") {
		s = jwtPattern.ReplaceAllString(s, filtered)
	}
	if containsFold(s, "bearer ") || containsFold(s, "basic ") {
		s = bearerPattern.ReplaceAllStringFunc(s, func(match string) string {
			scheme, rest, _ := strings.Cut(match, " ")
			if !strings.ContainsAny(rest, "0123456789=") {
				return match // "basic authentication…"
			}
			return scheme + " " + filtered
		})
	}
	if !source {
		if strings.IndexByte(s, '=') >= 0 && strings.ContainsAny(s, "?&") {
			s = queryPattern.ReplaceAllStringFunc(s, func(match string) string {
				name, _, _ := strings.Cut(match, "=")
				if !secretName(name[1:]) {
					return match
				}
				return name + "=" + filtered
			})
		}
		if strings.ContainsAny(s, "=:") && mayNameSecret(s) {
			s = pairPattern.ReplaceAllString(s, "${1}"+filtered)
			s = tokenPattern.ReplaceAllString(s, "${1}"+filtered)
		}
	}
	return scrubCards(s)
}

func mayNameSecret(s string) bool {
	for _, part := range []string{"pass", "pwd", "secret", "key", "token"} {
		if containsFold(s, part) {
			return true
		}
	}
	return false
}

// containsFold reports whether s contains part, which is lower-case ASCII, in any case.
func containsFold(s, part string) bool {
	for i := 0; i+len(part) <= len(s); i++ {
		if s[i]|0x20 == part[0]|0x20 && strings.EqualFold(s[i:i+len(part)], part) {
			return true
		}
	}
	return false
}

func scrubPEM(s string) string {
	const begin, end = "-----BEGIN ", "-----END "
	from := strings.Index(s, begin)
	if from < 0 {
		return s
	}
	to := strings.LastIndex(s, end)
	if to < from {
		return s[:from] + filtered
	}
	rest := s[to+len(end):]
	if _, after, ok := strings.Cut(rest, "-----"); ok {
		return s[:from] + filtered + after
	}
	return s[:from] + filtered
}

// scrubCards replaces the numbers of payment cards: 13 to 19 digits, perhaps in groups, of a known
// issuer and with a right check digit.
func scrubCards(s string) string {
	var out strings.Builder
	done := 0
	for i := 0; i < len(s); {
		if !digit(s[i]) {
			i++
			continue
		}
		from := i
		var digits [20]byte
		n := 0
		end := i
		for i < len(s) && n <= 19 {
			if digit(s[i]) {
				digits[n] = s[i] - '0'
				n++
				i++
				end = i
			} else if (s[i] == ' ' || s[i] == '-') && i+1 < len(s) && digit(s[i+1]) {
				i++
			} else {
				break
			}
		}
		if i < from+1 {
			i = from + 1
		}
		if n < 13 || n > 19 || inWord(s, from, end) || !card(digits[:n]) {
			if n > 19 { // the rest of an overlong number is no card either
				for i < len(s) && digit(s[i]) {
					i++
				}
			}
			continue
		}
		out.WriteString(s[done:from])
		out.WriteString(filtered)
		done = end
	}
	if done == 0 {
		return s
	}
	out.WriteString(s[done:])
	return out.String()
}

func digit(c byte) bool { return '0' <= c && c <= '9' }

// inWord reports whether the digits from from to end are a part of a longer word or number.
func inWord(s string, from, end int) bool {
	if from > 0 && (wordByte(s[from-1]) || s[from-1] == '.') {
		return true
	}
	if end >= len(s) {
		return false
	}
	return wordByte(s[end]) || s[end] == '.' && end+1 < len(s) && digit(s[end+1])
}

func wordByte(c byte) bool {
	return digit(c) || 'a' <= c|0x20 && c|0x20 <= 'z' || c == '_' || c == '-' || c >= 0x80
}

func card(d []byte) bool {
	n := len(d)
	two := int(d[0])*10 + int(d[1])
	four := two*100 + int(d[2])*10 + int(d[3])
	known := d[0] == 4 && (n == 13 || n == 16 || n == 19) ||
		n == 16 && (two >= 51 && two <= 55 || four >= 2221 && four <= 2720) ||
		n == 15 && (two == 34 || two == 37) ||
		n == 16 && (four == 6011 || two == 65 || four >= 6440 && four <= 6499 || four >= 3528 && four <= 3589) ||
		n == 14 && (four/10 >= 300 && four/10 <= 305 || two == 36 || two == 38) ||
		n >= 16 && two == 62
	if !known {
		return false
	}
	sum := 0
	for i := range n {
		v := int(d[n-1-i])
		if i%2 == 1 {
			if v *= 2; v > 9 {
				v -= 9
			}
		}
		sum += v
	}
	return sum%10 == 0
}
