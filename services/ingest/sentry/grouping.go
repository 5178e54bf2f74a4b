package sentry

import (
	"encoding/binary"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"
)

// GroupingVersion is that of the rules below. A change of what they yield is a new version, since
// it splits issues.
const GroupingVersion = 1

// What an event is grouped by.
const (
	byFingerprint = "fingerprint"
	byStack       = "stack trace"
	byException   = "exception"
	byMessage     = "message"
	byPlace       = "place"
)

// grouping is what an event has in common with the others of its issue.
type grouping struct {
	basis string
	parts []string
}

// id names the issue; it is never 0.
func (g grouping) id() uint64 {
	h := xxhash.New()
	var size [8]byte
	write := func(s string) {
		// The length keeps "ab","c" and "a","bc" apart. Writing to a hash does not fail.
		binary.LittleEndian.PutUint64(size[:], uint64(len(s)))
		_, _ = h.Write(size[:])
		_, _ = h.WriteString(s)
	}
	write(strconv.Itoa(GroupingVersion))
	write(g.basis)
	for _, p := range g.parts {
		write(p)
	}
	return max(h.Sum64(), 1)
}

// explain is what a person is shown of the grouping.
func (g grouping) explain() map[string]any {
	parts := make([]any, 0, len(g.parts))
	for _, p := range g.parts[:min(len(g.parts), 200)] {
		parts = append(parts, cut(p, 512))
	}
	return map[string]any{"version": GroupingVersion, "basis": g.basis, "parts": parts}
}

// grouping finds what the event is to be grouped by: what the sender says, else where it happened,
// else what happened.
func (v *event) grouping() grouping {
	fingerprint := list(v.tree["fingerprint"])
	if len(fingerprint) == 0 {
		if checksum := text(v.tree["checksum"]); checksum != "" {
			fingerprint = []any{checksum}
		}
	}
	own := v.defaultGrouping()
	if len(fingerprint) == 0 || len(fingerprint) == 1 && variable(text(fingerprint[0])) == "default" {
		return own
	}
	g := grouping{basis: byFingerprint}
	for _, f := range fingerprint {
		s := text(f)
		if variable(s) == "default" {
			g.parts = append(g.parts, own.basis)
			g.parts = append(g.parts, own.parts...)
			continue
		}
		g.parts = append(g.parts, variablePattern.ReplaceAllStringFunc(s, func(name string) string {
			if variable(name) == "default" {
				return strconv.FormatUint(own.id(), 16)
			}
			return v.expand(name)
		}))
	}
	return g
}

func (v *event) defaultGrouping() grouping {
	if parts := v.stackParts(); len(parts) > 0 {
		return grouping{byStack, parts}
	}
	if len(v.exceptions) > 0 {
		return grouping{byException, v.exceptionParts()}
	}
	if message := v.messageTemplate(); message != "" {
		return grouping{byMessage, []string{message}}
	}
	return grouping{byPlace, []string{v.platform, text(v.tree["logger"]), text(v.tree["transaction"]), v.culprit()}}
}

// messageTemplate is the message without its changing parts, best as its author wrote it.
func (v *event) messageTemplate() string {
	entry := object(v.tree["logentry"])
	return parameterise(headLines(orElse(text(entry["message"]), text(entry["formatted"]))))
}

// headLines are the first three lines of a value that say something: what comes after them is
// mostly a listing of what was at hand.
func headLines(s string) string {
	var lines []string
	for line := range strings.SplitSeq(s, "\n") {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
		if len(lines) == 3 {
			break
		}
	}
	return strings.Join(lines, "\n")
}

func (v *event) exceptionParts() []string {
	var parts []string
	for _, x := range v.exceptions {
		if !x.synthetic {
			parts = append(parts, x.typ)
		}
		parts = append(parts, parameterise(headLines(x.value)))
	}
	return parts
}

// stackParts are the types and frames of all exceptions, or of the one stack there is; nil where
// no frame says anything.
func (v *event) stackParts() []string {
	stacks := [][]frame{v.stack}
	for _, x := range v.exceptions {
		stacks = append(stacks, x.frames)
	}
	own := slices.ContainsFunc(stacks, func(s []frame) bool {
		return slices.ContainsFunc(s, func(f frame) bool { return f.inApp })
	})
	var (
		components [][]string
		usable     int
		strong     bool // a function is known somewhere
		group      bool
	)
	for _, x := range v.exceptions {
		frames, named := frameParts(x.frames, own)
		usable += len(frames)
		strong = strong || named
		group = group || x.group
		var c []string
		if !x.synthetic && x.typ != "" {
			c = append(c, typeName(x.typ))
		}
		if vagueTypes[x.typ] {
			c = append(c, parameterise(headLines(x.value)))
		}
		components = append(components, append(c, frames...))
	}
	if len(v.stack) > 0 {
		frames, named := frameParts(v.stack, own)
		usable += len(frames)
		strong = strong || named
		components = append(components, frames)
		if len(v.exceptions) == 0 && object(v.tree["logentry"])["params"] != nil {
			// A template is the same each time and says more than the place it was logged at.
			components = append(components, []string{v.messageTemplate()})
		}
	}
	if usable == 0 {
		return nil
	}
	if !strong {
		// Files alone, as with minified code, would put too much together.
		components = append(components, v.exceptionParts(), []string{v.messageTemplate()})
	}
	if group {
		// Exceptions that ran side by side come in any order and number.
		slices.SortFunc(components, slices.Compare)
		components = slices.CompactFunc(components, slices.Equal)
	}
	return slices.Concat(components...)
}

// vagueTypes are Go's types for an error that is nothing but its text. The stack beside it is that
// of the reporting, often one place for all errors, so the text has to count.
var vagueTypes = map[string]bool{
	"*errors.errorString": true, "*fmt.wrapError": true, "*fmt.wrapErrors": true, "*errors.joinError": true,
}

// frameParts names each frame that counts. named reports whether any has a function.
func frameParts(frames []frame, own bool) (parts []string, named bool) {
	for _, f := range frames {
		if own && !f.inApp {
			continue
		}
		place, what := f.place(), f.what()
		if place == "" && what == "" {
			continue
		}
		named = named || what != ""
		switch {
		case what == "":
			parts = append(parts, "in "+place)
		case place == "":
			parts = append(parts, what)
		default:
			parts = append(parts, what+" in "+place)
		}
	}
	return withoutRecursion(parts), named
}

// withoutRecursion collapses a part that repeats at once, and cycles of up to eight parts.
func withoutRecursion(parts []string) []string {
	out := parts[:0]
	for _, p := range parts {
		out = append(out, p)
		for n := 1; n <= 8 && 2*n <= len(out); n++ {
			if slices.Equal(out[len(out)-n:], out[len(out)-2*n:len(out)-n]) {
				out = out[:len(out)-n]
				break
			}
		}
	}
	return out
}

var (
	hashPattern    = regexp.MustCompile(`[._-]([0-9a-f]{6,64})(\.|-|_|$)`)
	bundlePattern  = regexp.MustCompile(`[.-]([A-Za-z0-9_-]{8})(\.(?:m?js|css))$`)
	versionPattern = regexp.MustCompile(`[-_.@]?\bv?\d+\.\d+(?:\.\d+)*(?:-(?:alpha|beta|rc)[.\d]*)?`)
	chunkPattern   = regexp.MustCompile(`^\d+(\.[a-z])`)
	generated      = regexp.MustCompile(`\$\$.*|\$\d+|@[0-9a-f]{4,}|/0x[0-9a-f]+|\bat 0x[0-9a-f]+`)
	proxyPattern   = regexp.MustCompile(`(\$Proxy|Lambda\$)\d*.*`)
	scriptPattern  = regexp.MustCompile(`\.(?:m?jsx?|cjs|m?tsx?|vue|svelte|bundle|jsbundle|hbc|coffee|wasm)$`)
)

// script reports whether a frame is of JavaScript.
func (f frame) script() bool { return f.platform == "javascript" || f.platform == "node" }

// place is the module or the file of a frame without what changes from build to build.
func (f frame) place() string {
	script := f.script()
	if f.module != "" && !script {
		m := proxyPattern.ReplaceAllString(f.module, "$1")
		return strings.ToLower(generated.ReplaceAllString(m, ""))
	}
	file := f.file
	web := false
	if i := strings.Index(file, "://"); i >= 0 {
		web = true
		file = file[i+3:]
		// A page's own address is not a file.
		if _, rest, ok := strings.Cut(file, "/"); ok {
			file = rest
		} else {
			file = ""
		}
	}
	if strings.HasPrefix(f.file, "blob:") || strings.HasPrefix(f.file, "data:") {
		file, web = "", true
	}
	if i := strings.IndexAny(file, "?#"); i >= 0 && script {
		file = file[:i]
	}
	file = strings.TrimRight(strings.ReplaceAll(file, "\\", "/"), "/")
	file = file[strings.LastIndexByte(file, '/')+1:]
	if strings.HasPrefix(file, "<") || strings.HasPrefix(file, "[") || file == "native" || file == "anonymous" {
		file = ""
	}
	if web && script && !scriptPattern.MatchString(file) {
		file = "" // an inline script: the page's path says nothing of the code
	}
	if file == "" {
		if f.module != "" {
			return strings.ToLower(versionPattern.ReplaceAllString(f.module, ""))
		}
		return strings.ToLower(f.pkg[strings.LastIndexAny(f.pkg, `/\`)+1:])
	}
	file = versionPattern.ReplaceAllString(file, "")
	file = hashPattern.ReplaceAllStringFunc(file, func(m string) string {
		if !hasDigit(m) {
			return m
		}
		if end := m[len(m)-1]; end == '.' || end == '-' || end == '_' {
			return string(end)
		}
		return ""
	})
	if script {
		file = bundlePattern.ReplaceAllStringFunc(file, func(m string) string {
			hash := m[1:9]
			if hasDigit(hash) || hash != strings.ToLower(hash) && hash[1:] != strings.ToLower(hash[1:]) {
				return m[9:]
			}
			return m
		})
		file = chunkPattern.ReplaceAllString(file, "$1")
		file = strings.TrimPrefix(file, ".")
	}
	return strings.ToLower(file)
}

// rewrites make the names of functions the same from build to build, in all languages: none of the
// patterns is a likely part of a name in another one.
var rewrites = []struct {
	pattern *regexp.Regexp
	with    string
}{
	{regexp.MustCompile(`^(?:async |new |static |get |set )+`), ""},
	{regexp.MustCompile(` \[as [^\]]*\]$`), ""},                                                         // V8: foo [as bar]
	{regexp.MustCompile(`(\w)[/<]+$`), "$1"},                                                            // Firefox: foo/<
	{regexp.MustCompile(`^(?:block|rescue|ensure)(?: \(\d+ levels\))? in `), ""},                        // Ruby
	{regexp.MustCompile(`^lambda\$(.+?)\$\d+$`), "$1"},                                                  // Java
	{regexp.MustCompile(`^\$anonfun\$(\w+)\$\d+$`), "$1"},                                               // Scala
	{regexp.MustCompile(`^(\w+)\$lambda\$[\d$]+$`), "$1"},                                               // Kotlin
	{regexp.MustCompile(`<(\w+)>[a-z]__\w*(?:\.MoveNext)?`), "$1"},                                      // C#
	{regexp.MustCompile(`\.(?:func|gowrap|deferwrap)\d+(?:\.\d+)*`), ""},                                // Go
	{regexp.MustCompile(`\[(?:\.\.\.|go\.shape\.[^\]]*)\]`), ""},                                        // Go generics
	{regexp.MustCompile(`::h[0-9a-f]{16}$`), ""},                                                        // Rust
	{regexp.MustCompile(`(?:::)?\{(?:\{closure\}\}|closure[^}]*\}|async_fn_env#\d+\}|impl#\d+\})`), ""}, // Rust, PHP
	{regexp.MustCompile(`class@anonymous.*?(::|$)`), "class@anonymous$1"},                               // PHP
	{regexp.MustCompile(`^(?:partial apply for )?(?:closure #\d+ (?:\([^)]*\) )?in )+`), ""},            // Swift
	{regexp.MustCompile(`^__\d+(.+)_block_invoke(?:_\d+)?$`), "$1"},                                     // Objective-C
	{regexp.MustCompile(`^anonymous fn/\d+ in `), ""},                                                   // Elixir
	{regexp.MustCompile(`\.<anonymous closure>`), ""},                                                   // Dart
	{regexp.MustCompile(`0x[0-9a-fA-F]+`), ""},
	{regexp.MustCompile(`\$\d+`), ""},
}

// what is the function of a frame, or where it has no name, the line of source that was run.
func (f frame) what() string {
	name := strings.TrimSpace(f.function)
	if !plain(name) {
		for _, r := range rewrites {
			name = r.pattern.ReplaceAllString(name, r.with)
		}
	}
	switch {
	case f.script():
		// The receiver differs for one function: Object.foo, Foo.foo, module.exports.foo.
		name = name[strings.LastIndexByte(name, '.')+1:]
		if f.minified(name) {
			name = ""
		}
	case f.platform == "native", f.platform == "c", f.platform == "cocoa", f.platform == "rust":
		if i := strings.IndexByte(name, '('); i > 0 && strings.HasSuffix(name, ")") {
			name = name[:i] // without the types of parameters
		}
	}
	switch name {
	case "", "?", "??", "<anonymous>", "anonymous", "{anonymous}", "<unknown>", "<lambda>", "Anonymous function", "eval", "<redacted>":
		return strings.Join(strings.Fields(cutSource(f.context)), " ")
	}
	return name
}

// plain reports whether a name is a word, which nothing is to be taken from.
func plain(name string) bool {
	for i := range len(name) {
		if !wordChar(name[i]) {
			return false
		}
	}
	return true
}

// minified reports whether a name was made by a minifier, which makes others for the next build.
func (f frame) minified(name string) bool {
	return len(name) <= 2 && f.context == "" && strings.Contains(f.file, "://")
}

// cutSource is a line of source code; one of a bundle says nothing.
func cutSource(line string) string {
	if len(line) > 200 {
		return ""
	}
	return line
}

// typeName is an exception's type without what changes from build to build.
func typeName(s string) string {
	return generated.ReplaceAllString(s, "")
}

var variablePattern = regexp.MustCompile(`\{\{\s*@?[\w.-]+\s*\}\}`)

// variable is the name of the variable that s consists of, or "".
func variable(s string) string {
	s = strings.TrimSpace(s)
	if !strings.HasPrefix(s, "{{") || !strings.HasSuffix(s, "}}") {
		return ""
	}
	return strings.TrimSpace(s[2:max(2, len(s)-2)])
}

// expand is what a variable of a fingerprint stands for; an unknown one stands for itself.
func (v *event) expand(s string) string {
	name := strings.TrimPrefix(variable(s), "@")
	top, _ := v.top()
	switch name {
	case "type", "error.type":
		return v.main().typ
	case "value", "error.value":
		return orElse(v.main().value, text(v.tree["message"]))
	case "message":
		return orElse(text(v.tree["message"]), v.main().value)
	case "function", "stack.function":
		return top.function
	case "module", "stack.module":
		return top.module
	case "package", "stack.package":
		return top.pkg
	case "transaction", "level", "logger", "environment", "release", "platform":
		return text(v.tree[name])
	}
	if tag, ok := strings.CutPrefix(name, "tags."); ok {
		return text(object(v.tree["tags"])[tag])
	}
	return s
}
