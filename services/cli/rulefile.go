package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/midwatch/midwatch/alerts/incident"
	"github.com/midwatch/midwatch/alerts/notify/receivers"
	"github.com/midwatch/midwatch/alerts/oncall"
	"github.com/midwatch/midwatch/alerts/rule"
)

const (
	maxRuleFile    = 4 << 20
	maxRuleFiles   = 1000
	maxRuleObjects = 5000
	maxRuleNodes   = 500_000 // of all that one file expands to
	maxRuleDepth   = 50
)

// object is one thing that files, or the server, say.
type object struct {
	kind, id string
	body     []byte // JSON as the server keeps it
	version  int64  // of the server
	by       string // who changed it last, of the server

	file  string
	line  int
	lines map[string]int // of each field's path
}

// key tells objects apart.
func (o object) key() string { return o.kind + "/" + o.id }

// String names an object for a person.
func (o object) String() string {
	if o.kind == incident.DocRoutes {
		return "routes"
	}
	return o.kind + " " + o.id
}

// at says where a field of an object stands: the nearest that has a line.
func (o object) at(field string) string {
	if o.file == "" {
		return o.String()
	}
	for path := field; path != ""; path = path[:max(strings.LastIndexAny(path, ".["), 0)] {
		if line, ok := o.lines[path]; ok {
			return fmt.Sprintf("%s:%d", o.file, line)
		}
	}
	return fmt.Sprintf("%s:%d", o.file, o.line)
}

// wrong says what is wrong with a field of an object.
func (o object) wrong(field, format string, args ...any) error {
	text := fmt.Sprintf(format, args...)
	if field != "" {
		text = field + ": " + text
	}
	return fmt.Errorf("%s: %s: %s", o.at(field), o, text)
}

// form is how a kind of objects is read and judged.
type form struct {
	plural string // in the API's paths
	decode func([]byte) (any, error)
}

func formOf[T interface{ Validate() error }](plural string) form {
	return form{plural, func(data []byte) (any, error) {
		v, err := strictly[T](data)
		if err != nil {
			return nil, err
		}
		return v, v.Validate()
	}}
}

// forms are the kinds that files may hold. Rules are judged together, by rule.Validate; receivers once
// it is known which of their secrets the server has.
var forms = map[string]form{
	incident.DocReceiver: {"receivers", func(data []byte) (any, error) { return strictly[receivers.Receiver](data) }},
	incident.DocPerson:   formOf[oncall.Person]("people"),
	incident.DocSchedule: formOf[oncall.Schedule]("schedules"),
	incident.DocPolicy:   formOf[oncall.Policy]("policies"),
	incident.DocTeam:     formOf[oncall.Team]("teams"),
	incident.DocRoutes:   formOf[oncall.Routes]("routes"),
	incident.DocWindow:   formOf[oncall.Window]("windows"),
	incident.DocRule:     {"rules", func(data []byte) (any, error) { return strictly[rule.Rule](data) }},
}

func strictly[T any](data []byte) (T, error) {
	var v T
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(&v)
	return v, err
}

// readFiles reads the objects of files, of folders with all that lies in them, and of "-".
func readFiles(paths []string, stdin io.Reader) ([]object, error) {
	var all []object
	var errs []error
	take := func(name string, r io.Reader) {
		objects, err := readObjects(name, r)
		all, errs = append(all, objects...), append(errs, err)
	}
	for _, path := range paths {
		if path == "-" {
			take("standard input", stdin)
			continue
		}
		names, err := ruleFiles(path)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			f, err := os.Open(name)
			if err != nil {
				return nil, fmt.Errorf("read rules: %w", err)
			}
			take(name, f)
			f.Close()
		}
	}
	if len(all) > maxRuleObjects {
		return nil, fmt.Errorf("%d objects are too many, %d is the limit", len(all), maxRuleObjects)
	}
	first := map[string]object{}
	for _, o := range all {
		if before, ok := first[o.key()]; ok {
			errs = append(errs, o.wrong("id", "it is in %s as well", before.at("id")))
		}
		first[o.key()] = o
	}
	return all, errors.Join(errs...)
}

// ruleFiles lists a file, or the YAML files below a folder in the order of their names.
func ruleFiles(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read rules: %w", err)
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	var names []string
	err = filepath.WalkDir(path, func(name string, entry os.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && strings.HasPrefix(entry.Name(), ".") && name != path:
			return filepath.SkipDir
		case !entry.IsDir() && slices.Contains([]string{".yaml", ".yml"}, filepath.Ext(name)):
			if names = append(names, name); len(names) > maxRuleFiles {
				return fmt.Errorf("%s holds more than %d files", path, maxRuleFiles)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read rules: %w", err)
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("%s holds no .yaml files", path)
	}
	return names, nil
}

// readObjects reads the YAML documents of one file. Its error names all that is wrong with it.
func readObjects(name string, r io.Reader) ([]object, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxRuleFile+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", name, err)
	case len(data) > maxRuleFile:
		return nil, fmt.Errorf("%s: it is larger than %d bytes", name, maxRuleFile)
	}
	var all []object
	var errs []error
	c := converter{file: name}
	for decoder := yaml.NewDecoder(bytes.NewReader(data)); ; {
		var node yaml.Node
		err := decoder.Decode(&node)
		if errors.Is(err, io.EOF) {
			return all, errors.Join(errs...)
		}
		if err != nil {
			return all, errors.Join(append(errs, fmt.Errorf("%s: %s", name, strings.TrimPrefix(err.Error(), "yaml: ")))...)
		}
		if len(node.Content) == 0 || node.Content[0].ShortTag() == "!!null" {
			continue // nothing between two lines of ---
		}
		o, err := c.object(node.Content[0])
		if errs = append(errs, err); err == nil {
			all = append(all, o)
		}
	}
}

// converter turns nodes into what encoding/json knows, and remembers where each stands.
type converter struct {
	file  string
	nodes int
	lines map[string]int
}

func (c *converter) object(node *yaml.Node) (object, error) {
	o := object{kind: incident.DocRule, file: c.file, line: node.Line, lines: map[string]int{}}
	c.lines = o.lines
	if node.Kind != yaml.MappingNode {
		return o, fmt.Errorf("%s:%d: a rule is fields with values", c.file, node.Line)
	}
	v, err := c.value("", node, 0)
	if err != nil {
		return o, err
	}
	fields := v.(map[string]any)
	if kind, ok := fields["kind"].(string); ok && kind != incident.DocRule && forms[kind].plural != "" {
		o.kind = kind
		delete(fields, "kind")
		if kind == incident.DocReceiver { // it has a kind of its own
			fields["kind"] = fields["type"]
			delete(fields, "type")
			o.lines["kind"] = o.lines["type"]
		}
	}
	o.id, _ = fields["id"].(string)
	if o.kind == incident.DocRoutes {
		o.id = incident.RoutesID
	}
	if o.id == "" {
		return o, fmt.Errorf("%s: it has no id", o.at("id"))
	}
	raw, err := json.Marshal(fields)
	if err != nil {
		return o, o.wrong("", "%s", err)
	}
	typed, err := forms[o.kind].decode(raw)
	if err != nil {
		return o, o.explain(err, raw)
	}
	o.body, err = json.Marshal(typed)
	return o, err
}

var (
	unknownField = regexp.MustCompile(`^json: unknown field "(.*)"$`)
	fieldFirst   = regexp.MustCompile(`^([a-z_]+(?:\[[0-9]+\])*(?:\.[a-z_]+(?:\[[0-9]+\])*)*): (.*)$`)
	indexes      = regexp.MustCompile(`\[[0-9]+\]`)
)

// explain says where in the file an error of decoding or of validation is.
func (o object) explain(err error, raw []byte) error {
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		field := o.find(func(path string) bool {
			return indexes.ReplaceAllString(path, "") == indexes.ReplaceAllString(wrong.Field, "")
		})
		hint := ""
		if wrong.Type.Kind().String() == "string" {
			hint = "; put it in quotes"
		}
		return o.wrong(field, "it cannot be a %s%s", wrong.Value, hint)
	}
	if name := unknownField.FindStringSubmatch(err.Error()); name != nil {
		field := o.find(func(path string) bool { return path == name[1] || strings.HasSuffix(path, "."+name[1]) })
		return o.wrong(field, "there is no such field")
	}
	if field := fieldFirst.FindStringSubmatch(err.Error()); field != nil {
		return o.wrong(field[1], "%s", field[2])
	}
	// A type with a text of its own does not say which field it was.
	var fields map[string]json.RawMessage
	if json.Unmarshal(raw, &fields) == nil {
		for _, name := range slices.Sorted(maps.Keys(fields)) {
			one, _ := json.Marshal(map[string]json.RawMessage{name: fields[name]})
			if _, failed := forms[o.kind].decode(one); failed != nil && failed.Error() == err.Error() {
				return o.wrong(name, "%s", err)
			}
		}
	}
	return o.wrong("", "%s", err)
}

// find returns the path of the first field, by lines, that is meant.
func (o object) find(meant func(string) bool) string {
	best := ""
	for path, line := range o.lines {
		if meant(path) && (best == "" || line < o.lines[best] || line == o.lines[best] && path < best) {
			best = path
		}
	}
	return best
}

// value converts a node and notes the lines of what is below path.
func (c *converter) value(path string, node *yaml.Node, depth int) (any, error) {
	if c.nodes++; c.nodes > maxRuleNodes || depth > maxRuleDepth {
		return nil, fmt.Errorf("%s:%d: there is too much of it", c.file, node.Line)
	}
	if path != "" {
		c.lines[path] = node.Line
	}
	switch node.Kind {
	case yaml.AliasNode:
		return c.value(path, node.Alias, depth+1)
	case yaml.SequenceNode:
		list := make([]any, len(node.Content))
		for i, child := range node.Content {
			v, err := c.value(fmt.Sprintf("%s[%d]", path, i), child, depth+1)
			if err != nil {
				return nil, err
			}
			list[i] = v
		}
		return list, nil
	case yaml.MappingNode:
		return c.mapping(path, node, depth)
	}
	return c.scalar(node)
}

func (c *converter) mapping(path string, node *yaml.Node, depth int) (any, error) {
	fields := make(map[string]any, len(node.Content)/2)
	for i := 0; i+1 < len(node.Content); i += 2 {
		name := node.Content[i]
		if name.Kind != yaml.ScalarNode || name.ShortTag() == "!!merge" {
			return nil, fmt.Errorf("%s:%d: a field needs a name", c.file, name.Line)
		}
		if _, twice := fields[name.Value]; twice {
			return nil, fmt.Errorf("%s:%d: %s is there twice", c.file, name.Line, name.Value)
		}
		below := name.Value
		if path != "" {
			below = path + "." + name.Value
		}
		v, err := c.value(below, node.Content[i+1], depth+1)
		if err != nil {
			return nil, err
		}
		c.lines[below] = name.Line
		fields[name.Value] = v
	}
	return fields, nil
}

// scalar keeps texts, and times, which JSON has as texts, as they are written.
func (c *converter) scalar(node *yaml.Node) (any, error) {
	var err error
	switch node.ShortTag() {
	case "!!null":
		return nil, nil
	case "!!bool":
		var v bool
		if err = node.Decode(&v); err == nil {
			return v, nil
		}
	case "!!int":
		var v int64
		if err = node.Decode(&v); err == nil {
			return v, nil
		}
	case "!!float":
		var v float64
		if err = node.Decode(&v); err == nil {
			if _, err = json.Marshal(v); err == nil {
				return v, nil
			}
		}
	default:
		return node.Value, nil
	}
	return nil, fmt.Errorf("%s:%d: %q cannot be read: %w", c.file, node.Line, node.Value, err)
}

// text is an object as YAML, without what is empty, its fields in the order of its type.
func (o object) text() (string, error) {
	var node yaml.Node
	if err := yaml.Unmarshal(o.body, &node); err != nil { // JSON is YAML
		return "", fmt.Errorf("write %s: %w", o, err)
	}
	if node.Kind == yaml.DocumentNode {
		node = *node.Content[0]
	}
	tidy(&node)
	if o.kind != incident.DocRule {
		content := []*yaml.Node{{Kind: yaml.ScalarNode, Value: "kind"}, {Kind: yaml.ScalarNode, Value: o.kind}}
		for i := 0; i < len(node.Content); i += 2 {
			if node.Content[i].Value == "kind" {
				node.Content[i].Value = "type"
			}
		}
		node.Content = append(content, node.Content...)
	}
	var b bytes.Buffer
	encoder := yaml.NewEncoder(&b)
	encoder.SetIndent(2)
	if err := encoder.Encode(&node); err != nil {
		return "", fmt.Errorf("write %s: %w", o, err)
	}
	return b.String(), nil
}

// tidy gives a node the style of a person and leaves out what is empty.
func tidy(node *yaml.Node) {
	node.Style = 0
	if node.Kind == yaml.ScalarNode && strings.Contains(node.Value, "\n") {
		node.Style = yaml.LiteralStyle
	}
	for _, child := range node.Content {
		tidy(child)
	}
	if node.Kind != yaml.MappingNode {
		return
	}
	kept := node.Content[:0]
	for i := 0; i+1 < len(node.Content); i += 2 {
		if v := node.Content[i+1]; !isEmpty(v) {
			kept = append(kept, node.Content[i], v)
		}
	}
	node.Content = kept
}

func isEmpty(v *yaml.Node) bool {
	if v.Kind != yaml.ScalarNode {
		return len(v.Content) == 0
	}
	switch v.ShortTag() {
	case "!!null":
		return true
	case "!!bool":
		return v.Value == "false"
	case "!!int", "!!float":
		return v.Value == "0"
	}
	return v.Value == ""
}
