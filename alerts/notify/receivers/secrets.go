package receivers

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/midwatch/midwatch/alerts/notify"
)

// Masked is the receiver as people may see it: each secret is "…" and its last four characters, an address keeps its
// host. What it shows can be sent back: MergeSecrets knows it again.
func (r Receiver) Masked() Receiver {
	kind, err := kindOf(r)
	if err != nil {
		r.Settings = json.RawMessage(`{}`)
		return r
	}
	fields, err := fieldsOf(r.Settings)
	if err != nil {
		r.Settings = json.RawMessage(`{}`)
		return r
	}
	for _, name := range kind.secrets {
		if raw, ok := fields[name]; ok {
			fields[name] = maskedJSON(raw)
		}
	}
	r.Settings = encode(fields)
	return r
}

// MergeSecrets returns the receiver with the secrets of its stored version where it leaves them out, or repeats what
// Masked showed of them. A secret that goes to an address is not kept when the address changes.
func (r Receiver) MergeSecrets(old Receiver) (Receiver, error) {
	kind, err := kindOf(r)
	if err != nil || old.Kind != r.Kind {
		return r, err
	}
	fields, err := fieldsOf(r.Settings)
	if err != nil {
		return r, err
	}
	stored, err := fieldsOf(old.Settings)
	if err != nil {
		return r, err
	}
	for _, name := range kind.secrets {
		before, had := stored[name]
		now, has := fields[name]
		if !had {
			continue
		}
		whole := !has || bytes.Equal(now, maskedJSON(before)) || bytes.Equal(now, []byte(`""`)) || bytes.Equal(now, []byte("null"))
		list, merged := mergeList(now, before)
		if !whole && !merged {
			continue // a new one
		}
		for _, place := range kind.bound[name] {
			if !same(fields[place], stored[place]) {
				return r, fmt.Errorf("settings: %s has to be entered again when %s changes", name, place)
			}
		}
		// Slack has one of two secrets: who enters the other means to drop this one.
		if !has && replaced(kind, fields) {
			continue
		}
		fields[name] = before
		if !whole {
			fields[name] = list
		}
	}
	r.Settings = encode(fields)
	return r, nil
}

// replaced reports that a kind with secrets instead of one another has got another one.
func replaced(kind Kind, fields map[string]json.RawMessage) bool {
	return kind.Kind == Slack && slices.ContainsFunc(kind.secrets, func(name string) bool {
		raw, ok := fields[name]
		return ok && !bytes.Equal(raw, []byte(`""`)) && !bytes.Equal(raw, []byte("null"))
	})
}

// mergeList is a list in which what Masked showed stands for what it was. It reports whether there was any such.
func mergeList(now, before json.RawMessage) (json.RawMessage, bool) {
	var entered, stored []string
	if json.Unmarshal(now, &entered) != nil || json.Unmarshal(before, &stored) != nil {
		return nil, false
	}
	merged := false
	for i, s := range entered {
		for _, secret := range stored {
			if s == mask(secret) {
				entered[i], merged = secret, true
			}
		}
	}
	return encode(entered), merged
}

func same(a, b json.RawMessage) bool {
	text := func(raw json.RawMessage) string {
		var s string
		if raw == nil || json.Unmarshal(raw, &s) != nil {
			return string(raw)
		}
		return s
	}
	return text(a) == text(b)
}

func fieldsOf(raw json.RawMessage) (map[string]json.RawMessage, error) {
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(raw, &fields); err != nil {
		return nil, fmt.Errorf("settings: they are not an object: %w", err)
	}
	if fields == nil {
		fields = map[string]json.RawMessage{}
	}
	for name := range fields {
		// the decoder takes "URL" for "url": two spellings of one setting must not mean different things to it and to us.
		if strings.Trim(name, "abcdefghijklmnopqrstuvwxyz_") != "" {
			return nil, fmt.Errorf("settings: %q is not the name of a setting", notify.Clip(name, 50))
		}
	}
	return fields, nil
}

func secretsOf(kind Kind, raw json.RawMessage) []string {
	fields, err := fieldsOf(raw)
	if err != nil {
		return nil
	}
	var out []string
	for _, name := range kind.secrets {
		var one string
		var list []string
		if json.Unmarshal(fields[name], &one) == nil {
			out = append(out, one)
		} else if json.Unmarshal(fields[name], &list) == nil {
			out = append(out, list...)
		}
	}
	return out
}

func maskedJSON(raw json.RawMessage) json.RawMessage {
	var one string
	var list []string
	switch {
	case json.Unmarshal(raw, &one) == nil:
		return encode(mask(one))
	case json.Unmarshal(raw, &list) == nil:
		for i := range list {
			list[i] = mask(list[i])
		}
		return encode(list)
	}
	return json.RawMessage(`"…"`)
}

// mask shows the last four characters of a secret, none of a short one.
func mask(secret string) string {
	if secret == "" {
		return ""
	}
	shown := ""
	if n := utf8.RuneCountInString(secret); n >= 16 {
		shown = string([]rune(secret)[n-4:])
	}
	if u, err := url.Parse(secret); err == nil && u.Scheme != "" && u.Host != "" {
		return u.Scheme + "://" + u.Host + "/…" + shown
	}
	return "…" + shown
}

// encode writes what was made of JSON and cannot fail.
func encode(v any) json.RawMessage {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return json.RawMessage(`{}`)
	}
	return bytes.TrimSpace(b.Bytes())
}
