// Package config holds what a process has to know to start: the environment (where things are,
// and secrets) and the static settings that stand in git, one file an environment. What users
// change lives in SQL and is not configuration.
package config

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
	"github.com/caarlos0/env/v11"

	"github.com/midwatch/midwatch/alerts/incident"
)

//go:embed *.toml
var files embed.FS

const (
	maxPrefixBytes = 64
	alphanumeric   = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
)

// Secret is a value that is never printed.
type Secret string

// String hides the value and says only whether there is one.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "[set]"
}

// MarshalText hides the value from every encoder.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Config is everything that a process starts with. It is not read again later.
type Config struct {
	Environment
	Settings
}

// Environment is what comes from environment variables. Each may be given as a file instead, by
// the same name with _FILE behind it.
type Environment struct {
	// Name picks the settings file: development, production or test.
	Name string `env:"APP_ENV" envDefault:"development"`

	DataDir    string `env:"MIDWATCH_DATA_DIR" envDefault:"./data"`
	ListenHost string `env:"MIDWATCH_LISTEN_HOST" envDefault:"127.0.0.1"`
	// InternalHost is where the internal port listens: its routes ask nobody who they are.
	InternalHost string `env:"MIDWATCH_INTERNAL_HOST" envDefault:"127.0.0.1"`
	// TrustedProxies may name the caller in X-Forwarded-For; address ranges such as 10.0.0.0/8.
	TrustedProxies []Network `env:"MIDWATCH_TRUSTED_PROXIES" envDefault:"127.0.0.0/8,::1/128"`
	// PublicURL is how senders and browsers reach the HTTP port; made from the listener when empty.
	PublicURL     string `env:"MIDWATCH_PUBLIC_URL"`
	PublicOTLPURL string `env:"MIDWATCH_PUBLIC_OTLP_URL"`
	PublicGRPCURL string `env:"MIDWATCH_PUBLIC_OTLP_GRPC_URL"`

	HTTPPort     int `env:"MIDWATCH_HTTP_PORT" envDefault:"8080"`
	OTLPHTTPPort int `env:"MIDWATCH_OTLP_HTTP_PORT" envDefault:"4318"`
	OTLPGRPCPort int `env:"MIDWATCH_OTLP_GRPC_PORT" envDefault:"4317"`
	InternalPort int `env:"MIDWATCH_INTERNAL_PORT" envDefault:"9464"`

	// The parts; empty means the embedded one.
	ClickHouseURL Secret `env:"MIDWATCH_CLICKHOUSE_URL"`
	NATSURL       Secret `env:"MIDWATCH_NATS_URL"`
	RedisURL      Secret `env:"MIDWATCH_REDIS_URL"`
	DatabaseURL   Secret `env:"MIDWATCH_DATABASE_URL"`

	// What the names on NATS and Redis begin with, so that several installations can share them.
	// Databases have a place for it in their URLs.
	NATSPrefix  string `env:"MIDWATCH_NATS_PREFIX"`
	RedisPrefix string `env:"MIDWATCH_REDIS_PREFIX"`

	// ProbeAllow are networks that are not public and that probes may ask all the same, such as 10.0.0.0/8.
	ProbeAllow []netip.Prefix `env:"MIDWATCH_PROBE_ALLOW"`
	// ReceiverAllow are networks that are not public and to which messages may be sent all the same.
	ReceiverAllow []netip.Prefix `env:"MIDWATCH_RECEIVER_ALLOW"`

	// SMTPURL is the mail server: smtp://user:password@host:587 or smtps://…:465; empty is a folder of
	// files in the data folder. MailFrom is the sender of mails.
	SMTPURL  Secret `env:"MIDWATCH_SMTP_URL"`
	MailFrom string `env:"MIDWATCH_MAIL_FROM" envDefault:"Midwatch <midwatch@localhost>"`
	// MailReply is where people answer mails about incidents: reply.example.com or midwatch@example.com;
	// empty is nowhere. MailListen is the host:port at which alerting takes these answers by SMTP.
	MailReply  string `env:"MIDWATCH_MAIL_REPLY"`
	MailListen string `env:"MIDWATCH_MAIL_LISTEN"`
	// HeartbeatURL is asked each minute while alerting works: a dead man's switch somewhere else.
	HeartbeatURL Secret `env:"MIDWATCH_HEARTBEAT_URL"`

	// The first start only.
	InitEmail     string `env:"MIDWATCH_INIT_EMAIL"`
	InitPassword  Secret `env:"MIDWATCH_INIT_PASSWORD"`
	InitIngestKey Secret `env:"MIDWATCH_INIT_INGEST_KEY"`
	InitAPIToken  Secret `env:"MIDWATCH_INIT_API_TOKEN"`

	// Own telemetry; silent when empty. The names are those of the SDKs.
	SentryDSN    Secret `env:"SENTRY_DSN"`
	OTLPEndpoint string `env:"OTEL_EXPORTER_OTLP_ENDPOINT"`
}

// Settings are what stands in the TOML files.
type Settings struct {
	Log     LogSettings     `toml:"log"`
	Process ProcessSettings `toml:"process"`
	Ingest  IngestSettings  `toml:"ingest"`
	Bus     BusSettings     `toml:"bus"`
	Writer  WriterSettings  `toml:"writer"`
	Engine  EngineSettings  `toml:"engine"`
	Disk    DiskSettings    `toml:"disk"`
	// Limits is how many records of a signal a project may send a minute; 0 is no limit.
	Limits map[string]int64 `toml:"limits"`
}

// LogSettings say how the process logs to standard output.
type LogSettings struct {
	// Format is text or json.
	Format string `toml:"format"`
	// Level is debug, info, warn or error.
	Level string `toml:"level"`
}

// ProcessSettings bound the process itself.
type ProcessSettings struct {
	// MemoryBytes is the soft limit of the Go runtime: near it garbage is collected more often. It
	// yields to GOMEMLIMIT.
	MemoryBytes int64 `toml:"memory_bytes"`
}

// IngestSettings bound a request.
type IngestSettings struct {
	// MaxBodyBytes holds after decompression.
	MaxBodyBytes int64 `toml:"max_body_bytes"`
}

// BusSettings bound the buffer.
type BusSettings struct {
	// MaxBytes is the limit of each signal's stream. On a smaller disk the embedded server takes
	// less; a real one has to have room for all four and an eighth.
	MaxBytes        int64    `toml:"max_bytes"`
	DuplicateWindow Duration `toml:"duplicate_window"`
	Replicas        int      `toml:"replicas"`
}

// WriterSettings bound a batch.
type WriterSettings struct {
	MaxRows  int      `toml:"max_rows"`
	MaxBytes int      `toml:"max_bytes"`
	MaxAge   Duration `toml:"max_age"`
}

// EngineSettings bound the embedded ClickHouse.
type EngineSettings struct {
	MemoryBytes int64 `toml:"memory_bytes"`
}

// DiskSettings keep disks from filling. Of a percentage and a number of bytes the one that is less
// on the disk counts; 0 is not set.
type DiskSettings struct {
	// Below MinFree of ClickHouse's disk the oldest telemetry is removed before its time.
	MinFreePercent float64 `toml:"min_free_percent"`
	MinFreeBytes   uint64  `toml:"min_free_bytes"`
	// Below Refuse of the disk of the embedded buffer intake answers 503.
	RefusePercent float64 `toml:"refuse_percent"`
	RefuseBytes   uint64  `toml:"refuse_bytes"`
}

// MinFree is how many bytes of a disk have to be free for telemetry to be left alone.
func (d DiskSettings) MinFree(total uint64) uint64 {
	return room(d.MinFreePercent, d.MinFreeBytes, total)
}

// Refuse is how many bytes of a disk have to be free for intake to go on.
func (d DiskSettings) Refuse(total uint64) uint64 { return room(d.RefusePercent, d.RefuseBytes, total) }

func room(percent float64, bytes, total uint64) uint64 {
	share := uint64(float64(total) * percent / 100)
	switch {
	case bytes == 0:
		return share
	case percent == 0:
		return bytes
	}
	return min(share, bytes)
}

// Network is a range of addresses written as "10.0.0.0/8".
type Network struct{ net.IPNet }

// UnmarshalText reads the notation of RFC 4632.
func (n *Network) UnmarshalText(text []byte) error {
	_, network, err := net.ParseCIDR(string(text))
	if err == nil {
		n.IPNet = *network
	}
	return err
}

// MarshalText writes the notation of RFC 4632.
func (n Network) MarshalText() ([]byte, error) { return []byte(n.String()), nil }

// Duration is a time.Duration written as in Go, such as "1s".
type Duration struct{ time.Duration }

// UnmarshalText reads Go's notation.
func (d *Duration) UnmarshalText(text []byte) (err error) {
	d.Duration, err = time.ParseDuration(string(text))
	return err
}

// MarshalText writes Go's notation.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// Load reads the environment, as os.Environ gives it, and the settings that it picks. All
// problems are returned at once.
func Load(environ []string) (Config, error) {
	var c Config
	variables, err := readFiles(env.ToMap(environ))
	if err != nil {
		return Config{}, err
	}
	if err := env.ParseWithOptions(&c.Environment, env.Options{Environment: variables}); err != nil {
		return Config{}, fmt.Errorf("read the environment: %w", err)
	}
	data, err := files.ReadFile(c.Name + ".toml")
	if errors.Is(err, fs.ErrNotExist) {
		return Config{}, fmt.Errorf("APP_ENV is %q; it is one of development, production, test", c.Name)
	}
	if err != nil {
		return Config{}, fmt.Errorf("read the settings: %w", err)
	}
	meta, err := toml.Decode(string(data), &c.Settings)
	if err != nil {
		return Config{}, fmt.Errorf("read %s.toml: %w", c.Name, err)
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		return Config{}, fmt.Errorf("read %s.toml: unknown key %s", c.Name, unknown[0])
	}
	if c.DataDir, err = filepath.Abs(c.DataDir); err != nil {
		return Config{}, fmt.Errorf("MIDWATCH_DATA_DIR: %w", err)
	}
	return c, c.validate()
}

// readFiles replaces NAME_FILE by NAME with the file's contents, for the names of Environment.
func readFiles(variables map[string]string) (map[string]string, error) {
	for field := range reflect.TypeFor[Environment]().Fields() {
		name := field.Tag.Get("env")
		path := variables[name+"_FILE"]
		if path == "" {
			continue
		}
		if variables[name] != "" {
			return nil, fmt.Errorf("%s and %s_FILE are both set; give one", name, name)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("%s_FILE: %w", name, err)
		}
		variables[name] = strings.TrimRight(string(data), "\r\n")
	}
	return variables, nil
}

func (c *Config) validate() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	for _, p := range []struct {
		name string
		port int
	}{
		{"MIDWATCH_HTTP_PORT", c.HTTPPort},
		{"MIDWATCH_OTLP_HTTP_PORT", c.OTLPHTTPPort},
		{"MIDWATCH_OTLP_GRPC_PORT", c.OTLPGRPCPort},
		{"MIDWATCH_INTERNAL_PORT", c.InternalPort},
	} {
		if p.port < 0 || p.port > 65535 {
			wrong("%s is %d; a port is 0 (any free one) to 65535", p.name, p.port)
		}
	}
	for _, u := range []struct {
		name, value string
		schemes     []string
	}{
		{"MIDWATCH_PUBLIC_URL", c.PublicURL, []string{"http", "https"}},
		{"MIDWATCH_PUBLIC_OTLP_URL", c.PublicOTLPURL, []string{"http", "https"}},
		{"MIDWATCH_PUBLIC_OTLP_GRPC_URL", c.PublicGRPCURL, []string{"http", "https"}},
		{"MIDWATCH_CLICKHOUSE_URL", string(c.ClickHouseURL), []string{"clickhouse", "clickhouses", "tcp"}},
		{"MIDWATCH_NATS_URL", string(c.NATSURL), []string{"nats", "tls"}},
		{"MIDWATCH_REDIS_URL", string(c.RedisURL), []string{"redis", "rediss"}},
		{"MIDWATCH_DATABASE_URL", string(c.DatabaseURL), []string{"postgres", "postgresql"}},
	} {
		if u.value == "" {
			continue
		}
		parsed, err := url.Parse(strings.Split(u.value, ",")[0])
		if err != nil || parsed.Host == "" || !slices.Contains(u.schemes, parsed.Scheme) {
			wrong("%s is not a URL that begins with %s://", u.name, strings.Join(u.schemes, ":// or "))
		}
	}
	if c.MailListen != "" {
		if _, port, err := net.SplitHostPort(c.MailListen); err != nil || !isPort(port) {
			wrong("MIDWATCH_MAIL_LISTEN is %q; it is a host and a port, such as 127.0.0.1:2525", c.MailListen)
		}
		if c.MailReply == "" {
			wrong("MIDWATCH_MAIL_LISTEN is set and MIDWATCH_MAIL_REPLY is not; name the domain or mailbox to which people answer")
		}
	}
	if c.MailReply != "" {
		if _, err := incident.ParseReplyAddress(c.MailReply); err != nil {
			wrong("MIDWATCH_MAIL_REPLY is %q; %w", c.MailReply, err)
		}
	}
	// A prefix begins the name of a stream and of a subject, which have signs of their own.
	for _, p := range []struct{ name, value, signs string }{
		{"MIDWATCH_NATS_PREFIX", c.NATSPrefix, "_-"},
		{"MIDWATCH_REDIS_PREFIX", c.RedisPrefix, "_-:."},
	} {
		if len(p.value) > maxPrefixBytes || strings.ContainsFunc(p.value, func(r rune) bool { return !strings.ContainsRune(alphanumeric+p.signs, r) }) {
			wrong("%s is not up to %d letters, digits and %s", p.name, maxPrefixBytes, p.signs)
		}
	}
	d := c.Disk
	for name, percent := range map[string]float64{"min_free_percent": d.MinFreePercent, "refuse_percent": d.RefusePercent} {
		if !(percent >= 0 && percent <= 90) {
			wrong("disk: %s is %v; it is 0 to 90", name, percent)
		}
	}
	for signal := range c.Limits {
		if !slices.Contains([]string{"metrics", "logs", "errors", "checkins"}, signal) {
			wrong("limits: %q is not a signal", signal)
		}
	}
	return errors.Join(errs...)
}

func isPort(s string) bool {
	_, err := strconv.ParseUint(s, 10, 16)
	return err == nil
}

// RequireServers reports which of the URLs of real servers are missing; a role that runs by
// itself cannot use embedded parts, since nobody else could reach them.
func (c *Config) RequireServers() error {
	var missing []string
	for name, value := range map[string]Secret{
		"MIDWATCH_CLICKHOUSE_URL": c.ClickHouseURL,
		"MIDWATCH_NATS_URL":       c.NATSURL,
		"MIDWATCH_REDIS_URL":      c.RedisURL,
		"MIDWATCH_DATABASE_URL":   c.DatabaseURL,
	} {
		if value == "" {
			missing = append(missing, name)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	slices.Sort(missing)
	return fmt.Errorf("a role that runs alone needs real servers; set %s, or run `midwatch up`, which brings its own", strings.Join(missing, ", "))
}
