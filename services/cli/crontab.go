package cli

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/midwatch/midwatch/alerts/schedule"
)

// cronLineBytes is how long a command Vixie's cron takes; a longer one is a line that it refuses.
const cronLineBytes = 998

// cronEntry is a line of a crontab that runs a command.
type cronEntry struct {
	line     int // from 1
	text     string
	schedule string
	timezone string // of CRON_TZ; empty is the machine's
	user     string // of a system crontab
	shell    string
	// command is as cron gives it to the shell, stdin what cron feeds to it.
	command, stdin string

	head     string // the text before the command
	raw      string // the command as it stands in the line, with its escapes
	rawStdin string // from the first % on
}

// cronFault is a line that is not watched, and why.
type cronFault struct {
	line         int
	text, reason string
}

var (
	assignment = regexp.MustCompile(`^(?:"([^"]*)"|'([^']*)'|([A-Za-z_][A-Za-z0-9_]*))[ \t]*=[ \t]*(.*)$`)
	tagLine    = regexp.MustCompile(`^(@[A-Za-z_]+)[ \t]+(.*)$`)
	// A dash in front asks cron not to log the job.
	fieldsLine = regexp.MustCompile(`^-?((?:[^ \t]+[ \t]+){4}[^ \t]+)[ \t]+(.*)$`)
	userField  = regexp.MustCompile(`^([^ \t]+)[ \t]+(.*)$`)
)

// parseCrontab reads a crontab. A system one names a user in front of each command.
func parseCrontab(text string, system bool) (entries []cronEntry, faults []cronFault) {
	shell, zone := "/bin/sh", ""
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimRight(line, "\r\n")
		trimmed := strings.TrimLeft(line, " \t")
		if trimmed == "" || trimmed[0] == '#' {
			continue
		}
		if m := assignment.FindStringSubmatch(trimmed); m != nil {
			value := unquote(strings.TrimRight(m[4], " \t"))
			switch m[1] + m[2] + m[3] {
			case "SHELL":
				shell = value
			case "CRON_TZ":
				zone = value
			}
			continue
		}
		e := cronEntry{line: number, text: line, timezone: zone, shell: shell}
		if err := e.read(trimmed, system); err != nil {
			faults = append(faults, cronFault{number, line, err.Error()})
			continue
		}
		e.head = strings.TrimSuffix(line, e.raw+e.rawStdin)
		entries = append(entries, e)
	}
	return entries, faults
}

func unquote(s string) string {
	if len(s) >= 2 && (s[0] == '"' || s[0] == '\'') && s[len(s)-1] == s[0] {
		return s[1 : len(s)-1]
	}
	return s
}

// read takes a line apart. Its errors are fit for a user.
func (e *cronEntry) read(line string, system bool) error {
	m := tagLine.FindStringSubmatch(line)
	if m == nil {
		m = fieldsLine.FindStringSubmatch(line)
	}
	if m == nil {
		return errors.New("neither a job, a variable nor a comment")
	}
	e.schedule = strings.Join(strings.Fields(m[1]), " ")
	rest := m[2]
	if strings.EqualFold(e.schedule, "@reboot") {
		return errors.New("@reboot is no schedule: nothing is due")
	}
	if _, err := schedule.Parse(schedule.Crontab, e.schedule, e.timezone); err != nil {
		return err
	}
	if system {
		m := userField.FindStringSubmatch(rest)
		if m == nil {
			return errors.New("there is no command behind the user")
		}
		e.user, rest = m[1], m[2]
	}
	e.raw, e.rawStdin = rest, ""
	e.command, e.stdin = splitPercent(rest)
	if at := percentAt(rest); at >= 0 {
		e.raw, e.rawStdin = rest[:at], rest[at:]
	}
	if strings.TrimSpace(e.command) == "" {
		return errors.New("there is no command")
	}
	return nil
}

// percentAt finds the first % that no backslash escapes: what follows is the command's input.
func percentAt(s string) int {
	escaped := false
	for i := range len(s) {
		switch {
		case escaped:
			escaped = false
		case s[i] == '\\':
			escaped = true
		case s[i] == '%':
			return i
		}
	}
	return -1
}

// splitPercent does to a command what cron does: \% is a %, the first other one begins the input,
// and the later ones are its newlines.
func splitPercent(s string) (command, stdin string) {
	command = s
	if at := percentAt(s); at >= 0 {
		command = s[:at]
		input := strings.ReplaceAll(s[at+1:], `\%`, "\x00")
		stdin = strings.ReplaceAll(strings.ReplaceAll(input, "%", "\n"), "\x00", "%") + "\n"
	}
	return strings.ReplaceAll(command, `\%`, "%"), stdin
}

// wrapped is the line with its command run by `midwatch cron`.
func (e *cronEntry) wrapped(binary, slug string) (string, error) {
	command := e.raw
	if needsShell(command) {
		command = quote(e.shell) + " -c " + quote(command)
	}
	zone := ""
	if e.timezone != "" {
		zone = " --timezone " + quote(e.timezone)
	}
	call := fmt.Sprintf("%s cron %s --schedule '%s'%s -- %s", quote(binary), slug, e.schedule, zone, command)
	if len(call)+len(e.rawStdin) > cronLineBytes {
		return "", fmt.Errorf("the changed command has %d characters, cron takes %d: move it to a script", len(call)+len(e.rawStdin), cronLineBytes)
	}
	return e.head + call + e.rawStdin, nil
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9_@+=:,./-]+$`)

// quote makes a word of the shell.
func quote(s string) string {
	if plainWord.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// shellWords are those that only a shell knows, so that what begins by one cannot be run without.
var shellWords = []string{
	".", ":", "[", "[[", "{", "!", "alias", "case", "cd", "command", "eval", "exec", "exit", "export", "for", "if",
	"read", "set", "shift", "source", "test", "time", "trap", "type", "ulimit", "umask", "unset", "until", "wait", "while",
}

// needsShell reports whether a command is more than one program with its arguments. Variables and
// patterns among them are for the shell of cron, which reads the changed line as well.
func needsShell(command string) bool {
	if strings.ContainsAny(command, ";&|()<>`#\n") || strings.HasPrefix(command, "$") {
		return true
	}
	first := strings.Fields(command)[0]
	return strings.Contains(first, "=") || slices.Contains(shellWords, first)
}

// These stand in front of what a job is really called by.
var (
	wrappers     = []string{"sudo", "nice", "ionice", "env", "time", "timeout", "flock", "chronic", "nohup", "exec", "command", "setsid", "chrt"}
	interpreters = []string{"sh", "bash", "dash", "zsh", "python", "python2", "python3", "perl", "ruby", "php", "node", "java", "run-parts", "systemctl", "start", "docker"}
	guards       = []string{"cd", "test", "[", "[[", "command", "export", "set", "umask", "sleep", ".", "source", ":", "echo", "if", "true"}
	shellParts   = regexp.MustCompile(`&&|\|\||[;|&(){}]`)
	notInSlug    = regexp.MustCompile(`[^a-z0-9_]+`)
	numeric      = regexp.MustCompile(`^[0-9.]+[smhd]?$`)
	extension    = regexp.MustCompile(`\.(?:sh|bash|py|pl|rb|php|js|mjs|jar|bin)$`)
)

// slugOf proposes a name by a command; empty where it finds none.
func slugOf(command string) string {
	for _, part := range shellParts.Split(command, -1) {
		if name := nameOf(strings.Fields(part)); name != "" {
			return name
		}
	}
	return ""
}

func nameOf(words []string) string {
	for i, word := range words {
		word = strings.Trim(word, `'"`)
		name := path.Base(word)
		switch {
		case word == "", word[0] == '-', word[0] == '$', word[0] == '>', word[0] == '<', strings.Contains(word, "="), numeric.MatchString(word):
			continue
		case i == 0 && slices.Contains(guards, name):
			return ""
		case slices.Contains(wrappers, name), slices.Contains(interpreters, name) && i+1 < len(words):
			continue
		}
		if slug := slugify(extension.ReplaceAllString(name, "")); slug != "" {
			return slug
		}
	}
	return ""
}

// maxBaseSlug leaves room for a number behind it.
const maxBaseSlug = 45

func slugify(s string) string {
	s = strings.Trim(notInSlug.ReplaceAllString(strings.ToLower(s), "-"), "-_")
	return strings.TrimRight(s[:min(len(s), maxBaseSlug)], "-_")
}

// slugs gives each job a name that no other has.
type slugs map[string]bool

func (s slugs) take(names ...string) string {
	base := "job"
	for _, n := range names {
		if n != "" {
			base = n
			break
		}
	}
	slug := base
	for n := 2; s[slug]; n++ {
		slug = fmt.Sprintf("%s-%d", base, n)
	}
	s[slug] = true
	return slug
}

var wrappedAlready = regexp.MustCompile(`(?:^|[ \t/'])midwatch'?[ \t]+cron[ \t]+([a-z0-9_-]+)`)

// watchedBy returns the slug of a command that runs under `midwatch cron` already.
func watchedBy(command string) string {
	m := wrappedAlready.FindStringSubmatch(command)
	if m == nil {
		return ""
	}
	return m[1]
}
