// Command midwatch is Midwatch: every role, its tasks and its clients.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"syscall"

	"github.com/BurntSushi/toml"
	"github.com/caarlos0/env/v11"

	"github.com/midwatch/midwatch/services/app"
	"github.com/midwatch/midwatch/services/cli"
	"github.com/midwatch/midwatch/services/config"
)

// version is set by the build.
var version = "dev"

const usage = `Midwatch takes in metrics, logs, errors and cron check-ins, shows them, and watches.

Usage: midwatch <command> [flags]

  up         run everything in this process, on embedded parts where no URL is set;
             -demo fills the first project with the data of a small shop
  demo       fill a project with the data of a small shop
  migrate    bring the schemas of real servers up to date; run it before a deploy
  check      print the configuration in force, secrets masked, or what is wrong with it
  cron       run a job and tell Midwatch how it went: for crontabs
  discover   find the jobs of this machine and propose lines that run them by midwatch cron
  probe      ask addresses from this machine whether they answer, as a region of its own
  rules      apply, diff and export alert rules as YAML files
  deadletter list, show, replay or drop the messages that could not be stored
  drill      send a metric through everything until its page is delivered, and say how long it took
  version    print the version

Roles, each against the servers named by MIDWATCH_CLICKHOUSE_URL, MIDWATCH_NATS_URL,
MIDWATCH_REDIS_URL and MIDWATCH_DATABASE_URL:

  ingest-metrics  ingest-logs  ingest-errors  ingest-checkins
  writer  query  alerting  console

Configuration comes from the environment; the README lists the variables.
`

func main() {
	if len(os.Args) > 1 && os.Args[1] == "cron" { // its signals and its exit status are the job's
		os.Exit(cli.Cron(cli.Job{Args: os.Args[2:], Getenv: os.Getenv, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}))
	}
	// A second signal ends the process at once: everything survives that.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	err := run(ctx, os.Args[1:], os.Environ(), os.Stdout)
	switch {
	case err == nil:
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case errors.Is(err, cli.ErrUsage):
		fmt.Fprintln(os.Stderr, "midwatch:", err)
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, "midwatch:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args, environ []string, out io.Writer) error {
	if len(args) == 0 {
		io.WriteString(out, usage)
		return flag.ErrHelp
	}
	command, args := args[0], args[1:]
	switch command {
	case "help", "-h", "-help", "--help":
		_, err := io.WriteString(out, usage)
		return err
	case "version", "-version", "--version":
		_, err := fmt.Fprintln(out, versionText())
		return err
	case "engine":
		os.Exit(engineChild(args))
	case "demo":
		return runDemo(ctx, args, environ, out)
	case "deadletter":
		variables := env.ToMap(environ)
		return cli.Deadletter(ctx, args, func(name string) string { return variables[name] }, out)
	case "drill":
		variables := env.ToMap(environ)
		return cli.Drill(ctx, args, func(name string) string { return variables[name] }, out)
	case "probe":
		variables := env.ToMap(environ)
		return cli.Probe(ctx, args, func(name string) string { return variables[name] }, out)
	case "rules":
		variables := env.ToMap(environ)
		return cli.Rules(ctx, args, func(name string) string { return variables[name] }, os.Stdin, out)
	case "discover":
		return cli.Discover(ctx, cli.ThisMachine(), args, out)
	}
	role := app.Role(command)
	task := slices.Contains([]string{"up", "migrate", "check"}, command)
	if !task && !slices.Contains(app.Roles(), role) {
		return fmt.Errorf("there is no command %q; `midwatch help` lists them", command)
	}
	withDemo := command == "up" && slices.Equal(args, []string{"-demo"})
	if len(args) > 0 && !withDemo {
		return fmt.Errorf("%s does not take %q; configuration comes from the environment", command, args[0])
	}
	cfg, err := config.Load(environ)
	if err != nil {
		return err
	}
	o := app.Options{Config: cfg, Version: versionText(), Out: out}
	if withDemo {
		o.Then = demoBeside(out)
	}
	switch command {
	case "check":
		return toml.NewEncoder(out).Encode(cfg)
	case "up":
		return app.Up(ctx, o)
	case "migrate":
		return app.Migrate(ctx, o)
	}
	return app.Run(ctx, o, role)
}

// versionText is the version of the build and, where the build knows it, its commit.
func versionText() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				return version + "+" + s.Value[:min(len(s.Value), 12)]
			}
		}
	}
	return version
}
