package engine

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/template"
)

const (
	defaultMemory = 2_000_000_000
	// minMemory is what the engine needs to start and merge; a smaller limit is raised to it.
	minMemory = 400_000_000
)

// settings are what differs between two engines. XML is the only format that the library reads.
type settings struct {
	Dir               string // absolute
	TCPPort, HTTPPort int
	Password          string
	Memory            int64 // bytes, of the whole engine
	Library           bool  // otherwise a server
}

// PasswordSHA256 is all that the engine learns of the password.
func (s settings) PasswordSHA256() string {
	sum := sha256.Sum256([]byte(s.Password))
	return hex.EncodeToString(sum[:])
}

// Part is a share of the memory in bytes.
func (s settings) Part(of, parts int64) int64 { return s.Memory / parts * of }

//go:embed config.xml.tmpl users.xml.tmpl
var files embed.FS

var templates = template.Must(template.New("").Funcs(template.FuncMap{"xml": escape}).ParseFS(files, "*.tmpl"))

// write puts the configuration into Dir, readable only by its owner, and returns the path of the
// main file.
func (s settings) write() (string, error) {
	for _, name := range []string{"data", "log"} {
		if err := os.MkdirAll(filepath.Join(s.Dir, name), 0o700); err != nil {
			return "", fmt.Errorf("create the engine's folder: %w", err)
		}
	}
	for _, name := range []string{"config.xml", "users.xml"} {
		var text bytes.Buffer
		if err := templates.ExecuteTemplate(&text, name+".tmpl", s); err != nil {
			return "", fmt.Errorf("make the engine's %s: %w", name, err)
		}
		path := filepath.Join(s.Dir, name)
		// A file that exists would keep its mode.
		if err := os.RemoveAll(path); err != nil {
			return "", fmt.Errorf("write the engine's configuration: %w", err)
		}
		if err := os.WriteFile(path, text.Bytes(), 0o600); err != nil {
			return "", fmt.Errorf("write the engine's configuration: %w", err)
		}
	}
	return filepath.Join(s.Dir, "config.xml"), nil
}

func escape(text string) (string, error) {
	var b strings.Builder
	if err := xml.EscapeText(&b, []byte(text)); err != nil {
		return "", err
	}
	return b.String(), nil
}

// memoryLimit is what the engine may use of a machine with so many bytes (0: not known).
func memoryLimit(wanted, machine int64) int64 {
	if wanted <= 0 {
		wanted = defaultMemory
	}
	if machine > 0 {
		wanted = min(wanted, machine/2)
	}
	return max(wanted, minMemory)
}

// machineMemory is the memory of the machine or, if that is less, of the container, in bytes; 0
// when the system does not say.
func machineMemory() int64 {
	var least int64
	consider := func(bytes int64, err error) {
		if err == nil && bytes > 0 && (least == 0 || bytes < least) {
			least = bytes
		}
	}
	for _, name := range []string{
		"/sys/fs/cgroup/memory.max",                   // version 2; "max" is not a number
		"/sys/fs/cgroup/memory/memory.limit_in_bytes", // version 1
	} {
		if text, err := os.ReadFile(name); err == nil {
			consider(strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64))
		}
	}
	if text, err := os.ReadFile("/proc/meminfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "MemTotal:" {
				kilobytes, err := strconv.ParseInt(fields[1], 10, 64)
				consider(kilobytes<<10, err)
			}
		}
	}
	return least
}
